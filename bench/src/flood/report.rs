//! What each attack cost, beside the quiet time, and whether that is within the bounds.

use serde::Serialize;

use super::args::{Attack, FloodArgs};
use super::attacker::Deeds;
use super::measure::Ticks;
use super::witness::Seen;
use crate::{Figures, Table, figures, milliseconds};

/// Of all ticks under an attack, so many may be left out, in hundredths, more than in the quiet time.
const SKIPPED_PERCENT_MAX: f64 = 1.0;
/// So much longer than in the quiet time may be the longest of 99 in 100 gaps between states, and of round trips of inputs,
/// under an attack, in milliseconds: two ticks.
const LATER_MS_MAX: f64 = 67.0;
/// So much longer may 99 of 100 handoffs take from the freeze to the answer, in milliseconds: a tick.
const CUTOVER_LATER_MS_MAX: f64 = 34.0;
/// So much more memory than in the quiet time may a node take, in bytes: what may wait for it (64 MiB of messages, 64 MiB of
/// a connection's window), the copies that it is set to keep (64 MiB), and as much again for what an allocator keeps.
const GROWN_BYTES_MAX: u64 = 256 << 20;

/// What a phase was like.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Phase {
    ticks: u64,
    ticks_skipped: u64,
    skipped_percent: f64,
    tick_late_ms: Figures,
    missed_ticks: Figures,
    cutover_ms: Figures,
    state_gap_ms: Figures,
    round_trip_ms: Figures,
    entry_ms: Figures,
    kept_out: u64,
    connections_lost: u64,
    misbehaved: u64,
    resident_bytes: u64,
    attacker: Deeds,
}

impl Phase {
    #[allow(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    pub(super) fn new(seen: &Seen, ticks: &Ticks, resident_bytes: u64, attacker: Deeds) -> Self {
        let all = ticks.run + ticks.skipped;
        Self {
            ticks: ticks.run,
            ticks_skipped: ticks.skipped,
            skipped_percent: ticks.skipped as f64 * 100.0 / all.max(1) as f64,
            tick_late_ms: milliseconds(&ticks.late_us),
            missed_ticks: figures(&ticks.missed, 1.0),
            cutover_ms: milliseconds(&ticks.cutover_us),
            state_gap_ms: milliseconds(&seen.state_gap_us),
            round_trip_ms: milliseconds(&seen.round_trip_us),
            entry_ms: milliseconds(&seen.entry_us),
            kept_out: seen.kept_out,
            connections_lost: seen.lost,
            misbehaved: ticks.misbehaved,
            resident_bytes,
            attacker,
        }
    }
}

/// The whole run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: &'static str,
    config: FloodArgs,
    duration_s: f64,
    quiet: Phase,
    attacks: Vec<(Attack, Phase)>,
    broken: Vec<String>,
}

impl Report {
    pub(super) fn new(args: &FloodArgs, quiet: Phase, attacks: Vec<(Attack, Phase)>) -> Self {
        let broken = attacks.iter().flat_map(|(attack, phase)| broken(*attack, phase, &quiet)).collect();
        let (version, duration_s) = (env!("CARGO_PKG_VERSION"), args.duration.as_secs_f64());
        Self { version, config: args.clone(), duration_s, quiet, attacks, broken }
    }

    /// The bounds that were passed, one sentence each.
    pub(super) fn broken(&self) -> &[String] {
        &self.broken
    }

    pub(super) fn table(&self) -> String {
        let mut table = Table::new([
            "",
            "ticks (skipped)",
            "late p99",
            "states p99/max",
            "inputs p99/max",
            "cutover p99/max",
            "newcomers p50/max (out)",
            "lost",
            "RSS",
            "attempts/in/closed",
            "sent",
        ]);
        table.row(row("quiet", &self.quiet));
        for (attack, phase) in &self.attacks {
            table.row(row(&format!("{attack:?}").to_lowercase(), phase));
        }
        table.to_string()
    }
}

fn row(name: &str, phase: &Phase) -> [String; 11] {
    let ends = |figures: &Figures| format!("{:.1}/{:.1} ms", figures.p99, figures.max);
    let Deeds { attempts, let_in, sent, bytes, closed } = phase.attacker;
    [
        name.to_owned(),
        format!("{} ({})", phase.ticks, phase.ticks_skipped),
        format!("{:.2} ms", phase.tick_late_ms.p99),
        ends(&phase.state_gap_ms),
        ends(&phase.round_trip_ms),
        ends(&phase.cutover_ms),
        format!("{:.0}/{:.0} ms ({})", phase.entry_ms.p50, phase.entry_ms.max, phase.kept_out),
        phase.connections_lost.to_string(),
        format!("{} MiB", phase.resident_bytes >> 20),
        format!("{attempts}/{let_in}/{closed}"),
        format!("{sent} ({} MiB)", bytes >> 20),
    ]
}

fn broken(attack: Attack, phase: &Phase, quiet: &Phase) -> Vec<String> {
    let name = format!("{attack:?}").to_lowercase();
    let mut broken = Vec::new();
    let mut require = |good: bool, what: String| {
        if !good {
            broken.push(format!("{name}: {what}"));
        }
    };
    let more = phase.skipped_percent - quiet.skipped_percent;
    require(
        more <= SKIPPED_PERCENT_MAX,
        format!("{more:.1} % more ticks were left out than in the quiet time"),
    );
    for (what, under, in_quiet, most) in [
        ("states came", &phase.state_gap_ms, &quiet.state_gap_ms, LATER_MS_MAX),
        ("inputs were applied", &phase.round_trip_ms, &quiet.round_trip_ms, LATER_MS_MAX),
        ("cutovers were answered", &phase.cutover_ms, &quiet.cutover_ms, CUTOVER_LATER_MS_MAX),
    ] {
        let later = under.p99 - in_quiet.p99;
        require(later <= most, format!("{what} {later:.1} ms later at p99 than in the quiet time"));
    }
    require(phase.connections_lost == 0, format!("{} players lost their node", phase.connections_lost));
    let grown = phase.resident_bytes.saturating_sub(quiet.resident_bytes);
    require(grown <= GROWN_BYTES_MAX, format!("the node grew by {} MiB", grown >> 20));
    broken
}
