//! Clients with bad tokens, and clients that turn bad once they are in: each is refused by its cause, and who plays beside
//! them plays on.

use std::time::Duration;

use bytes::Bytes;
use selvedge_coordinator::CoordinatorService;
use selvedge_node::MeshNodeConfig;
use selvedge_protocol::token::Token;
use selvedge_protocol::wire::{
    ByeReason, ClientMessage, Invitation, ServerMessage, SessionReply, SessionRequest, decode_server,
    decode_session_reply, encode_client, encode_session_request,
};
use selvedge_transport::{ClientConnection, ClientDialer, DialEvent, Tuning};
use tokio::sync::mpsc::Receiver;

use crate::flood::play;
use crate::support::{PATIENCE, Running, World, closed, keep_log, logged};

/// Short, so that a test can wait for its end; long enough for a client that doesn't dawdle.
const TOKEN_TTL: Duration = Duration::from_secs(4);

/// One that speaks for itself, without the library that players use.
struct Raw {
    dialer: ClientDialer,
}

impl Raw {
    fn new(world: &World) -> Self {
        Self { dialer: ClientDialer::new(world.0.ca_pem(), Tuning::for_clients()).expect("a socket") }
    }

    /// Asks at the door for a new player's way in.
    async fn invitation(&self, coordinator: &CoordinatorService, name: &str) -> Invitation {
        let request = SessionRequest::Enter { name: name.to_owned(), credential: Vec::new() };
        let door = coordinator.addresses().door;
        let question = encode_session_request(&request);
        let dialled = self.dialer.connect(door, "server-door.aerie.selvedge", question).await;
        let (_connection, mut events) = dialled.expect("the door is open to all");
        let answer = tokio::time::timeout(PATIENCE, events.recv()).await.expect("the door answers");
        let Some(DialEvent::Message(answer)) = answer else { panic!("{answer:?}") };
        match decode_session_reply(&answer).expect("it is an answer") {
            SessionReply::Entered { invitation, .. } => invitation,
            refused @ SessionReply::Refused { .. } => panic!("{refused:?}"),
        }
    }

    /// Shows a token to a node; gives the node's first word.
    async fn show(
        &self,
        address: &str,
        server_name: &str,
        token: Token,
    ) -> (ServerMessage, ClientConnection, Receiver<DialEvent>) {
        let address = address.parse().expect("an address");
        let hello = encode_client(&ClientMessage::Hello { token });
        let dialled = self.dialer.connect(address, server_name, hello).await;
        let (connection, mut events) = dialled.expect("the port is open to all");
        loop {
            let event = tokio::time::timeout(PATIENCE, events.recv()).await.expect("the node answers");
            match event.expect("the end is told first") {
                DialEvent::Message(word) => {
                    return (decode_server(&word).expect("it is a message"), connection, events);
                }
                DialEvent::Datagram(_) => {}
                end @ DialEvent::Closed { .. } => panic!("{end:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_talks_nonsense_after_its_hello_loses_its_own_connection_alone() {
    keep_log();
    let world = World::new();
    let coordinator = world.coordinator(1).await;
    let node = Running::start(world.node(1, &coordinator));
    let players = world.players(&coordinator);
    let mut ada = players.enter("ada", *b"");
    play(&mut ada, 10).await;

    let raw = Raw::new(&world);
    let logout = encode_client(&ClientMessage::Logout);
    let mut newer = logout.to_vec();
    newer[0] = 77;
    let offences = [
        (Bytes::from(newer), "wire version 77; this build speaks 1"),
        (logout.slice(..logout.len() - 1), "a message can't be read: the"),
        (Bytes::from_static(&[1, 0xff, 0xff, 0xff, 0xff]), "a message can't be read: the"),
        (Bytes::new(), "the frame is cut short: 0 bytes"),
    ];
    let count = offences.len() as u64;
    for (number, (frame, cause)) in offences.into_iter().enumerate() {
        let Invitation { addr, server_name, token, .. } =
            raw.invitation(&coordinator, &format!("rude-{number}")).await;
        let (word, connection, mut events) = raw.show(&addr, &server_name, token).await;
        assert!(matches!(word, ServerMessage::Attached { .. }), "{word:?}");
        connection.send(frame).expect("the connection is open");
        let reason = closed(&mut events).await;
        assert!(reason.contains(cause), "{cause} in {reason}");
        logged(&["client misbehaved", "remote=127.0.0.1:", cause]).await;
        play(&mut ada, 10).await;
    }
    let state = play(&mut ada, 10).await;
    assert_eq!((state.ledger.doubled, state.ledger.skipped), (0, 0), "{state:?}");
    ada.logout().await.expect("the world says good-bye");
    players.close().await;
    assert_eq!(node.stop().counters.clients_misbehaved, count);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_made_up_a_foreign_a_used_and_an_expired_token_admit_nobody_and_the_log_says_which_it_was() {
    keep_log();
    let world = World::new();
    let coordinator = world.coordinator(2).await;
    let mut config = MeshNodeConfig::new(coordinator.addresses().mesh);
    config.core.token_ttl = TOKEN_TTL;
    let [one, two] = [1, 2].map(|number| Running::start(world.node_with(number, config.clone())));
    let players = world.players(&coordinator);
    let mut ada = players.enter("ada", *b"");
    play(&mut ada, 10).await;

    let raw = Raw::new(&world);
    let first = one.clients.to_string();
    let made_up = Token::from_bytes([3; 32]);
    let refused = |word: ServerMessage| {
        assert!(matches!(word, ServerMessage::Bye { reason: ByeReason::BadToken }), "{word:?}");
    };
    refused(raw.show(&first, "server-node-1.aerie.selvedge", made_up).await.0);
    logged(&["token refused", "remote=127.0.0.1:", "never granted here"]).await;

    // The door invites to one of the two; its token is worth nothing at the other.
    let invitation = raw.invitation(&coordinator, "eve").await;
    let (elsewhere, name) = if invitation.addr == first {
        (two.clients, "server-node-2.aerie.selvedge")
    } else {
        (one.clients, "server-node-1.aerie.selvedge")
    };
    refused(raw.show(&elsewhere.to_string(), name, invitation.token).await.0);
    let Invitation { addr, server_name, token, .. } = invitation;
    let (word, _eve, _events) = raw.show(&addr, &server_name, token).await;
    assert!(matches!(word, ServerMessage::Attached { .. }), "it is as good as before: {word:?}");

    refused(raw.show(&addr, &server_name, token).await.0);
    logged(&["token refused", "remote=127.0.0.1:", "used already"]).await;

    let Invitation { addr, server_name, token, .. } = raw.invitation(&coordinator, "late").await;
    tokio::time::sleep(TOKEN_TTL + Duration::from_millis(200)).await;
    refused(raw.show(&addr, &server_name, token).await.0);
    logged(&["token refused", "remote=127.0.0.1:", "the token expired at"]).await;

    let state = play(&mut ada, 10).await;
    assert_eq!((state.ledger.doubled, state.ledger.skipped), (0, 0), "{state:?}");
    ada.logout().await.expect("the world says good-bye");
    players.close().await;
    let refusals = [one, two].map(|node| node.stop().counters.tokens_refused);
    assert_eq!(refusals.iter().sum::<u64>(), 4);
    coordinator.stop().await;
}
