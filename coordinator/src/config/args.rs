//! Flags and environment variables: clap reads both, a flag before its variable.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use selvedge_certs::WorldName;
use selvedge_protocol::grid::CellId;
use selvedge_protocol::id::NodeId;
use serde::{Deserialize, Serialize};

/// The coordinator's command line. Embed it with `#[command(flatten)]` and give it to [`run`](crate::app::run).
#[derive(Debug, Clone, Default, Args)]
pub struct CoordinatorArgs {
    /// TOML file with any of these settings
    #[arg(long, env = "SELVEDGE_CONFIG", value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Name of the world to coordinate
    #[arg(long, env = "SELVEDGE_WORLD", value_name = "NAME")]
    pub world: Option<WorldName>,
    /// Certificate of this coordinator (role coordinator), PEM
    #[arg(long, env = "SELVEDGE_CERT", value_name = "PATH")]
    pub cert: Option<PathBuf>,
    /// Private key of that certificate, PEM
    #[arg(long, env = "SELVEDGE_KEY", value_name = "PATH")]
    pub key: Option<PathBuf>,
    /// Certificate of the world's CA, PEM
    #[arg(long, env = "SELVEDGE_CA", value_name = "PATH")]
    pub ca: Option<PathBuf>,
    /// Certificate shown to players (role server), PEM
    #[arg(long, env = "SELVEDGE_DOOR_CERT", value_name = "PATH")]
    pub door_cert: Option<PathBuf>,
    /// Private key of that certificate, PEM
    #[arg(long, env = "SELVEDGE_DOOR_KEY", value_name = "PATH")]
    pub door_key: Option<PathBuf>,
    /// UDP address for nodes [default: 127.0.0.1:7400]
    #[arg(long, env = "SELVEDGE_BIND_MESH", value_name = "IP:PORT")]
    pub bind_mesh: Option<SocketAddr>,
    /// UDP address for players [default: 127.0.0.1:7401]
    #[arg(long, env = "SELVEDGE_BIND_DOOR", value_name = "IP:PORT")]
    pub bind_door: Option<SocketAddr>,
    /// TCP address for the HTTP status, which has no authentication [default: 127.0.0.1:7402]
    #[arg(long, env = "SELVEDGE_BIND_HTTP", value_name = "IP:PORT")]
    pub bind_http: Option<SocketAddr>,
    /// Address for nodes to put into the addresses file, in place of the bound one
    #[arg(long, env = "SELVEDGE_ADVERTISE_MESH", value_name = "IP:PORT")]
    pub advertise_mesh: Option<SocketAddr>,
    /// Address for players to put into the addresses file, in place of the bound one
    #[arg(long, env = "SELVEDGE_ADVERTISE_DOOR", value_name = "IP:PORT")]
    pub advertise_door: Option<SocketAddr>,
    /// Lowest corner of the world in metres [default: 0,0,0]
    #[arg(long, env = "SELVEDGE_ORIGIN_M", value_name = "X,Y,Z", allow_hyphen_values = true)]
    pub origin_m: Option<TripleArg<f64>>,
    /// Edge of a cell in metres [default: 100]
    #[arg(long, env = "SELVEDGE_CELL_EDGE_M", value_name = "METRES")]
    pub cell_edge_m: Option<f64>,
    /// Cells along x, y and z [default: 4,4,1]
    #[arg(long, env = "SELVEDGE_CELLS", value_name = "X,Y,Z")]
    pub cells: Option<TripleArg<u32>>,
    /// Ticks a second [default: 30]
    #[arg(long, env = "SELVEDGE_TICK_HZ", value_name = "HZ")]
    pub tick_hz: Option<u32>,
    /// How far across a border entities are replicated, in metres [default: 30]
    #[arg(long, env = "SELVEDGE_INTEREST_MARGIN_M", value_name = "METRES")]
    pub interest_margin_m: Option<f64>,
    /// Pin a cell to a node, such as L0(3,2,0)=UUID; may be given again, and replaces the file's list
    #[arg(long = "pin", value_name = "CELL=NODE")]
    pub pinned: Vec<PinArg>,
    /// Nodes that must have registered before cells are assigned [default: 1]
    #[arg(long, env = "SELVEDGE_NODES_MIN", value_name = "COUNT")]
    pub nodes_min: Option<usize>,
    /// How long a node may simulate that nobody witnesses any more, such as 3s [default: 3s]
    #[arg(long, env = "SELVEDGE_LEASE", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub lease: Option<Duration>,
    /// How much longer than that nobody replaces it: covers clocks of different rates [default: a twentieth of the lease]
    #[arg(long, env = "SELVEDGE_LEASE_MARGIN", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub lease_margin: Option<Duration>,
    /// Silence after which a node is given up [default: two thirds of the lease]
    #[arg(long, env = "SELVEDGE_SUSPECT_AFTER", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub suspect_after: Option<Duration>,
    /// How long a player waits at the door before they are refused [default: 5s]
    #[arg(long, env = "SELVEDGE_ENTRY_PATIENCE", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub entry_patience: Option<Duration>,
    /// What is logged, such as 'info,selvedge_coordinator=debug' [default: info]
    #[arg(long, env = "SELVEDGE_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// File to write the bound addresses to, as JSON {"mesh", "door", "http"}
    #[arg(long, env = "SELVEDGE_ADDRESSES_FILE", value_name = "PATH")]
    pub addresses_file: Option<PathBuf>,
    /// Folder to keep in what must survive a restart, or 'none' [default: $STATE_DIRECTORY, or selvedge/WORLD in
    /// $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, env = "SELVEDGE_STORE", value_name = "DIR")]
    pub store: Option<StoreArg>,
    /// Move aside what in that folder can't be used, and begin without it
    #[arg(long)]
    pub store_reset: bool,
    /// End when the process that started this one ends
    #[arg(long)]
    pub die_with_parent: bool,
}

/// A folder, or `none`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "PathBuf", into = "PathBuf")]
pub enum StoreArg {
    /// Nothing is kept: who restarts begins anew.
    None,
    /// Kept in this folder.
    Folder(PathBuf),
}

impl From<PathBuf> for StoreArg {
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == "none" { Self::None } else { Self::Folder(path) }
    }
}

impl From<StoreArg> for PathBuf {
    fn from(store: StoreArg) -> Self {
        match store {
            StoreArg::None => "none".into(),
            StoreArg::Folder(path) => path,
        }
    }
}

impl FromStr for StoreArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err("name a folder, or 'none'".to_owned());
        }
        Ok(Self::from(PathBuf::from(text)))
    }
}

/// Three numbers, written `x,y,z`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TripleArg<T>(pub [T; 3]);

impl<T: FromStr> FromStr for TripleArg<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers: Option<Vec<T>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
        numbers
            .and_then(|numbers| <[T; 3]>::try_from(numbers).ok())
            .map(Self)
            .ok_or_else(|| "write three numbers with commas between them, such as 4,4,1".to_owned())
    }
}

/// A cell and the node that it is pinned to, written `L0(3,2,0)=<uuid>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinArg {
    /// The cell.
    pub cell: CellId,
    /// The node.
    pub node: NodeId,
}

impl FromStr for PinArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (cell, node) = text.split_once('=').ok_or("write a cell and a node, such as L0(3,2,0)=<uuid>")?;
        let cell = cell.trim().parse().map_err(|error| format!("{error}"))?;
        let node = node.trim().parse().map_err(|error| format!("{node:?} is not a node's UUID: {error}"))?;
        Ok(Self { cell, node })
    }
}
