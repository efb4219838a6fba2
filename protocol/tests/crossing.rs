//! Crossings between real machines over perfect links: each path of the handoff, one behaviour a test.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use common::{Mesh, TICK, node_id};
use selvedge_protocol::authority::Standing;
use selvedge_protocol::config::NodeConfig;
use selvedge_protocol::coordinator::CoordinatorEvent;
use selvedge_protocol::grid::{Position, Velocity};
use selvedge_protocol::handoff::Path;
use selvedge_protocol::handoff::client::ClientEvent;
use selvedge_protocol::id::EntityId;
use selvedge_protocol::node::{Destination, NodeEvent};
use selvedge_protocol::time::Tick;
use selvedge_protocol::wire::Message;

const ENTITY: EntityId = EntityId::from_u128(99);

fn missed(mesh: &Mesh) -> Vec<u64> {
    let events = mesh.hosts.iter().flat_map(|host| &host.events);
    let missed = events.filter_map(|event| match event {
        NodeEvent::TakenOver { missed_ticks, .. } => Some(*missed_ticks),
        _ => None,
    });
    missed.collect()
}

#[test]
fn a_foreseen_crossing_is_warm_and_misses_no_tick() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[0].spawn(ENTITY, 90.0, 10.0, Tick(2));
    mesh.run(60);
    assert_eq!(mesh.simulating(ENTITY), [1]);
    assert_eq!(mesh.handed_over(), [Path::Warm]);
    assert_eq!(missed(&mesh), [0]);
    assert!(matches!(mesh.hosts[1].node.standing(ENTITY), Some(Standing::Active(_))));
    assert_eq!(mesh.hosts[0].node.standing(ENTITY), None);
}

/// Total, answer and pre-copy of each handoff.
fn phases(mesh: &Mesh) -> Vec<(Duration, Duration, Option<Duration>)> {
    let events = mesh.hosts.iter().flat_map(|host| &host.events);
    let phases = events.filter_map(|event| match event {
        NodeEvent::HandedOver { prepare, answer, precopy, .. } => Some((*prepare, *answer, *precopy)),
        _ => None,
    });
    phases.collect()
}

#[test]
fn each_phase_of_a_warm_crossing_is_timed() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[1].spawn(ENTITY, 110.0, -10.0, Tick(2));
    mesh.run(60);
    // Links are instant: only the other node's game takes time, a tick until it has built what was copied.
    assert_eq!(phases(&mesh), [(Duration::ZERO, Duration::ZERO, Some(TICK))]);
}

#[test]
fn where_the_coordinator_is_silent_the_answer_is_the_targets_own() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.filter = Box::new(|_, _, message| matches!(message, Message::PrepareRequest(_)));
    mesh.hosts[0].spawn(ENTITY, 90.0, 10.0, Tick(2));
    mesh.run(60);
    let [(prepare, answer, Some(_))] = *phases(&mesh) else { panic!("{:?}", phases(&mesh)) };
    assert!(answer >= NodeConfig::default().coordinator_patience, "{answer:?}");
    assert_eq!(prepare, answer, "nothing is left for `ready`");
}

#[test]
fn a_teleport_takes_the_cold_path_and_misses_no_tick() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[0].spawn(ENTITY, 50.0, 0.0, Tick(2));
    mesh.run(30);
    mesh.hosts[0].game.points.get_mut(&ENTITY).unwrap().motion.position = Position::new(150.0, 50.0, 0.0);
    mesh.run(5);
    assert_eq!(mesh.simulating(ENTITY), [1]);
    assert_eq!(mesh.handed_over(), [Path::Cold]);
    assert_eq!(missed(&mesh), [0]);
    assert_eq!(phases(&mesh)[0].2, None, "nothing was copied ahead");
}

#[test]
fn without_a_coordinator_crossings_go_on() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[0].spawn(ENTITY, 90.0, 10.0, Tick(2));
    mesh.coordinator_linked = false;
    mesh.run(60);
    assert_eq!(mesh.simulating(ENTITY), [1]);
    assert_eq!(mesh.handed_over(), [Path::Warm]);
}

#[test]
fn a_player_crosses_with_every_input_and_a_prepared_connection() {
    cross(false);
}

/// What is frozen early in a tick may be another node's when the tick is done: by then nobody here has it to show.
#[test]
fn the_tick_of_the_freeze_is_shown_however_late_its_frame_comes() {
    cross(true);
}

#[allow(clippy::unwrap_used, reason = "a helper that panics fails the test that called it")]
fn cross(late_frames: bool) {
    let mut mesh = Mesh::row(2);
    mesh.hosts.iter_mut().for_each(|host| host.late_frames = late_frames);
    let player = mesh.enter("ada");
    mesh.run(3);
    let entity = mesh.the_player_entity();
    let at = mesh.simulating(entity)[0];
    let point = mesh.hosts[at].game.points.get_mut(&entity).unwrap();
    let (from, speed) = if at == 0 { (90.0, 12.0) } else { (110.0, -12.0) };
    point.motion.position = Position::new(from, 50.0, 0.0);
    point.motion.velocity = Velocity::new(speed, 0.0, 0.0);
    for _ in 0..60 {
        mesh.act(player, b"go");
        mesh.run_tick();
    }
    mesh.run(3);
    assert_eq!(mesh.simulating(entity), [1 - at]);
    let applied = &mesh.hosts[1 - at].game.points[&entity].inputs;
    assert_eq!(*applied, (1..=60).collect::<Vec<u32>>());
    assert_eq!(mesh.players[player].client.unacknowledged(), 0);
    let switched: Vec<_> = mesh.players[player]
        .events
        .iter()
        .filter_map(|event| match event {
            ClientEvent::Switched { gap, prepared, .. } => Some((*gap, *prepared)),
            _ => None,
        })
        .collect();
    assert_eq!(switched.len(), 1);
    let (gap, prepared) = switched[0];
    assert!(prepared);
    assert_eq!(gap, Duration::ZERO);
}

#[test]
fn a_player_sees_avatars_across_the_border() {
    let mut mesh = Mesh::row(2);
    let player = mesh.enter("ada");
    mesh.run(3);
    let entity = mesh.the_player_entity();
    let at = mesh.simulating(entity)[0];
    let (own, other) = if at == 0 { (90.0, 105.0) } else { (110.0, 95.0) };
    mesh.hosts[at].game.points.get_mut(&entity).unwrap().motion.position = Position::new(own, 50.0, 0.0);
    let tick = mesh.tick;
    mesh.hosts[1 - at].spawn(ENTITY, other, 0.0, tick);
    mesh.run(4);
    let seen: Vec<_> = mesh.players[player].client.sights(mesh.now).collect();
    assert_eq!(seen.iter().map(|shown| shown.entity).collect::<Vec<_>>(), [ENTITY], "{seen:?}");
    assert!((seen[0].motion.position.x - other).abs() < 0.01, "{seen:?}");
}

#[test]
fn silence_freezes_until_the_target_answers_and_never_thaws() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[0].spawn(ENTITY, 95.0, 10.0, Tick(2));
    mesh.filter = Box::new(|from, _, message| {
        from == node_id(1)
            && matches!(
                message,
                Message::Accepted { .. } | Message::Rejected { .. } | Message::Cancelled { .. }
            )
    });
    mesh.run(120);
    assert_eq!(mesh.simulating(ENTITY), [1], "the target accepted; the source doesn't know");
    assert!(matches!(mesh.hosts[0].node.standing(ENTITY), Some(Standing::Frozen { .. })));
    mesh.filter = Box::new(|_, _, _| false);
    mesh.run(10);
    assert_eq!(mesh.hosts[0].node.standing(ENTITY), None);
    assert_eq!(mesh.simulating(ENTITY), [1]);
}

#[test]
fn a_lost_transfer_is_cancelled_and_the_source_goes_on_at_the_burned_epoch() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[0].spawn(ENTITY, 95.0, 10.0, Tick(2));
    mesh.filter = Box::new(|_, _, message| matches!(message, Message::Transfer { .. }));
    mesh.run(60);
    let aborted =
        mesh.hosts[0].events.iter().any(|event| matches!(event, NodeEvent::Aborted { reason: None, .. }));
    assert!(aborted);
    assert_eq!(mesh.simulating(ENTITY), [0]);
    let Some(Standing::Active(epoch)) = mesh.hosts[0].node.standing(ENTITY) else { panic!("not active") };
    assert!(epoch.step >= 2);
    mesh.filter = Box::new(|_, _, _| false);
    mesh.run(90);
    assert_eq!(mesh.simulating(ENTITY), [1]);
}

#[test]
fn a_game_that_refuses_keeps_the_entity_where_it_is() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[1].game.refuse = true;
    mesh.hosts[0].spawn(ENTITY, 95.0, 10.0, Tick(2));
    mesh.run(60);
    assert_eq!(mesh.simulating(ENTITY), [0]);
    assert!(mesh.hosts[0].events.iter().any(|event| matches!(event, NodeEvent::PrepareRefused { .. })));
    mesh.hosts[1].game.refuse = false;
    mesh.run(120);
    assert_eq!(mesh.simulating(ENTITY), [1]);
}

#[test]
fn a_transfer_that_nobody_prepared_is_rejected_and_nothing_is_lost() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[0].spawn(ENTITY, 95.0, 10.0, Tick(2));
    mesh.run(20);
    // The target's reservation goes away behind the source's back.
    mesh.filter = Box::new(move |from, to, message| {
        let _ = (from, to == Destination::Node(node_id(1)));
        matches!(message, Message::Precopy { .. })
    });
    mesh.run(40);
    assert_eq!(mesh.simulating(ENTITY).len(), 1);
}

#[test]
fn a_precopy_is_not_repeated_while_the_last_one_is_on_its_way() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[0].spawn(ENTITY, 99.0, 0.0, Tick(2));
    // It stands before the border.
    let sent = Rc::new(Cell::new(0));
    let counter = sent.clone();
    mesh.filter = Box::new(move |_, _, message| {
        let is_precopy = matches!(message, Message::Precopy { .. });
        counter.set(counter.get() + u32::from(is_precopy));
        is_precopy
    });
    let refresh = NodeConfig::default().precopy_refresh;
    let ticks_in = |period: Duration| u32::try_from(period.as_millis() / TICK.as_millis()).unwrap();
    mesh.run(ticks_in(refresh * 7 / 4));
    assert_eq!(sent.get(), 1, "the way is slow, or the copy is lost");
    mesh.run(ticks_in(refresh * 2));
    assert_eq!(sent.get(), 2, "lost, as it seems: once more");
}

#[test]
fn there_and_back_again_keeps_one_authority() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[0].spawn(ENTITY, 95.0, 10.0, Tick(2));
    for _ in 0..400 {
        mesh.run_tick();
        // None while it is on its way: the target waits for its own next tick.
        assert!(mesh.simulating(ENTITY).len() <= 1);
        for host in &mut mesh.hosts {
            if let Some(point) = host.game.points.get_mut(&ENTITY) {
                let x = point.motion.position.x;
                if x > 105.0 && point.motion.velocity.x > 0.0 || x < 95.0 && point.motion.velocity.x < 0.0 {
                    point.motion.velocity.x = -point.motion.velocity.x;
                }
            }
        }
    }
    assert!(mesh.handed_over().len() >= 4);
    assert!(missed(&mesh).iter().all(|&missed| missed == 0));
    let violation = mesh
        .coordinator_events
        .iter()
        .find(|event| matches!(event, CoordinatorEvent::AuthorityViolation { .. }));
    assert_eq!(violation, None);
}
