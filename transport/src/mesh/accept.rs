//! Connections that peers dial.

use std::sync::Arc;
use std::time::Instant;

use quinn::{Connection, Incoming, ServerConfig};

use crate::admission::{Admission, Admitted, Place};
use crate::hello::Hello;
use crate::limits::SIMULTANEOUS_DIAL_WAIT;
use crate::mesh::endpoint::MeshShared;
use crate::mesh::failures::FailureLog;
use crate::mesh::handshake::{ControlStream, HandshakeError, certified_peer, check_hello, own_hello};
use crate::mesh::registry::{Attempt, Current, Verdict};
use crate::mesh::run;
use crate::peer::PeerName;

/// Accepts until the endpoint closes.
pub(crate) async fn accept_loop(mesh: Arc<MeshShared>) {
    let admission = Arc::new(Admission::new(mesh.limits.admission(), Instant::now()));
    let failures = Arc::new(FailureLog::new(Instant::now()));
    while let Some(incoming) = mesh.endpoint.accept().await {
        let address = incoming.remote_address().ip();
        match admission.judge(address, incoming.remote_address_validated(), Instant::now()) {
            Admitted::Yes(place) => {
                let task = accept(mesh.clone(), failures.clone(), incoming);
                mesh.tasks.spawn(async move {
                    task.await;
                    drop::<Place>(place);
                });
            }
            Admitted::Retry => {
                mesh.counters.handshake_retries.increment();
                if let Err(error) = incoming.retry() {
                    error.into_incoming().refuse();
                }
            }
            Admitted::Refused(refusal) => {
                mesh.counters.handshakes_refused.increment();
                tracing::debug!(%address, ?refusal, "incoming handshake refused");
                incoming.refuse();
            }
        }
    }
}

async fn accept(mesh: Arc<MeshShared>, failures: Arc<FailureLog>, incoming: Incoming) {
    let remote = incoming.remote_address();
    let mut connection = None;
    let establishing = establish(&mesh, incoming, &mut connection);
    let result = tokio::select! {
        result = tokio::time::timeout(mesh.tuning.hello_timeout, establishing) => {
            result.unwrap_or(Err(HandshakeError::TimedOut))
        }
        () = mesh.closing.cancelled() => return,
    };
    let Err(error) = result else { return };
    if let Some(connection) = &connection {
        error.tell(connection);
    }
    if error.is_duplicate() {
        mesh.counters.duplicates.increment();
        tracing::debug!(%remote, reason = %error, "incoming connection gave way to another");
        return;
    }
    mesh.counters.accepts_failed.increment();
    if matches!(error, HandshakeError::Refused(_)) {
        mesh.counters.hellos_refused.increment();
    }
    failures.warn(remote, connection.as_ref(), &error);
}

/// Takes a connection through its hello. It is put into `established` as soon as there is one to tell an error on.
async fn establish(
    mesh: &Arc<MeshShared>,
    incoming: Incoming,
    established: &mut Option<Connection>,
) -> Result<(), HandshakeError> {
    let mut config = ServerConfig::with_crypto(mesh.tls().server);
    config.transport_config(mesh.transports.to(incoming.remote_address().ip()));
    let connection = incoming.accept_with(Arc::new(config))?.await?;
    *established = Some(connection.clone());
    let peer = certified_peer(&connection)?;
    let (send, recv) = connection.accept_bi().await?;
    let mut control = ControlStream::new(send, recv);
    let hello = control.read_hello().await?;
    check_hello(mesh, &peer, &hello)?;

    let attempt = admit(mesh, &peer, &hello).await?;
    // Whatever happens from here on, the attempt leaves the registry.
    let pending = Pending { mesh, peer: &peer, connection: attempt.connection };
    tokio::select! {
        result = confirm(mesh, &mut control, attempt.connection) => result?,
        () = attempt.abort.cancelled() => return Err(HandshakeError::Duplicate),
    }
    let result = promote(mesh, connection, control, &peer, hello);
    drop(pending);
    result
}

/// Asks the registry, and waits for our own dial to the same peer if that is under way.
async fn admit(mesh: &MeshShared, peer: &PeerName, hello: &Hello) -> Result<Attempt, HandshakeError> {
    let mut waited = false;
    loop {
        let verdict = mesh.registry().judge(&mesh.name, peer, hello, waited);
        match verdict {
            Verdict::Accept(attempt) => return Ok(attempt),
            Verdict::Duplicate => return Err(HandshakeError::Duplicate),
            Verdict::WaitFor(over) => {
                let _ = tokio::time::timeout(SIMULTANEOUS_DIAL_WAIT, over.cancelled()).await;
                waited = true;
            }
        }
    }
}

async fn confirm(
    mesh: &MeshShared,
    control: &mut ControlStream,
    connection: u64,
) -> Result<(), HandshakeError> {
    control.write(own_hello(mesh, connection, 0).encode()).await?;
    control.read_confirm().await
}

fn promote(
    mesh: &Arc<MeshShared>,
    connection: Connection,
    control: ControlStream,
    peer: &PeerName,
    hello: Hello,
) -> Result<(), HandshakeError> {
    let ControlStream { send, frames } = control;
    let link = mesh.new_link(peer.clone(), connection, send);
    let promoted = mesh.registry().promote(peer, hello.connection, || Current {
        connection: hello.connection,
        instance: hello.instance,
        payload: hello.payload.clone(),
        link: link.clone(),
    });
    let Some(promoted) = promoted else { return Err(HandshakeError::Duplicate) };
    run::start(mesh, link, frames, hello, promoted);
    Ok(())
}

/// Takes an accepted connection out of the registry again, unless it has become the link.
struct Pending<'a> {
    mesh: &'a MeshShared,
    peer: &'a PeerName,
    connection: u64,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.mesh.registry().fail_accept(&self.mesh.name, self.peer, self.connection);
    }
}
