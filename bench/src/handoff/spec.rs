//! What a process that this one starts is told, as JSON in its arguments.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use selvedge_node::NodeReport;
use serde::{Deserialize, Serialize};

use super::args::{HopPath, Pace};
use super::restless::Copied;
use crate::ghosts::GhostNodeSpec;
use crate::transport::LanesSpec;

/// Which process to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Spec {
    Coordinator(CoordinatorSpec),
    Node(NodeSpec),
    Bots(BotsSpec),
    Floor(FloorSpec),
    Lanes(LanesSpec),
    Ghosts(GhostNodeSpec),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CoordinatorSpec {
    pub(crate) dir: PathBuf,
    pub(crate) core: Option<usize>,
    pub(crate) tick: Duration,
    pub(crate) mtu: u16,
    /// Players who may come.
    pub(crate) players: usize,
    /// Nodes that there will be.
    pub(crate) nodes: usize,
    /// Cells along x, y and z.
    pub(crate) cells: [u32; 3],
    /// Edge of a cell, in metres.
    pub(crate) cell_edge_m: f64,
    /// How far across the border entities are seen, in metres.
    pub(crate) margin_m: f64,
    pub(crate) log: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BotsSpec {
    pub(crate) dir: PathBuf,
    pub(crate) core: Option<usize>,
    pub(crate) door: SocketAddr,
    pub(crate) players: usize,
    /// Inputs a second of each.
    pub(crate) input_hz: u32,
    pub(crate) log: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NodeSpec {
    pub(crate) dir: PathBuf,
    pub(crate) name: String,
    pub(crate) core: Option<usize>,
    pub(crate) coordinator: SocketAddr,
    pub(crate) tick: Duration,
    pub(crate) pace: Pace,
    pub(crate) mtu: u16,
    /// Megabytes of bulk that a link sends a second; none: as by default.
    pub(crate) bulk_mb_per_s: Option<u32>,
    pub(crate) path: HopPath,
    pub(crate) snapshot_bytes: usize,
    /// How many entities it spawns.
    pub(crate) entities: usize,
    /// How many restless ones it spawns, and how often they are copied ahead; none: as by default.
    pub(crate) restless: usize,
    pub(crate) precopy_refresh: Option<Duration>,
    /// Players who may come.
    pub(crate) players: usize,
    /// How long an entity stays before it goes on.
    pub(crate) dwell: Duration,
    pub(crate) log: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FloorSpec {
    pub(crate) dir: PathBuf,
    pub(crate) core: Option<usize>,
    pub(crate) floor: Floor,
    pub(crate) mtu: u16,
    /// None: answers. Else: asks.
    pub(crate) ask: Option<Ask>,
}

/// What the handoff is compared to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Floor {
    /// Raw UDP, sends cut into packets by the kernel (GSO).
    Udp,
    /// quinn alone, with the settings of the links: a stream for each request and its answer.
    Quinn,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ask {
    pub(crate) address: SocketAddr,
    pub(crate) bytes: usize,
    pub(crate) concurrency: usize,
    /// One request each so often, as entities cross at ticks; none: one after the other.
    pub(crate) every: Option<Duration>,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

/// The first line of a process that is asked things.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Opened {
    pub(crate) address: SocketAddr,
}

/// A node's answer to a line on its standard input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NodeAnswer {
    pub(crate) report: NodeReport,
    pub(crate) population: usize,
    pub(crate) copied: Copied,
}

/// What a floor's asking side found out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FloorAnswer {
    /// Nanoseconds.
    pub(crate) rtt_ns: selvedge_node::HistogramText,
    pub(crate) elapsed: Duration,
    /// Requests that had to be repeated: lost packets.
    pub(crate) repeated: u64,
}
