//! The client's machine, by itself: what it shows its player while the authority moves.

use std::time::Duration;

use selvedge_protocol::grid::Motion;
use selvedge_protocol::handoff::client::{
    Client, ClientConfig, ClientEvent, ClientInput, ClientOutput, ConnectionId,
};
use selvedge_protocol::id::{AuthorityEpoch, EntityId, InputSeq, SessionId};
use selvedge_protocol::time::{Tick, Time};
use selvedge_protocol::token::Token;
use selvedge_protocol::wire::{Invitation, ServerMessage, SessionReply};

const TICK: Duration = Duration::from_millis(33);
const OLD: AuthorityEpoch = AuthorityEpoch { generation: 0, step: 1 };
const NEW: AuthorityEpoch = AuthorityEpoch { generation: 0, step: 2 };

fn invitation(node: u8) -> Invitation {
    Invitation {
        addr: format!("127.0.0.1:{node}"),
        server_name: "node".to_owned(),
        token: Token::from_bytes([node; 32]),
    }
}

fn entity() -> EntityId {
    EntityId::from_u128(1)
}

fn attached(epoch: AuthorityEpoch) -> ServerMessage {
    ServerMessage::Attached {
        entity: entity(),
        session: SessionId::from_u128(1),
        epoch,
        applied: InputSeq(0),
        durable: InputSeq(0),
        tick_interval_us: 33_000,
    }
}

fn state(epoch: AuthorityEpoch, tick: u64) -> ServerMessage {
    ServerMessage::State {
        entity: entity(),
        epoch,
        tick: Tick(tick),
        applied: InputSeq(0),
        durable: InputSeq(0),
        motion: Motion::default(),
        own: Vec::new(),
        seen: Vec::new(),
    }
}

/// A client, and all that it wanted since it was last asked.
struct Player {
    machine: Client,
    now: Time,
}

impl Player {
    /// A player who plays on one node and has a connection to the next one ready.
    fn prepared() -> (Self, ConnectionId, ConnectionId) {
        let mut player = Self { machine: Client::new(ClientConfig::default()), now: Time::ZERO };
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

    fn tell(&mut self, input: ClientInput) -> Vec<ClientOutput> {
        self.machine.handle(input, self.now);
        std::iter::from_fn(|| self.machine.poll_output()).collect()
    }

    fn hear(&mut self, connection: ConnectionId, message: ServerMessage) -> Vec<ClientOutput> {
        self.tell(ClientInput::Message { connection, message })
    }
}

fn connection_of(outputs: &[ClientOutput]) -> ConnectionId {
    let mut connections = outputs.iter().filter_map(|output| match output {
        ClientOutput::Connect { connection, .. } => Some(*connection),
        ClientOutput::Ask(_)
        | ClientOutput::Send { .. }
        | ClientOutput::Close { .. }
        | ClientOutput::Event(_) => None,
    });
    connections.next_back().expect("a connection was asked for")
}

fn shows(outputs: &[ClientOutput], message: &ServerMessage) -> bool {
    outputs
        .iter()
        .any(|output| matches!(output, ClientOutput::Event(ClientEvent::State(shown)) if shown == message))
}

fn closes(outputs: &[ClientOutput], wanted: ConnectionId) -> bool {
    outputs.iter().any(|output| matches!(output, ClientOutput::Close { connection } if *connection == wanted))
}

fn gap(outputs: &[ClientOutput]) -> Option<Duration> {
    outputs.iter().find_map(|output| match output {
        ClientOutput::Event(ClientEvent::Switched { gap, .. }) => Some(*gap),
        ClientOutput::Ask(_)
        | ClientOutput::Connect { .. }
        | ClientOutput::Send { .. }
        | ClientOutput::Close { .. }
        | ClientOutput::Event(_) => None,
    })
}

#[test]
fn the_old_nodes_last_tick_is_shown_though_the_new_node_has_greeted_already() {
    let (mut player, old, new) = Player::prepared();
    player.now += TICK;
    let greeted = player.hear(new, attached(NEW));
    assert!(!closes(&greeted, old), "its last tick is on its way");
    assert!(shows(&player.hear(old, state(OLD, 11)), &state(OLD, 11)));

    player.now += TICK;
    let switched = player.hear(new, state(NEW, 12));
    assert!(shows(&switched, &state(NEW, 12)));
    assert_eq!(gap(&switched), Some(Duration::ZERO), "no tick was missing");
    assert!(closes(&switched, old));
}

#[test]
fn once_the_new_node_has_shown_a_tick_the_old_one_shows_nothing_more() {
    let (mut player, old, new) = Player::prepared();
    player.hear(new, attached(NEW));
    player.hear(new, state(NEW, 12));
    assert!(player.hear(old, state(OLD, 11)).is_empty());
}

#[test]
fn a_node_that_is_given_the_player_back_at_once_is_connected_to_anew() {
    let (mut player, _old, new) = Player::prepared();
    player.hear(new, attached(NEW));
    // The connection to the old node still stands, but only for its last tick.
    let back = Invitation { token: Token::from_bytes([7; 32]), ..invitation(1) };
    let outputs = player.hear(new, ServerMessage::Preconnect { invitation: back.clone() });
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, ClientOutput::Connect { invitation, .. } if *invitation == back))
    );
}
