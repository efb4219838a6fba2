//! One connection of a player, from the dial to its end, polled by the player's task.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use selvedge_transport::{ClientConnection, ConnectError, DialEvent, SendError};
use tokio::sync::mpsc;

/// The close code of a client that needs the connection no longer; the transport leaves codes from 256 on to us.
const NOT_NEEDED: u32 = 256;

/// A connection and what it says, once it stands.
pub(crate) type Established = (ClientConnection, mpsc::Receiver<DialEvent>);
/// A connection on its way.
pub(crate) type Dial = Pin<Box<dyn Future<Output = Result<Established, ConnectError>> + Send>>;

/// What happened on a connection. Nothing comes after `Closed`.
#[derive(Debug)]
pub(crate) enum Happening {
    Opened,
    Said(Bytes),
    Closed { reason: String },
}

/// A connection. Dropping it closes it.
pub(crate) enum Slot {
    Dialling(Dial),
    Open { connection: ClientConnection, events: mpsc::Receiver<DialEvent> },
    Ended,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dialling(_) => f.write_str("Dialling"),
            Self::Open { connection, .. } => f.debug_tuple("Open").field(connection).finish(),
            Self::Ended => f.write_str("Ended"),
        }
    }
}

impl Slot {
    /// The next thing that happens.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Happening> {
        match self {
            Self::Dialling(dial) => match ready!(dial.as_mut().poll(cx)) {
                Ok((connection, events)) => {
                    *self = Self::Open { connection, events };
                    Poll::Ready(Happening::Opened)
                }
                Err(error) => Poll::Ready(self.end(error.to_string())),
            },
            Self::Open { events, .. } => match ready!(events.poll_recv(cx)) {
                Some(DialEvent::Message(bytes) | DialEvent::Datagram(bytes)) => {
                    Poll::Ready(Happening::Said(bytes))
                }
                Some(DialEvent::Closed { reason, .. }) => Poll::Ready(self.end(reason)),
                None => Poll::Ready(self.end("the endpoint was closed".to_owned())),
            },
            Self::Ended => Poll::Pending,
        }
    }

    fn end(&mut self, reason: String) -> Happening {
        *self = Self::Ended;
        Happening::Closed { reason }
    }

    /// Sends a message that arrives, and in order.
    pub(crate) fn send(&self, message: Bytes) -> Result<(), SendError> {
        match self {
            Self::Open { connection, .. } => connection.send(message),
            Self::Dialling(_) | Self::Ended => Err(SendError::Closed),
        }
    }

    /// Sends a datagram, which may get lost.
    pub(crate) fn send_datagram(&self, payload: Bytes) -> Result<(), SendError> {
        match self {
            Self::Open { connection, .. } => connection.send_datagram(payload),
            Self::Dialling(_) | Self::Ended => Err(SendError::Closed),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Self::Open { connection, .. } = self {
            connection.close(NOT_NEEDED, "the player needs this connection no longer");
        }
    }
}
