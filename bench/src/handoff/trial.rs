//! One row: starts the processes that it needs, waits until they are at it, and takes the difference of two looks.

use std::fmt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use selvedge_node::{HistogramText, NodeReport};

use super::args::{HandoffArgs, HopPath};
use super::cpu::{self, Spent};
use super::home::NODES;
use super::kin::Kin;
use super::rows::{Row, RowPath};
use super::spec::{Ask, CoordinatorSpec, Floor, FloorAnswer, FloorSpec, NodeAnswer, NodeSpec, Opened, Spec};

/// How long a process may take to start, or to answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the mesh may take until the first entity is handed off.
const FIRST_PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(100);

/// What one row measures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial {
    pub(super) path: RowPath,
    pub(super) snapshot_bytes: usize,
    pub(super) concurrency: usize,
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} B x {}", self.path, self.snapshot_bytes, self.concurrency)
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
        let tick = Duration::from_secs(1) / args.hz();
        let spec = CoordinatorSpec {
            dir: dir.to_owned(),
            core: args.pin.others(),
            tick,
            mtu: args.mtu,
            log: args.log.clone(),
        };
        let coordinator = Kin::start("the coordinator", &Spec::Coordinator(spec))?;
        let Opened { address } = coordinator.hear(PATIENCE)?;
        let mut nodes = Vec::new();
        let shares = [self.concurrency.div_ceil(2), self.concurrency / 2];
        for ((name, core), entities) in NODES.into_iter().zip(args.pin.sides()).zip(shares) {
            let spec = NodeSpec {
                dir: dir.to_owned(),
                name: name.to_owned(),
                core,
                coordinator: address,
                tick,
                pace: args.pace,
                mtu: args.mtu,
                path,
                snapshot_bytes: self.snapshot_bytes,
                entities,
                log: args.log.clone(),
            };
            nodes.push(Kin::start(name, &Spec::Node(spec))?);
        }
        wait_for_first(&mut nodes)?;
        thread::sleep(args.warm_up);
        let before = look(&mut nodes)?;
        let began = Instant::now();
        thread::sleep(args.duration);
        let after = look(&mut nodes)?;
        let elapsed = began.elapsed();
        // Together: one that runs without a pause takes the time in which the other is to end.
        nodes.iter_mut().for_each(Kin::let_go);
        let mut row = Row::new(self.path, self.snapshot_bytes, self.concurrency);
        for (before, after) in before.iter().zip(&after) {
            add(&mut row, before, after)?;
        }
        row.finish(elapsed);
        ensure!(!row.latency.is_empty(), "nothing was handed off while it was measured");
        Ok(row)
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
            duration: args.duration,
        };
        let patience = PATIENCE + ask.warm_up + ask.duration;
        let asking = Kin::start("the asking side", &spec(asker, Some(ask)))?;
        let answer: FloorAnswer = asking.hear(patience)?;
        let mut row = Row::new(self.path, self.snapshot_bytes, self.concurrency);
        row.latency = answer.rtt_ns.decode()?;
        row.repeated = answer.repeated;
        row.finish(answer.elapsed);
        Ok(row)
    }
}

/// One look at a node.
struct Look {
    report: NodeReport,
    spent: Spent,
}

fn look(nodes: &mut [Kin]) -> anyhow::Result<Vec<Look>> {
    nodes.iter_mut().try_for_each(Kin::ask)?;
    let of = |node: &Kin| {
        let NodeAnswer { report, .. } = node.hear(PATIENCE)?;
        Ok(Look { report, spent: cpu::spent(node.id()) })
    };
    nodes.iter().map(of).collect()
}

fn wait_for_first(nodes: &mut [Kin]) -> anyhow::Result<()> {
    let until = Instant::now() + FIRST_PATIENCE;
    loop {
        if look(nodes)?.iter().any(|look| look.report.counters.handoffs_in > 0) {
            return Ok(());
        }
        ensure!(Instant::now() < until, "nothing was handed off within {FIRST_PATIENCE:?}");
        thread::sleep(LOOK);
    }
}

fn add(row: &mut Row, before: &Look, after: &Look) -> anyhow::Result<()> {
    let (old, new) = (&before.report.histograms, &after.report.histograms);
    add_difference(&mut row.latency, &old.cutover_us, &new.cutover_us)?;
    add_difference(&mut row.prepare_us, &old.prepare_us, &new.prepare_us)?;
    add_difference(&mut row.callbacks_us, &old.world_callbacks_us, &new.world_callbacks_us)?;
    add_difference(&mut row.missed_ticks, &old.missed_ticks, &new.missed_ticks)?;
    let (old, new) = (&before.report.counters, &after.report.counters);
    row.completed += new.handoffs_in - old.handoffs_in;
    row.warm += new.handoffs_out_warm - old.handoffs_out_warm;
    row.cold += new.handoffs_out_cold - old.handoffs_out_cold;
    row.aborted += new.handoffs_aborted.values().sum::<u64>() - old.handoffs_aborted.values().sum::<u64>();
    row.refused += new.prepares_refused.values().sum::<u64>() - old.prepares_refused.values().sum::<u64>();
    row.ticks += new.ticks_run - old.ticks_run;
    cpu::add_difference(&mut row.cpu_s, &before.spent, &after.spent);
    Ok(())
}

fn add_difference(
    sum: &mut Histogram<u64>,
    before: &HistogramText,
    after: &HistogramText,
) -> anyhow::Result<()> {
    let mut difference = after.decode()?;
    difference.subtract(before.decode()?).context("a node's histogram has shrunk")?;
    Ok(sum.add(difference)?)
}
