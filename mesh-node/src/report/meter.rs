//! Where the two threads count: one meter each, so that neither waits for the other.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use selvedge_protocol::action::{Failure, Outcome};
use selvedge_protocol::handoff::Path;
use selvedge_protocol::node::{GhostTraffic, NodeEvent};
use selvedge_protocol::wire::RefuseReason;

use super::histogram::{empty, record as count};
use super::names::refusal;
use super::{HistogramText, NodeCounters, NodeHistograms, NodeReport};
use crate::clock::whole_micros;

/// What the game's thread counts.
#[derive(Clone, Debug)]
pub(crate) struct GameMeter {
    ticks_run: u64,
    ticks_skipped: u64,
    ticks_overrun: u64,
    captures_failed: u64,
    report_overflows: u64,
    events_reached: u64,
    world_callbacks_us: Histogram<u64>,
    tick_us: Histogram<u64>,
    tick_late_us: Histogram<u64>,
    checkpoint_us: Histogram<u64>,
}

impl Default for GameMeter {
    fn default() -> Self {
        Self {
            ticks_run: 0,
            ticks_skipped: 0,
            ticks_overrun: 0,
            captures_failed: 0,
            report_overflows: 0,
            events_reached: 0,
            world_callbacks_us: empty(),
            tick_us: empty(),
            tick_late_us: empty(),
            checkpoint_us: empty(),
        }
    }
}

/// One tick, as it is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TickMeasured {
    pub(crate) skipped: u64,
    pub(crate) late: Duration,
    pub(crate) step: Duration,
    pub(crate) overrun: bool,
    /// How long the capture of a checkpoint took, if there was one.
    pub(crate) checkpoint: Option<Duration>,
    pub(crate) captures_failed: u64,
    pub(crate) report_overflows: u64,
    /// Entities that events reached.
    pub(crate) events_reached: u64,
}

impl GameMeter {
    pub(crate) fn record_tick(&mut self, tick: TickMeasured, callbacks_us: impl Iterator<Item = u64>) {
        self.ticks_run += 1;
        self.ticks_skipped += tick.skipped;
        self.ticks_overrun += u64::from(tick.overrun);
        self.captures_failed += tick.captures_failed;
        self.report_overflows += tick.report_overflows;
        self.events_reached += tick.events_reached;
        record(&mut self.tick_late_us, tick.late);
        record(&mut self.tick_us, tick.step);
        if let Some(took) = tick.checkpoint {
            record(&mut self.checkpoint_us, took);
        }
        callbacks_us.for_each(|us| count(&mut self.world_callbacks_us, us));
    }

    #[cfg(test)]
    pub(crate) const fn ticks_run(&mut self, ticks: u64) {
        self.ticks_run += ticks;
    }
}

/// What the network thread counts.
#[derive(Clone, Debug)]
pub(crate) struct MeshMeter {
    handoffs_out_warm: u64,
    handoffs_out_cold: u64,
    handoffs_out_players: u64,
    handoffs_in: u64,
    handoffs_in_players: u64,
    handoffs_aborted: BTreeMap<&'static str, u64>,
    prepares_refused: BTreeMap<&'static str, u64>,
    clients_attached: u64,
    tokens_refused: u64,
    clients_misbehaved: u64,
    peers_misbehaved: u64,
    registrations_refused: u64,
    fenced: u64,
    recovered: u64,
    sends_dropped: u64,
    client_sends_dropped: u64,
    checkpoints: u64,
    checkpoints_lost: u64,
    checkpoint_entities: u64,
    checkpoint_bytes: u64,
    standby_full: u64,
    ghosts_to_nodes: GhostTraffic,
    ghosts_to_players: GhostTraffic,
    actions_done: u64,
    actions_refused: u64,
    actions_timed_out: u64,
    actions_failed: u64,
    actions_durable_done: u64,
    events_caused: u64,
    cutover_us: Histogram<u64>,
    cutover_players_us: Histogram<u64>,
    cutover_cold_us: Histogram<u64>,
    prepare_us: Histogram<u64>,
    answer_us: Histogram<u64>,
    answer_cold_us: Histogram<u64>,
    ready_us: Histogram<u64>,
    ready_cold_us: Histogram<u64>,
    precopy_us: Histogram<u64>,
    missed_ticks: Histogram<u64>,
    missed_ticks_players: Histogram<u64>,
    handoff_total_us: Histogram<u64>,
    attach_us: Histogram<u64>,
    checkpoint_safe_us: Histogram<u64>,
    checkpoint_age_us: Histogram<u64>,
    ghost_staleness_ticks: Histogram<u64>,
}

impl Default for MeshMeter {
    fn default() -> Self {
        Self {
            handoffs_out_warm: 0,
            handoffs_out_cold: 0,
            handoffs_out_players: 0,
            handoffs_in: 0,
            handoffs_in_players: 0,
            handoffs_aborted: BTreeMap::new(),
            prepares_refused: BTreeMap::new(),
            clients_attached: 0,
            tokens_refused: 0,
            clients_misbehaved: 0,
            peers_misbehaved: 0,
            registrations_refused: 0,
            fenced: 0,
            recovered: 0,
            sends_dropped: 0,
            client_sends_dropped: 0,
            checkpoints: 0,
            checkpoints_lost: 0,
            checkpoint_entities: 0,
            checkpoint_bytes: 0,
            standby_full: 0,
            ghosts_to_nodes: GhostTraffic::default(),
            ghosts_to_players: GhostTraffic::default(),
            actions_done: 0,
            actions_refused: 0,
            actions_timed_out: 0,
            actions_failed: 0,
            actions_durable_done: 0,
            events_caused: 0,
            cutover_us: empty(),
            cutover_players_us: empty(),
            cutover_cold_us: empty(),
            prepare_us: empty(),
            answer_us: empty(),
            answer_cold_us: empty(),
            ready_us: empty(),
            ready_cold_us: empty(),
            precopy_us: empty(),
            missed_ticks: empty(),
            missed_ticks_players: empty(),
            handoff_total_us: empty(),
            attach_us: empty(),
            checkpoint_safe_us: empty(),
            checkpoint_age_us: empty(),
            ghost_staleness_ticks: empty(),
        }
    }
}

impl MeshMeter {
    pub(crate) const fn peer_misbehaved(&mut self) {
        self.peers_misbehaved += 1;
    }

    pub(crate) const fn client_misbehaved(&mut self) {
        self.clients_misbehaved += 1;
    }

    pub(crate) const fn send_dropped(&mut self) {
        self.sends_dropped += 1;
    }

    pub(crate) const fn client_send_dropped(&mut self) {
        self.client_sends_dropped += 1;
    }

    /// Counts and measures what the core says has happened.
    pub(crate) fn record(&mut self, event: &NodeEvent) {
        match *event {
            NodeEvent::HandedOver { player, path, cutover, prepare, answer, precopy, .. } => {
                let ready = prepare.saturating_sub(answer);
                match path {
                    Path::Warm => self.handoffs_out_warm += 1,
                    Path::Cold => {
                        self.handoffs_out_cold += 1;
                        record(&mut self.cutover_cold_us, cutover);
                        record(&mut self.answer_cold_us, answer);
                        record(&mut self.ready_cold_us, ready);
                    }
                }
                record(&mut self.cutover_us, cutover);
                record(&mut self.prepare_us, prepare);
                record(&mut self.answer_us, answer);
                record(&mut self.ready_us, ready);
                if let Some(precopy) = precopy {
                    record(&mut self.precopy_us, precopy);
                }
                if player {
                    self.handoffs_out_players += 1;
                    record(&mut self.cutover_players_us, cutover);
                }
            }
            NodeEvent::Aborted { reason, .. } => {
                *self.handoffs_aborted.entry(reason.map_or("silence", refusal)).or_default() += 1;
            }
            NodeEvent::PrepareRefused { reason, .. } => self.count_refusal(reason),
            NodeEvent::TakenOver { player, missed_ticks, .. } => {
                self.handoffs_in += 1;
                count(&mut self.missed_ticks, missed_ticks);
                if player {
                    self.handoffs_in_players += 1;
                    count(&mut self.missed_ticks_players, missed_ticks);
                }
            }
            NodeEvent::Attached { handoff_total, attach, .. } => {
                self.clients_attached += 1;
                record(&mut self.attach_us, attach);
                record(&mut self.handoff_total_us, handoff_total);
            }
            NodeEvent::TokenRefused { .. } => self.tokens_refused += 1,
            NodeEvent::ClientMisbehaved { .. } => self.clients_misbehaved += 1,
            NodeEvent::PeerMisbehaved { .. } => self.peers_misbehaved += 1,
            NodeEvent::RegistrationRefused { .. } => self.registrations_refused += 1,
            NodeEvent::Fenced { .. } => self.fenced += 1,
            NodeEvent::Recovered { .. } => self.recovered += 1,
            NodeEvent::Checkpointed { sent, bytes, took, .. } => {
                self.checkpoints += 1;
                self.checkpoint_entities += sent as u64;
                self.checkpoint_bytes += bytes;
                record(&mut self.checkpoint_safe_us, took);
            }
            NodeEvent::CheckpointLost { .. } => self.checkpoints_lost += 1,
            NodeEvent::CheckpointAge { age } => record(&mut self.checkpoint_age_us, age),
            NodeEvent::GhostsShown { ticks } => {
                for (tick, &ghosts) in (0..).zip(&ticks) {
                    // A histogram that resizes itself takes every value.
                    let _ = self.ghost_staleness_ticks.record_n(tick, u64::from(ghosts));
                }
            }
            NodeEvent::GhostsSent { to_nodes, to_players } => {
                for (sum, sent) in
                    [(&mut self.ghosts_to_nodes, to_nodes), (&mut self.ghosts_to_players, to_players)]
                {
                    sum.samples += sent.samples;
                    sum.bytes += sent.bytes;
                }
            }
            NodeEvent::ActionSettled { durable, ref outcome } => self.count_action(durable, outcome),
            NodeEvent::EventCaused => self.events_caused += 1,
            NodeEvent::StandbyFull { .. } => self.standby_full += 1,
        }
    }

    const fn count_action(&mut self, durable: bool, outcome: &Outcome) {
        match outcome {
            Outcome::Done(_) => {
                self.actions_done += 1;
                self.actions_durable_done += durable as u64;
            }
            Outcome::Refused(_) => self.actions_refused += 1,
            Outcome::Failed(Failure::TimedOut) => self.actions_timed_out += 1,
            Outcome::Failed(Failure::TooManyHops | Failure::NoSuchEntity) => self.actions_failed += 1,
        }
    }

    fn count_refusal(&mut self, reason: RefuseReason) {
        *self.prepares_refused.entry(refusal(reason)).or_default() += 1;
    }
}

/// Puts the two meters together. Costs the encoding of every histogram: once a second is fine, once a tick is not.
pub(crate) fn report(uptime_s: f64, game: &GameMeter, mesh: &MeshMeter) -> NodeReport {
    let text = HistogramText::encode;
    let named = |reasons: &BTreeMap<&'static str, u64>| {
        reasons.iter().map(|(&reason, &count)| (reason.to_owned(), count)).collect()
    };
    NodeReport {
        uptime_s,
        counters: NodeCounters {
            handoffs_out_warm: mesh.handoffs_out_warm,
            handoffs_out_cold: mesh.handoffs_out_cold,
            handoffs_out_players: mesh.handoffs_out_players,
            handoffs_in: mesh.handoffs_in,
            handoffs_in_players: mesh.handoffs_in_players,
            handoffs_aborted: named(&mesh.handoffs_aborted),
            prepares_refused: named(&mesh.prepares_refused),
            clients_attached: mesh.clients_attached,
            tokens_refused: mesh.tokens_refused,
            clients_misbehaved: mesh.clients_misbehaved,
            peers_misbehaved: mesh.peers_misbehaved,
            registrations_refused: mesh.registrations_refused,
            fenced: mesh.fenced,
            recovered: mesh.recovered,
            ticks_run: game.ticks_run,
            ticks_skipped: game.ticks_skipped,
            ticks_overrun: game.ticks_overrun,
            captures_failed: game.captures_failed,
            report_overflows: game.report_overflows,
            sends_dropped: mesh.sends_dropped,
            client_sends_dropped: mesh.client_sends_dropped,
            checkpoints: mesh.checkpoints,
            checkpoints_lost: mesh.checkpoints_lost,
            checkpoint_entities: mesh.checkpoint_entities,
            checkpoint_bytes: mesh.checkpoint_bytes,
            standby_full: mesh.standby_full,
            ghost_samples_to_nodes: mesh.ghosts_to_nodes.samples,
            ghost_bytes_to_nodes: mesh.ghosts_to_nodes.bytes,
            ghost_samples_to_players: mesh.ghosts_to_players.samples,
            ghost_bytes_to_players: mesh.ghosts_to_players.bytes,
            actions_done: mesh.actions_done,
            actions_refused: mesh.actions_refused,
            actions_timed_out: mesh.actions_timed_out,
            actions_failed: mesh.actions_failed,
            actions_durable_done: mesh.actions_durable_done,
            events_caused: mesh.events_caused,
            events_reached: game.events_reached,
        },
        histograms: NodeHistograms {
            cutover_us: text(&mesh.cutover_us),
            cutover_players_us: text(&mesh.cutover_players_us),
            cutover_cold_us: text(&mesh.cutover_cold_us),
            prepare_us: text(&mesh.prepare_us),
            answer_us: text(&mesh.answer_us),
            answer_cold_us: text(&mesh.answer_cold_us),
            ready_us: text(&mesh.ready_us),
            ready_cold_us: text(&mesh.ready_cold_us),
            precopy_us: text(&mesh.precopy_us),
            missed_ticks: text(&mesh.missed_ticks),
            missed_ticks_players: text(&mesh.missed_ticks_players),
            handoff_total_us: text(&mesh.handoff_total_us),
            attach_us: text(&mesh.attach_us),
            world_callbacks_us: text(&game.world_callbacks_us),
            tick_us: text(&game.tick_us),
            tick_late_us: text(&game.tick_late_us),
            checkpoint_us: text(&game.checkpoint_us),
            checkpoint_safe_us: text(&mesh.checkpoint_safe_us),
            checkpoint_age_us: text(&mesh.checkpoint_age_us),
            ghost_staleness_ticks: text(&mesh.ghost_staleness_ticks),
        },
    }
}

fn record(histogram: &mut Histogram<u64>, duration: Duration) {
    count(histogram, whole_micros(duration));
}
