//! The port's tasks: admits attempts, waits for first messages, and reads each client within its limits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use quinn::{Connection, Incoming, SendStream};
use tokio_util::task::TaskTracker;

use crate::admission::{Admitted, Place, Refusal};
use crate::bucket::Bucket;
use crate::client::connection::ClientConnection;
use crate::client::port::{ClientEvent, ConnectionId, PortShared};
use crate::close::{self, CloseCode};
use crate::frame::{FrameError, FrameReader};

/// Seconds' worth of messages that a client may send at once, after a stall on its line.
const BURST_S: f64 = 2.0;

/// Accepts until the port closes.
pub(crate) async fn accept_loop(port: Arc<PortShared>) {
    while let Some(incoming) = port.endpoint.accept().await {
        let address = incoming.remote_address().ip();
        match port.admission.judge(address, incoming.remote_address_validated(), Instant::now()) {
            Admitted::Yes(place) => {
                let task = serve(port.clone(), incoming);
                port.tasks.spawn(async move {
                    task.await;
                    drop::<Place>(place);
                });
            }
            Admitted::Retry => {
                port.counters.retries.increment();
                if let Err(error) = incoming.retry() {
                    error.into_incoming().refuse();
                }
            }
            Admitted::Refused(refusal) => {
                match refusal {
                    Refusal::Connections => port.counters.refused_connections.increment(),
                    Refusal::Address => port.counters.refused_address.increment(),
                    Refusal::Rate => port.counters.refused_rate.increment(),
                }
                tracing::debug!(%address, ?refusal, "client connection refused");
                incoming.refuse();
            }
        }
    }
}

/// A client that has sent its first message.
struct Opened {
    connection: Connection,
    send: SendStream,
    frames: FrameReader,
    first: Bytes,
}

/// A client's connection from its first packet to its end.
async fn serve(port: Arc<PortShared>, incoming: Incoming) {
    let remote = incoming.remote_address();
    let mut connection = None;
    let opening = open(&port, incoming, &mut connection);
    let opened = tokio::select! {
        opened = tokio::time::timeout(port.limits.first_message_timeout, opening) => opened,
        () = port.closing.cancelled() => return,
    };
    match opened {
        Ok(Ok(opened)) => run(&port, opened).await,
        Ok(Err(reason)) => {
            port.counters.handshakes_failed.increment();
            tracing::debug!(%remote, reason, "client failed before its first message");
        }
        Err(_) => {
            port.counters.first_message_timeouts.increment();
            tracing::debug!(%remote, "no first message in time");
            if let Some(connection) = connection {
                let code = CloseCode::FirstMessageTimeout.var_int();
                close::close(&connection, code, "the first message did not come in time");
            }
        }
    }
}

async fn open(
    port: &PortShared,
    incoming: Incoming,
    connection: &mut Option<Connection>,
) -> Result<Opened, String> {
    let describe = |error| close::describe(&error);
    let established = incoming.accept().map_err(describe)?.await.map_err(describe)?;
    *connection = Some(established.clone());
    let (send, recv) = established.accept_bi().await.map_err(describe)?;
    let mut frames = FrameReader::new(recv, port.limits.message_bytes_max);
    let refuse = |code: CloseCode, reason: String| {
        close::close(&established, code.var_int(), &reason);
        Err(reason)
    };
    match frames.next().await {
        Ok(Some(first)) => Ok(Opened { connection: established, send, frames, first }),
        Ok(None) => refuse(CloseCode::Malformed, "the stream was ended before the first message".to_owned()),
        Err(error @ FrameError::Oversized { .. }) => {
            port.counters.oversized.increment();
            refuse(CloseCode::Oversized, error.to_string())
        }
        Err(error @ FrameError::Truncated) => {
            port.counters.malformed.increment();
            refuse(CloseCode::Malformed, error.to_string())
        }
        Err(FrameError::Read(error)) => Err(error.to_string()),
    }
}

async fn run(port: &Arc<PortShared>, opened: Opened) {
    let Opened { connection, send, frames, first } = opened;
    let id = ConnectionId(port.next_id.fetch_add(1, Ordering::Relaxed));
    let client = ClientConnection::new(connection.clone(), send, &port.limits);
    port.counters.opened.increment();
    tracing::debug!(%id, remote = %client.remote(), "client connected");
    let bytes = first.len();
    let event = ClientEvent::Opened { id, remote: client.remote(), first, connection: client.clone() };
    if port.inbox.deliver(event, bytes).await.is_err() {
        return client.close_for(CloseCode::Shutdown, "the server takes no clients any more");
    }

    let tasks = TaskTracker::new();
    let reader = Reader { port: port.clone(), client: client.clone(), id };
    tasks.spawn(reader.clone().read_messages(frames));
    tasks.spawn(reader.read_datagrams());
    let writer = client.clone();
    tasks.spawn(async move { writer.0.writer.run().await });

    let error = connection.closed().await;
    let reason = client.end_reason(&error);
    client.0.writer.close();
    tasks.close();
    tasks.wait().await;
    port.counters.closed.increment();
    tracing::debug!(%id, reason, "client gone");
    let _ = port.inbox.deliver(ClientEvent::Closed { id, reason }, 0).await;
}

/// Reads one client, and closes it when it breaks a limit.
#[derive(Clone)]
struct Reader {
    port: Arc<PortShared>,
    client: ClientConnection,
    id: ConnectionId,
}

impl Reader {
    async fn read_messages(self, mut frames: FrameReader) {
        let per_second = self.port.limits.messages_per_second_max;
        let mut bucket = Bucket::new(per_second, BURST_S, Instant::now());
        let counters = &self.port.counters;
        loop {
            let payload = match frames.next().await {
                Ok(Some(payload)) => payload,
                Ok(None) => {
                    counters.malformed.increment();
                    return self.client.close_for(CloseCode::Malformed, "the message stream was ended");
                }
                Err(error @ FrameError::Oversized { .. }) => {
                    counters.oversized.increment();
                    return self.client.close_for(CloseCode::Oversized, &error.to_string());
                }
                Err(FrameError::Read(quinn::ReadError::ConnectionLost(_))) => return,
                Err(error @ (FrameError::Truncated | FrameError::Read(_))) => {
                    counters.malformed.increment();
                    return self.client.close_for(CloseCode::Malformed, &error.to_string());
                }
            };
            if !bucket.take(Instant::now()) {
                counters.messages_too_fast.increment();
                let reason = format!("more than {per_second} messages a second");
                return self.client.close_for(CloseCode::TooFast, &reason);
            }
            counters.messages_received.increment();
            let bytes = payload.len();
            let event = ClientEvent::Message { id: self.id, payload };
            if self.port.inbox.deliver(event, bytes).await.is_err() {
                return;
            }
        }
    }

    async fn read_datagrams(self) {
        let per_second = self.port.limits.datagrams_per_second_max;
        let mut bucket = Bucket::new(per_second, BURST_S, Instant::now());
        while let Ok(payload) = self.client.0.connection.read_datagram().await {
            if !bucket.take(Instant::now()) {
                self.port.counters.datagrams_too_fast.increment();
                let reason = format!("more than {per_second} datagrams a second");
                return self.client.close_for(CloseCode::TooFast, &reason);
            }
            self.port.counters.datagrams_received.increment();
            let bytes = payload.len();
            let event = ClientEvent::Datagram { id: self.id, payload };
            if self.port.inbox.deliver(event, bytes).await.is_err() {
                return;
            }
        }
    }
}
