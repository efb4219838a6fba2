//! Actions between entities of several nodes: done once and answered once, while either is handed on, and after crashes.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic like the test")]

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use common::{Mesh, node_id};
use selvedge_protocol::action::{ActionId, ActionNumber, Terms};
use selvedge_protocol::id::{EntityId, NodeId};
use selvedge_protocol::limits::HOPS_MAX;
use selvedge_protocol::node::{Input, Sender};
use selvedge_protocol::time::Tick;
use selvedge_protocol::wire::{ActionMessage, Message};

const A: EntityId = EntityId::from_u128(7);
const B: EntityId = EntityId::from_u128(8);
const PLAIN: Terms = Terms { durable: false, ticks: 150 };
const DURABLE: Terms = Terms { durable: true, ticks: 150 };
/// Ticks in which a first checkpoint is safe.
const SAFE: u32 = 75;
/// Ticks in which a lease, its margin and a recovery round are over.
const RECOVERED: u32 = 150;

/// Nodes in a row of cells of 100 m; A and B at these places, at these speeds.
fn scene(nodes: u32, a: (f64, f32), b: (f64, f32)) -> Mesh {
    let mut mesh = Mesh::row(nodes);
    mesh.run(5);
    for (entity, (x, speed)) in [(A, a), (B, b)] {
        let tick = mesh.tick;
        let host = usize::from(x >= 100.0) + usize::from(x >= 200.0);
        mesh.hosts[host].spawn(entity, x, speed, tick);
    }
    mesh.run(SAFE);
    mesh
}

fn holder(mesh: &Mesh, entity: EntityId) -> usize {
    let holders = mesh.simulating(entity);
    assert_eq!(holders.len(), 1, "{entity} is held by {holders:?}");
    holders[0]
}

fn act(mesh: &mut Mesh, byte: u8, terms: Terms) {
    let (host, tick) = (holder(mesh, A), mesh.tick);
    mesh.hosts[host].roster.as_mut().unwrap().act(A, B, &[byte], terms, tick).unwrap();
}

fn heard(mesh: &Mesh) -> String {
    let point = &mesh.hosts[holder(mesh, A)].game.points[&A];
    String::from_utf8(point.heard.clone()).unwrap()
}

fn deeds(mesh: &Mesh) -> String {
    let point = &mesh.hosts[holder(mesh, B)].game.points[&B];
    String::from_utf8(point.deeds.clone()).unwrap()
}

#[test]
fn an_action_across_a_border_is_done_and_answered_within_a_few_ticks() {
    let mut mesh = scene(2, (95.0, 0.0), (105.0, 0.0));
    act(&mut mesh, b'1', PLAIN);
    mesh.run(4);
    assert_eq!((deeds(&mesh), heard(&mesh)), ("1".to_owned(), "d".to_owned()));
}

#[test]
fn so_is_one_between_two_of_the_same_node() {
    let mut mesh = scene(1, (45.0, 0.0), (55.0, 0.0));
    act(&mut mesh, b'1', PLAIN);
    act(&mut mesh, b'2', DURABLE);
    mesh.run(6);
    assert_eq!((deeds(&mesh), heard(&mesh)), ("12".to_owned(), "dd".to_owned()));
}

#[test]
fn every_action_is_done_once_while_both_run_through_three_nodes() {
    let mut mesh = scene(3, (60.0, 20.0), (70.0, 20.0));
    let mut sent = String::new();
    for byte in (b'a'..=b'z').cycle().take(120) {
        act(&mut mesh, byte, if byte % 4 == 0 { DURABLE } else { PLAIN });
        sent.push(char::from(byte));
        mesh.run(2);
    }
    mesh.run(60);
    assert!(holder(&mesh, A) == 2 && holder(&mesh, B) == 2, "both have crossed");
    let (mut sent, mut deeds): (Vec<char>, Vec<char>) =
        (sent.chars().collect(), deeds(&mesh).chars().collect());
    sent.sort_unstable();
    deeds.sort_unstable();
    assert_eq!(deeds, sent, "in whatever order");
    assert_eq!(heard(&mesh), "d".repeat(120));
}

#[test]
fn loss_of_any_message_about_an_action_delays_it_and_no_more() {
    for lost in 0..8 {
        let mut mesh = scene(2, (95.0, 0.0), (105.0, 0.0));
        let mut seen = 0;
        mesh.filter = Box::new(move |_, _, message| {
            let concerned = matches!(message, Message::Action(_));
            seen += u32::from(concerned);
            concerned && seen == lost + 1
        });
        act(&mut mesh, b'1', DURABLE);
        act(&mut mesh, b'2', PLAIN);
        mesh.run(120);
        let mut deeds: Vec<char> = deeds(&mesh).chars().collect();
        deeds.sort_unstable();
        assert_eq!(deeds, ['1', '2'], "message {lost}");
        assert_eq!(heard(&mesh), "dd", "message {lost}");
        let roster = mesh.hosts[0].roster.as_ref().unwrap();
        assert_eq!(roster.unsettled(A), 0, "message {lost}");
    }
}

#[test]
fn an_action_on_what_is_gone_fails_soon_and_one_on_what_nobody_reaches_times_out() {
    let mut mesh = scene(2, (95.0, 0.0), (105.0, 0.0));
    let tick = mesh.tick;
    mesh.hosts[1].roster.as_mut().unwrap().despawn(B, tick).unwrap();
    mesh.hosts[1].game.points.remove(&B);
    mesh.run(30);
    act(&mut mesh, b'1', PLAIN);
    mesh.run(10);
    assert_eq!(heard(&mesh), "n");

    let mut mesh = scene(2, (95.0, 0.0), (105.0, 0.0));
    mesh.filter = Box::new(|_, _, message| matches!(message, Message::Action(ActionMessage::Ask { .. })));
    act(&mut mesh, b'1', PLAIN);
    mesh.run(149);
    assert_eq!(heard(&mesh), "");
    mesh.run(4);
    assert_eq!(heard(&mesh), "t");
}

/// Who passed an action on, and how often that had been done by then.
type PassedOn = Rc<RefCell<Vec<(NodeId, u8)>>>;

/// B has crossed from node 0 to node 1; what A, at node 2, asks of it by its own way is lost.
fn b_has_crossed() -> (Mesh, PassedOn) {
    let mut mesh = scene(3, (250.0, 0.0), (40.0, 20.0));
    while mesh.simulating(B) != [1] {
        mesh.run(1);
    }
    mesh.run(2);
    let passed_on = Rc::new(RefCell::new(Vec::new()));
    let sink = passed_on.clone();
    mesh.filter = Box::new(move |from, _, message| {
        let Message::Action(ActionMessage::Ask { hops, .. }) = message else { return false };
        if *hops > 0 {
            sink.borrow_mut().push((from, *hops));
        }
        *hops == 0
    });
    (mesh, passed_on)
}

#[test]
fn an_action_is_passed_on_eight_times_and_then_fails_and_its_caller_hears_it() {
    for (hops, passed, done, told) in
        [(7, vec![(node_id(0), HOPS_MAX)], "1", "d"), (HOPS_MAX, vec![], "", "h")]
    {
        let (mut mesh, passed_on) = b_has_crossed();
        act(&mut mesh, b'1', PLAIN);
        mesh.run(2);
        assert_eq!((deeds(&mesh), heard(&mesh)), (String::new(), String::new()));
        // As it comes from the last tombstone of a chain.
        let id = ActionId { from: A, number: ActionNumber { generation: 0, count: 1 } };
        let reply_to = mesh.hosts[2].node.me().unwrap();
        let message = Message::Action(ActionMessage::Ask {
            id,
            to: B,
            low: id.number,
            deadline: Tick(mesh.tick.0 + 100),
            durable: false,
            reply_to,
            hops,
            bytes: b"1".to_vec(),
        });
        let from = Sender::Node(mesh.hosts[1].node.me().unwrap());
        mesh.hosts[0].node.handle(Input::Message { from, message, blob: Bytes::new() }, mesh.now);
        mesh.run(4);
        assert_eq!(passed_on.take(), passed, "after {hops}");
        assert_eq!((deeds(&mesh), heard(&mesh)), (done.to_owned(), told.to_owned()), "after {hops}");
        let roster = mesh.hosts[2].roster.as_ref().unwrap();
        assert_eq!(roster.unsettled(A), 0, "after {hops}");
    }
}

#[test]
fn a_durable_action_that_comes_too_late_is_not_done_and_its_caller_hears_it() {
    let mut mesh = scene(2, (95.0, 0.0), (105.0, 0.0));
    mesh.filter = Box::new(|_, _, message| matches!(message, Message::Action(ActionMessage::Ask { .. })));
    act(&mut mesh, b'1', DURABLE);
    mesh.run(200);
    assert_eq!(heard(&mesh), "", "only its receiver can tell whether it was done in time");
    mesh.filter = Box::new(|_, _, _| false);
    mesh.run(90);
    assert_eq!((deeds(&mesh), heard(&mesh)), (String::new(), "t".to_owned()));
    for (host, entity) in [(0, A), (1, B)] {
        assert_eq!(mesh.hosts[host].roster.as_ref().unwrap().unsettled(entity), 0);
    }
}

/// What A gives is with A until it has heard that it was taken, and with B from then on.
#[test]
fn a_gift_is_in_one_place_though_giver_and_taker_cross_in_one_tick_in_opposite_directions() {
    // They cross some 60 ticks after the scene is set.
    for after in 30..90 {
        let mut mesh = scene(2, (10.0, 20.0), (190.0, -20.0));
        let (mut crossed, mut given) = ([None; 2], false);
        for tick in 0..150 {
            // Nobody simulates it between its last tick at one node and its first at the other.
            if tick >= after && !given && !mesh.simulating(A).is_empty() {
                act(&mut mesh, b'1', DURABLE);
                given = true;
            }
            mesh.run(1);
            for (crossed, (entity, from)) in crossed.iter_mut().zip([(A, 0), (B, 1)]) {
                if crossed.is_none() && mesh.simulating(entity) != [from] {
                    *crossed = Some(tick);
                }
            }
        }
        assert!(crossed[0] == crossed[1] && crossed[0].is_some(), "in one tick: {crossed:?}");
        assert_eq!((holder(&mesh, A), holder(&mesh, B)), (1, 0));
        assert_eq!((deeds(&mesh), heard(&mesh)), ("1".to_owned(), "d".to_owned()), "after {after} ticks");
        for (host, entity) in [(1, A), (0, B)] {
            assert_eq!(mesh.hosts[host].roster.as_ref().unwrap().unsettled(entity), 0, "after {after} ticks");
        }
    }
}

#[test]
fn a_durable_action_survives_the_crash_of_either_side_at_any_moment() {
    for victim in [0, 1] {
        for after in 0..90 {
            let mut mesh = scene(3, (95.0, 0.0), (105.0, 0.0));
            act(&mut mesh, b'1', DURABLE);
            mesh.run(after);
            mesh.crash(victim);
            mesh.run(RECOVERED + 120);
            let alive = |entity| {
                let holders = mesh.simulating(entity).into_iter().filter(|&index| index != victim);
                holders.collect::<Vec<_>>()
            };
            let ([a], [b]) = (&alive(A)[..], &alive(B)[..]) else { panic!("victim {victim} after {after}") };
            let (a, b) = (&mesh.hosts[*a].game.points[&A], &mesh.hosts[*b].game.points[&B]);
            // Undone as a whole, or done as a whole.
            let whole = match (&a.heard[..], &b.deeds[..]) {
                (b"d", b"1") => true,
                (b"", b"") => victim == 0,
                _ => false,
            };
            assert!(whole, "victim {victim} after {after} ticks: {:?} {:?}", a.heard, b.deeds);
        }
    }
}

#[test]
fn an_entity_with_an_unsettled_durable_action_does_not_end() {
    let mut mesh = scene(2, (95.0, 0.0), (105.0, 0.0));
    act(&mut mesh, b'1', DURABLE);
    let tick = mesh.tick;
    mesh.hosts[0].roster.as_mut().unwrap().despawn(A, tick).unwrap_err();
    mesh.run(90);
    let tick = mesh.tick;
    mesh.hosts[0].roster.as_mut().unwrap().despawn(A, tick).unwrap();
    mesh.hosts[0].game.points.remove(&A);
    mesh.hosts[1].roster.as_mut().unwrap().despawn(B, tick).unwrap();
    mesh.hosts[1].game.points.remove(&B);
    mesh.run(5);
}

#[test]
fn a_receiver_forgets_a_durable_action_once_its_sender_is_lost_for_good() {
    let mut lost = 0;
    for buddy in [1, 3] {
        let mut mesh = scene(4, (95.0, 0.0), (250.0, 0.0));
        act(&mut mesh, b'1', DURABLE);
        while deeds(&mesh).is_empty() {
            mesh.run(1);
        }
        mesh.crash(0);
        mesh.crash(buddy);
        mesh.run(2 * RECOVERED);
        let alive =
            |entity, mesh: &Mesh| mesh.simulating(entity).iter().any(|&index| index != 0 && index != buddy);
        let unsettled = |mesh: &Mesh| mesh.hosts[2].roster.as_ref().unwrap().unsettled(B);
        assert!(alive(B, &mesh));
        if !alive(A, &mesh) {
            lost += 1;
            assert_eq!(unsettled(&mesh), 1);
        }
        // Twice the time after which it is asked whether the sender lives, past the action's own.
        mesh.run(150 + 2 * 300 + 30);
        assert_eq!(unsettled(&mesh), 0);
    }
    assert_eq!(lost, 1, "one of them had the only copy");
}
