//! What a node measures, and the form in which it says so.
//!
//! Everything counts from the start of the process and only grows, so that a reader takes differences as it likes.

mod histogram;
mod meter;
mod names;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use histogram::{HistogramError, HistogramText};
pub(crate) use meter::{GameMeter, MeshMeter, TickMeasured, report};

/// All that a node measures. Travels as JSON to the coordinator once a second; fields may be added, none changes its
/// meaning.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeReport {
    /// Seconds since the process started.
    pub uptime_s: f64,
    /// Counted events.
    pub counters: NodeCounters,
    /// Measured times and numbers.
    pub histograms: NodeHistograms,
}

/// Counted events, since the process started.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeCounters {
    /// Handoffs that this node completed as the source, with a pre-copy at the target.
    pub handoffs_out_warm: u64,
    /// Handoffs that this node completed as the source without one: teleports, unforeseen crossings.
    pub handoffs_out_cold: u64,
    /// Of these, players.
    pub handoffs_out_players: u64,
    /// Entities that this node took over.
    pub handoffs_in: u64,
    /// Of these, players.
    pub handoffs_in_players: u64,
    /// Transfers that were aborted, by reason (`silence`: cancelled because the target didn't answer).
    pub handoffs_aborted: BTreeMap<String, u64>,
    /// Preparations that were refused to this node as the source, by reason.
    pub prepares_refused: BTreeMap<String, u64>,
    /// Players' clients that attached after a handoff.
    pub clients_attached: u64,
    /// Clients that showed a token that admits nobody.
    pub tokens_refused: u64,
    /// Clients that sent what they must not; each lost its connection.
    pub clients_misbehaved: u64,
    /// Peers that sent what can't be read or can't be; each occurrence.
    pub peers_misbehaved: u64,
    /// Registrations that the coordinator refused.
    pub registrations_refused: u64,
    /// How often the coordinator declared this node to be of the past.
    pub fenced: u64,
    /// Entities of dead nodes that went on here from a copy.
    pub recovered: u64,
    /// Ticks that ran.
    pub ticks_run: u64,
    /// Ticks that were left out because the game was not back in time.
    pub ticks_skipped: u64,
    /// Ticks whose step took longer than the interval.
    pub ticks_overrun: u64,
    /// Snapshots that the game wrote wrongly; each kept an entity where it was.
    pub captures_failed: u64,
    /// Reports that found the channel to the network thread full. Old frames among them were dropped.
    pub report_overflows: u64,
    /// Mesh messages that weren't sent: no link, or its queue was full. The core repeats those that matter.
    pub sends_dropped: u64,
    /// Messages to clients that weren't sent because their queue was full or the connection gone.
    pub client_sends_dropped: u64,
    /// Checkpoints of this node that its buddy has acknowledged.
    pub checkpoints: u64,
    /// Checkpoints that it did not, or that built on what it no longer had; each was followed by another one.
    pub checkpoints_lost: u64,
    /// Entities that were sent in acknowledged checkpoints; those that hadn't changed aren't.
    pub checkpoint_entities: u64,
    /// Bytes of their snapshots.
    pub checkpoint_bytes: u64,
    /// Parts of other nodes' checkpoints that were not kept because there was no room for them.
    pub standby_full: u64,
    /// Samples of ghosts that were sent to other nodes.
    pub ghost_samples_to_nodes: u64,
    /// Bytes that were sent of ghosts to other nodes, without what QUIC adds.
    pub ghost_bytes_to_nodes: u64,
    /// Samples of ghosts that were sent to players.
    pub ghost_samples_to_players: u64,
    /// Bytes that were sent of ghosts to players, without what QUIC adds.
    pub ghost_bytes_to_players: u64,
    /// Actions of entities held here that were done.
    pub actions_done: u64,
    /// Actions that the receiver's game would not do.
    pub actions_refused: u64,
    /// Actions that came to nothing because no answer came in time.
    pub actions_timed_out: u64,
    /// Actions that came to nothing because the receiver was gone, or handed on too fast.
    pub actions_failed: u64,
    /// Of the actions that were done, durable ones: trades.
    pub actions_durable_done: u64,
    /// Events that the game caused here.
    pub events_caused: u64,
    /// Entities that events reached here, each event and entity.
    pub events_reached: u64,
}

/// Measured times and numbers, since the process started. Microseconds where the name ends in `_us`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeHistograms {
    /// Source: from the freeze to `Accepted`, every entity.
    pub cutover_us: HistogramText,
    /// The same, players alone.
    pub cutover_players_us: HistogramText,
    /// The same, of those without a pre-copy at the target alone.
    pub cutover_cold_us: HistogramText,
    /// Source: from the first request to `Ready`, every entity: the two phases that follow, together.
    pub prepare_us: HistogramText,
    /// Source: from the first request to the coordinator's answer, or to `Ready` where that came first, every entity.
    pub answer_us: HistogramText,
    /// The same, of those without a pre-copy at the target alone.
    pub answer_cold_us: HistogramText,
    /// Source: from the coordinator's answer to `Ready`, 0 where that came first, every entity.
    pub ready_us: HistogramText,
    /// The same, of those without a pre-copy at the target alone.
    pub ready_cold_us: HistogramText,
    /// Source: from the first pre-copy to the target's word that it has one, where there was such a word.
    pub precopy_us: HistogramText,
    /// Target: ticks between the source's last and this node's first simulation of the entity, every entity.
    pub missed_ticks: HistogramText,
    /// The same, players alone.
    pub missed_ticks_players: HistogramText,
    /// Target: from the source's first request to the client's arrival here.
    pub handoff_total_us: HistogramText,
    /// Target: from the takeover to the client's arrival here; 0 where it waited here.
    pub attach_us: HistogramText,
    /// How long each callback into the game took.
    pub world_callbacks_us: HistogramText,
    /// How long the game's own step took, each tick.
    pub tick_us: HistogramText,
    /// How late each tick began, after its start by mesh time.
    pub tick_late_us: HistogramText,
    /// How long the capture of a checkpoint took, of all entities in one tick.
    pub checkpoint_us: HistogramText,
    /// From the order for a checkpoint to the buddy's word that it is safe.
    pub checkpoint_safe_us: HistogramText,
    /// How old the newest safe checkpoint was, at every tick: what a crash would have undone.
    pub checkpoint_age_us: HistogramText,
    /// How many ticks ago the newest tick was that its sender vouches for, for each ghost at every tick.
    pub ghost_staleness_ticks: HistogramText,
}

impl NodeReport {
    /// Adds what another node measured: counters are summed, histograms merged, the uptime is the longer one.
    ///
    /// # Errors
    /// If a histogram can't be read.
    pub fn merge(&mut self, other: &Self) -> Result<(), HistogramError> {
        self.uptime_s = self.uptime_s.max(other.uptime_s);
        self.counters.merge(&other.counters);
        self.histograms.merge(&other.histograms)
    }
}

impl NodeCounters {
    fn merge(&mut self, other: &Self) {
        let Self {
            handoffs_out_warm,
            handoffs_out_cold,
            handoffs_out_players,
            handoffs_in,
            handoffs_in_players,
            handoffs_aborted,
            prepares_refused,
            clients_attached,
            tokens_refused,
            clients_misbehaved,
            peers_misbehaved,
            registrations_refused,
            fenced,
            recovered,
            ticks_run,
            ticks_skipped,
            ticks_overrun,
            captures_failed,
            report_overflows,
            sends_dropped,
            client_sends_dropped,
            checkpoints,
            checkpoints_lost,
            checkpoint_entities,
            checkpoint_bytes,
            standby_full,
            ghost_samples_to_nodes,
            ghost_bytes_to_nodes,
            ghost_samples_to_players,
            ghost_bytes_to_players,
            actions_done,
            actions_refused,
            actions_timed_out,
            actions_failed,
            actions_durable_done,
            events_caused,
            events_reached,
        } = other;
        self.handoffs_out_warm += handoffs_out_warm;
        self.handoffs_out_cold += handoffs_out_cold;
        self.handoffs_out_players += handoffs_out_players;
        self.handoffs_in += handoffs_in;
        self.handoffs_in_players += handoffs_in_players;
        merge_reasons(&mut self.handoffs_aborted, handoffs_aborted);
        merge_reasons(&mut self.prepares_refused, prepares_refused);
        self.clients_attached += clients_attached;
        self.tokens_refused += tokens_refused;
        self.clients_misbehaved += clients_misbehaved;
        self.peers_misbehaved += peers_misbehaved;
        self.registrations_refused += registrations_refused;
        self.fenced += fenced;
        self.recovered += recovered;
        self.ticks_run += ticks_run;
        self.ticks_skipped += ticks_skipped;
        self.ticks_overrun += ticks_overrun;
        self.captures_failed += captures_failed;
        self.report_overflows += report_overflows;
        self.sends_dropped += sends_dropped;
        self.client_sends_dropped += client_sends_dropped;
        self.checkpoints += checkpoints;
        self.checkpoints_lost += checkpoints_lost;
        self.checkpoint_entities += checkpoint_entities;
        self.checkpoint_bytes += checkpoint_bytes;
        self.standby_full += standby_full;
        self.ghost_samples_to_nodes += ghost_samples_to_nodes;
        self.ghost_bytes_to_nodes += ghost_bytes_to_nodes;
        self.ghost_samples_to_players += ghost_samples_to_players;
        self.ghost_bytes_to_players += ghost_bytes_to_players;
        self.actions_done += actions_done;
        self.actions_refused += actions_refused;
        self.actions_timed_out += actions_timed_out;
        self.actions_failed += actions_failed;
        self.actions_durable_done += actions_durable_done;
        self.events_caused += events_caused;
        self.events_reached += events_reached;
    }
}

fn merge_reasons(into: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>) {
    for (reason, count) in from {
        *into.entry(reason.clone()).or_default() += count;
    }
}

impl NodeHistograms {
    fn merge(&mut self, other: &Self) -> Result<(), HistogramError> {
        let Self {
            cutover_us,
            cutover_players_us,
            cutover_cold_us,
            prepare_us,
            answer_us,
            answer_cold_us,
            ready_us,
            ready_cold_us,
            precopy_us,
            missed_ticks,
            missed_ticks_players,
            handoff_total_us,
            attach_us,
            world_callbacks_us,
            tick_us,
            tick_late_us,
            checkpoint_us,
            checkpoint_safe_us,
            checkpoint_age_us,
            ghost_staleness_ticks,
        } = other;
        self.cutover_us.merge(cutover_us)?;
        self.cutover_players_us.merge(cutover_players_us)?;
        self.cutover_cold_us.merge(cutover_cold_us)?;
        self.prepare_us.merge(prepare_us)?;
        self.answer_us.merge(answer_us)?;
        self.answer_cold_us.merge(answer_cold_us)?;
        self.ready_us.merge(ready_us)?;
        self.ready_cold_us.merge(ready_cold_us)?;
        self.precopy_us.merge(precopy_us)?;
        self.missed_ticks.merge(missed_ticks)?;
        self.missed_ticks_players.merge(missed_ticks_players)?;
        self.handoff_total_us.merge(handoff_total_us)?;
        self.attach_us.merge(attach_us)?;
        self.world_callbacks_us.merge(world_callbacks_us)?;
        self.tick_us.merge(tick_us)?;
        self.tick_late_us.merge(tick_late_us)?;
        self.checkpoint_us.merge(checkpoint_us)?;
        self.checkpoint_safe_us.merge(checkpoint_safe_us)?;
        self.checkpoint_age_us.merge(checkpoint_age_us)?;
        self.ghost_staleness_ticks.merge(ghost_staleness_ticks)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use selvedge_protocol::handoff::Path;
    use selvedge_protocol::id::{AuthorityEpoch, EntityId, HandoffId, Incarnation, NodeId, Peer};
    use selvedge_protocol::node::NodeEvent;

    use super::*;

    #[test]
    fn reports_of_two_nodes_add_up() {
        let mut game = GameMeter::default();
        game.ticks_run(3);
        let one = report(1.0, &game, &MeshMeter::default());
        let mut both = one.clone();
        both.merge(&one).unwrap();
        assert_eq!(both.counters.ticks_run, 6);
    }

    #[test]
    fn the_phases_of_a_handoff_stand_apart_and_merge_by_name() {
        let handed_over = |path, micros| NodeEvent::HandedOver {
            id: HandoffId { entity: EntityId::from_u128(1), epoch: AuthorityEpoch::FIRST },
            to: Peer { node: NodeId::from_u128(2), incarnation: Incarnation(1) },
            player: false,
            path,
            cutover: Duration::from_micros(micros),
            prepare: Duration::from_micros(30),
            answer: Duration::from_micros(20),
            precopy: (path == Path::Warm).then_some(Duration::from_micros(40)),
        };
        let mut mesh = MeshMeter::default();
        mesh.record(&handed_over(Path::Warm, 100));
        mesh.record(&handed_over(Path::Cold, 200));
        mesh.record(&NodeEvent::Attached {
            entity: EntityId::from_u128(1),
            handoff_total: Duration::from_micros(900),
            attach: Duration::from_micros(50),
        });
        let one = report(1.0, &GameMeter::default(), &mesh);
        let mut both = one.clone();
        both.merge(&one).unwrap();
        let NodeHistograms {
            cutover_us,
            cutover_cold_us,
            prepare_us,
            answer_us,
            answer_cold_us,
            ready_us,
            ready_cold_us,
            precopy_us,
            attach_us,
            handoff_total_us,
            ..
        } = both.histograms;
        let seen = |text: HistogramText| {
            let histogram = text.decode().unwrap();
            (histogram.len(), histogram.min(), histogram.max())
        };
        assert_eq!(seen(cutover_us), (4, 100, 200));
        assert_eq!(seen(cutover_cold_us), (2, 200, 200));
        assert_eq!(seen(prepare_us), (4, 30, 30));
        assert_eq!((seen(answer_us), seen(answer_cold_us)), ((4, 20, 20), (2, 20, 20)));
        assert_eq!((seen(ready_us), seen(ready_cold_us)), ((4, 10, 10), (2, 10, 10)));
        assert_eq!(seen(precopy_us), (2, 40, 40));
        assert_eq!((seen(attach_us), seen(handoff_total_us)), ((2, 50, 50), (2, 900, 900)));
    }

    #[test]
    fn a_report_survives_its_json_and_an_unknown_field() {
        let report = report(2.5, &GameMeter::default(), &MeshMeter::default());
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<NodeReport>(&json).unwrap(), report);
        let newer = json.replacen('{', "{\"from_the_future\":1,", 1);
        assert_eq!(serde_json::from_str::<NodeReport>(&newer).unwrap(), report);
    }
}
