//! A client's machine, told what the test wants it to hear.

use std::time::Duration;

use bytes::Bytes;
use selvedge_protocol::grid::Motion;
use selvedge_protocol::handoff::client::{
    Client, ClientConfig, ClientEvent, ClientInput, ClientOutput, ConnectionId,
};
use selvedge_protocol::id::{AuthorityEpoch, EntityId, InputSeq, SessionId};
use selvedge_protocol::time::{Tick, Time};
use selvedge_protocol::token::Token;
use selvedge_protocol::wire::{Invitation, ServerMessage, SessionReply};

pub(crate) const TICK: Duration = Duration::from_millis(33);
pub(crate) const OLD: AuthorityEpoch = AuthorityEpoch { generation: 0, step: 1 };
/// What a recovery round restores the entity at.
pub(crate) const RESTORED: AuthorityEpoch = AuthorityEpoch { generation: 1, step: 0 };
pub(crate) const NEW: AuthorityEpoch = AuthorityEpoch { generation: 0, step: 2 };

pub(crate) fn invitation(node: u8) -> Invitation {
    Invitation {
        addr: format!("127.0.0.1:{node}"),
        server_name: "node".to_owned(),
        token: Token::from_bytes([node; 32]),
    }
}

pub(crate) fn entity() -> EntityId {
    EntityId::from_u128(1)
}

pub(crate) fn attached(epoch: AuthorityEpoch) -> ServerMessage {
    attached_at(epoch, 0, 0)
}

pub(crate) fn state(epoch: AuthorityEpoch, tick: u64) -> ServerMessage {
    state_at(epoch, tick, 0, 0)
}

/// A client, and all that it wanted since it was last asked.
pub(crate) struct Player {
    pub(crate) machine: Client,
    pub(crate) now: Time,
}

impl Player {
    /// A player who plays on one node and has a connection to the next one ready.
    pub(crate) fn prepared() -> (Self, ConnectionId, ConnectionId) {
        Self::prepared_with(1)
    }

    fn prepared_with(seed: u64) -> (Self, ConnectionId, ConnectionId) {
        let mut player = Self { machine: Client::new(ClientConfig::default(), seed), now: Time::ZERO };
        player.tell(ClientInput::Enter { name: "ada".to_owned(), credential: Vec::new() });
        let entered = player.tell(ClientInput::Door(SessionReply::Entered {
            session: SessionId::from_u128(1),
            secret: Token::from_bytes([9; 32]),
            entity: entity(),
            invitation: invitation(1),
        }));
        let old = connection_of(&entered);
        player.tell(ClientInput::Connected { connection: old });
        player.hear(old, attached(OLD));
        player.hear(old, state(OLD, 10));
        let preconnected = player.hear(old, ServerMessage::Preconnect { invitation: invitation(2) });
        let new = connection_of(&preconnected);
        player.tell(ClientInput::Connected { connection: new });
        player.hear(new, ServerMessage::Parked { entity: entity() });
        (player, old, new)
    }

    /// A player who plays on one node; the second node is a stranger.
    pub(crate) fn alone() -> (Self, ConnectionId) {
        Self::seeded(1)
    }

    pub(crate) fn seeded(seed: u64) -> (Self, ConnectionId) {
        let (mut player, old, new) = Self::prepared_with(seed);
        player.tell(ClientInput::Closed { connection: new });
        (player, old)
    }

    /// The player acts so many times, each time with the next byte.
    pub(crate) fn acts(&mut self, inputs: std::ops::RangeInclusive<u8>) -> Vec<ClientOutput> {
        inputs.flat_map(|input| self.tell(ClientInput::Act(Bytes::from(vec![input])))).collect()
    }

    /// Lets time pass until the machine's next timer, and gives what it wants then.
    pub(crate) fn wait(&mut self) -> Vec<ClientOutput> {
        let (at, _) = self.machine.poll_timeout().expect("something is waited for");
        self.now = self.now.max(at);
        self.machine.handle_timeout(self.now);
        std::iter::from_fn(|| self.machine.poll_output()).collect()
    }

    /// Lets time pass until the machine asks the door, and gives what it wanted all along.
    pub(crate) fn wait_for_question(&mut self) -> Vec<ClientOutput> {
        let mut outputs = Vec::new();
        while !outputs.iter().any(|output| matches!(output, ClientOutput::Ask(_))) {
            outputs.extend(self.wait());
        }
        outputs
    }

    pub(crate) fn tell(&mut self, input: ClientInput) -> Vec<ClientOutput> {
        self.machine.handle(input, self.now);
        std::iter::from_fn(|| self.machine.poll_output()).collect()
    }

    pub(crate) fn hear(&mut self, connection: ConnectionId, message: ServerMessage) -> Vec<ClientOutput> {
        self.tell(ClientInput::Message { connection, message })
    }
}

pub(crate) fn connection_of(outputs: &[ClientOutput]) -> ConnectionId {
    let mut connections = outputs.iter().filter_map(|output| match output {
        ClientOutput::Connect { connection, .. } => Some(*connection),
        ClientOutput::Ask(_)
        | ClientOutput::Send { .. }
        | ClientOutput::Close { .. }
        | ClientOutput::Event(_) => None,
    });
    connections.next_back().expect("a connection was asked for")
}

pub(crate) fn shows(outputs: &[ClientOutput], message: &ServerMessage) -> bool {
    outputs
        .iter()
        .any(|output| matches!(output, ClientOutput::Event(ClientEvent::State(shown)) if shown == message))
}

pub(crate) fn closes(outputs: &[ClientOutput], wanted: ConnectionId) -> bool {
    outputs.iter().any(|output| matches!(output, ClientOutput::Close { connection } if *connection == wanted))
}

pub(crate) fn gap(outputs: &[ClientOutput]) -> Option<Duration> {
    outputs.iter().find_map(|output| match output {
        ClientOutput::Event(ClientEvent::Switched { gap, .. }) => Some(*gap),
        ClientOutput::Ask(_)
        | ClientOutput::Connect { .. }
        | ClientOutput::Send { .. }
        | ClientOutput::Close { .. }
        | ClientOutput::Event(_) => None,
    })
}

/// An authority's word, as the first message on a connection: which inputs the entity has seen, and which are safe.
pub(crate) fn attached_at(epoch: AuthorityEpoch, applied: u32, durable: u32) -> ServerMessage {
    ServerMessage::Attached {
        entity: entity(),
        session: SessionId::from_u128(1),
        epoch,
        applied: InputSeq(applied),
        durable: InputSeq(durable),
        tick_interval_us: 33_000,
    }
}

pub(crate) fn state_at(epoch: AuthorityEpoch, tick: u64, applied: u32, durable: u32) -> ServerMessage {
    ServerMessage::State {
        entity: entity(),
        epoch,
        tick: Tick(tick),
        applied: InputSeq(applied),
        durable: InputSeq(durable),
        motion: Motion::default(),
        own: Vec::new(),
    }
}
