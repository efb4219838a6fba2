//! Moving authority from a source to a target: each party's part in a file of its own.

pub mod client;
pub(crate) mod source;
pub(crate) mod target;
pub(crate) mod tombstone;

/// Which way a handoff took.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Path {
    /// The target had warmed the entity from a pre-copy.
    Warm,
    /// It had not: a teleport, or a crossing that nobody foresaw.
    Cold,
}
