//! What clients say to nodes and to the coordinator's door, and what they hear.

use rkyv::{Archive, Deserialize, Serialize};

use super::message::InputMessage;
use crate::grid::Motion;
use crate::id::{AuthorityEpoch, EntityId, InputSeq, SessionId};
use crate::time::Tick;
use crate::token::Token;

/// Where a client should connect, and with what.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub struct Invitation {
    /// `ip:port` of the node's client endpoint.
    pub addr: String,
    /// The TLS server name that the node proves.
    pub server_name: String,
    /// Admits this one client, once.
    pub token: Token,
}

/// Client -> node.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub enum ClientMessage {
    /// The first message of a connection.
    Hello {
        /// The token that admits it.
        token: Token,
    },
    /// Datagram: the newest input and unacknowledged ones, in order of number.
    Inputs {
        /// The entity that they are for.
        entity: EntityId,
        /// The inputs.
        inputs: Vec<InputMessage>,
    },
    /// Datagram: which of the ghosts' bytes have come. It travels as it is, without a head.
    Ghosts {
        /// An acknowledgement of [`ghost`](crate::ghost).
        bytes: Vec<u8>,
    },
    /// The player wants to leave the world.
    Logout,
}

/// Why a client's connection ends.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Archive,
    Serialize,
    Deserialize,
    thiserror::Error,
)]
pub enum ByeReason {
    /// The token is unknown, used or expired.
    #[error("the token is unknown, already used or expired")]
    BadToken,
    /// The node is full.
    #[error("the node is full")]
    Full,
    /// The player logged out.
    #[error("logged out")]
    LoggedOut,
    /// A newer connection of the same player took over.
    #[error("a newer connection took over")]
    Superseded,
    /// The preparation that the connection waited for was given up.
    #[error("the handoff that this connection waited for was given up")]
    NotNeeded,
    /// The entity left this node, and the client was told where.
    #[error("the entity moved to another node")]
    Moved,
    /// The entity is no more.
    #[error("the entity is gone")]
    Gone,
    /// The game refused the player.
    #[error("the game refused the player")]
    Refused,
    /// The node lost its lease: whoever holds the entity now, the door knows.
    #[error("the node has lost its lease")]
    NodeLost,
    /// The client broke the protocol.
    #[error("the client broke the protocol")]
    Misbehaved,
}

/// Node -> client.
#[derive(Clone, PartialEq, Debug, Archive, Serialize, Deserialize)]
pub enum ServerMessage {
    /// The token is good, but the entity isn't here yet: wait.
    Parked {
        /// Whom the client plays.
        entity: EntityId,
    },
    /// This node simulates the entity: send inputs here.
    Attached {
        /// Whom the client plays.
        entity: EntityId,
        /// In which session.
        session: SessionId,
        /// At which epoch.
        epoch: AuthorityEpoch,
        /// The last input applied.
        applied: InputSeq,
        /// The last input that a checkpoint covers which the node's buddy has acknowledged: a recovery restores at least
        /// up to here. Never above `applied`.
        durable: InputSeq,
        /// Microseconds between two ticks.
        tick_interval_us: u64,
    },
    /// Datagram, each tick: the player's own state.
    State {
        /// Whom the client plays.
        entity: EntityId,
        /// The authority that says so.
        epoch: AuthorityEpoch,
        /// The tick that this is the end of.
        tick: Tick,
        /// The last input applied.
        applied: InputSeq,
        /// As in `Attached`.
        durable: InputSeq,
        /// The player's own motion.
        motion: Motion,
        /// What the game published beside it.
        own: Vec<u8>,
    },
    /// What the player sees of others: reliably if it is a piece of the stream, else a datagram. It travels as it is,
    /// without a head.
    Ghosts {
        /// Bytes of [`ghost`](crate::ghost).
        bytes: Vec<u8>,
    },
    /// Step 5: connect there in the background.
    Preconnect {
        /// Where.
        invitation: Invitation,
    },
    /// Step 9: the entity is there now.
    Redirect {
        /// At which epoch.
        epoch: AuthorityEpoch,
        /// Where; only used if the client has no connection there.
        invitation: Invitation,
    },
    /// The connection ends.
    Bye {
        /// Why.
        reason: ByeReason,
    },
}

/// Client -> coordinator's door.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub enum SessionRequest {
    /// A player asks to enter the world.
    Enter {
        /// The character's name.
        name: String,
        /// What the authenticator asks for.
        credential: Vec<u8>,
    },
    /// A player who lost their node asks where their entity is.
    Resume {
        /// Which session.
        session: SessionId,
        /// The session's secret.
        secret: Token,
    },
}

/// Coordinator's door -> client.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub enum SessionReply {
    /// Come in.
    Entered {
        /// The session.
        session: SessionId,
        /// Its secret: only its holder gets fresh tokens.
        secret: Token,
        /// The entity to play.
        entity: EntityId,
        /// Where.
        invitation: Invitation,
    },
    /// Stay out.
    Refused {
        /// For a person to act on.
        reason: String,
        /// Whether asking again later may help.
        retry: bool,
    },
}
