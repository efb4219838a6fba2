//! Nodes that aren't what they should be: each is told why, and the others don't notice.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use selvedge_coordinator::{AnyName, CoordinatorService, MemoryStore};
use selvedge_protocol::id::{Incarnation, Term};
use selvedge_protocol::time::Time;
use selvedge_protocol::wire::{self, Load, Message};
use selvedge_transport::{Lane, LinkEvent};

use crate::support::{FakeNode, World, http, soon};

async fn coordinator(world: &World) -> CoordinatorService {
    world.coordinator(Arc::new(AnyName), Arc::new(MemoryStore::default())).await
}

/// Registers; gives the life that was granted.
async fn registration(node: &mut FakeNode) -> Incarnation {
    node.linked().await;
    node.register();
    node.receive("the registration", |message, _| {
        if let Message::RegisterRefused { reason } = &message {
            panic!("{reason}");
        }
        let Message::Registered { incarnation, .. } = message else { return None };
        Some(incarnation)
    })
    .await
}

/// Says that the node lives; the answer shows that its link and its registration stand.
async fn beat(node: &mut FakeNode, incarnation: Incarnation) {
    let beat = Message::Heartbeat {
        incarnation,
        sent_at: Time::ZERO,
        map_version: u64::MAX,
        mesh_time: None,
        reported: Term(0),
        load: Load::default(),
    };
    node.send(&beat, Bytes::new());
    node.receive("the heartbeat's answer", |message, _| {
        if let Message::RegisterRefused { reason } = &message {
            panic!("{reason}");
        }
        matches!(message, Message::HeartbeatReply { .. }).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_second_process_with_one_certificate_is_refused_and_the_first_is_not_disturbed() {
    let world = World::new();
    let coordinator = coordinator(&world).await;
    let mut first = world.process(1, 11, &coordinator, "aerie");
    let incarnation = registration(&mut first).await;

    let mut second = world.process(1, 22, &coordinator, "aerie");
    let reason = second.refusal().await;
    for word in ["another process is registered as node", &first.node.to_string(), "identity of its own"] {
        assert!(reason.contains(word), "{word} in {reason}");
    }
    // It goes on trying, in vain, while the first one's link stays.
    for _ in 0..20 {
        beat(&mut first, incarnation).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (_, nodes) = http(coordinator.addresses().http, "GET", "/nodes").await;
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 1);
    assert_eq!(nodes["nodes"][0]["incarnation"], incarnation.0);
    assert_eq!(nodes["nodes"][0]["linked"], true);

    // Once the first has stopped, the second may be the node, in a life of its own.
    first.close("stopped by its operator").await;
    assert!(registration(&mut second).await > incarnation);
}

#[tokio::test(flavor = "current_thread")]
async fn a_process_is_let_in_when_the_one_before_it_died_without_a_word() {
    let world = World { lease: Some(Duration::from_millis(500)), ..World::new() };
    let coordinator = coordinator(&world).await;
    let mut first = world.process(1, 11, &coordinator, "aerie");
    let incarnation = registration(&mut first).await;
    // Its connection is still up, but it isn't heard any more.
    let mut second = world.process(1, 22, &coordinator, "aerie");
    assert!(registration(&mut second).await > incarnation);
    // Should it wake, it is refused: another process is the node by now.
    let reason = first.refusal().await;
    assert!(reason.contains("another process is registered"), "{reason}");
}

#[tokio::test(flavor = "current_thread")]
async fn who_sends_what_is_no_message_loses_its_link_and_nobody_else_does() {
    let world = World::new();
    let coordinator = coordinator(&world).await;
    let mut honest = world.node(1, &coordinator, "aerie");
    let incarnation = registration(&mut honest).await;
    let good = wire::encode_mesh(&Message::Census { term: Term(1), request: 1 });
    let mut newer = good.to_vec();
    newer[0] = 9;
    for (frame, cause) in [
        (Bytes::from_static(b"\x01hi"), "cut short"),
        (good.slice(..good.len() - 1), "cut short"),
        (Bytes::from_static(&[1, 0xff, 0xff, 0xff, 0xff, 0]), "at most"),
        (Bytes::from_static(&[1, 4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]), "not a valid message"),
        (Bytes::from(newer), "wire version 9; this build speaks 1"),
    ] {
        let mut offender = world.node(2, &coordinator, "aerie");
        offender.linked().await;
        offender.send_raw(Lane::Control, frame);
        let reason = loop {
            let event = soon("the end of the link", offender.links.recv()).await.unwrap();
            if let LinkEvent::Down { reason, .. } = event {
                break reason;
            }
        };
        assert!(reason.contains("unreadable message") && reason.contains(cause), "{cause} in {reason}");
        offender.close("enough").await;
        beat(&mut honest, incarnation).await;
    }
    // Who says nothing wrong any more is welcome again.
    let mut reformed = world.node(2, &coordinator, "aerie");
    registration(&mut reformed).await;
    beat(&mut honest, incarnation).await;
    soon("the end", coordinator.stop()).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_port_in_use_is_named_with_its_setting() {
    let world = World::new();
    let running = coordinator(&world).await;
    let taken = running.addresses();
    for (setting, address) in
        [("bind_mesh", taken.mesh), ("bind_door", taken.door), ("bind_http", taken.http)]
    {
        let error = world.coordinator_at(setting, address).await.unwrap_err().to_string();
        for word in [setting, &address.to_string(), "is another process on that port?"] {
            assert!(error.contains(word), "{word} in {error}");
        }
    }
    assert_eq!(http(taken.http, "GET", "/healthz").await.0, 200);
}
