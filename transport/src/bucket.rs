//! A token bucket: so many a second, with a burst.

use std::time::Instant;

#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    /// A full bucket that takes `burst_s` seconds' worth at once.
    pub(crate) fn new(per_second: u32, burst_s: f64, now: Instant) -> Self {
        let burst = (f64::from(per_second) * burst_s).max(1.0);
        Self { per_second: f64::from(per_second), burst, tokens: burst, filled_at: now }
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }

    /// Whether there is one.
    pub(crate) fn has_one(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= 1.0
    }

    /// Whether nothing was taken lately.
    pub(crate) fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= self.burst
    }

    /// Whether less than half is left.
    pub(crate) fn is_low(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens < self.burst / 2.0
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled_at);
        self.tokens = (self.tokens + elapsed.as_secs_f64() * self.per_second).min(self.burst);
        self.filled_at = now;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 2.0, start);
        assert!((0..20).all(|_| bucket.take(start)));
        assert!(!bucket.take(start) && bucket.is_low(start));
        let later = start + Duration::from_millis(350);
        assert_eq!((0..20).filter(|_| bucket.take(later)).count(), 3);
    }
}
