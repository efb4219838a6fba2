//! One row: starts the processes that it needs, waits until they are at it, and takes the difference of two looks.

use std::fmt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use selvedge_coordinator::Addresses;
use selvedge_node::NodeReport;

use super::args::{Entities, HandoffArgs, HopPath, Pace};
use super::cpu::{self, Spent};
use super::difference::Difference;
use super::home::NODES;
use super::kin::{Kin, LOOK, STOP};
use super::players::PlayersSeen;
use super::restless::{Copied, Load};
use super::rows::{Row, RowPath, Seen};
use super::spec::{
    Ask, BotsSpec, CoordinatorSpec, Floor, FloorAnswer, FloorSpec, NodeAnswer, NodeSpec, Opened, Spec,
};
use super::world::{CELL_EDGE_M, INTEREST_MARGIN_M};

/// How long a process may take to start, or to answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the mesh may take until the first entity is handed off, and until every player is in.
const FIRST_PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);
/// Inputs a second of a player, at most: they are there to be counted.
const INPUT_HZ_MAX: u32 = 60;

/// What one row measures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial {
    pub(super) path: RowPath,
    pub(super) snapshot_bytes: usize,
    pub(super) concurrency: usize,
    /// Restless entities beside them.
    pub(super) restless: usize,
    /// How long each stays on a node, where that is not as the command line has it.
    pub(super) dwell: Option<Duration>,
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} B x {}", self.path, self.snapshot_bytes, self.concurrency)?;
        if self.restless > 0 {
            write!(f, " + {} restless", self.restless)?;
        }
        if let Some(dwell) = self.dwell {
            write!(f, ", {dwell:.1?} each")?;
        }
        Ok(())
    }
}

impl Trial {
    /// Measures the row.
    pub(super) fn run(&self, args: &HandoffArgs, dir: &Path) -> anyhow::Result<Row> {
        match self.path {
            RowPath::Hop(path) => self.hop(path, args, dir),
            RowPath::Floor(floor) => self.floor(floor, args, dir),
        }
    }

    fn hop(&self, path: HopPath, args: &HandoffArgs, dir: &Path) -> anyhow::Result<Row> {
        let mut mesh = self.start(path, args, dir)?;
        let first = mesh.wait_for_first(self.concurrency)?;
        thread::sleep(args.warm_up);
        let before = mesh.look()?;
        let began = Instant::now();
        thread::sleep(args.stretch());
        let after = mesh.look()?;
        let elapsed = began.elapsed();
        let end = mesh.stop_players()?;
        mesh.end();

        let mut row = Row::new(self.path, Some(self.snapshot_bytes), self.concurrency);
        row.load = Load { entities: self.restless, elapsed, ..Load::default() };
        row.dwell = self.dwell;
        let mut measured = Difference::default();
        for (before, after) in before.nodes.iter().zip(&after.nodes) {
            measured.add(&before.report, &after.report)?;
            row.load.add(before.copied, after.copied);
            cpu::add_difference(&mut row.cpu_s, &before.spent, &after.spent);
        }
        row.others_cpu_s = before.others_cpu_s.zip(after.others_cpu_s).map(|(before, after)| after - before);
        row.take_all(measured, elapsed)?;
        row.paced = args.pace() == Pace::Ticks;
        row.warm_up = before.handoffs().saturating_sub(first.handoffs());
        if let (Some(before), Some(after), Some(end)) = (&before.players, &after.players, &end) {
            row.players = Some(Seen::between(before, after, end)?);
        }
        Ok(row)
    }

    /// Checks that its row, all turns together, has something in it.
    pub(super) fn check(&self, row: &Row) -> anyhow::Result<()> {
        ensure!(!row.latency.is_empty(), "nothing was handed off while it was measured");
        ensure!(
            self.restless == 0 || row.load.copied.copies > 0,
            "no restless entity was copied ahead while it was measured"
        );
        Ok(())
    }

    fn start(&self, path: HopPath, args: &HandoffArgs, dir: &Path) -> anyhow::Result<Mesh> {
        let tick = Duration::from_secs(1) / args.hz();
        let players = match args.entities() {
            Entities::Clientless => 0,
            Entities::Players => self.concurrency,
        };
        let spec = CoordinatorSpec {
            dir: dir.to_owned(),
            core: args.pin.others(),
            tick,
            mtu: args.mtu,
            players,
            nodes: NODES.len(),
            cells: [2, 1, 1],
            cell_edge_m: CELL_EDGE_M,
            margin_m: INTEREST_MARGIN_M,
            log: args.log.clone(),
        };
        let coordinator = Kin::start("the coordinator", &Spec::Coordinator(spec))?;
        let addresses: Addresses = coordinator.hear(PATIENCE)?;
        let mut mesh = Mesh { nodes: Vec::new(), bots: None, coordinator };
        let alone = self.concurrency - players;
        let halves = |all: usize| [all.div_ceil(2), all / 2];
        let shares = halves(alone).into_iter().zip(halves(self.restless));
        for ((name, core), (entities, restless)) in NODES.into_iter().zip(args.pin.sides()).zip(shares) {
            let spec = NodeSpec {
                dir: dir.to_owned(),
                name: name.to_owned(),
                core,
                coordinator: addresses.mesh,
                tick,
                pace: args.pace(),
                mtu: args.mtu,
                bulk_mb_per_s: args.bulk_mb_per_s,
                path,
                snapshot_bytes: self.snapshot_bytes,
                entities,
                restless,
                precopy_refresh: (self.restless > 0).then_some(args.restless_every),
                players,
                dwell: self.dwell.unwrap_or_else(|| args.dwell(self.concurrency)),
                log: args.log.clone(),
            };
            mesh.nodes.push(Kin::start(name, &Spec::Node(spec))?);
        }
        if players > 0 {
            let spec = BotsSpec {
                dir: dir.to_owned(),
                core: args.pin.others(),
                door: addresses.door,
                players,
                input_hz: args.hz().min(INPUT_HZ_MAX),
                log: args.log.clone(),
            };
            mesh.bots = Some(Kin::start("the players", &Spec::Bots(spec))?);
        }
        Ok(mesh)
    }

    fn floor(&self, floor: Floor, args: &HandoffArgs, dir: &Path) -> anyhow::Result<Row> {
        let [asker, answerer] = args.pin.sides();
        let spec =
            |core, ask| Spec::Floor(FloorSpec { dir: dir.to_owned(), core, floor, mtu: args.mtu, ask });
        let answering = Kin::start("the answering side", &spec(answerer, None))?;
        let Opened { address } = answering.hear(PATIENCE)?;
        let ask = Ask {
            address,
            bytes: self.snapshot_bytes,
            concurrency: self.concurrency,
            every: args.pause(),
            warm_up: args.warm_up.min(Duration::from_millis(500)),
            duration: args.stretch(),
        };
        let patience = PATIENCE + ask.warm_up + ask.duration;
        let asking = Kin::start("the asking side", &spec(asker, Some(ask)))?;
        let answer: FloorAnswer = asking.hear(patience)?;
        let mut row = Row::new(self.path, Some(self.snapshot_bytes), self.concurrency);
        row.take_trips(&answer.rtt_ns, answer.elapsed)?;
        row.repeated = answer.repeated;
        Ok(row)
    }
}

/// The processes of a row. Those that end first stand first.
struct Mesh {
    nodes: Vec<Kin>,
    bots: Option<Kin>,
    coordinator: Kin,
}

/// One look at all of them.
struct Look {
    nodes: Vec<NodeLook>,
    players: Option<PlayersSeen>,
    /// CPU seconds that neither they nor this process have spent; none where the system doesn't say.
    others_cpu_s: Option<f64>,
}

struct NodeLook {
    report: NodeReport,
    copied: Copied,
    spent: Spent,
}

impl Look {
    fn handoffs(&self) -> u64 {
        self.nodes.iter().map(|node| node.report.counters.handoffs_in).sum()
    }

    fn entered(&self) -> usize {
        self.players.as_ref().map_or(0, |players| players.entered)
    }
}

impl Mesh {
    fn look(&mut self) -> anyhow::Result<Look> {
        self.nodes.iter_mut().chain(&mut self.bots).try_for_each(|kin| kin.ask(LOOK))?;
        let of = |node: &Kin| {
            let NodeAnswer { report, copied, .. } = node.hear(PATIENCE)?;
            Ok(NodeLook { report, copied, spent: cpu::spent(node.id()) })
        };
        let nodes = self.nodes.iter().map(of).collect::<anyhow::Result<_>>()?;
        let players = self.bots.as_ref().map(|bots| bots.hear(PATIENCE)).transpose()?;
        Ok(Look { nodes, players, others_cpu_s: self.others_cpu_s() })
    }

    fn others_cpu_s(&self) -> Option<f64> {
        let all = cpu::machine()?;
        let kin = self.nodes.iter().chain(&self.bots).chain([&self.coordinator]).map(Kin::id);
        let ours = kin.chain([std::process::id()]).map(|process| cpu::spent(process).values().sum::<f64>());
        Some(all - ours.sum::<f64>())
    }

    /// Waits until entities hop, and every player is among them.
    fn wait_for_first(&mut self, concurrency: usize) -> anyhow::Result<Look> {
        let until = Instant::now() + FIRST_PATIENCE;
        loop {
            let look = self.look()?;
            let all_in = self.bots.is_none() || look.entered() == concurrency;
            if all_in && look.handoffs() > 0 {
                return Ok(look);
            }
            let refusal = look.players.as_ref().and_then(|players| players.refusal.as_deref());
            ensure!(
                Instant::now() < until || all_in,
                "{} of {concurrency} players came in within {FIRST_PATIENCE:?}; the door last said: {}",
                look.entered(),
                refusal.unwrap_or("nothing")
            );
            ensure!(Instant::now() < until, "nothing was handed off within {FIRST_PATIENCE:?}");
            thread::sleep(PAUSE);
        }
    }

    /// Lets the players stand until all that they did has taken effect; their last account.
    fn stop_players(&mut self) -> anyhow::Result<Option<PlayersSeen>> {
        let Some(bots) = &mut self.bots else { return Ok(None) };
        bots.ask(STOP)?;
        bots.hear(PATIENCE).map(Some)
    }

    /// Together: one that runs without a pause takes the time in which the other is to end.
    fn end(mut self) {
        self.nodes.iter_mut().chain(&mut self.bots).for_each(Kin::let_go);
        self.coordinator.let_go();
    }
}
