//! The pace of a link's bulk.
//!
//! Priority orders only what QUIC hasn't sent. What it has sent stands in socket buffers, and is decrypted and put
//! together, in the order of sending; so a cutover waits for all the bulk in front of it. Bulk that trickles leaves
//! nothing to wait for: it goes in small pieces, at a rate that leaves both ends most of their time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

#[cfg(target_os = "linux")]
use crate::mesh::alarm::Alarm;

/// Bytes that go at once.
pub(crate) const PIECE_BYTES: usize = 32 * 1024;
/// What late wake-ups may catch up on: the runtime's timers, where there are no better ones, overshoot by more than a
/// millisecond.
const CATCH_UP: Duration =
    if cfg!(target_os = "linux") { Duration::from_micros(500) } else { Duration::from_millis(2) };

/// Gives out turns to send bulk, so that it never exceeds its rate by more than [`CATCH_UP`] is worth.
#[derive(Debug)]
pub(crate) struct BulkPace {
    /// None: as fast as it goes.
    bytes_per_s: Option<u64>,
    /// When the next piece may go.
    free_at: Mutex<Instant>,
    bell: Bell,
}

impl BulkPace {
    /// A rate of 0 is none.
    pub(crate) fn new(bytes_per_s: u64) -> Self {
        let bytes_per_s = Some(bytes_per_s).filter(|&rate| rate > 0);
        Self { bytes_per_s, free_at: Mutex::new(Instant::now()), bell: Bell::default() }
    }

    /// Waits for the turn of so many bytes.
    pub(crate) async fn turn(&self, bytes: usize) {
        let now = Instant::now();
        if let Some(at) = self.take(bytes, now).filter(|&at| at > now) {
            self.bell.until(at).await;
        }
    }

    /// Takes the next turn, and says when it is; none: at once.
    fn take(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let bytes_per_s = self.bytes_per_s?;
        let takes = Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / bytes_per_s);
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let at = now.checked_sub(CATCH_UP).map_or(*free_at, |earliest| earliest.max(*free_at));
        *free_at = at + takes;
        Some(at)
    }
}

/// Wakes who waits for a turn, one after the other: they come in the order of their turns.
#[derive(Debug, Default)]
struct Bell {
    #[cfg(target_os = "linux")]
    alarm: tokio::sync::Mutex<Option<Alarm>>,
}

impl Bell {
    #[cfg(target_os = "linux")]
    async fn until(&self, at: Instant) {
        let mut alarm = self.alarm.lock().await;
        if alarm.is_none() {
            *alarm = Alarm::new()
                .inspect_err(|error| tracing::debug!(%error, "bulk goes by the runtime's timers"))
                .ok();
        }
        let rung = match alarm.as_ref() {
            Some(alarm) => alarm.after(at.saturating_duration_since(Instant::now())).await.is_ok(),
            None => false,
        };
        if !rung {
            tokio::time::sleep_until(at).await;
        }
    }

    #[cfg(not(target_os = "linux"))]
    async fn until(&self, at: Instant) {
        tokio::time::sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 100_000_000;

    /// Takes turns as a writer does that sleeps until each, and wakes `late`; bytes sent in that time.
    fn sent_in(pace: &BulkPace, period: Duration, late: Duration) -> u64 {
        let begun = Instant::now();
        let (mut now, mut sent) = (begun, 0);
        while now < begun + period {
            match pace.take(PIECE_BYTES, now) {
                Some(at) if at > now => now = at + late,
                Some(_) | None => {}
            }
            sent += PIECE_BYTES as u64;
        }
        sent
    }

    #[test]
    fn the_rate_is_kept_though_wake_ups_are_late() {
        for percent in [0, 5, 55, 95] {
            let late = CATCH_UP * percent / 100;
            let sent = sent_in(&BulkPace::new(RATE), Duration::from_secs(1), late);
            assert!((RATE * 98 / 100..RATE * 102 / 100).contains(&sent), "{late:?}: {sent}");
        }
    }

    #[test]
    fn a_pause_is_not_caught_up_on() {
        let pace = BulkPace::new(RATE);
        let later = Instant::now() + Duration::from_secs(60);
        let mut at_once = 0;
        while pace.take(PIECE_BYTES, later).is_some_and(|at| at <= later) {
            at_once += PIECE_BYTES as u64;
        }
        assert!(at_once <= RATE / 1000 * 2 + PIECE_BYTES as u64, "{at_once}");
    }

    #[test]
    fn without_a_rate_everything_goes_at_once() {
        let pace = BulkPace::new(0);
        assert!((0..10_000).all(|_| pace.take(usize::MAX, Instant::now()).is_none()));
    }
}
