//! The node's own clock, and mesh time on top of it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use selvedge_protocol::time::Time;

/// Microseconds since this clock was made; one per node, shared by its threads.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// What the core last estimated: add it to the node's clock to get mesh time.
    offset_us: AtomicI64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { origin: Instant::now(), offset_us: AtomicI64::new(0) }
    }

    /// The node's own time.
    pub(crate) fn now(&self) -> Time {
        Time::from_micros(whole_micros(self.origin.elapsed()))
    }

    /// Mesh time.
    pub(crate) fn mesh_now(&self) -> Time {
        self.now().offset_by(self.offset_us.load(Ordering::Relaxed))
    }

    pub(crate) fn set_offset(&self, offset_us: i64) {
        self.offset_us.store(offset_us, Ordering::Relaxed);
    }

    /// The instant at which this clock shows `time`.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.origin + time.since(Time::ZERO)
    }
}

/// A duration in whole microseconds, as histograms take it.
pub(crate) fn whole_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mesh_time_is_the_own_time_plus_the_offset() {
        let clock = Clock::new();
        clock.set_offset(5_000_000);
        let (own, mesh) = (clock.now(), clock.mesh_now());
        let apart = mesh.since(own);
        assert!(apart >= Duration::from_secs(5) && apart < Duration::from_secs(6), "{apart:?}");
    }
}
