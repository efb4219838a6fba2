//! The coordinator's door, for players whose node is dead.

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use selvedge_protocol::coordinator::{CoordinatorEvent, CoordinatorInput, CoordinatorOutput, Record};
use selvedge_protocol::handoff::client::{ClientEvent, ConnectionId};
use selvedge_protocol::id::{AuthorityEpoch, Incarnation, InputSeq, NodeId, SessionId, Term};
use selvedge_protocol::node::{Input, Sender};
use selvedge_protocol::snapshot::{ComponentVersions, SnapshotWriter};
use selvedge_protocol::wire::{AuthorityChange, AuthorityEvent, LeaseMessage, Message, StandbyMessage};

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
    let incarnation = mesh.hosts[keeper].node.me().expect("it is registered").incarnation;
    let input = CoordinatorInput::Message {
        from: node_id(keeper),
        incarnation: Some(incarnation),
        message: Message::AuthorityChanged { term: Term(1), incarnation, changes: vec![change] },
        blob: Bytes::new(),
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

/// Ticks in which a lease, its margin, a recovery round and a few questions at the door are over.
const RECOVERED: u32 = 400;
/// Ticks after which a session is looked at whose entity nobody holds, and the player has asked again.
const MISSED: u32 = 600;

fn entered(mesh: &Mesh, player: usize) -> bool {
    mesh.players[player].events.iter().any(|event| matches!(event, ClientEvent::Entered { .. }))
}

/// A player is let in by a node that dies before it has heard so. Returns the node.
fn let_in_by_a_node_that_dies(mesh: &mut Mesh) -> usize {
    mesh.filter = Box::new(|_, _, message| matches!(message, Message::AdmitReply { .. }));
    mesh.enter("ada");
    let node = mesh.to_nodes.iter().rev().find(|(_, message)| matches!(message, Message::Admit { .. }));
    let node = (0..mesh.hosts.len()).find(|&index| node.is_some_and(|&(node, _)| node == node_id(index)));
    let node = node.expect("somebody was asked");
    mesh.crash(node);
    mesh.filter = Box::new(|_, _, _| false);
    node
}

#[test]
fn whoever_was_to_be_let_in_by_a_node_that_is_dead_for_good_is_let_in_by_another() {
    let mut mesh = Mesh::row(3);
    mesh.run(2);
    let dead = let_in_by_a_node_that_dies(&mut mesh);
    mesh.run(RECOVERED);
    assert!(entered(&mesh, 0), "{:?}", mesh.players[0].events);
    assert_ne!(mesh.simulating(mesh.the_player_entity()), [dead]);
}

#[test]
fn so_is_whoever_a_former_coordinator_sent_to_a_node_that_is_dead_for_good() {
    let mut mesh = Mesh::row(3);
    mesh.run(2);
    let dead = let_in_by_a_node_that_dies(&mut mesh);
    mesh.run(RECOVERED / 2);
    mesh.stop_coordinator();
    mesh.restore_coordinator();
    mesh.link_coordinator();
    mesh.run(RECOVERED);
    assert!(entered(&mesh, 0), "{:?}", mesh.players[0].events);
    assert_ne!(mesh.simulating(mesh.the_player_entity()), [dead]);
}

/// A player whose entity is lost: its node dies, and nobody has a copy. Returns the entity.
fn lost_with_its_node(mesh: &mut Mesh) -> selvedge_protocol::id::EntityId {
    mesh.run(2);
    mesh.filter = Box::new(|_, _, message| matches!(message, Message::Standby(StandbyMessage::Part { .. })));
    mesh.enter("ada");
    mesh.run(10);
    let entity = mesh.the_player_entity();
    let holder = mesh.simulating(entity)[0];
    mesh.crash(holder);
    mesh.break_connections(0);
    entity
}

fn sessions_of(mesh: &Mesh, entity: selvedge_protocol::id::EntityId) -> usize {
    let of_it = |record: &Record| matches!(record, Record::Session(session) if session.entity == entity);
    mesh.image.records().filter(of_it).count()
}

#[test]
fn the_session_of_an_entity_that_is_lost_is_over_whatever_becomes_of_the_coordinator() {
    let mut mesh = Mesh::row(3);
    let entity = lost_with_its_node(&mut mesh);
    assert_eq!(sessions_of(&mesh, entity), 1);
    let over = |mesh: &Mesh| {
        let lost = |event: &CoordinatorEvent| matches!(event, CoordinatorEvent::RoundClosed { .. });
        mesh.coordinator_events.iter().any(lost)
    };
    while !over(&mesh) {
        mesh.run(1);
    }
    // Its end is kept at once: another coordinator would look for it for ever.
    assert_eq!(sessions_of(&mesh, entity), 0);
}

#[test]
fn so_it_is_if_a_former_coordinator_alone_knew_who_held_it() {
    let mut mesh = Mesh::row(3);
    let entity = lost_with_its_node(&mut mesh);
    mesh.stop_coordinator();
    mesh.restore_coordinator();
    mesh.link_coordinator();
    let deadline = mesh.tick.0 + u64::from(MISSED);
    let again = |mesh: &mut Mesh| {
        // The player asks all the time.
        mesh.run(10);
        sessions_of(mesh, entity) == 0
    };
    while !again(&mut mesh) {
        assert!(mesh.tick.0 < deadline, "the door waits for it for ever: {:?}", mesh.players[0].events);
    }
}

#[test]
fn so_it_is_if_the_word_of_it_comes_when_its_node_has_begun_another_life() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    let late: Rc<RefCell<Vec<Message>>> = Rc::default();
    let held_back = Rc::clone(&late);
    mesh.filter = Box::new(move |_, _, message| {
        let reported = matches!(message, Message::AuthorityChanged { .. });
        if reported {
            held_back.borrow_mut().push(message.clone());
        }
        reported || matches!(message, Message::Standby(StandbyMessage::Part { .. }))
    });
    mesh.enter("ada");
    mesh.run(10);
    let entity = mesh.the_player_entity();
    let holder = mesh.simulating(entity)[0];
    let former = mesh.hosts[holder].node.me().expect("it is registered");

    let over = LeaseMessage::Fenced { term: Term(1), incarnation: former.incarnation };
    let (from, message, blob) = (Sender::Coordinator, Message::Lease(over), Bytes::new());
    mesh.hosts[holder].node.handle(Input::Message { from, message, blob }, mesh.now);
    mesh.settle();
    assert!(mesh.hosts[holder].node.me().is_some_and(|me| me.incarnation > former.incarnation));
    mesh.filter = Box::new(|_, _, _| false);
    assert!(!late.borrow().is_empty());
    for message in late.take() {
        let (from, incarnation, blob) = (former.node, Some(former.incarnation), Bytes::new());
        mesh.coordinator.handle(CoordinatorInput::Message { from, incarnation, message, blob }, mesh.now);
    }
    mesh.run(MISSED);
    assert_eq!(mesh.coordinator.status(mesh.now).entities, 0, "the later life never had it");
    assert_eq!(sessions_of(&mesh, entity), 0);
    let refused = |event: &ClientEvent| matches!(event, ClientEvent::Refused { retry: false, .. });
    assert!(mesh.players[0].events.iter().any(refused), "{:?}", mesh.players[0].events);
}

/// The player's session, and a character as it would be saved.
fn character_of(mesh: &Mesh, entity: selvedge_protocol::id::EntityId) -> (SessionId, Bytes) {
    let session = mesh
        .image
        .records()
        .find_map(|record| if let Record::Session(session) = record { Some(session.session) } else { None });
    let session = session.expect("it is kept");
    let writer = SnapshotWriter::new(entity, Some(session), &ComponentVersions::default());
    (session, writer.finish(InputSeq(0)).expect("it is small").bytes)
}

#[test]
fn a_character_whose_end_a_recovery_undid_ends_no_stay_and_is_nobodys_fault() {
    let mut mesh = Mesh::row(2);
    mesh.enter("ada");
    mesh.run(10);
    let entity = mesh.the_player_entity();
    let (session, character) = character_of(&mesh, entity);
    // Another node restored what had ended, and it has come back to where it was.
    let holder = mesh.hosts[mesh.simulating(entity)[0]].node.me().expect("it is registered");
    let (epoch, event) = (AuthorityEpoch { generation: 1, step: 1 }, AuthorityEvent::Held);
    let back = AuthorityChange { entity, session: Some(session), epoch, cell: None, tick: mesh.tick, event };
    let mut tell = |message, blob| {
        let (from, incarnation) = (holder.node, Some(holder.incarnation));
        mesh.coordinator.handle(CoordinatorInput::Message { from, incarnation, message, blob }, mesh.now);
        mesh.settle();
        let charged = |event: &CoordinatorEvent| matches!(event, CoordinatorEvent::NodeMisbehaved { .. });
        (mesh.saved.len(), mesh.coordinator_events.iter().any(charged))
    };
    let (term, incarnation) = (Term(1), holder.incarnation);
    tell(Message::AuthorityChanged { term, incarnation, changes: vec![back] }, Bytes::new());
    let (former, end) = (Incarnation(0), AuthorityEpoch::FIRST.next_step());
    for _ in 0..10 {
        let save = Message::SaveCharacter { session, entity, incarnation: former, end };
        assert_eq!(tell(save, character.clone()), (0, false));
    }
    let save = Message::SaveCharacter { session, entity, incarnation, end: epoch.next_step() };
    assert_eq!(tell(save, character), (1, false), "the end that counts");
}

/// However often it comes, the store is asked for a character once at a time.
#[test]
fn a_character_that_is_being_saved_waits_for_the_store() {
    let mut mesh = Mesh::row(2);
    mesh.enter("ada");
    mesh.run(10);
    let entity = mesh.the_player_entity();
    let (session, character) = character_of(&mesh, entity);
    let holder = mesh.hosts[mesh.simulating(entity)[0]].node.me().expect("it is registered");
    let mut asked_after = |input: Option<CoordinatorInput>| {
        let end = AuthorityEpoch::FIRST.next_step();
        let message = Message::SaveCharacter { session, entity, incarnation: holder.incarnation, end };
        let (from, incarnation) = (holder.node, Some(holder.incarnation));
        let save = CoordinatorInput::Message { from, incarnation, message, blob: character.clone() };
        mesh.coordinator.handle(input.unwrap_or(save), mesh.now);
        let outputs = core::iter::from_fn(|| mesh.coordinator.poll_output());
        outputs.filter(|output| matches!(output, CoordinatorOutput::SaveCharacter { .. })).count()
    };
    assert_eq!((asked_after(None), asked_after(None)), (1, 0));
    let full = CoordinatorInput::CharacterSaved {
        session,
        node: holder.node,
        result: Err("the disk is full".to_owned()),
    };
    assert_eq!((asked_after(Some(full)), asked_after(None)), (0, 1), "then it is tried again");
}

#[test]
fn nobody_is_blamed_for_a_character_that_ended_in_a_life_whose_reports_are_lost() {
    let mut mesh = Mesh::row(2);
    mesh.enter("ada");
    mesh.run(10);
    let entity = mesh.the_player_entity();
    let at = mesh.simulating(entity)[0];
    let (session, character) = character_of(&mesh, entity);
    // It had gone to the other node and left there, which has begun another life since.
    let other = mesh.hosts[1 - at].node.me().expect("it is registered");
    let end = AuthorityEpoch { generation: 0, step: 3 };
    for _ in 0..10 {
        let (from, blob) = (other.node, character.clone());
        let message = Message::SaveCharacter { session, entity, incarnation: Incarnation(0), end };
        let input = CoordinatorInput::Message { from, incarnation: None, message, blob };
        mesh.coordinator.handle(input, mesh.now);
        mesh.settle();
    }
    let charged = |event: &CoordinatorEvent| matches!(event, CoordinatorEvent::NodeMisbehaved { .. });
    assert!(!mesh.coordinator_events.iter().any(charged), "{:?}", mesh.coordinator_events);
    assert_eq!(mesh.saved, []);
}
