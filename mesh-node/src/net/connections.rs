//! The mesh thread's end of the clients' connections: how to speak to them, and how to part.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use selvedge_protocol::ghost::is_stream;
use selvedge_protocol::id::ClientId;
use selvedge_protocol::wire::{ByeReason, ServerMessage, encode_server};
use selvedge_transport::ClientConnection;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tracing::{debug, trace};

use crate::shared::Shared;

/// Where the application's close codes begin.
const CLOSE_CODES: u32 = 256;
/// How long what was said last may take to arrive before the connection is closed; two round trips come on top.
const PARTING: Duration = Duration::from_millis(250);

/// States for clients and what they see of others, to be encoded and sent by the clients' thread: the mesh thread has cutovers to carry.
pub(super) type StateBatch = Vec<(ClientConnection, ServerMessage)>;

/// The connections that have said hello.
#[derive(Debug)]
pub(super) struct Connections {
    open: HashMap<ClientId, ClientConnection>,
    states: StateBatch,
    outbox: mpsc::Sender<StateBatch>,
}

impl Connections {
    pub(super) fn new(outbox: mpsc::Sender<StateBatch>) -> Self {
        Self { open: HashMap::new(), states: Vec::new(), outbox }
    }

    /// Hands the states of this batch over. Returns how many were dropped because the clients' thread lags: the next
    /// tick's states are fresher.
    pub(super) fn flush_states(&mut self) -> usize {
        if self.states.is_empty() {
            return 0;
        }
        match self.outbox.try_send(std::mem::take(&mut self.states)) {
            Ok(()) => 0,
            Err(TrySendError::Full(batch) | TrySendError::Closed(batch)) => batch.len(),
        }
    }

    pub(super) fn insert(&mut self, client: ClientId, connection: ClientConnection) {
        self.open.insert(client, connection);
    }

    pub(super) fn remove(&mut self, client: ClientId) {
        self.open.remove(&client);
    }

    /// Where a client is, as long as it is connected.
    pub(super) fn remote(&self, client: ClientId) -> Option<SocketAddr> {
        self.open.get(&client).map(ClientConnection::remote)
    }

    /// Says something to a client, states at the end of the batch; says whether it was taken.
    pub(super) fn send(&mut self, client: ClientId, message: ServerMessage) -> bool {
        let Some(connection) = self.open.get(&client) else { return false };
        let sent = match message {
            ServerMessage::Ghosts { ref bytes } if is_stream(bytes) => {
                connection.send(encode_server(&message))
            }
            ServerMessage::State { .. } | ServerMessage::Ghosts { .. } => {
                self.states.push((connection.clone(), message));
                return true;
            }
            ServerMessage::Parked { .. }
            | ServerMessage::Attached { .. }
            | ServerMessage::Preconnect { .. }
            | ServerMessage::Redirect { .. }
            | ServerMessage::Bye { .. } => connection.send(encode_server(&message)),
        };
        if let Err(cause) = sent {
            trace!(%client, %cause, "not sent to a client");
        }
        sent.is_ok()
    }

    /// Closes a connection once what was said to it has had time to arrive.
    pub(super) fn part(&self, client: ClientId, reason: ByeReason) {
        let Some(connection) = self.open.get(&client).cloned() else { return };
        debug!(%client, %reason, "client is told to go");
        tokio::spawn(async move {
            // The client closes by itself when it has read the last word; this is for the one that doesn't.
            tokio::time::sleep(PARTING + connection.rtt() * 2).await;
            connection.close(close_code(reason), &reason.to_string());
        });
    }
}

/// Sends the states that the mesh thread hands over, until it ends.
pub(super) async fn send_states(mut inbox: mpsc::Receiver<StateBatch>, shared: Arc<Shared>) {
    while let Some(batch) = inbox.recv().await {
        let mut dropped = 0;
        for (connection, state) in batch {
            dropped += u64::from(connection.send_datagram(encode_server(&state)).is_err());
        }
        for _ in 0..dropped {
            shared.mesh_meter().client_send_dropped();
        }
    }
}

/// The code that a connection is closed with.
pub(super) const fn close_code(reason: ByeReason) -> u32 {
    CLOSE_CODES
        + match reason {
            ByeReason::BadToken => 0,
            ByeReason::Full => 1,
            ByeReason::LoggedOut => 2,
            ByeReason::Superseded => 3,
            ByeReason::NotNeeded => 4,
            ByeReason::Moved => 5,
            ByeReason::Gone => 6,
            ByeReason::Refused => 7,
            ByeReason::Misbehaved => 8,
            ByeReason::NodeLost => 9,
        }
}
