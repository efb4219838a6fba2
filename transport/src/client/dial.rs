//! The client's end: one UDP socket for any number of connections to servers.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, TransportConfig};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::connection::ClientConnection;
use crate::close::{self, CloseCode, truncated};
use crate::error::{BindError, ConnectError};
use crate::frame::{FrameError, FrameReader, prefixed};
use crate::inbox::Inbox;
use crate::limits::{CLOSE_WAIT, ClientLimits};
use crate::ordered::write_all;
use crate::tuning::Tuning;
use crate::{socket, tls};

/// Something that happened on a connection to a server. `Closed` comes last.
#[derive(Debug)]
pub enum DialEvent {
    /// A message, in the order of sending.
    Message(Bytes),
    /// A datagram. Datagrams may be lost, doubled or out of order.
    Datagram(Bytes),
    /// The connection is gone.
    Closed {
        /// The code that the server closed with, if it did; under 256 it is one of [`CloseCode`]'s.
        code: Option<u64>,
        /// Why, in one sentence.
        reason: String,
    },
}

/// Connects to servers of one mesh: verifies that they have a server's certificate from its CA.
///
/// Runs on the tokio runtime that it was made in.
pub struct ClientDialer {
    endpoint: Endpoint,
    tls: Arc<QuicClientConfig>,
    transport: Arc<TransportConfig>,
    tuning: Tuning,
    limits: ClientLimits,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl fmt::Debug for ClientDialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientDialer")
            .field("address", &self.endpoint.local_addr().ok())
            .finish_non_exhaustive()
    }
}

impl ClientDialer {
    /// A dialer that trusts the CA certificates in `ca_pem`, on a UDP port of the system's choice.
    ///
    /// # Errors
    /// [`BindError`]: no usable CA certificate, a setting, or the socket.
    pub fn new(ca_pem: &str, tuning: Tuning) -> Result<Self, BindError> {
        let transport = Arc::new(tuning.transport(0, Ipv4Addr::UNSPECIFIED.into())?);
        Ok(Self {
            endpoint: socket::any_endpoint(&tuning)?.0,
            tls: tls::client_dialer(roots(ca_pem)?)?,
            transport,
            tuning,
            limits: ClientLimits::default(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// This, with other limits for the connections to come. Of the limits, those on messages, queues and
    /// events count here.
    ///
    /// # Errors
    /// [`BindError::Setting`] if they don't go together.
    pub fn with_limits(mut self, limits: ClientLimits) -> Result<Self, BindError> {
        limits.check()?;
        self.limits = limits;
        Ok(self)
    }

    /// Connects to the server at `address`, which must have a certificate for `server_name` (a DNS name or an IP address
    /// in it), and sends `first`. It may still be refused: then [`DialEvent::Closed`] says why. Dropping the
    /// receiver closes the connection.
    ///
    /// # Errors
    /// [`ConnectError`]: not reachable in the time limit, not who it should be, or too busy.
    pub async fn connect(
        &self,
        address: SocketAddr,
        server_name: &str,
        first: Bytes,
    ) -> Result<(ClientConnection, mpsc::Receiver<DialEvent>), ConnectError> {
        let (bytes, bytes_max) = (first.len(), self.limits.message_bytes_max);
        if bytes > bytes_max {
            return Err(ConnectError::FirstMessage { bytes, bytes_max });
        }
        let failed = |reason: String| ConnectError::Failed { address, reason };
        tokio::time::timeout(self.tuning.hello_timeout, self.establish(address, server_name, first))
            .await
            .unwrap_or_else(|_| Err(failed("no answer within the time limit".to_owned())))
    }

    async fn establish(
        &self,
        address: SocketAddr,
        server_name: &str,
        first: Bytes,
    ) -> Result<(ClientConnection, mpsc::Receiver<DialEvent>), ConnectError> {
        let failed =
            |error: ConnectionError| ConnectError::Failed { address, reason: close::describe(&error) };
        let mut config = ClientConfig::new(self.tls.clone());
        config.transport_config(self.transport.clone());
        let connecting = self.endpoint.connect_with(config, address, server_name).map_err(|error| {
            ConnectError::Target { address, server_name: server_name.to_owned(), cause: error.to_string() }
        })?;
        let connection = connecting.await.map_err(failed)?;
        let (mut send, recv) = connection.open_bi().await.map_err(failed)?;
        write_all(&mut send, &mut prefixed(first, Bytes::new()))
            .await
            .map_err(|error| ConnectError::Failed { address, reason: error.to_string() })?;

        let client = ClientConnection::new(connection, send, &self.limits);
        let (inbox, events) =
            Inbox::new(self.limits.events_max, self.limits.events_bytes_max, self.closing.clone());
        let frames = FrameReader::new(recv, self.limits.message_bytes_max);
        self.tasks.spawn(run(client.clone(), frames, Arc::new(inbox)));
        Ok((client, events))
    }

    /// Closes all connections and ends all tasks. No event comes after it.
    pub async fn close(self, reason: &str) {
        self.shut_down(reason);
        self.tasks.wait().await;
        let _ = tokio::time::timeout(CLOSE_WAIT, self.endpoint.wait_idle()).await;
    }

    fn shut_down(&self, reason: &str) {
        self.closing.cancel();
        self.endpoint.close(CloseCode::Shutdown.var_int(), truncated(reason).as_bytes());
        self.tasks.close();
    }
}

impl Drop for ClientDialer {
    fn drop(&mut self) {
        if !self.closing.is_cancelled() {
            self.shut_down("the client was dropped");
        }
    }
}

fn roots(ca_pem: &str) -> Result<RootCertStore, BindError> {
    let wrong = |cause: String| BindError::Setting { setting: "ca_pem", cause };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("it has no CERTIFICATE section".to_owned())) } else { Ok(roots) }
}

/// A connection until its end.
async fn run(client: ClientConnection, frames: FrameReader, inbox: Arc<Inbox<DialEvent>>) {
    let connection = client.0.connection.clone();
    let tasks = TaskTracker::new();
    tasks.spawn(read_messages(client.clone(), frames, inbox.clone()));
    tasks.spawn(read_datagrams(connection.clone(), inbox.clone()));
    let writer = client.clone();
    tasks.spawn(async move { writer.0.writer.run().await });

    let error = tokio::select! {
        error = connection.closed() => error,
        () = inbox.abandoned() => {
            client.close_for(CloseCode::Dropped, "the client left");
            connection.closed().await
        }
    };
    let code = close_code(&error);
    let reason = client.end_reason(&error);
    client.0.writer.close();
    tasks.close();
    tasks.wait().await;
    let _ = inbox.deliver(DialEvent::Closed { code, reason }, 0).await;
}

fn close_code(error: &ConnectionError) -> Option<u64> {
    if let ConnectionError::ApplicationClosed(close) = error {
        Some(close.error_code.into_inner())
    } else {
        None
    }
}

async fn read_messages(client: ClientConnection, mut frames: FrameReader, inbox: Arc<Inbox<DialEvent>>) {
    loop {
        match frames.next().await {
            Ok(Some(payload)) => {
                let bytes = payload.len();
                if inbox.deliver(DialEvent::Message(payload), bytes).await.is_err() {
                    return;
                }
            }
            Ok(None) => return client.close_for(CloseCode::Malformed, "the message stream was ended"),
            Err(FrameError::Read(quinn::ReadError::ConnectionLost(_))) => return,
            Err(error @ FrameError::Oversized { .. }) => {
                return client.close_for(CloseCode::Oversized, &error.to_string());
            }
            Err(error @ (FrameError::Truncated | FrameError::Read(_))) => {
                return client.close_for(CloseCode::Malformed, &error.to_string());
            }
        }
    }
}

async fn read_datagrams(connection: Connection, inbox: Arc<Inbox<DialEvent>>) {
    while let Ok(payload) = connection.read_datagram().await {
        let bytes = payload.len();
        if inbox.deliver(DialEvent::Datagram(payload), bytes).await.is_err() {
            return;
        }
    }
}
