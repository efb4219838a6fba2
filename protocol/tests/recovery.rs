//! A node dies, or is believed dead: what it held goes on elsewhere, once, and nobody else stops for it.

#![allow(clippy::unwrap_used, reason = "a helper that panics fails the test that called it")]

mod common;

use common::{Mesh, node_id};
use selvedge_protocol::authority::Standing;
use selvedge_protocol::coordinator::CoordinatorEvent;
use selvedge_protocol::id::EntityId;
use selvedge_protocol::node::{Destination, Input, NodeEvent};
use selvedge_protocol::wire::{LeaseMessage, Message, RecoveryMessage, StandbyMessage};

const ENTITY: EntityId = EntityId::from_u128(77);
/// Ticks in which a first checkpoint is safe.
const SAFE: u32 = 75;
/// Ticks in which one more is.
const CUT: u32 = 45;
/// Ticks in which a lease, its margin and a recovery round are over.
const RECOVERED: u32 = 150;

/// Three nodes side by side; an entity stands still in the middle one's cell, and is in a safe checkpoint.
fn scene() -> Mesh {
    let mut mesh = Mesh::row(3);
    mesh.run(5);
    let tick = mesh.tick;
    mesh.hosts[1].spawn(ENTITY, 150.0, 0.0, tick);
    mesh.run(SAFE);
    mesh
}

fn recovered(mesh: &Mesh, index: usize) -> bool {
    let is_it = |event: &NodeEvent| matches!(event, NodeEvent::Recovered { entity, .. } if *entity == ENTITY);
    mesh.hosts[index].events.iter().any(is_it)
}

fn fenced(mesh: &Mesh) -> usize {
    let is_it = |event: &&NodeEvent| matches!(event, NodeEvent::Fenced { .. });
    mesh.hosts.iter().flat_map(|host| &host.events).filter(is_it).count()
}

fn lost(mesh: &Mesh) -> Vec<EntityId> {
    let lost = mesh.coordinator_events.iter().filter_map(|event| {
        if let CoordinatorEvent::Recovered { lost, .. } = event { Some(lost.clone()) } else { None }
    });
    lost.flatten().collect()
}

#[test]
fn what_a_killed_node_held_goes_on_from_its_buddys_copy_once_and_at_a_later_generation() {
    let mut mesh = scene();
    mesh.crash(1);
    mesh.run(RECOVERED);
    let alive = [0, 2];
    let holders: Vec<usize> =
        alive.into_iter().filter(|&index| mesh.simulating(ENTITY).contains(&index)).collect();
    assert_eq!(holders.len(), 1, "{:?}", mesh.coordinator_events);
    assert!(alive.iter().any(|&index| recovered(&mesh, index)));
    let Some(Standing::Active(epoch)) = mesh.hosts[holders[0]].node.standing(ENTITY) else {
        panic!("not held")
    };
    assert!(epoch.generation > 0, "{epoch}");
    assert_eq!(lost(&mesh), []);
    let map = mesh.coordinator.map();
    assert!(map.owners().values().all(|&owner| owner != node_id(1)), "its cells are others' now");
}

#[test]
fn nobody_replaces_a_node_before_its_last_lease_is_over() {
    let mut mesh = scene();
    mesh.crash(1);
    // A lease of 3 s, less the tick that was under way.
    mesh.run(89);
    assert!(![0, 2].iter().any(|&index| recovered(&mesh, index)));
}

#[test]
fn a_node_that_nobody_witnesses_any_more_stops_by_itself_and_comes_back_with_empty_hands() {
    let mut mesh = scene();
    let before = mesh.hosts[1].node.me().unwrap();
    mesh.cut_off(1, true);
    mesh.run(88);
    assert_eq!(mesh.simulating(ENTITY), [1], "its lease still runs");
    mesh.run(4);
    assert_eq!(mesh.simulating(ENTITY), [0_usize; 0], "it has stopped, and nobody has taken over yet");
    assert_eq!(mesh.hosts[1].node.authorities().count(), 0);
    mesh.run(RECOVERED);
    assert_eq!(mesh.simulating(ENTITY).len(), 1, "it goes on elsewhere");
    assert_ne!(mesh.simulating(ENTITY), [1]);
    mesh.cut_off(1, false);
    mesh.run(60);
    let after = mesh.hosts[1].node.me().expect("registered anew");
    assert!(after.incarnation > before.incarnation);
    assert_eq!(mesh.simulating(ENTITY).len(), 1);
    assert_eq!(lost(&mesh), []);
}

#[test]
fn while_the_coordinator_is_away_nobody_stops_and_entities_cross() {
    let mut mesh = scene();
    let tick = mesh.tick;
    mesh.hosts[0].spawn(EntityId::from_u128(78), 60.0, 6.0, tick);
    mesh.coordinator_linked = false;
    mesh.run(900);
    assert_eq!(fenced(&mesh), 0);
    assert_eq!(mesh.handed_over().len(), 2, "through both borders, without a coordinator");
    assert_eq!(mesh.simulating(EntityId::from_u128(78)), [2]);
    mesh.coordinator_linked = true;
    mesh.run(RECOVERED);
    assert_eq!(fenced(&mesh), 0, "and nobody is given up when it is back");
    assert_eq!(mesh.simulating(ENTITY), [1]);
}

#[test]
fn an_entity_in_doubt_towards_a_dead_target_goes_on_once() {
    let mut mesh = Mesh::row(3);
    mesh.run(5);
    let tick = mesh.tick;
    mesh.hosts[0].spawn(ENTITY, 90.0, 4.0, tick);
    // The target takes it, and nobody hears so.
    mesh.filter =
        Box::new(|from, _, message| from == node_id(1) && matches!(message, Message::Accepted { .. }));
    mesh.run(100);
    assert!(matches!(mesh.hosts[0].node.standing(ENTITY), Some(Standing::Frozen { .. })));
    mesh.crash(1);
    mesh.run(RECOVERED);
    let alive: Vec<usize> = mesh.simulating(ENTITY).into_iter().filter(|&index| index != 1).collect();
    assert_eq!(alive.len(), 1, "{:?}", mesh.coordinator_events);
    assert_eq!(lost(&mesh), []);
}

#[test]
fn what_a_fenced_node_still_says_is_heard_by_nobody() {
    let mut mesh = scene();
    mesh.crash(1);
    mesh.run(RECOVERED);
    // Its process was only stopped: it goes on where it was, with its links as they were.
    mesh.hosts[1].gone = false;
    let ghosts = mesh.hosts[1].game.points.len();
    assert_eq!(ghosts, 1, "its game hasn't heard of anything");
    mesh.run(2);
    assert_eq!(mesh.simulating(ENTITY).len(), 1);
    assert_ne!(mesh.simulating(ENTITY), [1], "its own clock told it before it did anything");
    assert_eq!(fenced(&mesh), 1);
}

fn despawn(mesh: &mut Mesh, index: usize) {
    let tick = mesh.tick;
    let host = &mut mesh.hosts[index];
    host.roster.as_mut().unwrap().despawn(ENTITY, tick).unwrap();
    host.game.points.remove(&ENTITY);
}

/// Three nodes; the entity goes from the first to the second, which hears nothing of what `is_lost` names from there on.
fn crossed_while(is_lost: fn(&Message) -> bool) -> Mesh {
    let mut mesh = Mesh::row(3);
    mesh.run(5);
    let tick = mesh.tick;
    mesh.hosts[0].spawn(ENTITY, 90.0, 4.0, tick);
    mesh.filter = Box::new(move |from, _, message| from == node_id(1) && is_lost(message));
    mesh.run(100);
    assert!(mesh.simulating(ENTITY).contains(&1));
    mesh
}

#[test]
fn what_had_ended_before_its_node_died_does_not_come_back_from_who_had_it_before() {
    let is_accepted: fn(&Message) -> bool = |message| matches!(message, Message::Accepted { .. });
    let is_settled: fn(&Message) -> bool =
        |message| matches!(message, Message::Standby(StandbyMessage::Settled { .. }));
    for is_lost in [is_accepted, is_settled] {
        let mut mesh = crossed_while(is_lost);
        despawn(&mut mesh, 1);
        mesh.run(CUT);
        mesh.crash(1);
        mesh.run(RECOVERED);
        assert_eq!(mesh.simulating(ENTITY), [0_usize; 0], "{:?}", mesh.coordinator_events);
        assert_eq!(mesh.hosts[0].node.standing(ENTITY), None, "nor does it wait for its end for ever");
        assert_eq!(lost(&mesh), []);
    }
}

#[test]
fn what_ended_where_no_cut_said_so_comes_back_with_the_last_one() {
    let mut mesh = crossed_while(|message| matches!(message, Message::Accepted { .. }));
    mesh.filter = Box::new(|from, _, message| {
        from == node_id(1) && matches!(message, Message::Accepted { .. } | Message::Standby(_))
    });
    despawn(&mut mesh, 1);
    mesh.run(CUT);
    mesh.crash(1);
    mesh.run(RECOVERED);
    assert_eq!(mesh.simulating(ENTITY).len(), 1, "{:?}", mesh.coordinator_events);
}

#[test]
fn what_ended_at_a_node_that_died_does_not_come_back_from_the_cuts_of_one_that_had_died_before() {
    for first in [0, 2] {
        let mut mesh = Mesh::row(4);
        mesh.run(5);
        let tick = mesh.tick;
        let (x, speed) = if first == 0 { (90.0, 4.0) } else { (210.0, -4.0) };
        mesh.hosts[first].spawn(ENTITY, x, speed, tick);
        // The first node's buddy never hears that it gave the entity away, nor does the coordinator hear anything.
        mesh.run(60);
        let buddy = node_id(first);
        mesh.filter = Box::new(move |from, _, message| {
            from == buddy && matches!(message, Message::Standby(StandbyMessage::End { .. }))
        });
        mesh.run(80);
        assert_eq!(mesh.simulating(ENTITY), [1]);
        mesh.crash(first);
        mesh.run(5);
        despawn(&mut mesh, 1);
        mesh.run(CUT);
        mesh.crash(1);
        mesh.run(2 * RECOVERED);
        assert_eq!(mesh.simulating(ENTITY), [0_usize; 0], "{:?}", mesh.coordinator_events);
    }
}

const fn closes(message: &Message) -> bool {
    matches!(message, Message::Recovery(RecoveryMessage::Closed { .. }))
}

/// The third of four nodes gave the entity to the second and never heard that it was safe there. The second died, and
/// the entity goes on at the node that is returned; but `is_lost` took from the third that the round is closed.
fn recovered_while(mut is_lost: impl FnMut() -> bool + 'static) -> (Mesh, usize) {
    let mut mesh = Mesh::row(4);
    mesh.run(5);
    let tick = mesh.tick;
    mesh.hosts[2].spawn(ENTITY, 210.0, -4.0, tick);
    mesh.filter = Box::new(|from, _, message| {
        from == node_id(1) && matches!(message, Message::Standby(StandbyMessage::Settled { .. }))
    });
    mesh.run(140);
    assert_eq!(mesh.simulating(ENTITY), [1]);
    mesh.coordinator_filter = Box::new(move |to, message| to == node_id(2) && closes(message) && is_lost());
    mesh.crash(1);
    mesh.run(RECOVERED);
    let home = [0, 3].into_iter().find(|&index| mesh.simulating(ENTITY).contains(&index));
    (mesh, home.expect("it was restored by who kept its copy, and stays clear of the third"))
}

#[test]
fn what_ended_after_its_recovery_does_not_come_back_from_who_never_heard_that_the_round_was_closed() {
    let (mut mesh, home) = recovered_while(|| true);
    despawn(&mut mesh, home);
    mesh.run(CUT);
    mesh.crash(home);
    mesh.run(RECOVERED);
    let mut others = mesh.simulating(ENTITY);
    others.retain(|index| ![1, home].contains(index));
    assert_eq!(others, [0_usize; 0], "{:?}", mesh.coordinator_events);
}

#[test]
fn who_did_not_hear_that_the_round_was_closed_is_told_again() {
    let mut first = true;
    let (mesh, _) = recovered_while(move || core::mem::take(&mut first));
    assert_eq!(
        mesh.hosts[2].node.given_away().count(),
        0,
        "what was given to the dead is of no use any more"
    );
    let told = mesh.to_nodes.iter().filter(|(to, message)| *to == node_id(2) && closes(message));
    assert_eq!(told.count(), 2, "and not more often than it asks");
}

fn is_promise(message: &Message) -> bool {
    matches!(message, Message::Lease(LeaseMessage::Promised { .. }))
}

/// Links a node to all others again.
fn link(mesh: &mut Mesh, index: usize) {
    let me = mesh.hosts[index].node.me().expect("it is registered");
    for other in (0..mesh.hosts.len()).filter(|&other| other != index) {
        let peer = mesh.hosts[other].node.me().expect("it is registered");
        mesh.hosts[index].node.handle(Input::LinkUp { peer }, mesh.now);
        mesh.hosts[other].node.handle(Input::LinkUp { peer: me }, mesh.now);
    }
    mesh.settle();
}

#[test]
fn who_is_heard_again_after_its_voters_have_promised_lives_on_by_others() {
    let mut mesh = Mesh::row(7);
    mesh.run(SAFE);
    let before = mesh.hosts[0].node.me();
    let silent = |message: &Message, renewals: bool| {
        let is_renewal = matches!(message, Message::Lease(LeaseMessage::Renew { .. }));
        matches!(message, Message::Heartbeat { .. }) || renewals && is_renewal
    };
    // Two seconds without a heartbeat: it is suspected. Its voters miss it for the second of them.
    for (ticks, renewals) in [(32, false), (36, true)] {
        mesh.filter = Box::new(move |from, _, message| {
            is_promise(message) || from == node_id(0) && silent(message, renewals)
        });
        mesh.run(ticks);
    }
    mesh.filter = Box::new(|_, _, message| is_promise(message));
    mesh.run(9);
    mesh.filter = Box::new(|_, _, _| false);
    mesh.run(RECOVERED);
    assert_eq!((mesh.hosts[0].node.me(), fenced(&mesh)), (before, 0));
    mesh.stop_coordinator();
    mesh.run(RECOVERED);
    assert_eq!(mesh.hosts[0].node.me(), before, "and by enough of them to need no coordinator");
}

#[test]
fn a_life_that_its_voters_had_given_up_before_its_node_heard_of_it_has_its_copies_kept() {
    let mut mesh = Mesh::row(7);
    mesh.run(5);
    let former = mesh.hosts[0].node.me();
    mesh.cut_off(0, true);
    mesh.run(RECOVERED);
    // It asks for its next life, and is cut off before it hears that it has it.
    mesh.coordinator_filter = Box::new(|to, message| {
        to == node_id(0) && matches!(message, Message::Registered { .. } | Message::Lease(_))
    });
    mesh.filter = Box::new(|_, to, message| to == Destination::Coordinator && is_promise(message));
    mesh.cut_off(0, false);
    mesh.run(20);
    mesh.cut_off(0, true);
    mesh.run(70);
    mesh.coordinator_filter = Box::new(|_, _| false);
    mesh.cut_off(0, false);
    mesh.run(20);
    mesh.filter = Box::new(|_, _, _| false);
    assert_ne!(mesh.hosts[0].node.me(), former);
    link(&mut mesh, 0);
    let tick = mesh.tick;
    mesh.hosts[0].spawn(ENTITY, 50.0, 0.0, tick);
    mesh.run(SAFE);
    assert!(mesh.hosts[0].node.lease_expires_at().is_some_and(|at| at > mesh.now), "it lives");
    let is_safe = |event: &NodeEvent| matches!(event, NodeEvent::Checkpointed { safe, .. } if safe.iter().any(|(entity, _)| *entity == ENTITY));
    assert!(mesh.hosts[0].events.iter().any(is_safe), "it has a buddy, so it went over to voters");
}
