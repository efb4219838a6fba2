//! One node with its game, and how a tick runs through both.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use selvedge_protocol::action::{Failure, Outcome};
use selvedge_protocol::cell_map::CellMap;
use selvedge_protocol::config::NodeConfig;
use selvedge_protocol::ghost::{EntityClass, GhostChange, Look, State, Value};
use selvedge_protocol::grid::{Motion, Position, Velocity};
use selvedge_protocol::handoff::client::ConnectionId;
use selvedge_protocol::id::{ClientId, EntityId, InputSeq, NodeId};
use selvedge_protocol::node::{GameReport, Input, Node, NodeEvent, NodeSetup};
use selvedge_protocol::roster::{Callback, Performed, Roster};
use selvedge_protocol::snapshot::{CapturedSnapshot, ComponentVersions, SnapshotWriter};
use selvedge_protocol::time::{Tick, Time};

use super::{TICK, node_id};

/// One node's game: points that move, and count the inputs that reached them.
#[derive(Debug, Default)]
pub struct Game {
    pub points: BTreeMap<EntityId, Point>,
    pub refuse: bool,
    /// What it fails to capture for a checkpoint.
    pub uncaptured: BTreeSet<EntityId>,
    /// What kind of thing a point is to this game; class 0 if it isn't here.
    pub classes: BTreeMap<EntityId, EntityClass>,
    /// What it has heard of ghosts.
    pub ghosts: Vec<GhostChange>,
}

#[derive(Clone, Default, Debug)]
pub struct Point {
    pub motion: Motion,
    pub inputs: Vec<u32>,
    /// What it did because others asked it to, and what it heard of its own actions: both travel with it.
    pub deeds: Vec<u8>,
    pub heard: Vec<u8>,
}

pub struct Host {
    pub id: NodeId,
    pub node: Node,
    pub roster: Option<Roster>,
    pub game: Game,
    pub mailbox: VecDeque<selvedge_protocol::node::GameCommand>,
    pub events: Vec<NodeEvent>,
    /// Killed or stopped: it neither hears nor does anything.
    pub gone: bool,
    /// It runs, but no message of it or to it arrives.
    pub cut_off: bool,
    /// Its game takes so long that a tick's frame comes when all that the tick has caused is over.
    pub late_frames: bool,
    pub(super) late: Vec<GameReport>,
    pub(super) map: Arc<CellMap>,
    pub(super) next_client: u64,
    pub(super) clients: BTreeMap<ClientId, (usize, ConnectionId)>,
    pub(super) connections: BTreeMap<(usize, ConnectionId), ClientId>,
}

/// What others see of a point: how many inputs have reached it.
fn look(point: &Point) -> Look {
    let mut state = State::new();
    state.set(3, Value::Unsigned(point.inputs.len() as u64)).unwrap();
    Look::default().with_state(state)
}

impl Game {
    pub fn look(&self, entity: EntityId) -> Look {
        look(&self.points[&entity])
    }
}

impl Host {
    pub(super) fn new(index: usize, config: NodeConfig) -> Self {
        let setup = NodeSetup {
            node: node_id(index),
            process: index as u64,
            mesh_addr: format!("10.0.0.{index}:1"),
            client_addr: format!("10.0.0.{index}:2"),
            server_name: format!("node-{index}"),
            config,
            seed: [u8::try_from(index).unwrap(); 32],
        };
        Self {
            id: node_id(index),
            node: Node::new(setup),
            roster: None,
            game: Game::default(),
            mailbox: VecDeque::new(),
            events: Vec::new(),
            gone: false,
            cut_off: false,
            late_frames: false,
            late: Vec::new(),
            map: Arc::new(CellMap::default()),
            next_client: 0,
            clients: BTreeMap::new(),
            connections: BTreeMap::new(),
        }
    }

    pub(super) fn client_addr(&self) -> String {
        format!("10.0.0.{}:2", self.id.as_u128() - 1)
    }

    /// Spawns a point of the game's own.
    pub fn spawn(&mut self, entity: EntityId, x: f64, speed: f32, tick: Tick) {
        let position = Position::new(x, 50.0, 0.0);
        self.spawn_at(entity, Motion { position, velocity: Velocity::new(speed, 0.0, 0.0) }, tick);
    }

    /// The same wherever it is and whichever way it goes.
    pub fn spawn_at(&mut self, entity: EntityId, motion: Motion, tick: Tick) {
        self.roster.as_mut().unwrap().spawn(entity, motion, tick).unwrap();
        self.game.points.insert(entity, Point { motion, ..Point::default() });
    }

    pub(super) fn run_tick(&mut self, tick: Tick, now: Time) {
        let Some(roster) = &mut self.roster else {
            return;
        };
        let early = roster.begin_tick(tick);
        for command in early.into_iter().chain(self.mailbox.drain(..)) {
            let Some(callback) = roster.take(command, tick) else {
                continue;
            };
            self.game.call(roster, callback, tick);
        }
        while let Some((event, reached)) = roster.poll_event(tick) {
            for entity in reached {
                let point = self.game.points.get_mut(&entity).unwrap();
                point.deeds.extend_from_slice(&event.bytes);
            }
        }
        for (&entity, point) in &mut self.game.points {
            point.motion.position = point.motion.after(TICK);
            let state = u32::try_from(point.inputs.len()).unwrap().to_le_bytes();
            let class = self.game.classes.get(&entity).copied().unwrap_or_default();
            let look = look(point).with_class(class);
            roster.publish(entity, point.motion, look, &state, now).unwrap();
        }
        while let Some(order) = roster.poll_freeze() {
            let group: Vec<EntityId> = order.entries.iter().map(|entry| entry.entity).collect();
            let captured = order.entries.iter().map(|entry| {
                let writer = roster.writer(entry.entity, &entry.have);
                Some(self.game.capture(writer, entry.applied))
            });
            let captured = captured.collect();
            assert!(roster.frozen(order, captured, tick));
            group.iter().for_each(|entity| drop(self.game.points.remove(entity)));
        }
        if let Some((cut, entries)) = roster.poll_cut() {
            let captured = entries.into_iter().map(|entry| {
                let writer = roster.writer(entry.entity, &entry.have);
                let fails = self.game.uncaptured.contains(&entry.entity);
                let snapshot = (!fails).then(|| self.game.capture(writer, entry.applied));
                (entry, snapshot)
            });
            let captured = captured.collect();
            roster.checkpointed(cut, captured, tick);
        }
        roster.end_tick(tick);
        for report in roster.drain_reports() {
            if self.late_frames && matches!(report, GameReport::Frame { .. }) {
                self.late.push(report);
            } else {
                self.node.handle(Input::Game(report), now);
            }
        }
    }

    pub(super) fn end_tick(&mut self, now: Time) {
        for report in core::mem::take(&mut self.late) {
            self.node.handle(Input::Game(report), now);
        }
    }
}

impl Game {
    pub(super) fn call(&mut self, roster: &mut Roster, callback: Callback, tick: Tick) {
        match callback {
            Callback::Join { entity, entry, .. } => {
                let motion = Motion { position: entry, velocity: Velocity::new(0.0, 0.0, 0.0) };
                self.points.insert(entity, Point { motion, ..Point::default() });
                roster.joined(entity, Some(motion), tick);
            }
            Callback::Leave { entity, session, .. } => {
                let applied = roster.applied(entity).unwrap();
                let writer = SnapshotWriter::new(entity, session, &ComponentVersions::new());
                let snapshot = self.capture(writer, applied);
                self.points.remove(&entity);
                roster.left(entity, Some(snapshot), tick);
            }
            Callback::Capture { entity, session: _, reservation, have } => {
                let applied = roster.applied(entity).unwrap();
                let snapshot = self.capture(roster.writer(entity, &have), applied);
                roster.captured(entity, reservation, snapshot);
            }
            Callback::Warm { entity, reservation, .. } => roster.warmed(entity, reservation, !self.refuse),
            Callback::Admit { id, snapshot, restores } => {
                if restores && !self.refuse {
                    self.points.insert(id.entity, Point::read(&snapshot));
                }
                roster.admitted(id, &snapshot, !self.refuse, tick);
            }
            Callback::Restore { entity, snapshot } => {
                drop(self.points.insert(entity, Point::read(&snapshot)))
            }
            Callback::Release { entity, .. } => drop(self.points.remove(&entity)),
            Callback::Input { entity, seq, .. } => self.points.get_mut(&entity).unwrap().inputs.push(seq.0),
            Callback::Perform { entity, request } => {
                let point = self.points.get_mut(&entity).unwrap();
                point.deeds.extend_from_slice(&request.bytes);
                roster.performed(entity, &request, Performed::Done(b"done"), tick);
            }
            Callback::Settled { entity, number: _, outcome } => {
                let point = self.points.get_mut(&entity).unwrap();
                point.heard.push(match outcome {
                    Outcome::Done(answer) if answer == b"done" => b'd',
                    Outcome::Done(_) | Outcome::Refused(_) => b'?',
                    Outcome::Failed(Failure::TimedOut) => b't',
                    Outcome::Failed(Failure::TooManyHops) => b'h',
                    Outcome::Failed(Failure::NoSuchEntity) => b'n',
                });
            }
            Callback::Ghosts(changes) => self.ghosts.extend(changes),
        }
    }

    pub(super) fn capture(&self, mut writer: SnapshotWriter, applied: InputSeq) -> CapturedSnapshot {
        let point = &self.points[&writer.entity()];
        writer.schema(1);
        writer.name("point");
        writer.motion(point.motion);
        let inputs: Vec<u8> = point.inputs.iter().flat_map(|seq| seq.to_le_bytes()).collect();
        writer.component("inputs", point.inputs.len() as u64, &inputs);
        writer.component("deeds", point.deeds.len() as u64, &point.deeds);
        writer.component("heard", point.heard.len() as u64, &point.heard);
        writer.component("weight", 1, &[7; 4096]);
        writer.finish(applied).unwrap()
    }
}

impl Point {
    pub(super) fn read(snapshot: &selvedge_protocol::snapshot::Assembled) -> Self {
        let view = snapshot.view().unwrap();
        let (_, inputs) = view.component("inputs").unwrap();
        let inputs =
            inputs.chunks_exact(4).map(|chunk| u32::from_le_bytes(chunk.try_into().unwrap())).collect();
        assert_eq!(view.component("weight").unwrap().1, [7; 4096]);
        let list = |name| view.component(name).map(|(_, body)| body.to_vec()).unwrap_or_default();
        Self { motion: view.motion(), inputs, deeds: list("deeds"), heard: list("heard") }
    }
}
