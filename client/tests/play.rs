//! A player against fake nodes over real QUIC: entering, crossing, losing the line, coming back, leaving.

#![allow(clippy::unwrap_used, reason = "a helper that panics fails the test that called it")]

mod support;

use selvedge_client::{ActError, ClientEvent};
use selvedge_protocol::limits::{INPUT_BYTES_MAX, INPUT_WINDOW};
use selvedge_protocol::wire::{ByeReason, ClientMessage, ServerMessage, SessionRequest};

use support::{
    SECRET, SESSION, Seat, Server, World, epoch, soon, wait_for, wait_for_tick, wait_until_entered,
};

/// A player who has entered at a node and has seen a state.
async fn entered(world: &World, door: &mut Server, node: &mut Server) -> (selvedge_client::Client, Seat) {
    let mut client = world.endpoint(door).enter("ada", *b"credential");
    let request = door.answer(node, 1).await;
    assert_eq!(request, SessionRequest::Enter { name: "ada".into(), credential: b"credential".to_vec() });
    let seat = node.greet(1).await;
    seat.attach(1, 0);
    wait_until_entered(&mut client).await;
    seat.show(1, 1, 0);
    wait_for_tick(&mut client, 1).await;
    (client, seat)
}

#[tokio::test(flavor = "current_thread")]
async fn a_player_enters_and_every_input_is_applied_once_and_acknowledged() {
    let world = World::new();
    let (mut door, mut node) = (world.server("door"), world.server("a"));
    let (mut client, seat) = entered(&world, &mut door, &mut node).await;
    for input in 1..=20u8 {
        assert_eq!(client.act(&[input]).unwrap().0, u32::from(input));
    }
    assert_eq!(node.apply(0, 20).await, (1..=20).collect::<Vec<u8>>());
    seat.show(1, 2, 20);
    wait_for_tick(&mut client, 2).await;
    let stats = client.stats();
    assert_eq!((stats.inputs_sent, stats.inputs_acknowledged, stats.refused), (20, 20, 0));
}

#[tokio::test(flavor = "current_thread")]
async fn a_prepared_crossing_loses_no_input_and_measures_its_gap() {
    let world = World::new();
    let (mut door, mut a, mut b) = (world.server("door"), world.server("a"), world.server("b"));
    let (mut client, at_a) = entered(&world, &mut door, &mut a).await;
    at_a.say(&ServerMessage::Preconnect { invitation: b.invitation(2) });
    let at_b = b.greet(2).await;
    at_b.say(&ServerMessage::Parked { entity: support::ENTITY });
    for input in 1..=9u8 {
        client.act(&[input]).unwrap();
    }
    // The old node applies some of them; the new one takes over from there.
    let mut effects = a.apply(0, 4).await;
    effects.truncate(4);
    at_b.attach(2, 4);
    at_b.show(2, 2, 4);
    let switched =
        wait_for(&mut client, "the switch", |event| matches!(event, ClientEvent::Switched { .. })).await;
    assert!(matches!(switched, ClientEvent::Switched { prepared: true, epoch: at, .. } if at == epoch(2)));
    client.act(&[10]).unwrap();
    effects.extend(b.apply(4, 10).await);
    assert_eq!(effects, (1..=10).collect::<Vec<u8>>());
    at_b.show(2, 3, 10);
    wait_for_tick(&mut client, 3).await;
    a.closed().await;
    let stats = client.stats();
    assert_eq!((stats.switches, stats.prepared_switches, stats.client_gap.len()), (1, 1, 1));
    assert_eq!((stats.inputs_sent, stats.inputs_acknowledged), (10, 10));
    assert_eq!((stats.lost, stats.two_authorities), (0, 0));
}

#[tokio::test(flavor = "current_thread")]
async fn a_redirect_is_followed_where_nothing_was_prepared() {
    let world = World::new();
    let (mut door, mut a, mut b) = (world.server("door"), world.server("a"), world.server("b"));
    let (mut client, at_a) = entered(&world, &mut door, &mut a).await;
    at_a.say(&ServerMessage::Redirect { epoch: epoch(2), invitation: b.invitation(3) });
    let at_b = b.greet(3).await;
    at_b.attach(2, 0);
    at_b.show(2, 2, 0);
    wait_for(&mut client, "the switch", |event| {
        matches!(event, ClientEvent::Switched { prepared: false, .. })
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_lost_connection_leads_back_through_the_door() {
    let world = World::new();
    let (mut door, mut a, mut b) = (world.server("door"), world.server("a"), world.server("b"));
    let (mut client, at_a) = entered(&world, &mut door, &mut a).await;
    client.act(b"x").unwrap();
    at_a.connection.close(300, "the node dies");
    wait_for(&mut client, "the loss", |event| matches!(event, ClientEvent::Lost)).await;
    let request = door.answer(&b, 4).await;
    assert_eq!(request, SessionRequest::Resume { session: SESSION, secret: SECRET });
    let at_b = b.greet(4).await;
    at_b.attach(2, 0);
    assert_eq!(b.apply(0, 1).await, b"x");
    at_b.show(2, 2, 1);
    wait_for_tick(&mut client, 2).await;
    let stats = client.stats();
    assert_eq!((stats.lost, stats.inputs_acknowledged), (1, 1));
}

#[tokio::test(flavor = "current_thread")]
async fn who_disconnects_lingers_until_they_come_back() {
    let world = World::new();
    let (mut door, mut node, mut other) = (world.server("door"), world.server("a"), world.server("b"));
    let (mut client, _seat) = entered(&world, &mut door, &mut node).await;
    client.disconnect();
    node.closed().await;
    assert_eq!(client.act(b"x"), Err(ActError::NotInWorld));
    assert!(!client.is_attached());
    client.come_back();
    // The entity was handed on meanwhile.
    assert!(matches!(door.answer(&other, 5).await, SessionRequest::Resume { .. }));
    let seat = other.greet(5).await;
    seat.attach(2, 0);
    seat.show(2, 9, 0);
    wait_for_tick(&mut client, 9).await;
    assert!(client.is_attached());
    assert_eq!(client.act(b"x").map(|seq| seq.0), Ok(1));
    let stats = client.stats();
    assert_eq!((stats.lost, stats.switches, stats.client_gap.len()), (0, 0, 0));
}

#[tokio::test(flavor = "current_thread")]
async fn a_ticket_brings_another_client_back_to_the_session() {
    let world = World::new();
    let (mut door, mut node) = (world.server("door"), world.server("a"));
    let (client, _seat) = entered(&world, &mut door, &mut node).await;
    let ticket = client.ticket().unwrap();
    drop(client);
    node.closed().await;
    let mut client = world.endpoint(&door).resume(ticket);
    let request = door.answer(&node, 6).await;
    assert_eq!(request, SessionRequest::Resume { session: SESSION, secret: SECRET });
    node.greet(6).await.attach(1, 41);
    wait_until_entered(&mut client).await;
    assert_eq!(client.act(b"x").map(|seq| seq.0), Ok(42));
}

#[tokio::test(flavor = "current_thread")]
async fn a_log_out_waits_for_the_last_input() {
    let world = World::new();
    let (mut door, mut node) = (world.server("door"), world.server("a"));
    let (mut client, seat) = entered(&world, &mut door, &mut node).await;
    client.act(b"x").unwrap();
    let world_side = async {
        node.apply(0, 1).await;
        seat.show(1, 2, 1);
        assert_eq!(node.message("the log-out").await, ClientMessage::Logout);
        seat.say(&ServerMessage::Bye { reason: ByeReason::LoggedOut });
    };
    let (said, ()) = tokio::join!(client.logout(), world_side);
    assert_eq!(said, Ok(Some(ByeReason::LoggedOut)));
    assert_eq!(client.act(b"y"), Err(ActError::Over));
    wait_for(&mut client, "the end", |event| matches!(event, ClientEvent::Over { .. })).await;
    assert_eq!(soon("the end of events", client.next_event()).await, None);
    node.closed().await;
}

#[tokio::test(flavor = "current_thread")]
async fn the_door_is_asked_again_only_where_that_may_help() {
    let world = World::new();
    let mut door = world.server("door");
    let endpoint = world.endpoint(&door);
    let mut client = endpoint.enter("ada", *b"");
    door.refuse(true).await;
    door.refuse(false).await;
    wait_for(&mut client, "the end", |event| matches!(event, ClientEvent::Over { reason: None })).await;
    assert_eq!(client.stats().door_refused, 2);
    soon("the endpoint to close", endpoint.close()).await;
}

#[tokio::test(flavor = "current_thread")]
async fn what_can_not_be_taken_is_refused_on_the_spot() {
    let world = World::new();
    let (mut door, mut node) = (world.server("door"), world.server("a"));
    let early = world.endpoint(&door).enter("bob", *b"");
    assert_eq!(early.act(b"x"), Err(ActError::NotInWorld));
    drop(early);
    let (client, _seat) = entered(&world, &mut door, &mut node).await;
    let long = vec![0; INPUT_BYTES_MAX + 1];
    assert_eq!(client.act(&long), Err(ActError::TooLong { bytes: INPUT_BYTES_MAX + 1 }));
    for _ in 0..INPUT_WINDOW {
        client.act(b"x").unwrap();
    }
    assert_eq!(client.act(b"x"), Err(ActError::WindowFull));
    let stats = client.stats();
    assert_eq!((stats.inputs_sent, stats.refused), (u64::from(INPUT_WINDOW), 2));
}

#[tokio::test(flavor = "current_thread")]
async fn a_slow_reader_sees_the_present() {
    let world = World::new();
    let (mut door, mut node) = (world.server("door"), world.server("a"));
    let (mut client, seat) = entered(&world, &mut door, &mut node).await;
    for tick in 2..=30 {
        seat.show(1, tick, 0);
    }
    let all_seen = async {
        while client.stats().states < 30 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    soon("every state", all_seen).await;
    let waiting = client.try_event();
    assert!(matches!(waiting, Some(ClientEvent::State(ServerMessage::State { tick, .. })) if tick.0 == 30));
    assert_eq!(client.try_event(), None);
    assert_eq!(client.stats().states_replaced, 28);
}
