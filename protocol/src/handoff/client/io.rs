//! What goes into a `Client` and what comes out of it.

use bytes::Bytes;
use core::time::Duration;

use crate::id::{AuthorityEpoch, EntityId, SessionId};
use crate::wire::{ByeReason, ClientMessage, Invitation, ServerMessage, SessionReply, SessionRequest};

/// One connection that the machine asked for; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u64);

/// Connections that a client keeps at once: the current one and up to three prepared ones.
pub const CONNECTIONS_MAX: usize = 4;
/// How a client waits and repeats.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientConfig {
    /// Pause before unacknowledged inputs are repeated though no new one was made. Default: 50 ms.
    pub repeat: Duration,
    /// Without any connection for this long the door is asked. Default: 500 ms.
    pub lost_patience: Duration,
    /// Without any state for this long, and up to a quarter more, the door is asked, though a connection stands.
    /// Default: 1 s. Shorter than a node's own hiccups, it brings many players to the door for nothing; each second more
    /// is a second more that a player stands still after the death of their node.
    pub silence_patience: Duration,
    /// The longest pause after the first question at the door that was in vain; doubles with each. Default: 500 ms.
    pub door_retry: Duration,
    /// What it doubles up to. Default: 4 s.
    pub door_retry_max: Duration,
    /// How long an answer of the door is waited for. Default: 6 s, a little more than the door takes to give up.
    pub door_patience: Duration,
    /// A known bug to build in, so that a checker can prove that it sees it.
    #[cfg(feature = "planted-bugs")]
    pub planted_bug: Option<crate::config::PlantedBug>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            repeat: Duration::from_millis(50),
            lost_patience: Duration::from_millis(500),
            silence_patience: Duration::from_secs(1),
            door_retry: Duration::from_millis(500),
            door_retry_max: Duration::from_secs(4),
            door_patience: Duration::from_secs(6),
            #[cfg(feature = "planted-bugs")]
            planted_bug: None,
        }
    }
}

/// What a client is told.
#[derive(Clone, Debug)]
pub enum ClientInput {
    /// The player wants in.
    Enter {
        /// The character's name.
        name: String,
        /// What the authenticator asks for.
        credential: Vec<u8>,
    },
    /// The door answered.
    Door(SessionReply),
    /// The door can't be reached.
    DoorFailed,
    /// A connection stands; its first message (the token) was sent with it.
    Connected {
        /// Which.
        connection: ConnectionId,
    },
    /// A connection failed or ended.
    Closed {
        /// Which.
        connection: ConnectionId,
    },
    /// A node said something.
    Message {
        /// On which connection.
        connection: ConnectionId,
        /// What.
        message: ServerMessage,
    },
    /// The player acts: the next input.
    Act(Bytes),
    /// The player wants out.
    Logout,
}

/// What a client wants done.
#[derive(Clone, Debug)]
pub enum ClientOutput {
    /// Ask the coordinator's door.
    Ask(SessionRequest),
    /// Connect, and show the invitation's token as the first message.
    Connect {
        /// Names the connection from now on.
        connection: ConnectionId,
        /// Where, and with what.
        invitation: Invitation,
    },
    /// Send; `Inputs` as a datagram, all else reliably.
    Send {
        /// On which connection.
        connection: ConnectionId,
        /// What.
        message: ClientMessage,
    },
    /// Close a connection that is of no more use.
    Close {
        /// Which.
        connection: ConnectionId,
    },
    /// Tell the player's program.
    Event(ClientEvent),
}

/// What the player's program hears.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// The player is in the world: inputs take effect from now on.
    Entered {
        /// The session.
        session: SessionId,
        /// The entity to play.
        entity: EntityId,
    },
    /// A fresh state, never of an older authority or tick than one before it: a [`ServerMessage::State`].
    State(ServerMessage),
    /// Another node simulates the player now.
    Switched {
        /// At which epoch.
        epoch: AuthorityEpoch,
        /// `client_gap`: time between the last state from the old node and the first from the new one, less the tick
        /// interval.
        gap: Duration,
        /// Whether the connection had been prepared (no `Redirect` was needed).
        prepared: bool,
    },
    /// The window of unacknowledged inputs is full: the input was not taken. Slow down.
    InputRefused,
    /// Two nodes claimed one epoch, or an older one went on past a newer one's start: invariant A1 is broken.
    TwoAuthorities {
        /// The epoch that was claimed twice.
        epoch: AuthorityEpoch,
    },
    /// Every connection is lost; the door is asked. Said once, until a state comes.
    Lost,
    /// A connection stands, but no state comes; the door is asked. Whoever speaks first, the node or another that the
    /// door names, is followed. Said once, until a state comes.
    Silent,
    /// The node died and another has restored the player from a copy.
    Recovered {
        /// At which epoch.
        epoch: AuthorityEpoch,
        /// Time since the last state.
        silent: Duration,
        /// Inputs that the copy doesn't include and that are applied again, once, now.
        replayed: u32,
        /// Inputs that the copy doesn't include and that are not kept any more: they have no effect. The numbers of all
        /// later inputs fall by this, so that they follow each other without a gap. Always 0 unless two nodes died
        /// at once, the checkpoints stood still for thousands of inputs, or this program has come in the place of
        /// another that is gone.
        lost: u32,
    },
    /// The door said no.
    Refused {
        /// Why.
        reason: String,
        /// Whether it is asked again.
        retry: bool,
    },
    /// It is over: logged out, or the session ended.
    Over {
        /// Why, if a node said so.
        reason: Option<ByeReason>,
    },
}

/// How a player stands to the world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Link {
    /// Not in the world yet, or on the way to a node.
    Outside,
    /// A node takes the player's inputs and shows states.
    Attached,
    /// A connection stands, but no state comes; the door is asked.
    Silent,
    /// No connection stands; the door is asked.
    Lost,
    /// The session is over.
    Over,
}

/// Why `handle_timeout` is to be called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ClientTimeout {
    /// Inputs or a log-out are repeated.
    Repeat,
    /// Connections are lost or silent.
    Missing,
    /// The door is asked again.
    Door,
}
