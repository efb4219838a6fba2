//! Actions: requests from one entity to another, wherever the two are held; each takes effect once (A3).
//!
//! - [`ActionBook`]: what an entity remembers of its actions. It travels in the entity's snapshot, so that state and
//!   memory always are of one moment: in a handoff, in a checkpoint, after a recovery.
//! - `outbox`: the sender's half of it: what is not answered, and what is answered but still remembered by the receiver
//! - `window`: the receiver's half: what was performed and what came of it, so that a repeat gets the same answer
//!
//! The sender's node carries an action to its receiver and repeats it (`node/actions`, soft: it is built anew from the
//! book wherever the entity goes); the receiver's book decides whether it is new. Time is told in ticks of mesh time: an
//! entity's ticks never go back, on whatever node it is, so a receiver that refuses what is past its deadline may forget
//! what is past it, too.
//!
//! A *durable* action is sent only once a safe checkpoint holds it, answered only once a safe checkpoint holds what it
//! did, and forgotten by its receiver only once a safe checkpoint of its sender holds the answer. So whichever half a
//! crash takes back, the other half still knows.
//!
//! Deliberately absent: routes, time-outs of messages, what an action means.

mod book;
mod outbox;
mod window;

use rkyv::{Archive, Deserialize, Serialize};

use crate::id::{AuthorityEpoch, EntityId};
use crate::limits::{ACTION_BYTES_MAX, ACTIONS_PENDING_MAX};
use crate::time::Tick;

pub(crate) use book::is_short;
pub use book::{ActionBook, BookError};
pub use outbox::{Closing, Outbox, Pending, Settled};
pub use window::{Offer, Remembered, Window};

/// The component of a snapshot that holds the entity's [`ActionBook`]. Games can't use the name.
pub const ACTIONS_COMPONENT: &str = "selvedge.actions";

/// Numbers the actions of one entity, in order. The generation is that of the authority which issued it: what a dead
/// node's entity did after its last checkpoint is undone, and its numbers may be given again, in a later generation.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Archive, Serialize, Deserialize,
)]
pub struct ActionNumber {
    /// The generation of the sender's epoch.
    pub generation: u32,
    /// Counts the sender's actions, from 1.
    pub count: u64,
}

/// One action in the whole mesh: the key by which it takes effect once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Archive, Serialize, Deserialize)]
pub struct ActionId {
    /// Who acts.
    pub from: EntityId,
    /// The number that it gave.
    pub number: ActionNumber,
}

/// What became of an action, as its sender hears it.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub enum Outcome {
    /// The receiver's game did it; its answer.
    Done(Vec<u8>),
    /// The receiver's game would not do it; its answer.
    Refused(Vec<u8>),
    /// It came to nothing on the way.
    Failed(Failure),
}

/// Why an action came to nothing.
///
/// Of a durable action all say that it had no effect and never will have. Of any other they say that nobody knows:
/// the answer may have been lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Archive, Serialize, Deserialize)]
pub enum Failure {
    /// No answer came in time.
    TimedOut,
    /// The receiver was handed on faster than the action could follow.
    TooManyHops,
    /// Nobody holds an entity of that id.
    NoSuchEntity,
}

/// How an action is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Whether no single crash may undo one half of it. Takes two checkpoints longer.
    pub durable: bool,
    /// In so many ticks it must have reached its receiver, from 1 to
    /// [`ACTION_TICKS_MAX`](crate::limits::ACTION_TICKS_MAX).
    pub ticks: u64,
}

/// Why an entity can't act now. All are mistakes of the game, or a bound that is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ActError {
    /// The sender is not simulated here.
    #[error("{0} is not simulated here, so it can't act")]
    NotHeld(EntityId),
    /// The sender is about to leave the world.
    #[error("{0} is leaving the world, so it can't act any more")]
    Leaving(EntityId),
    /// Too much to say.
    #[error("{entity} acts with {bytes} bytes; at most {ACTION_BYTES_MAX} are allowed")]
    TooLong {
        /// Who acts.
        entity: EntityId,
        /// How much it says.
        bytes: usize,
    },
    /// Too much is unanswered.
    #[error("{0} has {ACTIONS_PENDING_MAX} actions that are not answered; wait for one of them")]
    TooMany(EntityId),
}

/// An action on its way, as its receiver's game side takes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Which.
    pub id: ActionId,
    /// Everything that its sender numbered below this is settled: it is never asked again.
    pub low: ActionNumber,
    /// The last tick of the receiver in which it may be performed.
    pub deadline: Tick,
    /// Whether no single crash may undo one half of it.
    pub durable: bool,
    /// What the sender's game says.
    pub bytes: Vec<u8>,
}

impl ActionNumber {
    /// The number of an action issued under `grant`.
    #[must_use]
    pub const fn under(grant: AuthorityEpoch, count: u64) -> Self {
        Self { generation: grant.generation, count }
    }
}

#[cfg(test)]
mod tests;
