//! What players saw and nodes measured in a stretch of time: for comparing a quiet one with one without a coordinator.

use std::collections::BTreeMap;
use std::time::Instant;

use hdrhistogram::Histogram;
use selvedge_node::NodeReport;
use selvedge_protocol::id::NodeId;
use serde::Serialize;

use crate::figures::{difference, empty, grown};
use crate::{Bots, BotsSnapshot, Figures, Observer, milliseconds};

/// States that a player is shown while the coordinator is away, as a share of before: less is noticed.
const STATES_SHARE_MIN: f64 = 0.97;
/// The same of handoffs: how many there are depends on where everybody walks.
const HANDOFFS_SHARE_MIN: f64 = 0.5;
/// Fewer handoffs than this say nothing about a rate.
const HANDOFFS_MIN: u64 = 20;

/// A moment as the bots see it.
#[derive(Debug)]
pub(crate) struct Seen {
    at: Instant,
    bots: BotsSnapshot,
}

impl Seen {
    pub(crate) fn now(bots: &Bots) -> Self {
        Self { at: Instant::now(), bots: bots.snapshot() }
    }
}

/// What each node has measured so far.
pub(crate) type Reports = BTreeMap<NodeId, NodeReport>;

/// What players saw and nodes measured in a stretch of time.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Phase {
    /// By the bots' account.
    pub(crate) seconds: f64,
    pub(crate) switches: u64,
    pub(crate) switches_per_s: f64,
    pub(crate) prepared_share: f64,
    /// Switches with a tick that was never shown, as a share.
    pub(crate) unseen_share: f64,
    pub(crate) client_gap_ms: Figures,
    pub(crate) states_per_player_s: f64,
    pub(crate) lost_connections: u64,
    pub(crate) silent: u64,
    pub(crate) inputs_not_taken: u64,
    /// By the nodes' account.
    pub(crate) nodes: NodesPhase,
}

/// What all nodes measured between two of their reports.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct NodesPhase {
    /// By the nodes' own uptime.
    pub(crate) seconds: f64,
    pub(crate) handoffs: u64,
    pub(crate) handoffs_per_s: f64,
    /// Of these, with ticks between the source's last and the target's first, as a share.
    pub(crate) missed_share: f64,
    pub(crate) missed_max: u64,
    pub(crate) ticks_run: u64,
    pub(crate) ticks_skipped: u64,
}

impl Phase {
    /// # Errors
    /// If a node was started anew meanwhile, or a histogram can't be read.
    pub(crate) fn between(from: &Seen, to: &Seen, before: &Reports, after: &Reports) -> anyhow::Result<Self> {
        let (old, new) = (&from.bots, &to.bots);
        let seconds = (to.at - from.at).as_secs_f64();
        let switches = grown(old.switches, new.switches)?;
        let mut gaps = new.client_gap_us.clone();
        gaps.subtract(&old.client_gap_us)?;
        Ok(Self {
            seconds,
            switches,
            switches_per_s: per(switches, seconds),
            prepared_share: per(grown(old.prepared_switches, new.prepared_switches)?, as_f64(switches)),
            unseen_share: per(grown(old.switches_unseen, new.switches_unseen)?, as_f64(switches)),
            client_gap_ms: milliseconds(&gaps),
            states_per_player_s: per(grown(old.states, new.states)?, seconds * as_f64(new.entered as u64)),
            lost_connections: grown(old.lost_connections, new.lost_connections)?,
            silent: grown(old.silent, new.silent)?,
            inputs_not_taken: grown(old.not_taken, new.not_taken)?,
            nodes: NodesPhase::between(before, after)?,
        })
    }
}

impl NodesPhase {
    fn between(before: &Reports, after: &Reports) -> anyhow::Result<Self> {
        let mut phase = Self::default();
        let mut missed: Histogram<u64> = empty();
        for (node, report) in after {
            let none = NodeReport::default();
            let old = before.get(node).unwrap_or(&none);
            let counted = (&old.histograms.missed_ticks_players, &report.histograms.missed_ticks_players);
            missed.add(difference(counted.0, counted.1)?)?;
            let (old_counters, counters) = (&old.counters, &report.counters);
            phase.handoffs += grown(old_counters.handoffs_in_players, counters.handoffs_in_players)?;
            phase.ticks_run += grown(old_counters.ticks_run, counters.ticks_run)?;
            phase.ticks_skipped += grown(old_counters.ticks_skipped, counters.ticks_skipped)?;
            phase.seconds = phase.seconds.max(report.uptime_s - old.uptime_s);
        }
        phase.handoffs_per_s = per(phase.handoffs, phase.seconds);
        phase.missed_share = per(missed.len() - missed.count_at(0), as_f64(missed.len()));
        phase.missed_max = missed.max();
        Ok(phase)
    }
}

/// The time before a fault, and while it lasted.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Phases {
    pub(crate) quiet: Phase,
    pub(crate) down: Phase,
}

impl Phases {
    /// What a player noticed of it. Ticks that were missed and gaps are told, and not judged: how many of them there are
    /// depends on what else the machine does.
    pub(crate) fn noticed(&self) -> Vec<String> {
        let Self { quiet, down } = self;
        let mut noticed = Vec::new();
        if down.lost_connections + down.silent > 0 {
            let Phase { lost_connections, silent, .. } = down;
            noticed.push(format!(
                "{lost_connections} players lost their connection, {silent} were shown nothing"
            ));
        }
        if down.states_per_player_s < quiet.states_per_player_s * STATES_SHARE_MIN {
            let (now, before) = (down.states_per_player_s, quiet.states_per_player_s);
            noticed.push(format!("a player was shown {now:.1} states a second, {before:.1} before"));
        }
        let few = down.switches_per_s < quiet.switches_per_s * HANDOFFS_SHARE_MIN;
        if few && quiet.switches >= HANDOFFS_MIN {
            let (now, before) = (down.switches_per_s, quiet.switches_per_s);
            noticed.push(format!("{now:.2} handoffs a second, {before:.2} before"));
        }
        noticed
    }
}

/// Reports of all nodes; none if the coordinator doesn't answer or hasn't heard from all yet.
pub(crate) fn reports(observer: Observer, nodes: usize) -> Option<Reports> {
    observer.reports().ok().filter(|reports| reports.len() >= nodes)
}

#[allow(clippy::cast_precision_loss, reason = "rates and shares for people")]
const fn as_f64(count: u64) -> f64 {
    count as f64
}

fn per(count: u64, of: f64) -> f64 {
    if of > 0.0 { as_f64(count) / of } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use selvedge_node::HistogramText;

    use super::*;

    fn phase(states_per_player_s: f64, switches: u64, silent: u64) -> Phase {
        Phase {
            seconds: 10.0,
            switches,
            switches_per_s: as_f64(switches) / 10.0,
            prepared_share: 1.0,
            unseen_share: 0.0,
            client_gap_ms: milliseconds(&empty()),
            states_per_player_s,
            lost_connections: 0,
            silent,
            inputs_not_taken: 0,
            nodes: NodesPhase::default(),
        }
    }

    #[test]
    fn a_silence_a_slower_picture_and_handoffs_that_stop_are_noticed() {
        let noticed = |down| Phases { quiet: phase(30.0, 100, 0), down }.noticed().len();
        assert_eq!(noticed(phase(29.8, 80, 0)), 0);
        assert_eq!(noticed(phase(30.0, 100, 1)), 1);
        assert_eq!(noticed(phase(20.0, 100, 0)), 1);
        assert_eq!(noticed(phase(30.0, 0, 0)), 1);
        let idle = Phases { quiet: phase(30.0, 4, 0), down: phase(30.0, 0, 0) };
        assert_eq!(idle.noticed(), [""; 0], "four crossings are no rate");
    }

    #[test]
    fn only_what_came_between_two_reports_counts() {
        let node = NodeId::from_u128(1);
        let report = |missed: &[u64], uptime_s| {
            let mut histogram = empty();
            missed.iter().for_each(|&ticks| histogram.record(ticks).unwrap());
            let mut report = NodeReport { uptime_s, ..NodeReport::default() };
            report.histograms.missed_ticks_players = HistogramText::encode(&histogram);
            report.counters.handoffs_in_players = missed.len() as u64;
            Reports::from([(node, report)])
        };
        let phase = NodesPhase::between(&report(&[5], 10.0), &report(&[5, 0, 0, 0, 2], 14.0)).unwrap();
        assert_eq!((phase.handoffs, phase.handoffs_per_s, phase.missed_max), (4, 1.0, 2));
        assert!((phase.missed_share - 0.25).abs() < 1e-9);
        assert!(NodesPhase::between(&report(&[5, 0], 10.0), &report(&[0], 2.0)).is_err(), "started anew");
    }
}
