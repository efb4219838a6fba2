//! What is shown while the mesh plays: a picture on a terminal, else a line now and then.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use selvedge_bench::{BotsSnapshot, figures, milliseconds};
use selvedge_protocol::coordinator::{CoordinatorStatus, NodeStatus};

use crate::out;

const PERIOD_TERMINAL: Duration = Duration::from_secs(1);
const PERIOD_LINES: Duration = Duration::from_secs(5);

/// What is shown.
#[derive(Debug)]
pub(super) struct Live {
    picture: Option<Picture>,
    said: Instant,
    handoffs_said: u64,
}

/// What there is to show.
#[derive(Debug)]
pub(super) struct Moment<'a> {
    pub(super) bots: &'a BotsSnapshot,
    pub(super) status: Option<&'a CoordinatorStatus>,
    /// Of all nodes, in microseconds.
    pub(super) cutover_us: Option<&'a hdrhistogram::Histogram<u64>>,
    /// Handoffs of players and NPCs so far.
    pub(super) handoffs: u64,
    /// How much longer it goes on.
    pub(super) left: Option<Duration>,
}

#[derive(Debug)]
struct Picture {
    all: MultiProgress,
    mesh: ProgressBar,
    gaps: ProgressBar,
    nodes: Vec<ProgressBar>,
}

impl Live {
    pub(super) fn new() -> Self {
        let picture = io::stderr().is_terminal().then(Picture::new);
        Self { picture, said: Instant::now(), handoffs_said: 0 }
    }

    /// Whether it is time to show something.
    pub(super) fn is_due(&self) -> bool {
        let period = if self.picture.is_some() { PERIOD_TERMINAL } else { PERIOD_LINES };
        self.said.elapsed() >= period
    }

    pub(super) fn show(&mut self, moment: &Moment<'_>) {
        let rate = per_second(moment.handoffs.saturating_sub(self.handoffs_said), self.said.elapsed());
        (self.said, self.handoffs_said) = (Instant::now(), moment.handoffs);
        match &mut self.picture {
            Some(picture) => picture.show(moment, rate),
            None => out::say(&line(moment, rate)),
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
        Self { all, mesh, gaps, nodes: Vec::new() }
    }

    fn show(&mut self, moment: &Moment<'_>, rate: f64) {
        self.mesh.set_message(line(moment, rate));
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
        moment.handoffs,
        cutover.p50,
        cutover.p99,
        gap.p99,
        bots.doubled,
        violations,
        bots.lost_connections,
    )
}

#[allow(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(count: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}
