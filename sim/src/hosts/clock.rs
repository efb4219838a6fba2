//! A process' own clock: it began at some moment, and runs at a rate of its own.

use selvedge_protocol::time::Time;

const MILLION: i64 = 1_000_000;
/// No run comes near it.
const NEVER_US: u64 = 1 << 60;

/// How a process' own clock relates to virtual time.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct HostClock {
    /// How far it was ahead of virtual time at the start.
    ahead_us: i64,
    /// By how many millionths it runs fast; negative: slow.
    fast_ppm: i64,
}

impl HostClock {
    pub(crate) const fn new(ahead_us: i64, fast_ppm: i64) -> Self {
        Self { ahead_us, fast_ppm }
    }

    /// What the clock shows at a virtual time.
    pub(crate) fn at(self, now: Time) -> Time {
        let drift_us = i128::from(now.as_micros()) * i128::from(self.fast_ppm) / i128::from(MILLION);
        now.offset_by(i64::try_from(drift_us).unwrap_or(0) + self.ahead_us)
    }

    /// The earliest virtual time at which the clock shows `clock` or later.
    pub(crate) fn when(self, clock: Time) -> Time {
        let even = clock.offset_by(-self.ahead_us);
        if self.fast_ppm == 0 || even.as_micros() > NEVER_US {
            return even;
        }
        let scaled = u128::from(even.as_micros()) * u128::from(MILLION.unsigned_abs())
            / u128::from((MILLION + self.fast_ppm).unsigned_abs());
        // Both divisions round: the exact answer is a few microseconds on.
        let mut guess = Time::from_micros(u64::try_from(scaled).unwrap_or(u64::MAX)).offset_by(-3);
        while self.at(guess) < clock && guess < Time::MAX {
            guess = guess.offset_by(1);
        }
        guess
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_set_by_a_drifting_clock_is_never_early() {
        for fast_ppm in [-10_000, -1, 0, 1, 9_999, 10_000] {
            let clock = HostClock::new(12_345, fast_ppm);
            for now in [1, 999_999, 1_000_000, 77_777_777, 40_000_000_000] {
                let shown = clock.at(Time::from_micros(now));
                let back = clock.when(shown);
                assert_eq!(clock.at(back), shown, "{fast_ppm} ppm at {now}");
                assert!(back.as_micros() <= now);
            }
        }
    }
}
