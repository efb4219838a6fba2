//! Keeping a link up: dialling a peer until it answers, and again whenever the link is lost.

use std::sync::Arc;
use std::time::Duration;

use quinn::{ClientConfig, Connection};
use tokio::time::Instant;

use crate::close::CloseCode;
use crate::hello::{Hello, encode_confirm};
use crate::limits::STABLE_LINK;
use crate::mesh::endpoint::MeshShared;
use crate::mesh::event::LinkEvent;
use crate::mesh::handshake::{ControlStream, HandshakeError, certified_peer, check_hello, own_hello};
use crate::mesh::registry::{Attempt, Current, DialLoop, NextDial};
use crate::mesh::run;
use crate::ordered::write_now;
use crate::peer::PeerName;

/// Dials `peer` whenever it should be linked and isn't, until it is dropped or the endpoint closes.
pub(crate) async fn dial_loop(mesh: Arc<MeshShared>, peer: PeerName, handle: DialLoop) {
    let working = async {
        let mut backoff = Backoff::default();
        loop {
            let next = mesh.registry().begin_dial(&peer, rand::random());
            match next {
                NextDial::Stop => return,
                NextDial::Wait => {
                    handle.changed.notified().await;
                    backoff.pause_after_link(&mesh, &peer).await;
                }
                NextDial::Dial { attempt, address, lost } => {
                    let connection = attempt.connection;
                    let result = dial(&mesh, &peer, attempt, address, lost).await;
                    mesh.registry().end_dial(&peer, connection);
                    match result {
                        Ok(()) => backoff.linked(),
                        Err(error) => backoff.failed(&mesh, &peer, &error, &handle).await,
                    }
                }
            }
        }
    };
    tokio::select! {
        () = working => {}
        () = handle.cancel.cancelled() => {}
        () = mesh.closing.cancelled() => {}
    }
}

/// One attempt, with its time limit.
async fn dial(
    mesh: &Arc<MeshShared>,
    peer: &PeerName,
    attempt: Attempt,
    address: std::net::SocketAddr,
    lost: u64,
) -> Result<(), HandshakeError> {
    let mut connection = None;
    let establishing = establish(mesh, peer, &attempt, address, lost, &mut connection);
    let result = tokio::select! {
        biased;
        result = tokio::time::timeout(mesh.tuning.hello_timeout, establishing) => {
            result.unwrap_or(Err(HandshakeError::TimedOut))
        }
        () = attempt.abort.cancelled() => Err(HandshakeError::Duplicate),
    };
    if let (Err(error), Some(connection)) = (&result, &connection) {
        error.tell(connection);
    }
    result
}

/// Takes a connection through its hello. It is put into `established` as soon as there is one to tell an error on.
async fn establish(
    mesh: &Arc<MeshShared>,
    peer: &PeerName,
    attempt: &Attempt,
    address: std::net::SocketAddr,
    lost: u64,
    established: &mut Option<Connection>,
) -> Result<(), HandshakeError> {
    let mut config = ClientConfig::new(mesh.tls().client);
    config.transport_config(mesh.transports.to(address.ip()));
    let server_name = selvedge_certs::server_name(peer.id());
    let connection = mesh.endpoint.connect_with(config, address, &server_name)?.await?;
    *established = Some(connection.clone());
    let certified = certified_peer(&connection)?;
    if certified != *peer {
        return Err(HandshakeError::Refused(format!("dialled {peer}, but {certified} answered")));
    }
    let (send, recv) = connection.open_bi().await?;
    let mut control = ControlStream::new(send, recv);
    control.write(own_hello(mesh, attempt.connection, lost).encode()).await?;
    let hello = control.read_hello().await?;
    check_hello(mesh, peer, &hello)?;
    if hello.connection != attempt.connection {
        return Err(HandshakeError::Refused("the peer answered another connection's hello".to_owned()));
    }
    confirm(mesh, connection, control, peer, hello)
}

/// Makes the connection the link and says so to the peer, as one step: nothing else is decided meanwhile.
fn confirm(
    mesh: &Arc<MeshShared>,
    connection: Connection,
    control: ControlStream,
    peer: &PeerName,
    hello: Hello,
) -> Result<(), HandshakeError> {
    let ControlStream { mut send, frames } = control;
    let mut link = None;
    let promoted = mesh.registry().promote(peer, hello.connection, || {
        let mut pieces = crate::frame::prefixed(encode_confirm(), bytes::Bytes::new());
        // The stream is fresh, so this fits; if the connection is gone, the link's end tells.
        let _ = write_now(&mut send, &mut pieces);
        let link = link.insert(mesh.new_link(peer.clone(), connection.clone(), send)).clone();
        Current {
            connection: hello.connection,
            instance: hello.instance,
            payload: hello.payload.clone(),
            link,
        }
    });
    match (promoted, link) {
        (Some(promoted), Some(link)) => {
            run::start(mesh, link, frames, hello, promoted);
            Ok(())
        }
        _ => {
            crate::close::close(
                &connection,
                CloseCode::Duplicate.var_int(),
                "another connection to this peer stays",
            );
            Err(HandshakeError::Duplicate)
        }
    }
}

/// How long to wait for the next attempt, and what was said about the last ones.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
    linked_at: Option<Instant>,
    told: Option<String>,
}

impl Backoff {
    fn linked(&mut self) {
        self.linked_at = Some(Instant::now());
        self.told = None;
    }

    /// A link that held a while was a success; one that broke at once counts as a failed attempt.
    async fn pause_after_link(&mut self, mesh: &MeshShared, peer: &PeerName) {
        if mesh.registry().link(peer).is_some() {
            self.linked_at.get_or_insert_with(Instant::now);
            return;
        }
        let Some(linked_at) = self.linked_at.take() else { return };
        if linked_at.elapsed() >= STABLE_LINK {
            self.failures = 0;
            return;
        }
        tokio::time::sleep(self.next_pause(mesh)).await;
    }

    async fn failed(
        &mut self,
        mesh: &MeshShared,
        peer: &PeerName,
        error: &HandshakeError,
        handle: &DialLoop,
    ) {
        if error.is_duplicate() {
            mesh.counters.duplicates.increment();
            tracing::debug!(%peer, reason = %error, "dial gave way to another connection");
        } else {
            mesh.counters.dials_failed.increment();
            self.tell(mesh, peer, error).await;
        }
        tokio::select! {
            () = tokio::time::sleep(self.next_pause(mesh)) => {}
            // A new address, or the peer has dialled us meanwhile.
            () = handle.changed.notified() => {}
        }
    }

    /// Reports a reason once, not at every attempt.
    async fn tell(&mut self, mesh: &MeshShared, peer: &PeerName, error: &HandshakeError) {
        let reason = error.to_string();
        let refused = error.is_refusal();
        if self.told.as_ref() == Some(&reason) {
            tracing::debug!(%peer, reason, refused, failures = self.failures, "peer still can't be linked");
            return;
        }
        tracing::warn!(%peer, reason, refused, "peer can't be linked, trying on");
        self.told = Some(reason.clone());
        let event = LinkEvent::DialFailed { peer: peer.clone(), reason, refused };
        let _ = mesh.inbox.deliver(event, 0).await;
    }

    /// Doubles from pause to pause up to the longest, with half of it left to chance.
    fn next_pause(&mut self, mesh: &MeshShared) -> Duration {
        let longest = mesh.tuning.reconnect_max;
        let pause = mesh.tuning.reconnect_min.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures = self.failures.saturating_add(1);
        pause.mul_f64(rand::random_range(0.5..1.0))
    }
}
