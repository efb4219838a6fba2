//! What the mesh's processes say of themselves, and what the system says of them, over one phase.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use selvedge_node::{HistogramText, NodeReport};
use selvedge_protocol::id::NodeId;

use crate::Observer;

/// How often a process's memory is read.
const LOOK: Duration = Duration::from_millis(50);
/// Between two looks for a newer report.
const REPORT_LOOK: Duration = Duration::from_millis(100);
/// Reports come once a second.
const REPORT_PATIENCE: Duration = Duration::from_secs(6);

/// Resident memory of some processes: the most of each while it is watched.
#[derive(Debug)]
pub(super) struct MemoryWatch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl MemoryWatch {
    /// Watches the process with this id, from now on.
    pub(super) fn start(pid: u32) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("memory".to_owned()).spawn(move || {
            let mut most = resident_bytes(pid);
            while !stopped.load(Ordering::Relaxed) {
                thread::sleep(LOOK);
                most = most.max(resident_bytes(pid));
            }
            most
        })?;
        Ok(Self { stop, thread })
    }

    /// The most bytes that were resident.
    pub(super) fn end(self) -> anyhow::Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the watch over memory panicked"))
    }
}

/// 0 for a process that is gone.
fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// What a node counted between two of its reports.
#[derive(Debug, Clone)]
pub(super) struct Ticks {
    pub(super) run: u64,
    pub(super) skipped: u64,
    /// How late each tick began.
    pub(super) late_us: Histogram<u64>,
    /// From the freeze to the answer, of everything that it handed over.
    pub(super) cutover_us: Histogram<u64>,
    /// Ticks that nobody simulated of what it took over.
    pub(super) missed: Histogram<u64>,
    pub(super) misbehaved: u64,
}

impl Ticks {
    /// What came between two reports.
    pub(super) fn between(before: &NodeReport, after: &NodeReport) -> anyhow::Result<Self> {
        let (old, new) = (&before.counters, &after.counters);
        let (past, now) = (&before.histograms, &after.histograms);
        Ok(Self {
            run: new.ticks_run.saturating_sub(old.ticks_run),
            skipped: new.ticks_skipped.saturating_sub(old.ticks_skipped),
            late_us: difference(&past.tick_late_us, &now.tick_late_us)?,
            cutover_us: difference(&past.cutover_us, &now.cutover_us)?,
            missed: difference(&past.missed_ticks, &now.missed_ticks)?,
            misbehaved: (new.peers_misbehaved + new.clients_misbehaved)
                .saturating_sub(old.peers_misbehaved + old.clients_misbehaved),
        })
    }

    /// Two nodes together.
    pub(super) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.run += other.run;
        self.skipped += other.skipped;
        self.misbehaved += other.misbehaved;
        self.late_us.add(&other.late_us)?;
        self.cutover_us.add(&other.cutover_us)?;
        self.missed.add(&other.missed)?;
        Ok(())
    }
}

fn difference(before: &HistogramText, after: &HistogramText) -> anyhow::Result<Histogram<u64>> {
    let mut rest = after.decode()?;
    rest.subtract(before.decode()?).context("a node was started anew in between")?;
    Ok(rest)
}

/// Reports of all these nodes that are younger than now.
pub(super) fn fresh_reports(
    observer: &Observer,
    nodes: &[NodeId],
) -> anyhow::Result<BTreeMap<NodeId, NodeReport>> {
    let old = observer.reports().unwrap_or_default();
    let until = Instant::now() + REPORT_PATIENCE;
    loop {
        let reports = observer.reports().unwrap_or_default();
        let uptime =
            |reports: &BTreeMap<NodeId, NodeReport>, node| reports.get(node).map_or(0.0, |one| one.uptime_s);
        if nodes.iter().all(|node| uptime(&reports, node) > uptime(&old, node)) {
            return Ok(reports);
        }
        anyhow::ensure!(Instant::now() < until, "no node has reported within {REPORT_PATIENCE:?}");
        thread::sleep(REPORT_LOOK);
    }
}
