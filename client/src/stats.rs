//! What one player saw, in numbers.

use hdrhistogram::Histogram;

/// Significant digits of the histogram.
const DIGITS: u8 = 3;

/// What one player saw since they entered; sums up over players with [`add`](Self::add).
#[derive(Debug, Clone)]
pub struct ClientStats {
    /// `client_gap` of every switch, in microseconds: time between the last state from the old node and the first from
    /// the new one, less the tick interval. A switch that no state was seen before isn't in it, nor one while the
    /// player was disconnected on purpose.
    pub client_gap: Histogram<u64>,
    /// Times that another node took over with a measured gap.
    pub switches: u64,
    /// Of these, over a connection that had been prepared.
    pub prepared_switches: u64,
    /// Inputs taken from the player and numbered.
    pub inputs_sent: u64,
    /// Of these, acknowledged as applied by a node.
    pub inputs_acknowledged: u64,
    /// Inputs refused because too many were unacknowledged, or the player was not in the world.
    pub refused: u64,
    /// Times that every connection was lost, so that the door was asked; not counting a player's own `disconnect`.
    pub lost: u64,
    /// Times that a connection stood and no state came, so that the door was asked.
    pub silent: u64,
    /// Times that another node restored the player after theirs had died.
    pub recoveries: u64,
    /// Inputs that had been applied, were undone by a recovery, and were sent again.
    pub inputs_replayed: u64,
    /// Inputs that had been applied, were undone by a recovery, and were kept no more: they have no effect.
    pub inputs_lost: u64,
    /// Inputs that were not kept until they were durable, because too many were.
    pub inputs_forgotten: u64,
    /// Times that two nodes claimed one authority: more than 0 breaks invariant A1.
    pub two_authorities: u64,
    /// States received from the newest authority.
    pub states: u64,
    /// States that a newer one replaced before the player's program read them.
    pub states_replaced: u64,
    /// Other events lost because the player's program didn't read them.
    pub events_lost: u64,
    /// Questions at the door that got no answer.
    pub door_failed: u64,
    /// Times that the door said no.
    pub door_refused: u64,
    /// Messages that could not be read, or not be sent.
    pub malformed: u64,
    /// Messages and datagrams that the transport did not take; inputs among them are repeated.
    pub unsent: u64,
}

impl Default for ClientStats {
    fn default() -> Self {
        let client_gap = Histogram::new(DIGITS).expect("0 to 5 digits are possible");
        Self {
            client_gap,
            switches: 0,
            prepared_switches: 0,
            inputs_sent: 0,
            inputs_acknowledged: 0,
            refused: 0,
            lost: 0,
            silent: 0,
            recoveries: 0,
            inputs_replayed: 0,
            inputs_lost: 0,
            inputs_forgotten: 0,
            two_authorities: 0,
            states: 0,
            states_replaced: 0,
            events_lost: 0,
            door_failed: 0,
            door_refused: 0,
            malformed: 0,
            unsent: 0,
        }
    }
}

impl ClientStats {
    /// Adds what another player saw.
    pub fn add(&mut self, other: &Self) {
        // The histograms resize themselves, so that adding can't fail.
        if let Err(error) = self.client_gap.add(&other.client_gap) {
            tracing::error!(%error, "a histogram could not be added");
        }
        for (sum, more) in [
            (&mut self.switches, other.switches),
            (&mut self.prepared_switches, other.prepared_switches),
            (&mut self.inputs_sent, other.inputs_sent),
            (&mut self.inputs_acknowledged, other.inputs_acknowledged),
            (&mut self.refused, other.refused),
            (&mut self.lost, other.lost),
            (&mut self.silent, other.silent),
            (&mut self.recoveries, other.recoveries),
            (&mut self.inputs_replayed, other.inputs_replayed),
            (&mut self.inputs_lost, other.inputs_lost),
            (&mut self.inputs_forgotten, other.inputs_forgotten),
            (&mut self.two_authorities, other.two_authorities),
            (&mut self.states, other.states),
            (&mut self.states_replaced, other.states_replaced),
            (&mut self.events_lost, other.events_lost),
            (&mut self.door_failed, other.door_failed),
            (&mut self.door_refused, other.door_refused),
            (&mut self.malformed, other.malformed),
            (&mut self.unsent, other.unsent),
        ] {
            *sum += more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_keep_every_gap() {
        let mut one = ClientStats { switches: 1, lost: 2, ..ClientStats::default() };
        one.client_gap.record(5).unwrap();
        let mut sum = ClientStats::default();
        sum.client_gap.record(70_000_000).unwrap();
        sum.add(&one);
        sum.add(&one);
        assert_eq!((sum.client_gap.len(), sum.switches, sum.lost), (3, 2, 4));
        assert_eq!(sum.client_gap.min(), 5);
    }
}
