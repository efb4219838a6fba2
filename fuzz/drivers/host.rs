//! A node with an honest game of points, as the fuzzed programs drive it.
//!
//! After every input: what the node says is within what its peers take, no authority goes backward, nothing floods.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use selvedge_protocol::action::Terms;
use selvedge_protocol::authority::Standing;
use selvedge_protocol::cell_map::CellMap;
use selvedge_protocol::config::NodeConfig;
use selvedge_protocol::event::Area;
use selvedge_protocol::ghost::{GhostChange, Look, is_readable};
use selvedge_protocol::grid::{Motion, Position, Velocity};
use selvedge_protocol::id::{AuthorityEpoch, EntityId, NodeId};
use selvedge_protocol::limits::BLOB_BYTES_MAX;
use selvedge_protocol::node::{GameCommand, Input, Node, NodeEvent, NodeSetup, Output};
use selvedge_protocol::roster::{Callback, Performed, Roster};
use selvedge_protocol::snapshot::ComponentVersions;
use selvedge_protocol::time::{Tick, Time};
use selvedge_protocol::wire::{self, Message};

use super::named::Named;
use super::said;

/// Outputs that one input may cause: more is a flood.
const OUTPUTS_MAX: usize = 20_000;
/// Timers that may fire one after the other at one moment.
const TIMEOUTS_MAX: usize = 1_000;
const TICK: Duration = Duration::from_micros(33_333);

/// A node, its game and its clock.
pub struct Host {
    node: Node,
    roster: Option<Roster>,
    points: BTreeMap<EntityId, Motion>,
    pub refuse: bool,
    mailbox: VecDeque<GameCommand>,
    map: Arc<CellMap>,
    /// Ghosts that the game has been told of.
    shown: BTreeSet<EntityId>,
    /// What the node has named, tokens included.
    pub named: Named,
    /// What has happened at least once.
    pub reached: BTreeSet<&'static str>,
    /// The highest epoch of each entity in this life.
    highest: BTreeMap<EntityId, AuthorityEpoch>,
    pub now: Time,
    tick: Tick,
}

impl Host {
    pub fn new() -> Self {
        let setup = NodeSetup {
            node: NodeId::from_u128(1),
            process: 0,
            mesh_addr: "10.0.0.0:1".to_owned(),
            client_addr: "10.0.0.0:2".to_owned(),
            server_name: "node-0".to_owned(),
            config: NodeConfig::default(),
            seed: [0; 32],
        };
        Self {
            node: Node::new(setup),
            roster: None,
            points: BTreeMap::new(),
            refuse: false,
            mailbox: VecDeque::new(),
            map: Arc::new(CellMap::default()),
            named: Named::default(),
            shown: BTreeSet::new(),
            reached: BTreeSet::new(),
            highest: BTreeMap::new(),
            now: Time::from_micros(1_000_000),
            tick: Tick(0),
        }
    }

    pub fn handle(&mut self, input: Input) {
        self.node.handle(input, self.now);
        self.drain();
    }

    /// Lets time pass, as a runtime would: to every moment that the node asked for.
    pub fn wait(&mut self, duration: Duration) {
        let until = self.now + duration;
        let mut at_once = 0;
        while let Some((at, reason)) = self.node.poll_timeout().filter(|(at, _)| *at <= until) {
            at_once = if at <= self.now { at_once + 1 } else { 0 };
            assert!(at_once < TIMEOUTS_MAX, "the timer {reason:?} is due again and again");
            self.now = self.now.max(at);
            self.node.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn drain(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.node.poll_output() {
            outputs += 1;
            assert!(outputs < OUTPUTS_MAX, "a flood, at last of {output:?}");
            match output {
                Output::Game(command) => self.mailbox.push_back(command),
                Output::Registered(registration) => {
                    // A new life starts with empty hands.
                    self.points.clear();
                    self.mailbox.clear();
                    self.highest.clear();
                    self.shown.clear();
                    let id = NodeId::from_u128(1);
                    self.roster = Some(Roster::new(id, registration.grid, Arc::clone(&self.map), 1.0));
                }
                Output::MapChanged(map) => {
                    self.map = Arc::clone(&map);
                    if let Some(roster) = &mut self.roster {
                        roster.set_map(map);
                    }
                }
                Output::Send { message, blob, .. } => self.on_said(&message, &blob),
                Output::Client { message, .. } => {
                    let read = wire::decode_server(&wire::encode_server(&message));
                    assert!(read.is_ok(), "no client would take {message:?}: {read:?}");
                }
                Output::Event(event) => drop(self.reached.insert(kind(&event))),
                _ => {}
            }
        }
        for (entity, standing) in self.node.authorities() {
            let epoch = match standing {
                Standing::Active(epoch) => epoch,
                Standing::Frozen { id, .. } => id.epoch,
            };
            let highest = self.highest.entry(entity).or_insert(epoch);
            assert!(epoch >= *highest, "{entity} went back from {highest} to {epoch}");
            *highest = epoch;
        }
    }

    fn on_said(&mut self, message: &Message, blob: &Bytes) {
        // What is of ghosts has no head.
        let head = wire::encode_mesh(message);
        assert!(!head.is_empty() || is_readable(blob), "no peer would take these bytes of ghosts: {blob:?}");
        let read = wire::decode_mesh(if head.is_empty() { blob } else { &head });
        assert!(read.is_ok(), "no peer would take {message:?}: {read:?}");
        assert!(blob.len() <= BLOB_BYTES_MAX, "no peer would take {} bytes behind {message:?}", blob.len());
        self.named.notice(message);
    }

    /// The grant under which the game simulates an entity.
    pub fn grant(&self, entity: EntityId) -> Option<AuthorityEpoch> {
        self.roster.as_ref()?.grant(entity)
    }

    pub fn spawn(&mut self, entity: EntityId, x: f64, speed: f32) {
        let motion =
            Motion { position: Position::new(x, 50.0, 0.0), velocity: Velocity::new(speed, 0.0, 0.0) };
        let tick = self.tick;
        if self.roster.as_mut().is_some_and(|roster| roster.spawn(entity, motion, tick).is_ok()) {
            self.points.insert(entity, motion);
        }
    }

    /// Puts whatever the game simulates first somewhere else.
    pub fn turn(&mut self, which: u8, x: f64, speed: f32) {
        let turns = usize::from(which).min(self.points.len().saturating_sub(1));
        if let Some(motion) = self.points.values_mut().nth(turns) {
            motion.position = Position::new(x, 50.0, 0.0);
            motion.velocity = Velocity::new(speed, 0.0, 0.0);
        }
    }

    /// One of the game's own acts on anybody.
    pub fn act(&mut self, which: u8, to: EntityId, durable: bool) {
        let turns = usize::from(which).min(self.points.len().saturating_sub(1));
        let (Some(&entity), Some(roster)) = (self.points.keys().nth(turns), &mut self.roster) else { return };
        let _ = roster.act(entity, to, b"act", Terms { durable, ticks: 60 }, self.tick);
    }

    /// Something happens somewhere.
    pub fn cause(&mut self, area: Area) {
        if let Some(roster) = &mut self.roster {
            let _ = roster.cause(area, b"bang", self.tick);
        }
    }

    pub fn run_tick(&mut self) {
        self.tick = self.tick.next();
        let (tick, now) = (self.tick, self.now);
        let Some(roster) = &mut self.roster else { return };
        let early = roster.begin_tick(tick);
        for command in early.into_iter().chain(self.mailbox.drain(..)) {
            // What the game simulates by now, or was never this node's, it shows no more.
            self.shown.retain(|entity| roster.ghost(*entity).is_some());
            if let Some(callback) = roster.take(command, tick) {
                if let Callback::Ghosts(changes) = &callback {
                    self.reached.insert("ghosts");
                    changes.iter().for_each(|change| show(&mut self.shown, roster, change));
                }
                self.reached.extend(acted(&callback));
                call(&mut self.points, self.refuse, roster, callback, tick);
            }
        }
        while roster.poll_event(tick).is_some() {
            self.reached.insert("event");
        }
        for (&entity, motion) in &mut self.points {
            motion.position = motion.after(TICK);
            let _ = roster.publish(entity, *motion, Look::default(), &[1, 2, 3], now);
        }
        while let Some(order) = roster.poll_freeze() {
            let group: Vec<EntityId> = order.entries.iter().map(|entry| entry.entity).collect();
            let captured = order.entries.iter().map(|entry| {
                let motion = self.points.get(&entry.entity).copied().unwrap_or_default();
                Some(said::captured(roster.writer(entry.entity, &entry.have), motion, entry.applied))
            });
            let captured = captured.collect();
            if roster.frozen(order, captured, tick) {
                self.points.retain(|entity, _| !group.contains(entity));
                self.shown.extend(group);
            }
        }
        if let Some((cut, entries)) = roster.poll_cut() {
            let captured = entries.into_iter().map(|entry| {
                let motion = self.points.get(&entry.entity).copied().unwrap_or_default();
                let writer = roster.writer(entry.entity, &entry.have);
                let snapshot = said::captured(writer, motion, entry.applied);
                (entry, Some(snapshot))
            });
            let captured = captured.collect();
            roster.checkpointed(cut, captured, tick);
        }
        roster.end_tick(tick);
        let reports: Vec<_> = roster.drain_reports().collect();
        for report in reports {
            self.handle(Input::Game(report));
        }
    }
}

fn call(
    points: &mut BTreeMap<EntityId, Motion>,
    refuse: bool,
    roster: &mut Roster,
    callback: Callback,
    tick: Tick,
) {
    match callback {
        Callback::Join { entity, entry, .. } => {
            let motion = Motion { position: entry, ..Motion::default() };
            if !refuse {
                points.insert(entity, motion);
            }
            roster.joined(entity, (!refuse).then_some(motion), tick);
        }
        Callback::Leave { entity, .. } => {
            let applied = roster.applied(entity).unwrap_or_default();
            let motion = points.remove(&entity).unwrap_or_default();
            let snapshot = said::captured(roster.writer(entity, &ComponentVersions::new()), motion, applied);
            roster.left(entity, Some(snapshot), tick);
        }
        Callback::Capture { entity, reservation, have, .. } => {
            let applied = roster.applied(entity).unwrap_or_default();
            let motion = points.get(&entity).copied().unwrap_or_default();
            let snapshot = said::captured(roster.writer(entity, &have), motion, applied);
            roster.captured(entity, reservation, snapshot);
        }
        Callback::Warm { entity, reservation, .. } => roster.warmed(entity, reservation, !refuse),
        Callback::Admit { id, snapshot, restores } => {
            if let (true, Ok(view)) = (restores && !refuse, snapshot.view()) {
                points.insert(id.entity, view.motion());
            }
            roster.admitted(id, &snapshot, !refuse, tick);
        }
        Callback::Restore { entity, snapshot } => {
            points.insert(entity, snapshot.view().map(|view| view.motion()).unwrap_or_default());
        }
        Callback::Release { entity, .. } => {
            points.remove(&entity);
        }
        Callback::Perform { entity, request } => {
            let answer = if refuse { Performed::Refused(b"no") } else { Performed::Done(b"yes") };
            roster.performed(entity, &request, answer, tick);
        }
        _ => {}
    }
}

/// A game hears of each ghost in turn, of none that it simulates, and of none that is nowhere.
fn show(shown: &mut BTreeSet<EntityId>, roster: &Roster, change: &GhostChange) {
    let entity = change.entity();
    assert!(!roster.holds(entity), "{change:?} beside the original");
    let in_turn = match change {
        GhostChange::Appeared { motion, .. } => {
            assert!(motion.is_finite(), "{change:?} is nowhere");
            shown.insert(entity)
        }
        GhostChange::Moved { motion, .. } => {
            assert!(motion.is_finite(), "{change:?} is nowhere");
            shown.contains(&entity)
        }
        GhostChange::Changed { .. } => shown.contains(&entity),
        GhostChange::Vanished { .. } => shown.remove(&entity),
    };
    assert!(in_turn, "{change:?} out of turn");
}

fn acted(callback: &Callback) -> Option<&'static str> {
    match callback {
        Callback::Perform { .. } => Some("performed"),
        Callback::Settled { .. } => Some("settled"),
        _ => None,
    }
}

fn kind(event: &NodeEvent) -> &'static str {
    match event {
        NodeEvent::HandedOver { .. } => "handed over",
        NodeEvent::Aborted { .. } => "aborted",
        NodeEvent::PrepareRefused { .. } => "prepare refused",
        NodeEvent::TakenOver { .. } => "taken over",
        NodeEvent::Attached { .. } => "attached",
        NodeEvent::TokenRefused { .. } => "token refused",
        NodeEvent::ClientMisbehaved { .. } => "client misbehaved",
        NodeEvent::PeerMisbehaved { .. } => "peer misbehaved",
        NodeEvent::RegistrationRefused { .. } => "registration refused",
        NodeEvent::Recovered { .. } => "recovered",
        NodeEvent::Fenced { .. } => "fenced",
        NodeEvent::Checkpointed { .. } => "checkpointed",
        NodeEvent::CheckpointLost { .. } => "checkpoint lost",
        NodeEvent::CheckpointAge { .. } => "checkpoint age",
        NodeEvent::StandbyFull { .. } => "standby full",
        NodeEvent::GhostsShown { .. } => "ghosts shown",
        NodeEvent::GhostsSent { .. } => "ghosts sent",
        NodeEvent::ActionSettled { .. } => "action settled",
        NodeEvent::EventCaused => "event caused",
    }
}
