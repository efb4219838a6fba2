//! What a game implements.
//!
//! Every callback runs on the game's own thread, inside [`MeshNode::tick`](crate::MeshNode::tick). Ids come by value
//! and bytes by slice, and nothing is generic, so that a C ABI can carry each of them.

use std::borrow::Cow;

use selvedge_protocol::action::ActionNumber;
use selvedge_protocol::ghost::GhostChange;
use selvedge_protocol::grid::{Motion, Position};
use selvedge_protocol::id::{EntityId, SessionId};
use selvedge_protocol::node::{LeaveReason, ReleaseReason};
use selvedge_protocol::snapshot::{SnapshotView, SnapshotWriter};

use crate::action::{Action, Answer, Event, Reply};

/// A game world, as the mesh drives it.
///
/// The mesh decides who simulates what; the game knows what an entity is. An entity's way through one node:
/// `warm` (perhaps, and perhaps repeatedly) -> `restore`, or `join`, or the game's own `spawn` -> `input`s and
/// `capture`s -> `release`, or `leave`, or the game's own `despawn`.
pub trait World {
    /// Writes down the entity's whole state. A pure read: it may be called in any tick, for a pre-copy, a handoff or a
    /// save, and doesn't mean that the entity leaves. Every component is named each time; ask
    /// [`SnapshotWriter::wants`] before an expensive encoding.
    fn capture(&self, entity: EntityId, out: &mut SnapshotWriter);

    /// Builds an entity that is about to come, without simulating it: loads assets, makes room. May be called again
    /// with newer state. This is the time to refuse.
    ///
    /// # Errors
    /// If the game can't take it. It then stays where it is.
    fn warm(&mut self, entity: EntityId, snapshot: &SnapshotView<'_>) -> Result<(), Refused>;

    /// This node holds the entity now: simulate it from this tick on. If it was a ghost it is none any more, and doesn't
    /// vanish. It was warmed before, with this state or an
    /// older one, or was frozen here and comes back.
    fn restore(&mut self, entity: EntityId, snapshot: &SnapshotView<'_>);

    /// This node no longer holds the entity, or a warmed one won't come: forget it. What is released because it is
    /// [frozen](ReleaseReason::Frozen) is a ghost from here on, where it was published last: it moves, vanishes or is
    /// restored, but it doesn't appear.
    fn release(&mut self, entity: EntityId, why: ReleaseReason);

    /// A player enters the world here. The mesh has named the entity; the game says where it stands.
    ///
    /// # Errors
    /// If the game doesn't let the player in.
    fn join(&mut self, player: Player<'_>) -> Result<Motion, Refused>;

    /// A player leaves the world. The character was captured just before; forget the entity.
    fn leave(&mut self, entity: EntityId, why: LeaveReason);

    /// Applies a player's input. They come in order, each number once.
    fn input(&mut self, entity: EntityId, seq: u32, bytes: &[u8]);

    /// Something that another node simulates came into sight, moved, changed its state or vanished. Ghosts are shown a
    /// little in the past, two ticks by default, so that they move smoothly; [`Frame::ghosts`](crate::Frame::ghosts) has
    /// them all.
    fn ghost(&mut self, change: GhostChange);

    /// Another entity, here or elsewhere, asks something of one that this node simulates. Comes once for each action; what
    /// it changes must be in the next capture. By default everything is refused.
    fn action(&mut self, action: Action<'_>) -> Reply {
        let _ = action;
        Reply::refused(&[][..])
    }

    /// Something happens, now, in this tick: every node whose cells it touches is told, with those of its own entities
    /// that it reaches. Each is reached by one node, once. By default it is ignored.
    fn event(&mut self, event: Event<'_>) {
        let _ = event;
    }

    /// What came of an action of an entity that this node simulates: told once, wherever the entity has gone meanwhile.
    /// By default it is ignored.
    fn answer(&mut self, entity: EntityId, number: ActionNumber, answer: Answer<'_>) {
        let _ = (entity, number, answer);
    }
}

/// The game said no. The reason is logged here; the other side only hears that the game refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    reason: Cow<'static, str>,
}

impl Refused {
    /// A refusal, with a reason for the log.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: reason.into() }
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// A player at the door.
#[derive(Clone, Copy, Debug)]
pub struct Player<'a> {
    pub(crate) entity: EntityId,
    pub(crate) session: SessionId,
    pub(crate) name: &'a str,
    pub(crate) entry: Position,
    pub(crate) baseline: Option<SnapshotView<'a>>,
}

impl<'a> Player<'a> {
    /// The entity that the player will play.
    #[must_use]
    pub const fn entity(&self) -> EntityId {
        self.entity
    }

    /// The player's session.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// The player's name, as the door let it pass.
    #[must_use]
    pub const fn name(&self) -> &'a str {
        self.name
    }

    /// Where the mesh would have the player enter: in a cell of this node.
    #[must_use]
    pub const fn entry(&self) -> Position {
        self.entry
    }

    /// The character as it last left the world; none for a new one.
    #[must_use]
    pub const fn baseline(&self) -> Option<SnapshotView<'a>> {
        self.baseline
    }
}
