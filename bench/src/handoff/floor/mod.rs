//! What a handoff is compared to: a request of the snapshot's size and an answer of 64 bytes, between two processes.

mod quic;
mod udp;

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use selvedge_node::HistogramText;

use super::child::{end_with_parent, say};
use super::spec::{Ask, Floor, FloorAnswer, FloorSpec};

/// Bytes of an answer: a token and an id, as `Accepted` has them.
const ANSWER_BYTES: usize = 64;
/// A request without an answer for so long is repeated.
const PATIENCE: Duration = Duration::from_millis(200);

/// Answers, or asks and says what it found.
///
/// # Errors
/// If a socket can't be opened or the other side is gone.
pub(super) fn run(spec: &FloorSpec) -> anyhow::Result<()> {
    end_with_parent()?;
    match (spec.floor, &spec.ask) {
        (Floor::Udp, None) => udp::answer(),
        (Floor::Udp, Some(ask)) => say(&udp::ask(ask, spec.mtu)?),
        (Floor::Quinn, None) => quic::run(quic::answer(spec)),
        (Floor::Quinn, Some(ask)) => say(&quic::run(quic::ask(spec, ask))?),
    }
}

/// Counts round trips once the warm-up is over.
#[derive(Debug)]
struct Trips {
    from: Instant,
    until: Instant,
    histogram: Histogram<u64>,
    repeated: u64,
}

impl Trips {
    fn new(ask: &Ask) -> anyhow::Result<Self> {
        let from = Instant::now() + ask.warm_up;
        Ok(Self { from, until: from + ask.duration, histogram: Histogram::new(3)?, repeated: 0 })
    }

    /// Counts one; says whether to go on.
    fn count(&mut self, began: Instant) -> bool {
        let now = Instant::now();
        if began >= self.from {
            let nanoseconds = u64::try_from(now.duration_since(began).as_nanos()).unwrap_or(u64::MAX);
            // It grows with what it is given; only what is beyond all measure isn't taken.
            let _ = self.histogram.record(nanoseconds);
        }
        now < self.until
    }

    fn answer(&self) -> FloorAnswer {
        FloorAnswer {
            rtt_ns: HistogramText::encode(&self.histogram),
            elapsed: self.until - self.from,
            repeated: self.repeated,
        }
    }
}
