//! Events: whoever stands in their area is reached, once, on whatever node, crossing or not.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic like the test")]

mod common;

use common::Mesh;
use selvedge_protocol::config::NodeConfig;
use selvedge_protocol::event::{Area, Event, EventError, EventId};
use selvedge_protocol::grid::{Motion, Position};
use selvedge_protocol::id::EntityId;
use selvedge_protocol::limits::{ANNOUNCEMENTS_PER_S, EVENTS_PER_TICK_MAX};
use selvedge_protocol::node::{Input, Sender};
use selvedge_protocol::wire::{EventMessage, Message};

const fn id(number: u128) -> EntityId {
    EntityId::from_u128(number)
}

/// Three nodes in a row of cells of 100 m, with entities at these places, at these speeds.
fn scene(entities: &[(f64, f32)]) -> Mesh {
    let mut mesh = Mesh::row(3);
    mesh.run(5);
    for (number, &(x, speed)) in (1..).zip(entities) {
        let tick = mesh.tick;
        let host = usize::from(x >= 100.0) + usize::from(x >= 200.0);
        mesh.hosts[host].spawn(id(number), x, speed, tick);
    }
    mesh.run(40);
    mesh
}

fn sphere(x: f64, radius_m: f64) -> Area {
    Area::Sphere { centre: Position::new(x, 50.0, 0.0), radius_m }
}

fn cause(mesh: &mut Mesh, host: usize, area: Area, byte: u8) {
    let tick = mesh.tick;
    mesh.hosts[host].roster.as_mut().unwrap().cause(area, &[byte], tick).unwrap();
}

/// How often each entity was reached, wherever it is.
fn reached(mesh: &Mesh, entities: u128) -> Vec<usize> {
    let of = |entity| {
        let hosts = mesh.hosts.iter().filter_map(|host| host.game.points.get(&entity));
        hosts.map(|point| point.deeds.len()).sum()
    };
    (1..=entities).map(|number| of(id(number))).collect()
}

#[test]
fn everybody_in_the_area_is_reached_once_on_every_node_and_nobody_else() {
    let mut mesh = scene(&[(85.0, 0.0), (99.0, 0.0), (101.0, 0.0), (115.0, 0.0), (190.0, 0.0), (250.0, 0.0)]);
    cause(&mut mesh, 0, sphere(100.0, 12.0), b'!');
    mesh.run(8);
    assert_eq!(reached(&mesh, 6), [0, 1, 1, 0, 0, 0]);
    let (min, max) = (Position::new(110.0, 0.0, -1.0), Position::new(260.0, 99.0, 1.0));
    cause(&mut mesh, 0, Area::Cuboid { min, max }, b'!');
    mesh.run(8);
    assert_eq!(reached(&mesh, 6), [0, 1, 1, 1, 1, 1], "caused by a node that has no part in it");
    cause(&mut mesh, 1, Area::World, b'!');
    mesh.run(12);
    assert_eq!(reached(&mesh, 6), [1, 2, 2, 2, 2, 2]);
}

/// Four cells meet at (100, 100). Once each has a node of its own, and once the third node has two of them.
#[test]
fn at_a_corner_of_four_cells_everybody_is_reached_once() {
    const NEAR: [(f64, f64); 4] = [(97.0, 97.0), (103.0, 97.0), (97.0, 103.0), (103.0, 103.0)];
    const FAR: [(f64, f64); 4] = [(80.0, 97.0), (120.0, 97.0), (80.0, 103.0), (103.0, 120.0)];
    for owners in [[0, 1, 2, 3], [0, 1, 2, 2]] {
        let mut mesh = Mesh::grid([2, 2], &owners, &NodeConfig::default());
        mesh.run(5);
        let tick = mesh.tick;
        for (number, (x, y)) in (1..).zip(NEAR.into_iter().chain(FAR)) {
            let cell = usize::from(x >= 100.0) + 2 * usize::from(y >= 100.0);
            let motion = Motion { position: Position::new(x, y, 0.0), ..Motion::default() };
            mesh.hosts[owners[cell]].spawn_at(id(number), motion, tick);
        }
        mesh.run(10);
        let corner = Position::new(100.0, 100.0, 0.0);
        let (min, max) = (Position::new(95.0, 95.0, -1.0), Position::new(105.0, 105.0, 1.0));
        let areas = [Area::Sphere { centre: corner, radius_m: 6.0 }, Area::Cuboid { min, max }];
        let mut times = 0;
        // Whoever causes it, the owner of a cell that it touches or of several.
        for host in 0..mesh.hosts.len() {
            for area in areas {
                cause(&mut mesh, host, area, b'!');
                mesh.run(8);
                times += 1;
                assert_eq!(
                    reached(&mesh, 8),
                    [[times; 4], [0; 4]].concat(),
                    "{area:?} by {host} of {owners:?}"
                );
            }
        }
    }
}

#[test]
fn who_crosses_while_it_happens_is_reached_once_whatever_the_moment() {
    for after in 0..90 {
        // They cross the border at 100 m one after another.
        let mut mesh = scene(&[(70.0, 15.0), (74.0, 15.0), (78.0, 15.0), (60.0, 18.0)]);
        mesh.run(after);
        cause(&mut mesh, 0, sphere(100.0, 90.0), b'!');
        mesh.run(12);
        // Who is between two nodes at the end of a tick is counted once they have arrived.
        while (1..=4).any(|number| mesh.simulating(id(number)).is_empty()) {
            mesh.run(1);
        }
        assert_eq!(reached(&mesh, 4), [1, 1, 1, 1], "after {after} ticks");
    }
}

#[test]
fn who_is_admitted_late_is_reached_by_what_happened_since_it_left_its_source() {
    for after in 0..30 {
        let mut mesh = scene(&[(85.0, 15.0)]);
        let mut transfers = 0;
        // Nothing is copied ahead, and the first try is lost: for some ticks nobody simulates it.
        mesh.filter = Box::new(move |_, _, message| {
            transfers += usize::from(matches!(message, Message::Transfer { .. }));
            matches!(message, Message::Precopy { .. } | Message::Transfer { .. } if transfers <= 1)
        });
        mesh.run(after);
        cause(&mut mesh, 0, sphere(100.0, 90.0), b'!');
        mesh.run(60);
        assert_eq!(mesh.simulating(id(1)), [1]);
        assert_eq!(reached(&mesh, 1), [1], "after {after} ticks");
    }
}

#[test]
fn a_late_event_reaches_only_who_was_there_in_its_tick() {
    let mut mesh = scene(&[(95.0, 0.0), (70.0, 15.0)]);
    let tick = mesh.tick;
    assert_eq!(mesh.simulating(id(2)), [0], "it is about to cross");
    mesh.run(30);
    assert_eq!(mesh.simulating(id(2)), [1], "it has crossed");
    let by = mesh.hosts[2].node.me().unwrap();
    let event = Event { id: EventId { by, number: 1 }, tick, area: sphere(100.0, 50.0), bytes: vec![b'!'] };
    for host in 0..2 {
        let message = Message::Event(EventMessage::Happens(event.clone()));
        let input = Input::Message { from: Sender::Node(by), message, blob: bytes::Bytes::new() };
        // Twice: a double changes nothing.
        mesh.hosts[host].node.handle(input.clone(), mesh.now);
        mesh.hosts[host].node.handle(input, mesh.now);
    }
    mesh.run(3);
    assert_eq!(reached(&mesh, 2), [1, 0], "the second was the first node's then, and is the other's now");
}

#[test]
fn what_a_game_or_a_peer_causes_is_bounded() {
    let mut mesh = scene(&[(50.0, 0.0)]);
    let tick = mesh.tick;
    let roster = mesh.hosts[0].roster.as_mut().unwrap();
    for _ in 0..EVENTS_PER_TICK_MAX {
        roster.cause(sphere(50.0, 1.0), b"!", tick).unwrap();
    }
    assert_eq!(roster.cause(sphere(50.0, 1.0), b"!", tick), Err(EventError::TooMany));
    let bad = sphere(f64::NAN, 1.0);
    assert!(matches!(roster.cause(bad, b"!", tick), Err(EventError::BadArea { .. })));
    assert!(matches!(roster.cause(Area::World, &[0; 513], tick), Err(EventError::TooLong { .. })));
    mesh.run(8);
    assert_eq!(reached(&mesh, 1), [EVENTS_PER_TICK_MAX]);

    for _ in 0..EVENTS_PER_TICK_MAX {
        cause(&mut mesh, 1, Area::World, b'?');
    }
    mesh.run(12);
    assert_eq!(reached(&mesh, 1), [EVENTS_PER_TICK_MAX + ANNOUNCEMENTS_PER_S as usize]);
}
