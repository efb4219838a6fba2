//! What the players of one process share: the door's address, the trusted CA, one UDP socket.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use selvedge_protocol::handoff::client::{Client as Machine, ClientConfig};
use selvedge_protocol::time::Time;
use selvedge_transport::{BindError, ClientDialer, ClientLimits, ConnectError, Tuning};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::{Client, SessionTicket};
use crate::core::Core;
use crate::slot::Dial;
use crate::task;

/// Events of one connection that wait for the player's task; when full, nothing more is read from it.
const CONNECTION_EVENTS_MAX: usize = 256;

/// How players reach the world.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The coordinator's door.
    pub door_addr: SocketAddr,
    /// The TLS server name that the door proves.
    pub door_server_name: String,
    /// The certificate of the world's CA, PEM text.
    pub ca_pem: String,
    /// How QUIC is used. Start from [`Tuning::for_clients`].
    pub tuning: Tuning,
    /// How the machine waits and repeats.
    pub machine: ClientConfig,
    /// How long [`Client::logout`] waits for the world to say good-bye. Default 10 s.
    pub logout_patience: Duration,
}

impl ClientSettings {
    /// Settings with the defaults for all but where the world is and whom to trust.
    #[must_use]
    pub fn new(
        door_addr: SocketAddr,
        door_server_name: impl Into<String>,
        ca_pem: impl Into<String>,
    ) -> Self {
        Self {
            door_addr,
            door_server_name: door_server_name.into(),
            ca_pem: ca_pem.into(),
            tuning: Tuning::for_clients(),
            machine: ClientConfig::default(),
            logout_patience: Duration::from_secs(10),
        }
    }
}

/// Where players come from: any number of them, over one UDP socket. Cheap to clone.
///
/// Make several for some thousand players: one socket is served by one task of the runtime.
#[derive(Debug, Clone)]
pub struct ClientEndpoint {
    target: Arc<Target>,
    runtime: Handle,
    players: TaskTracker,
    closing: CancellationToken,
    machine: ClientConfig,
    logout_patience: Duration,
}

impl ClientEndpoint {
    /// Opens the socket, inside a tokio runtime, on which the players' tasks will run.
    ///
    /// # Errors
    /// [`BindError`]: no usable CA certificate, a setting, the socket, or no runtime.
    pub fn new(settings: ClientSettings) -> Result<Self, BindError> {
        let runtime = Handle::try_current().map_err(|_| BindError::NoRuntime)?;
        let limits = ClientLimits { events_max: CONNECTION_EVENTS_MAX, ..ClientLimits::default() };
        let dialer = ClientDialer::new(&settings.ca_pem, settings.tuning)?.with_limits(limits)?;
        Ok(Self {
            target: Arc::new(Target {
                dialer: Mutex::new(Some(Arc::new(dialer))),
                door_addr: settings.door_addr,
                door_server_name: settings.door_server_name,
                started: Instant::now(),
            }),
            runtime,
            players: TaskTracker::new(),
            closing: CancellationToken::new(),
            machine: settings.machine,
            logout_patience: settings.logout_patience,
        })
    }

    /// A player asks to enter the world as `name`. What comes of it is told by [`Client::next_event`].
    #[must_use]
    pub fn enter(&self, name: impl Into<String>, credential: impl Into<Vec<u8>>) -> Client {
        self.start(name.into(), credential.into(), None)
    }

    /// A player comes back to a session that another [`Client`], maybe of another process, has left behind: lingering or
    /// lost. Inputs go on behind those that the world has seen.
    #[must_use]
    pub fn resume(&self, ticket: SessionTicket) -> Client {
        self.start(String::new(), Vec::new(), Some(ticket))
    }

    fn start(&self, name: String, credential: Vec<u8>, ticket: Option<SessionTicket>) -> Client {
        let machine = Machine::new(self.machine.clone(), seed());
        let core = Arc::new(Mutex::new(Core::new(machine, self.target.clone(), ticket)));
        let client = Client::new(core.clone(), self.logout_patience);
        client.lock().enter(name, credential);
        let player = task::Player::new(core, self.target.clone());
        let closing = self.closing.clone();
        self.players.spawn_on(player.run(closing), &self.runtime);
        client
    }

    /// Drops every player's connections without logging them out, and waits until the servers know.
    pub async fn close(&self) {
        self.closing.cancel();
        self.players.close();
        self.players.wait().await;
        let dialer = self.target.lock_dialer().take();
        // No dial is under way any more, so this is the last owner.
        if let Some(dialer) = dialer.and_then(Arc::into_inner) {
            dialer.close("the client shuts down").await;
        }
    }
}

/// Random enough for the jitter of pauses; the standard library draws its hash keys from the operating system.
fn seed() -> u64 {
    RandomState::new().hash_one(())
}

/// What every player's core needs of the endpoint.
#[derive(Debug)]
pub(crate) struct Target {
    /// None once the endpoint is closed.
    dialer: Mutex<Option<Arc<ClientDialer>>>,
    door_addr: SocketAddr,
    door_server_name: String,
    started: Instant,
}

impl Target {
    /// The machines' clock: time since the endpoint was opened.
    pub(crate) fn now(&self) -> Time {
        Time::ZERO + self.started.elapsed()
    }

    pub(crate) fn instant_of(&self, at: Time) -> tokio::time::Instant {
        (self.started + at.since(Time::ZERO)).into()
    }

    pub(crate) fn dial_door(&self, question: Bytes) -> Dial {
        self.dial(self.door_addr, self.door_server_name.clone(), question)
    }

    pub(crate) fn dial(&self, address: SocketAddr, server_name: String, first: Bytes) -> Dial {
        let dialer = self.lock_dialer().clone();
        Box::pin(async move {
            let closed = || ConnectError::Failed { address, reason: "the endpoint is closed".to_owned() };
            dialer.ok_or_else(closed)?.connect(address, &server_name, first).await
        })
    }

    fn lock_dialer(&self) -> std::sync::MutexGuard<'_, Option<Arc<ClientDialer>>> {
        self.dialer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
