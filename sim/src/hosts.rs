//! What surrounds each machine: its clock, its timer, its game, its connections.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use selvedge_protocol::authority::Standing;
use selvedge_protocol::cell_map::CellMap;
use selvedge_protocol::coordinator::Coordinator;
use selvedge_protocol::grid::{Grid, Position};
use selvedge_protocol::handoff::client::{Client, ClientConfig, ConnectionId};
use selvedge_protocol::id::{ClientId, EntityId, NodeId, Peer, SessionId};
use selvedge_protocol::node::{GameCommand, Node, NodeSetup, Registration};
use selvedge_protocol::time::{Tick, Time};

use crate::dice::Dice;
use crate::event::{ConnId, Stay};
use crate::game::Game;
use crate::scenario::Scenario;

/// The address of a node's client endpoint.
pub(crate) fn client_addr(node: usize) -> String {
    format!("10.1.0.{node}:1")
}

/// One node's process.
pub(crate) struct NodeHost {
    pub(crate) id: NodeId,
    pub(crate) machine: Node,
    /// How far the node's own clock is ahead of virtual time.
    skew_us: i64,
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
    /// Until when the whole process stands still.
    pub(crate) paused_until: Time,
    pub(crate) dice: Dice,
}

impl NodeHost {
    pub(crate) fn new(number: usize, scenario: &Scenario, dice: &mut Dice) -> Self {
        let id = NodeId::from_u128(dice.id());
        let setup = NodeSetup {
            node: id,
            process: dice.bits(),
            mesh_addr: format!("10.0.0.{number}:1"),
            client_addr: client_addr(number),
            server_name: format!("node-{number}"),
            config: scenario.node.clone(),
            seed: dice.seed(),
        };
        Self {
            id,
            machine: Node::new(setup),
            skew_us: i64::try_from(dice.whole(0, 10_000_000_000)).unwrap_or(0),
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
            paused_until: Time::ZERO,
            dice: Dice::new(scenario.seed, 100 + number as u64),
        }
    }

    /// The node's own clock at a virtual time.
    pub(crate) const fn clock(&self, now: Time) -> Time {
        now.offset_by(self.skew_us)
    }

    /// The virtual time at which the node's own clock shows `clock`.
    pub(crate) const fn when(&self, clock: Time) -> Time {
        clock.offset_by(-self.skew_us)
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
        self.machine.me()
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

/// The coordinator's process, its door, its authenticator and its store.
pub(crate) struct CoordinatorHost {
    pub(crate) machine: Coordinator,
    skew_us: i64,
    pub(crate) wake_at: Option<Time>,
    /// Who asked which question at the door.
    pub(crate) asked: BTreeMap<u64, Stay>,
    pub(crate) questions: u64,
    pub(crate) store: BTreeMap<String, bytes::Bytes>,
}

impl CoordinatorHost {
    pub(crate) const fn new(machine: Coordinator, skew_us: i64) -> Self {
        Self { machine, skew_us, wake_at: None, asked: BTreeMap::new(), questions: 0, store: BTreeMap::new() }
    }

    /// Mesh time.
    pub(crate) const fn clock(&self, now: Time) -> Time {
        now.offset_by(self.skew_us)
    }

    /// The virtual time of a mesh time.
    pub(crate) const fn when(&self, clock: Time) -> Time {
        clock.offset_by(-self.skew_us)
    }
}

/// One player's machine.
pub(crate) struct PlayerHost {
    pub(crate) machine: Client,
    pub(crate) stay: Stay,
    pub(crate) wake_at: Option<Time>,
    pub(crate) name: String,
    pub(crate) connections: BTreeMap<ConnectionId, ConnId>,
    /// Whether the player wants to be in the world.
    pub(crate) wants_in: bool,
    pub(crate) session: Option<SessionId>,
    pub(crate) entity: Option<EntityId>,
    /// Until when the machine has no network.
    pub(crate) offline_until: Time,
    /// The digest of the inputs so far.
    pub(crate) digest: u64,
    /// Where the player stands, as last shown.
    pub(crate) at: Option<Position>,
    /// Where the player wants to go.
    pub(crate) goal: Option<Position>,
    pub(crate) dice: Dice,
}

impl PlayerHost {
    pub(crate) fn new(player: usize, config: ClientConfig, dice: Dice) -> Self {
        Self {
            machine: Client::new(config),
            stay: Stay { player, life: 0 },
            wake_at: None,
            name: format!("player-{player}"),
            connections: BTreeMap::new(),
            wants_in: false,
            session: None,
            entity: None,
            offline_until: Time::ZERO,
            digest: 0,
            at: None,
            goal: None,
            dice,
        }
    }

    /// A fresh program, as if it had never run.
    pub(crate) fn begin(&mut self, config: ClientConfig) {
        self.machine = Client::new(config);
        self.stay.life += 1;
        self.wake_at = None;
        self.connections.clear();
        self.wants_in = true;
        (self.session, self.entity, self.at, self.goal) = (None, None, None, None);
        self.digest = 0;
    }
}
