//! Numbers about the client port. Counters only ever grow.

use serde::Serialize;

use crate::counter::Counter;

/// Numbers of a client port, since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ClientPortStats {
    /// Connections that are open now, those in their handshake included.
    pub connections: u64,
    /// Connections whose first message came.
    pub opened: u64,
    /// Connections, once opened, that have ended.
    pub closed: u64,
    /// Attempts refused because there were too many connections.
    pub refused_connections: u64,
    /// Attempts refused because there were too many from their address.
    pub refused_address: u64,
    /// Attempts refused because there were too many in a second.
    pub refused_rate: u64,
    /// Attempts whose address had to prove first that it is real.
    pub retries: u64,
    /// Connections that failed before their first message.
    pub handshakes_failed: u64,
    /// Connections closed because their first message didn't come in time.
    pub first_message_timeouts: u64,
    /// Connections closed for a message above the limit.
    pub oversized: u64,
    /// Connections closed for bytes that no correct client sends.
    pub malformed: u64,
    /// Connections closed for too many messages a second.
    pub messages_too_fast: u64,
    /// Connections closed for too many datagrams a second.
    pub datagrams_too_fast: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
}

#[derive(Debug, Default)]
pub(crate) struct ClientCounters {
    pub(crate) opened: Counter,
    pub(crate) closed: Counter,
    pub(crate) refused_connections: Counter,
    pub(crate) refused_address: Counter,
    pub(crate) refused_rate: Counter,
    pub(crate) retries: Counter,
    pub(crate) handshakes_failed: Counter,
    pub(crate) first_message_timeouts: Counter,
    pub(crate) oversized: Counter,
    pub(crate) malformed: Counter,
    pub(crate) messages_too_fast: Counter,
    pub(crate) datagrams_too_fast: Counter,
    pub(crate) messages_received: Counter,
    pub(crate) datagrams_received: Counter,
}

impl ClientCounters {
    pub(crate) fn stats(&self, connections: usize) -> ClientPortStats {
        ClientPortStats {
            connections: connections as u64,
            opened: self.opened.value(),
            closed: self.closed.value(),
            refused_connections: self.refused_connections.value(),
            refused_address: self.refused_address.value(),
            refused_rate: self.refused_rate.value(),
            retries: self.retries.value(),
            handshakes_failed: self.handshakes_failed.value(),
            first_message_timeouts: self.first_message_timeouts.value(),
            oversized: self.oversized.value(),
            malformed: self.malformed.value(),
            messages_too_fast: self.messages_too_fast.value(),
            datagrams_too_fast: self.datagrams_too_fast.value(),
            messages_received: self.messages_received.value(),
            datagrams_received: self.datagrams_received.value(),
        }
    }
}
