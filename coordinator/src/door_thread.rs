//! The players' door on a thread of its own: a flood of connections there must not delay heartbeats or preparations.

use std::io;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};

use selvedge_transport::{BindError, ClientEvent, ClientPort, ClientPortConfig};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Why the door couldn't be opened.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Its endpoint couldn't be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system gave no thread or no runtime.
    #[error("its thread can't be started: {0}")]
    Thread(#[from] io::Error),
    /// The thread ended before it said how it went.
    #[error("its thread ended while it started")]
    Died,
}

/// The running thread. Dropping it closes the door without waiting.
#[derive(Debug)]
pub(crate) struct DoorThread {
    pub(crate) address: SocketAddr,
    closed: DropGuard,
    thread: JoinHandle<()>,
}

type Opened = (SocketAddr, mpsc::Receiver<ClientEvent>);

impl DoorThread {
    /// Opens the door; what happens at it comes through the receiver.
    pub(crate) async fn open(
        config: ClientPortConfig,
    ) -> Result<(Self, mpsc::Receiver<ClientEvent>), DoorError> {
        let (ready, opened) = oneshot::channel();
        let closed = CancellationToken::new();
        let until = closed.clone();
        let thread = thread::Builder::new()
            .name("selvedge-door".to_owned())
            .spawn(move || run(config, ready, &until))?;
        let (address, events) = opened.await.map_err(|_| DoorError::Died)??;
        Ok((Self { address, closed: closed.drop_guard(), thread }, events))
    }

    /// Closes the door and waits until its thread has ended.
    pub(crate) async fn close(self) {
        drop(self.closed);
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the door's thread failed");
        }
    }
}

fn run(
    config: ClientPortConfig,
    ready: oneshot::Sender<Result<Opened, DoorError>>,
    until: &CancellationToken,
) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error.into()))),
    };
    runtime.block_on(async {
        let opened =
            ClientPort::bind(config).and_then(|(port, events)| Ok((port.local_addr()?, port, events)));
        let (address, port, events) = match opened {
            Ok(opened) => opened,
            Err(error) => return drop(ready.send(Err(error.into()))),
        };
        drop(ready.send(Ok((address, events))));
        until.cancelled().await;
        port.close("the coordinator shuts down").await;
    });
}
