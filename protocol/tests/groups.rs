//! Groups between real machines: what rides together crosses together, or not at all.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

mod common;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use common::{Mesh, TICK, node_id};
use selvedge_protocol::authority::Standing;
use selvedge_protocol::group::AttachError;
use selvedge_protocol::id::EntityId;
use selvedge_protocol::node::NodeEvent;
use selvedge_protocol::pin::PinError;
use selvedge_protocol::roster::Roster;
use selvedge_protocol::time::Tick;
use selvedge_protocol::wire::Message;

const BOAT: EntityId = EntityId::from_u128(0x0b);
const RIDER: EntityId = EntityId::from_u128(0x0a);
const LAMP: EntityId = EntityId::from_u128(0x0c);
const GROUP: [EntityId; 3] = [BOAT, RIDER, LAMP];

#[allow(clippy::unwrap_used, reason = "a helper that panics fails the test that called it")]
fn roster(mesh: &mut Mesh, node: usize) -> &mut Roster {
    mesh.hosts[node].roster.as_mut().unwrap()
}

/// A boat that heads for the border, with a rider who stands far back and carries a lamp.
#[allow(clippy::unwrap_used, reason = "a helper that panics fails the test that called it")]
fn afloat(speed: f32) -> Mesh {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[0].spawn(BOAT, 90.0, speed, Tick(2));
    mesh.hosts[0].spawn(RIDER, 40.0, 0.0, Tick(2));
    mesh.hosts[0].spawn(LAMP, 40.0, 0.0, Tick(2));
    roster(&mut mesh, 0).attach(LAMP, RIDER).unwrap();
    roster(&mut mesh, 0).attach(RIDER, BOAT).unwrap();
    mesh
}

/// Where each of the group is simulated; and nowhere is one of it without the others.
fn together(mesh: &Mesh) -> Vec<usize> {
    let at = mesh.simulating(BOAT);
    assert_eq!(mesh.simulating(RIDER), at, "the rider is where the boat is");
    assert_eq!(mesh.simulating(LAMP), at, "the lamp is where the rider is");
    at
}

/// A `Transfer`: its leader, and who goes along.
type Sent = (EntityId, Vec<EntityId>);

/// Every `Transfer` that is sent from here on.
fn transfers(mesh: &mut Mesh) -> Rc<RefCell<Vec<Sent>>> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let sink = seen.clone();
    mesh.filter = Box::new(move |_, _, message| {
        if let Message::Transfer { id, members, .. } = message {
            sink.borrow_mut().push((id.entity, members.iter().map(|member| member.id.entity).collect()));
        }
        false
    });
    seen
}

#[test]
fn a_boat_takes_its_rider_and_what_that_carries_in_one_transfer() {
    let mut mesh = afloat(10.0);
    let transfers = transfers(&mut mesh);
    for _ in 0..60 {
        mesh.run(1);
        together(&mesh);
    }
    assert_eq!(together(&mesh), [1]);
    assert_eq!(transfers.take(), [(BOAT, vec![RIDER, LAMP])]);
    let missed = mesh.hosts[1].events.iter().filter_map(|event| match event {
        NodeEvent::TakenOver { missed_ticks, .. } => Some(*missed_ticks),
        _ => None,
    });
    assert_eq!(missed.collect::<Vec<_>>(), [0, 0, 0]);
    let there = roster(&mut mesh, 1);
    assert_eq!((there.attached_to(RIDER), there.attached_to(LAMP)), (Some(BOAT), Some(RIDER)));
    assert_eq!(roster(&mut mesh, 0).attachments().count(), 0);
    for entity in GROUP {
        assert_eq!(mesh.hosts[0].node.standing(entity), None);
    }
}

#[test]
fn a_group_goes_back_as_it_came() {
    let mut mesh = afloat(10.0);
    mesh.run(60);
    assert_eq!(together(&mesh), [1]);
    mesh.hosts[1].game.points.get_mut(&BOAT).unwrap().motion.velocity.x = -10.0;
    mesh.run(120);
    assert_eq!(together(&mesh), [0]);
    assert_eq!(roster(&mut mesh, 0).attached_to(LAMP), Some(RIDER));
}

#[test]
fn where_one_is_not_prepared_nobody_goes() {
    let mut mesh = afloat(10.0);
    mesh.filter = Box::new(
        |_, _, message| matches!(message, Message::Precopy { reservation } if reservation.entity == LAMP),
    );
    mesh.run(60);
    assert_eq!(together(&mesh), [0], "the lamp is not copied");
    mesh.filter = Box::new(|_, _, _| false);
    mesh.run(90);
    assert_eq!(together(&mesh), [1]);
}

#[test]
fn silence_keeps_the_whole_group_frozen_until_the_target_answers() {
    let mut mesh = afloat(10.0);
    mesh.filter = Box::new(|from, _, message| {
        from == node_id(1) && matches!(message, Message::Accepted { .. } | Message::Cancelled { .. })
    });
    mesh.run(120);
    assert_eq!(together(&mesh), [1], "the target accepted; the source doesn't know");
    for entity in GROUP {
        assert!(matches!(mesh.hosts[0].node.standing(entity), Some(Standing::Frozen { .. })));
    }
    mesh.filter = Box::new(|_, _, _| false);
    mesh.run(10);
    for entity in GROUP {
        assert_eq!(mesh.hosts[0].node.standing(entity), None);
    }
}

#[test]
fn a_lost_transfer_is_cancelled_for_all_and_they_go_on_together() {
    let mut mesh = afloat(10.0);
    mesh.filter = Box::new(|_, _, message| matches!(message, Message::Transfer { .. }));
    for _ in 0..90 {
        mesh.run(1);
        together(&mesh);
    }
    let thawed = mesh.hosts[0].events.iter().filter_map(|event| match event {
        NodeEvent::Aborted { id, .. } => Some(id.entity),
        _ => None,
    });
    assert_eq!(thawed.take(3).collect::<Vec<_>>(), GROUP);
    mesh.filter = Box::new(|_, _, _| false);
    while together(&mesh).is_empty() {
        mesh.run(1);
    }
    let at = together(&mesh)[0];
    assert_eq!(roster(&mut mesh, at).attached_to(LAMP), Some(RIDER), "as before");
    mesh.run(120);
    assert_eq!(together(&mesh), [1]);
}

/// One comes back, freed from the group, before the source has heard that all were taken: that proves it for the others.
#[test]
fn who_comes_back_alone_settles_what_became_of_the_others() {
    for back in [BOAT, RIDER] {
        let mut mesh = afloat(10.0);
        mesh.filter = Box::new(|from, _, message| {
            from == node_id(1)
                && matches!(message, Message::Accepted { id, .. } if id.entity == BOAT && id.epoch.step < 3)
        });
        mesh.run(60);
        assert_eq!(together(&mesh), [1]);
        assert!(matches!(mesh.hosts[0].node.standing(LAMP), Some(Standing::Frozen { .. })));
        roster(&mut mesh, 1).detach(RIDER).unwrap();
        let point = mesh.hosts[1].game.points.get_mut(&back).unwrap();
        (point.motion.position.x, point.motion.velocity.x) = (105.0, -10.0);
        mesh.run(90);
        assert_eq!(mesh.simulating(back), [0]);
        for entity in GROUP {
            assert!(
                !matches!(mesh.hosts[0].node.standing(entity), Some(Standing::Frozen { .. })),
                "{entity}"
            );
            assert_eq!(mesh.simulating(entity).len(), 1);
        }
    }
}

#[test]
fn who_gets_off_before_the_border_stays() {
    let mut mesh = afloat(10.0);
    mesh.run(20);
    assert_eq!(roster(&mut mesh, 0).detach(RIDER), Some(BOAT));
    mesh.run(60);
    assert_eq!(mesh.simulating(BOAT), [1]);
    assert_eq!((mesh.simulating(RIDER), mesh.simulating(LAMP)), (vec![0], vec![0]));
    assert_eq!(roster(&mut mesh, 0).attached_to(LAMP), Some(RIDER), "what it carries stays with it");
}

#[test]
fn who_gets_on_at_the_last_moment_comes_along() {
    let mut mesh = afloat(10.0);
    roster(&mut mesh, 0).detach(RIDER).unwrap();
    for _ in 0..60 {
        let boat = mesh.hosts[0].game.points.get(&BOAT).map_or(0.0, |point| point.motion.position.x);
        if boat > 100.0 && roster(&mut mesh, 0).holds(BOAT) {
            roster(&mut mesh, 0).attach(RIDER, BOAT).unwrap();
        }
        mesh.run(1);
    }
    mesh.run(60);
    assert_eq!(together(&mesh), [1]);
}

#[test]
fn what_carries_others_may_end_and_they_go_their_own_way() {
    let mut mesh = afloat(0.0);
    mesh.run(5);
    let tick = mesh.tick;
    roster(&mut mesh, 0).despawn(BOAT, tick).unwrap();
    mesh.hosts[0].game.points.remove(&BOAT);
    assert_eq!(roster(&mut mesh, 0).attached_to(RIDER), None);
    mesh.hosts[0].game.points.get_mut(&RIDER).unwrap().motion.velocity.x = 30.0;
    mesh.run(120);
    assert_eq!((mesh.simulating(RIDER), mesh.simulating(LAMP)), (vec![1], vec![1]));
}

/// Once a crash is recovered from.
fn the_rider_comes_back_on_the_boat(mesh: &mut Mesh) {
    for _ in 0..600 {
        mesh.run(1);
        if !mesh.simulating(BOAT).is_empty() {
            break;
        }
    }
    let at = mesh.simulating(BOAT);
    assert_eq!(at.len(), 1, "the boat is restored");
    assert_eq!(mesh.simulating(RIDER), at);
    assert_eq!(roster(mesh, at[0]).attached_to(RIDER), Some(BOAT));
}

#[test]
fn a_group_that_was_restored_goes_on_as_one() {
    let mut mesh = Mesh::row(3);
    mesh.run(2);
    mesh.hosts[0].spawn(BOAT, 50.0, 0.0, Tick(2));
    mesh.hosts[0].spawn(RIDER, 50.0, 0.0, Tick(2));
    roster(&mut mesh, 0).attach(RIDER, BOAT).unwrap();
    mesh.run(90);
    mesh.crash(0);
    the_rider_comes_back_on_the_boat(&mut mesh);
}

/// A cut that holds a part of a group only would have the others come back elsewhere, as they were before.
#[test]
fn a_group_of_which_one_can_not_be_captured_comes_back_as_one() {
    let mut mesh = Mesh::row(3);
    mesh.run(2);
    mesh.hosts[0].spawn(BOAT, 90.0, 10.0, Tick(2));
    mesh.hosts[0].spawn(RIDER, 90.0, 0.0, Tick(2));
    roster(&mut mesh, 0).attach(RIDER, BOAT).unwrap();
    mesh.hosts[1].game.uncaptured.insert(RIDER);
    mesh.run(120);
    assert_eq!((mesh.simulating(BOAT), mesh.simulating(RIDER)), (vec![1], vec![1]));
    mesh.crash(1);
    the_rider_comes_back_on_the_boat(&mut mesh);
}

#[test]
fn a_pinned_entity_waits_at_the_border_until_its_pin_has_ended() {
    let mut mesh = afloat(10.0);
    let (now, second) = (mesh.now, Duration::from_secs(1));
    roster(&mut mesh, 0).pin(LAMP, "cutscene", second * 5, now).unwrap();
    let ticks = |lasts: Duration| u32::try_from(lasts.as_micros() / TICK.as_micros()).unwrap();
    mesh.run(ticks(second * 4));
    assert_eq!(together(&mesh), [0], "one that rides along is pinned");
    let now = mesh.now;
    let left: Vec<Duration> = roster(&mut mesh, 0)
        .pins(LAMP, now)
        .map(|(name, left)| if name == "cutscene" { left } else { Duration::ZERO })
        .collect();
    assert!(left.len() == 1 && (second..second + TICK).contains(&left[0]), "{left:?}");
    mesh.run(ticks(second) + 4);
    assert_eq!(together(&mesh), [1], "it was prepared meanwhile");
    assert_eq!(mesh.handed_over(), [selvedge_protocol::handoff::Path::Warm; 3]);
}

#[test]
fn a_pin_is_ended_before_its_time() {
    let mut mesh = afloat(10.0);
    let (now, minute) = (mesh.now, Duration::from_secs(60));
    roster(&mut mesh, 0).pin(BOAT, "vote", minute, now).unwrap();
    mesh.run(60);
    assert_eq!(together(&mesh), [0]);
    let now = mesh.now;
    assert!(roster(&mut mesh, 0).unpin(BOAT, "vote", now));
    assert!(!roster(&mut mesh, 0).unpin(BOAT, "vote", now));
    mesh.run(2);
    assert_eq!(together(&mesh), [1]);
}

#[test]
fn mistakes_are_named() {
    let mut mesh = afloat(0.0);
    let (now, stranger) = (mesh.now, EntityId::from_u128(0xff));
    let here = roster(&mut mesh, 0);
    assert_eq!(here.attach(stranger, BOAT), Err(AttachError::NotHeld(stranger)));
    assert_eq!(here.attach(BOAT, stranger), Err(AttachError::NotHeld(stranger)));
    assert_eq!(here.attach(BOAT, LAMP), Err(AttachError::Circle { entity: BOAT, to: LAMP }));
    assert_eq!(here.pin(stranger, "vote", TICK, now), Err(PinError::NotHeld(stranger)));
    assert_eq!(here.detach(BOAT), None);
}
