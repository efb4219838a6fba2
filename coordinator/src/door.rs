//! The players' door: questions come in as messages, answers go out on the same connection.
//!
//! Deliberately absent: what the answers are. A connection is closed once it has asked nothing for a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use selvedge_protocol::wire::{self, SessionReply, SessionRequest};
use selvedge_transport::{ClientConnection, ClientEvent, ConnectionId};

/// A connection without an open question is closed after this long.
pub const DOOR_IDLE_MAX: Duration = Duration::from_secs(10);
/// Open questions of one connection. One more closes it.
pub const DOOR_QUESTIONS_MAX: usize = 4;

/// The close code for whoever is turned away; the transport leaves codes from 256 on to us.
const TURNED_AWAY: u32 = 256;

/// A player's question, as the machine gets it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: u64,
    pub(crate) message: SessionRequest,
}

struct Visitor {
    connection: ClientConnection,
    questions: usize,
    quiet_since: Instant,
}

/// The connections at the door and their open questions.
#[derive(Default)]
pub(crate) struct Door {
    visitors: BTreeMap<ConnectionId, Visitor>,
    /// Which connection waits for which answer. An answer may find its connection gone.
    open: BTreeMap<u64, ConnectionId>,
    last_request: u64,
}

impl Door {
    /// Takes what the port says.
    pub(crate) fn on_event(&mut self, event: ClientEvent, now: Instant) -> Option<Asked> {
        match event {
            ClientEvent::Opened { id, remote, first, connection } => {
                tracing::debug!(%id, %remote, "at the door");
                self.visitors.insert(id, Visitor { connection, questions: 0, quiet_since: now });
                self.on_question(id, &first, now)
            }
            ClientEvent::Message { id, payload } => self.on_question(id, &payload, now),
            ClientEvent::Datagram { .. } => None,
            ClientEvent::Closed { id, reason } => {
                tracing::debug!(%id, reason, "left the door");
                self.visitors.remove(&id);
                None
            }
        }
    }

    fn on_question(&mut self, id: ConnectionId, payload: &Bytes, now: Instant) -> Option<Asked> {
        let visitor = self.visitors.get_mut(&id)?;
        let message = match wire::decode_session_request(payload) {
            Ok(message) if visitor.questions < DOOR_QUESTIONS_MAX => message,
            Ok(_) => {
                self.turn_away(id, "too many questions at once");
                return None;
            }
            Err(error) => {
                self.turn_away(id, &format!("unreadable question: {error}"));
                return None;
            }
        };
        visitor.questions += 1;
        visitor.quiet_since = now;
        self.last_request += 1;
        self.open.insert(self.last_request, id);
        Some(Asked { request: self.last_request, message })
    }

    /// Passes an answer on. Who left meanwhile is not looked for.
    pub(crate) fn reply(&mut self, request: u64, reply: &SessionReply, now: Instant) {
        let Some(id) = self.open.remove(&request) else {
            return;
        };
        let Some(visitor) = self.visitors.get_mut(&id) else {
            return;
        };
        visitor.questions = visitor.questions.saturating_sub(1);
        visitor.quiet_since = now;
        if let Err(error) = visitor.connection.send(wire::encode_session_reply(reply)) {
            tracing::debug!(%id, %error, "answer not sent");
        }
    }

    /// Closes the connections that have been quiet for too long.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let quiet = |visitor: &Visitor| {
            visitor.questions == 0 && now.saturating_duration_since(visitor.quiet_since) >= DOOR_IDLE_MAX
        };
        let idle: Vec<_> =
            self.visitors.iter().filter(|(_, visitor)| quiet(visitor)).map(|(id, _)| *id).collect();
        for id in idle {
            self.turn_away(id, "nothing was asked");
        }
    }

    fn turn_away(&mut self, id: ConnectionId, reason: &str) {
        if let Some(visitor) = self.visitors.remove(&id) {
            tracing::debug!(%id, reason, "door connection closed here");
            visitor.connection.close(TURNED_AWAY, reason);
        }
    }
}
