//! The report of a run: its JSON shape, the verdict, and the table for people.

use std::collections::BTreeMap;
use std::thread::available_parallelism;
use std::time::Duration;

use hdrhistogram::Histogram;
use selvedge_bench::local::LocalArgs;
use selvedge_bench::{BotsReport, Figures, Judgement, figures, milliseconds};
use selvedge_node::NodeReport;
use selvedge_protocol::coordinator::{CoordinatorStatus, NodeStatus};
use serde::Serialize;

use super::args::UpArgs;

/// How far off, at p99, a player may be shown to one within 30 m who plays on another node, in metres.
const OVER_BORDER_M_MAX: f64 = 0.15;
/// Of fewer looks over a border a p99 is one look's.
const LOOKS_MIN: u64 = 1_000;
/// In smaller cells, in metres, the margin is less than the 30 m within which players look at each other: who is handed over
/// near a corner, out of what a third node is shown, goes on there as foreseen for half a second.
const JUDGED_CELL_EDGE_M: f64 = 90.0;
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
    pub(super) version: &'static str,
    pub(super) machine: Machine,
    pub(super) config: Config,
    pub(super) duration_s: f64,
    pub(super) interrupted: bool,
    /// Whether every invariant held and every process lived.
    pub(super) good: bool,
    /// What is wrong, for a person.
    pub(super) problems: Vec<String>,
    pub(super) handoffs: Handoffs,
    pub(super) handoffs_per_s: f64,
    pub(super) players: Players,
    pub(super) npcs: Npcs,
    pub(super) inputs: Inputs,
    pub(super) authority_violations: u64,
    pub(super) authority_violations_by: ViolationsBy,
    pub(super) missed_ticks: MissedTicks,
    pub(super) cutover_us: Figures,
    pub(super) client_gap_ms: Figures,
    pub(super) handoff_total_ms: Figures,
    pub(super) prepare_ms: Figures,
    pub(super) switches: Switches,
    pub(super) clients: Clients,
    pub(super) ghosts: Ghosts,
    pub(super) actions: Actions,
    pub(super) events: Events,
    pub(super) ticks: Ticks,
    pub(super) tick_us: Figures,
    pub(super) tick_late_us: Figures,
    pub(super) faults: Faults,
    pub(super) nodes: Vec<NodeStatus>,
}

#[derive(Debug, Serialize)]
pub(super) struct Machine {
    pub(super) cores: usize,
    pub(super) os: &'static str,
    pub(super) arch: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Config {
    #[serde(flatten)]
    pub(super) args: UpArgs,
    pub(super) duration_s: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Handoffs {
    /// Of players, counted by the nodes that took them over.
    pub(super) completed: u64,
    /// Preparations and transfers that were refused with a reason, of players and NPCs.
    pub(super) refused: u64,
    /// Transfers that were given up without an answer, of players and NPCs.
    pub(super) failed: u64,
    pub(super) npcs_completed: u64,
    /// Of players and NPCs: with a pre-copy at the target, and without.
    pub(super) warm: u64,
    pub(super) cold: u64,
    /// Refused preparations by reason.
    pub(super) prepares_refused: BTreeMap<String, u64>,
    /// Aborted transfers by reason.
    pub(super) aborted: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Players {
    pub(super) expected: usize,
    pub(super) present: usize,
    pub(super) missing: usize,
    pub(super) logged_out: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Npcs {
    pub(super) expected: u32,
    pub(super) seen: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Inputs {
    pub(super) sent: u64,
    pub(super) applied: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) skipped: u64,
    pub(super) not_taken: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct ViolationsBy {
    pub(super) coordinator: u64,
    pub(super) clients: u64,
    pub(super) census: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct MissedTicks {
    pub(super) count: u64,
    /// The share of the players' handoffs that missed no tick; 1 if there were none.
    pub(super) zero_share: f64,
    pub(super) max: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Switches {
    pub(super) all: u64,
    /// To a connection that stood already.
    pub(super) prepared: u64,
    /// With a tick in between that the client was never shown.
    pub(super) with_unseen_ticks: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Clients {
    pub(super) states: u64,
    pub(super) states_per_second_and_player: f64,
    pub(super) states_reordered: u64,
    pub(super) others_in_sight: f64,
    pub(super) lost_connections: u64,
    pub(super) refused_at_door: u64,
}

/// What players and nodes see of others' entities.
#[derive(Debug, Serialize)]
pub(super) struct Ghosts {
    /// At nodes: how many ticks ago the newest tick was that the owner vouches for.
    pub(super) staleness_ticks: Figures,
    /// At clients: how far from their originals other players were shown, two ticks in the past.
    pub(super) error_m: Figures,
    /// The same, of those within 30 m who stood in another node's cell; its p99 is judged.
    pub(super) error_over_border_m: Figures,
    /// What that p99 may be.
    pub(super) error_over_border_m_max: f64,
    /// Sent to other nodes.
    pub(super) to_nodes: Traffic,
    /// Sent to players.
    pub(super) to_players: Traffic,
}

/// Ghost traffic of all nodes, without what QUIC adds.
#[derive(Debug, Serialize)]
pub(super) struct Traffic {
    pub(super) updates: u64,
    pub(super) updates_per_s: f64,
    pub(super) bytes: u64,
    pub(super) bytes_per_s: f64,
}

/// What entities asked of each other, and what came of it.
#[derive(Debug, Serialize)]
pub(super) struct Actions {
    pub(super) done: u64,
    pub(super) refused: u64,
    pub(super) timed_out: u64,
    /// The receiver was gone, or handed on too fast.
    pub(super) failed: u64,
    /// Of those done, durable ones: an item that changed hands.
    pub(super) trades: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Events {
    pub(super) caused: u64,
    /// Entities that they reached.
    pub(super) reached: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Ticks {
    pub(super) run: u64,
    pub(super) skipped: u64,
    pub(super) overrun: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Faults {
    pub(super) captures_failed: u64,
    pub(super) report_overflows: u64,
    pub(super) sends_dropped: u64,
    pub(super) client_sends_dropped: u64,
    pub(super) tokens_refused: u64,
    pub(super) clients_misbehaved: u64,
    pub(super) peers_misbehaved: u64,
    pub(super) fenced: u64,
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
        let traffic = |updates: u64, bytes: u64| Traffic {
            updates,
            updates_per_s: rate(updates, seconds),
            bytes,
            bytes_per_s: rate(bytes, seconds),
        };
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
                error_over_border_m_max: OVER_BORDER_M_MAX,
                to_nodes: traffic(counted.ghost_samples_to_nodes, counted.ghost_bytes_to_nodes),
                to_players: traffic(counted.ghost_samples_to_players, counted.ghost_bytes_to_players),
            },
            actions: Actions {
                done: counted.actions_done,
                refused: counted.actions_refused,
                timed_out: counted.actions_timed_out,
                failed: counted.actions_failed,
                trades: counted.actions_durable_done,
            },
            events: Events { caused: counted.events_caused, reached: counted.events_reached },
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
        let args = &self.config.args.local;
        broken.extend(shown_wrong(&self.ghosts.error_over_border_m, &self.tick_late_us, args));
        broken
    }
}

/// What is wrong with how others are shown over borders. Nothing is said of few looks, of a world of small cells, nor where ticks began later than the
/// next was due: what is late is shown where it was foreseen, and that tells of the machine.
fn shown_wrong(error_m: &Figures, tick_late_us: &Figures, args: &LocalArgs) -> Option<String> {
    let interval_us = 1e6 / f64::from(args.tick_hz.max(1));
    let judged =
        error_m.count >= LOOKS_MIN && args.cell_edge >= JUDGED_CELL_EDGE_M && tick_late_us.p99 <= interval_us;
    if !judged || error_m.p99 <= OVER_BORDER_M_MAX {
        return None;
    }
    Some(format!(
        "players over a border were shown off by p99 {:.1} cm, more than {:.1} cm, in {} looks",
        error_m.p99 * 1e2,
        OVER_BORDER_M_MAX * 1e2,
        error_m.count
    ))
}

fn empty() -> Histogram<u64> {
    match Histogram::new(3) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("the digits are a constant: {error}"),
    }
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
    fn who_is_shown_in_the_wrong_place_over_a_border_breaks_the_verdict() {
        let of = |count, p99| Figures { count, p99, ..Figures::default() };
        let (on_time, args) = (of(1_000, 2_000.0), LocalArgs::default());
        assert_eq!(shown_wrong(&of(1_000, 0.1), &on_time, &args), None);
        let wrong = shown_wrong(&of(1_000, 0.3), &on_time, &args).unwrap();
        assert!(wrong.contains("p99 30.0 cm, more than 15.0 cm"), "{wrong}");
        assert_eq!(shown_wrong(&of(20, 0.3), &on_time, &args), None, "too few");
        assert_eq!(shown_wrong(&of(1_000, 0.3), &of(1_000, 40_000.0), &args), None, "no machine for 30 Hz");
        let small = LocalArgs { cell_edge: 40.0, ..args };
        assert_eq!(shown_wrong(&of(1_000, 0.3), &on_time, &small), None, "a margin of 13 m");
    }

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
