//! The public handle of the mesh side.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quinn::{Connection, Endpoint, SendStream, ServerConfig};
use selvedge_certs::{CertsError, Identity, RoleKind};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::HELLO_PAYLOAD_BYTES_MAX;
use crate::close::{CloseCode, truncated};
use crate::error::BindError;
use crate::inbox::Inbox;
use crate::limits::{CLOSE_WAIT, MeshLimits};
use crate::mesh::event::LinkEvent;
use crate::mesh::link::{Link, LinkShared};
use crate::mesh::registry::Registry;
use crate::mesh::stats::{MeshCounters, MeshStats};
use crate::mesh::{accept, dial};
use crate::peer::PeerName;
use crate::reset::ResetKey;
use crate::socket::{self, PortWatch};
use crate::tls::{self, MeshTls};
use crate::tuning::{Transports, Tuning};

/// Judges a peer's hello: `Err` says why it is refused, in words that a person at the other end can act on.
///
/// Called on the endpoint's runtime, so it has to be quick.
pub type HelloCheck = Arc<dyn Fn(&PeerName, &[u8]) -> Result<(), String> + Send + Sync>;

/// How to open a mesh endpoint.
#[derive(Debug, Clone)]
pub struct MeshConfig {
    /// The UDP address to listen on and to dial from.
    pub bind: SocketAddr,
    /// Who this process is: a node or a coordinator.
    pub identity: Arc<Identity>,
    /// The core's hello, at most [`HELLO_PAYLOAD_BYTES_MAX`] bytes.
    pub hello: Bytes,
    /// How QUIC is used.
    pub tuning: Tuning,
    /// What is bounded, and how far.
    pub limits: MeshLimits,
}

/// One process's end of the mesh: accepts and keeps links, one per peer.
///
/// Runs on the tokio runtime that it was opened in. Dropping it closes everything without telling the peers
/// much; [`MeshEndpoint::close`] is the orderly way.
pub struct MeshEndpoint {
    shared: Arc<MeshShared>,
}

/// What the tasks of an endpoint share.
pub(crate) struct MeshShared {
    pub(crate) name: PeerName,
    /// Drawn at random when the endpoint is opened, so that a peer notices a restart.
    pub(crate) instance: u64,
    pub(crate) hello_check: HelloCheck,
    pub(crate) tuning: Tuning,
    pub(crate) limits: MeshLimits,
    pub(crate) transports: Transports,
    pub(crate) endpoint: Endpoint,
    pub(crate) inbox: Inbox<LinkEvent>,
    pub(crate) counters: MeshCounters,
    pub(crate) closing: CancellationToken,
    pub(crate) tasks: TaskTracker,
    port: PortWatch,
    runtime: Handle,
    hello: Mutex<Bytes>,
    tls: Mutex<MeshTls>,
    registry: Mutex<Registry>,
}

impl MeshShared {
    /// The registry. Never held over an `.await`.
    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        lock(&self.registry)
    }

    pub(crate) fn hello(&self) -> Bytes {
        lock(&self.hello).clone()
    }

    pub(crate) fn tls(&self) -> MeshTls {
        lock(&self.tls).clone()
    }

    pub(crate) fn new_link(
        &self,
        peer: PeerName,
        connection: Connection,
        control: SendStream,
    ) -> Arc<LinkShared> {
        Arc::new(LinkShared::new(
            peer,
            connection,
            control,
            &self.limits,
            self.tuning.datagram_send_buffer_bytes,
        ))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for MeshEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshEndpoint").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

impl MeshEndpoint {
    /// Opens the endpoint, inside a tokio runtime. Everything that happens comes out of the receiver; who
    /// stops reading it stops all links.
    ///
    /// # Errors
    /// [`BindError`]: the socket, a setting, or an identity that isn't a node's or a coordinator's.
    pub fn bind(
        config: MeshConfig,
        hello_check: HelloCheck,
    ) -> Result<(Self, mpsc::Receiver<LinkEvent>), BindError> {
        let MeshConfig { bind, identity, hello, tuning, limits } = config;
        check_role(&identity)?;
        check_hello_size(&hello)?;
        tuning.check()?;
        limits.check(&tuning)?;
        let transports = Transports::new(&tuning, tuning.streams_max)?;
        let tls = tls::mesh(&identity, tuning.resume_sessions)?;
        let server = ServerConfig::with_crypto(tls.server.clone());
        let reset = ResetKey::of(&identity);
        let (endpoint, port) = socket::endpoint(bind, &tuning, Some(server), Some(reset))?;
        let closing = CancellationToken::new();
        let (inbox, events) = Inbox::new(limits.events_max, limits.events_bytes_max, closing.clone());
        let shared = Arc::new(MeshShared {
            name: PeerName::new(identity.id().clone()),
            instance: rand::random(),
            hello_check,
            tuning,
            limits,
            transports,
            endpoint,
            inbox,
            counters: MeshCounters::default(),
            closing,
            tasks: TaskTracker::new(),
            port,
            runtime: Handle::current(),
            hello: Mutex::new(hello),
            tls: Mutex::new(tls),
            registry: Mutex::default(),
        });
        shared.tasks.spawn(accept::accept_loop(shared.clone()));
        tracing::info!(name = %shared.name, address = ?shared.endpoint.local_addr().ok(), "mesh endpoint open");
        Ok((Self { shared }, events))
    }

    /// Who this endpoint is.
    pub fn name(&self) -> &PeerName {
        &self.shared.name
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

    /// Keeps a link to `peer` up: dials it at `address` whenever there is none, with growing, jittered pauses.
    ///
    /// A second call changes the address for the attempts to come. Both ends of a pair may do this: two dials at
    /// once end in one link. Can be called from any thread.
    pub fn keep_link(&self, peer: PeerName, address: SocketAddr) {
        if self.shared.closing.is_cancelled() {
            return;
        }
        let dial_loop = self.shared.registry().keep(&peer, address);
        if let Some(dial_loop) = dial_loop {
            let task = dial::dial_loop(self.shared.clone(), peer, dial_loop);
            self.shared.tasks.spawn_on(task, &self.shared.runtime);
        }
    }

    /// Keeps the link to `peer` no longer and closes it. The peer may dial again: the hello check is the place to refuse it.
    pub fn drop_link(&self, peer: &PeerName) {
        let link = self.shared.registry().discard(peer);
        if let Some(link) = link {
            link.close(CloseCode::Dropped, "the link is no longer wanted");
        }
    }

    /// The link to `peer`, if it is up.
    pub fn link(&self, peer: &PeerName) -> Option<Link> {
        self.shared.registry().link(peer).map(Link)
    }

    /// Changes the core's hello, from the next handshake on. Links that are up stay as they are.
    ///
    /// # Errors
    /// [`BindError::Setting`] if it is longer than [`HELLO_PAYLOAD_BYTES_MAX`].
    pub fn set_hello(&self, hello: Bytes) -> Result<(), BindError> {
        check_hello_size(&hello)?;
        *lock(&self.shared.hello) = hello;
        Ok(())
    }

    /// Changes the certificate, from the next handshake on. Links that are up stay as they are.
    ///
    /// # Errors
    /// [`BindError::OtherIdentity`] if it is somebody else's; [`BindError::Tls`] if it can't be used.
    pub fn reload_identity(&self, identity: &Identity) -> Result<(), BindError> {
        if identity.id() != self.shared.name.id() {
            return Err(BindError::OtherIdentity {
                expected: self.shared.name.to_string(),
                found: identity.id().to_string(),
            });
        }
        let tls = tls::mesh(identity, self.shared.tuning.resume_sessions)?;
        self.shared.endpoint.set_server_config(Some(ServerConfig::with_crypto(tls.server.clone())));
        *lock(&self.shared.tls) = tls;
        tracing::info!(name = %self.shared.name, "identity reloaded");
        Ok(())
    }

    /// Numbers of this endpoint.
    pub fn stats(&self) -> MeshStats {
        let links = self.shared.registry().links();
        self.shared.counters.stats(links)
    }

    /// Closes all links with `reason`, ends all tasks, and gives the peers a moment to hear of it. No event
    /// comes after it; `Down` isn't told for the links that this closes. The UDP port is free afterwards,
    /// unless somebody still holds a [`Link`].
    pub async fn close(self, reason: &str) {
        self.shared.shut_down(reason);
        self.shared.tasks.wait().await;
        // A peer that doesn't answer any more is no reason to stay.
        let _ = tokio::time::timeout(CLOSE_WAIT, self.shared.endpoint.wait_idle()).await;
        let port = self.shared.port.clone();
        drop(self);
        port.released().await;
    }
}

impl MeshShared {
    fn shut_down(&self, reason: &str) {
        self.closing.cancel();
        self.registry().stop_dialling();
        self.endpoint.close(CloseCode::Shutdown.var_int(), truncated(reason).as_bytes());
        self.tasks.close();
    }
}

impl Drop for MeshEndpoint {
    fn drop(&mut self) {
        if !self.shared.closing.is_cancelled() {
            self.shared.shut_down("the endpoint was dropped");
        }
    }
}

fn check_role(identity: &Identity) -> Result<(), BindError> {
    match identity.id().role.kind() {
        RoleKind::Node | RoleKind::Coordinator => Ok(()),
        found @ RoleKind::Server => Err(BindError::Identity(CertsError::WrongRole {
            origin: identity.origin().to_owned(),
            found,
            expected: RoleKind::Node,
        })),
    }
}

fn check_hello_size(hello: &Bytes) -> Result<(), BindError> {
    if hello.len() <= HELLO_PAYLOAD_BYTES_MAX {
        return Ok(());
    }
    let cause = format!("{} bytes are more than {HELLO_PAYLOAD_BYTES_MAX}", hello.len());
    Err(BindError::Setting { setting: "hello", cause })
}
