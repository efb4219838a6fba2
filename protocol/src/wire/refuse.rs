//! Why something is refused.

use rkyv::{Archive, Deserialize, Serialize};

/// Why a preparation, an entry or a transfer is refused.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Archive,
    Serialize,
    Deserialize,
    serde::Serialize,
    serde::Deserialize,
    thiserror::Error,
)]
#[serde(rename_all = "snake_case")]
pub enum RefuseReason {
    /// The asking node does not own the cell it names as its own.
    #[error("the source does not own the cell that the entity is in")]
    NotYourCell,
    /// No node owns the cell.
    #[error("no node owns the target cell")]
    NoOwner,
    /// Source and target are the same node.
    #[error("the source owns the target cell itself")]
    SameNode,
    /// The owner's lease has expired.
    #[error("the target node is not alive")]
    TargetLost,
    /// The asker is not a registered life of that node.
    #[error("the source is not registered")]
    UnknownSource,
    /// The coordinator knows the entity to be held by another node.
    #[error("the source does not hold the entity")]
    NotYours,
    /// No capacity left.
    #[error("the target is overloaded")]
    Overloaded,
    /// The node is being emptied.
    #[error("the target is draining")]
    Draining,
    /// The snapshot's schema can't be read.
    #[error("the target can't read the snapshot's schema")]
    Schema,
    /// The target does not own the cell (its table says so).
    #[error("the target does not own the cell")]
    NotMyCell,
    /// Nobody prepared this transfer, or its reservation has expired.
    #[error("the transfer was not prepared")]
    NotPrepared,
    /// The id was cancelled, rejected or used up before.
    #[error("the handoff's epoch is burned")]
    Burned,
    /// The target holds the entity itself.
    #[error("the target holds the entity itself")]
    HeldHere,
    /// The snapshot failed validation.
    #[error("the snapshot is invalid")]
    BadSnapshot,
    /// The snapshot builds on a pre-copy that the target does not have.
    #[error("the snapshot builds on a pre-copy that the target does not have")]
    StalePrecopy,
    /// The game said no.
    #[error("the game refused the entity")]
    Game,
}
