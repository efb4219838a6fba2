//! A player whose node dies under them, over real QUIC: silence, the door, the node that restored them, the replay.

#![allow(clippy::unwrap_used, reason = "a helper that panics fails the test that called it")]

mod support;

use std::time::Duration;

use selvedge_client::{Client, ClientConfig, ClientEvent, Link};
use selvedge_protocol::id::{AuthorityEpoch, InputSeq};
use selvedge_protocol::wire::{ServerMessage, SessionRequest};

use support::{
    ENTITY, SECRET, SESSION, Seat, Server, World, epoch, soon, wait_for, wait_for_tick, wait_until_entered,
};

const RESTORED: AuthorityEpoch = AuthorityEpoch { generation: 1, step: 0 };

/// A player at a server, who soon takes silence for its death.
async fn enter(world: &World, door: &mut Server, at: &mut Server) -> (Client, Seat) {
    let machine = ClientConfig {
        silence_patience: Duration::from_millis(500),
        door_retry: Duration::from_millis(20),
        ..ClientConfig::default()
    };
    let client = world.endpoint_with(door, machine).enter("ada", *b"credential");
    door.answer(at, 1).await;
    let seat = at.greet(1).await;
    seat.attach(1, 0);
    (client, seat)
}

#[tokio::test(flavor = "current_thread")]
async fn an_acknowledged_input_survives_the_death_of_the_node_that_applied_it() {
    let world = World::new();
    let (mut door, mut a, mut b) = (world.server("door"), world.server("a"), world.server("b"));
    let (mut client, at_a) = enter(&world, &mut door, &mut a).await;
    wait_until_entered(&mut client).await;
    for input in 1..=9u8 {
        client.act(&[input]).unwrap();
    }
    assert_eq!(a.apply(0, 9).await, (1..=9).collect::<Vec<u8>>());
    at_a.show_durable(epoch(1), 7, 9, 4);
    wait_for_tick(&mut client, 7).await;
    assert_eq!((client.stats().inputs_acknowledged, client.link()), (9, Link::Attached));

    // The node stands still, its connection with it: nothing closes it.
    wait_for(&mut client, "the silence", |event| matches!(event, ClientEvent::Silent)).await;
    assert_eq!(client.link(), Link::Silent);
    client.act(&[10]).unwrap();
    door.refuse(true).await;
    let request = door.answer(&b, 2).await;
    assert_eq!(request, SessionRequest::Resume { session: SESSION, secret: SECRET });
    let at_b = b.greet(2).await;
    at_b.say(&ServerMessage::Attached {
        entity: ENTITY,
        session: SESSION,
        epoch: RESTORED,
        applied: InputSeq(5),
        durable: InputSeq(5),
        tick_interval_us: 33_333,
    });
    // The copy includes the first five.
    assert_eq!(b.apply(5, 10).await, [6, 7, 8, 9, 10]);
    let recovered =
        wait_for(&mut client, "the recovery", |event| matches!(event, ClientEvent::Recovered { .. })).await;
    assert!(matches!(recovered, ClientEvent::Recovered { epoch: RESTORED, replayed: 4, lost: 0, .. }));
    at_b.show_durable(RESTORED, 99, 10, 5);
    wait_for_tick(&mut client, 99).await;

    // The dead node wakes up: the client has closed its connection, so what it still says goes nowhere.
    soon("the end of the old connection", a.closed()).await;
    let stats = client.stats();
    assert_eq!((stats.inputs_sent, stats.inputs_acknowledged, stats.inputs_forgotten), (10, 10, 0));
    assert_eq!((stats.silent, stats.recoveries, stats.inputs_replayed, stats.inputs_lost), (1, 1, 4, 0));
    assert_eq!((stats.switches, stats.lost, stats.two_authorities, stats.door_refused), (0, 0, 0, 1));
    assert_eq!(client.link(), Link::Attached);
}

#[tokio::test(flavor = "current_thread")]
async fn a_node_that_nobody_can_reach_holds_up_neither_the_door_nor_the_next_invitation() {
    let world = World::new();
    let (mut door, mut a, mut b) = (world.server("door"), world.server("a"), world.server("b"));
    let (mut client, at_a) = enter(&world, &mut door, &mut a).await;
    at_a.show_durable(epoch(1), 7, 0, 0);
    wait_for_tick(&mut client, 7).await;
    // The door still believes in a node that answers no packet.
    let unreachable = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    door.answer_with(selvedge_protocol::wire::Invitation {
        addr: unreachable.local_addr().unwrap().to_string(),
        ..a.invitation(9)
    })
    .await;
    door.answer(&b, 2).await;
    let at_b = b.greet(2).await;
    at_b.show_durable(RESTORED, 99, 0, 0);
    wait_for_tick(&mut client, 99).await;
    assert_eq!((client.stats().recoveries, client.link()), (1, Link::Attached));
}
