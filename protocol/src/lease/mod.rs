//! Witnessed leases: a node simulates only while a majority of its voters witnesses that it lives, and nobody replaces
//! it before a majority has promised to witness it no more and the last lease that they could have granted is over.
//!
//! The voters of a node are the node itself, the coordinator, and up to three other nodes. Three small machines:
//!
//! - [`LeaseHolder`]: the node's own view; when it must stop by itself
//! - [`Witness`]: a voter's memory; whom it has answered and whom it has promised to answer no more
//! - [`Warden`]: the coordinator's view; suspicion, promises, the wait, and who witnesses whom
//!
//! Why it is safe: any two majorities of one set of voters have a member in common, and so have a majority of one set
//! and one of the next, because two sets in a row differ by one member. A renewal that counts was answered by a
//! majority; a life that is over has the promises of a majority. So somebody in the second has answered the last renewal
//! that counted, and said when.
//!
//! Why nobody dies of the coordinator's deafness: a voter that hears a life promises nothing, and a life that is heard again
//! before anybody has promised is suspected no more. The coordinator's own promise binds nobody else, so it may be taken
//! back; another voter's may not.

mod holder;
#[cfg(test)]
mod tests;
mod warden;
mod witness;

pub use holder::LeaseHolder;
pub use warden::{Warden, WardenAction, WardenSettings};
pub use witness::{Plea, Witness};

/// How many of a node's voters are a majority, if `others` nodes vote besides itself and the coordinator.
#[must_use]
pub const fn majority(others: usize) -> usize {
    (others + 2) / 2 + 1
}
