//! Checkpoints between real nodes over perfect links: who keeps what, until when, and what is durable.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a failed expectation fails the test"
)]

mod common;

use std::time::Duration;

use common::{Mesh, TICK, node_id};
use selvedge_protocol::authority::Standing;
use selvedge_protocol::grid::Velocity;
use selvedge_protocol::handoff::client::ClientEvent;
use selvedge_protocol::id::{AuthorityEpoch, EntityId, InputSeq, Peer};
use selvedge_protocol::node::{Destination, NodeEvent};
use selvedge_protocol::standby::StandbyCopy;
use selvedge_protocol::wire::{Message, ServerMessage, StandbyMessage};

const ENTITY: EntityId = EntityId::from_u128(99);

fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_micros() / TICK.as_micros()).unwrap() + 2
}

fn peer(mesh: &Mesh, host: usize) -> Peer {
    mesh.hosts[host].node.me().unwrap()
}

/// Which of the hosts keeps the copies of another.
fn buddy_of(mesh: &Mesh, host: usize) -> usize {
    let buddy = mesh.hosts[host].node.buddy().expect("the coordinator has dealt buddies").node;
    mesh.hosts.iter().position(|other| other.id == buddy).unwrap()
}

/// The copy of the entity that is kept for `of`.
fn copy(mesh: &Mesh, of: usize, entity: EntityId) -> Option<StandbyCopy> {
    let source = peer(mesh, of);
    let keeper = &mesh.hosts[buddy_of(mesh, of)].node;
    keeper.standby_copies().find(|copy| copy.of == source && copy.entity == entity)
}

fn copied_x(mesh: &Mesh, of: usize, entity: EntityId) -> f64 {
    let keeper = &mesh.hosts[buddy_of(mesh, of)].node;
    let state = keeper.take_standby(entity, peer(mesh, of)).unwrap();
    state.head().unwrap().position.x
}

fn safe_events(mesh: &Mesh, host: usize) -> Vec<(EntityId, AuthorityEpoch)> {
    let events = mesh.hosts[host].events.iter().filter_map(|event| match event {
        NodeEvent::Checkpointed { safe, .. } => Some(safe.clone()),
        _ => None,
    });
    events.flatten().collect()
}

/// From now on these messages between nodes are lost.
fn lose(mesh: &mut Mesh, is_lost: impl Fn(&Message) -> bool + 'static) {
    mesh.filter = Box::new(move |_, to, message| matches!(to, Destination::Node(_)) && is_lost(message));
}

fn heal(mesh: &mut Mesh) {
    mesh.filter = Box::new(|_, _, _| false);
}

const fn is_ack(message: &Message) -> bool {
    matches!(message, Message::Standby(StandbyMessage::Ack { .. }))
}

/// A mesh of three whose buddies are dealt, with an entity on the first node that walks east or stands.
fn mesh_with_entity(x: f64, speed: f32) -> Mesh {
    let mut mesh = Mesh::row(3);
    mesh.run(ticks(Duration::from_millis(1500)));
    for host in 0..3 {
        assert_ne!(buddy_of(&mesh, host), host);
    }
    let tick = mesh.tick;
    mesh.hosts[0].spawn(ENTITY, x, speed, tick);
    mesh
}

#[test]
fn a_spawn_is_safe_soon_and_what_moves_is_followed() {
    let mut mesh = mesh_with_entity(20.0, 5.0);
    mesh.run(1);
    assert_eq!(copy(&mesh, 0, ENTITY), None);
    assert!(!mesh.hosts[0].node.is_safe(ENTITY));
    mesh.run(ticks(Duration::from_millis(350)));
    let first = copy(&mesh, 0, ENTITY).expect("long before the period is over");
    assert_eq!(first.contents.epoch, AuthorityEpoch::FIRST);
    assert!(mesh.hosts[0].node.is_safe(ENTITY));
    assert_eq!(safe_events(&mesh, 0), [(ENTITY, AuthorityEpoch::FIRST)]);
    let x = copied_x(&mesh, 0, ENTITY);
    mesh.run(ticks(Duration::from_secs(3)));
    assert!(copied_x(&mesh, 0, ENTITY) > x + 5.0);
    assert!(copy(&mesh, 0, ENTITY).unwrap().contents.tick > first.contents.tick);
    assert_eq!(safe_events(&mesh, 0).len(), 1, "it is new once");
}

#[test]
fn the_age_of_the_newest_safe_checkpoint_is_measured_at_every_tick_and_grows_while_the_buddy_is_silent() {
    let mut mesh = mesh_with_entity(20.0, 0.0);
    mesh.run(ticks(Duration::from_secs(3)));
    let ages = |mesh: &Mesh| -> Vec<Duration> {
        let events = mesh.hosts[0].events.iter().filter_map(|event| match event {
            NodeEvent::CheckpointAge { age } => Some(*age),
            _ => None,
        });
        events.collect()
    };
    let before = ages(&mesh);
    let worst = *before.iter().max().unwrap();
    assert!(worst < Duration::from_millis(1200), "{worst:?}");
    lose(&mut mesh, is_ack);
    mesh.run(ticks(Duration::from_secs(5)));
    let after = ages(&mesh);
    assert!(after.len() >= before.len() + 140);
    assert!(*after.last().unwrap() >= Duration::from_secs(5), "{:?}", after.last());
    let lost = mesh.hosts[0].events.iter().any(|event| matches!(event, NodeEvent::CheckpointLost { .. }));
    assert!(lost);
}

#[test]
fn what_was_despawned_is_gone_from_the_copies_too() {
    let mut mesh = mesh_with_entity(20.0, 0.0);
    mesh.run(ticks(Duration::from_secs(1)));
    assert!(copy(&mesh, 0, ENTITY).is_some());
    let tick = mesh.tick;
    mesh.hosts[0].roster.as_mut().unwrap().despawn(ENTITY, tick).unwrap();
    mesh.hosts[0].game.points.remove(&ENTITY);
    mesh.run(ticks(Duration::from_millis(1200)));
    assert_eq!(copy(&mesh, 0, ENTITY), None);
}

#[test]
fn a_frozen_entity_stays_in_the_cuts_as_it_was_frozen() {
    let mut mesh = mesh_with_entity(85.0, 10.0);
    lose(&mut mesh, |message| matches!(message, Message::Transfer { .. } | Message::Cancel { .. }));
    mesh.run(ticks(Duration::from_secs(5)));
    assert!(matches!(mesh.hosts[0].node.standing(ENTITY), Some(Standing::Frozen { .. })));
    let copied = copy(&mesh, 0, ENTITY).expect("its fate is not known: it could be lost");
    assert_eq!(copied.contents.epoch, AuthorityEpoch::FIRST);
    let x = copied_x(&mesh, 0, ENTITY);
    assert!(x > 101.0, "as it was frozen past the border, not as in an earlier cut: {x}");
}

#[test]
fn the_source_keeps_what_it_gave_away_until_the_target_has_made_it_safe() {
    let mut mesh = mesh_with_entity(85.0, 10.0);
    lose(&mut mesh, is_ack);
    mesh.run(ticks(Duration::from_secs(8)));
    assert_eq!(mesh.simulating(ENTITY), [1]);
    mesh.hosts[1].game.points.get_mut(&ENTITY).unwrap().motion.velocity = Velocity::default();
    let kept: Vec<_> = mesh.hosts[0].node.given_away().collect();
    assert_eq!(kept.len(), 1, "the target has no safe checkpoint of it");
    let (id, to, _, captured) = kept[0];
    assert_eq!((id.entity, to.node), (ENTITY, node_id(1)));
    assert_eq!(captured.epoch, AuthorityEpoch::FIRST);
    let state = mesh.hosts[0].node.take_given_away(ENTITY).unwrap();
    assert!(state.view().unwrap().component("weight").is_some(), "it is whole");

    lose(&mut mesh, |message| matches!(message, Message::Standby(StandbyMessage::Settled { .. })));
    // A time-out that had doubled by then must pass first.
    mesh.run(ticks(Duration::from_secs(40)));
    assert!(mesh.hosts[1].node.is_safe(ENTITY));
    assert_eq!(mesh.hosts[0].node.given_away().count(), 1, "it has not heard of it");
    assert!(copy(&mesh, 0, ENTITY).is_some(), "nor has its buddy");

    heal(&mut mesh);
    mesh.run(ticks(Duration::from_secs(40)));
    assert_eq!(mesh.hosts[0].node.given_away().count(), 0, "it is repeated");
    assert_eq!(copy(&mesh, 0, ENTITY), None);
    assert!(copy(&mesh, 1, ENTITY).is_some());
}

#[test]
fn a_chain_of_handoffs_settles_though_nobody_in_it_ever_had_a_checkpoint_of_the_entity() {
    let mut mesh = mesh_with_entity(85.0, 30.0);
    // The second node's cuts are never acknowledged while the entity runs through it.
    let second = node_id(1);
    mesh.filter = Box::new(move |_, to, message| to == Destination::Node(second) && is_ack(message));
    mesh.run(ticks(Duration::from_secs(6)));
    assert_eq!(mesh.simulating(ENTITY), [2]);
    assert_eq!(mesh.hosts[1].node.given_away().count(), 0, "the third node has made it safe");
    assert_eq!(mesh.hosts[0].node.given_away().count(), 1);
    heal(&mut mesh);
    mesh.run(ticks(Duration::from_secs(40)));
    assert_eq!(mesh.hosts[0].node.given_away().count(), 0);
}

#[test]
fn a_target_that_has_no_buddy_yet_settles_nothing_until_it_has_one() {
    let mut mesh = mesh_with_entity(85.0, 10.0);
    let (now, buddy) = (mesh.now, mesh.hosts[1].node.buddy());
    mesh.hosts[1].node.set_buddy(None, now);
    mesh.run(ticks(Duration::from_secs(3)));
    assert_eq!(mesh.simulating(ENTITY), [1]);
    assert!(!mesh.hosts[1].node.is_safe(ENTITY));
    assert_eq!(mesh.hosts[0].node.given_away().count(), 1, "the source alone could restore it");
    let now = mesh.now;
    mesh.hosts[1].node.set_buddy(buddy, now);
    mesh.run(ticks(Duration::from_secs(3)));
    assert!(mesh.hosts[1].node.is_safe(ENTITY));
    assert_eq!(mesh.hosts[0].node.given_away().count(), 0);
}

#[test]
fn in_a_mesh_of_several_nothing_is_durable_at_a_node_that_has_no_buddy_yet() {
    let mut mesh = Mesh::row(2);
    mesh.run(ticks(Duration::from_millis(1500)));
    mesh.enter("ada");
    mesh.run(3);
    let entity = mesh.the_player_entity();
    let at = mesh.simulating(entity)[0];
    let now = mesh.now;
    mesh.hosts[at].node.set_buddy(None, now);
    let before = mesh.hosts[at].node.durable(entity);
    mesh.act(0, b"go");
    mesh.run(3);
    assert_eq!(mesh.hosts[at].game.points[&entity].inputs, [1]);
    assert_eq!(mesh.hosts[at].node.durable(entity), before);
}

/// The durable number that the player saw last.
fn durable_seen(mesh: &Mesh) -> u32 {
    let events = mesh.players[0].events.iter().rev();
    let mut seen = events.filter_map(|event| match event {
        ClientEvent::State(ServerMessage::State { durable, .. }) => Some(durable.0),
        _ => None,
    });
    seen.next().unwrap()
}

#[test]
fn an_input_is_durable_once_the_buddy_has_acknowledged_a_cut_with_it_and_not_before() {
    let mut mesh = Mesh::row(2);
    mesh.run(ticks(Duration::from_millis(1500)));
    mesh.enter("ada");
    mesh.run(ticks(Duration::from_secs(2)));
    let entity = mesh.the_player_entity();
    let at = mesh.simulating(entity)[0];
    lose(&mut mesh, is_ack);
    for _ in 0..5 {
        mesh.act(0, b"go");
        mesh.run(2);
    }
    mesh.run(ticks(Duration::from_secs(3)));
    assert_eq!(mesh.hosts[at].game.points[&entity].inputs, [1, 2, 3, 4, 5]);
    assert_eq!((mesh.hosts[at].node.durable(entity), durable_seen(&mesh)), (InputSeq(0), 0));
    heal(&mut mesh);
    mesh.run(ticks(Duration::from_secs(20)));
    assert_eq!((mesh.hosts[at].node.durable(entity), durable_seen(&mesh)), (InputSeq(5), 5));
    let kept = mesh.hosts[1 - at].node.take_standby(entity, peer(&mesh, at)).unwrap();
    assert_eq!(kept.head().unwrap().last_input, InputSeq(5));
    mesh.act(0, b"on");
    mesh.run(2);
    assert_eq!(mesh.hosts[at].node.durable(entity), InputSeq(5), "one more, in no cut yet");
}

#[test]
fn a_mesh_of_one_node_has_no_buddy_and_calls_durable_what_is_applied() {
    let mut mesh = Mesh::row(1);
    mesh.enter("ada");
    mesh.run(30);
    let entity = mesh.the_player_entity();
    mesh.act(0, b"go");
    mesh.run(3);
    assert_eq!(mesh.hosts[0].node.buddy(), None);
    assert_eq!((mesh.hosts[0].node.durable(entity), durable_seen(&mesh)), (InputSeq(1), 1));
    let checkpointed =
        mesh.hosts[0].events.iter().any(|event| matches!(event, NodeEvent::Checkpointed { .. }));
    assert!(!checkpointed);
}

#[test]
fn copies_of_a_fenced_life_stay_as_they_are_until_they_are_dropped_and_die_with_their_keeper() {
    let mut mesh = mesh_with_entity(20.0, 0.0);
    mesh.run(ticks(Duration::from_secs(1)));
    let (source, keeper) = (peer(&mesh, 0), buddy_of(&mesh, 0));
    let node = &mut mesh.hosts[keeper].node;
    node.fence_standby(source);
    let before: Vec<StandbyCopy> = node.standby_copies().filter(|copy| copy.of == source).collect();
    assert_eq!(before.len(), 1);
    mesh.run(ticks(Duration::from_secs(3)));
    let node = &mut mesh.hosts[keeper].node;
    let after: Vec<StandbyCopy> = node.standby_copies().filter(|copy| copy.of == source).collect();
    assert_eq!(after, before, "a fenced life changes nothing any more");
    node.drop_standby(source);
    assert_eq!(node.standby_copies().filter(|copy| copy.of == source).count(), 0);
    mesh.hosts[keeper].node.forget_standby();
    assert_eq!(
        (mesh.hosts[keeper].node.standby_copies().count(), mesh.hosts[keeper].node.buddy()),
        (0, None)
    );
}
