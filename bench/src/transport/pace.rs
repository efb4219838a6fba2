//! Messages sent on time, whatever becomes of those before.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use selvedge_transport::Link;

use super::answer::Head;
use super::ask::{nanoseconds, send};
use super::spec::Via;

/// What is sent, how often, and from when on it counts.
pub(super) struct Pace {
    pub(super) via: Via,
    pub(super) every: Duration,
    pub(super) from: Instant,
    pub(super) until: Instant,
    /// The moment from which the times in messages count.
    pub(super) epoch: Instant,
    pub(super) stretch: u32,
}

/// What was sent.
#[derive(Debug)]
pub(super) struct Paced {
    pub(super) sent: u64,
    pub(super) not_taken: u64,
    /// Nanoseconds that each was sent after it was due.
    pub(super) late_ns: Histogram<u64>,
}

impl Pace {
    /// Sends from a thread of its own, as a game does.
    pub(super) fn start(self, link: Link, blob: Bytes) -> anyhow::Result<JoinHandle<Paced>> {
        let late_ns = Histogram::new(3)?;
        Ok(thread::Builder::new().name("pace".to_owned()).spawn(move || self.run(&link, &blob, late_ns))?)
    }

    fn run(self, link: &Link, blob: &Bytes, late_ns: Histogram<u64>) -> Paced {
        let (mut paced, mut due) = (Paced { sent: 0, not_taken: 0, late_ns }, Instant::now());
        while due < self.until {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let now = Instant::now();
            let head = Head {
                stretch: self.stretch,
                measured: true,
                due_ns: nanoseconds(due.duration_since(self.epoch)),
                sent_ns: nanoseconds(now.duration_since(self.epoch)),
            };
            let (taken, counts) = (send(link, self.via, head, blob), due >= self.from);
            if counts {
                paced.sent += u64::from(taken);
                paced.not_taken += u64::from(!taken);
                let _ = paced.late_ns.record(nanoseconds(now.saturating_duration_since(due)));
            }
            due += self.every;
        }
        paced
    }
}
