//! The coordinator ends and another goes on from what was persisted: who stays, who may enter, who is believed.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]
#![allow(clippy::unwrap_used, reason = "a failed expectation fails the test")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use common::{Mesh, node_id};
use selvedge_protocol::config::CoordinatorConfig;
use selvedge_protocol::coordinator::{
    Coordinator, CoordinatorEvent, CoordinatorImage, CoordinatorInput, CoordinatorOutput, Record,
    RestoreError,
};
use selvedge_protocol::handoff::Path;
use selvedge_protocol::handoff::client::ClientEvent;
use selvedge_protocol::id::{AuthorityEpoch, EntityId, Incarnation, Term};
use selvedge_protocol::limits::LIVES_OF_NODE_MAX;
use selvedge_protocol::node::{Input, NodeEvent, Sender};
use selvedge_protocol::time::{Tick, Time};
use selvedge_protocol::wire::{AuthorityChange, AuthorityEvent, Message};

const ENTITY: EntityId = EntityId::from_u128(99);

fn incarnations(mesh: &Mesh) -> Vec<Incarnation> {
    mesh.hosts.iter().map(|host| host.node.me().unwrap().incarnation).collect()
}

fn entered(mesh: &Mesh, player: usize) -> Option<EntityId> {
    mesh.players[player].events.iter().find_map(|event| match event {
        ClientEvent::Entered { entity, .. } => Some(*entity),
        _ => None,
    })
}

fn restart(mesh: &mut Mesh) {
    mesh.stop_coordinator();
    mesh.restore_coordinator();
    mesh.link_coordinator();
}

#[test]
fn nodes_stay_registered_and_hand_off_directly_while_it_is_away() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[0].spawn(ENTITY, 90.0, 10.0, Tick(2));
    let before = incarnations(&mesh);
    mesh.run(1);
    mesh.stop_coordinator();
    mesh.run(60);
    assert_eq!(mesh.handed_over().len(), 1, "the crossing did not wait for a coordinator");
    mesh.restore_coordinator();
    mesh.link_coordinator();
    mesh.run(10);
    assert_eq!(incarnations(&mesh), before);
    assert_eq!(mesh.simulating(ENTITY), [1]);
    let status = mesh.coordinator.status(mesh.now);
    assert_eq!((status.term, status.entities, status.directory_whole), (Term(2), 1, true));
    assert!(status.nodes.iter().all(|node| node.alive && node.linked && node.cells == 1));
    assert_eq!(status.authority_violations, 0);
}

#[test]
fn what_has_just_been_handed_over_when_it_restarts_is_no_violation_and_is_found() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[0].spawn(ENTITY, 90.0, 10.0, Tick(2));
    // At each tick of a crossing, before and after each of its reports.
    let mut ticks = 0;
    while mesh.simulating(ENTITY) != [1] || ticks < 60 {
        mesh.run(1);
        restart(&mut mesh);
        ticks += 1;
        assert!(ticks < 200, "the entity never got across");
    }
    mesh.run(60);
    let status = mesh.coordinator.status(mesh.now);
    assert_eq!((status.authority_violations, status.entities, status.directory_whole), (0, 1, true));
    let misbehaved = |event: &&CoordinatorEvent| matches!(event, CoordinatorEvent::NodeMisbehaved { .. });
    assert_eq!(mesh.coordinator_events.iter().find(misbehaved), None);
}

#[test]
fn a_player_resumes_with_the_secret_that_they_have_and_another_enters() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.enter("ada");
    mesh.run(10);
    let entity = mesh.the_player_entity();
    let holder = mesh.simulating(entity);
    restart(&mut mesh);
    mesh.break_connections(0);
    mesh.run(30);
    assert_eq!(mesh.simulating(entity), holder, "it is the entity that they left");
    assert_eq!(mesh.coordinator.status(mesh.now).sessions, 1);
    let attached = mesh.hosts[holder[0]].events.iter();
    assert_eq!(attached.filter(|event| matches!(event, NodeEvent::TokenRefused { .. })).count(), 0);
    let bob = mesh.enter("bob");
    mesh.run(10);
    assert!(entered(&mesh, bob).is_some_and(|other| other != entity));
    let again = mesh.enter("ada");
    mesh.run(10);
    assert_eq!(entered(&mesh, again), None, "the name is in the world already");
}

#[test]
fn nobody_is_made_anew_who_may_live_on_a_node_that_was_not_heard_yet() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.enter("ada");
    mesh.run(10);
    let entity = mesh.the_player_entity();
    mesh.stop_coordinator();
    mesh.restore_coordinator();
    // The nodes reach it, but what they hold is not told yet.
    mesh.filter = Box::new(|_, _, message| matches!(message, Message::AuthorityChanged { .. }));
    mesh.link_coordinator();
    mesh.run(5);
    assert!(!mesh.coordinator.status(mesh.now).directory_whole);
    let again = mesh.enter("ada");
    mesh.break_connections(0);
    mesh.run(20);
    assert_eq!(mesh.simulating(entity).len(), 1);
    let asked = mesh.to_nodes.iter().filter(|(_, message)| matches!(message, Message::Admit { .. }));
    let resumed = asked.filter(|(_, message)| matches!(message, Message::Admit { resume: true, .. })).count();
    assert!(resumed > 0, "the player is looked for");
    mesh.filter = Box::new(|_, _, _| false);
    mesh.run(60);
    assert!(mesh.coordinator.status(mesh.now).directory_whole);
    assert_eq!((mesh.simulating(entity).len(), entered(&mesh, again)), (1, None));
}

#[test]
fn a_player_who_was_let_in_but_had_not_come_yet_still_may() {
    let mut mesh = Mesh::row(1);
    mesh.run(2);
    // The node's word that the player may come never arrives at the first coordinator.
    mesh.filter = Box::new(|_, _, message| matches!(message, Message::AdmitReply { .. }));
    mesh.enter("ada");
    mesh.run(3);
    restart(&mut mesh);
    mesh.filter = Box::new(|_, _, _| false);
    let ada = mesh.enter("ada");
    mesh.run(60);
    assert!(entered(&mesh, ada).is_some());
    assert_eq!(mesh.coordinator.status(mesh.now).sessions, 1);
}

#[test]
fn a_player_whose_entity_ended_with_all_nodes_while_it_was_away_enters_anew() {
    let mut mesh = Mesh::row(2);
    let player = mesh.enter("ada");
    mesh.run(60);
    let lost = entered(&mesh, player).unwrap();
    mesh.stop_coordinator();
    // So long that every lease runs out: all hands are empty.
    mesh.hosts.iter_mut().for_each(|host| host.cut_off = true);
    mesh.run(200);
    mesh.hosts.iter_mut().for_each(|host| host.cut_off = false);
    mesh.restore_coordinator();
    mesh.link_coordinator();
    mesh.run(600);
    let events = &mesh.players[player].events;
    let over = |event: &ClientEvent| matches!(event, ClientEvent::Refused { retry: false, .. });
    assert!(events.iter().any(over), "{events:?}");
    let again = mesh.enter("ada");
    mesh.run(200);
    assert!(entered(&mesh, again).is_some_and(|entity| entity != lost), "{:?}", mesh.players[again].events);
}

#[test]
fn a_character_that_left_just_before_is_saved_by_the_node_that_held_it() {
    let mut mesh = Mesh::row(1);
    mesh.run(2);
    mesh.enter("ada");
    mesh.run(10);
    mesh.filter = Box::new(|_, _, message| matches!(message, Message::SaveCharacter { .. }));
    mesh.log_out(0);
    mesh.run(10);
    assert_eq!(mesh.saved, []);
    restart(&mut mesh);
    mesh.filter = Box::new(|_, _, _| false);
    mesh.run(60);
    assert_eq!(mesh.saved.len(), 1);
    assert_eq!(mesh.coordinator.status(mesh.now).sessions, 0);
    assert_eq!(mesh.image.records().filter(|record| matches!(record, Record::Session(_))).count(), 0);
}

#[test]
fn a_node_heeds_no_command_of_a_lower_term_than_it_has_seen() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.enter("ada");
    mesh.run(10);
    let entity = mesh.the_player_entity();
    let holder = mesh.simulating(entity)[0];
    let session = mesh.players[0].events.iter().find_map(|event| match event {
        ClientEvent::Entered { session, .. } => Some(*session),
        _ => None,
    });
    let session = session.unwrap();
    restart(&mut mesh);
    mesh.run(10);
    let (term, now) = (Term(1), mesh.now);
    let entry = selvedge_protocol::grid::Position::new(1.0, 1.0, 0.0);
    let admit = Message::Admit { term, request: 7, session, entity, name: "ada".into(), resume: true, entry };
    let node = &mut mesh.hosts[holder].node;
    for message in [admit, Message::Census { term, request: 7 }] {
        node.handle(Input::Message { from: Sender::Coordinator, message, blob: Bytes::new() }, now);
        assert!(node.poll_output().is_none(), "a coordinator of the past is not answered");
    }
    let message = Message::Census { term: Term(2), request: 7 };
    node.handle(Input::Message { from: Sender::Coordinator, message, blob: Bytes::new() }, now);
    assert!(node.poll_output().is_some());
}

#[test]
fn a_new_coordinator_hears_nothing_of_what_a_node_had_and_has_no_more() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    // The word of the birth gets lost, that of the end arrives.
    mesh.filter = Box::new(|_, _, message| match message {
        Message::AuthorityChanged { changes, .. } => {
            changes.iter().any(|change| change.entity == ENTITY && change.event == AuthorityEvent::Spawned)
        }
        _ => false,
    });
    let tick = mesh.tick;
    mesh.hosts[0].spawn(ENTITY, 50.0, 0.0, tick);
    mesh.run(6);
    let tick = mesh.tick;
    mesh.hosts[0].roster.as_mut().unwrap().despawn(ENTITY, tick).unwrap();
    mesh.hosts[0].game.points.remove(&ENTITY);
    mesh.run(6);
    mesh.filter = Box::new(|_, _, _| false);
    restart(&mut mesh);
    mesh.run(60);
    assert_eq!(mesh.coordinator.status(mesh.now).entities, 0);
}

#[test]
fn a_coordinator_of_a_lower_term_than_the_node_has_seen_acknowledges_nothing() {
    let mut mesh = Mesh::row(1);
    mesh.run(2);
    let change = AuthorityChange {
        entity: ENTITY,
        session: None,
        epoch: AuthorityEpoch::FIRST,
        cell: None,
        tick: Tick(3),
        event: AuthorityEvent::Spawned,
    };
    for (term, acknowledged) in [(Term(2), 0), (Term(1), 1)] {
        let incarnation = mesh.hosts[0].node.me().unwrap().incarnation;
        let message = Message::AuthorityChanged { term, incarnation, changes: vec![change] };
        let from = node_id(0);
        let input = CoordinatorInput::Message { from, incarnation: None, message, blob: Bytes::new() };
        mesh.coordinator.handle(input, mesh.now);
        let mut acks = 0;
        while let Some(output) = mesh.coordinator.poll_output() {
            acks += usize::from(matches!(
                output,
                CoordinatorOutput::Send { message: Message::AuthorityAck { .. }, .. }
            ));
        }
        assert_eq!(acks, acknowledged, "the node has seen {term}");
    }
}

#[test]
fn each_coordinator_persists_a_higher_term_before_anything_else() {
    let mut image = CoordinatorImage::beginning_at(41);
    for term in 42..45 {
        let config = CoordinatorConfig::default();
        let mut machine = Coordinator::restored(config, image.clone(), Time::ZERO, [7; 32]).unwrap();
        let Some(CoordinatorOutput::Persist(first)) = machine.poll_output() else { panic!("nothing") };
        assert_eq!(first, Record::Term(Term(term)));
        assert_eq!(machine.term(), Term(term));
        image.apply(first);
    }
}

#[test]
fn the_image_survives_as_rows() {
    let mut mesh = Mesh::row(3);
    mesh.run(2);
    mesh.enter("ada");
    mesh.run(10);
    let rows: Vec<(String, Vec<u8>)> =
        mesh.image.records().map(|record| (record.key(), record.value().unwrap())).collect();
    assert!(rows.len() >= 3 + 1 + 3, "three lives, a session and the rest: {}", rows.len());
    let image = CoordinatorImage::from_rows(rows.iter().map(|(key, value)| (&key[..], &value[..]))).unwrap();
    assert_eq!(image, mesh.image);
    for (key, value) in &rows {
        for cut in 0..value.len() {
            drop(CoordinatorImage::from_rows([(&key[..], &value[..cut])]));
        }
    }
}

#[test]
fn an_image_that_can_not_be_true_is_refused_by_name() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.enter("ada");
    mesh.run(10);
    let lives: Vec<_> = mesh
        .image
        .records()
        .filter_map(|record| match record {
            Record::Life(life) => Some(life),
            _ => None,
        })
        .collect();
    let session = mesh.image.records().find_map(|record| match record {
        Record::Session(session) => Some(session),
        _ => None,
    });
    let session = session.unwrap();
    let refused = |change: &dyn Fn(&mut CoordinatorImage)| {
        let mut image = mesh.image.clone();
        change(&mut image);
        match Coordinator::restored(mesh.config(), image, mesh.now, [7; 32]) {
            Err(RestoreError::Image(error)) => error.to_string(),
            other => panic!("not refused: {other:?}"),
        }
    };
    let ungranted = refused(&|image| image.apply(Record::Incarnation(Incarnation(1))));
    assert!(ungranted.contains("incarnation 2") && ungranted.contains("only 1"), "{ungranted}");
    let mut twin = lives[0].clone();
    twin.peer.incarnation = lives[1].peer.incarnation;
    let twins = refused(&|image| image.apply(Record::Life(twin.clone())));
    assert!(twins.contains("incarnation 2") && twins.contains("both"), "{twins}");
    let mut second = session.clone();
    second.session = selvedge_protocol::id::SessionId::from_u128(5);
    let names = refused(&|image| image.apply(Record::Session(second.clone())));
    assert!(names.contains("\"ada\""), "{names}");
    let mut nameless = session.clone();
    nameless.name.clear();
    assert!(refused(&|image| image.apply(Record::Session(nameless.clone()))).contains("name of 0 bytes"));
    let mut map = mesh.coordinator.map().to_image();
    map.nodes.clear();
    assert!(refused(&|image| image.apply(Record::Map(map.clone()))).contains("cell map"));

    let mut config = mesh.config();
    config.world.tick_interval = Duration::from_millis(50);
    let error = Coordinator::restored(config, mesh.image.clone(), mesh.now, [7; 32]).unwrap_err().to_string();
    assert!(error.contains("33333 us") && error.contains("50000 us"), "{error}");
}

#[test]
fn a_round_that_was_open_is_begun_again_under_a_higher_number() {
    let mut mesh = Mesh::row(3);
    mesh.run(2);
    let dead = mesh.hosts[2].node.me().unwrap();
    let mut life = mesh.image.records().find_map(|record| match record {
        Record::Life(life) if life.peer == dead => Some(life),
        _ => None,
    });
    life.as_mut().unwrap().over = true;
    mesh.stop_coordinator();
    mesh.image.apply(Record::Life(life.unwrap()));
    mesh.image.apply(Record::Round(7));
    mesh.hosts.pop();
    mesh.restore_coordinator();
    mesh.link_coordinator();
    mesh.run(20);
    let closed = |event: &CoordinatorEvent| matches!(event, CoordinatorEvent::RoundClosed { round: 8.. });
    assert!(mesh.coordinator_events.iter().any(closed), "{:?}", mesh.coordinator_events);
    let settled = mesh.image.records().all(|record| !matches!(record, Record::Life(life) if life.over));
    assert!(settled, "what the dead held is settled, and that is remembered");
    assert!(mesh.coordinator.status(mesh.now).directory_whole);
}

#[test]
fn a_node_that_is_gone_when_it_restarts_is_given_up_after_a_full_lease_and_not_before() {
    let mut mesh = Mesh::row(3);
    mesh.run(2);
    let gone = mesh.hosts[2].id;
    mesh.stop_coordinator();
    mesh.hosts.pop();
    mesh.restore_coordinator();
    let begun = mesh.now;
    mesh.link_coordinator();
    let lease = mesh.config().lease;
    let mut over_at = None;
    while over_at.is_none() {
        mesh.run(1);
        let over = |event: &CoordinatorEvent| matches!(event, CoordinatorEvent::Suspected { peer, .. } if peer.node == gone);
        over_at = mesh.coordinator_events.iter().any(over).then_some(mesh.now);
        assert!(mesh.now.since(begun) < lease * 4, "it is never given up");
    }
    assert!(over_at.unwrap().since(begun) >= lease);
}

#[test]
fn a_crossing_under_way_goes_the_warm_way_right_after_the_restart() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    restart(&mut mesh);
    mesh.hosts[0].spawn(ENTITY, 80.0, 10.0, Tick(2));
    mesh.run(120);
    assert_eq!(mesh.handed_over(), [Path::Warm]);
    assert!(mesh.coordinator.status(mesh.now).prepares_notified > 0);
}

#[test]
fn a_node_that_begins_life_after_life_has_to_wait_and_what_is_kept_stays_good() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    // As long as somebody owes an answer no former life is settled.
    mesh.filter = Box::new(|_, _, message| matches!(message, Message::Recovery(_)));
    mesh.to_nodes.clear();
    let begin = |mesh: &mut Mesh, life: u32| {
        let message = Message::Register {
            node: node_id(0),
            process: 0,
            life,
            sent_at: mesh.now,
            mesh_addr: "10.0.0.0:1".to_owned(),
            client_addr: "10.0.0.0:2".to_owned(),
            server_name: "node-0".to_owned(),
            schema_min: 1,
            schema_max: 1,
        };
        let (from, incarnation, blob) = (node_id(0), None, Bytes::new());
        let input = CoordinatorInput::Message { from, incarnation, message, blob };
        mesh.coordinator.handle(input, mesh.now);
        mesh.settle();
    };
    (1..100).for_each(|life| begin(&mut mesh, life));
    let granted = |(_, message): &(_, Message)| match message {
        Message::Registered { incarnation, .. } => Some(*incarnation),
        _ => None,
    };
    let lives: BTreeSet<Incarnation> = mesh.to_nodes.iter().filter_map(granted).collect();
    assert_eq!(lives.len(), LIVES_OF_NODE_MAX - 1, "{lives:?}");
    let refused = mesh.to_nodes.iter().rev().find_map(|(to, message)| match message {
        Message::RegisterRefused { reason } => Some((*to, reason.clone())),
        _ => None,
    });
    let (to, reason) = refused.unwrap();
    assert!(to == node_id(0) && reason.contains("not settled"), "{reason}");
    assert!(Coordinator::restored(mesh.config(), mesh.image.clone(), mesh.now, [8; 32]).is_ok());

    mesh.filter = Box::new(|_, _, _| false);
    mesh.to_nodes.clear();
    mesh.run(30);
    begin(&mut mesh, 200);
    assert!(mesh.to_nodes.iter().any(|said| granted(said).is_some()), "the round is over: it is welcome");
}
