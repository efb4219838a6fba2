//! A process that stands still: it gets no events and no time, and finds all of it when it goes on.

use core::time::Duration;

use selvedge_protocol::time::Time;

/// When the timers of a process that stood still fire.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Timers {
    /// In the order in which everything came.
    #[default]
    AsTheyCame,
    /// Before it reads anything of what waits.
    First,
    /// After it has read all of it.
    Last,
}

/// Until when a process stands still.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Standstill {
    pub(crate) until: Time,
    pub(crate) timers: Timers,
}

impl Standstill {
    /// Whether it stands still now.
    pub(crate) fn lasts(self, now: Time) -> bool {
        self.until > now
    }

    /// When a timer fires that is due meanwhile.
    pub(crate) fn timer_at(self) -> Time {
        match self.timers {
            Timers::AsTheyCame | Timers::First => self.until,
            Timers::Last => self.until + Duration::from_micros(1),
        }
    }
}
