//! The server's end of the players' connections: the port that they dial.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use bytes::Bytes;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, ServerConfig, TransportConfig};
use selvedge_certs::{CertsError, Identity, RoleKind};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::Admission;
use crate::client::connection::ClientConnection;
use crate::client::serve;
use crate::client::stats::{ClientCounters, ClientPortStats};
use crate::close::{CloseCode, truncated};
use crate::error::BindError;
use crate::inbox::Inbox;
use crate::limits::{CLOSE_WAIT, ClientLimits};
use crate::reset::ResetKey;
use crate::socket::{self, PortWatch};
use crate::tls;
use crate::tuning::Tuning;

/// How to open a client port.
#[derive(Debug, Clone)]
pub struct ClientPortConfig {
    /// The UDP address to listen on.
    pub bind: SocketAddr,
    /// The certificate that clients are shown; its role must be server.
    pub identity: Arc<Identity>,
    /// How QUIC is used; [`Tuning::for_clients`] is meant for this.
    pub tuning: Tuning,
    /// What is bounded, and how far.
    pub limits: ClientLimits,
}

/// Numbers a client's connection; never used twice by one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Something that happened on a client's connection. For each: `Opened`, then messages and datagrams, then `Closed`.
#[derive(Debug)]
pub enum ClientEvent {
    /// A client has connected and sent its first message.
    Opened {
        /// The connection's number.
        id: ConnectionId,
        /// The client's address.
        remote: SocketAddr,
        /// The first message. It proves who the client is; the caller judges it, and closes what it refuses.
        first: Bytes,
        /// The connection to answer on.
        connection: ClientConnection,
    },
    /// A further message, in the order of sending.
    Message {
        /// The connection's number.
        id: ConnectionId,
        /// Its bytes.
        payload: Bytes,
    },
    /// A datagram. Datagrams may be lost, doubled or out of order.
    Datagram {
        /// The connection's number.
        id: ConnectionId,
        /// Its bytes.
        payload: Bytes,
    },
    /// The connection is gone.
    Closed {
        /// The connection's number.
        id: ConnectionId,
        /// Why, in one sentence.
        reason: String,
    },
}

/// The port that players dial. Runs on the tokio runtime that it was opened in, which should not be the mesh's.
pub struct ClientPort {
    shared: Arc<PortShared>,
}

/// What the tasks of a port share.
pub(crate) struct PortShared {
    pub(crate) endpoint: Endpoint,
    pub(crate) limits: ClientLimits,
    pub(crate) inbox: Inbox<ClientEvent>,
    pub(crate) counters: ClientCounters,
    pub(crate) admission: Arc<Admission>,
    pub(crate) closing: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) next_id: AtomicU64,
    port: PortWatch,
    transport: Arc<TransportConfig>,
}

impl fmt::Debug for ClientPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientPort")
            .field("address", &self.shared.endpoint.local_addr().ok())
            .finish_non_exhaustive()
    }
}

impl ClientPort {
    /// Opens the port, inside a tokio runtime. Everything that happens comes out of the receiver; who stops
    /// reading it stops all clients.
    ///
    /// # Errors
    /// [`BindError`]: the socket, a setting, or an identity that isn't a server's.
    pub fn bind(config: ClientPortConfig) -> Result<(Self, mpsc::Receiver<ClientEvent>), BindError> {
        let ClientPortConfig { bind, identity, tuning, limits } = config;
        check_role(&identity)?;
        limits.check()?;
        // Clients open the one ordered stream and nothing else, whatever the tuning says.
        let transport = Arc::new(tuning.transport(0, Ipv4Addr::UNSPECIFIED.into())?);
        let server = server_config(tls::client_port(&identity)?, &transport, &limits);
        let (endpoint, port) = socket::endpoint(bind, &tuning, Some(server), Some(ResetKey::of(&identity)))?;
        let closing = CancellationToken::new();
        let (inbox, events) = Inbox::new(limits.events_max, limits.events_bytes_max, closing.clone());
        let shared = Arc::new(PortShared {
            endpoint,
            admission: Arc::new(Admission::new(limits.admission(), Instant::now())),
            limits,
            inbox,
            counters: ClientCounters::default(),
            closing,
            tasks: TaskTracker::new(),
            next_id: AtomicU64::new(1),
            port,
            transport,
        });
        shared.tasks.spawn(serve::accept_loop(shared.clone()));
        tracing::info!(identity = %identity.id(), address = ?shared.endpoint.local_addr().ok(), "client port open");
        Ok((Self { shared }, events))
    }

    /// The UDP address that it is bound to.
    ///
    /// # Errors
    /// [`BindError::Socket`] if the system doesn't say.
    pub fn local_addr(&self) -> Result<SocketAddr, BindError> {
        self.shared
            .endpoint
            .local_addr()
            .map_err(|source| BindError::Socket { address: SocketAddr::from(([0, 0, 0, 0], 0)), source })
    }

    /// Changes the certificate, from the next connection on.
    ///
    /// # Errors
    /// [`BindError::Identity`] if it isn't a server's; [`BindError::Tls`] if it can't be used.
    pub fn reload_identity(&self, identity: &Identity) -> Result<(), BindError> {
        check_role(identity)?;
        let server = server_config(tls::client_port(identity)?, &self.shared.transport, &self.shared.limits);
        self.shared.endpoint.set_server_config(Some(server));
        tracing::info!(identity = %identity.id(), "identity of the client port reloaded");
        Ok(())
    }

    /// Numbers of this port.
    pub fn stats(&self) -> ClientPortStats {
        self.shared.counters.stats(self.shared.admission.open())
    }

    /// Closes all connections with `reason`, ends all tasks, and gives the clients a moment to hear of it. No
    /// event comes after it.
    pub async fn close(self, reason: &str) {
        self.shared.shut_down(reason);
        self.shared.tasks.wait().await;
        let _ = tokio::time::timeout(CLOSE_WAIT, self.shared.endpoint.wait_idle()).await;
        let port = self.shared.port.clone();
        drop(self);
        port.released().await;
    }
}

impl PortShared {
    fn shut_down(&self, reason: &str) {
        self.closing.cancel();
        self.endpoint.close(CloseCode::Shutdown.var_int(), truncated(reason).as_bytes());
        self.tasks.close();
    }
}

impl Drop for ClientPort {
    fn drop(&mut self) {
        if !self.shared.closing.is_cancelled() {
            self.shared.shut_down("the client port was dropped");
        }
    }
}

fn server_config(
    tls: Arc<QuicServerConfig>,
    transport: &Arc<TransportConfig>,
    limits: &ClientLimits,
) -> ServerConfig {
    // What quinn holds of attempts that the accept loop hasn't seen yet.
    const INCOMING_BUFFER_BYTES_MAX: u64 = 8 * 1024 * 1024;
    let mut config = ServerConfig::with_crypto(tls);
    config
        .transport_config(transport.clone())
        .max_incoming(limits.connections_max)
        .incoming_buffer_size_total(INCOMING_BUFFER_BYTES_MAX);
    config
}

fn check_role(identity: &Identity) -> Result<(), BindError> {
    match identity.id().role.kind() {
        RoleKind::Server => Ok(()),
        found @ (RoleKind::Node | RoleKind::Coordinator) => Err(BindError::Identity(CertsError::WrongRole {
            origin: identity.origin().to_owned(),
            found,
            expected: RoleKind::Server,
        })),
    }
}
