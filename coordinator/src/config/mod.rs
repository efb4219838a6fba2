//! What can be set on a coordinator process, from four places: flags, then environment, then file, then defaults.
//!
//! [`CoordinatorArgs`] holds flags and environment, [`FileConfig`] the file; [`Settings::resolve`] makes one checked
//! value of both, or says which key is wrong, where it was set, why, and what to do.

mod args;
mod error;
mod file;
mod resolve;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;

use selvedge_certs::WorldName;
use selvedge_protocol::config::CoordinatorConfig;
use selvedge_transport::{ClientLimits, MeshLimits, Tuning};

pub use args::{CoordinatorArgs, PinArg, StoreArg, TripleArg};
pub use error::SettingError;
pub use file::{FileConfig, GridSection, PinnedEntry, StoreSection};

/// Where an identity is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
    /// The certificate of the world's CA, PEM.
    pub ca: PathBuf,
}

/// Everything that a coordinator process is set to, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The world that it coordinates.
    pub world: WorldName,
    /// Who it is in the mesh: role coordinator.
    pub identity: IdentityFiles,
    /// Who it is at the players' door: role server.
    pub door_identity: IdentityFiles,
    /// UDP address for nodes.
    pub bind_mesh: SocketAddr,
    /// UDP address for players.
    pub bind_door: SocketAddr,
    /// TCP address for the HTTP status.
    pub bind_http: SocketAddr,
    /// What the addresses file says that nodes connect to, if it isn't the bound address.
    pub advertise_mesh: Option<SocketAddr>,
    /// What the addresses file says that players connect to, if it isn't the bound address.
    pub advertise_door: Option<SocketAddr>,
    /// The machine's own settings.
    pub coordinator: CoordinatorConfig,
    /// QUIC towards nodes.
    pub mesh_tuning: Tuning,
    /// Limits towards nodes.
    pub mesh_limits: MeshLimits,
    /// QUIC towards players.
    pub door_tuning: Tuning,
    /// Limits towards players.
    pub door_limits: ClientLimits,
    /// What is logged, in the syntax of `tracing_subscriber`'s `EnvFilter`.
    pub log: String,
    /// Where to write the addresses that were bound.
    pub addresses_file: Option<PathBuf>,
    /// The folder that what must survive a restart is kept in; none if it is kept in memory.
    pub store: Option<PathBuf>,
    /// Whether what in there can't be used is moved aside.
    pub store_reset: bool,
    /// Whether to end when the process that started this one does.
    pub die_with_parent: bool,
}
