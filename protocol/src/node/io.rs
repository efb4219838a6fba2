//! What goes into a `Node` and what comes out of it: closed enums, so that a run can be recorded and replayed.

use std::sync::Arc;

use bytes::Bytes;
use core::time::Duration;

use super::action_io::{ActionCommand, ActionReport};
use super::event::NodeEvent;
use crate::cell_map::CellMap;
use crate::event::{Area, Event};
use crate::ghost::{GhostChange, Look};
use crate::grid::{Grid, Motion, Position};
use crate::id::{
    AuthorityEpoch, ClientId, EntityId, HandoffId, InputSeq, NodeId, Peer, ReservationId, SessionId, Term,
};
use crate::pin::Pin;
use crate::snapshot::{Assembled, CapturedSnapshot, ComponentVersions};
use crate::standby::CutOrder;
use crate::time::{Tick, Time};
use crate::token::Token;
use crate::wire::{ByeReason, ClientMessage, Lane, Message, ServerMessage};

/// Who sent a mesh message, as the link proved it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sender {
    /// A node, in one of its lives.
    Node(Peer),
    /// The coordinator.
    Coordinator,
}

/// Where a mesh message goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Destination {
    /// A node. What is sent without a link is dropped: the core repeats what matters.
    Node(NodeId),
    /// The coordinator.
    Coordinator,
}

/// What a node is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// The link to the coordinator is up: register.
    CoordinatorUp,
    /// It is down.
    CoordinatorDown,
    /// A link to another node is up.
    LinkUp {
        /// Whose life the link's hello named.
        peer: Peer,
    },
    /// It is down.
    LinkDown {
        /// Whose.
        node: NodeId,
    },
    /// A mesh message arrived, decoded and checked.
    Message {
        /// From whom.
        from: Sender,
        /// What.
        message: Message,
        /// And what came with it.
        blob: Bytes,
    },
    /// A client connected and showed a token.
    ClientHello {
        /// The connection.
        client: ClientId,
        /// What it showed.
        token: Token,
    },
    /// A client said something.
    ClientMessage {
        /// The connection.
        client: ClientId,
        /// What it said.
        message: ClientMessage,
    },
    /// A client's connection is gone.
    ClientClosed {
        /// The connection.
        client: ClientId,
    },
    /// The game reports.
    Game(GameReport),
    /// The runtime's measurements, as JSON, for the coordinator's status page.
    Report(Bytes),
}

/// What a node wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a mesh message.
    Send {
        /// To whom.
        to: Destination,
        /// On which lane.
        lane: Lane,
        /// What.
        message: Message,
        /// And what goes with it.
        blob: Bytes,
    },
    /// Say something to a client. `State` goes as a datagram, and `Ghosts` unless they are of the stream; all else reliably.
    Client {
        /// The connection.
        client: ClientId,
        /// What.
        message: ServerMessage,
    },
    /// Close a client's connection, after what was said to it.
    CloseClient {
        /// The connection.
        client: ClientId,
        /// Why.
        reason: ByeReason,
    },
    /// Tell the game.
    Game(GameCommand),
    /// This node is registered: set the links' hello, start the ticks.
    Registered(Registration),
    /// The cell map changed: keep links to its nodes, tell the game side.
    MapChanged(Arc<CellMap>),
    /// The offset from this node's clock to mesh time, in microseconds, was estimated anew.
    ClockOffset {
        /// Add this to the node's clock.
        offset_us: i64,
    },
    /// This life of a node is over for good: close its link, and refuse its hello from now on.
    Shun {
        /// Which.
        peer: Peer,
    },
    /// Something happened that is measured, logged or shown.
    Event(NodeEvent),
}

/// What a registration gave.
#[derive(Clone, Debug)]
pub struct Registration {
    /// This node, in this life.
    pub me: Peer,
    /// The coordinator's term.
    pub term: Term,
    /// The grid of the world.
    pub grid: Grid,
    /// Time between two ticks.
    pub tick_interval: Duration,
    /// How far entities are shown across borders, in metres.
    pub interest_margin_m: f64,
}

/// What the core wants of the game, in order. The runtime passes it through the [`Roster`](crate::roster::Roster).
#[derive(Clone, Debug)]
pub enum GameCommand {
    /// A player enters.
    Join {
        /// The player's entity.
        entity: EntityId,
        /// The grant under which it will be simulated.
        grant: AuthorityEpoch,
        /// The player's session.
        session: SessionId,
        /// The player's name.
        name: String,
        /// Where the player enters.
        entry: Position,
        /// The character as it last left, if it is known.
        baseline: Option<Assembled>,
    },
    /// A player leaves the world: capture the character, then forget it.
    Leave {
        /// The player's entity.
        entity: EntityId,
        /// The grant that ends.
        grant: AuthorityEpoch,
        /// Why.
        why: LeaveReason,
    },
    /// Capture a pre-copy.
    Capture {
        /// Of which entity.
        entity: EntityId,
        /// For which preparation.
        reservation: ReservationId,
        /// What the target already has.
        have: ComponentVersions,
    },
    /// From now on, freeze the entity where it is past the border of an armed target. Replaces the former set.
    Arm {
        /// Which entity.
        entity: EntityId,
        /// The grant under which it is simulated.
        grant: AuthorityEpoch,
        /// The targets; empty disarms.
        targets: Vec<ArmedTarget>,
    },
    /// A pre-copy arrived: build the entity, don't simulate it; the time to refuse.
    Warm {
        /// Which entity.
        entity: EntityId,
        /// For which preparation.
        reservation: ReservationId,
        /// What is known of it so far.
        snapshot: Assembled,
    },
    /// This node holds the entity now: simulate it from this tick on.
    Restore {
        /// Which entity.
        entity: EntityId,
        /// The grant under which.
        grant: AuthorityEpoch,
        /// Its whole state.
        snapshot: Assembled,
        /// The first tick that is this node's to simulate; not one before it.
        first_tick: Tick,
    },
    /// The cold path: warm, and if the game agrees restore, and report.
    Admit {
        /// Which handoff.
        id: HandoffId,
        /// The entity's whole state.
        snapshot: Assembled,
        /// The first tick that is this node's to simulate; not one before it.
        first_tick: Tick,
    },
    /// This node no longer holds the entity, or gives up a warmed one.
    Release {
        /// Which entity.
        entity: EntityId,
        /// Only if it is simulated under this grant or an earlier one.
        grant: AuthorityEpoch,
        /// Why.
        why: ReleaseReason,
    },
    /// The next input of a player.
    Input {
        /// Whose.
        entity: EntityId,
        /// Only under this grant.
        grant: AuthorityEpoch,
        /// Its number.
        seq: InputSeq,
        /// What it says.
        bytes: Bytes,
    },
    /// Something about an action.
    Action(ActionCommand),
    /// Something happens where this node has cells.
    Event(Event),
    /// Ghosts appeared, moved, changed or vanished.
    Ghosts(Vec<GhostChange>),
    /// Capture everything that is simulated here, at the end of one tick.
    Checkpoint(CutOrder),
}

/// A target that an entity may be handed to without asking further.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmedTarget {
    /// Who is ready for it.
    pub target: Peer,
    /// Under which reservation.
    pub reservation: ReservationId,
    /// What the target has of it. Empty on the cold path.
    pub have: ComponentVersions,
    /// Not before this (the node's own clock): minimum dwell and back-off.
    pub not_before: Time,
    /// Who must go along, each after what it is attached to. If the group is another by then, it doesn't cross.
    pub members: Vec<ArmedMember>,
}

/// One of a group that may be handed over.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmedMember {
    /// Which entity.
    pub entity: EntityId,
    /// Under which reservation.
    pub reservation: ReservationId,
    /// What the target has of it.
    pub have: ComponentVersions,
}

/// Why a player leaves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LeaveReason {
    /// They logged out.
    Logout,
    /// Their client was away for too long.
    Lingered,
}

/// Why an entity is released.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ReleaseReason {
    /// It is frozen and on its way to another node. If that fails, `restore` brings it back.
    Frozen,
    /// A warmed entity will not come after all.
    NotComing,
    /// It was simulated in good faith under a grant that turned out void.
    Void,
}

/// What the game published of one entity in one tick.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// Which entity.
    pub entity: EntityId,
    /// The grant under which it was simulated.
    pub grant: AuthorityEpoch,
    /// Where it is and how it moves.
    pub motion: Motion,
    /// How it looks.
    pub look: Look,
    /// The last input applied.
    pub applied: InputSeq,
    /// What its own client alone is told.
    pub own: Bytes,
}

/// One entity that was frozen.
#[derive(Clone, Debug)]
pub struct FrozenEntity {
    /// What it published last here: still shown, to neighbours and to its client.
    pub last: Published,
    /// Under which reservation it goes.
    pub reservation: ReservationId,
    /// What the target does not have yet.
    pub snapshot: CapturedSnapshot,
}

/// One entity of a checkpoint, as the game captured it.
#[derive(Clone, Debug)]
pub struct CheckpointCopy {
    /// Which entity.
    pub entity: EntityId,
    /// The grant under which it was simulated.
    pub grant: AuthorityEpoch,
    /// The last input in it.
    pub applied: InputSeq,
    /// What the buddy doesn't have of it; none if it could not be captured.
    pub snapshot: Option<CapturedSnapshot>,
}

/// What the game side reports.
#[derive(Clone, Debug)]
pub enum GameReport {
    /// A tick is done.
    Frame {
        /// Which.
        tick: Tick,
        /// What was published in it.
        published: Vec<Published>,
    },
    /// The game spawned an entity.
    Spawned {
        /// Which.
        entity: EntityId,
        /// Where and how it moves.
        motion: Motion,
        /// In which tick.
        tick: Tick,
    },
    /// The game let a player in, or refused.
    Joined {
        /// The player's entity.
        entity: EntityId,
        /// Whether it is simulated now.
        accepted: bool,
        /// Where, if it is.
        motion: Option<Motion>,
        /// The first tick.
        tick: Tick,
    },
    /// The game removed an entity.
    Despawned {
        /// Which.
        entity: EntityId,
        /// Under which grant.
        grant: AuthorityEpoch,
        /// After which tick.
        tick: Tick,
    },
    /// A player's character was captured and is forgotten by the game.
    Left {
        /// The player's entity.
        entity: EntityId,
        /// Under which grant.
        grant: AuthorityEpoch,
        /// The character, if it could be captured.
        snapshot: Option<CapturedSnapshot>,
        /// After which tick.
        tick: Tick,
    },
    /// A pre-copy.
    Captured {
        /// Of which entity.
        entity: EntityId,
        /// Under which grant.
        grant: AuthorityEpoch,
        /// For which preparation.
        reservation: ReservationId,
        /// The snapshot.
        snapshot: CapturedSnapshot,
    },
    /// The cutover begins: an entity, with its group, is frozen and no longer simulated here.
    Frozen {
        /// To whom it goes.
        target: Peer,
        /// Who crosses, then everything that goes along, each after what it is attached to.
        group: Vec<FrozenEntity>,
        /// The last tick simulated.
        tick: Tick,
        /// When it was frozen, by the node's own clock.
        frozen_at: Time,
    },
    /// An entity was attached to another, or detached.
    Attached {
        /// Which entity.
        entity: EntityId,
        /// Under which grant.
        grant: AuthorityEpoch,
        /// To what; none if it was detached.
        to: Option<EntityId>,
    },
    /// The game has pinned an entity, or ended a pin.
    Pinned {
        /// Which entity.
        entity: EntityId,
        /// Under which grant.
        grant: AuthorityEpoch,
        /// All that holds it from now on.
        pins: Vec<Pin>,
    },
    /// A pre-copied entity was built, or refused.
    Warmed {
        /// Which entity.
        entity: EntityId,
        /// For which preparation.
        reservation: ReservationId,
        /// Whether the game will take it.
        accepted: bool,
    },
    /// The answer to `Admit`.
    Admitted {
        /// Which handoff.
        id: HandoffId,
        /// Whether the game takes it.
        accepted: bool,
        /// It is simulated from this tick on; if that is before the first one that is this node's, `Restored` follows.
        tick: Tick,
    },
    /// A restored entity runs.
    Restored {
        /// Which entity.
        entity: EntityId,
        /// Under which grant.
        grant: AuthorityEpoch,
        /// From which tick on.
        tick: Tick,
    },
    /// Something about an action.
    Action(ActionReport),
    /// The game caused an event.
    Event {
        /// Where.
        area: Area,
        /// What.
        bytes: Vec<u8>,
        /// In which tick it takes effect.
        tick: Tick,
    },
    /// A checkpoint: everything that was simulated here, after one tick.
    Checkpoint {
        /// The cut that was asked for.
        cut: u64,
        /// After which tick.
        tick: Tick,
        /// Everything.
        copies: Vec<CheckpointCopy>,
    },
}
