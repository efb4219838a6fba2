//! What becomes of a datagram between two processes: pure, so that it can be checked without sockets.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The state of the network between all processes of the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Weather {
    /// What every datagram takes at least.
    pub(crate) delay: Duration,
    /// What some take longer, at most.
    pub(crate) jitter: Duration,
    /// The share of datagrams that get lost, 0 to 1.
    pub(crate) loss: f64,
}

/// One direction between two processes.
#[derive(Debug)]
pub(crate) struct Wire {
    chance: ChaCha8Rng,
    last_due: Option<Instant>,
}

impl Wire {
    /// The wire number `stream` of `seed`.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        chance.set_stream(stream);
        Self { chance, last_due: None }
    }

    /// When a datagram that was sent now arrives: never before one that was sent earlier. None if it gets lost.
    pub(crate) fn admit(&mut self, weather: &Weather, now: Instant) -> Option<Instant> {
        if weather.loss > 0.0 && self.chance.random_bool(weather.loss.min(1.0)) {
            return None;
        }
        let jitter = if weather.jitter.is_zero() {
            Duration::ZERO
        } else {
            weather.jitter.mul_f64(self.chance.random_range(0.0..1.0))
        };
        let due = (now + weather.delay + jitter).max(self.last_due.unwrap_or(now));
        self.last_due = Some(due);
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_micros(300);

    fn sent(weather: &Weather, seed: u64) -> Vec<(Instant, Option<Instant>)> {
        let begin = Instant::now();
        let mut wire = Wire::new(seed, 3);
        (0..20_000).map(|n| begin + STEP * n).map(|now| (now, wire.admit(weather, now))).collect()
    }

    #[test]
    fn the_share_that_was_asked_for_gets_lost() {
        let weather = Weather { loss: 0.03, ..Weather::default() };
        let lost = sent(&weather, 1).iter().filter(|(_, due)| due.is_none()).count();
        assert!((450..750).contains(&lost), "{lost} of 20000 at 3 %");
        assert!(sent(&Weather::default(), 1).iter().all(|(now, due)| *due == Some(*now)));
    }

    #[test]
    fn jitter_delays_by_no_more_than_it_may_and_keeps_the_order() {
        let (delay, jitter) = (Duration::from_millis(5), Duration::from_millis(4));
        let all = sent(&Weather { delay, jitter, loss: 0.0 }, 2);
        let took: Vec<Duration> = all.iter().map(|(now, due)| due.unwrap() - *now).collect();
        assert!(took.iter().all(|took| (delay..=delay + jitter).contains(took)));
        assert!(took.iter().max().unwrap().saturating_sub(*took.iter().min().unwrap()) > jitter / 2);
        assert!(all.is_sorted_by_key(|(_, due)| *due));
    }

    #[test]
    fn a_seed_gives_the_same_weather_again() {
        let weather = Weather { delay: STEP, jitter: STEP, loss: 0.5 };
        let lost = |seed| sent(&weather, seed).iter().map(|(_, due)| due.is_none()).collect::<Vec<_>>();
        assert_eq!(lost(7), lost(7));
        assert_ne!(lost(7), lost(8));
    }
}
