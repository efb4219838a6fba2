//! The shape of a node's configuration file (TOML).

use std::net::SocketAddr;
use std::path::PathBuf;

use selvedge_transport::{ClientLimits, MeshLimits, Tuning};
use serde::{Deserialize, Deserializer, Serialize};

use super::CoreSettings;
use crate::game::Pacing;

/// A node's configuration file. Every key may be left out; an unknown one is an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeFile {
    /// The world's name. Default: as the certificate says; if it is given the two must agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub world: Option<String>,
    /// The node's id. Default: as the certificate says; if it is given the two must agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What is logged, as `tracing` filters are written. Default: `info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Who sets the pace of the ticks: `mesh_time` (default) or `free`.
    pub pacing: Pacing,
    /// Who the node is.
    pub identity: IdentitySection,
    /// What it shows to clients: a server's certificate.
    pub client_identity: IdentitySection,
    /// The endpoint for other nodes and the coordinator.
    pub mesh: EndpointSection,
    /// The endpoint for clients.
    pub clients: EndpointSection,
    /// Whom it registers with.
    pub coordinator: CoordinatorSection,
    /// How it hands off, forwards and forgets.
    pub core: CoreSettings,
    /// QUIC.
    pub transport: TransportSection,
    /// The sample world.
    #[cfg(feature = "arena")]
    pub arena: crate::arena::ArenaConfig,
}

/// An identity's files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentitySection {
    /// The certificate chain, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// The private key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The certificate of the world's CA, PEM. For clients: default the mesh's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

/// A UDP endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointSection {
    /// The address to bind, `ip:port`; port 0 takes a free one. Default: `127.0.0.1:0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind: Option<SocketAddr>,
    /// The address at which others reach it, `ip:port`; port 0 means the bound port. Default: the bound address. Needed
    /// where `bind` is `0.0.0.0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<SocketAddr>,
}

/// The coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoordinatorSection {
    /// Its mesh address, `host:port`. No default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addr: Option<String>,
    /// Its name, as its certificate says. Default: `main`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// QUIC: documented where the types are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransportSection {
    /// Between the processes of the mesh. Default: for a private network.
    pub mesh: Tuning,
    /// Limits of the links.
    pub mesh_limits: MeshLimits,
    /// Towards clients. Default: for the open internet.
    #[serde(deserialize_with = "over_client_defaults")]
    pub clients: Tuning,
    /// Limits of the client port.
    pub client_limits: ClientLimits,
}

impl Default for TransportSection {
    fn default() -> Self {
        Self {
            mesh: Tuning::default(),
            mesh_limits: MeshLimits::default(),
            clients: Tuning::for_clients(),
            client_limits: ClientLimits::default(),
        }
    }
}

/// A `Tuning` whose missing keys are those for clients, not those for the mesh.
fn over_client_defaults<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tuning, D::Error> {
    let given = toml::Table::deserialize(deserializer)?;
    let mut whole = toml::Table::try_from(Tuning::for_clients()).map_err(serde::de::Error::custom)?;
    whole.extend(given);
    whole.try_into().map_err(serde::de::Error::custom)
}
