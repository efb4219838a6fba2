//! The report over all runs: the table for people, and JSON with the keys of `up`.

use std::thread::available_parallelism;

use hdrhistogram::Histogram;
use selvedge_node::{HistogramText, NodeReport};
use serde::Serialize;
use serde_json::{Value, json};

use super::aftermath::Aftermath;
use super::args::{ChaosArgs, FaultKind};
use super::judge::CHECKPOINT_MS;
use super::phase::{Phase, Phases};
use super::run::Outcome;
use crate::figures::empty;
use crate::{BotsSnapshot, Figures, Table, figures, milliseconds};

/// What the design asks of a recovery after a kill, beyond the lease, in milliseconds.
const TARGET_BEYOND_LEASE_MS: f64 = 500.0;
/// The reason under which nodes count transfers that were cancelled because nobody answered.
const SILENCE: &str = "silence";

/// All runs.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    args: &'a ChaosArgs,
    runs: &'a [Outcome],
    nodes: NodeReport,
    gaps: Histogram<u64>,
    problems: Vec<String>,
    interrupted: bool,
}

/// A few figures of exact values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) count: usize,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of values in any order. All 0 if there are none.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "ranks among a few thousand values"
    )]
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        // The smallest value that so many are not above.
        let at = |share: f64| {
            let rank = (share * values.len() as f64).ceil() as usize;
            values.get(rank.max(1) - 1).copied().unwrap_or(0.0)
        };
        Self { count: values.len(), p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

impl<'a> Report<'a> {
    pub(crate) fn new(args: &'a ChaosArgs, runs: &'a [Outcome], interrupted: bool) -> Self {
        let (nodes, gaps, problems) = (NodeReport::default(), empty(), Vec::new());
        let mut report = Self { args, runs, nodes, gaps, problems, interrupted };
        for run in runs {
            let of_run = |problem: &str| format!("seed {}: {problem}", run.seed);
            report.problems.extend(run.problems.iter().map(|problem| of_run(problem)));
            let merged = report.nodes.merge(&run.nodes).map_err(|error| error.to_string());
            let added = report.gaps.add(&run.bots.sums.client_gap_us).map_err(|error| error.to_string());
            let unread = merged.and(added).err();
            report
                .problems
                .extend(unread.map(|error| of_run(&format!("figures can't be added up: {error}"))));
        }
        report
    }

    /// Whether nothing was lost, doubled or in two hands.
    pub(crate) fn good(&self) -> bool {
        self.problems.is_empty()
    }

    fn of(&self, kind: FaultKind) -> impl Iterator<Item = &Aftermath> {
        let all = self.runs.iter().flat_map(|run| &run.faults);
        all.filter(move |(of, _)| *of == kind).map(|(_, aftermath)| aftermath)
    }

    fn recovery(&self, kind: FaultKind) -> Spread {
        Spread::of(self.of(kind).flat_map(|aftermath| aftermath.recovery_ms.iter().copied()))
    }

    fn all(&self) -> impl Iterator<Item = &Aftermath> {
        self.runs.iter().flat_map(|run| &run.faults).map(|(_, aftermath)| aftermath)
    }

    fn rolled_back(&self) -> Spread {
        Spread::of(self.all().flat_map(|aftermath| aftermath.rolled_back_ms.iter().copied()))
    }

    fn silence(&self) -> Spread {
        Spread::of(self.all().flat_map(|aftermath| aftermath.silence_ms.iter().copied()))
    }

    fn phases(&self) -> impl Iterator<Item = &Phases> {
        self.all().filter_map(|aftermath| aftermath.phases.as_ref())
    }

    fn sum(&self, of: impl Fn(&BotsSnapshot) -> u64) -> u64 {
        self.runs.iter().map(|run| of(&run.bots.sums)).sum()
    }

    fn count(&self, of: impl Fn(&Outcome) -> usize) -> usize {
        self.runs.iter().map(of).sum()
    }

    fn trades(&self) -> u64 {
        self.runs.iter().map(Outcome::trades).sum()
    }

    fn lease_ms(&self) -> f64 {
        self.args.lease.as_secs_f64() * 1000.0
    }

    fn expected(&self) -> usize {
        self.args.local.players * self.runs.len()
    }

    /// The report for people.
    pub(crate) fn table(&self) -> String {
        let mut by_kind =
            Table::new(["fault", "times", "players affected", "restored", "recovery p50", "p99", "max ms"]);
        for (kind, name) in KINDS {
            let times = self.of(kind).count();
            if times > 0 {
                let affected: usize = self.of(kind).map(|aftermath| aftermath.affected).sum();
                let Spread { count, p50, p99, max } = self.recovery(kind);
                let figure = |value: f64| if count == 0 { "-".to_owned() } else { format!("{value:.0}") };
                let numbers = [times, affected, count].map(|number| number.to_string());
                let [times, affected, restored] = numbers;
                by_kind.row([
                    name.to_owned(),
                    times,
                    affected,
                    restored,
                    figure(p50),
                    figure(p99),
                    figure(max),
                ]);
            }
        }
        let mut table = Table::plain();
        let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
        let seconds: f64 = self.runs.iter().map(|run| run.played.as_secs_f64()).sum();
        row("runs", format!("{}, {seconds:.0} s in all, seeds from {}", self.runs.len(), self.args.seed));
        let present = self.count(|run| run.judgement.present);
        let twice = self.count(|run| run.judgement.twice.len());
        row("players", format!("{present} of {} present, {twice} in two hands", self.expected()));
        let (npcs, gone) = (self.count(|run| run.npcs_before), self.count(|run| run.npcs_missing));
        row("NPCs", format!("{npcs} before, {gone} missing"));
        let (before, after) = (self.count(|run| run.items.before), self.count(|run| run.items.after));
        let (vanished, doubled) =
            (self.count(|run| run.items.vanished.len()), self.count(|run| run.items.doubled.len()));
        row("items", format!("{before} before, {after} after, {vanished} vanished, {doubled} doubled"));
        row("trades", format!("{} done", self.trades()));
        let (sent, applied) = (self.sum(|sums| sums.sent), self.sum(|sums| sums.applied));
        let (lost, doubled) = (self.sum(|sums| sums.lost), self.sum(|sums| sums.doubled));
        row("inputs", format!("{sent} sent, {applied} applied, {lost} lost, {doubled} doubled"));
        row("replayed", format!("{} inputs", self.sum(|sums| sums.replayed)));
        row("shown nothing", spread(&self.silence(), "ms, by restored player"));
        row("taken back", spread(&self.rolled_back(), "ms of inputs, replayed"));
        row("authority violations", self.violations().to_string());
        let kills = self.recovery(FaultKind::Kill);
        row("recovery after kills", spread(&kills, "ms, by player"));
        row("until all were back", spread(&self.all_back(FaultKind::Kill), "ms, by kill, from censuses"));
        if kills.count > 0 {
            let target = self.lease_ms() + TARGET_BEYOND_LEASE_MS;
            let met = if kills.p99 <= target { "met" } else { "MISSED" };
            row("target", format!("{target:.0} ms at p99: {met}"));
        }
        let compared: String = self.phases().map(|phases| format!("{}\n", beside(phases))).collect();
        format!("{by_kind}\n{table}\n{compared}{}", self.verdict())
    }

    fn all_back(&self, kind: FaultKind) -> Spread {
        Spread::of(self.of(kind).filter_map(|aftermath| aftermath.all_back_ms))
    }

    fn verdict(&self) -> String {
        if self.interrupted && self.good() {
            return "GOOD until it was interrupted: nobody and nothing was lost, doubled or in two hands"
                .to_owned();
        }
        if self.good() {
            return "GOOD: nobody and nothing was lost, doubled or in two hands".to_owned();
        }
        let mut text = "NOT GOOD:".to_owned();
        for problem in &self.problems {
            text += &format!("\n  - {problem}");
        }
        text
    }

    fn violations(&self) -> u64 {
        let told = |run: &Outcome| run.status.as_ref().map_or(0, |status| status.authority_violations);
        let told: u64 = self.runs.iter().map(told).sum();
        self.sum(BotsSnapshot::authority_violations)
            + told
            + self.count(|run| run.judgement.twice.len()) as u64
    }

    /// The report for programs: the keys of `up`, and what was done to the mesh.
    pub(crate) fn json(&self) -> Value {
        let (counted, histograms) = (&self.nodes.counters, &self.nodes.histograms);
        let us = |text: &HistogramText| text.decode().map(|read| figures(&read, 1.0)).unwrap_or_default();
        let ms = |text: &HistogramText| text.decode().map(|read| milliseconds(&read)).unwrap_or_default();
        let seconds: f64 = self.runs.iter().map(|run| run.played.as_secs_f64()).sum();
        let aborted = counted.handoffs_aborted.iter().filter(|(reason, _)| *reason != SILENCE);
        let refused =
            counted.prepares_refused.values().sum::<u64>() + aborted.map(|(_, count)| count).sum::<u64>();
        let present = self.count(|run| run.judgement.present);
        let times = |kind| self.of(kind).count();
        let gaps: Figures = milliseconds(&self.gaps);
        let mut report = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "machine": {
                "cores": available_parallelism().map_or(1, usize::from),
                "os": std::env::consts::OS,
                "arch": std::env::consts::ARCH,
            },
            "config": self.args,
            "duration_s": seconds,
            "interrupted": self.interrupted,
            "good": self.good(),
            "problems": self.problems,
            "lease_ms": self.lease_ms(),
            "checkpoint_ms": CHECKPOINT_MS,
            "recovery_ms": self.recovery(FaultKind::Kill),
            "recovery_by": {
                "kill": self.recovery(FaultKind::Kill),
                "pause": self.recovery(FaultKind::Pause),
                "partition": self.recovery(FaultKind::Partition),
            },
            "recovery_all_ms": self.all_back(FaultKind::Kill),
            "rolled_back_ms": self.rolled_back(),
            "silence_ms": self.silence(),
            "checkpoint_age_ms": ms(&histograms.checkpoint_age_us),
            "handoffs": {
                "completed": counted.handoffs_in_players,
                "refused": refused,
                "failed": counted.handoffs_aborted.get(SILENCE).copied().unwrap_or(0),
                "npcs_completed": counted.handoffs_in.saturating_sub(counted.handoffs_in_players),
                "warm": counted.handoffs_out_warm,
                "cold": counted.handoffs_out_cold,
                "prepares_refused": counted.prepares_refused,
                "aborted": counted.handoffs_aborted,
            },
            "players": {
                "expected": self.expected(),
                "present": present,
                "missing": self.expected().saturating_sub(present),
                "logged_out": self.count(|run| run.bots.sums.logged_out),
            },
            "npcs": {
                "expected": self.count(|run| run.npcs_before),
                "missing": self.count(|run| run.npcs_missing),
            },
            "items": {
                "before": self.count(|run| run.items.before),
                "after": self.count(|run| run.items.after),
                "vanished": self.count(|run| run.items.vanished.len()),
                "doubled": self.count(|run| run.items.doubled.len()),
                "appeared": self.count(|run| run.items.appeared.len()),
                "players_unread": self.count(|run| run.items.players_unread),
                "trades": self.trades(),
            },
            "inputs": {
                "sent": self.sum(|sums| sums.sent),
                "applied": self.sum(|sums| sums.applied),
                "lost": self.sum(|sums| sums.lost),
                "doubled": self.sum(|sums| sums.doubled),
                "skipped": self.sum(|sums| sums.skipped),
                "not_taken": self.sum(|sums| sums.not_taken),
                "replayed": self.sum(|sums| sums.replayed),
                "undone": self.sum(|sums| sums.undone),
            },
            "authority_violations": self.violations(),
            "cutover_us": us(&histograms.cutover_players_us),
            "client_gap_ms": gaps,
            "handoff_total_ms": ms(&histograms.handoff_total_us),
            "prepare_ms": ms(&histograms.prepare_us),
            "tick_us": us(&histograms.tick_us),
            "tick_late_us": us(&histograms.tick_late_us),
            "ticks": { "run": counted.ticks_run, "skipped": counted.ticks_skipped, "overrun": counted.ticks_overrun },
        });
        report["handoffs_per_s"] = rate(counted.handoffs_in_players, seconds).into();
        report["missed_ticks"] = missed_ticks(&histograms.missed_ticks_players);
        report["switches"] = json!({
            "all": self.sum(|sums| sums.switches),
            "prepared": self.sum(|sums| sums.prepared_switches),
            "with_unseen_ticks": self.sum(|sums| sums.switches_unseen),
        });
        report["clients"] = json!({
            "states": self.sum(|sums| sums.states),
            "states_reordered": self.sum(|sums| sums.states_reordered),
            "lost_connections": self.sum(|sums| sums.lost_connections),
            "silent": self.sum(|sums| sums.silent),
            "recoveries": self.sum(|sums| sums.recoveries),
            "refused_at_door": self.sum(|sums| sums.refused_at_door),
        });
        report["faults"] = json!({
            "kills": times(FaultKind::Kill),
            "pauses": times(FaultKind::Pause),
            "partitions": times(FaultKind::Partition),
            "losses": times(FaultKind::Loss),
            "coordinator_kills": times(FaultKind::Coordinator),
            "captures_failed": counted.captures_failed,
            "report_overflows": counted.report_overflows,
            "sends_dropped": counted.sends_dropped,
            "client_sends_dropped": counted.client_sends_dropped,
            "tokens_refused": counted.tokens_refused,
            "clients_misbehaved": counted.clients_misbehaved,
            "peers_misbehaved": counted.peers_misbehaved,
            "fenced": counted.fenced,
        });
        report["coordinator_down"] = self.phases().map(|phases| json!(phases)).collect();
        report["runs"] = self.runs.iter().map(of_run).collect();
        report["nodes"] =
            json!(self.runs.last().and_then(|run| run.status.as_ref()).map(|status| &status.nodes));
        report
    }
}

/// The kinds of faults, and what they are called in the table.
const KINDS: [(FaultKind, &str); 5] = [
    (FaultKind::Kill, "node killed"),
    (FaultKind::Pause, "node stopped"),
    (FaultKind::Partition, "partition"),
    (FaultKind::Loss, "bad weather"),
    (FaultKind::Coordinator, "coordinator killed"),
];

/// The time without a coordinator beside the one before.
fn beside(phases: &Phases) -> Table {
    let mut table = Table::new(["without a coordinator", "before", "meanwhile"]);
    let mut row = |name: &str, of: &dyn Fn(&Phase) -> String| {
        table.row([name.to_owned(), of(&phases.quiet), of(&phases.down)]);
    };
    row("seconds", &|phase| format!("{:.1}", phase.seconds));
    row("handoffs a second, as players saw", &|phase| format!("{:.2}", phase.switches_per_s));
    row("of these prepared", &|phase| format!("{:.1} %", phase.prepared_share * 100.0));
    row("with a tick never shown", &|phase| format!("{:.1} %", phase.unseen_share * 100.0));
    row("client_gap p50 / p99 / max ms", &|phase| {
        let gap = phase.client_gap_ms;
        format!("{:.1} / {:.1} / {:.1}", gap.p50, gap.p99, gap.max)
    });
    row("states a second and player", &|phase| format!("{:.2}", phase.states_per_player_s));
    row("connections lost / silent", &|phase| format!("{} / {}", phase.lost_connections, phase.silent));
    row("inputs not taken", &|phase| phase.inputs_not_taken.to_string());
    row("seconds, as nodes count", &|phase| format!("{:.1}", phase.nodes.seconds));
    row("handoffs of players", &|phase| {
        format!("{}, {:.2} a second", phase.nodes.handoffs, phase.nodes.handoffs_per_s)
    });
    row("of these with missed ticks", &|phase| {
        format!("{:.1} %, up to {}", phase.nodes.missed_share * 100.0, phase.nodes.missed_max)
    });
    row("ticks run / skipped", &|phase| format!("{} / {}", phase.nodes.ticks_run, phase.nodes.ticks_skipped));
    table
}

fn of_run(run: &Outcome) -> Value {
    let faults: Vec<Value> =
        run.faults.iter().map(|(kind, aftermath)| json!({ "kind": kind, "aftermath": aftermath })).collect();
    json!({
        "seed": run.seed,
        "played_s": run.played.as_secs_f64(),
        "faults": faults,
        "items": run.items,
        "datagrams": run.carried,
        "problems": run.problems,
    })
}

fn missed_ticks(text: &HistogramText) -> Value {
    let histogram = text.decode().unwrap_or_else(|_| empty());
    let zero_share = if histogram.is_empty() { 1.0 } else { rate_of(histogram.count_at(0), histogram.len()) };
    json!({ "count": histogram.len(), "zero_share": zero_share, "max": histogram.max() })
}

fn spread(spread: &Spread, what: &str) -> String {
    let Spread { count, p50, p99, max } = spread;
    if *count == 0 { "none".to_owned() } else { format!("p50 {p50:.0}, p99 {p99:.0}, max {max:.0} {what}") }
}

#[allow(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

#[allow(clippy::cast_precision_loss, reason = "a share for people")]
const fn rate_of(part: u64, all: u64) -> f64 {
    part as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_names_values_that_were_seen() {
        let spread = Spread::of((1..=100).rev().map(f64::from));
        assert_eq!(spread, Spread { count: 100, p50: 50.0, p99: 99.0, max: 100.0 });
        assert_eq!(Spread::of([7.0]), Spread { count: 1, p50: 7.0, p99: 7.0, max: 7.0 });
        assert_eq!(Spread::of([]), Spread::default());
    }
}
