//! The coordinator's clock: mesh time.
//!
//! It starts at the wall clock's microseconds since 1970, so that mesh time goes on from about where it was when a
//! coordinator is restarted, and from then on follows the monotonic clock alone.

use std::time::{Duration, Instant, SystemTime};

use selvedge_protocol::time::Time;

/// Mesh time, read from this process's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    mesh_at_start: Time,
}

impl Clock {
    /// Starts the clock. A wall clock before 1970 counts as 1970.
    pub(crate) fn start() -> Self {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), mesh_at_start: Time::ZERO + since_1970 }
    }

    /// Mesh time now.
    pub(crate) fn now(&self) -> Time {
        self.mesh_at_start + self.started.elapsed()
    }

    /// When mesh time will be `at`; now if that is past.
    pub(crate) fn instant_of(&self, at: Time) -> tokio::time::Instant {
        // "Never" is far away rather than past what an instant can hold.
        const FAR: Duration = Duration::from_secs(24 * 3600);
        let wait = at.since(self.now()).min(FAR);
        tokio::time::Instant::now() + wait
    }

    /// Milliseconds since 1970 when this clock was started.
    ///
    /// Where nothing is remembered, terms and incarnations begin there: past those of a predecessor, unless the wall clock
    /// was set back in between. If it was, nodes that know the old term refuse the new coordinator until they are restarted.
    pub(crate) fn floor(&self) -> u64 {
        self.mesh_at_start.as_micros() / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_is_far_away_and_the_past_is_now() {
        let clock = Clock::start();
        assert!(clock.instant_of(Time::MAX) > tokio::time::Instant::now() + Duration::from_secs(3600));
        assert!(clock.instant_of(Time::ZERO) <= tokio::time::Instant::now());
        assert!(clock.floor() > 0);
    }
}
