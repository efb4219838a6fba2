//! The handle of one player.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use selvedge_protocol::ghost::{Look, Shown};
use selvedge_protocol::grid::Motion;
use selvedge_protocol::handoff::client::{ClientEvent, Link};
use selvedge_protocol::id::{EntityId, InputSeq, SessionId};
use selvedge_protocol::limits::{INPUT_BYTES_MAX, INPUT_WINDOW};
use selvedge_protocol::time::{Tick, Time};
use selvedge_protocol::token::Token;
use selvedge_protocol::wire::ByeReason;

use crate::core::Core;
use crate::stats::ClientStats;

/// Why an input was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// Too many inputs are unacknowledged: slow down, or wait until the node is back.
    #[error("{INPUT_WINDOW} inputs are unacknowledged already")]
    WindowFull,
    /// The input is too long.
    #[error("the input has {bytes} bytes; at most {INPUT_BYTES_MAX} are possible")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The player hasn't entered yet, or is disconnected.
    #[error("the player is not in the world")]
    NotInWorld,
    /// The session is over.
    #[error("the session is over")]
    Over,
}

/// The world did not say good-bye in time. The log-out is repeated for as long as the [`Client`] lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer to the log-out within {patience:?}")]
pub struct LogoutTimeout {
    /// How long was waited.
    pub patience: Duration,
}

/// What it takes to come back to a session: keep it secret, its holder plays the character.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionTicket {
    pub(crate) session: SessionId,
    pub(crate) secret: Token,
}

impl SessionTicket {
    /// A ticket from its parts, as kept by a launcher.
    #[must_use]
    pub const fn new(session: SessionId, secret: Token) -> Self {
        Self { session, secret }
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// The session's secret.
    #[must_use]
    pub const fn secret(&self) -> &Token {
        &self.secret
    }
}

impl fmt::Debug for SessionTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTicket").field("session", &self.session).finish_non_exhaustive()
    }
}

/// Somebody whom a player sees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeenEntity {
    /// Which entity.
    pub entity: EntityId,
    /// Where it is shown, and how it moves.
    pub motion: Motion,
    /// How it looks.
    pub look: Look,
    /// The newest tick that the node vouches for.
    pub vouched: Tick,
}

impl SeenEntity {
    pub(crate) fn of(shown: Shown<'_>) -> Self {
        let Shown { entity, class, motion, rotation, state, vouched, .. } = shown;
        Self { entity, motion, look: Look { rotation, class, state: state.to_state() }, vouched }
    }
}

/// One player. Dropping it drops the connections without logging out: the player lingers in the world for a while.
///
/// Events wait in a bounded queue; of states in a row only the newest is kept, so that a slow reader sees the present.
#[derive(Debug)]
pub struct Client {
    core: Arc<Mutex<Core>>,
    logout_patience: Duration,
}

impl Client {
    pub(crate) fn new(core: Arc<Mutex<Core>>, logout_patience: Duration) -> Self {
        Self { core, logout_patience }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the player's next input, sends it, and gives its number. It takes effect exactly once, after those
    /// before it, unless the session ends first: also if the node dies that applied it. Never waits.
    ///
    /// The number holds unless [`ClientEvent::Recovered`] says that inputs were lost.
    ///
    /// # Errors
    /// [`ActError`]; the input has no number then and never takes effect.
    pub fn act(&self, input: &[u8]) -> Result<InputSeq, ActError> {
        self.lock().act(input)
    }

    /// The next event, in order. None once the session is over and everything was read. Can be dropped without
    /// losing an event.
    pub async fn next_event(&mut self) -> Option<ClientEvent> {
        poll_fn(|cx| {
            let mut core = self.lock();
            if let Some(event) = core.pop_event() {
                return Poll::Ready(Some(event));
            }
            if core.over().is_some() {
                return Poll::Ready(None);
            }
            core.wait_as_reader(cx);
            Poll::Pending
        })
        .await
    }

    /// The next event if one waits already.
    pub fn try_event(&mut self) -> Option<ClientEvent> {
        self.lock().pop_event()
    }

    /// Leaves the world: the character is saved and removed once every input was applied. Comes back first, if
    /// the player is disconnected. Events can still be read afterwards, `Over` last.
    ///
    /// # Errors
    /// [`LogoutTimeout`] if the world doesn't answer within `ClientSettings::logout_patience`.
    pub async fn logout(&mut self) -> Result<Option<ByeReason>, LogoutTimeout> {
        self.lock().logout();
        let patience = self.logout_patience;
        let over = poll_fn(|cx| {
            let mut core = self.lock();
            if let Some(reason) = core.over() {
                return Poll::Ready(reason);
            }
            core.wait_as_reader(cx);
            Poll::Pending
        });
        tokio::time::timeout(patience, over).await.map_err(|_| LogoutTimeout { patience })
    }

    /// Drops every connection without logging out, as a player who loses their line. The player lingers in the
    /// world for a set time. Nothing is tried until [`come_back`](Self::come_back).
    pub fn disconnect(&self) {
        self.lock().disconnect();
    }

    /// Comes back after [`disconnect`](Self::disconnect): asks the door where the player's entity is, connects there
    /// and repeats what was not acknowledged.
    pub fn come_back(&self) {
        self.lock().come_back();
    }

    /// What it takes to come back from another [`Client`]; none before the door has let the player in.
    #[must_use]
    pub fn ticket(&self) -> Option<SessionTicket> {
        self.lock().ticket()
    }

    /// How the player stands to the world right now.
    #[must_use]
    pub fn link(&self) -> Link {
        self.lock().link()
    }

    /// Whether a node takes the player's inputs right now and speaks.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.link() == Link::Attached
    }

    /// Everybody whom the player sees, ghosts of other nodes' entities among them, in order of id: where each is shown at
    /// this moment, a little in the past. The player's own entity is in the states instead.
    #[must_use]
    pub fn sights(&self) -> Vec<SeenEntity> {
        self.lock().sights()
    }

    /// The moment of mesh time that [`sights`](Self::sights) shows now, as far as it can be told from the states; none
    /// before the first.
    #[must_use]
    pub fn sight_time(&self) -> Option<Time> {
        self.lock().sight_time()
    }

    /// What this player saw so far. Copies a histogram: not for every tick.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.lock().stats()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.lock().abandon();
    }
}
