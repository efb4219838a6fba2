//! One connection between a client and a server, as either end holds it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, SendStream, VarInt};
use serde::Serialize;

use crate::close::{self, CloseCode};
use crate::datagram::Datagrams;
use crate::error::SendError;
use crate::limits::ClientLimits;
use crate::ordered::OrderedWriter;

/// Sends to the other end of a client's connection. Cheap to clone, usable from any thread; nothing blocks or waits.
#[derive(Clone)]
pub struct ClientConnection(pub(crate) Arc<ClientShared>);

/// What the tasks of a connection and its handles share.
pub(crate) struct ClientShared {
    pub(crate) connection: Connection,
    pub(crate) writer: OrderedWriter,
    message_bytes_max: usize,
    datagrams: Datagrams,
    close_reason: OnceLock<String>,
}

/// Numbers of one client's connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ClientConnectionStats {
    /// Estimated round-trip time, in microseconds.
    pub rtt_us: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets that had to be taken for lost.
    pub lost_packets: u64,
    /// Bytes sent in UDP payloads.
    pub bytes_sent: u64,
    /// Bytes received in UDP payloads.
    pub bytes_received: u64,
    /// Messages taken for sending.
    pub messages_sent: u64,
    /// Messages that wait to be handed to QUIC.
    pub queued_messages: u64,
    /// Bytes of messages that wait to be handed to QUIC.
    pub queued_bytes: u64,
    /// Messages refused because the queue was full.
    pub overflows: u64,
    /// Datagrams taken for sending.
    pub datagrams_sent: u64,
    /// Datagrams refused because the buffer was full.
    pub datagram_overflows: u64,
}

impl fmt::Debug for ClientConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConnection").field("remote", &self.remote()).finish_non_exhaustive()
    }
}

impl ClientConnection {
    pub(crate) fn new(connection: Connection, send: SendStream, limits: &ClientLimits) -> Self {
        Self(Arc::new(ClientShared {
            connection,
            writer: OrderedWriter::new(send, limits.queue_messages_max, limits.queue_bytes_max),
            message_bytes_max: limits.message_bytes_max,
            datagrams: Datagrams::default(),
            close_reason: OnceLock::new(),
        }))
    }

    /// Sends a message; messages arrive in the order of sending. `Ok` means taken, not arrived.
    ///
    /// # Errors
    /// [`SendError::QueueFull`] (counted), [`SendError::TooLarge`], [`SendError::Closed`]; nothing was sent then.
    pub fn send(&self, message: Bytes) -> Result<(), SendError> {
        let (bytes, bytes_max) = (message.len(), self.0.message_bytes_max);
        if bytes > bytes_max {
            return Err(SendError::TooLarge { bytes, bytes_max });
        }
        self.0.writer.send(message, Bytes::new())
    }

    /// Sends a datagram, which may get lost.
    ///
    /// # Errors
    /// [`SendError::QueueFull`] (counted) if the buffer has no room, [`SendError::TooLarge`] if it doesn't fit one
    /// packet, [`SendError::Closed`].
    pub fn send_datagram(&self, payload: Bytes) -> Result<(), SendError> {
        self.0.datagrams.send(&self.0.connection, payload)
    }

    /// Largest datagram that fits now, in bytes; 0 if the other end takes none. It follows the path's MTU.
    pub fn max_datagram_size(&self) -> usize {
        self.0.connection.max_datagram_size().unwrap_or(0)
    }

    /// Closes at once; what waits is lost. The other end is told `code` and `reason`. Codes under 256 are
    /// [`CloseCode`]'s; take one from there on.
    pub fn close(&self, code: u32, reason: &str) {
        let _ = self.0.close_reason.set(reason.to_owned());
        close::close(&self.0.connection, VarInt::from_u32(code), reason);
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.0.connection.close_reason().is_some()
    }

    /// The other end's address. It changes when a client changes networks.
    pub fn remote(&self) -> SocketAddr {
        let address = self.0.connection.remote_address();
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    /// Estimated round-trip time.
    pub fn rtt(&self) -> Duration {
        self.0.connection.rtt()
    }

    /// Numbers of this connection.
    pub fn stats(&self) -> ClientConnectionStats {
        let connection = self.0.connection.stats();
        let writer = self.0.writer.stats();
        ClientConnectionStats {
            rtt_us: connection.path.rtt.as_micros().try_into().unwrap_or(u64::MAX),
            sent_packets: connection.path.sent_packets,
            lost_packets: connection.path.lost_packets,
            bytes_sent: connection.udp_tx.bytes,
            bytes_received: connection.udp_rx.bytes,
            messages_sent: writer.sent,
            queued_messages: writer.queued_messages as u64,
            queued_bytes: writer.queued_bytes as u64,
            overflows: writer.overflows,
            datagrams_sent: self.0.datagrams.sent(),
            datagram_overflows: self.0.datagrams.overflows(),
        }
    }

    /// Closes with one of this crate's own codes.
    pub(crate) fn close_for(&self, code: CloseCode, reason: &str) {
        self.close(code as u32, reason);
    }

    /// Why the connection ended, given what QUIC says of it.
    pub(crate) fn end_reason(&self, error: &quinn::ConnectionError) -> String {
        close::end_reason(error, self.0.close_reason.get())
    }
}
