//! A clock that wakes at the moment itself: the runtime's timers overshoot by a millisecond and more.

use std::io;
use std::time::Duration;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::net::unix::pipe::Receiver;

/// One alarm of the kernel's.
#[derive(Debug)]
pub(crate) struct Alarm {
    /// Read like a pipe: there is something in it once the time has come.
    timer: Receiver,
}

impl Alarm {
    /// Fails when the process has too many files open. Within a runtime only.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { timer: Receiver::from_owned_fd_unchecked(timer)? })
    }

    /// Waits so long. A wait that was given up doesn't disturb the next.
    pub(crate) async fn after(&self, wait: Duration) -> io::Result<()> {
        if wait.is_zero() {
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec::try_from(wait).map_err(|_| io::ErrorKind::InvalidInput)?,
        };
        rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        loop {
            self.timer.readable().await?;
            match self.timer.try_read(&mut [0; 8]) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn it_never_rings_early_and_a_wait_given_up_leaves_nothing_behind() {
        let alarm = Alarm::new().unwrap();
        let (short, long) = (Duration::from_micros(200), Duration::from_millis(20));
        for _ in 0..20 {
            let begun = Instant::now();
            alarm.after(short).await.unwrap();
            assert!(begun.elapsed() >= short);
        }
        let _ = tokio::time::timeout(Duration::ZERO, alarm.after(short)).await;
        tokio::time::sleep(short * 10).await;
        let begun = Instant::now();
        alarm.after(long).await.unwrap();
        assert!(begun.elapsed() >= long, "the alarm given up rang for the next wait");
    }
}
