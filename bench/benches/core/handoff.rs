//! The core's handoff, from the forecast that asks to prepare to the `Accepted`: two nodes and a coordinator as plain
//! values, their messages handed over as they are. No sockets, no codec, a game that answers at once. Two ticks pass with each
//! handoff, and with them whatever a node does by the clock: heartbeats, reports, a checkpoint each second.

use core::alloc::GlobalAlloc;
use core::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use selvedge_protocol::authority::Standing;
use selvedge_protocol::config::{CoordinatorConfig, NodeConfig, WorldConfig};
use selvedge_protocol::coordinator::{Coordinator, CoordinatorInput, CoordinatorOutput};
use selvedge_protocol::ghost::Look;
use selvedge_protocol::grid::{CellId, GridConfig, Motion, Position, Velocity};
use selvedge_protocol::id::{AuthorityEpoch, EntityId, InputSeq, NodeId, Term};
use selvedge_protocol::node::{
    ArmedTarget, CheckpointCopy, Destination, FrozenEntity, GameCommand, GameReport, Input, Node, NodeSetup,
    Output, Published, Sender,
};
use selvedge_protocol::snapshot::{CapturedSnapshot, ComponentVersions, SnapshotWriter};
use selvedge_protocol::time::{Tick, Time};
use selvedge_protocol::wire::Message;
use stats_alloc::StatsAlloc;

const ENTITY: EntityId = EntityId::from_u128(7);
const TICK: Duration = Duration::from_micros(33_333);

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handoff");
    group.throughput(Throughput::Elements(1));
    for (name, bytes) in [("1 KiB", 1 << 10), ("4 KiB", 4 << 10), ("64 KiB", 64 << 10)] {
        for (path, warm) in [("warm", true), ("cold", false)] {
            let mut pair = Pair::new(bytes, warm);
            group.bench_function(format!("{path} {name}"), |bencher| bencher.iter(|| pair.cross()));
        }
    }
    group.finish();
}

/// Prints what a whole handoff asks of the allocator, both nodes and the coordinator together.
#[allow(clippy::print_stdout, reason = "a bench speaks on the terminal")]
pub(crate) fn count_allocations<A: GlobalAlloc>(allocator: &StatsAlloc<A>) {
    const HANDOFFS: usize = 1000;
    for (path, warm) in [("warm", true), ("cold", false)] {
        let mut pair = Pair::new(4 << 10, warm);
        let before = allocator.stats();
        for _ in 0..HANDOFFS {
            pair.cross();
        }
        let spent = allocator.stats() - before;
        println!(
            "handoff/{path} 4 KiB: {} allocations, {} reallocations, {} bytes",
            spent.allocations / HANDOFFS,
            spent.reallocations / HANDOFFS,
            spent.bytes_allocated / HANDOFFS
        );
    }
}

/// Two nodes side by side, and one entity that goes to and fro between them.
struct Pair {
    coordinator: Coordinator,
    nodes: [Node; 2],
    /// Which node holds the entity, under which grant.
    holder: usize,
    grant: AuthorityEpoch,
    armed: Option<ArmedTarget>,
    /// Whether pre-copies are captured; without, every crossing is cold.
    warm: bool,
    /// The whole entity and what changes between two ticks, for each node that may hold it.
    whole: [CapturedSnapshot; 2],
    hot: [CapturedSnapshot; 2],
    now: Time,
    tick: Tick,
}

impl Pair {
    fn new(bytes: usize, warm: bool) -> Self {
        let grid = GridConfig { origin_m: [0.0; 3], cell_edge_m: 100.0, cells: [2, 1, 1] };
        let world = WorldConfig { grid, tick_interval: TICK, ..WorldConfig::default() };
        let pinned =
            [0, 1].map(|x| (CellId::new(0, x, 0, 0).expect("it is a cell"), node_id(x as usize))).into();
        let config = CoordinatorConfig { world, pinned, nodes_min: 2, ..CoordinatorConfig::default() };
        let coordinator = Coordinator::new(config, Term(1), [7; 32]).expect("the settings are valid");
        let versions = |bytes: usize| if bytes == 0 { built_on() } else { ComponentVersions::new() };
        let sides = |bytes| [0, 1].map(|node| captured(node, bytes, &versions(bytes)));
        let mut pair = Self {
            coordinator,
            nodes: [0, 1].map(node),
            holder: 0,
            grant: AuthorityEpoch::FIRST,
            armed: None,
            warm,
            whole: sides(bytes),
            hot: sides(0),
            now: Time::from_micros(1_000_000),
            tick: Tick(1),
        };
        pair.link();
        pair.report(0, GameReport::Spawned { entity: ENTITY, motion: beside_border(0), tick: pair.tick });
        pair.settle();
        // Both ways once: from here on every crossing is like every other.
        pair.cross();
        pair.cross();
        pair
    }

    fn link(&mut self) {
        for node in 0..2 {
            self.coordinator.handle(CoordinatorInput::LinkUp { node: node_id(node) }, self.now);
            self.nodes[node].handle(Input::CoordinatorUp, self.now);
        }
        self.settle();
        for node in 0..2 {
            let peer = self.nodes[1 - node].me().expect("it is registered");
            self.nodes[node].handle(Input::LinkUp { peer }, self.now);
        }
        self.settle();
    }

    /// One whole handoff to the other node.
    fn cross(&mut self) {
        let (source, target) = (self.holder, 1 - self.holder);
        self.pass_tick();
        let published = vec![self.published(beside_border(source))];
        self.report(source, GameReport::Frame { tick: self.tick, published });
        self.settle();
        let armed = self.armed.take().expect("the target is ready");
        self.pass_tick();
        let snapshot = if self.warm { &self.hot } else { &self.whole }[source].clone();
        let frozen = GameReport::Frozen {
            target: armed.target,
            group: vec![FrozenEntity {
                last: self.published(across(source)),
                reservation: armed.reservation,
                snapshot,
            }],
            tick: self.tick,
            frozen_at: self.now,
        };
        self.report(source, frozen);
        self.settle();
        self.holder = target;
        assert_eq!(self.nodes[target].standing(ENTITY), Some(Standing::Active(self.grant)), "it has crossed");
        assert_eq!(self.nodes[source].standing(ENTITY), None, "it was accepted");
    }

    fn pass_tick(&mut self) {
        self.now += TICK;
        self.tick = self.tick.next();
        for node in &mut self.nodes {
            if node.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
                node.handle_timeout(self.now);
            }
        }
        if self.coordinator.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
            self.coordinator.handle_timeout(self.now);
        }
        self.settle();
    }

    fn published(&self, motion: Motion) -> Published {
        let Self { grant, .. } = *self;
        Published {
            entity: ENTITY,
            grant,
            motion,
            look: Look::default(),
            applied: InputSeq(0),
            own: Bytes::new(),
        }
    }

    fn report(&mut self, node: usize, report: GameReport) {
        self.nodes[node].handle(Input::Game(report), self.now);
    }

    /// Delivers everything until nothing is on its way.
    fn settle(&mut self) {
        loop {
            let mut idle = true;
            for node in 0..2 {
                while let Some(output) = self.nodes[node].poll_output() {
                    idle = false;
                    self.deliver(node, output);
                }
            }
            while let Some(output) = self.coordinator.poll_output() {
                idle = false;
                if let CoordinatorOutput::Send { to, message, blob, .. } = output {
                    let node = usize::from(to == node_id(1));
                    self.nodes[node]
                        .handle(Input::Message { from: Sender::Coordinator, message, blob }, self.now);
                }
            }
            if idle {
                return;
            }
        }
    }

    fn deliver(&mut self, node: usize, output: Output) {
        match output {
            Output::Send { to, message, blob, .. } => self.send(node, to, message, blob),
            Output::Game(command) => self.obey(node, command),
            Output::Client { .. }
            | Output::CloseClient { .. }
            | Output::Registered(_)
            | Output::MapChanged(_)
            | Output::ClockOffset { .. }
            | Output::Shun { .. }
            | Output::Event(_) => {}
        }
    }

    fn send(&mut self, node: usize, to: Destination, message: Message, blob: Bytes) {
        let me = self.nodes[node].me();
        match (to, me) {
            (Destination::Coordinator, _) => {
                let incarnation = me.map(|me| me.incarnation);
                let input = CoordinatorInput::Message { from: node_id(node), incarnation, message, blob };
                self.coordinator.handle(input, self.now);
            }
            (Destination::Node(_), Some(me)) => {
                let input = Input::Message { from: Sender::Node(me), message, blob };
                self.nodes[1 - node].handle(input, self.now);
            }
            (Destination::Node(_), None) => {}
        }
    }

    /// The game: it captures what was captured before, takes everything, and says so at once.
    fn obey(&mut self, node: usize, command: GameCommand) {
        match command {
            GameCommand::Capture { entity, reservation, .. } if self.warm => {
                let (grant, snapshot) = (self.grant, self.whole[node].clone());
                self.report(node, GameReport::Captured { entity, grant, reservation, snapshot });
            }
            GameCommand::Warm { entity, reservation, .. } => {
                self.report(node, GameReport::Warmed { entity, reservation, accepted: true });
            }
            GameCommand::Arm { targets, .. } => self.armed = targets.into_iter().next(),
            GameCommand::Restore { entity, grant, first_tick, .. } => {
                self.grant = grant;
                self.report(node, GameReport::Restored { entity, grant, tick: first_tick });
            }
            GameCommand::Admit { id, first_tick, .. } => {
                self.grant = id.epoch;
                self.report(node, GameReport::Admitted { id, accepted: true, tick: first_tick });
            }
            GameCommand::Checkpoint(order) => {
                let (grant, snapshot) = (self.grant, Some(self.whole[node].clone()));
                let copy = CheckpointCopy { entity: ENTITY, grant, applied: InputSeq(0), snapshot };
                let copies = if self.holder == node { vec![copy] } else { Vec::new() };
                self.report(node, GameReport::Checkpoint { cut: order.cut, tick: self.tick, copies });
            }
            GameCommand::Capture { .. }
            | GameCommand::Join { .. }
            | GameCommand::Action(_)
            | GameCommand::Event(_)
            | GameCommand::Leave { .. }
            | GameCommand::Release { .. }
            | GameCommand::Input { .. }
            | GameCommand::Ghosts(_) => {}
        }
    }
}

fn node_id(node: usize) -> NodeId {
    NodeId::from_u128(node as u128 + 1)
}

fn node(node: usize) -> Node {
    Node::new(NodeSetup {
        node: node_id(node),
        process: node as u64,
        mesh_addr: format!("10.0.0.{node}:1"),
        client_addr: format!("10.0.0.{node}:2"),
        server_name: format!("node-{node}"),
        config: NodeConfig::default(),
        seed: [7; 32],
    })
}

/// In the cell of `node`, half a metre from the other's, on the way there.
const fn beside_border(node: usize) -> Motion {
    if node == 0 { motion(99.5, 6.0) } else { motion(100.5, -6.0) }
}

/// Past the border of `node`, deep in the other's cell: nothing is to be prepared there.
const fn across(node: usize) -> Motion {
    if node == 0 { motion(150.0, 6.0) } else { motion(50.0, -6.0) }
}

const fn motion(x: f64, speed: f32) -> Motion {
    Motion { position: Position::new(x, 50.0, 0.0), velocity: Velocity::new(speed, 0.0, 0.0) }
}

/// What the other side has of the entity once it is warm.
fn built_on() -> ComponentVersions {
    let mut versions = ComponentVersions::new();
    versions.set("weight", 1);
    versions
}

fn captured(node: usize, bytes: usize, have: &ComponentVersions) -> CapturedSnapshot {
    let mut writer = SnapshotWriter::new(ENTITY, None, have);
    writer.schema(1);
    writer.name("walker");
    writer.motion(across(node));
    writer.component("weight", 1, &vec![7; bytes]);
    writer.finish(InputSeq(0)).expect("it is within the limits")
}
