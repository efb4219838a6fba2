//! The node's two network threads: one for the mesh, which owns the core, and one for the clients' port.
//!
//! Clients are apart so that a flood of connections, or of nonsense, delays neither cutovers nor heartbeats.

mod clients;
mod connections;
mod hello;
mod links;
mod measure;
mod task;

use std::net::SocketAddr;
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread::{self, JoinHandle};

use selvedge_certs::{Identity, Role, server_name};
use selvedge_protocol::id::NodeId;
use selvedge_protocol::node::{GameReport, NodeSetup};
use selvedge_transport::{BindError, ClientPort, ClientPortConfig};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tracing::warn;

use crate::config::MeshNodeConfig;
use crate::shared::Shared;
use clients::ClientNews;
use connections::StateBatch;
use task::MeshTask;

/// How far behind the game and the mesh the clients' thread stands where it wants a core that they want, too: a nice value,
/// which gives it a third of their share. Higher, and players on a full machine are shown less often.
const CLIENTS_NICE: i32 = 5;
/// How much the mesh's thread comes before the game's, where the process may say so. A cutover that waits until a game has
/// captured or built something large is late by as much.
const MESH_NICE: i32 = -10;
/// Client events that wait for the mesh thread; when full, nothing more is read from clients.
const CLIENT_NEWS_MAX: usize = 4096;
/// Batches of states that wait for the clients' thread; when full, newer ones are dropped and counted.
const STATE_BATCHES_MAX: usize = 16;

/// Why a node can't be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Something that has no default wasn't given to the builder.
    #[error("{what} is missing: call MeshNodeBuilder::{method} before start")]
    Incomplete {
        /// What is missing.
        what: &'static str,
        /// Which method sets it.
        method: &'static str,
    },
    /// The identity is not a node's.
    #[error("the identity {identity} is not a node's: issue one with the role node")]
    NotANode {
        /// Whose it is.
        identity: String,
    },
    /// An endpoint can't be opened.
    #[error("the endpoint for {what} can't be opened: {source}")]
    Bind {
        /// Which endpoint.
        what: &'static str,
        /// Why not.
        source: BindError,
    },
    /// The bound address is of no use to others, and no other is advertised.
    #[error("nobody can reach {address}: set {setting} to an address that others can reach")]
    Unreachable {
        /// The bound address.
        address: SocketAddr,
        /// The setting that helps.
        setting: &'static str,
    },
    /// The coordinator's name can't be one.
    #[error(transparent)]
    CoordinatorName(#[from] selvedge_certs::NameError),
    /// The system gave no thread or no runtime.
    #[error("a network thread can't be started: {0}")]
    Thread(#[from] std::io::Error),
    /// A thread ended before it said how it went.
    #[error("a network thread ended while it started")]
    Died,
}

/// The running network side of a node.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) node: NodeId,
    pub(crate) mesh_addr: SocketAddr,
    pub(crate) client_addr: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

impl Network {
    /// Opens both endpoints and starts their threads.
    pub(crate) fn start(
        config: MeshNodeConfig,
        identity: Identity,
        client_identity: Identity,
        reports: mpsc::Receiver<GameReport>,
        shared: &Arc<Shared>,
    ) -> Result<Self, StartError> {
        let Role::Node(node) = identity.id().role.clone() else {
            return Err(StartError::NotANode { identity: identity.id().to_string() });
        };
        let node = NodeId::from(node);
        let server_name = server_name(client_identity.id());
        let (news, client_news) = mpsc::channel(CLIENT_NEWS_MAX);
        let (measurements, measured) = mpsc::channel(1);
        let (states, states_inbox) = mpsc::channel(STATE_BATCHES_MAX);
        let port = ClientPortConfig {
            bind: config.bind_clients,
            identity: Arc::new(client_identity),
            tuning: config.client_tuning.clone(),
            limits: config.client_limits.clone(),
        };
        let (clients_thread, client_addr) = start_thread("selvedge-clients", shared, |shared, ready| {
            move || run_clients(port, news, measurements, states_inbox, &shared, &ready)
        })?;
        let mesh = advertised(client_addr, config.advertise_clients, "advertise_clients (clients.advertise)")
            .and_then(|client_addr| {
                let setup = NodeSetup {
                    node,
                    process: rand::random(),
                    // Known once the mesh endpoint is bound.
                    mesh_addr: String::new(),
                    client_addr: client_addr.to_string(),
                    server_name,
                    config: config.core.clone(),
                    seed: rand::random(),
                };
                let inboxes = task::Inboxes { reports, client_news, measured };
                start_thread("selvedge-mesh", shared, |shared, ready| {
                    move || run_mesh(config, identity, setup, states, inboxes, shared, &ready)
                })
            });
        match mesh {
            Ok((mesh_thread, mesh_addr)) => {
                Ok(Self { node, mesh_addr, client_addr, threads: vec![mesh_thread, clients_thread] })
            }
            Err(error) => {
                shared.stop.cancel();
                join(clients_thread);
                Err(error)
            }
        }
    }

    /// Waits until both threads have ended; cancel `Shared::stop` before.
    pub(crate) fn join(&mut self) {
        self.threads.drain(..).for_each(join);
    }
}

fn join(thread: JoinHandle<()>) {
    let name = thread.thread().name().unwrap_or_default().to_owned();
    if thread.join().is_err() {
        warn!(thread = name, "a network thread panicked");
    }
}

/// How a thread says that its endpoint is open, or why not.
type Ready = std_mpsc::SyncSender<Result<SocketAddr, StartError>>;

fn start_thread<F: FnOnce() + Send + 'static>(
    name: &str,
    shared: &Arc<Shared>,
    body: impl FnOnce(Arc<Shared>, Ready) -> F,
) -> Result<(JoinHandle<()>, SocketAddr), StartError> {
    let (ready, opened) = std_mpsc::sync_channel(1);
    let body = body(Arc::clone(shared), ready);
    let stop = shared.stop.clone();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        // However the thread ends, the node ends with it.
        let _guard = stop.drop_guard();
        body();
    })?;
    match opened.recv() {
        Ok(Ok(address)) => Ok((thread, address)),
        Ok(Err(error)) => {
            join(thread);
            Err(error)
        }
        Err(_) => Err(StartError::Died),
    }
}

/// Lets the threads of the game and the mesh go first where cores are few: a state that waits for a cutover is late by
/// milliseconds, a cutover that waits for a tick's states to fifty clients delays one of them by as much as all of these take.
fn give_way() {
    if let Err(cause) = rustix::process::nice(CLIENTS_NICE) {
        tracing::debug!(%cause, "the kernel ranks the clients' thread with the others: cutovers wait for it on a full machine");
    }
}

/// Lets cutovers go before whatever the game is at, on a core that they share. It needs a privilege that a process rarely has,
/// and does without it.
fn go_first() {
    if let Err(cause) = rustix::process::nice(MESH_NICE) {
        tracing::debug!(%cause, "the kernel ranks the mesh's thread with the game's: on a full machine cutovers wait for it (CAP_SYS_NICE lets it go first)");
    }
}

fn run_clients(
    port: ClientPortConfig,
    news: mpsc::Sender<ClientNews>,
    measurements: mpsc::Sender<bytes::Bytes>,
    states: mpsc::Receiver<StateBatch>,
    shared: &Arc<Shared>,
    ready: &Ready,
) {
    let Some(runtime) = runtime(ready) else { return };
    give_way();
    let bind_failed = |source| StartError::Bind { what: "clients", source };
    runtime.block_on(async {
        let opened = ClientPort::bind(port).and_then(|(port, events)| Ok((port.local_addr()?, port, events)));
        let (address, port, events) = match opened {
            Ok(opened) => opened,
            Err(source) => return drop(ready.send(Err(bind_failed(source)))),
        };
        drop(ready.send(Ok(address)));
        tokio::spawn(measure::run(Arc::clone(shared), measurements));
        tokio::spawn(connections::send_states(states, Arc::clone(shared)));
        clients::run(events, news, shared).await;
        port.close("the node stops").await;
    });
}

fn run_mesh(
    config: MeshNodeConfig,
    identity: Identity,
    setup: NodeSetup,
    states: mpsc::Sender<StateBatch>,
    inboxes: task::Inboxes,
    shared: Arc<Shared>,
    ready: &Ready,
) {
    let Some(runtime) = runtime(ready) else { return };
    go_first();
    runtime.block_on(async {
        match MeshTask::open(&config, identity, setup, states, shared) {
            Ok((task, links, address)) => {
                drop(ready.send(Ok(address)));
                // A task like those of the sockets: what wakes it from within needs no look at the kernel's events first.
                let ended = tokio::spawn(task.run(links, inboxes)).await;
                if let Err(Ok(panic)) = ended.map_err(tokio::task::JoinError::try_into_panic) {
                    std::panic::resume_unwind(panic);
                }
            }
            Err(error) => drop(ready.send(Err(error))),
        }
    });
}

fn runtime(ready: &Ready) -> Option<Runtime> {
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            drop(ready.send(Err(StartError::Thread(error))));
            None
        }
    }
}

/// The address to tell others.
fn advertised(
    bound: SocketAddr,
    advertise: Option<SocketAddr>,
    setting: &'static str,
) -> Result<SocketAddr, StartError> {
    let mut address = advertise.unwrap_or(bound);
    if address.ip().is_unspecified() {
        return Err(StartError::Unreachable { address, setting });
    }
    if address.port() == 0 {
        address.set_port(bound.port());
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_advertised_can_be_reached() {
        let bound: SocketAddr = "0.0.0.0:7300".parse().unwrap();
        assert!(advertised(bound, None, "x").is_err());
        let named = advertised(bound, Some("10.0.0.7:0".parse().unwrap()), "x").unwrap();
        assert_eq!(named, SocketAddr::from(([10, 0, 0, 7], 7300)));
        let mapped = advertised(bound, Some("10.0.0.7:99".parse().unwrap()), "x").unwrap();
        assert_eq!(mapped, SocketAddr::from(([10, 0, 0, 7], 99)));
    }
}
