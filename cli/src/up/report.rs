//! The report of a run: its JSON shape, the verdict, and the table for people.

use std::collections::BTreeMap;
use std::thread::available_parallelism;
use std::time::Duration;

use hdrhistogram::Histogram;
use selvedge_bench::{BotsReport, Figures, Judgement, Table, figures, milliseconds};
use selvedge_node::NodeReport;
use selvedge_protocol::coordinator::{CoordinatorStatus, NodeStatus};
use serde::Serialize;

use super::args::UpArgs;

/// The reason under which nodes count transfers that were cancelled because nobody answered.
const SILENCE: &str = "silence";

/// What was seen, from wherever it was seen.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    pub(super) args: &'a UpArgs,
    pub(super) bots: &'a BotsReport,
    pub(super) nodes: NodeReport,
    pub(super) status: Option<CoordinatorStatus>,
    pub(super) judgement: Judgement,
    /// Players that should be there.
    pub(super) expected: usize,
    /// How long bots played, from the first entry to the last input.
    pub(super) played: Duration,
    pub(super) interrupted: bool,
    /// What else went wrong: processes that died, questions that got no answer.
    pub(super) errors: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: &'static str,
    machine: Machine,
    config: Config,
    duration_s: f64,
    interrupted: bool,
    /// Whether every invariant held and every process lived.
    pub(super) good: bool,
    /// What is wrong, for a person.
    pub(super) problems: Vec<String>,
    handoffs: Handoffs,
    handoffs_per_s: f64,
    players: Players,
    npcs: Npcs,
    inputs: Inputs,
    authority_violations: u64,
    authority_violations_by: ViolationsBy,
    missed_ticks: MissedTicks,
    cutover_us: Figures,
    client_gap_ms: Figures,
    handoff_total_ms: Figures,
    prepare_ms: Figures,
    switches: Switches,
    clients: Clients,
    ghosts: Ghosts,
    ticks: Ticks,
    tick_us: Figures,
    tick_late_us: Figures,
    faults: Faults,
    nodes: Vec<NodeStatus>,
}

#[derive(Debug, Serialize)]
struct Machine {
    cores: usize,
    os: &'static str,
    arch: &'static str,
}

#[derive(Debug, Serialize)]
struct Config {
    #[serde(flatten)]
    args: UpArgs,
    duration_s: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Handoffs {
    /// Of players, counted by the nodes that took them over.
    completed: u64,
    /// Preparations and transfers that were refused with a reason, of players and NPCs.
    refused: u64,
    /// Transfers that were given up without an answer, of players and NPCs.
    failed: u64,
    npcs_completed: u64,
    /// Of players and NPCs: with a pre-copy at the target, and without.
    warm: u64,
    cold: u64,
    /// Refused preparations by reason.
    prepares_refused: BTreeMap<String, u64>,
    /// Aborted transfers by reason.
    aborted: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
struct Players {
    expected: usize,
    present: usize,
    missing: usize,
    logged_out: usize,
}

#[derive(Debug, Serialize)]
struct Npcs {
    expected: u32,
    seen: usize,
}

#[derive(Debug, Serialize)]
struct Inputs {
    sent: u64,
    applied: u64,
    lost: u64,
    doubled: u64,
    skipped: u64,
    not_taken: u64,
}

#[derive(Debug, Serialize)]
struct ViolationsBy {
    coordinator: u64,
    clients: u64,
    census: u64,
}

#[derive(Debug, Serialize)]
struct MissedTicks {
    count: u64,
    /// The share of the players' handoffs that missed no tick; 1 if there were none.
    zero_share: f64,
    max: u64,
}

#[derive(Debug, Serialize)]
struct Switches {
    all: u64,
    /// To a connection that stood already.
    prepared: u64,
    /// With a tick in between that the client was never shown.
    with_unseen_ticks: u64,
}

#[derive(Debug, Serialize)]
struct Clients {
    states: u64,
    states_per_second_and_player: f64,
    states_reordered: u64,
    others_in_sight: f64,
    lost_connections: u64,
    refused_at_door: u64,
}

/// What players and nodes see of others' entities.
#[derive(Debug, Serialize)]
struct Ghosts {
    /// At nodes: how many ticks ago the newest tick was that the owner vouches for.
    staleness_ticks: Figures,
    /// At clients: how far from their originals other players were shown, two ticks in the past.
    error_m: Figures,
    /// The same, of those within 30 m in another cell.
    error_over_border_m: Figures,
}

#[derive(Debug, Serialize)]
struct Ticks {
    run: u64,
    skipped: u64,
    overrun: u64,
}

#[derive(Debug, Serialize)]
struct Faults {
    captures_failed: u64,
    report_overflows: u64,
    sends_dropped: u64,
    client_sends_dropped: u64,
    tokens_refused: u64,
    clients_misbehaved: u64,
    peers_misbehaved: u64,
    fenced: u64,
}

impl Report {
    pub(super) fn new(evidence: Evidence<'_>) -> Self {
        let Evidence { args, bots, nodes, status, judgement, expected, played, interrupted, mut errors } =
            evidence;
        let sums = &bots.sums;
        let counted = &nodes.counters;
        let histograms = &nodes.histograms;
        let mut read = |name: &str, text: &selvedge_node::HistogramText| {
            text.decode().unwrap_or_else(|error| {
                errors.push(format!("the nodes' histogram {name} can't be read: {error}"));
                empty()
            })
        };
        let cutover = read("cutover_players_us", &histograms.cutover_players_us);
        let missed = read("missed_ticks_players", &histograms.missed_ticks_players);
        let total = read("handoff_total_us", &histograms.handoff_total_us);
        let prepare = read("prepare_us", &histograms.prepare_us);
        let tick = read("tick_us", &histograms.tick_us);
        let tick_late = read("tick_late_us", &histograms.tick_late_us);
        let staleness = read("ghost_staleness_ticks", &histograms.ghost_staleness_ticks);
        let aborted_with_reason: u64 =
            counted.handoffs_aborted.iter().filter(|(reason, _)| *reason != SILENCE).map(|(_, n)| n).sum();
        let violations = ViolationsBy {
            coordinator: status.as_ref().map_or(0, |status| status.authority_violations),
            clients: sums.authority_violations(),
            census: judgement.twice.len() as u64,
        };
        let seconds = played.as_secs_f64();
        let mut report = Self {
            version: env!("CARGO_PKG_VERSION"),
            machine: Machine {
                cores: available_parallelism().map_or(1, usize::from),
                os: std::env::consts::OS,
                arch: std::env::consts::ARCH,
            },
            config: Config {
                args: args.clone(),
                duration_s: args.duration.map(|duration| duration.as_secs_f64()),
            },
            duration_s: seconds,
            interrupted,
            good: false,
            problems: Vec::new(),
            handoffs: Handoffs {
                completed: counted.handoffs_in_players,
                refused: counted.prepares_refused.values().sum::<u64>() + aborted_with_reason,
                failed: counted.handoffs_aborted.get(SILENCE).copied().unwrap_or(0),
                npcs_completed: counted.handoffs_in.saturating_sub(counted.handoffs_in_players),
                warm: counted.handoffs_out_warm,
                cold: counted.handoffs_out_cold,
                prepares_refused: counted.prepares_refused.clone(),
                aborted: counted.handoffs_aborted.clone(),
            },
            handoffs_per_s: rate(counted.handoffs_in_players, seconds),
            players: Players {
                expected,
                present: judgement.present,
                missing: expected.saturating_sub(judgement.present),
                logged_out: sums.logged_out,
            },
            npcs: Npcs { expected: args.local.npcs, seen: judgement.npcs },
            inputs: Inputs {
                sent: sums.sent,
                applied: sums.applied,
                lost: sums.lost,
                doubled: sums.doubled,
                skipped: sums.skipped,
                not_taken: sums.not_taken,
            },
            authority_violations: violations.coordinator + violations.clients + violations.census,
            authority_violations_by: violations,
            missed_ticks: missed_ticks(&missed),
            cutover_us: figures(&cutover, 1.0),
            client_gap_ms: milliseconds(&sums.client_gap_us),
            handoff_total_ms: milliseconds(&total),
            prepare_ms: milliseconds(&prepare),
            switches: Switches {
                all: sums.switches,
                prepared: sums.prepared_switches,
                with_unseen_ticks: sums.switches_unseen,
            },
            clients: Clients {
                states: sums.states,
                states_per_second_and_player: sums.states_per_second(),
                states_reordered: sums.states_reordered,
                others_in_sight: sums.others_in_sight(),
                lost_connections: sums.lost_connections,
                refused_at_door: sums.refused_at_door,
            },
            ghosts: Ghosts {
                staleness_ticks: figures(&staleness, 1.0),
                error_m: figures(&sums.off_mm, 1e3),
                error_over_border_m: figures(&sums.off_over_border_mm, 1e3),
            },
            ticks: Ticks {
                run: counted.ticks_run,
                skipped: counted.ticks_skipped,
                overrun: counted.ticks_overrun,
            },
            tick_us: figures(&tick, 1.0),
            tick_late_us: figures(&tick_late, 1.0),
            faults: Faults {
                captures_failed: counted.captures_failed,
                report_overflows: counted.report_overflows,
                sends_dropped: counted.sends_dropped,
                client_sends_dropped: counted.client_sends_dropped,
                tokens_refused: counted.tokens_refused,
                clients_misbehaved: counted.clients_misbehaved,
                peers_misbehaved: counted.peers_misbehaved,
                fenced: counted.fenced,
            },
            nodes: status.map(|status| status.nodes).unwrap_or_default(),
        };
        report.problems = report.broken();
        report.problems.append(&mut errors);
        report.good = report.problems.is_empty();
        report
    }

    /// The invariants that were broken, in words.
    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let mut check = |count: u64, what: &str| {
            if count > 0 {
                broken.push(format!("{count} {what}"));
            }
        };
        check(self.players.missing as u64, "players are missing");
        check(self.inputs.lost, "inputs were lost");
        check(self.inputs.doubled, "inputs were doubled");
        check(self.authority_violations, "times there were two authorities");
        broken
    }

    /// The report for people.
    pub(super) fn table(&self) -> String {
        let mut table = Table::plain();
        let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
        row("played", format!("{:.1} s on {} cores", self.duration_s, self.machine.cores));
        let handoffs = &self.handoffs;
        row(
            "handoffs of players",
            format!(
                "{} completed ({:.1}/s), {} refused, {} failed",
                handoffs.completed, self.handoffs_per_s, handoffs.refused, handoffs.failed
            ),
        );
        row("handoffs of NPCs", format!("{} completed", handoffs.npcs_completed));
        row("of all handoffs", format!("{} warm, {} cold", handoffs.warm, handoffs.cold));
        for (what, reasons) in [("refused", &handoffs.prepares_refused), ("aborted", &handoffs.aborted)] {
            if !reasons.is_empty() {
                let reasons: Vec<_> =
                    reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
                row(what, reasons.join(", "));
            }
        }
        let Players { expected, present, missing, .. } = self.players;
        row("players", format!("{present} of {expected} present, {missing} missing"));
        let Inputs { sent, applied, lost, doubled, .. } = self.inputs;
        row("inputs", format!("{sent} sent, {applied} applied, {lost} lost, {doubled} doubled"));
        row("authority violations", self.authority_violations.to_string());
        let missed = &self.missed_ticks;
        row(
            "missed ticks",
            format!("none in {:.2} % of handoffs, max {}", missed.zero_share * 100.0, missed.max),
        );
        row("cutover", in_words(&self.cutover_us, "us"));
        row("client gap", in_words(&self.client_gap_ms, "ms"));
        row("handoff in all", in_words(&self.handoff_total_ms, "ms"));
        let Switches { all, prepared, with_unseen_ticks } = self.switches;
        row(
            "clients switched",
            format!("{all} times, {prepared} to a prepared connection; a tick unseen at {with_unseen_ticks}"),
        );
        let clients = &self.clients;
        row(
            "clients were shown",
            format!(
                "{:.1} states/s each; connections lost: {}",
                clients.states_per_second_and_player, clients.lost_connections
            ),
        );
        let ghosts = &self.ghosts;
        row("ghosts at nodes", in_words(&ghosts.staleness_ticks, "ticks stale"));
        let in_cm = |figures: &Figures| {
            let Figures { p50, p99, max, .. } = figures;
            format!("p50 {:.1}, p99 {:.1}, max {:.1} cm", p50 * 1e2, p99 * 1e2, max * 1e2)
        };
        row(
            "others were shown off",
            format!("{}; over a border {}", in_cm(&ghosts.error_m), in_cm(&ghosts.error_over_border_m)),
        );
        let ticks = &self.ticks;
        row("ticks", format!("{} run, {} skipped, {} overran", ticks.run, ticks.skipped, ticks.overrun));
        let verdict = if self.good { "GOOD: every invariant held".to_owned() } else { self.in_short() };
        format!("{table}\n{verdict}")
    }

    fn in_short(&self) -> String {
        let mut text = "NOT GOOD:".to_owned();
        for problem in &self.problems {
            text += &format!("\n  - {problem}");
        }
        text
    }
}

fn empty() -> Histogram<u64> {
    match Histogram::new(3) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("the digits are a constant: {error}"),
    }
}

fn in_words(figures: &Figures, unit: &str) -> String {
    let Figures { p50, p99, p999, max, .. } = figures;
    format!("p50 {p50:.1}, p99 {p99:.1}, p99.9 {p999:.1}, max {max:.1} {unit}")
}

#[allow(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

#[allow(clippy::cast_precision_loss, reason = "a share for people")]
fn missed_ticks(histogram: &Histogram<u64>) -> MissedTicks {
    let count = histogram.len();
    let zero_share = if count == 0 { 1.0 } else { histogram.count_at(0) as f64 / count as f64 };
    MissedTicks { count, zero_share, max: histogram.max() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_handoffs_without_a_missed_tick() {
        let mut histogram = Histogram::new(3).unwrap();
        assert_eq!(missed_ticks(&histogram).zero_share, 1.0);
        for missed in [0, 0, 0, 2] {
            histogram.record(missed).unwrap();
        }
        let missed = missed_ticks(&histogram);
        assert_eq!((missed.count, missed.zero_share, missed.max), (4, 0.75, 2));
    }
}
