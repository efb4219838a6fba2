//! Points in time and ticks. The core owns no clock: every `Time` comes in from outside.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};
use core::time::Duration;

use rkyv::{Archive, Deserialize, Serialize};

/// A point in time, in microseconds since an origin of the caller's choice.
///
/// A node feeds its own monotonic clock; *mesh time* is that clock plus the offset that
/// [`MeshClock`](crate::clock::MeshClock) estimates. Both are `Time`: a name says which is meant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Archive, Serialize, Deserialize)]
pub struct Time(u64);

impl Time {
    /// The origin.
    pub const ZERO: Self = Self(0);
    /// Later than every other time: "never".
    pub const MAX: Self = Self(u64::MAX);

    /// Makes a time from microseconds since the origin.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the origin.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time that has passed since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// This time moved by a signed number of microseconds, held inside the range.
    #[must_use]
    pub const fn offset_by(self, micros: i64) -> Self {
        Self(self.0.saturating_add_signed(micros))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(micros))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A duration in microseconds, held inside the range.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The number of a simulation step. Tick `n` starts at mesh time `n * tick_interval` on every node.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Debug,
    Archive,
    Serialize,
    Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Tick(pub u64);

impl Tick {
    /// The tick that runs at `mesh_time`.
    #[must_use]
    pub fn at(mesh_time: Time, interval: Duration) -> Self {
        let interval_us = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX).max(1);
        Self(mesh_time.as_micros() / interval_us)
    }

    /// The mesh time at which this tick starts.
    #[must_use]
    pub fn start(self, interval: Duration) -> Time {
        let interval_us = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX).max(1);
        Time::from_micros(self.0.saturating_mul(interval_us))
    }

    /// The tick after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        assert_eq!(Time::MAX + Duration::from_secs(1), Time::MAX);
        assert_eq!(Time::ZERO - Duration::from_secs(1), Time::ZERO);
        assert_eq!(Time::ZERO.since(Time::MAX), Duration::ZERO);
        assert_eq!(Time::from_micros(5).offset_by(-9), Time::ZERO);
    }

    #[test]
    fn a_tick_runs_from_its_start_to_the_next_ones() {
        let interval = Duration::from_micros(33_333);
        let tick = Tick(7);
        assert_eq!(Tick::at(tick.start(interval), interval), tick);
        assert_eq!(Tick::at(tick.next().start(interval) - Duration::from_micros(1), interval), tick);
    }
}
