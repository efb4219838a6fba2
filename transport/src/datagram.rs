//! The sending of a client's datagrams: counted, and never at another's cost. Those of a link have a queue and a pace.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use quinn::{Connection, SendDatagramError};

use crate::counter::Counter;
use crate::error::SendError;

/// What one connection's senders of datagrams share.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    /// Held over looking at the datagram buffer and filling it: quinn would drop the oldest without a word.
    turn: Mutex<()>,
    sent: Counter,
    overflows: Counter,
}

impl Datagrams {
    /// Datagrams that quinn has taken.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.value()
    }

    /// Datagrams that found the buffer full.
    pub(crate) fn overflows(&self) -> u64 {
        self.overflows.value()
    }

    /// Puts a datagram into quinn's buffer if there is room, so that nothing older is pushed out.
    pub(crate) fn send(&self, connection: &Connection, payload: Bytes) -> Result<(), SendError> {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let result = send(connection, payload);
        drop(turn);
        match result {
            Ok(()) => self.sent.increment(),
            Err(SendError::QueueFull) => self.overflows.increment(),
            Err(SendError::TooLarge { .. } | SendError::Closed) => {}
        }
        result
    }
}

pub(crate) fn send(connection: &Connection, payload: Bytes) -> Result<(), SendError> {
    let bytes = payload.len();
    let too_large = || SendError::TooLarge { bytes, bytes_max: connection.max_datagram_size().unwrap_or(0) };
    if connection.datagram_send_buffer_space() < bytes.max(1) {
        // A datagram that never fits is the caller's mistake, not a full buffer.
        return match connection.max_datagram_size() {
            Some(bytes_max) if bytes <= bytes_max => Err(SendError::QueueFull),
            _ => Err(too_large()),
        };
    }
    connection.send_datagram(payload).map_err(|error| match error {
        SendDatagramError::TooLarge | SendDatagramError::UnsupportedByPeer | SendDatagramError::Disabled => {
            too_large()
        }
        SendDatagramError::ConnectionLost(_) => SendError::Closed,
    })
}
