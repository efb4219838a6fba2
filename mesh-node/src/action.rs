//! Actions and events as a game sees them: what one entity asks of another, and what came of it; what happens somewhere.

use std::borrow::Cow;
use std::time::Duration;

use selvedge_protocol::action::{Failure, Outcome};
use selvedge_protocol::event::Area;
use selvedge_protocol::id::EntityId;

use crate::entity::{Ghost, Owned};

/// How long an action may take to reach its receiver, unless the game says otherwise.
pub(crate) const ACTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Whom an entity acts on: what this node simulates, or what it sees of others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Target(EntityId);

impl Target {
    /// Which entity.
    #[must_use]
    pub const fn id(self) -> EntityId {
        self.0
    }
}

impl From<Owned> for Target {
    fn from(entity: Owned) -> Self {
        Self(entity.id())
    }
}

impl From<Ghost> for Target {
    fn from(entity: Ghost) -> Self {
        Self(entity.id())
    }
}

/// How an action is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// Takes effect once while nobody dies; a crash undoes what the dead node did since its last checkpoint, and the
    /// other side isn't told. For a hit, a greeting.
    Plain,
    /// No single crash undoes one half of it: it waits for two checkpoints, about half a second. For a trade, a
    /// purchase.
    Durable,
}

/// What another entity asks of one that this node simulates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Action<'a> {
    pub(crate) from: EntityId,
    pub(crate) to: EntityId,
    pub(crate) durable: bool,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Action<'a> {
    /// Who acts; perhaps out of this node's sight.
    #[must_use]
    pub const fn from(&self) -> EntityId {
        self.from
    }

    /// Who is asked: simulated here.
    #[must_use]
    pub const fn to(&self) -> EntityId {
        self.to
    }

    /// Whether no single crash undoes one half of it.
    #[must_use]
    pub const fn is_durable(&self) -> bool {
        self.durable
    }

    /// What the sender's game says, up to 512 bytes. It comes from another node: don't trust it further than that.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// A game's answer to an action.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    pub(crate) done: bool,
    pub(crate) bytes: Cow<'static, [u8]>,
}

impl Reply {
    /// It is done. Up to 128 bytes of answer; what is longer is cut.
    pub fn done(answer: impl Into<Cow<'static, [u8]>>) -> Self {
        Self { done: true, bytes: answer.into() }
    }

    /// It is not done, and nothing has changed. Up to 128 bytes of answer; what is longer is cut.
    pub fn refused(answer: impl Into<Cow<'static, [u8]>>) -> Self {
        Self { done: false, bytes: answer.into() }
    }
}

/// What came of an action of an entity that this node simulates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer<'a> {
    /// The other's game did it; its answer.
    Done(&'a [u8]),
    /// The other's game would not do it; its answer.
    Refused(&'a [u8]),
    /// It came to nothing on the way. Of a durable action this says that it had no effect and never will have; of
    /// another, that nobody knows.
    Failed(Failure),
}

impl<'a> Answer<'a> {
    pub(crate) fn of(outcome: &'a Outcome) -> Self {
        match outcome {
            Outcome::Done(bytes) => Self::Done(bytes),
            Outcome::Refused(bytes) => Self::Refused(bytes),
            Outcome::Failed(failure) => Self::Failed(*failure),
        }
    }
}

/// Something that happens in this tick.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Event<'a> {
    pub(crate) area: Area,
    pub(crate) bytes: &'a [u8],
    pub(crate) reached: &'a [EntityId],
}

impl<'a> Event<'a> {
    /// Where.
    #[must_use]
    pub const fn area(&self) -> Area {
        self.area
    }

    /// What the game that caused it says, up to 512 bytes. It comes from another node: don't trust it further than that.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The entities that this node simulates and that were last published inside the area, in order of id. May be empty:
    /// then it touches only the ground.
    #[must_use]
    pub const fn reached(&self) -> &'a [EntityId] {
        self.reached
    }
}
