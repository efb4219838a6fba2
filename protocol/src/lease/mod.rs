//! Witnessed leases: a node simulates only while a majority of its voters witnesses that it lives, and nobody replaces
//! it before a majority has promised to witness it no more and the last lease that they could have granted is over.
//!
//! The voters of a node are the node itself, the coordinator, and up to three other nodes. Three small machines:
//!
//! - [`LeaseHolder`]: the node's own view; when it must stop by itself
//! - [`Witness`]: a voter's memory; whom it has answered and whom it has promised to answer no more
//! - [`Warden`]: the coordinator's view; suspicion, promises, the wait, and who witnesses whom
//!
//! Why it is safe: a renewal counts once a majority of the set that the node goes by has answered it. A life is over once so
//! many have promised that no majority is left, in any set that the node may go by. So somebody who has promised has
//! answered the last renewal that counted, and said when. Sets may be as different as they like: the coordinator keeps
//! each from before it tells it until the node says that it will not go by it any more.
//!
//! Why nobody dies of the coordinator's deafness: a voter that hears a life promises nothing, and a life that is heard again
//! before anybody has promised is suspected no more. The coordinator's own promise binds nobody else, so it may be taken
//! back; another voter's may not.

mod holder;
mod sets;
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

/// How many of the coordinator and these `others` must have promised so that no majority is left.
#[must_use]
pub const fn blocking(others: usize) -> usize {
    others + 3 - majority(others)
}
