//! What nodes and the coordinator say to each other, in the order of a crossing.
//!
//! A message may carry one blob behind it (a snapshot, a report): it travels beside the archived head, so that the
//! receiver reads it in place. The doc of each message that has one says what it is.

use rkyv::{Archive, Deserialize, Serialize};

use super::refuse::RefuseReason;
use super::transfer::MemberTransfer;
use super::why::HandoffPhases;
use crate::cell_map::{CellMapDiff, CellMapImage};
use crate::grid::{CellId, GridConfig};
use crate::id::{
    AuthorityEpoch, EntityId, HandoffId, Incarnation, InputSeq, NodeId, Peer, ReservationId, SessionId, Term,
};
use crate::snapshot::ComponentVersions;
use crate::time::{Tick, Time};
use crate::token::Token;

/// Which lane a message takes, from the most to the least urgent; `Datagram` is unreliable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Lane {
    /// In order, small: registration, preparation, answers.
    Control,
    /// Each message on its own: `Transfer` and its answers.
    Cutover,
    /// Actions, relayed inputs, and the streams of ghosts, which number their pieces.
    Action,
    /// Pre-copied snapshots.
    Precopy,
    /// Checkpoints and reports.
    Checkpoint,
    /// Samples of ghosts and their acknowledgements: may be lost, doubled or late.
    Datagram,
}

/// The core's part of the transport's hello: who speaks, which world, which versions.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub struct Hello {
    /// The world's name.
    pub world: String,
    /// The node's id and life, or none for a coordinator or a node that has not registered yet.
    pub peer: Option<Peer>,
    /// The number that the process drew, as in its registration: tells two with one certificate apart. Coordinators: 0.
    pub process: u64,
    /// The coordinator's term, if a coordinator speaks.
    pub term: Option<Term>,
    /// The oldest snapshot schema read.
    pub schema_min: u32,
    /// The newest snapshot schema read.
    pub schema_max: u32,
}

/// One numbered input of a client.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub struct InputMessage {
    /// Its number.
    pub seq: InputSeq,
    /// What the game makes of it.
    pub bytes: Vec<u8>,
}

/// Step 1: what a source wants prepared.
#[derive(Clone, PartialEq, Debug, Archive, Serialize, Deserialize)]
pub struct PrepareRequest {
    /// Names the reservation.
    pub reservation: ReservationId,
    /// The player's session, if the entity is a player.
    pub session: Option<SessionId>,
    /// The cell that the entity is in.
    pub from_cell: CellId,
    /// The cell that it is about to enter.
    pub to_cell: CellId,
    /// Forecast time to the border, in microseconds; 0 if it is past it.
    pub crossing_in_us: u64,
    /// Estimated bytes of the snapshot.
    pub size_hint_bytes: u32,
    /// The schema that the snapshot is written in.
    pub schema: u32,
    /// Mesh time at which the source first asked.
    pub asked_at: Time,
}

/// Step 3: the coordinator's answer.
#[derive(Clone, PartialEq, Debug, Archive, Serialize, Deserialize)]
pub enum PrepareOutcome {
    /// The target was notified.
    Notified {
        /// Who receives.
        target: Peer,
    },
    /// It was not.
    Refused(RefuseReason),
}

/// How a node answers the coordinator that wants to let a player in.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub enum AdmitOutcome {
    /// The player may come.
    Token {
        /// Admits one client.
        token: Token,
        /// How long it is good, in microseconds.
        ttl_us: u64,
    },
    /// The entity is elsewhere by now.
    Moved {
        /// Where.
        to: Peer,
    },
    /// The node does not know the entity.
    NotHere,
    /// The node can't take the player.
    Refused(RefuseReason),
}

/// What happened to an authority, as its node tells the coordinator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub enum AuthorityEvent {
    /// The entity was spawned or joined here.
    Spawned,
    /// It was handed to this node; its last tick on the source is named.
    Received {
        /// The last tick that the source simulated.
        last_tick: Tick,
    },
    /// It was handed away.
    GaveAway {
        /// To whom.
        to: Peer,
        /// How long each phase took.
        phases: HandoffPhases,
    },
    /// A transfer was aborted: this node goes on at the burned epoch.
    Thawed,
    /// It goes on here from a copy: the node that held it is dead.
    Recovered,
    /// It is no more.
    Despawned,
    /// Nothing happened: it is held here, active or frozen, as a coordinator that has just started must know.
    Held,
}

/// One change of authority.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub struct AuthorityChange {
    /// Whose.
    pub entity: EntityId,
    /// The player's session.
    pub session: Option<SessionId>,
    /// The epoch that the change made or ended.
    pub epoch: AuthorityEpoch,
    /// The cell that the entity is in.
    pub cell: Option<CellId>,
    /// The first tick under it (`Spawned`, `Received`, `Thawed`) or the last (`GaveAway`, `Despawned`).
    pub tick: Tick,
    /// What happened.
    pub event: AuthorityEvent,
}

/// How an entity stands at a node, in a census.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub enum CensusStanding {
    /// Simulated here.
    Active,
    /// Frozen here, in transfer.
    Frozen,
}

/// One entity in a census.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub struct CensusEntry {
    /// Which entity.
    pub entity: EntityId,
    /// Its session, if it is a player.
    pub session: Option<SessionId>,
    /// At which epoch.
    pub epoch: AuthorityEpoch,
    /// How.
    pub standing: CensusStanding,
}

/// How busy a node is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Archive, Serialize, Deserialize)]
pub struct Load {
    /// Entities held.
    pub entities: u32,
    /// Of these, players.
    pub players: u32,
    /// Ghosts of others' entities.
    pub ghosts: u32,
    /// Client connections.
    pub clients: u32,
    /// Handoffs received since the start.
    pub handoffs_in: u64,
}

/// Everything that nodes and the coordinator say to each other.
#[derive(Clone, PartialEq, Debug, Archive, Serialize, Deserialize)]
pub enum Message {
    // Membership.
    /// Node -> coordinator: asks for an incarnation.
    Register {
        /// Who.
        node: NodeId,
        /// Tells two processes with one id apart: a random number of the process.
        process: u64,
        /// Counts the lives of that process: one that lost its lease asks for another.
        life: u32,
        /// The node's own clock, echoed in the answer: its lease runs from here.
        sent_at: Time,
        /// Where other nodes reach it, `ip:port`.
        mesh_addr: String,
        /// Where clients reach it, `ip:port`.
        client_addr: String,
        /// The TLS server name of its client endpoint.
        server_name: String,
        /// The oldest schema read.
        schema_min: u32,
        /// The newest schema read.
        schema_max: u32,
    },
    /// Coordinator -> node: registered.
    Registered {
        /// The coordinator's term.
        term: Term,
        /// Which life of the process this answers.
        life: u32,
        /// As it was in the registration that this answers.
        sent_at: Time,
        /// The fencing number granted.
        incarnation: Incarnation,
        /// How long a lease lasts, in microseconds.
        lease_us: u64,
        /// The grid of the world.
        grid: GridConfig,
        /// Microseconds between two ticks.
        tick_interval_us: u64,
        /// How far entities are replicated across borders, in metres.
        interest_margin_m: f64,
        /// The whole cell map.
        map: CellMapImage,
    },
    /// Coordinator -> node: not registered, and why.
    RegisterRefused {
        /// For a person to act on.
        reason: String,
    },
    /// Node -> coordinator, regularly.
    Heartbeat {
        /// Whose.
        incarnation: Incarnation,
        /// The node's own clock, echoed in the answer.
        sent_at: Time,
        /// The version of the cell map that the node has.
        map_version: u64,
        /// What the node takes mesh time to be when it sends this; none as long as nobody told it. A coordinator that
        /// has just started goes on from there.
        mesh_time: Option<Time>,
        /// The newest term whose coordinator knows everything that the node holds.
        reported: Term,
        /// How busy it is.
        load: Load,
    },
    /// Coordinator -> node.
    HeartbeatReply {
        /// The coordinator's term.
        term: Term,
        /// As it was in the heartbeat.
        sent_at: Time,
        /// Mesh time when the answer was sent; none while a coordinator that has just started still asks the nodes.
        mesh_time: Option<Time>,
    },
    /// Coordinator -> node: the map changed.
    MapDiff {
        /// The coordinator's term.
        term: Term,
        /// What changed.
        diff: CellMapDiff,
    },
    /// Coordinator -> node: the whole map, where a diff doesn't fit.
    MapWhole {
        /// The coordinator's term.
        term: Term,
        /// The map.
        map: CellMapImage,
    },

    // A crossing, in order.
    /// 1. Source -> coordinator.
    PrepareRequest(PrepareRequest),
    /// 2. Coordinator -> target. Blob: the character's baseline from the store, or nothing.
    PrepareToReceive {
        /// The coordinator's term.
        term: Term,
        /// What the source wants.
        request: PrepareRequest,
    },
    /// 3. Coordinator -> source.
    PrepareReply {
        /// The coordinator's term.
        term: Term,
        /// Which preparation.
        reservation: ReservationId,
        /// How it went.
        outcome: PrepareOutcome,
    },
    /// 3b. Source -> target, when the coordinator is silent.
    PrepareDirect(PrepareRequest),
    /// 4. Target -> source: reserved.
    Ready {
        /// Which preparation.
        reservation: ReservationId,
        /// Admits the player's client.
        token: Option<Token>,
        /// How long it is good, in microseconds.
        token_ttl_us: u64,
    },
    /// 4b. Target -> source: not reserved.
    Refuse {
        /// Which preparation.
        reservation: ReservationId,
        /// Why.
        reason: RefuseReason,
    },
    /// Source -> target: the crossing won't happen; forget the reservation.
    CancelPrepare {
        /// Which preparation.
        reservation: ReservationId,
    },
    /// 6. Source -> target. Blob: a snapshot, whole or of what changed.
    Precopy {
        /// Which preparation.
        reservation: ReservationId,
    },
    /// 6b. Target -> source: the pre-copy is there, or the game refused it.
    Warmed {
        /// Which preparation.
        reservation: ReservationId,
        /// What the target has by now.
        versions: ComponentVersions,
        /// Why it can't be used, if it can't.
        refused: Option<RefuseReason>,
    },
    /// 7. Source -> target: the cutover. Blob: hot state and what changed since the pre-copy, then the members', end to end.
    Transfer {
        /// Idempotence key.
        id: HandoffId,
        /// The preparation that it uses.
        reservation: ReservationId,
        /// The last tick that the source simulated.
        last_tick: Tick,
        /// Inputs that reached the source after the last applied one.
        pending: Vec<InputMessage>,
        /// Mesh time at which the source first asked to prepare.
        asked_at: Time,
        /// Who goes along, all or none, each after what it is attached to.
        members: Vec<MemberTransfer>,
    },
    /// 8. Target -> source: the target holds the entity now.
    Accepted {
        /// Which handoff.
        id: HandoffId,
        /// A second token for the client, good for as long as the first kind.
        token: Option<Token>,
        /// The same for each who came along.
        members: Vec<(HandoffId, Option<Token>)>,
    },
    /// 8b. Target -> source: it doesn't, and never will at this id. Whoever was to come along stays too.
    Rejected {
        /// Which handoff.
        id: HandoffId,
        /// Why.
        reason: RefuseReason,
    },
    /// Source -> target, after silence: never activate this id, nor theirs who go along.
    Cancel {
        /// Which handoff.
        id: HandoffId,
        /// Those of whom goes along: the target may not know them.
        members: Vec<HandoffId>,
    },
    /// Target -> source: it never will.
    Cancelled {
        /// Which handoff.
        id: HandoffId,
    },
    /// Source or tombstone -> holder: inputs that came late.
    RelayInputs {
        /// For which entity.
        entity: EntityId,
        /// How often they were passed on.
        hops: u8,
        /// The inputs.
        inputs: Vec<InputMessage>,
    },
    /// 10. Node -> coordinator, batched.
    AuthorityChanged {
        /// The highest term that the node has seen: a coordinator of a lower one acknowledges nothing.
        term: Term,
        /// The life that tells it: what a former one held is not a later one's.
        incarnation: Incarnation,
        /// What changed.
        changes: Vec<AuthorityChange>,
    },
    /// Coordinator -> node: these need not be repeated.
    AuthorityAck {
        /// The coordinator's term.
        term: Term,
        /// Entities and the epochs acknowledged.
        acknowledged: Vec<(EntityId, AuthorityEpoch)>,
    },

    // Replication.
    /// Node -> neighbour: what of its own is near the neighbour's cells, and the neighbour's acknowledgements. Blob: bytes
    /// of [`ghost`](crate::ghost), which travel as they are, without a head.
    Ghosts,

    // Sessions.
    /// Coordinator -> node: let this player in. Blob: the character's baseline, or nothing.
    Admit {
        /// The coordinator's term.
        term: Term,
        /// Echoed in the answer.
        request: u64,
        /// The player's session.
        session: SessionId,
        /// The player's entity.
        entity: EntityId,
        /// The player's name.
        name: String,
        /// Whether the entity exists already (a player who comes back).
        resume: bool,
        /// Where a new entity enters.
        entry: crate::grid::Position,
    },
    /// Node -> coordinator.
    AdmitReply {
        /// As it was in the request.
        request: u64,
        /// How it went.
        outcome: AdmitOutcome,
    },
    /// Node -> coordinator: the character as it left. Blob: a whole snapshot.
    SaveCharacter {
        /// The player's session.
        session: SessionId,
        /// The player's entity.
        entity: EntityId,
        /// The life in which it ended: the node may have begun another one since.
        incarnation: Incarnation,
        /// At which epoch it ended.
        end: AuthorityEpoch,
    },
    /// Coordinator -> node: saved.
    SaveAck {
        /// The coordinator's term.
        term: Term,
        /// The player's session.
        session: SessionId,
    },

    // Faults.
    /// Leases and fencing.
    Lease(super::lease::LeaseMessage),
    /// Recovery of what dead nodes held.
    Recovery(super::recovery::RecoveryMessage),
    /// Checkpoints. Blob: as each says.
    Standby(super::standby::StandbyMessage),

    // Looking in from outside.
    /// Coordinator -> node: what do you hold?
    Census {
        /// The coordinator's term.
        term: Term,
        /// Echoed in the answer.
        request: u64,
    },
    /// Node -> coordinator.
    CensusReply {
        /// As it was in the request.
        request: u64,
        /// Everything held.
        entries: Vec<CensusEntry>,
    },
    /// Coordinator <-> node: why is this entity where it is?
    Why(super::why::WhyMessage),
    /// Node -> coordinator. Blob: the node's measurements as JSON; the core doesn't read them.
    Report,

    // Between entities.
    /// Actions. On the action lane between nodes, on the control lane to and from the coordinator.
    Action(super::action::ActionMessage),
    /// Events. Likewise.
    Event(super::event::EventMessage),
}
