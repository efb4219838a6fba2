//! The configuration file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selvedge_certs::WorldName;
use selvedge_protocol::grid::CellId;
use selvedge_protocol::id::NodeId;
use selvedge_transport::{ClientLimits, MeshLimits, Tuning};
use serde::{Deserialize, Serialize};

use super::args::StoreArg;
use super::error::SettingError;

/// A configuration file, as it is written: every key may be missing, no other key may be there.
///
/// Relative paths are relative to the working directory, as on the command line.
///
/// ```toml
/// world = "aerie"
/// cert = "certs/coordinator.pem"
/// key = "certs/coordinator.key"
/// ca = "certs/ca.pem"
/// door_cert = "certs/door.pem"
/// door_key = "certs/door.key"
/// tick_hz = 30
/// lease = "3s"
///
/// [grid]
/// cell_edge_m = 100.0
/// cells = [4, 4, 1]
///
/// [[pinned]]
/// cell = "L0(3,2,0)"
/// node = "8a6e0804-2bd0-4672-b79d-d97027f9071a"
/// ```
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileConfig {
    /// Name of the world. No default.
    pub world: Option<WorldName>,
    /// Certificate of this coordinator. No default.
    pub cert: Option<PathBuf>,
    /// Its private key. No default.
    pub key: Option<PathBuf>,
    /// Certificate of the world's CA. No default.
    pub ca: Option<PathBuf>,
    /// Certificate shown to players. No default.
    pub door_cert: Option<PathBuf>,
    /// Its private key. No default.
    pub door_key: Option<PathBuf>,
    /// UDP address for nodes. Default 127.0.0.1:7400.
    pub bind_mesh: Option<SocketAddr>,
    /// UDP address for players. Default 127.0.0.1:7401.
    pub bind_door: Option<SocketAddr>,
    /// TCP address for the HTTP status, which has no authentication: keep it private. Default 127.0.0.1:7402.
    pub bind_http: Option<SocketAddr>,
    /// Address for nodes that goes into the addresses file. Default: the bound one.
    pub advertise_mesh: Option<SocketAddr>,
    /// Address for players that goes into the addresses file. Default: the bound one.
    pub advertise_door: Option<SocketAddr>,
    /// The shape of the world.
    pub grid: GridSection,
    /// Ticks a second, 1 to 1000. Default 30. More costs CPU time, fewer make the game coarser.
    pub tick_hz: Option<u32>,
    /// How far across a border entities are replicated, in metres, less than a cell's edge. Default 30.
    pub interest_margin_m: Option<f64>,
    /// Cells that belong to a node whatever the load. Default: none.
    pub pinned: Vec<PinnedEntry>,
    /// Nodes that must have registered before cells are assigned. Default 1.
    pub nodes_min: Option<usize>,
    /// How long a node may simulate that nobody witnesses any more, at least 500 ms. Default 3 s. Too short and a stalled
    /// process loses its cells; too long and what a dead one held stands still for as long.
    #[serde(with = "humantime_serde::option")]
    pub lease: Option<Duration>,
    /// How much longer than that nobody replaces it, from a fiftieth of the lease to the whole. Default a twentieth. Too
    /// short and two nodes hold one entity where their clocks run at different rates.
    #[serde(with = "humantime_serde::option")]
    pub lease_margin: Option<Duration>,
    /// Silence after which a node is given up, from 500 ms to the lease. Default two thirds of the lease. Too short and a
    /// few lost heartbeats cost a node its cells.
    #[serde(with = "humantime_serde::option")]
    pub suspect_after: Option<Duration>,
    /// How long a player waits at the door before they are refused. Default 5 s.
    #[serde(with = "humantime_serde::option")]
    pub entry_patience: Option<Duration>,
    /// What is logged. Default "info".
    pub log: Option<String>,
    /// File to write the bound addresses to. Default: none.
    pub addresses_file: Option<PathBuf>,
    /// What must survive a restart.
    pub store: StoreSection,
    /// Whether to end with the process that started this one. Default: no.
    pub die_with_parent: bool,
    /// QUIC towards nodes.
    pub mesh_tuning: Option<Tuning>,
    /// Limits towards nodes.
    pub mesh_limits: Option<MeshLimits>,
    /// QUIC towards players. What is not set is as in `Tuning::default()`, not as in `Tuning::for_clients()`.
    pub door_tuning: Option<Tuning>,
    /// Limits towards players.
    pub door_limits: Option<ClientLimits>,
}

/// The shape of the world, as it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GridSection {
    /// Lowest corner of the world in metres. Default 0, 0, 0.
    pub origin_m: Option<[f64; 3]>,
    /// Edge of a cell in metres. Default 100.
    pub cell_edge_m: Option<f64>,
    /// Cells along x, y and z. Default 4, 4, 1.
    pub cells: Option<[u32; 3]>,
}

/// What must survive a restart, as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSection {
    /// Folder, or "none". Default: see `--store`.
    pub path: Option<StoreArg>,
}

/// A cell pinned to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedEntry {
    /// The cell, such as `L0(3,2,0)`.
    pub cell: CellId,
    /// The node.
    pub node: NodeId,
}

impl FileConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// [`SettingError::Read`] or [`SettingError::Syntax`], naming the file.
    pub fn read(path: &Path) -> Result<Self, SettingError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|error| SettingError::Syntax { path: path.to_owned(), cause: error.to_string() })
    }
}
