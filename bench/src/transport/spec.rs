//! What the two processes of this measurement are told and say.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use selvedge_node::HistogramText;
use selvedge_transport::Lane;
use serde::{Deserialize, Serialize};

/// By what a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Via {
    Control,
    Cutover,
    Action,
    Precopy,
    Checkpoint,
    Datagram,
}

impl Via {
    pub(crate) const ALL: [Self; 6] =
        [Self::Control, Self::Cutover, Self::Action, Self::Precopy, Self::Checkpoint, Self::Datagram];

    /// The lane; none for datagrams.
    pub(crate) const fn lane(self) -> Option<Lane> {
        match self {
            Self::Control => Some(Lane::Control),
            Self::Cutover => Some(Lane::Cutover),
            Self::Action => Some(Lane::Action),
            Self::Precopy => Some(Lane::Precopy),
            Self::Checkpoint => Some(Lane::Checkpoint),
            Self::Datagram => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.lane().map_or("datagram", Lane::as_str)
    }

    /// Bytes of a message as the product sends them.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Control | Self::Action => 256,
            Self::Cutover => 1024,
            Self::Precopy | Self::Checkpoint => 256 * 1024,
            Self::Datagram => 1000,
        }
    }

    /// Messages without an answer as a load: of bulk, more than a link keeps in flight.
    pub(crate) const fn load(self) -> usize {
        match self {
            Self::Control | Self::Cutover | Self::Action => 8,
            Self::Precopy => 48,
            Self::Checkpoint => 80,
            Self::Datagram => usize::MAX,
        }
    }
}

/// A stretch of time in which one thing is measured and others are a load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stretch {
    pub(crate) part: String,
    pub(crate) load_name: String,
    pub(crate) via: Via,
    /// Messages without an answer; 0 if they are paced.
    pub(crate) in_flight: usize,
    /// One message each so often, whatever becomes of those before.
    pub(crate) every: Option<Duration>,
    pub(crate) loads: Vec<Via>,
}

/// One of the two processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LanesSpec {
    pub(crate) dir: PathBuf,
    pub(crate) core: Option<usize>,
    pub(crate) mtu: u16,
    /// Megabytes of bulk that the link sends a second; none: as by default.
    pub(crate) bulk_mb_per_s: Option<u32>,
    /// Megabytes of datagrams, likewise.
    pub(crate) datagram_mb_per_s: Option<u32>,
    /// Whether TLS sessions are resumed.
    pub(crate) resume: bool,
    /// None: answers.
    pub(crate) ask: Option<LanesAsk>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LanesAsk {
    pub(crate) address: SocketAddr,
    pub(crate) set_ups: usize,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
    pub(crate) stretches: Vec<Stretch>,
}

/// What a stretch, or the set-up, came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Nanoseconds from when a message was due to its answer. One of a stream that has none in the end is in it with
    /// the time that was waited for it.
    pub(crate) rtt_ns: HistogramText,
    /// The same from when the link was given it.
    pub(crate) trip_ns: HistogramText,
    /// Nanoseconds from when a message was due until the link was given it.
    pub(crate) late_ns: HistogramText,
    pub(crate) elapsed: Duration,
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    /// Of these, before the stretch was over.
    pub(crate) answered_in_time: u64,
    /// Messages that found a full queue.
    pub(crate) not_taken: u64,
    /// Messages of each load that were answered.
    pub(crate) loads: Vec<(Via, u64)>,
}
