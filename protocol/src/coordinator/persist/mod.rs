//! What a coordinator must remember: the records that it has kept for it, and the image that they add up to.
//!
//! - [`Record`]: one thing to keep, as an output says it and as a row of a store
//! - [`CoordinatorImage`]: everything that was kept; what a coordinator is restored from
//! - `restore`: the coordinator that comes of it
//!
//! Deliberately absent: characters (they have a store of their own), who holds what (the nodes know it, and tell), and
//! files.

mod image;
mod record;
mod restore;

pub use image::{CoordinatorImage, ImageError};
pub use record::{LifeImage, Record, RowError, SessionImage, WorldImage};
pub use restore::RestoreError;
