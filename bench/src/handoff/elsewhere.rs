//! The same on a mesh that runs already: bots cross its borders, and the reports of its nodes say what that cost.
//!
//! Deliberately absent: floors (they would run between processes of this machine, not between the mesh's), CPU time (it
//! is on other machines), and everything that the mesh itself decides: snapshots, ticks, placement, which path.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use indicatif::ProgressBar;
use selvedge_client::ClientSettings;
use selvedge_node::NodeReport;
use selvedge_protocol::coordinator::CoordinatorStatus;
use selvedge_protocol::grid::{CellId, Grid, GridConfig};
use selvedge_protocol::id::NodeId;
use serde_json::{Value, json};

use super::args::{HandoffArgs, HopPath};
use super::difference::Difference;
use super::players::PlayersSeen;
use super::rows::{Row, RowPath, Seen};
use crate::app::parse_cells;
use crate::{Bots, BotsSettings, BotsSnapshot, Manner, Observer, Plain, figures};

/// Nodes report once a second: one that is silent for so long is gone.
const REPORT_PATIENCE: Duration = Duration::from_secs(6);
const LOOK: Duration = Duration::from_millis(100);
/// Players who enter a second.
const ENTRIES_PER_SECOND: u32 = 50;
/// How long entering may take beyond that, and the walk to the first border.
const ENTRY_PATIENCE: Duration = Duration::from_secs(20);
const CROSSING_PATIENCE: Duration = Duration::from_secs(60);
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);
const LOGOUT_PATIENCE: Duration = Duration::from_secs(30);
/// Inputs a second of a bot, unless told otherwise: the usual tick rate.
const INPUT_HZ: u32 = 30;

/// Where a mesh runs already.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "On a mesh that runs already")]
pub(crate) struct ElsewhereArgs {
    /// HTTP address of its coordinator: bots cross borders there, and nothing is started here
    #[arg(long, value_name = "IP:PORT", requires_all = ["door", "door_name", "ca"])]
    pub(crate) coordinator: Option<SocketAddr>,
    /// Address of its door for players
    #[arg(long, value_name = "IP:PORT", requires = "coordinator")]
    door: Option<SocketAddr>,
    /// TLS server name of the door, as its certificate says
    #[arg(long, value_name = "NAME", requires = "coordinator")]
    door_name: Option<String>,
    /// Certificate of the world's CA (PEM)
    #[arg(long, value_name = "FILE", requires = "coordinator")]
    ca: Option<PathBuf>,
    /// Cells of the world along x and y
    #[arg(long, default_value = "4x4", value_parser = parse_cells, value_name = "XxY")]
    cells: [u32; 2],
    /// Edge of a cell in metres
    #[arg(long, default_value_t = 100.0, value_name = "METRES")]
    cell_edge: f64,
    /// How fast bots walk, in metres a second
    #[arg(long, default_value_t = 12.0, value_name = "MPS")]
    speed: f64,
}

/// What was measured with so many players.
#[derive(Debug)]
pub(super) struct Run {
    /// Warm and cold, as far as there were such.
    pub(super) rows: Vec<Row>,
    pub(super) seen: Seen,
    players: usize,
    nodes: usize,
    elapsed: Duration,
    /// What isn't measured apart for each path.
    rest: Difference,
    /// What makes this run doubtful.
    pub(super) doubts: Vec<String>,
}

impl Run {
    pub(super) fn as_json(&self) -> Value {
        let rest = &self.rest;
        json!({
            "concurrency": self.players,
            "nodes": self.nodes,
            "elapsed_s": self.elapsed.as_secs_f64(),
            "handoffs": { "completed": rest.taken_over, "aborted": rest.aborted, "prepares_refused": rest.refused },
            "phases": {
                "attach_us": figures(&rest.attach_us, 1.0),
                "world_callbacks_us": figures(&rest.callbacks_us, 1.0),
            },
            "missed_ticks": figures(&rest.missed_ticks, 1.0),
            "ticks": { "run": rest.ticks, "skipped": rest.ticks_skipped },
            "players": self.seen.as_json(),
        })
    }

    /// What isn't in the rows, in a sentence.
    pub(super) fn summary(&self) -> String {
        let gap = figures(&self.seen.client_gap_us, 1000.0);
        let attach = figures(&self.rest.attach_us, 1000.0);
        format!(
            "{} players, {} nodes: client_gap p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms at {} switches ({} over a \
             connection made ahead); attach p99 {:.2} ms; missed ticks p99 {:.0}; {} aborted, {} preparations refused",
            self.players,
            self.nodes,
            gap.p50,
            gap.p99,
            gap.max,
            self.seen.switches,
            self.seen.prepared_switches,
            attach.p99,
            figures(&self.rest.missed_ticks, 1.0).p99,
            self.rest.aborted,
            self.rest.refused,
        )
    }
}

/// Measures with each number of players.
pub(super) fn run(
    args: &HandoffArgs,
    coordinator: SocketAddr,
    bar: &ProgressBar,
) -> anyhow::Result<Vec<Run>> {
    let observer = Observer::new(coordinator);
    let status = observer.status().with_context(|| {
        format!("{coordinator} does not answer as the HTTP status of a coordinator (--coordinator)")
    })?;
    let owners = observer.cells()?.cells;
    let [x, y] = args.elsewhere.cells;
    let cells = usize::try_from(u64::from(x) * u64::from(y))?;
    check(coordinator, &status, &owners, cells)?;
    let mut runs = Vec::new();
    for &players in &args.concurrency {
        bar.set_message(format!("{players} players enter"));
        let settings = settings(args, players, owners.clone())?;
        runs.push(measure(args, &observer, &settings, bar).with_context(|| format!("{players} players"))?);
        bar.inc(1);
    }
    Ok(runs)
}

/// Whether anything can cross there.
fn check(
    coordinator: SocketAddr,
    status: &CoordinatorStatus,
    owners: &BTreeMap<CellId, NodeId>,
    cells: usize,
) -> anyhow::Result<()> {
    let alive: BTreeSet<_> = status.nodes.iter().filter(|node| node.alive).map(|node| node.node).collect();
    ensure!(
        !alive.is_empty(),
        "the mesh of {coordinator} has no node that is alive: start two, then measure"
    );
    ensure!(
        alive.len() > 1,
        "the mesh of {coordinator} has one node: nothing can cross from it to another; start a second"
    );
    let owning = owners.values().filter(|node| alive.contains(node)).collect::<BTreeSet<_>>().len();
    ensure!(
        owning > 1,
        "of {} nodes of the mesh of {coordinator} {owning} own cells: nothing can cross yet; wait for its cells to \
         be assigned",
        alive.len()
    );
    ensure!(
        status.cells == cells,
        "the world of {coordinator} has {} cells, but --cells says {cells}: give the world's own, and its --cell-edge",
        status.cells
    );
    Ok(())
}

fn settings(
    args: &HandoffArgs,
    players: usize,
    owners: BTreeMap<CellId, NodeId>,
) -> anyhow::Result<BotsSettings> {
    let there = &args.elsewhere;
    let ca = there.ca.as_ref().context("--coordinator needs --ca")?;
    let ca_pem = fs::read_to_string(ca)
        .with_context(|| format!("cannot read the CA's certificate {}", ca.display()))?;
    let door = there.door.context("--coordinator needs --door")?;
    let name = there.door_name.clone().context("--coordinator needs --door-name")?;
    let [x, y] = there.cells;
    let grid =
        Grid::new(GridConfig { cell_edge_m: there.cell_edge, cells: [x, y, 1], ..GridConfig::default() })?;
    Ok(BotsSettings {
        client: ClientSettings::new(door, name, ca_pem),
        players,
        tick_hz: args.tick_hz.unwrap_or(INPUT_HZ),
        plain: Plain { grid, owners },
        manner: Manner::Cross,
        speed_mps: there.speed,
        entries_per_second: ENTRIES_PER_SECOND,
        seed: 1,
        name: format!("handoff-{}", uuid::Uuid::new_v4().simple()),
    })
}

fn measure(
    args: &HandoffArgs,
    observer: &Observer,
    settings: &BotsSettings,
    bar: &ProgressBar,
) -> anyhow::Result<Run> {
    let bots = Bots::start(settings)?;
    let mut doubts = Vec::new();
    wait_for_crossings(&bots, settings, bar, &mut doubts)?;
    thread::sleep(args.warm_up);
    let before = fresh_reports(observer)?;
    let seen_before = PlayersSeen::of(&bots.snapshot());
    play(&bots, args.duration(), bar);
    let after = fresh_reports(observer)?;
    let seen_after = PlayersSeen::of(&bots.snapshot());
    bar.set_message("the players leave");
    bots.stop_inputs();
    if let Err(undrained) = bots.drain(DRAIN_PATIENCE) {
        doubts.push(undrained.to_string());
    }
    let end = PlayersSeen::of(&bots.logout_all(LOGOUT_PATIENCE).sums);
    let seen = Seen::between(&seen_before, &seen_after, &end)?;
    let (measured, elapsed) = difference(&before, &after, &mut doubts)?;
    Run::new(settings.players, after.len(), measured, elapsed, seen, doubts)
}

impl Run {
    fn new(
        players: usize,
        nodes: usize,
        mut measured: Difference,
        elapsed: Duration,
        seen: Seen,
        doubts: Vec<String>,
    ) -> anyhow::Result<Self> {
        let mut rows = Vec::new();
        let (warm, cold) = (std::mem::take(&mut measured.warm), std::mem::take(&mut measured.cold));
        for (path, of_path) in [(HopPath::Warm, warm), (HopPath::Cold, cold)] {
            if of_path.handoffs == 0 {
                continue;
            }
            let mut row = Row::new(RowPath::Hop(path), None, players);
            let counted = match path {
                HopPath::Warm => &mut row.warm,
                HopPath::Cold => &mut row.cold,
            };
            *counted = of_path.handoffs;
            row.take_path(of_path)?;
            row.elapsed = elapsed;
            if path == HopPath::Warm {
                row.precopy_us = measured.precopy_us.clone();
            }
            rows.push(row);
        }
        ensure!(
            !rows.is_empty(),
            "its nodes counted no handoff while it was measured: choose a longer --duration"
        );
        Ok(Self { rows, seen, players, nodes, elapsed, rest: measured, doubts })
    }
}

/// What the nodes measured between two sets of reports, and for how long on average.
fn difference(
    before: &BTreeMap<NodeId, NodeReport>,
    after: &BTreeMap<NodeId, NodeReport>,
    doubts: &mut Vec<String>,
) -> anyhow::Result<(Difference, Duration)> {
    let mut measured = Difference::default();
    let (mut uptime_s, mut nodes) = (0.0, 0_u32);
    let nothing = NodeReport::default();
    for (node, after) in after {
        let same = before.get(node).filter(|before| before.uptime_s <= after.uptime_s);
        if same.is_none() {
            doubts.push(format!("node {node} was started meanwhile: all that it did is counted"));
        }
        let before = same.unwrap_or(&nothing);
        measured.add(before, after).with_context(|| format!("the reports of node {node}"))?;
        uptime_s += after.uptime_s - before.uptime_s;
        nodes += 1;
    }
    for node in before.keys().filter(|node| !after.contains_key(node)) {
        doubts.push(format!("node {node} is gone: what it measured is missing"));
    }
    let elapsed = Duration::try_from_secs_f64(uptime_s / f64::from(nodes.max(1)))
        .context("the nodes' uptimes make no sense")?;
    Ok((measured, elapsed))
}

/// The next report of every node: what the coordinator has at hand may be a second old.
fn fresh_reports(observer: &Observer) -> anyhow::Result<BTreeMap<NodeId, NodeReport>> {
    let stale = observer.reports()?;
    let until = Instant::now() + REPORT_PATIENCE;
    loop {
        let fresh = observer.reports()?;
        let silent = stale.iter().find(|(node, old)| {
            fresh.get(node).is_some_and(|new| new.uptime_s.to_bits() == old.uptime_s.to_bits())
        });
        let Some((node, _)) = silent.filter(|_| !stale.is_empty()) else { return Ok(fresh) };
        ensure!(
            Instant::now() < until,
            "node {node} has sent no report for {REPORT_PATIENCE:?}: is it alive, and linked to the coordinator?"
        );
        thread::sleep(LOOK);
    }
}

/// Waits until the players are in and cross borders.
fn wait_for_crossings(
    bots: &Bots,
    settings: &BotsSettings,
    bar: &ProgressBar,
    doubts: &mut Vec<String>,
) -> anyhow::Result<()> {
    let entering =
        Duration::from_secs(1).saturating_mul(u32::try_from(settings.players)?) / ENTRIES_PER_SECOND;
    let until = Instant::now() + ENTRY_PATIENCE + entering;
    let mut now = bots.snapshot();
    while now.entered < settings.players && Instant::now() < until {
        thread::sleep(LOOK);
        now = bots.snapshot();
        bar.set_message(progress("entering", &now));
    }
    let client = &settings.client;
    ensure!(
        now.entered > 0,
        "no player was let in by the door {} within {:?}; it last said: {}; check --door, --door-name {:?} and --ca",
        client.door_addr,
        ENTRY_PATIENCE + entering,
        now.last_refusal.as_deref().unwrap_or("nothing"),
        client.door_server_name,
    );
    if now.entered < settings.players {
        doubts.push(format!(
            "{} of {} players were let in; the door last said: {}",
            now.entered,
            settings.players,
            now.last_refusal.as_deref().unwrap_or("nothing")
        ));
    }
    let until = Instant::now() + CROSSING_PATIENCE;
    while now.switches < now.entered as u64 {
        ensure!(
            Instant::now() < until || now.switches > 0,
            "no player crossed a border within {CROSSING_PATIENCE:?}: are --cells and --cell-edge the world's own?"
        );
        if Instant::now() >= until {
            break;
        }
        thread::sleep(LOOK);
        now = bots.snapshot();
        bar.set_message(progress("to the borders", &now));
    }
    Ok(())
}

fn play(bots: &Bots, duration: Duration, bar: &ProgressBar) {
    let until = Instant::now() + duration;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        bar.set_message(progress("crossing", &bots.snapshot()));
        thread::sleep(left.min(Duration::from_millis(500)));
    }
}

fn progress(doing: &str, now: &BotsSnapshot) -> String {
    format!("{doing}: {}/{} players, {} switches", now.entered, now.players, now.switches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u128, alive: bool) -> Value {
        json!({
            "node": NodeId::from_u128(number), "incarnation": 1, "alive": alive, "linked": alive, "last_heard_us": 0,
            "mesh_addr": "", "client_addr": "", "cells": 1, "entities": 0, "players": 0, "ghosts": 0, "clients": 0, "handoffs_in": 0,
        })
    }

    fn status(nodes: &[Value]) -> CoordinatorStatus {
        let status = json!({
            "term": 1, "mesh_time_us": 0, "map_version": 1, "cells": 4, "cells_without_owner": 0, "nodes": nodes,
            "sessions": 0, "entities": 0, "directory_whole": true,
            "prepares_notified": 0, "prepares_refused": 0, "authority_changes": 0, "authority_violations": 0,
        });
        serde_json::from_value(status).unwrap()
    }

    fn owners(nodes: &[u128]) -> BTreeMap<CellId, NodeId> {
        let grid = Grid::new(GridConfig { cells: [2, 2, 1], ..GridConfig::default() }).unwrap();
        grid.cells().zip(nodes.iter().cycle()).map(|(cell, &node)| (cell, NodeId::from_u128(node))).collect()
    }

    #[test]
    fn where_nothing_can_cross_a_sentence_says_why() {
        let at: SocketAddr = ([127, 0, 0, 1], 7402).into();
        let refusal = |nodes: &[Value], cell_owners: &[u128], cells| {
            check(at, &status(nodes), &owners(cell_owners), cells).map_err(|error| error.to_string())
        };
        let two = [node(1, true), node(2, true)];
        assert_eq!(refusal(&two, &[1, 2], 4), Ok(()));
        for (nodes, cell_owners, cells, word) in [
            (&[][..], &[1, 2][..], 4, "no node"),
            (&[node(1, false)], &[1], 4, "no node"),
            (&[node(1, true), node(2, false)], &[1, 2], 4, "one node"),
            (&two, &[1], 4, "1 own cells"),
            (&two, &[1, 2], 16, "--cells"),
        ] {
            let said = refusal(nodes, cell_owners, cells).unwrap_err();
            assert!(said.contains(word) && said.contains("127.0.0.1:7402"), "{word}: {said}");
        }
    }

    fn report(uptime_s: f64, warm: u64) -> NodeReport {
        let mut report = NodeReport { uptime_s, ..NodeReport::default() };
        (report.counters.handoffs_out_warm, report.counters.handoffs_in) = (warm, warm);
        report
    }

    #[test]
    fn the_difference_is_of_each_node_by_itself_and_says_who_came_and_went() {
        let [a, b, c, d] = [1, 2, 3, 4].map(NodeId::from_u128);
        let before = BTreeMap::from([(a, report(100.0, 50)), (b, report(90.0, 7)), (c, report(80.0, 9))]);
        // b was started anew, c is gone, d has come.
        let after = BTreeMap::from([(a, report(110.0, 60)), (b, report(5.0, 3)), (d, report(6.0, 2))]);
        let mut doubts = Vec::new();
        let (measured, elapsed) = difference(&before, &after, &mut doubts).unwrap();
        assert_eq!(measured.warm.handoffs, 10 + 3 + 2);
        assert_eq!(elapsed, Duration::from_secs(7));
        assert_eq!(doubts.len(), 3, "{doubts:?}");
    }
}
