//! Ghosts between nodes: from those that show too many, over borders, through handoffs, over links that come and go.

mod common;

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use common::{Mesh, TICK, node_id};
use selvedge_protocol::config::NodeConfig;
use selvedge_protocol::ghost::{
    BorderInterest, EntityClass, GhostChange, Outlet, Region, Scene, SenderSettings, SightRules, State,
    Subject, is_stream,
};
use selvedge_protocol::grid::{Bounds, Motion, Position, Velocity};
use selvedge_protocol::id::{AuthorityEpoch, EntityId, Incarnation, NodeId, Peer};
use selvedge_protocol::limits::GHOSTS_OF_NODE_MAX;
use selvedge_protocol::node::{Destination, Input, NodeEvent, Sender};
use selvedge_protocol::time::Tick;
use selvedge_protocol::wire::Message;

const ROGUE: Peer = Peer { node: NodeId::from_u128(666), incarnation: Incarnation(66) };
const ENTITY: EntityId = EntityId::from_u128(0xe);

/// All that a node says that shows these entities, in one tick.
fn shown_at_once(session: u32, tick: Tick, entities: impl Iterator<Item = u128>) -> Vec<Bytes> {
    let mut scene = Scene::new(TICK);
    scene.begin(tick);
    for id in entities {
        scene.put(&Subject {
            entity: EntityId::from_u128(id),
            epoch: AuthorityEpoch::FIRST,
            class: EntityClass::default(),
            owned: true,
            motion: Motion { position: Position::new(105.0, 50.0, 0.0), ..Motion::default() },
            rotation: [0.0, 0.0, 0.0, 1.0],
            state: State::new(),
        });
    }
    let everywhere = Bounds { min: Position::new(-1e6, -1e6, -1e6), max: Position::new(1e6, 1e6, 1e6) };
    let mut interest = BorderInterest::new(SightRules::within(1.0), Region::of_boxes(vec![everywhere]));
    let settings = SenderSettings { budget_bytes: 1 << 30, ..SenderSettings::default() };
    let mut outlet = Outlet::new(session, settings);
    outlet.tick(&scene, interest.look(&scene), tick.start(TICK), || session + 1);
    core::iter::from_fn(|| outlet.poll()).filter(|bytes| is_stream(bytes)).collect()
}

fn shows(mesh: &mut Mesh, from: Peer, session: u32, entities: impl Iterator<Item = u128>) {
    for blob in shown_at_once(session, mesh.tick, entities) {
        let input = Input::Message { from: Sender::Node(from), message: Message::Ghosts, blob };
        mesh.hosts[0].node.handle(input, mesh.now);
    }
    mesh.settle();
}

fn ghosts(mesh: &Mesh, host: usize) -> Vec<EntityId> {
    mesh.hosts[host].roster.as_ref().expect("it is registered").ghosts().map(|(entity, _)| entity).collect()
}

fn misbehaviour(mesh: &Mesh, host: usize) -> usize {
    let events = mesh.hosts[host].events.iter();
    events.filter(|event| matches!(event, NodeEvent::PeerMisbehaved { .. })).count()
}

#[test]
fn a_node_that_shows_ghosts_without_end_leaves_room_for_those_of_others() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[0].node.handle(Input::LinkUp { peer: ROGUE }, mesh.now);
    let many = 3 * GHOSTS_OF_NODE_MAX as u128;
    shows(&mut mesh, ROGUE, 1, 1_000..1_000 + many);
    mesh.run(2);
    assert_eq!(ghosts(&mesh, 0).len(), GHOSTS_OF_NODE_MAX);
    // Another session before its time changes nothing.
    shows(&mut mesh, ROGUE, 2, 1_000_000..1_000_000 + many);
    mesh.run(2);
    assert_eq!(ghosts(&mesh, 0).len(), GHOSTS_OF_NODE_MAX);
    assert!(ghosts(&mesh, 0).iter().all(|ghost| ghost.as_u128() < 1_000_000));
    let tick = mesh.tick;
    mesh.hosts[1].spawn(ENTITY, 105.0, 0.0, tick);
    mesh.run(3);
    assert!(ghosts(&mesh, 0).contains(&ENTITY));
    // Nobody vouches for what the rogue showed once.
    mesh.run(90);
    assert_eq!(ghosts(&mesh, 0), [ENTITY]);
}

#[test]
fn what_a_peer_says_of_ghosts_that_cannot_be_is_counted_and_changes_nothing() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[1].spawn(ENTITY, 105.0, 0.0, Tick(2));
    mesh.run(5);
    assert_eq!((ghosts(&mesh, 0), misbehaviour(&mesh, 0)), (vec![ENTITY], 0));
    let peer = mesh.hosts[1].node.me().unwrap();
    for blob in [&b""[..], b"x", &[129, 0, 1, 1], &[129, 2, 1, 255, 1], &[129, 3, 9, 0, 77], &[7; 90]] {
        let blob = Bytes::copy_from_slice(blob);
        let input = Input::Message { from: Sender::Node(peer), message: Message::Ghosts, blob };
        mesh.hosts[0].node.handle(input, mesh.now);
    }
    mesh.run(5);
    assert!(misbehaviour(&mesh, 0) >= 4, "{}", misbehaviour(&mesh, 0));
    mesh.run(100);
    assert_eq!(ghosts(&mesh, 0), [ENTITY], "what was real is shown anew");
}

/// Four nodes, and an entity of the first that jumps to where the last one shows, out of whose sight it was.
fn far_jump(mesh: &mut Mesh) {
    mesh.hosts[0].spawn(ENTITY, 20.0, 0.0, Tick(2));
    mesh.run(60);
    let point = mesh.hosts[0].game.points.get_mut(&ENTITY);
    point.expect("it was spawned").motion.position.x = 320.0;
}

#[test]
fn what_is_handed_over_unforeseen_does_not_appear_at_its_target_before() {
    let mut mesh = Mesh::row(4);
    mesh.run(2);
    let said = Rc::new(Cell::new(0));
    let count = said.clone();
    mesh.filter = Box::new(move |from, to, message| {
        let there = from == node_id(0) && to == Destination::Node(node_id(3));
        count.set(count.get() + usize::from(there && matches!(message, Message::Ghosts)));
        false
    });
    far_jump(&mut mesh);
    mesh.run(4);
    assert_eq!((mesh.simulating(ENTITY), said.get()), (vec![3], 0));
    mesh.run(4);
    assert_eq!(ghosts(&mesh, 2), [ENTITY], "its new neighbour is shown it");
}

#[test]
fn what_stays_though_it_is_asked_to_be_handed_over_appears_soon() {
    let mut mesh = Mesh::row(4);
    mesh.run(2);
    mesh.filter =
        Box::new(|_, _, message| matches!(message, Message::PrepareRequest(_) | Message::PrepareDirect(_)));
    far_jump(&mut mesh);
    mesh.run(5);
    assert_eq!((mesh.simulating(ENTITY), ghosts(&mesh, 3)), (vec![0], vec![ENTITY]));
}

#[test]
fn what_stands_near_the_border_is_shown_and_what_goes_away_vanishes() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[1].spawn(ENTITY, 105.0, 9.0, Tick(2));
    mesh.run(4);
    assert_eq!(ghosts(&mesh, 0), [ENTITY]);
    let shown = *mesh.hosts[0].roster.as_ref().unwrap().ghost(ENTITY).unwrap();
    let there = mesh.hosts[1].game.points[&ENTITY].motion.position.x;
    let lag_m = 9.0 * 3.0 * TICK.as_secs_f64();
    assert!(shown.motion.position.x <= there && there - shown.motion.position.x <= lag_m + 0.05);
    // The margin is 30 m, and it leaves at a tenth more.
    mesh.run(100);
    assert!(mesh.hosts[1].game.points[&ENTITY].motion.position.x > 133.0);
    assert_eq!(ghosts(&mesh, 0), []);
    let told = &mesh.hosts[0].game.ghosts;
    assert!(matches!(told.first(), Some(GhostChange::Appeared { entity: ENTITY, .. })));
    assert!(matches!(told.last(), Some(GhostChange::Vanished { entity: ENTITY })));
}

#[test]
fn an_entity_that_is_handed_on_becomes_a_ghost_here_and_there_a_ghost_becomes_the_entity() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[0].spawn(ENTITY, 90.0, 9.0, Tick(2));
    mesh.run(15);
    assert_eq!((mesh.simulating(ENTITY), ghosts(&mesh, 1)), (vec![0], vec![ENTITY]));
    mesh.run(60);
    assert_eq!((mesh.simulating(ENTITY), ghosts(&mesh, 1)), (vec![1], vec![]));
    assert_eq!(ghosts(&mesh, 0), [ENTITY]);
    let appearances = |host: usize| {
        let told = mesh.hosts[host].game.ghosts.iter();
        told.filter(|change| matches!(change, GhostChange::Appeared { .. } | GhostChange::Vanished { .. }))
            .count()
    };
    assert_eq!(appearances(1), 1, "it was seen coming, and never went");
    assert_eq!(appearances(0), 0, "it was there all the time");
    // Its own host's word has taken over: it moves.
    let shown = *mesh.hosts[0].roster.as_ref().unwrap().ghost(ENTITY).unwrap();
    let there = mesh.hosts[1].game.points[&ENTITY].motion.position.x;
    assert!(
        (there - shown.motion.position.x).abs() < 1.5,
        "{} is shown, {there} it is",
        shown.motion.position.x
    );
    // And away it goes.
    mesh.run(100);
    assert_eq!(ghosts(&mesh, 0), []);
}

/// They stand and go with the player's former node alone: nobody could say any more where they are.
#[test]
fn what_only_the_former_node_showed_a_player_is_soon_out_of_their_sight() {
    const NEAR: EntityId = EntityId::from_u128(71);
    const FAR: EntityId = EntityId::from_u128(72);
    let mut mesh = Mesh::row(2);
    mesh.enter("ada");
    mesh.run(3);
    let player = mesh.the_player_entity();
    let from = mesh.simulating(player)[0];
    // In metres from the border, on the player's side.
    let x = |apart: f64| if from == 0 { 100.0 - apart } else { 100.0 + apart };
    let tick = mesh.tick;
    mesh.hosts[from].spawn(NEAR, x(10.0), 0.0, tick);
    mesh.hosts[from].spawn(FAR, x(31.5), 0.0, tick);
    let point = mesh.hosts[from].game.points.get_mut(&player).unwrap();
    point.motion.position.x = x(3.0);
    point.motion.velocity.x = if from == 0 { 4.0 } else { -4.0 };
    let sees = |mesh: &Mesh, who| mesh.players[0].client.sights(mesh.now).any(|shown| shown.entity == who);
    mesh.run(12);
    assert!(sees(&mesh, NEAR) && sees(&mesh, FAR), "within 30 m");
    while mesh.simulating(player) == [from] {
        mesh.run(1);
    }
    mesh.run(10);
    assert!(sees(&mesh, NEAR), "the other node is shown it");
    assert!(!sees(&mesh, FAR), "the other node is not shown what is beyond the margin");
}

#[test]
fn a_despawned_entity_vanishes_at_once_and_nothing_late_brings_it_back() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[1].spawn(ENTITY, 105.0, 0.0, Tick(2));
    mesh.run(5);
    assert_eq!(ghosts(&mesh, 0), [ENTITY]);
    let tick = mesh.tick;
    mesh.hosts[1].game.points.remove(&ENTITY);
    mesh.hosts[1].roster.as_mut().unwrap().despawn(ENTITY, tick).unwrap();
    mesh.run(3);
    assert_eq!(ghosts(&mesh, 0), []);
    mesh.run(10);
    assert_eq!(ghosts(&mesh, 0), []);
}

#[test]
fn a_link_that_was_down_shows_everything_anew_and_a_short_fall_is_not_seen() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[1].spawn(ENTITY, 105.0, 0.0, Tick(2));
    mesh.run(5);
    let (peers, now) = ([0, 1].map(|host: usize| mesh.hosts[host].node.me().unwrap()), mesh.now);
    let link = |mesh: &mut Mesh, up: bool, now| {
        for (host, peer) in [(0, peers[1]), (1, peers[0])] {
            let input = if up { Input::LinkUp { peer } } else { Input::LinkDown { node: peer.node } };
            mesh.hosts[host].node.handle(input, now);
        }
        mesh.settle();
    };
    link(&mut mesh, false, now);
    mesh.run(10);
    let now = mesh.now;
    link(&mut mesh, true, now);
    mesh.run(10);
    assert_eq!(ghosts(&mesh, 0), [ENTITY]);
    let seen = mesh.hosts[0].game.ghosts.iter();
    assert_eq!(seen.filter(|change| matches!(change, GhostChange::Appeared { .. })).count(), 1);
    let now = mesh.now;
    link(&mut mesh, false, now);
    mesh.run(40);
    assert_eq!(ghosts(&mesh, 0), [], "nobody told of it for too long");
    let now = mesh.now;
    link(&mut mesh, true, now);
    mesh.run(10);
    assert_eq!(ghosts(&mesh, 0), [ENTITY]);
}

#[test]
fn a_ghost_has_the_state_that_its_game_publishes() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[1].spawn(ENTITY, 105.0, 0.0, Tick(2));
    mesh.run(5);
    let shown = mesh.hosts[0].roster.as_ref().unwrap().ghost(ENTITY).unwrap().look;
    assert_eq!(shown.class, EntityClass::default());
    assert_eq!(shown.state, mesh.hosts[1].game.look(ENTITY).state);
    mesh.hosts[1].game.points.get_mut(&ENTITY).unwrap().inputs.push(1);
    mesh.run(5);
    let after = mesh.hosts[0].roster.as_ref().unwrap().ghost(ENTITY).unwrap().look;
    assert_ne!(after.state, shown.state);
    assert_eq!(after.state, mesh.hosts[1].game.look(ENTITY).state);
}

#[test]
fn a_class_is_seen_from_a_distance_of_its_own() {
    const TOWER: EntityClass = EntityClass(7);
    const WITHIN: EntityId = EntityId::from_u128(1);
    const BEYOND: EntityId = EntityId::from_u128(2);
    const USUAL: EntityId = EntityId::from_u128(3);
    const LEAVING: EntityId = EntityId::from_u128(4);
    let config = NodeConfig { class_margins_m: [(7, 60.0)].into(), ..NodeConfig::default() };
    let mut mesh = Mesh::grid([2, 1], &[0, 1], &config);
    mesh.run(2);
    let tick = mesh.tick;
    for (entity, x, speed) in
        [(WITHIN, 155.0, 0.0), (BEYOND, 165.0, 0.0), (USUAL, 155.0, 0.0), (LEAVING, 158.0, 9.0)]
    {
        mesh.hosts[1].spawn(entity, x, speed, tick);
        let class = if entity == USUAL { EntityClass::default() } else { TOWER };
        mesh.hosts[1].game.classes.insert(entity, class);
    }
    mesh.run(5);
    assert_eq!(ghosts(&mesh, 0), [WITHIN, LEAVING], "the margin of all others is 30 m");
    assert_eq!(mesh.hosts[0].roster.as_ref().unwrap().ghost(WITHIN).unwrap().look.class, TOWER);
    // It leaves at a tenth more than 60 m.
    while mesh.hosts[1].game.points[&LEAVING].motion.position.x < 163.0 {
        mesh.run(1);
    }
    assert_eq!(ghosts(&mesh, 0), [WITHIN, LEAVING]);
    mesh.run(40);
    assert!(mesh.hosts[1].game.points[&LEAVING].motion.position.x > 170.0);
    assert_eq!(ghosts(&mesh, 0), [WITHIN]);
}

/// Three nodes where four cells meet, at (100, 100): two have one below each, the third has both above.
fn at_the_corner(x: f64, y: f64, velocity: Velocity) -> Mesh {
    let mut mesh = Mesh::grid([2, 2], &[0, 1, 2, 2], &NodeConfig::default());
    mesh.run(2);
    let tick = mesh.tick;
    mesh.hosts[0].spawn_at(ENTITY, Motion { position: Position::new(x, y, 0.0), velocity }, tick);
    mesh
}

fn comings_and_goings(mesh: &Mesh, host: usize) -> Vec<&GhostChange> {
    let told = mesh.hosts[host].game.ghosts.iter();
    told.filter(|change| matches!(change, GhostChange::Appeared { .. } | GhostChange::Vanished { .. }))
        .collect()
}

/// Runs until the second node has the entity, and `ticks` more; the third is shown it all the while, on its straight way.
fn cross_before_the_third(mesh: &mut Mesh, ticks: usize) {
    const SPEED_MPS: f64 = 9.0;
    let (mut since, mut shown_at) = (0, None::<Position>);
    while since < ticks {
        mesh.run(1);
        since += usize::from(mesh.simulating(ENTITY) == [1]);
        let Some(ghost) = mesh.hosts[2].roster.as_ref().expect("it is registered").ghost(ENTITY) else {
            assert!(shown_at.is_none(), "it went out of sight {since} ticks after it had changed hands");
            continue;
        };
        let at = ghost.motion.position;
        if let Some(before) = shown_at {
            let step_m = at.x - before.x;
            assert!((step_m - SPEED_MPS * TICK.as_secs_f64()).abs() < 0.1, "{step_m} m in a tick");
        }
        shown_at = Some(at);
        assert!(mesh.tick.0 < 600, "it doesn't cross");
    }
    let seen = comings_and_goings(mesh, 2);
    assert!(matches!(seen[..], [GhostChange::Appeared { .. }]), "{seen:?}");
}

#[test]
fn a_third_node_sees_what_crosses_between_two_others_go_straight_on() {
    let mut mesh = at_the_corner(85.0, 85.0, Velocity::new(9.0, 0.0, 0.0));
    cross_before_the_third(&mut mesh, 90);
}

/// 32 m from the third node's cells: within 30 m it came into sight, and beyond 33 m it would go out of it.
#[test]
fn what_a_third_node_sees_on_its_way_out_stays_in_sight_when_it_changes_hands() {
    let mut mesh = at_the_corner(85.0, 71.0, Velocity::new(9.0, 0.0, 0.0));
    mesh.run(5);
    mesh.hosts[0].game.points.get_mut(&ENTITY).unwrap().motion.position.y = 68.0;
    cross_before_the_third(&mut mesh, 90);
    mesh.hosts[1].game.points.get_mut(&ENTITY).unwrap().motion.position.y = 66.0;
    mesh.run(5);
    assert_eq!(ghosts(&mesh, 2), [], "and beyond that it goes");
}

/// 32 m from the player: within 30 m it came into sight, and beyond 33 m it would go out of it.
#[test]
fn what_a_player_sees_on_its_way_out_stays_in_sight_when_the_player_changes_nodes() {
    let mut mesh = Mesh::row(2);
    mesh.enter("ada");
    mesh.run(3);
    let player = mesh.the_player_entity();
    let from = mesh.simulating(player)[0];
    let (to, ahead) = (1 - from, if from == 0 { 1.0 } else { -1.0 });
    let point = mesh.hosts[from].game.points.get_mut(&player).unwrap();
    point.motion.position.x = 100.0 - 3.0 * ahead;
    point.motion.velocity.x = if from == 0 { 4.0 } else { -4.0 };
    let tick = mesh.tick;
    mesh.hosts[to].spawn(ENTITY, 100.0 + 10.0 * ahead, 0.0, tick);
    let keep_away = |mesh: &mut Mesh, apart_m: f64| {
        let holder = mesh.simulating(player).first().copied();
        let Some(at) = holder.map(|holder| mesh.hosts[holder].game.points[&player].motion.position) else {
            return;
        };
        let point = mesh.hosts[to].game.points.get_mut(&ENTITY).unwrap();
        point.motion.position = Position::new(at.x + 10.0 * ahead, at.y + apart_m, 0.0);
    };
    let sees = |mesh: &Mesh| mesh.players[0].client.sights(mesh.now).any(|shown| shown.entity == ENTITY);
    for _ in 0..8 {
        keep_away(&mut mesh, 27.0);
        mesh.run(1);
    }
    assert!(sees(&mesh), "29 m away");
    let mut since = 0;
    while since < 40 {
        keep_away(&mut mesh, 30.4);
        mesh.run(1);
        since += usize::from(mesh.simulating(player) == [to]);
        assert!(sees(&mesh), "{since} ticks after the player has changed nodes");
        assert!(mesh.tick.0 < 600, "nobody crosses");
    }
    for _ in 0..10 {
        keep_away(&mut mesh, 33.0);
        mesh.run(1);
    }
    assert!(!sees(&mesh), "34.5 m away");
}
