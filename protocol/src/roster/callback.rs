//! What the game is asked for, and why what it publishes may be refused.

use bytes::Bytes;

use crate::action::{ActionNumber, Outcome, Request};
use crate::ghost::GhostChange;
use crate::grid::{Motion, Position};
use crate::id::{AuthorityEpoch, EntityId, HandoffId, InputSeq, ReservationId, SessionId};
use crate::limits::STATE_BYTES_MAX;
use crate::node::{ArmedTarget, LeaveReason, ReleaseReason};
use crate::snapshot::{Assembled, ComponentVersions};
use crate::time::Time;

/// What the game must do now. Each is answered through the roster method that its doc names.
#[derive(Clone, Debug)]
pub enum Callback {
    /// Let a player in; answer with [`Roster::joined`](super::Roster::joined).
    Join {
        /// The player's entity.
        entity: EntityId,
        /// The player's session.
        session: SessionId,
        /// The player's name.
        name: String,
        /// Where the player enters.
        entry: Position,
        /// The character as it last left.
        baseline: Option<Assembled>,
    },
    /// Capture the entity whole (`have` is empty), forget it, and answer with [`Roster::left`](super::Roster::left).
    Leave {
        /// The player's entity.
        entity: EntityId,
        /// The player's session.
        session: Option<SessionId>,
        /// Why.
        why: LeaveReason,
    },
    /// Capture the entity and answer with [`Roster::captured`](super::Roster::captured).
    Capture {
        /// Which entity.
        entity: EntityId,
        /// The player's session.
        session: Option<SessionId>,
        /// For which preparation.
        reservation: ReservationId,
        /// What need not be captured again.
        have: ComponentVersions,
    },
    /// Build the entity without simulating it; answer with [`Roster::warmed`](super::Roster::warmed).
    Warm {
        /// Which entity.
        entity: EntityId,
        /// For which preparation.
        reservation: ReservationId,
        /// What is known so far.
        snapshot: Assembled,
    },
    /// Warm it, and if the game takes it restore it; answer with [`Roster::admitted`](super::Roster::admitted).
    Admit {
        /// Which handoff.
        id: HandoffId,
        /// The whole state.
        snapshot: Assembled,
        /// Whether its first tick has come. If not, only warm it: [`Callback::Restore`] follows in that tick.
        restores: bool,
    },
    /// Simulate the entity from this tick on. The roster already counts it as held.
    Restore {
        /// Which entity.
        entity: EntityId,
        /// The whole state.
        snapshot: Assembled,
    },
    /// Stop simulating the entity and forget it.
    Release {
        /// Which entity.
        entity: EntityId,
        /// Why.
        why: ReleaseReason,
    },
    /// Apply a player's input.
    Input {
        /// Whose.
        entity: EntityId,
        /// Its number.
        seq: InputSeq,
        /// What it says.
        bytes: Bytes,
    },
    /// Do what another entity asks; answer with [`Roster::performed`](super::Roster::performed).
    Perform {
        /// Who is asked.
        entity: EntityId,
        /// By whom, what.
        request: Request,
    },
    /// An action of an entity's own is settled.
    Settled {
        /// Who acted.
        entity: EntityId,
        /// Which of its actions.
        number: ActionNumber,
        /// What came of it.
        outcome: Outcome,
    },
    /// Draw ghosts, or stop: in this order, and none of them is of an entity that is simulated here.
    Ghosts(Vec<GhostChange>),
}

/// What was just frozen: capture each of the entries now and answer with [`Roster::frozen`](super::Roster::frozen).
#[derive(Clone, Debug)]
pub struct FreezeOrder {
    /// The entity that crosses, then everything that it takes along, each after what it is attached to.
    pub entries: Vec<FreezeEntry>,
    pub(super) target: ArmedTarget,
    pub(super) frozen_at: Time,
}

/// One entity of a [`FreezeOrder`].
#[derive(Clone, Debug)]
pub struct FreezeEntry {
    /// Which entity.
    pub entity: EntityId,
    /// The player's session.
    pub session: Option<SessionId>,
    /// The last input applied: belongs into the snapshot.
    pub applied: InputSeq,
    /// What the target has already.
    pub have: ComponentVersions,
    pub(super) reservation: ReservationId,
}

/// Why something published is refused. All are mistakes of the game.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum PublishError {
    /// The entity is not simulated here.
    #[error("{0} is not simulated here")]
    NotHeld(EntityId),
    /// An entity of that id exists already.
    #[error("{0} exists already")]
    Exists(EntityId),
    /// A durable action of the entity, or to it, is not settled: it must not end before.
    #[error("{0} has durable actions that are not settled: end it once they are")]
    Bound(EntityId),
    /// A position or velocity is not finite.
    #[error("{entity} has a motion that is not finite: {motion:?}")]
    NotFinite {
        /// Which entity.
        entity: EntityId,
        /// What was published.
        motion: Motion,
    },
    /// Too much state.
    #[error("{entity} publishes {bytes} bytes of state; at most {STATE_BYTES_MAX} are allowed")]
    StateTooLong {
        /// Which entity.
        entity: EntityId,
        /// How much.
        bytes: usize,
    },
}

/// An entity of a cut: capture it, after the tick's step and freezes, and answer all of them with
/// [`Roster::checkpointed`](super::Roster::checkpointed).
#[derive(Clone, Debug)]
pub struct CutEntry {
    /// Which entity.
    pub entity: EntityId,
    /// The player's session.
    pub session: Option<SessionId>,
    /// The grant under which it is simulated.
    pub grant: AuthorityEpoch,
    /// The last input applied: belongs into the snapshot.
    pub applied: InputSeq,
    /// What the buddy has already.
    pub have: ComponentVersions,
}
