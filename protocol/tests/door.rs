//! The coordinator's door, for players whose node is dead.

mod common;

use selvedge_protocol::coordinator::CoordinatorInput;
use selvedge_protocol::handoff::client::{ClientEvent, ConnectionId};
use selvedge_protocol::id::{AuthorityEpoch, NodeId, Term};
use selvedge_protocol::wire::{AuthorityChange, AuthorityEvent, LeaseMessage, Message};

use common::{Mesh, node_id};

/// Whom the door has asked to let a player in again, in order.
fn asked(mesh: &Mesh) -> Vec<NodeId> {
    let asked =
        mesh.to_nodes.iter().filter(|(_, message)| matches!(message, Message::Admit { resume: true, .. }));
    asked.map(|&(node, _)| node).collect()
}

#[test]
fn whoever_waits_at_the_door_is_led_to_the_node_that_restored_their_entity() {
    let mut mesh = Mesh::row(3);
    let player = mesh.enter("ada");
    mesh.run(10);
    let entity = mesh.the_player_entity();
    let dead = mesh.hosts[mesh.simulating(entity)[0]].id;
    let keeper = if dead == node_id(2) { 1 } else { 2 };

    // Nobody hears of the node any more.
    mesh.filter = Box::new(move |from, _, _| from == dead);
    mesh.close(player, ConnectionId(1));
    mesh.run(45);
    assert!(mesh.players[player].events.contains(&ClientEvent::Silent));
    let before = asked(&mesh);
    assert!(!before.is_empty() && before.iter().all(|&node| node == dead), "{before:?}");

    let change = AuthorityChange {
        entity,
        session: None,
        epoch: AuthorityEpoch { generation: 1, step: 0 },
        cell: None,
        tick: mesh.tick,
        event: AuthorityEvent::Thawed,
    };
    let input = CoordinatorInput::Message {
        from: node_id(keeper),
        incarnation: mesh.hosts[keeper].node.me().map(|me| me.incarnation),
        message: Message::AuthorityChanged { term: Term(1), changes: vec![change] },
        blob: bytes::Bytes::new(),
    };
    mesh.coordinator.handle(input, mesh.now);
    mesh.run(8);
    let after = &asked(&mesh)[before.len()..];
    assert!(!after.is_empty() && after.iter().all(|&node| node == node_id(keeper)), "{after:?}");
    let refused = |event: &ClientEvent| matches!(event, ClientEvent::Refused { .. });
    assert!(!mesh.players[player].events.iter().any(refused), "still the same question");
}

#[test]
fn while_nobody_answers_for_an_entity_the_door_says_later() {
    let mut mesh = Mesh::row(2);
    let player = mesh.enter("ada");
    mesh.run(10);
    let dead = mesh.hosts[mesh.simulating(mesh.the_player_entity())[0]].id;
    // Nor does anybody promise to let it go: nothing can be recovered.
    let promised = |message: &Message| matches!(message, Message::Lease(LeaseMessage::Promised { .. }));
    mesh.filter = Box::new(move |from, _, message| from == dead || promised(message));
    mesh.close(player, ConnectionId(1));
    mesh.run(45 + 160);
    let answers: Vec<bool> = mesh.players[player]
        .events
        .iter()
        .filter_map(|event| if let ClientEvent::Refused { retry, .. } = event { Some(*retry) } else { None })
        .collect();
    assert_eq!(answers.first(), Some(&true));
}
