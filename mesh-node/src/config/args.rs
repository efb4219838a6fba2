//! A node's flags and the environment variables that stand for them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// How to run a node. What isn't given comes from the configuration file, else from the defaults.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct NodeArgs {
    /// Configuration file (TOML).
    #[arg(long, env = "SELVEDGE_NODE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Name of the world; must agree with the certificate.
    #[arg(long, env = "SELVEDGE_WORLD", value_name = "NAME")]
    pub world: Option<String>,
    /// Id of this node; must agree with the certificate.
    #[arg(long, env = "SELVEDGE_NODE_ID", value_name = "UUID")]
    pub node: Option<String>,
    /// Certificate chain of this node (PEM).
    #[arg(long, env = "SELVEDGE_NODE_CERT", value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Private key of this node (PEM).
    #[arg(long, env = "SELVEDGE_NODE_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Certificate of the world's CA (PEM).
    #[arg(long, env = "SELVEDGE_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Certificate chain shown to clients (PEM): a server's.
    #[arg(long, env = "SELVEDGE_CLIENT_CERT", value_name = "FILE")]
    pub client_cert: Option<PathBuf>,
    /// Private key of the certificate shown to clients (PEM).
    #[arg(long, env = "SELVEDGE_CLIENT_KEY", value_name = "FILE")]
    pub client_key: Option<PathBuf>,
    /// Address to bind for the mesh; port 0 takes a free one.
    #[arg(long, env = "SELVEDGE_BIND_MESH", value_name = "IP:PORT")]
    pub bind_mesh: Option<SocketAddr>,
    /// Address at which other nodes reach this one; port 0 means the bound port.
    #[arg(long, env = "SELVEDGE_ADVERTISE_MESH", value_name = "IP:PORT")]
    pub advertise_mesh: Option<SocketAddr>,
    /// Address to bind for clients; port 0 takes a free one.
    #[arg(long, env = "SELVEDGE_BIND_CLIENTS", value_name = "IP:PORT")]
    pub bind_clients: Option<SocketAddr>,
    /// Address at which clients reach this node; port 0 means the bound port.
    #[arg(long, env = "SELVEDGE_ADVERTISE_CLIENTS", value_name = "IP:PORT")]
    pub advertise_clients: Option<SocketAddr>,
    /// Mesh address of the coordinator.
    #[arg(long, env = "SELVEDGE_COORDINATOR", value_name = "HOST:PORT")]
    pub coordinator: Option<String>,
    /// Name of the coordinator, as its certificate says.
    #[arg(long, env = "SELVEDGE_COORDINATOR_NAME", value_name = "NAME")]
    pub coordinator_name: Option<String>,
    /// What to log, as `tracing` filters are written.
    #[arg(long, env = "SELVEDGE_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Any key of the configuration file, as section.key=value; may be repeated (in the environment: split by `;`).
    #[arg(long = "set", env = "SELVEDGE_NODE_SET", value_name = "KEY=VALUE", value_delimiter = ';')]
    pub set: Vec<String>,
    /// Print every key with its default as TOML, and end.
    #[arg(long)]
    pub print_defaults: bool,
    /// Read and check the configuration, print it as TOML, and end.
    #[arg(long)]
    pub check_config: bool,
    /// End when the process that started this one does; it should hold a pipe as this one's standard input.
    #[arg(long)]
    pub die_with_parent: bool,
}
