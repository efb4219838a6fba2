//! Who should own which cell. Pure arithmetic over the grid: nothing here knows of leases or handoffs.

mod assignment;
pub mod hilbert;
#[cfg(test)]
mod tests;

pub use assignment::assign_uniform;
