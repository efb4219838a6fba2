//! Mesh time: one clock for all, estimated from the quickest of a node's recent round trips to the coordinator.

use std::collections::VecDeque;

use core::time::Duration;

use crate::time::Time;

/// Round trips remembered.
const SAMPLES: usize = 16;
/// With fewer it is young: the quickest of so few, taken while everything starts, may still have been a slow one.
const SAMPLES_YOUNG: usize = 8;
/// The most that one sample moves the estimate once it stands: mesh time is slewed, never stepped.
const SLEW_US_MAX: i64 = 500;
/// A large error (the first round trip took seconds) shrinks by this part of it with each sample instead.
const LARGE_ERROR_SHARE: i64 = 8;

#[derive(Clone, Copy, Debug)]
struct Sample {
    round_trip: Duration,
    offset_us: i64,
}

/// Estimates the offset from a node's clock to mesh time.
#[derive(Debug, Default)]
pub struct MeshClock {
    samples: VecDeque<Sample>,
    offset_us: Option<i64>,
}

impl MeshClock {
    /// Makes a clock without an estimate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Microseconds to add to the node's clock; none before the first sample.
    #[must_use]
    pub const fn offset_us(&self) -> Option<i64> {
        self.offset_us
    }

    /// Whether it rests on so few round trips that more should be made soon.
    #[must_use]
    pub fn is_young(&self) -> bool {
        self.samples.len() < SAMPLES_YOUNG
    }

    /// Mesh time at a time of the node's clock; the node's own time before the first sample.
    #[must_use]
    pub fn mesh_time(&self, local: Time) -> Time {
        local.offset_by(self.offset_us.unwrap_or(0))
    }

    /// Takes a round trip: asked at `sent`, answered at `mesh_time` of the coordinator, heard at `received`.
    ///
    /// The answer is taken to be made half-way (Cristian's algorithm); the quickest recent trip bounds the error by
    /// half its length. Returns whether the estimate changed.
    pub fn sample(&mut self, sent: Time, mesh_time: Time, received: Time) -> bool {
        if received < sent {
            return false;
        }
        let round_trip = received.since(sent);
        let midpoint = sent + round_trip / 2;
        let offset_us = difference_us(mesh_time, midpoint);
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { round_trip, offset_us });
        let Some(best) = self.samples.iter().min_by_key(|sample| sample.round_trip) else {
            return false;
        };
        let before = self.offset_us;
        let step = before.map_or(best.offset_us, |now| {
            let error = best.offset_us.saturating_sub(now);
            let step_max = SLEW_US_MAX.max(error.saturating_abs() / LARGE_ERROR_SHARE);
            now.saturating_add(error.clamp(-step_max, step_max))
        });
        self.offset_us = Some(step);
        before != self.offset_us
    }
}

fn difference_us(a: Time, b: Time) -> i64 {
    let (a, b) = (a.as_micros(), b.as_micros());
    let size = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a >= b { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_round_trip_decides() {
        let mut clock = MeshClock::new();
        assert!(clock.sample(Time::from_micros(1000), Time::from_micros(51_100), Time::from_micros(1200)));
        assert_eq!(clock.offset_us(), Some(50_000));
        // A slow trip with a skewed midpoint changes nothing.
        assert!(!clock.sample(Time::from_micros(2000), Time::from_micros(61_000), Time::from_micros(12_000)));
        assert_eq!(clock.mesh_time(Time::from_micros(7)), Time::from_micros(50_007));
    }

    #[test]
    fn a_first_sample_that_was_seconds_off_is_made_good_within_a_minute_of_heartbeats() {
        let mut clock = MeshClock::new();
        clock.sample(Time::ZERO, Time::from_micros(100_000_000), Time::from_micros(6_000_000));
        for beat in 0..100_u64 {
            let sent = Time::from_micros(7_000_000 + beat * 250_000);
            clock.sample(sent, sent.offset_by(100_000_050), sent + Duration::from_micros(100));
        }
        assert_eq!(clock.offset_us(), Some(100_000_000));
    }

    #[test]
    fn it_is_young_until_it_rests_on_some_round_trips() {
        let mut clock = MeshClock::new();
        for beat in 0..8_u64 {
            assert!(clock.is_young());
            let sent = Time::from_micros(beat * 1_000);
            clock.sample(sent, sent, sent + Duration::from_micros(100));
        }
        assert!(!clock.is_young());
    }

    #[test]
    fn once_it_stands_the_estimate_is_slewed() {
        let mut clock = MeshClock::new();
        clock.sample(Time::from_micros(0), Time::from_micros(1_000_050), Time::from_micros(100));
        clock.sample(Time::from_micros(1000), Time::from_micros(1_002_005), Time::from_micros(1010));
        assert_eq!(clock.offset_us(), Some(1_000_500));
    }
}
