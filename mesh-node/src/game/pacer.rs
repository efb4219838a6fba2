//! When the next tick runs, and which it is.

use std::time::Duration;

use selvedge_protocol::time::{Tick, Time};
use serde::{Deserialize, Serialize};

/// Who sets the pace of the ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pacing {
    /// `tick` waits until mesh time says that the next one starts. The default.
    #[default]
    MeshTime,
    /// `tick` runs at once: for an engine that paces itself, at about the mesh's tick interval, and for load tests.
    Free,
}

/// Which tick runs now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Start {
    pub(crate) tick: Tick,
    /// Ticks that were left out since the one before, because the game was not back in time.
    pub(crate) skipped: u64,
    /// How long to wait before it starts.
    pub(crate) wait: Duration,
}

/// Chooses ticks; never the same one twice, never backwards.
#[derive(Debug, Default)]
pub(crate) struct Pacer {
    pacing: Pacing,
    last: Option<Tick>,
}

impl Pacer {
    pub(crate) const fn new(pacing: Pacing) -> Self {
        Self { pacing, last: None }
    }

    /// The tick to run next, as seen at `mesh_now`.
    pub(crate) fn next(&mut self, mesh_now: Time, interval: Duration) -> Start {
        let tick = self.upcoming(mesh_now, interval);
        let due = self.last.map_or(tick, Tick::next);
        self.last = Some(tick);
        let wait = match self.pacing {
            // Mesh time is slewed, not set back; should it fall behind all the same, ticks go on at their own pace.
            Pacing::MeshTime => tick.start(interval).since(mesh_now).min(interval * 2),
            Pacing::Free => Duration::ZERO,
        };
        Start { tick, skipped: tick.0 - due.0, wait }
    }

    /// The tick that will run next if it is asked for at `mesh_time`.
    pub(crate) fn upcoming(&self, mesh_time: Time, interval: Duration) -> Tick {
        let current = Tick::at(mesh_time, interval);
        self.last.map_or_else(|| self.first(current), Tick::next).max(current)
    }

    const fn first(&self, current: Tick) -> Tick {
        match self.pacing {
            Pacing::MeshTime => current.next(),
            Pacing::Free => current,
        }
    }
}

/// Makes the calling thread's sleeps end when they should. The kernel lets an ordinary thread's sleep end up to 50 us
/// late, to wake several at once; a game's thread is told of its tick's start that way.
pub(crate) fn sleep_sharply() {
    #[cfg(target_os = "linux")]
    if let Err(cause) = nix::sys::prctl::set_timerslack(1) {
        tracing::debug!(%cause, "the kernel keeps its timer slack: ticks start up to 50 us late");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(10);

    fn at(millis: u64) -> Time {
        Time::from_micros(millis * 1000)
    }

    #[test]
    fn a_punctual_game_runs_every_tick_at_its_start() {
        let mut pacer = Pacer::new(Pacing::MeshTime);
        assert_eq!(
            pacer.next(at(104), INTERVAL),
            Start { tick: Tick(11), skipped: 0, wait: Duration::from_millis(6) }
        );
        assert_eq!(
            pacer.next(at(113), INTERVAL),
            Start { tick: Tick(12), skipped: 0, wait: Duration::from_millis(7) }
        );
    }

    #[test]
    fn a_late_game_runs_at_once_and_counts_what_it_left_out() {
        let mut pacer = Pacer::new(Pacing::MeshTime);
        pacer.next(at(104), INTERVAL);
        assert_eq!(pacer.next(at(121), INTERVAL), Start { tick: Tick(12), skipped: 0, wait: Duration::ZERO });
        assert_eq!(pacer.next(at(165), INTERVAL), Start { tick: Tick(16), skipped: 3, wait: Duration::ZERO });
    }

    #[test]
    fn a_clock_that_falls_behind_neither_repeats_a_tick_nor_stops_the_game() {
        let mut pacer = Pacer::new(Pacing::MeshTime);
        pacer.next(at(60_000), INTERVAL);
        let start = pacer.next(at(10), INTERVAL);
        assert_eq!((start.tick, start.wait), (Tick(6002), INTERVAL * 2));
    }

    #[test]
    fn a_free_game_never_waits() {
        let mut pacer = Pacer::new(Pacing::Free);
        assert_eq!(pacer.next(at(104), INTERVAL), Start { tick: Tick(10), skipped: 0, wait: Duration::ZERO });
        assert_eq!(pacer.next(at(104), INTERVAL), Start { tick: Tick(11), skipped: 0, wait: Duration::ZERO });
    }
}
