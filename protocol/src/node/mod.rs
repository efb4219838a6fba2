//! The composed machine of one node. Files by what they deal with:
//!
//! - `membership`: the coordinator, the cell map, mesh time
//! - `lease`: how long this node may simulate, and what it witnesses of others
//! - `recovery`: what dead nodes held
//! - `source`, `cutover`: an entity on its way out
//! - `reservation`: room for an entity that may come
//! - `target`: an entity that comes
//! - `clients`: players' connections, inputs, entering and leaving
//! - `actions`: actions between entities, on their way
//! - `events`: events, on their way
//! - `replication`: ghosts, between nodes
//! - `views`: what clients see
//! - `directory`: what the coordinator is told about authority
//! - `standby`: checkpoints to the buddy, copies kept for others
//! - `game`: what the game reports
//! - `why`: what delays an entity, for those who look in from outside
//!
//! `handle` takes one input and never fails; `poll_output` is drained after it.

mod action_io;
mod actions;
mod clients;
mod cutover;
mod directory;
mod echo;
mod event;
mod events;
mod game;
mod group;
mod held;
mod io;
mod lease;
mod membership;
mod players;
mod recovery;
mod replication;
mod reservation;
mod source;
mod standby;
mod target;
mod views;
mod why;

pub use action_io::{ActionCommand, ActionNews, ActionReport};
pub use event::{GhostTraffic, NodeEvent};
pub use io::{
    ArmedMember, ArmedTarget, CheckpointCopy, Destination, FrozenEntity, GameCommand, GameReport, Input,
    LeaveReason, Output, Published, Registration, ReleaseReason, Sender,
};

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use crate::authority::{AuthorityTable, Standing};
use crate::cell_map::CellMap;
use crate::clock::MeshClock;
use crate::config::NodeConfig;
use crate::grid::Grid;
use crate::group::Attachments;
use crate::handoff::target::Reservation;
use crate::handoff::tombstone::Tombstone;
use crate::id::{AuthorityEpoch, ClientId, EntityId, Incarnation, NodeId, Peer, SessionId};
use crate::recovery::Participant;
use crate::time::{Tick, Time};
use crate::timers::Timers;
use crate::token::TokenTable;
use crate::wire::{CensusEntry, CensusStanding, Lane, Message, RefuseReason, ServerMessage};

use clients::ClientState;
use directory::Directory;
use events::Events;
use held::{Arrival, Held};
use lease::Leases;
use membership::Membership;
use players::{PendingJoin, Save};
use replication::Ghosts;
use standby::Standby;

/// What a node must know of itself before it registers.
#[derive(Clone, Debug)]
pub struct NodeSetup {
    /// Its id, as its certificate says.
    pub node: NodeId,
    /// A random number that tells this process from any other with the same id.
    pub process: u64,
    /// Where other nodes reach it, `ip:port`.
    pub mesh_addr: String,
    /// Where clients reach it, `ip:port`.
    pub client_addr: String,
    /// The TLS server name of its client endpoint.
    pub server_name: String,
    /// How it hands off, forwards and forgets.
    pub config: NodeConfig,
    /// Feeds tokens and jitter; in a real process it comes from the operating system.
    pub seed: [u8; 32],
}

/// Why `handle_timeout` is to be called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum NodeTimeout {
    /// A heartbeat or registration is due.
    Membership,
    /// The lease is renewed, or runs out.
    Lease,
    /// Something about an entity's handoff is due.
    Handoff,
    /// Something expires: a reservation, a token, a tombstone, a lingering player.
    Expiry,
    /// Changes of authority or characters are to be reported.
    Directory,
    /// A checkpoint is due, or something about one.
    Standby,
    /// An action is repeated.
    Action,
    /// What came of ghosts is acknowledged.
    Ghosts,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum TimerKey {
    Membership,
    Renew,
    Lease,
    Directory,
    Saves,
    Checkpoint,
    Settling,
    Ghosts,
    Tokens,
    Source(EntityId),
    Reservation(EntityId, NodeId),
    Tombstone(EntityId),
    Linger(EntityId),
    Action(EntityId),
    Join(EntityId),
}

impl TimerKey {
    const fn reason(self) -> NodeTimeout {
        match self {
            Self::Membership => NodeTimeout::Membership,
            Self::Renew | Self::Lease => NodeTimeout::Lease,
            Self::Directory | Self::Saves => NodeTimeout::Directory,
            Self::Checkpoint | Self::Settling => NodeTimeout::Standby,
            Self::Action(_) => NodeTimeout::Action,
            Self::Source(_) => NodeTimeout::Handoff,
            Self::Ghosts => NodeTimeout::Ghosts,
            Self::Tokens | Self::Reservation(..) | Self::Tombstone(_) | Self::Linger(_) | Self::Join(_) => {
                NodeTimeout::Expiry
            }
        }
    }
}

/// The composed machine of one node. See the module's page.
#[derive(Debug)]
pub struct Node {
    setup: NodeSetup,
    random: ChaCha20Rng,
    membership: Membership,
    leases: Leases,
    echo: echo::Echo,
    participant: Participant,
    /// What was restored in the open round and is in no safe checkpoint yet.
    unsafe_restores: BTreeSet<(EntityId, AuthorityEpoch)>,
    clock: MeshClock,
    map: Arc<CellMap>,
    links: BTreeMap<NodeId, Incarnation>,
    authority: AuthorityTable,
    held: BTreeMap<EntityId, Held>,
    /// What rides on what, of all that is held; and of what it came with, if that has not come.
    groups: Attachments,
    reservations: BTreeMap<(EntityId, NodeId), Reservation>,
    /// What the pre-copies among them weigh, by source.
    precopied_bytes: BTreeMap<NodeId, usize>,
    tombstones: BTreeMap<EntityId, Tombstone>,
    joins: BTreeMap<EntityId, PendingJoin>,
    saves: BTreeMap<SessionId, Save>,
    tokens: TokenTable,
    clients: BTreeMap<ClientId, ClientState>,
    ghosts: Ghosts,
    directory: Directory,
    events: Events,
    standby: Standby,
    timers: Timers<TimerKey>,
    handoffs_in: u64,
    /// The last tick that the game finished.
    last_frame: Tick,
    outputs: VecDeque<Output>,
}

impl Node {
    /// Makes a node that has not registered yet.
    #[must_use]
    pub fn new(setup: NodeSetup) -> Self {
        let random = ChaCha20Rng::from_seed(setup.seed);
        let standby = Standby::new(&setup.config);
        let ghosts = Ghosts::new(Membership::default().tick_interval(), setup.config.ghost_ttl);
        let mut authority = AuthorityTable::new();
        #[cfg(feature = "planted-bugs")]
        if let Some(bug) = setup.config.planted_bug {
            authority.plant(bug);
        }
        #[cfg(not(feature = "planted-bugs"))]
        let _ = &mut authority;
        Self {
            setup,
            random,
            membership: Membership::default(),
            leases: Leases::default(),
            echo: echo::Echo::default(),
            participant: Participant::default(),
            unsafe_restores: BTreeSet::new(),
            clock: MeshClock::new(),
            map: Arc::new(CellMap::default()),
            links: BTreeMap::new(),
            authority,
            held: BTreeMap::new(),
            groups: Attachments::new(),
            reservations: BTreeMap::new(),
            precopied_bytes: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            joins: BTreeMap::new(),
            saves: BTreeMap::new(),
            tokens: TokenTable::default(),
            clients: BTreeMap::new(),
            ghosts,
            directory: Directory::default(),
            events: Events::default(),
            standby,
            timers: Timers::new(),
            handoffs_in: 0,
            last_frame: Tick::default(),
            outputs: VecDeque::new(),
        }
    }

    /// This node in this life, once it is registered.
    #[must_use]
    pub fn me(&self) -> Option<Peer> {
        self.membership.me()
    }

    /// How the entity stands here.
    #[must_use]
    pub fn standing(&self, entity: EntityId) -> Option<Standing> {
        self.authority.standing(entity)
    }

    /// Everything that this node holds, in order of id.
    pub fn authorities(&self) -> impl Iterator<Item = (EntityId, Standing)> + '_ {
        self.authority.held()
    }

    /// The cell map as this node knows it.
    #[must_use]
    pub const fn map(&self) -> &Arc<CellMap> {
        &self.map
    }

    /// Takes one input. Never fails.
    pub fn handle(&mut self, input: Input, now: Time) {
        self.check_lease(now);
        match input {
            Input::CoordinatorUp => self.on_coordinator_up(now),
            Input::CoordinatorDown => self.membership.coordinator_linked = false,
            Input::LinkUp { peer } => self.on_link_up(peer, now),
            Input::LinkDown { node } => self.on_link_down(node),
            Input::Message { from, message, blob } => self.on_message(from, message, blob, now),
            Input::ClientHello { client, token } => self.on_client_hello(client, &token, now),
            Input::ClientMessage { client, message } => self.on_client_message(client, message, now),
            Input::ClientClosed { client } => self.on_client_closed(client, now),
            Input::Game(report) => self.on_game(report, now),
            Input::Report(json) => {
                self.outputs.push_back(Output::Send {
                    to: Destination::Coordinator,
                    lane: Lane::Checkpoint,
                    message: Message::Report,
                    blob: json,
                });
            }
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Time) {
        self.check_lease(now);
        while let Some(key) = self.timers.pop_due(now) {
            match key {
                TimerKey::Membership => self.on_membership_due(now),
                TimerKey::Renew => self.on_renew_due(now),
                // Every renewal that is answered puts it off; where none was, this life has ended above.
                TimerKey::Lease => self.check_lease(now),
                TimerKey::Directory => self.flush_directory(now),
                TimerKey::Saves => self.repeat_saves(now),
                TimerKey::Checkpoint => self.drive_checkpoint(now),
                TimerKey::Settling => self.drive_settling(now),
                TimerKey::Ghosts => self.acknowledge_ghosts(),
                TimerKey::Tokens => self.expire_tokens(now),
                TimerKey::Source(entity) => self.on_source_due(entity, now),
                TimerKey::Reservation(entity, source) => self.on_reservation_due(entity, source, now),
                TimerKey::Tombstone(entity) => self.on_tombstone_due(entity, now),
                TimerKey::Linger(entity) => self.on_linger_due(entity, now),
                TimerKey::Join(entity) => self.on_join_due(entity, now),
                TimerKey::Action(entity) => self.on_action_due(entity, now),
            }
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call `handle_timeout`, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Time, NodeTimeout)> {
        self.timers.next().map(|(at, key)| (at, key.reason()))
    }

    fn on_message(&mut self, from: Sender, message: Message, blob: Bytes, now: Time) {
        match from {
            Sender::Coordinator => self.on_coordinator_message(message, &blob, now),
            Sender::Node(peer) => self.on_peer_message(peer, message, blob, now),
        }
    }

    fn on_peer_message(&mut self, peer: Peer, message: Message, blob: Bytes, now: Time) {
        if self.me().is_none() || !self.is_linked(peer) {
            return;
        }
        match message {
            Message::PrepareDirect(request) => {
                if request.reservation.source == peer {
                    self.on_prepare(request, now);
                } else {
                    self.misbehaved(peer, "prepared in another node's name");
                }
            }
            Message::Ready { reservation, token, token_ttl_us: _ } => {
                self.on_ready(peer, reservation, token, now);
            }
            Message::Refuse { reservation, reason } => self.on_refuse(peer, reservation, reason, now),
            Message::CancelPrepare { reservation } => self.on_cancel_prepare(peer, reservation),
            Message::Precopy { reservation } => self.on_precopy(peer, reservation, blob, now),
            Message::Warmed { reservation, versions, refused } => {
                self.on_warmed_by_target(peer, reservation, versions, refused, now);
            }
            Message::Transfer { id, reservation, last_tick, pending, asked_at, members } => {
                let transfer = target::Transfer { id, reservation, last_tick, pending, asked_at };
                if members.is_empty() {
                    self.on_transfer(peer, transfer, blob, now);
                } else {
                    self.on_group_transfer(peer, transfer, members, &blob, now);
                }
            }
            Message::Accepted { id, token, members } => self.on_accepted(peer, id, token, &members, now),
            Message::Rejected { id, reason } => self.on_not_taken(peer, id, Some(reason), now),
            Message::Cancel { id, members } => self.on_cancel(peer, id, &members),
            Message::Cancelled { id } => self.on_not_taken(peer, id, None, now),
            Message::RelayInputs { entity, hops, inputs } => self.on_relay(entity, hops, inputs, now),
            Message::Action(said) => self.on_action(peer, said, now),
            Message::Event(said) => self.on_event(peer, said),
            Message::Ghosts => self.on_ghosts(peer, &blob, now),
            Message::Lease(said) => self.on_peer_lease(peer, said, now),
            Message::Standby(said) => self.on_standby(peer, said, &blob, now),
            Message::Recovery(_) => {}
            Message::Register { .. }
            | Message::Registered { .. }
            | Message::RegisterRefused { .. }
            | Message::Heartbeat { .. }
            | Message::HeartbeatReply { .. }
            | Message::MapDiff { .. }
            | Message::MapWhole { .. }
            | Message::PrepareRequest(_)
            | Message::PrepareToReceive { .. }
            | Message::PrepareReply { .. }
            | Message::AuthorityChanged { .. }
            | Message::AuthorityAck { .. }
            | Message::Admit { .. }
            | Message::AdmitReply { .. }
            | Message::SaveCharacter { .. }
            | Message::SaveAck { .. }
            | Message::Census { .. }
            | Message::CensusReply { .. }
            | Message::Why(_)
            | Message::Report => {
                self.misbehaved(peer, "sent a message that only the coordinator's link carries")
            }
        }
    }

    fn census(&self) -> Vec<CensusEntry> {
        self.authority
            .held()
            .map(|(entity, standing)| {
                let session = self.held.get(&entity).and_then(|held| held.session);
                let (epoch, standing) = match standing {
                    Standing::Active(epoch) => (epoch, CensusStanding::Active),
                    Standing::Frozen { id, .. } => (id.epoch, CensusStanding::Frozen),
                };
                CensusEntry { entity, session, epoch, standing }
            })
            .collect()
    }

    fn grid(&self) -> Option<&Grid> {
        self.membership.grid()
    }

    fn send(&mut self, to: NodeId, lane: Lane, message: Message) {
        self.send_with(to, lane, message, Bytes::new());
    }

    fn send_with(&mut self, to: NodeId, lane: Lane, message: Message, blob: Bytes) {
        self.outputs.push_back(Output::Send { to: Destination::Node(to), lane, message, blob });
    }

    fn tell_coordinator(&mut self, message: Message) {
        self.outputs.push_back(Output::Send {
            to: Destination::Coordinator,
            lane: Lane::Control,
            message,
            blob: Bytes::new(),
        });
    }

    fn tell_client(&mut self, client: ClientId, message: ServerMessage) {
        self.outputs.push_back(Output::Client { client, message });
    }

    fn command(&mut self, command: GameCommand) {
        if let GameCommand::Release { entity, why: ReleaseReason::Void, .. } = &command {
            // The game took what it held in good faith for no ghost.
            self.ghosts.set_right(*entity);
        }
        self.outputs.push_back(Output::Game(command));
    }

    fn event(&mut self, event: NodeEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    fn misbehaved(&mut self, peer: Peer, what: impl Into<Cow<'static, str>>) {
        self.event(NodeEvent::PeerMisbehaved { peer, what: what.into() });
    }

    fn client_misbehaved(&mut self, client: ClientId, what: &'static str) {
        self.event(NodeEvent::ClientMisbehaved { client, what });
    }

    fn refuse_prepare(&mut self, to: Peer, reservation: crate::id::ReservationId, reason: RefuseReason) {
        self.send(to.node, Lane::Control, Message::Refuse { reservation, reason });
    }
}
