//! The pace of a link's bulk, and that of its datagrams.
//!
//! Priority orders only what QUIC hasn't sent. What it has sent stands in socket buffers, and is decrypted and put
//! together, in the order of sending; so a cutover waits for all that is in front of it. What trickles leaves
//! nothing to wait for: it goes in small pieces, at a rate that leaves both ends most of their time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

#[cfg(target_os = "linux")]
use crate::mesh::alarm::Alarm;

/// Bytes of bulk that go at once.
pub(crate) const PIECE_BYTES: usize = 32 * 1024;
/// What late wake-ups may catch up on: the runtime's timers, where there are no better ones, overshoot by more than a
/// millisecond.
const CATCH_UP: Duration =
    if cfg!(target_os = "linux") { Duration::from_micros(500) } else { Duration::from_millis(2) };

/// Gives out turns to send, so that the rate is never exceeded by more than [`CATCH_UP`] is worth.
#[derive(Debug)]
pub(crate) struct Pace {
    /// None: as fast as it goes.
    bytes_per_s: Option<u64>,
    /// When the next piece may go.
    free_at: Mutex<Instant>,
    bell: Bell,
}

impl Pace {
    /// A rate of 0 is none.
    pub(crate) fn new(bytes_per_s: u64) -> Self {
        let bytes_per_s = Some(bytes_per_s).filter(|&rate| rate > 0);
        Self { bytes_per_s, free_at: Mutex::new(Instant::now()), bell: Bell::default() }
    }

    pub(crate) fn bytes_per_s(&self) -> Option<u64> {
        self.bytes_per_s
    }

    /// Waits for the turn of so many bytes.
    pub(crate) async fn turn(&self, bytes: usize) {
        let now = Instant::now();
        if let Some(at) = self.take(bytes, now).filter(|&at| at > now) {
            self.bell.until(at).await;
        }
    }

    /// Takes the turn of so many bytes if it is now.
    pub(crate) fn try_turn(&self, bytes: usize, now: Instant) -> bool {
        let Some(bytes_per_s) = self.bytes_per_s else { return true };
        let mut free_at = self.lock();
        let is_free = *free_at <= now;
        if is_free {
            advance(&mut free_at, bytes_per_s, bytes, now);
        }
        is_free
    }

    /// So many bytes went without a turn of this pace: those that come now wait for them, too.
    pub(crate) fn charge(&self, bytes: usize, now: Instant) {
        self.take(bytes, now);
    }

    /// Takes the next turn, and says when it is; none: at once.
    fn take(&self, bytes: usize, now: Instant) -> Option<Instant> {
        self.bytes_per_s.map(|bytes_per_s| advance(&mut self.lock(), bytes_per_s, bytes, now))
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        self.free_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn of so many bytes; the next is when they have gone at the rate.
fn advance(free_at: &mut Instant, bytes_per_s: u64, bytes: usize, now: Instant) -> Instant {
    let takes = Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / bytes_per_s);
    let at = now.checked_sub(CATCH_UP).map_or(*free_at, |earliest| earliest.max(*free_at));
    *free_at = at + takes;
    at
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
                .inspect_err(|error| tracing::debug!(%error, "bulk or datagrams go by the runtime's timers"))
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
    fn sent_in(pace: &Pace, period: Duration, late: Duration) -> u64 {
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
            let sent = sent_in(&Pace::new(RATE), Duration::from_secs(1), late);
            assert!((RATE * 98 / 100..RATE * 102 / 100).contains(&sent), "{late:?}: {sent}");
        }
    }

    #[test]
    fn a_pause_is_not_caught_up_on() {
        let pace = Pace::new(RATE);
        let later = Instant::now() + Duration::from_secs(60);
        let mut at_once = 0;
        while pace.take(PIECE_BYTES, later).is_some_and(|at| at <= later) {
            at_once += PIECE_BYTES as u64;
        }
        assert!(at_once <= RATE / 1000 * 2 + PIECE_BYTES as u64, "{at_once}");
    }

    #[test]
    fn a_turn_that_is_not_now_is_not_taken() {
        let pace = Pace::new(RATE);
        let now = Instant::now();
        let at_once = (0..1000).filter(|_| pace.try_turn(PIECE_BYTES, now)).count();
        assert!((1..=3).contains(&at_once), "{at_once}");
        // Had those that were refused a turn all the same, this one would come three minutes later.
        let takes = Duration::from_secs_f64(PIECE_BYTES as f64 / RATE as f64);
        assert!(pace.try_turn(PIECE_BYTES, now + takes));
    }

    #[test]
    fn what_goes_beside_counts_against_the_rate() {
        let pace = Pace::new(RATE);
        let now = Instant::now();
        pace.charge(PIECE_BYTES * 100, now);
        let takes = Duration::from_secs_f64((PIECE_BYTES * 100) as f64 / RATE as f64);
        let at = pace.take(PIECE_BYTES, now).unwrap();
        assert!(at >= now + takes - CATCH_UP && at <= now + takes, "{:?}", at - now);
    }

    #[test]
    fn without_a_rate_everything_goes_at_once() {
        let pace = Pace::new(0);
        let now = Instant::now();
        pace.charge(usize::MAX, now);
        assert!((0..10_000).all(|_| pace.take(usize::MAX, now).is_none() && pace.try_turn(usize::MAX, now)));
    }
}
