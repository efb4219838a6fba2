//! A running coordinator: endpoints, the machine's task, the HTTP server.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use selvedge_certs::{CertsError, Identity, RoleKind};
use selvedge_protocol::config::ConfigError;
use selvedge_protocol::coordinator::{Coordinator, CoordinatorImage, Record, RestoreError};
use selvedge_transport::{BindError, ClientPortConfig, HelloCheck, MeshConfig, MeshEndpoint};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::addresses::Addresses;
use crate::authenticator::Authenticator;
use crate::clock::Clock;
use crate::config::Settings;
use crate::disk::{DiskError, Folder, Ledger, RedbStore};
use crate::door_thread::{DoorError, DoorThread};
use crate::driver::{Driver, Inlets};
use crate::errands::Errands;
use crate::http;
use crate::links::{self, Lives};
use crate::questions::Desk;
use crate::store::{CharacterStore, MemoryStore};

/// How long HTTP requests under way hold up the end.
const HTTP_END_PATIENCE: Duration = Duration::from_secs(1);

/// Why a coordinator couldn't be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An identity is of another world or role.
    #[error(transparent)]
    Identity(#[from] CertsError),
    /// The machine refuses its settings.
    #[error("the settings are refused: {0}")]
    Config(#[from] ConfigError),
    /// The endpoint for nodes couldn't be opened.
    #[error("bind_mesh: {0}")]
    Mesh(#[source] BindError),
    /// The endpoint for players couldn't be opened.
    #[error("bind_door: {0}")]
    Door(#[source] DoorError),
    /// The HTTP server couldn't be opened.
    #[error("bind_http: cannot listen on TCP {address}: {source}; is another process on that port?")]
    Http {
        /// The address asked for.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The store can't be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The store could not be written.
    #[error("cannot write to the store: {0}; is the disk full, or the folder read-only?")]
    Unwritten(String),
    /// The operating system gave no random numbers.
    #[error("the operating system gave no random numbers: {0}")]
    Random(String),
}

/// A running coordinator. Dropping it stops it without waiting; [`stop`](Self::stop) waits.
pub struct CoordinatorService {
    addresses: Addresses,
    shutdown: CancellationToken,
    /// Cancels `shutdown` when the service is dropped.
    _stop: DropGuard,
    driver: JoinHandle<()>,
    http: JoinHandle<()>,
    mesh: MeshEndpoint,
    door: DoorThread,
}

impl fmt::Debug for CoordinatorService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoordinatorService").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl CoordinatorService {
    /// Opens the endpoints and starts the tasks on the current tokio runtime. A `current_thread` runtime of its own
    /// serves best.
    ///
    /// `characters` are kept in the settings' store, or in memory if there is none, unless another store is given.
    ///
    /// `identity` has the role coordinator, `door_identity` the role server; the settings' paths are not read here.
    ///
    /// # Errors
    /// [`StartError`], naming what couldn't be opened.
    pub async fn start(
        settings: &Settings,
        identity: Identity,
        door_identity: Identity,
        authenticator: Arc<dyn Authenticator>,
        characters: Option<Arc<dyn CharacterStore>>,
    ) -> Result<Self, StartError> {
        let open = |path| Folder::open(path, &settings.world, settings.store_reset);
        let folder = settings.store.as_deref().map(open).transpose()?;
        let store: Arc<dyn CharacterStore> = match (characters, &folder) {
            (Some(characters), _) => characters,
            (None, Some(folder)) => Arc::new(RedbStore::open(folder)?),
            (None, None) => Arc::new(MemoryStore::default()),
        };
        identity.require(&settings.world, RoleKind::Coordinator)?;
        door_identity.require(&settings.world, RoleKind::Server)?;
        let clock = Clock::start();
        let (machine, ledger) = remember(settings, folder, &clock)?;

        let world = settings.world.to_string();
        let term = machine.term();
        let hello = links::own_hello(&world, term);
        let lives = Lives::default();
        let known = lives.clone();
        let check: HelloCheck = Arc::new(move |peer, hello| links::check_hello(&world, &known, peer, hello));
        let (mesh, links) = MeshEndpoint::bind(
            MeshConfig {
                bind: settings.bind_mesh,
                identity: Arc::new(identity),
                hello,
                tuning: settings.mesh_tuning.clone(),
                limits: settings.mesh_limits.clone(),
            },
            check,
        )
        .map_err(StartError::Mesh)?;
        let (door_thread, door) = DoorThread::open(ClientPortConfig {
            bind: settings.bind_door,
            identity: Arc::new(door_identity),
            tuning: settings.door_tuning.clone(),
            limits: settings.door_limits.clone(),
        })
        .await
        .map_err(StartError::Door)?;
        let http_failed = |source| StartError::Http { address: settings.bind_http, source };
        let listener = TcpListener::bind(settings.bind_http).await.map_err(http_failed)?;
        let addresses = Addresses {
            mesh: settings.advertise_mesh.unwrap_or(mesh.local_addr().map_err(StartError::Mesh)?),
            door: settings.advertise_door.unwrap_or(door_thread.address),
            http: listener.local_addr().map_err(http_failed)?,
        };

        let shutdown = CancellationToken::new();
        let (desk, questions) = Desk::open();
        let driver = Driver::new(machine, clock, lives, Errands::new(authenticator, store), ledger);
        let inlets = Inlets { links, door, questions, shutdown: shutdown.clone() };
        let driver = tokio::spawn(stop_others(driver.run(inlets), shutdown.clone()));
        let http = tokio::spawn(serve(listener, desk, shutdown.clone()));
        tracing::info!(
            world = %settings.world, term = term.0, store = ?settings.store,
            mesh = %addresses.mesh, door = %addresses.door, http = %addresses.http,
            "coordinator started"
        );
        let stop = shutdown.clone().drop_guard();
        Ok(Self { addresses, shutdown, _stop: stop, driver, http, mesh, door: door_thread })
    }

    /// Where it is reached.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Cancelled once it stops, for whatever reason; cancel it to stop it.
    #[must_use]
    pub fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Stops, and waits until characters that are being saved are saved and the peers know.
    pub async fn stop(self) {
        self.shutdown.cancel();
        if let Err(error) = self.driver.await {
            tracing::error!(%error, "the machine's task failed");
        }
        let http = self.http.abort_handle();
        if tokio::time::timeout(HTTP_END_PATIENCE, self.http).await.is_err() {
            http.abort();
        }
        self.mesh.close("the coordinator shuts down").await;
        self.door.close().await;
        tracing::info!("coordinator stopped");
    }
}

/// However `task` ends, by a panic too, the rest is told to stop: a coordinator without its machine is none.
async fn stop_others(task: impl Future<Output = ()>, shutdown: CancellationToken) {
    let _stop = shutdown.drop_guard();
    task.await;
}

async fn serve(listener: TcpListener, desk: Desk, shutdown: CancellationToken) {
    let served = axum::serve(listener, http::router(desk)).with_graceful_shutdown(shutdown.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the HTTP server failed");
    }
}

/// A machine that goes on from what is kept, in a term that is durable before anybody hears of it.
fn remember(
    settings: &Settings,
    folder: Option<Folder>,
    clock: &Clock,
) -> Result<(Coordinator, Ledger), StartError> {
    let floor = clock.floor();
    let (ledger, image) = match folder {
        Some(folder) => Ledger::open(folder, floor)?,
        None => (Ledger::in_memory(), CoordinatorImage::beginning_at(floor)),
    };
    let seed = seed()?;
    let restore = |image| Coordinator::restored(settings.coordinator.clone(), image, clock.now(), seed);
    let (machine, ledger) = match restore(image) {
        Ok(machine) => (machine, ledger),
        Err(RestoreError::Config(error)) => return Err(error.into()),
        Err(error @ RestoreError::Image(_)) => {
            let (ledger, image) = ledger.begin_again(&error, floor)?;
            let machine = restore(image).map_err(|error| StartError::Unwritten(error.to_string()))?;
            (machine, ledger)
        }
    };
    ledger.commit_now(&[Record::Term(machine.term())]).map_err(StartError::Unwritten)?;
    Ok((machine, ledger))
}

fn seed() -> Result<[u8; 32], StartError> {
    use rand::TryRng;
    let mut seed = [0; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut seed).map_err(|error| StartError::Random(error.to_string()))?;
    Ok(seed)
}
