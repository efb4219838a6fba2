//! The settings of a node that is started from code.

use std::net::{Ipv4Addr, SocketAddr};

use selvedge_protocol::config::NodeConfig;
use selvedge_transport::{ClientLimits, MeshLimits, Tuning};

use crate::game::Pacing;

/// How a node is reached, whom it registers with, and how it hands off. Who it is stands in its certificate.
#[derive(Clone, Debug, PartialEq)]
pub struct MeshNodeConfig {
    /// The UDP address for other nodes and the coordinator. Default: `127.0.0.1:0`, a free port of this machine alone.
    pub bind_mesh: SocketAddr,
    /// The address at which other nodes reach it, if that is another than the bound one. Port 0 means the bound port.
    pub advertise_mesh: Option<SocketAddr>,
    /// The UDP address for clients. Default: `127.0.0.1:0`.
    pub bind_clients: SocketAddr,
    /// The address at which clients reach it, if that is another than the bound one. Port 0 means the bound port.
    pub advertise_clients: Option<SocketAddr>,
    /// The coordinator's mesh address.
    pub coordinator: SocketAddr,
    /// The coordinator's name, as its certificate says. Default: `main`.
    pub coordinator_name: String,
    /// How it hands off, forwards and forgets.
    pub core: NodeConfig,
    /// Who sets the pace of the ticks.
    pub pacing: Pacing,
    /// QUIC between the processes of the mesh.
    pub mesh_tuning: Tuning,
    /// Limits of the links.
    pub mesh_limits: MeshLimits,
    /// QUIC towards clients.
    pub client_tuning: Tuning,
    /// Limits of the client port.
    pub client_limits: ClientLimits,
}

impl MeshNodeConfig {
    /// The default settings of a node that registers with the coordinator at this address.
    #[must_use]
    pub fn new(coordinator: SocketAddr) -> Self {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            bind_mesh: local,
            advertise_mesh: None,
            bind_clients: local,
            advertise_clients: None,
            coordinator,
            coordinator_name: "main".to_owned(),
            core: NodeConfig::default(),
            pacing: Pacing::MeshTime,
            mesh_tuning: Tuning::default(),
            mesh_limits: MeshLimits::default(),
            client_tuning: Tuning::for_clients(),
            client_limits: ClientLimits::default(),
        }
    }
}
