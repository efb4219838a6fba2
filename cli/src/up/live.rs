//! What is shown while the mesh plays: a picture on a terminal, else a line now and then.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use selvedge_bench::{BotsSnapshot, figures, milliseconds};
use selvedge_node::NodeCounters;
use selvedge_protocol::coordinator::{CoordinatorStatus, NodeStatus};

use crate::out;

const PERIOD_TERMINAL: Duration = Duration::from_secs(1);
const PERIOD_LINES: Duration = Duration::from_secs(5);

/// What is shown.
#[derive(Debug)]
pub(super) struct Live {
    picture: Option<Picture>,
    said: Instant,
    /// What had been counted then.
    counted: NodeCounters,
}

/// What happened in each second since something was shown last.
#[derive(Debug, Clone, Copy)]
struct Rates {
    handoffs: f64,
    ghost_updates: f64,
    ghost_bytes: f64,
}

/// What there is to show.
#[derive(Debug)]
pub(super) struct Moment<'a> {
    pub(super) bots: &'a BotsSnapshot,
    pub(super) status: Option<&'a CoordinatorStatus>,
    /// Of all nodes, in microseconds.
    pub(super) cutover_us: Option<&'a hdrhistogram::Histogram<u64>>,
    /// What all nodes have counted so far.
    pub(super) counted: &'a NodeCounters,
    /// How much longer it goes on.
    pub(super) left: Option<Duration>,
}

#[derive(Debug)]
struct Picture {
    all: MultiProgress,
    mesh: ProgressBar,
    gaps: ProgressBar,
    between: ProgressBar,
    nodes: Vec<ProgressBar>,
}

impl Live {
    pub(super) fn new() -> Self {
        let picture = io::stderr().is_terminal().then(Picture::new);
        Self { picture, said: Instant::now(), counted: NodeCounters::default() }
    }

    /// Whether it is time to show something.
    pub(super) fn is_due(&self) -> bool {
        let period = if self.picture.is_some() { PERIOD_TERMINAL } else { PERIOD_LINES };
        self.said.elapsed() >= period
    }

    pub(super) fn show(&mut self, moment: &Moment<'_>) {
        let (elapsed, before, now) = (self.said.elapsed(), &self.counted, moment.counted);
        let rate = |of: fn(&NodeCounters) -> u64| per_second(of(now).saturating_sub(of(before)), elapsed);
        let rates = Rates {
            handoffs: rate(|counted| counted.handoffs_in),
            ghost_updates: rate(|counted| counted.ghost_samples_to_nodes + counted.ghost_samples_to_players),
            ghost_bytes: rate(|counted| counted.ghost_bytes_to_nodes + counted.ghost_bytes_to_players),
        };
        (self.said, self.counted) = (Instant::now(), now.clone());
        match &mut self.picture {
            Some(picture) => picture.show(moment, rates),
            None => out::say(&format!("{}; {}", line(moment, rates.handoffs), between(moment, rates))),
        }
    }

    /// Says something without tearing the picture.
    pub(super) fn say(&self, text: &str) {
        match &self.picture {
            Some(picture) => {
                // A picture that can't be drawn any more is no reason to end.
                let _ = picture.all.println(text);
            }
            None => out::say(text),
        }
    }

    /// Removes the picture.
    pub(super) fn end(&self) {
        if let Some(picture) = &self.picture {
            let _ = picture.all.clear();
        }
    }
}

impl Picture {
    fn new() -> Self {
        let all = MultiProgress::new();
        let mesh = all.add(bar());
        let gaps = all.add(bar());
        let between = all.add(bar());
        Self { all, mesh, gaps, between, nodes: Vec::new() }
    }

    fn show(&mut self, moment: &Moment<'_>, rates: Rates) {
        self.mesh.set_message(line(moment, rates.handoffs));
        self.between.set_message(format!("        {}", between(moment, rates)));
        let gap = milliseconds(&moment.bots.client_gap_us);
        self.gaps.set_message(format!(
            "        inputs {} sent, {} doubled · switches {} ({} prepared) · client gap p50 {:.1} p99 {:.1} max {:.1} ms",
            moment.bots.sent,
            moment.bots.doubled,
            moment.bots.switches,
            moment.bots.prepared_switches,
            gap.p50,
            gap.p99,
            gap.max,
        ));
        let Some(status) = moment.status else { return };
        while self.nodes.len() < status.nodes.len() {
            self.nodes.push(self.all.add(bar()));
        }
        for (number, (bar, node)) in self.nodes.iter().zip(&status.nodes).enumerate() {
            bar.set_message(of_node(number + 1, node));
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{msg}") {
        bar.set_style(style);
    }
    bar
}

fn of_node(number: usize, node: &NodeStatus) -> String {
    let NodeStatus { cells, players, entities, ghosts, clients, handoffs_in, .. } = node;
    let lost = if node.alive { "" } else { "  LOST" };
    format!(
        "  node {number:>2}  cells {cells:>4}  players {players:>5}  entities {entities:>6}  ghosts {ghosts:>6}  \
         clients {clients:>5}  handoffs in {handoffs_in:>7}{lost}"
    )
}

fn line(moment: &Moment<'_>, rate: f64) -> String {
    let bots = moment.bots;
    let cutover = moment.cutover_us.map(|histogram| figures(histogram, 1.0)).unwrap_or_default();
    let gap = milliseconds(&bots.client_gap_us);
    let violations =
        bots.authority_violations() + moment.status.map_or(0, |status| status.authority_violations);
    let left = moment.left.map(|left| format!(", {} s left", left.as_secs())).unwrap_or_default();
    format!(
        "{:>5} s{left}: {}/{} players, {} handoffs ({rate:.1}/s), cutover p50 {:.0} p99 {:.0} us, client gap p99 \
         {:.1} ms, errors: {} doubled, {} violations, {} connections lost",
        bots.elapsed.as_secs(),
        bots.entered,
        bots.players,
        moment.counted.handoffs_in,
        cutover.p50,
        cutover.p99,
        gap.p99,
        bots.doubled,
        violations,
        bots.lost_connections,
    )
}

/// What goes on between entities: ghosts, actions, events.
fn between(moment: &Moment<'_>, rates: Rates) -> String {
    let ghosts: u64 =
        moment.status.map_or(0, |status| status.nodes.iter().map(|node| u64::from(node.ghosts)).sum());
    let NodeCounters {
        actions_done,
        actions_refused,
        actions_timed_out,
        actions_failed,
        actions_durable_done,
        events_caused,
        events_reached,
        ..
    } = moment.counted;
    format!(
        "{ghosts} ghosts, {:.0} updates/s in {:.0} KiB/s; actions {actions_done} done ({actions_durable_done} trades), \
         {} not; events {events_caused}, reached {events_reached}",
        rates.ghost_updates,
        rates.ghost_bytes / 1024.0,
        actions_refused + actions_timed_out + actions_failed,
    )
}

#[allow(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(count: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}
