//! The clients' thread: reads what clients send, and passes on what is worth the core's time.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use selvedge_protocol::id::ClientId;
use selvedge_protocol::token::Token;
use selvedge_protocol::wire::{ByeReason, ClientMessage, decode_client};
use selvedge_transport::{ClientConnection, ClientEvent, ConnectionId};
use tokio::sync::mpsc;
use tracing::{debug, info};

use super::connections::close_code;
use crate::shared::Shared;

/// What the mesh thread hears of clients. For each: `Hello`, then messages, then `Closed`.
#[derive(Debug)]
pub(super) enum ClientNews {
    /// A client connected and showed a token.
    Hello { client: ClientId, token: Token, connection: ClientConnection },
    /// It said something.
    Message { client: ClientId, message: ClientMessage },
    /// It is gone.
    Closed { client: ClientId },
}

/// Runs until the node stops.
pub(super) async fn run(
    mut events: mpsc::Receiver<ClientEvent>,
    news: mpsc::Sender<ClientNews>,
    shared: &Arc<Shared>,
) {
    let mut reader = Reader { shared: Arc::clone(shared), open: HashMap::new() };
    loop {
        let event = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            event = events.recv() => event,
        };
        let Some(event) = event else { return };
        let Some(item) = reader.read(event) else { continue };
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            sent = news.send(item) => if sent.is_err() { return },
        }
    }
}

/// Who is connected, and has said hello properly.
struct Reader {
    shared: Arc<Shared>,
    open: HashMap<ConnectionId, ClientConnection>,
}

impl Reader {
    fn read(&mut self, event: ClientEvent) -> Option<ClientNews> {
        match event {
            ClientEvent::Opened { id, remote, first, connection } => {
                let token = match decode_client(&first) {
                    Ok(ClientMessage::Hello { token }) => token,
                    Ok(
                        ClientMessage::Inputs { .. } | ClientMessage::Ghosts { .. } | ClientMessage::Logout,
                    ) => {
                        self.misbehaved(&connection, "the first message is no hello");
                        return None;
                    }
                    Err(cause) => {
                        self.misbehaved(&connection, &format!("the first message can't be read: {cause}"));
                        return None;
                    }
                };
                debug!(client = id.0, %remote, "client connected");
                self.open.insert(id, connection.clone());
                Some(ClientNews::Hello { client: ClientId(id.0), token, connection })
            }
            ClientEvent::Message { id, payload } | ClientEvent::Datagram { id, payload } => {
                self.message(id, &payload)
            }
            ClientEvent::Closed { id, reason } => {
                self.open.remove(&id)?;
                debug!(client = id.0, reason, "client gone");
                Some(ClientNews::Closed { client: ClientId(id.0) })
            }
        }
    }

    fn message(&self, id: ConnectionId, payload: &Bytes) -> Option<ClientNews> {
        let connection = self.open.get(&id)?;
        match decode_client(payload) {
            Ok(message) => Some(ClientNews::Message { client: ClientId(id.0), message }),
            Err(cause) => {
                self.misbehaved(connection, &format!("a message can't be read: {cause}"));
                None
            }
        }
    }

    fn misbehaved(&self, connection: &ClientConnection, cause: &str) {
        info!(remote = %connection.remote(), cause, "client misbehaved");
        self.shared.mesh_meter().client_misbehaved();
        connection.close(close_code(ByeReason::Misbehaved), cause);
    }
}
