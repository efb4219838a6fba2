//! A node with a good certificate that sends what can't be read: its own link goes, with the cause, and nobody else's.

use std::sync::Arc;

use bytes::Bytes;
use selvedge_certs::{Role, Uuid};
use selvedge_protocol::id::{Incarnation, NodeId, Peer, Term};
use selvedge_protocol::wire::{Hello, Message, encode_hello, encode_mesh};
use selvedge_transport::{Lane, LinkEvent, MeshConfig, MeshEndpoint, MeshLimits, PeerName, Tuning};
use tokio::sync::mpsc::Receiver;

use crate::crossing::walk;
use crate::support::{PATIENCE, Running, World, keep_log, log_lines, logged};

/// Numbers of nodes that no other test of this process has: what the log says of them is about these.
const VICTIM: u128 = 0x31;
const WITNESS: u128 = 0x32;
const ROGUE: u128 = 0x37;

/// An endpoint with a node's certificate, linked to the victim.
fn rogue(world: &World, victim: &Running) -> (MeshEndpoint, Receiver<LinkEvent>) {
    let me = Peer { node: NodeId::from_u128(ROGUE), incarnation: Incarnation(1) };
    let hello = Hello {
        world: "aerie".to_owned(),
        peer: Some(me),
        process: 1,
        term: None,
        schema_min: 1,
        schema_max: 1,
    };
    let config = MeshConfig {
        bind: ([127, 0, 0, 1], 0).into(),
        identity: Arc::new(world.identity(Role::Node(Uuid::from_u128(ROGUE)))),
        hello: encode_hello(&hello),
        tuning: Tuning::default(),
        limits: MeshLimits::default(),
    };
    let (endpoint, events) = MeshEndpoint::bind(config, Arc::new(|_, _| Ok(()))).expect("a socket");
    endpoint.keep_link(PeerName::node(world.0.world(), VICTIM.to_be_bytes()), victim.mesh);
    (endpoint, events)
}

/// Sends each of these over a link of its own, and hears why it ended.
async fn offend(mut events: Receiver<LinkEvent>, offences: &[(Bytes, &str)]) {
    for (frame, cause) in offences {
        let reason = loop {
            let event = tokio::time::timeout(PATIENCE, events.recv()).await.expect("something happens");
            match event.expect("the endpoint is open") {
                LinkEvent::Up { link, .. } => {
                    link.send(Lane::Control, frame.clone(), Bytes::new()).expect("the link is up");
                }
                LinkEvent::Down { reason, .. } => break reason,
                event @ LinkEvent::DialFailed { .. } => panic!("{event:?}"),
                LinkEvent::Message { .. } | LinkEvent::Datagram { .. } => {}
            }
        };
        assert!(
            reason.contains("your message can't be read") && reason.contains(cause),
            "{cause} in {reason}"
        );
        let offender = Uuid::from_u128(ROGUE).to_string();
        logged(&["peer misbehaved", &offender, cause]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_sends_what_is_no_message_loses_its_own_link_and_handoffs_go_on() {
    keep_log();
    let world = World::new();
    let coordinator = world.coordinator(2).await;
    let [victim, witness] = [VICTIM, WITNESS].map(|number| Running::start(world.node(number, &coordinator)));
    let good = encode_mesh(&Message::Census { term: Term(1), request: 1 });
    let mut newer = good.to_vec();
    newer[0] = 77;
    let offences = [
        (Bytes::from(newer), "wire version 77; this build speaks 1"),
        (good.slice(..good.len() - 1), "is cut short"),
        (Bytes::from_static(b"\x01hi"), "is cut short"),
        (Bytes::from_static(&[1, 0xff, 0xff, 0xff, 0xff, 0]), "at most"),
        (Bytes::from_static(&[1, 4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]), "not a valid message"),
    ];
    let (endpoint, events) = rogue(&world, &victim);
    let players = world.players(&coordinator);
    // Meanwhile somebody crosses to and fro between the two that do nothing wrong.
    let (state, ()) = tokio::join!(walk(&players), offend(events, &offences));
    assert_eq!((state.ledger.doubled, state.ledger.skipped), (0, 0), "{state:?}");
    for honest in [VICTIM, WITNESS] {
        let honest = Uuid::from_u128(honest).to_string();
        assert_eq!(log_lines(&["selvedge_node::net::task: link down", &honest]), [""; 0]);
    }
    endpoint.close("enough").await;
    players.close().await;
    let misbehaved = [victim, witness].map(|node| node.stop().counters.peers_misbehaved);
    assert_eq!(misbehaved, [offences.len() as u64, 0]);
    coordinator.stop().await;
}
