//! What can be set on a link's replication: how exact, how often, how much.

use core::time::Duration;

use super::wire::{HEAD_BYTES_MAX, SECTION_BYTES_MAX};

/// The least that a datagram must hold: a head, a section, and the longest sample.
pub const DATAGRAM_BYTES_MIN: usize = HEAD_BYTES_MAX + SECTION_BYTES_MAX + 640;
/// What a datagram costs beside its payload on its way through QUIC and its encryption: counted against the budget.
pub const DATAGRAM_OVERHEAD_BYTES: usize = 32;
/// What a datagram takes beside its samples and its other sections, at most.
pub(super) const DATAGRAM_LAYOUT_BYTES: usize = HEAD_BYTES_MAX + SECTION_BYTES_MAX + DATAGRAM_OVERHEAD_BYTES;
/// The least budget that a node may be set to: below it a link's ghosts get one sample a tick, and lag by as many ticks as
/// they are.
pub const BUDGET_BYTES_MIN: usize = 256;

// At least half of it is for samples and for what vouches.
const _: () = assert!(BUDGET_BYTES_MIN >= 2 * DATAGRAM_LAYOUT_BYTES);

/// A bound that grows with distance: constant within a reach, then linear, up to a maximum.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bound {
    /// Within `near_reach_m`.
    pub near: f64,
    /// Metres up to which it stays `near`.
    pub near_reach_m: f64,
    /// How much it grows with each metre beyond.
    pub per_m: f64,
    /// Not more than this.
    pub max: f64,
}

impl Bound {
    /// The bound at a distance.
    #[must_use]
    pub fn at(&self, distance_m: f64) -> f64 {
        (self.near + (distance_m - self.near_reach_m).max(0.0) * self.per_m).min(self.max)
    }
}

/// How what is near comes before what is far, and how seldom the far may come.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rates {
    /// Up to this distance everything may be sent in every tick. Default: 100 m.
    pub full_rate_m: f64,
    /// Beyond it, one more tick between two samples for each so many metres. Default: 50 m.
    pub slower_per_m: f64,
    /// But never more ticks than this. Default: 6.
    pub ticks_max: u64,
    /// At this distance something waits half as impatiently as what is at hand. Default: 15 m.
    pub half_weight_m: f64,
}

impl Rates {
    /// The fewest ticks from one sample to the next at a distance.
    pub(super) fn ticks(&self, distance_m: f64) -> u64 {
        let beyond_m = distance_m - self.full_rate_m;
        if beyond_m <= 0.0 {
            return 1;
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive; huge ones saturate"
        )]
        let slower = (beyond_m / self.slower_per_m.max(1e-3)) as u64;
        (1 + slower).min(self.ticks_max.max(1))
    }

    /// How impatiently something waits at a distance: 1 at hand, less farther away, never 0.
    pub(super) fn weight(&self, distance_m: f64) -> f64 {
        let half_weight_m = self.half_weight_m.max(1e-3);
        (half_weight_m / (half_weight_m + distance_m)).max(1e-3)
    }
}

/// The settings of one link's sender.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SenderSettings {
    /// How far, in metres, a ghost may be from where its original is before a sample is sent. Default: 3 cm up to 10 m,
    /// then 3 mm more for each metre, 40 cm at most. Tighter costs bytes, looser is seen.
    pub position: Bound,
    /// How far, in radians, it may face from where its original does. Default: 0.05 up to 10 m, 0.35 at most.
    pub facing: Bound,
    /// How often, and who first.
    pub rates: Rates,
    /// What may be sent in one tick, in bytes of UDP payload, the stream's share included. Default: 64 KiB. Too small and
    /// ghosts lag behind, the farthest most; but one sample goes in each tick, whatever it takes.
    pub budget_bytes: usize,
    /// What may appear in one tick, in percent of the budget. Default: 50; above 100 the budget is exceeded while much
    /// comes into sight at once, as when a player has changed nodes. Half of the budget is for movement in any case.
    pub appear_percent: usize,
    /// The largest datagram that the path takes, in bytes. Default: 1,200. Below [`DATAGRAM_BYTES_MIN`] that is taken.
    pub datagram_bytes_max: usize,
}

impl Default for SenderSettings {
    fn default() -> Self {
        Self {
            position: Bound { near: 0.03, near_reach_m: 10.0, per_m: 0.003, max: 0.4 },
            facing: Bound { near: 0.05, near_reach_m: 10.0, per_m: 0.003, max: 0.35 },
            rates: Rates { full_rate_m: 100.0, slower_per_m: 50.0, ticks_max: 6, half_weight_m: 15.0 },
            budget_bytes: 64 * 1024,
            appear_percent: 50,
            datagram_bytes_max: 1_200,
        }
    }
}

impl SenderSettings {
    /// Those towards a player: looser beyond 20 m, at full rate up to 30 m, and with at most 1,500 bytes a tick but for what
    /// appears.
    #[must_use]
    pub fn for_client() -> Self {
        Self {
            position: Bound { near: 0.03, near_reach_m: 20.0, per_m: 0.005, max: 0.4 },
            rates: Rates { full_rate_m: 30.0, slower_per_m: 30.0, ticks_max: 6, half_weight_m: 10.0 },
            budget_bytes: 1_500,
            // What a path of QUIC's least size takes, before it is known to take more.
            datagram_bytes_max: 1_100,
            appear_percent: 400,
            ..Self::default()
        }
    }
}

/// The settings of a receiving side's ghosts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TableSettings {
    /// The time between two ticks, the mesh's.
    pub interval: Duration,
    /// How far behind the running tick ghosts are shown, in ticks. Default: 2. Less and what starts or stops is seen to
    /// jump; more and everybody sees the past.
    pub display_lag_ticks: u64,
    /// Nothing is foreseen further than this beyond what its sender vouches for, in ticks. Default: 15.
    pub foresight_ticks: u64,
    /// A ghost that nobody has vouched for so long vanishes, in ticks. Default: 60.
    pub stale_ticks: u64,
    /// What was handed over is shown on for so long, in ticks, until its new authority shows it. Default: 30.
    pub linger_ticks: u64,
}

impl Default for TableSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_micros(33_333),
            display_lag_ticks: 2,
            foresight_ticks: 15,
            stale_ticks: 60,
            linger_ticks: 30,
        }
    }
}

impl TableSettings {
    /// Those of a player's client. Whom another node simulates it is shown over two links, the second a tick behind the first:
    /// it shows everybody a tick later than a node does.
    #[must_use]
    pub fn for_client() -> Self {
        let usual = Self::default();
        Self { display_lag_ticks: usual.display_lag_ticks + 1, ..usual }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_grow_and_rates_fall_with_distance() {
        let settings = SenderSettings::default();
        assert_eq!(settings.position.at(0.0), 0.03);
        assert_eq!(settings.position.at(10.0), 0.03);
        assert!((settings.position.at(110.0) - 0.33).abs() < 1e-9);
        assert_eq!(settings.position.at(1e9), 0.4);
        assert_eq!(settings.rates.ticks(100.0), 1);
        assert_eq!(settings.rates.ticks(210.0), 3);
        assert_eq!(settings.rates.ticks(1e9), 6);
        assert!(settings.rates.weight(0.0) > settings.rates.weight(10.0));
        assert!(settings.rates.weight(1e12) > 0.0);
    }
}
