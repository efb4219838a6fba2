//! The composed machine of the coordinator. Its clock is mesh time. Files by what they deal with:
//!
//! - `nodes`: registration, heartbeats, the cell map
//! - `leases`: who is suspected, whose life is over
//! - `recovery`: what becomes of what the dead held
//! - `prepare`: step 2 of a crossing
//! - `directory`: who holds what, and whether the reports add up
//! - `announcements`: events for the whole world
//! - `sessions`: players at the door
//! - `stays`: their sessions, and their characters on the way to the store
//! - `mesh_time`: where mesh time goes on after a restart
//! - `history`, `why`: what became of one entity, and what keeps it where it is
//! - `persist`: what must survive one

mod announcements;
mod directory;
mod history;
mod io;
mod leases;
mod mesh_time;
mod nodes;
mod persist;
mod prepare;
mod recovery;
mod sessions;
mod stays;
mod why;

pub use history::{Episode, EpisodeKind};
pub use io::{
    CoordinatorEvent, CoordinatorInput, CoordinatorOutput, CoordinatorStatus, LiveProcess, NodeStatus,
};
pub use persist::{
    CoordinatorImage, ImageError, LifeImage, Record, RestoreError, RowError, SessionImage, WorldImage,
};
pub use why::{Answered, Asked, Ended, HistoryRow, Listed, Reason, Whom, WhyAccount};

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use core::time::Duration;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use crate::cell_map::CellMap;
use crate::config::{ConfigError, CoordinatorConfig};
use crate::grid::Grid;
use crate::id::{Incarnation, NodeId, Peer, SessionId, Term};
use crate::lease::Warden;
use crate::recovery::RoundKeeper;
use crate::time::Time;
use crate::timers::Timers;
use crate::wire::{ActionMessage, CensusEntry, EventMessage, Lane, Message, Round, WhyMessage};

use announcements::Announcements;
use directory::Directory;
use mesh_time::MeshTime;
use nodes::NodeRecord;
use sessions::Entry;
use stays::Session;
use why::Inquiry;

/// How long a census waits for its nodes.
const CENSUS_PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a blob that still goes on the control lane.
const CONTROL_BLOB_BYTES_MAX: usize = 64 * 1024;
/// Cells of a map that still goes on the control lane.
const CONTROL_CELLS_MAX: usize = 8_192;
/// Censuses under way at once. Further ones are answered empty, with every node missing.
const CENSUSES_MAX: usize = 16;

/// Why `handle_timeout` is to be called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CoordinatorTimeout {
    /// A node is suspected, asked about, or over.
    Lease,
    /// A question to a node is repeated or given up, or a session is forgotten.
    Question,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum TimerKey {
    Leases,
    Round,
    Entry(u64),
    Session(SessionId),
    Census(u64),
    Why(u64),
}

#[derive(Debug)]
struct Census {
    answers: BTreeMap<NodeId, Vec<CensusEntry>>,
    waiting: Vec<NodeId>,
    deadline: Time,
}

/// The composed machine of the coordinator. Its clock is mesh time. See the module's page.
#[derive(Debug)]
pub struct Coordinator {
    config: CoordinatorConfig,
    grid: Grid,
    term: Term,
    random: ChaCha20Rng,
    nodes: BTreeMap<NodeId, NodeRecord>,
    warden: Warden,
    rounds: RoundKeeper,
    /// Every life that is not settled, as it is persisted.
    lives: BTreeMap<Peer, LifeImage>,
    last_incarnation: Incarnation,
    mesh_time: MeshTime,
    map: Arc<CellMap>,
    directory: Directory,
    sessions: BTreeMap<SessionId, Session>,
    /// Names in the world. Invariant: each leads to a session of that name.
    names: BTreeMap<String, SessionId>,
    entries: BTreeMap<u64, Entry>,
    entered: u64,
    censuses: BTreeMap<u64, Census>,
    inquiries: BTreeMap<u64, Inquiry>,
    prepares_notified: u64,
    prepares_refused: u64,
    announcements: Announcements,
    timers: Timers<TimerKey>,
    outputs: VecDeque<CoordinatorOutput>,
}

impl Coordinator {
    /// Makes a coordinator without nodes, which remembers nothing.
    ///
    /// # Errors
    /// If the configuration is out of range.
    pub fn new(config: CoordinatorConfig, term: Term, seed: [u8; 32]) -> Result<Self, ConfigError> {
        let mut machine = Self::bare(config, term, seed)?;
        machine.persist(Record::Term(term));
        machine.persist(Record::World(WorldImage::of(&machine.config)));
        Ok(machine)
    }

    fn bare(config: CoordinatorConfig, term: Term, seed: [u8; 32]) -> Result<Self, ConfigError> {
        config.world.check()?;
        let grid = Grid::new(config.world.grid)?;
        let warden = leases::warden(&config);
        let rounds = recovery::keeper(&config, Round { term, number: 0 });
        Ok(Self {
            config,
            grid,
            term,
            random: ChaCha20Rng::from_seed(seed),
            nodes: BTreeMap::new(),
            warden,
            rounds,
            lives: BTreeMap::new(),
            last_incarnation: Incarnation(0),
            mesh_time: MeshTime::default(),
            map: Arc::new(CellMap::default()),
            directory: Directory::default(),
            sessions: BTreeMap::new(),
            names: BTreeMap::new(),
            entries: BTreeMap::new(),
            entered: 0,
            censuses: BTreeMap::new(),
            inquiries: BTreeMap::new(),
            prepares_notified: 0,
            prepares_refused: 0,
            announcements: Announcements::default(),
            timers: Timers::new(),
            outputs: VecDeque::new(),
        })
    }

    /// The cell map.
    #[must_use]
    pub const fn map(&self) -> &Arc<CellMap> {
        &self.map
    }

    /// The grid of the world.
    #[must_use]
    pub const fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Takes one input. Never fails.
    pub fn handle(&mut self, input: CoordinatorInput, now: Time) {
        self.warden.notice(now);
        match input {
            // Whose process it leads to shows with the first heartbeat or registration.
            CoordinatorInput::LinkUp { node: _ } => {}
            CoordinatorInput::LinkDown { node } => self.on_link_down(node),
            CoordinatorInput::Message { from, incarnation: _, message, blob } => {
                self.on_message(from, message, blob, now);
            }
            CoordinatorInput::Session { request, message } => self.on_session_request(request, message, now),
            CoordinatorInput::Authenticated { request, verdict } => {
                self.on_authenticated(request, verdict, now)
            }
            CoordinatorInput::CharacterLoaded { request, character } => {
                self.on_character_loaded(request, character, now);
            }
            CoordinatorInput::CharacterSaved { session, node, result } => {
                self.on_character_saved(session, node, result);
            }
            CoordinatorInput::CensusAsked { request } => self.on_census_asked(request, now),
            CoordinatorInput::WhyAsked { request, whom } => self.on_why_asked(request, &whom, now),
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Time) {
        self.warden.notice(now);
        while let Some(key) = self.timers.pop_due(now) {
            match key {
                TimerKey::Leases => self.on_leases_due(now),
                TimerKey::Round => self.on_round_due(now),
                TimerKey::Entry(request) => self.on_entry_due(request, now),
                TimerKey::Session(session) => self.on_session_due(session, now),
                TimerKey::Census(request) => self.on_census_due(request, now),
                TimerKey::Why(request) => self.on_why_due(request, now),
            }
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<CoordinatorOutput> {
        self.outputs.pop_front()
    }

    /// When to call `handle_timeout`, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Time, CoordinatorTimeout)> {
        self.timers.next().map(|(at, key)| match key {
            TimerKey::Leases | TimerKey::Round => (at, CoordinatorTimeout::Lease),
            TimerKey::Entry(_) | TimerKey::Session(_) | TimerKey::Census(_) | TimerKey::Why(_) => {
                (at, CoordinatorTimeout::Question)
            }
        })
    }

    /// The coordinator at a glance.
    #[must_use]
    pub fn status(&self, now: Time) -> CoordinatorStatus {
        let cells = self.grid.cells().count();
        let owned = self.map.owners().keys().filter(|cell| cell.level() == 0).count();
        CoordinatorStatus {
            term: self.term,
            mesh_time_us: self.mesh_time.about(now).as_micros(),
            map_version: self.map.version(),
            cells,
            cells_without_owner: cells.saturating_sub(owned),
            nodes: self.nodes.values().map(|record| record.status(&self.map, now)).collect(),
            sessions: self.sessions.len(),
            entities: self.directory.len(),
            directory_whole: self.directory.is_whole(),
            prepares_notified: self.prepares_notified,
            prepares_refused: self.prepares_refused,
            authority_changes: self.directory.changes(),
            authority_violations: self.directory.violations(),
        }
    }

    fn on_message(&mut self, from: NodeId, message: Message, blob: Bytes, now: Time) {
        match message {
            Message::Register {
                node,
                process,
                life,
                sent_at,
                mesh_addr,
                client_addr,
                server_name,
                schema_min: _,
                schema_max: _,
            } => {
                if node == from {
                    let addresses = nodes::Addresses { mesh_addr, client_addr, server_name };
                    let process = nodes::Process { number: process, life };
                    self.on_register(node, process, addresses, sent_at, now);
                } else {
                    let what = format!("its certificate is not that of the node {node} that it registers as");
                    self.misbehaved(from, what);
                }
            }
            Message::Heartbeat { incarnation, sent_at, map_version, mesh_time, reported, load } => {
                let beat = nodes::Beat { incarnation, sent_at, map_version, mesh_time, reported, load };
                self.on_heartbeat(from, beat, now);
            }
            Message::PrepareRequest(request) => self.on_prepare_request(from, request),
            Message::AuthorityChanged { term, incarnation, changes } => {
                let by = Peer { node: from, incarnation };
                self.on_authority_changed(by, term, &changes, now);
            }
            Message::AdmitReply { request, outcome } => self.on_admit_reply(from, request, outcome, now),
            Message::SaveCharacter { session, entity: _, incarnation, end } => {
                let by = Peer { node: from, incarnation };
                self.on_save_character(by, session, end, blob);
            }
            Message::CensusReply { request, entries } => self.on_census_reply(from, request, entries),
            Message::Why(WhyMessage::Answer { request, whereabouts }) => {
                self.on_why_answer(from, request, whereabouts, now);
            }
            // The runtime keeps reports; the core has no use for them.
            Message::Report => {}
            Message::Event(EventMessage::Happens(event)) => self.on_announcement(from, event, now),
            Message::Action(ActionMessage::Locate { entity }) => self.on_locate(from, entity),
            Message::Lease(said) => self.on_lease_message(from, said, now),
            Message::Recovery(said) => self.on_recovery_message(from, said, now),
            Message::Registered { .. }
            | Message::Action(_)
            | Message::Event(_)
            | Message::Standby(_)
            | Message::RegisterRefused { .. }
            | Message::HeartbeatReply { .. }
            | Message::MapDiff { .. }
            | Message::MapWhole { .. }
            | Message::PrepareToReceive { .. }
            | Message::PrepareReply { .. }
            | Message::PrepareDirect(_)
            | Message::Ready { .. }
            | Message::Refuse { .. }
            | Message::CancelPrepare { .. }
            | Message::Precopy { .. }
            | Message::Warmed { .. }
            | Message::Transfer { .. }
            | Message::Accepted { .. }
            | Message::Rejected { .. }
            | Message::Cancel { .. }
            | Message::Cancelled { .. }
            | Message::RelayInputs { .. }
            | Message::AuthorityAck { .. }
            | Message::Ghosts
            | Message::Admit { .. }
            | Message::SaveAck { .. }
            | Message::Census { .. }
            | Message::Why(WhyMessage::Ask { .. }) => {
                self.misbehaved(from, "it sent a message that is not for a coordinator".to_owned());
            }
        }
    }

    fn on_census_asked(&mut self, request: u64, now: Time) {
        let waiting: Vec<NodeId> = self.nodes.keys().copied().collect();
        if self.censuses.len() >= CENSUSES_MAX || waiting.is_empty() {
            self.outputs.push_back(CoordinatorOutput::Census {
                request,
                nodes: Vec::new(),
                missing: waiting,
            });
            return;
        }
        let census = Census { answers: BTreeMap::new(), waiting, deadline: now + CENSUS_PATIENCE };
        self.censuses.insert(request, census);
        self.on_census_due(request, now);
    }

    fn on_census_due(&mut self, request: u64, now: Time) {
        let Some(census) = self.censuses.get(&request) else {
            return;
        };
        if census.deadline <= now {
            self.end_census(request);
            return;
        }
        let waiting = census.waiting.clone();
        self.timers.set(TimerKey::Census(request), (now + self.config.retry).min(census.deadline));
        for node in waiting {
            self.send(node, Message::Census { term: self.term, request });
        }
    }

    fn on_census_reply(&mut self, from: NodeId, request: u64, entries: Vec<CensusEntry>) {
        let Some(census) = self.censuses.get_mut(&request) else {
            return;
        };
        let Some(index) = census.waiting.iter().position(|&node| node == from) else {
            return;
        };
        census.waiting.swap_remove(index);
        census.answers.insert(from, entries);
        if census.waiting.is_empty() {
            self.end_census(request);
        }
    }

    fn end_census(&mut self, request: u64) {
        self.timers.cancel(TimerKey::Census(request));
        if let Some(census) = self.censuses.remove(&request) {
            let nodes = census.answers.into_iter().collect();
            self.outputs.push_back(CoordinatorOutput::Census { request, nodes, missing: census.waiting });
        }
    }

    fn send(&mut self, to: NodeId, message: Message) {
        self.send_with(to, message, Bytes::new());
    }

    /// What is large goes on a stream of its own: the control lane is for what is small.
    fn send_with(&mut self, to: NodeId, message: Message, blob: Bytes) {
        let lane = if blob.len() > CONTROL_BLOB_BYTES_MAX { Lane::Checkpoint } else { Lane::Control };
        self.outputs.push_back(CoordinatorOutput::Send { to, lane, message, blob });
    }

    fn send_map(&mut self, to: NodeId, message: Message) {
        let large = self.map.owners().len() > CONTROL_CELLS_MAX;
        let lane = if large { Lane::Checkpoint } else { Lane::Control };
        self.outputs.push_back(CoordinatorOutput::Send { to, lane, message, blob: Bytes::new() });
    }

    fn event(&mut self, event: CoordinatorEvent) {
        self.outputs.push_back(CoordinatorOutput::Event(event));
    }

    fn misbehaved(&mut self, node: NodeId, what: String) {
        self.event(CoordinatorEvent::NodeMisbehaved { node, what });
    }
}
