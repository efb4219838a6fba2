//! QUIC links between the processes of a Selvedge mesh, and their client-facing endpoint.
//!
//! Two ends, kept apart so that a flood of players can't delay the mesh:
//!
//! * [`MeshEndpoint`]: one link per pair of nodes, mutually authenticated, with five [`Lane`]s and datagrams.
//! * [`ClientPort`] and [`ClientDialer`]: players' connections, where only the server has a certificate.
//!
//! Everything runs on the caller's tokio runtime. Sending never blocks and never waits: it takes the
//! message or says why not. What arrives comes through one bounded channel per endpoint; who doesn't read it
//! slows the senders down and never grows memory.
//!
//! Not in here: what the bytes mean (`selvedge-protocol`), and who may play (the token in a client's first
//! message is opaque to this crate).

mod admission;
mod bucket;
mod client;
mod close;
mod counter;
mod datagram;
mod error;
mod frame;
mod hello;
mod inbox;
mod lane;
mod limits;
mod mesh;
mod ordered;
mod peer;
mod reset;
mod share;
mod socket;
mod tls;
mod tuning;
#[cfg(target_os = "linux")]
mod udp;

pub use client::connection::{ClientConnection, ClientConnectionStats};
pub use client::dial::{ClientDialer, DialEvent};
pub use client::port::{ClientEvent, ClientPort, ClientPortConfig, ConnectionId};
pub use client::stats::ClientPortStats;
pub use close::CloseCode;
pub use error::{BindError, ConnectError, SendError};
pub use lane::Lane;
pub use limits::{ClientLimits, LaneLimits, MeshLimits};
pub use mesh::endpoint::{HelloCheck, MeshConfig, MeshEndpoint};
pub use mesh::event::LinkEvent;
pub use mesh::link::Link;
pub use mesh::stats::{LaneStats, LinkStats, MeshStats};
pub use peer::PeerName;
pub use tuning::Tuning;

/// Name of the mesh's protocol in the TLS handshake.
pub const MESH_ALPN: &[u8] = b"selvedge-mesh/1";
/// Name of the clients' protocol in the TLS handshake.
pub const CLIENT_ALPN: &[u8] = b"selvedge/1";
/// Largest opaque hello payload, in bytes.
pub const HELLO_PAYLOAD_BYTES_MAX: usize = 4096;
