//! One node's process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use selvedge_protocol::authority::Standing;
use selvedge_protocol::cell_map::CellMap;
use selvedge_protocol::grid::{Grid, Position};
use selvedge_protocol::id::{ClientId, EntityId, Incarnation, NodeId, Peer};
use selvedge_protocol::node::{GameCommand, Node, NodeSetup, Registration};
use selvedge_protocol::time::{Tick, Time};

use super::{HostClock, Standstill, client_addr};
use crate::dice::Dice;
use crate::event::ConnId;
use crate::game::Game;
use crate::scenario::Scenario;

/// Between the streams of chance of one node's processes.
const LIFE_STREAMS: u64 = 1_000_000;

/// One node's process.
pub(crate) struct NodeHost {
    pub(crate) id: NodeId,
    pub(crate) machine: Node,
    /// Counts the node's processes: what was meant for a former one is of no more interest.
    pub(crate) life: u32,
    /// Whether there is a process.
    pub(crate) alive: bool,
    /// The process' own clock.
    pub(crate) clock: HostClock,
    /// Mesh time less the node's own clock, as the node believes.
    pub(crate) offset_us: Option<i64>,
    pub(crate) registration: Option<Registration>,
    pub(crate) map: Option<Arc<CellMap>>,
    pub(crate) game: Option<Game>,
    pub(crate) ticking: bool,
    /// What the core wants of the game, and from when on the game can see it.
    pub(crate) mailbox: VecDeque<(Time, GameCommand)>,
    /// When the core hears the newest of the game's reports.
    pub(crate) last_report_at: Time,
    /// When the machine is woken, in virtual time.
    pub(crate) wake_at: Option<Time>,
    /// What its core held after the last step, in order of id.
    pub(crate) standings: Vec<(EntityId, Standing)>,
    pub(crate) clients: BTreeMap<ClientId, ConnId>,
    pub(crate) clients_so_far: u64,
    /// Whether the whole process stands still.
    pub(crate) standstill: Standstill,
    /// Whether it has taken no step since it stood still.
    pub(crate) was_still: bool,
    /// Whether its lease had run out after its last step.
    pub(crate) lease_was_out: bool,
    /// Up to which life this process takes up no link to which other node.
    pub(crate) shunned: BTreeMap<usize, Incarnation>,
    /// Until when no client reaches it.
    pub(crate) shut_until: Time,
    pub(crate) dice: Dice,
}

impl NodeHost {
    pub(crate) fn new(number: usize, scenario: &Scenario, dice: &mut Dice) -> Self {
        let id = NodeId::from_u128(dice.id());
        let machine = Node::new(setup(number, id, scenario, dice));
        let ahead_us = i64::try_from(dice.whole(0, 10_000_000_000)).unwrap_or(0);
        Self {
            id,
            life: 0,
            alive: false,
            machine,
            clock: HostClock::new(ahead_us, 0),
            offset_us: None,
            registration: None,
            map: None,
            game: None,
            ticking: false,
            mailbox: VecDeque::new(),
            last_report_at: Time::ZERO,
            wake_at: None,
            standings: Vec::new(),
            clients: BTreeMap::new(),
            clients_so_far: 0,
            standstill: Standstill::default(),
            was_still: false,
            lease_was_out: false,
            shunned: BTreeMap::new(),
            shut_until: Time::ZERO,
            dice: Dice::new(scenario.seed, 100 + number as u64),
        }
    }

    /// A new process of the same node: it remembers nothing.
    pub(crate) fn begin(&mut self, number: usize, scenario: &Scenario, clock: HostClock, dice: &mut Dice) {
        let machine = Node::new(setup(number, self.id, scenario, dice));
        let (life, clients_so_far) = (self.life + 1, self.clients_so_far);
        let stream = 100 + number as u64 + LIFE_STREAMS * u64::from(life);
        *self = Self {
            id: self.id,
            life,
            alive: true,
            machine,
            clock,
            offset_us: None,
            registration: None,
            map: None,
            game: None,
            ticking: false,
            mailbox: VecDeque::new(),
            last_report_at: Time::ZERO,
            wake_at: None,
            standings: Vec::new(),
            clients: BTreeMap::new(),
            clients_so_far,
            standstill: Standstill::default(),
            was_still: false,
            lease_was_out: false,
            shunned: BTreeMap::new(),
            shut_until: self.shut_until,
            dice: Dice::new(scenario.seed, stream),
        };
    }

    /// The process is no more: nothing of it is ever heard of again.
    pub(crate) fn end(&mut self) {
        self.alive = false;
        self.wake_at = None;
        self.standings.clear();
        self.clients.clear();
        self.mailbox.clear();
        (self.game, self.registration, self.map, self.ticking) = (None, None, None, false);
    }

    /// The node's own clock at a virtual time.
    pub(crate) fn clock(&self, now: Time) -> Time {
        self.clock.at(now)
    }

    /// The virtual time at which the node's own clock shows `clock`.
    pub(crate) fn when(&self, clock: Time) -> Time {
        self.clock.when(clock)
    }

    /// Mesh time as the node believes it to be.
    pub(crate) fn mesh_time(&self, now: Time) -> Option<Time> {
        Some(self.clock(now).offset_by(self.offset_us?))
    }

    /// The virtual time at which a tick starts, as the node believes.
    pub(crate) fn tick_start(&self, tick: Tick) -> Option<Time> {
        let registration = self.registration.as_ref()?;
        let clock = tick.start(registration.tick_interval).offset_by(-self.offset_us?);
        Some(self.when(clock))
    }

    /// This life, if the node is registered.
    pub(crate) fn me(&self) -> Option<Peer> {
        self.machine.me().filter(|_| self.alive)
    }

    /// Some places in the node's own cells.
    pub(crate) fn places(&mut self, grid: &Grid, count: usize) -> Vec<Position> {
        let Some(map) = &self.map else {
            return Vec::new();
        };
        let cells: Vec<_> = map.cells_of(self.id).collect();
        if cells.is_empty() {
            return Vec::new();
        }
        let edge = grid.config().cell_edge_m;
        let dice = &mut self.dice;
        let place = |_| {
            let min = grid.bounds(cells[dice.index(0, cells.len() - 1)]).min.to_array();
            let at = core::array::from_fn(
                |axis| if min[axis].is_finite() { min[axis] } else { 0.0 } + dice.real(0.0, edge),
            );
            grid.clamp(Position::from_array(at))
        };
        (0..count).map(place).collect()
    }
}

fn setup(number: usize, node: NodeId, scenario: &Scenario, dice: &mut Dice) -> NodeSetup {
    NodeSetup {
        node,
        process: dice.bits(),
        mesh_addr: format!("10.0.0.{number}:1"),
        client_addr: client_addr(number),
        server_name: format!("node-{number}"),
        config: scenario.node.clone(),
        seed: dice.seed(),
    }
}
