//! What peers and clients must not get away with: each is refused by its cause, names its sender, and changes nothing.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]
#![allow(clippy::unwrap_used, reason = "a helper that panics fails the test that called it")]

#[path = "../common/mod.rs"]
mod common;

mod clients;
mod groups;
mod strangers;

use std::time::Duration;

use bytes::Bytes;
use common::{Mesh, node_id};
use selvedge_protocol::authority::Standing;
use selvedge_protocol::coordinator::{CoordinatorEvent, CoordinatorInput};
use selvedge_protocol::grid::{CellId, Motion, Position, Velocity};
use selvedge_protocol::handoff::client::ClientEvent;
use selvedge_protocol::id::{
    AuthorityEpoch, ClientId, EntityId, HandoffId, Incarnation, InputSeq, NodeId, Peer, ReservationId,
    SessionId, Term,
};
use selvedge_protocol::node::{Input, NodeEvent, Sender};
use selvedge_protocol::snapshot::{ComponentVersions, SnapshotWriter};
use selvedge_protocol::time::{Tick, Time};
use selvedge_protocol::token::Token;
use selvedge_protocol::wire::{
    AuthorityChange, AuthorityEvent, ByeReason, ClientMessage, InputMessage, LeaseMessage, Load, Message,
    PrepareOutcome, PrepareRequest, RefuseReason,
};

const ENTITY: EntityId = EntityId::from_u128(99);
const OTHER: EntityId = EntityId::from_u128(98);
/// A node with a good certificate that is up to no good.
const ROGUE: Peer = Peer { node: NodeId::from_u128(666), incarnation: Incarnation(66) };
/// Ticks after which the coordinator has heard who holds what.
const REPORTED: u32 = 30;
/// Recognizable in a snapshot's bytes.
const X: f64 = 123.456_789;
const SPEED: f32 = 7.654_321;

fn cell(x: u32) -> CellId {
    CellId::new(0, x, 0, 0).unwrap()
}

fn request(entity: EntityId, source: Peer, session: Option<SessionId>) -> PrepareRequest {
    PrepareRequest {
        reservation: ReservationId { entity, source, attempt: 1 },
        session,
        from_cell: cell(0),
        to_cell: cell(1),
        crossing_in_us: 0,
        size_hint_bytes: 0,
        schema: 1,
        asked_at: Time::ZERO,
    }
}

fn snapshot(entity: EntityId, session: Option<SessionId>) -> Bytes {
    snapshot_after(entity, session, InputSeq(0))
}

fn snapshot_after(entity: EntityId, session: Option<SessionId>, last_input: InputSeq) -> Bytes {
    let mut writer = SnapshotWriter::new(entity, session, &ComponentVersions::new());
    writer.schema(1);
    let (position, velocity) = (Position::new(X, 50.0, 0.0), Velocity::new(SPEED, 0.0, 0.0));
    writer.motion(Motion { position, velocity });
    writer.component("inputs", 0, &[]);
    writer.component("weight", 1, &[7; 4096]);
    writer.finish(last_input).unwrap().bytes
}

/// The snapshot with some bytes of it exchanged for as many others.
fn forged(good: &Bytes, from: &[u8], to: &[u8]) -> Bytes {
    let at = good.windows(from.len()).position(|window| window == from).expect("the bytes are there");
    let mut bytes = good.to_vec();
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes.into()
}

/// Snapshots that can't be used, by what is wrong with them, and how that is put.
fn bad_snapshots() -> Vec<(&'static str, &'static str, Bytes)> {
    let good = snapshot(ENTITY, None);
    let x = |value: f64| forged(&good, &X.to_le_bytes(), &value.to_le_bytes());
    let speed = |value: f32| forged(&good, &SPEED.to_le_bytes(), &value.to_le_bytes());
    vec![
        ("empty", "a frame of 0 bytes is cut short", Bytes::new()),
        ("noise", "the frame has layout 165, this build reads", Bytes::from_static(&[0xa5; 300])),
        ("cut short", "", good.slice(..good.len() - 1)),
        ("of another layout", "the frame has layout 9, this build reads", forged(&good, &good[..1], &[9])),
        ("with bodies that never end", "is cut short", forged(&good, &good[1..5], &[0xff; 4])),
        ("too large", "a frame of 2097152 bytes is past the limit", Bytes::from(vec![1; 2 << 20])),
        (
            "of another entity",
            "it is of the entity 00000000-0000-0000-0000-000000000062",
            snapshot(OTHER, None),
        ),
        ("of another session", "another player's session", snapshot(ENTITY, Some(SessionId::from_u128(5)))),
        ("at NaN", "position is not a finite number", x(f64::NAN)),
        ("at infinity", "position is not a finite number", x(f64::INFINITY)),
        ("absurdly far away", "position is not a finite number", x(1e300)),
        ("moving at NaN", "velocity is not a finite number", speed(f32::NAN)),
        ("moving absurdly fast", "velocity is not a finite number", speed(f32::MAX)),
    ]
}

/// A mesh of two that runs, and to whose nodes the rogue has a link.
fn scene() -> Mesh {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    for host in &mut mesh.hosts {
        host.node.handle(Input::LinkUp { peer: ROGUE }, mesh.now);
    }
    mesh
}

fn rogue_says(mesh: &mut Mesh, to: usize, message: Message, blob: Bytes) -> Vec<Message> {
    mesh.to_strangers.clear();
    let (from, now) = (Sender::Node(ROGUE), mesh.now);
    mesh.hosts[to].node.handle(Input::Message { from, message, blob }, now);
    mesh.settle();
    mesh.to_strangers.clone()
}

fn transfer(id: HandoffId, reservation: ReservationId) -> Message {
    Message::Transfer {
        id,
        reservation,
        last_tick: Tick(2),
        pending: Vec::new(),
        asked_at: Time::ZERO,
        members: Vec::new(),
    }
}

fn handoff(entity: EntityId, step: u32) -> HandoffId {
    HandoffId { entity, epoch: AuthorityEpoch { generation: 0, step } }
}

/// What the node holds against the rogue, newest last.
fn charges(mesh: &Mesh, host: usize) -> Vec<String> {
    let events = mesh.hosts[host].events.iter();
    let charges = events.filter_map(|event| match event {
        NodeEvent::PeerMisbehaved { peer: ROGUE, what } => Some(what.to_string()),
        _ => None,
    });
    charges.collect()
}

/// What a node said to the coordinator, as if by its link.
fn tell_coordinator(mesh: &mut Mesh, from: NodeId, message: Message, blob: Bytes) -> Vec<Message> {
    mesh.to_nodes.clear();
    mesh.coordinator.handle(CoordinatorInput::Message { from, incarnation: None, message, blob }, mesh.now);
    mesh.settle();
    mesh.to_nodes.iter().filter(|(to, _)| *to == from).map(|(_, message)| message.clone()).collect()
}

fn charges_of_coordinator(mesh: &Mesh) -> Vec<(NodeId, String)> {
    let events = mesh.coordinator_events.iter();
    let charges = events.filter_map(|event| match event {
        CoordinatorEvent::NodeMisbehaved { node, what } => Some((*node, what.clone())),
        _ => None,
    });
    charges.collect()
}

/// Shows that the mesh is none the worse: something crosses from the first node to the second.
fn a_crossing_works(mesh: &mut Mesh) {
    let (entity, tick) = (EntityId::from_u128(1_000_000), mesh.tick);
    mesh.hosts[0].spawn(entity, 95.0, 10.0, tick);
    mesh.run(60);
    assert_eq!(mesh.simulating(entity), [1]);
    let violated = |event: &CoordinatorEvent| matches!(event, CoordinatorEvent::AuthorityViolation { .. });
    assert!(!mesh.coordinator_events.iter().any(violated), "{:?}", mesh.coordinator_events);
}

#[test]
fn no_bad_snapshot_is_warmed_or_taken_over() {
    for (what, cause, bad) in bad_snapshots() {
        let mut mesh = scene();
        let reservation = request(ENTITY, ROGUE, None).reservation;
        rogue_says(&mut mesh, 1, Message::PrepareDirect(request(ENTITY, ROGUE, None)), Bytes::new());

        let said = rogue_says(&mut mesh, 1, Message::Precopy { reservation }, bad.clone());
        let refused = Some(RefuseReason::BadSnapshot);
        let warmed = Message::Warmed { reservation, versions: ComponentVersions::new(), refused };
        assert_eq!(said, [warmed], "{what}");
        let [charge] = &charges(&mesh, 1)[..] else { panic!("{what}: {:?}", charges(&mesh, 1)) };
        let sent = format!("sent an invalid snapshot of the entity {ENTITY}: ");
        assert!(charge.starts_with(&sent) && charge.contains(cause), "{what}: {cause} in {charge}");

        let id = handoff(ENTITY, 2);
        let said = rogue_says(&mut mesh, 1, transfer(id, reservation), bad);
        assert_eq!(said, [Message::Rejected { id, reason: RefuseReason::BadSnapshot }], "{what}");
        assert_eq!(charges(&mesh, 1).len(), 2, "{what}");
        mesh.run(2);
        assert_eq!(mesh.hosts[1].node.standing(ENTITY), None, "{what}");
        assert!(mesh.simulating(ENTITY).is_empty(), "{what}");

        // That id is burned for good; the next one, with a good snapshot, is as welcome as ever.
        let said = rogue_says(&mut mesh, 1, transfer(id, reservation), snapshot(ENTITY, None));
        assert_eq!(said, [Message::Rejected { id, reason: RefuseReason::Burned }], "{what}");
        let id = handoff(ENTITY, 3);
        rogue_says(&mut mesh, 1, transfer(id, reservation), snapshot(ENTITY, None));
        mesh.run(2);
        assert_eq!(mesh.hosts[1].node.standing(ENTITY), Some(Standing::Active(id.epoch)), "{what}");
        a_crossing_works(&mut mesh);
    }
}

#[test]
fn a_transfer_that_nobody_prepared_is_rejected() {
    let mut mesh = scene();
    let id = handoff(ENTITY, 2);
    let reservation = request(ENTITY, ROGUE, None).reservation;
    let said = rogue_says(&mut mesh, 1, transfer(id, reservation), snapshot(ENTITY, None));
    assert_eq!(said, [Message::Rejected { id, reason: RefuseReason::NotPrepared }]);
    assert_eq!(RefuseReason::NotPrepared.to_string(), "the transfer was not prepared");
    let said = rogue_says(&mut mesh, 1, Message::Precopy { reservation }, snapshot(ENTITY, None));
    assert_eq!(said, [Message::Refuse { reservation, reason: RefuseReason::NotPrepared }]);
    mesh.run(2);
    assert!(mesh.simulating(ENTITY).is_empty());
    a_crossing_works(&mut mesh);
}

#[test]
fn what_a_node_holds_can_not_be_sent_or_prepared_to_it() {
    let mut mesh = scene();
    mesh.hosts[1].spawn(ENTITY, 150.0, 0.0, Tick(2));
    mesh.run(2);
    let reservation = request(ENTITY, ROGUE, None).reservation;
    let said = rogue_says(&mut mesh, 1, Message::PrepareDirect(request(ENTITY, ROGUE, None)), Bytes::new());
    assert_eq!(said, [Message::Refuse { reservation, reason: RefuseReason::HeldHere }]);
    let id = handoff(ENTITY, 9);
    let said = rogue_says(&mut mesh, 1, transfer(id, reservation), snapshot(ENTITY, None));
    assert_eq!(said, [Message::Rejected { id, reason: RefuseReason::HeldHere }]);
    assert_eq!(charges(&mesh, 1), ["sent an entity that this node holds"]);
    // Nor does the word of somebody who was never asked end a transfer.
    for message in [Message::Accepted { id, token: None, members: Vec::new() }, Message::Cancelled { id }] {
        rogue_says(&mut mesh, 1, message, Bytes::new());
    }
    mesh.run(2);
    assert_eq!(mesh.hosts[1].node.standing(ENTITY), Some(Standing::Active(AuthorityEpoch::FIRST)));
    assert_eq!(mesh.simulating(ENTITY), [1]);
    a_crossing_works(&mut mesh);
}

#[test]
fn a_transfer_from_the_far_future_is_rejected() {
    let mut mesh = scene();
    rogue_says(&mut mesh, 1, Message::PrepareDirect(request(ENTITY, ROGUE, None)), Bytes::new());
    let (id, reservation) = (handoff(ENTITY, 2), request(ENTITY, ROGUE, None).reservation);
    let (last_tick, pending, asked_at) = (Tick(u64::MAX), Vec::new(), Time::MAX);
    let message = Message::Transfer { id, reservation, last_tick, pending, asked_at, members: Vec::new() };
    let said = rogue_says(&mut mesh, 1, message, snapshot(ENTITY, None));
    assert_eq!(said, [Message::Rejected { id, reason: RefuseReason::BadSnapshot }]);
    assert_eq!(charges(&mesh, 1), ["sent an entity from a tick far in the future"]);
}

#[test]
fn a_target_refuses_what_it_could_not_take() {
    let mut mesh = scene();
    let source = ROGUE;
    let good = request(ENTITY, source, None);
    for (message, reason) in [
        (PrepareRequest { to_cell: cell(0), ..good.clone() }, RefuseReason::NotMyCell),
        (PrepareRequest { to_cell: cell(4000), ..good.clone() }, RefuseReason::NotMyCell),
        (PrepareRequest { schema: 2, ..good.clone() }, RefuseReason::Schema),
    ] {
        let said = rogue_says(&mut mesh, 1, Message::PrepareDirect(message), Bytes::new());
        assert_eq!(said, [Message::Refuse { reservation: good.reservation, reason }]);
    }
    let honest = mesh.hosts[0].node.me().unwrap();
    let said = rogue_says(&mut mesh, 1, Message::PrepareDirect(request(ENTITY, honest, None)), Bytes::new());
    assert!(said.is_empty());
    assert_eq!(charges(&mesh, 1), ["prepared in another node's name"]);
}

#[test]
fn only_the_coordinators_link_carries_a_coordinators_word() {
    let mut mesh = scene();
    let map = mesh.coordinator.map().to_image();
    let term = Term(u64::MAX);
    let rejected = Message::RegisterRefused { reason: "go away".to_owned() };
    let request = request(ENTITY, ROGUE, None);
    for message in [Message::MapWhole { term, map }, rejected, Message::PrepareToReceive { term, request }] {
        assert!(rogue_says(&mut mesh, 1, message, Bytes::new()).is_empty());
    }
    assert_eq!(charges(&mesh, 1), ["sent a message that only the coordinator's link carries"; 3]);
    a_crossing_works(&mut mesh);
}

#[test]
fn who_has_no_link_in_this_life_is_not_heard() {
    let mut mesh = scene();
    let former = Peer { incarnation: Incarnation(65), ..ROGUE };
    for peer in [former, Peer { node: NodeId::from_u128(667), ..ROGUE }] {
        let message = Message::PrepareDirect(request(ENTITY, peer, None));
        let input = Input::Message { from: Sender::Node(peer), message, blob: Bytes::new() };
        mesh.hosts[1].node.handle(input, mesh.now);
        mesh.settle();
        assert!(mesh.to_strangers.is_empty());
    }
}

#[test]
fn the_coordinator_prepares_only_for_who_holds_the_entity_or_its_cell() {
    let mut mesh = scene();
    mesh.hosts[1].spawn(ENTITY, 150.0, 0.0, Tick(2));
    mesh.run(REPORTED);
    let source = mesh.hosts[0].node.me().unwrap();
    let ask = |mesh: &mut Mesh, request: PrepareRequest| {
        let said = tell_coordinator(mesh, source.node, Message::PrepareRequest(request), Bytes::new());
        let outcome = said.into_iter().find_map(|message| match message {
            Message::PrepareReply { outcome, .. } => Some(outcome),
            _ => None,
        });
        outcome.expect("an answer")
    };
    let refused = PrepareOutcome::Refused;
    // Another node's entity.
    assert_eq!(ask(&mut mesh, request(ENTITY, source, None)), refused(RefuseReason::NotYours));
    // A cell that isn't its own, and one that isn't at all.
    for from_cell in [cell(1), cell(4000)] {
        let claim = PrepareRequest { from_cell, ..request(OTHER, source, None) };
        assert_eq!(ask(&mut mesh, claim), refused(RefuseReason::NotYourCell));
    }
    let nowhere = PrepareRequest { to_cell: cell(4000), ..request(OTHER, source, None) };
    assert_eq!(ask(&mut mesh, nowhere), refused(RefuseReason::NoOwner));
    assert!(charges_of_coordinator(&mesh).is_empty());
    // Another node's name, or a life that is over.
    let other = mesh.hosts[1].node.me().unwrap();
    assert_eq!(ask(&mut mesh, request(ENTITY, other, None)), refused(RefuseReason::UnknownSource));
    let (by, what) = charges_of_coordinator(&mesh).remove(0);
    assert!(by == source.node && what.contains(&other.node.to_string()), "{what}");
    let former = Peer { incarnation: Incarnation(0), ..source };
    assert_eq!(ask(&mut mesh, request(OTHER, former, None)), refused(RefuseReason::UnknownSource));
    assert_eq!(mesh.coordinator.status(mesh.now).prepares_refused, 6);
    a_crossing_works(&mut mesh);
}

fn register(node: NodeId, process: u64) -> Message {
    let (mesh_addr, client_addr) = ("10.0.0.9:1".to_owned(), "10.0.0.9:2".to_owned());
    let (schema_min, schema_max, server_name) = (1, 1, "node-9".to_owned());
    let (life, sent_at) = (0, Time::ZERO);
    Message::Register {
        node,
        process,
        life,
        sent_at,
        mesh_addr,
        client_addr,
        server_name,
        schema_min,
        schema_max,
    }
}

#[test]
fn a_second_process_is_refused_and_the_first_goes_on() {
    let mut mesh = scene();
    let first = mesh.hosts[0].node.me().unwrap();
    let version = mesh.coordinator.map().version();
    // The runtime was told before: the newcomer's hello is refused there already.
    let (_, live) = mesh.standing.iter().rfind(|(node, _)| *node == first.node).unwrap().clone();
    let live = live.expect("the first process stands");
    assert_eq!(live.judge(0), Ok(()));
    let reason = live.judge(4711).unwrap_err();
    assert!(reason.contains(&first.node.to_string()) && reason.contains("10.0.0.0:1"), "{reason}");
    assert!(reason.contains("stop it, or give this one an identity of its own"), "{reason}");
    // Should its hello have come before the first had registered, its registration is refused with the same words.
    let said = tell_coordinator(&mut mesh, first.node, register(first.node, 4711), Bytes::new());
    assert_eq!(said, [Message::RegisterRefused { reason }]);
    assert_eq!(mesh.coordinator.map().version(), version);
    mesh.run(2);
    assert_eq!(mesh.hosts[0].node.me(), Some(first));
    a_crossing_works(&mut mesh);
}

fn beat(incarnation: Incarnation, sent_at: Time) -> Message {
    let (map_version, mesh_time, reported, load) = (u64::MAX, None, Term(0), Load::default());
    Message::Heartbeat { incarnation, sent_at, map_version, mesh_time, reported, load }
}

#[test]
fn another_process_may_be_the_node_once_the_first_is_unlinked_or_silent() {
    let node = node_id(0);
    // Its link is down.
    let mut mesh = scene();
    mesh.coordinator.handle(CoordinatorInput::LinkDown { node }, mesh.now);
    mesh.settle();
    assert_eq!(mesh.standing.last(), Some(&(node, None)));
    mesh.coordinator.handle(CoordinatorInput::LinkUp { node }, mesh.now);
    let said = tell_coordinator(&mut mesh, node, register(node, 4711), Bytes::new());
    assert!(said.iter().any(|message| matches!(message, Message::Registered { .. })), "{said:?}");
    assert!(matches!(mesh.standing.last(), Some((_, Some(live))) if live.process == 4711));
    // It was not heard for too long: killed, or cut off.
    let mut mesh = scene();
    mesh.hosts[0].gone = true;
    mesh.run(75);
    assert!(mesh.standing.contains(&(node, None)), "{:?}", mesh.standing);
    // It lives after all: too late, it may not go on.
    let incarnation = mesh.hosts[0].node.me().unwrap().incarnation;
    let beat = beat(incarnation, mesh.now);
    let said = tell_coordinator(&mut mesh, node, beat, Bytes::new());
    let fenced = |message: &Message| matches!(message, Message::Lease(LeaseMessage::Fenced { .. }));
    assert!(said.iter().any(fenced), "{said:?}");
}

#[test]
fn a_node_can_not_register_as_another_or_live_a_life_that_was_never_granted() {
    let mut mesh = scene();
    let (version, peers) = (mesh.coordinator.map().version(), mesh.coordinator.status(mesh.now).nodes.len());
    assert!(tell_coordinator(&mut mesh, node_id(1), register(node_id(0), 0), Bytes::new()).is_empty());
    let (by, what) = charges_of_coordinator(&mesh).remove(0);
    assert!(by == node_id(1) && what.contains(&node_id(0).to_string()), "{what}");
    let incarnation = Incarnation(u64::MAX);
    let sent_at = Time::MAX;
    let beat = beat(incarnation, sent_at);
    let said = tell_coordinator(&mut mesh, node_id(1), beat, Bytes::new());
    assert!(
        matches!(&said[..], [Message::Lease(LeaseMessage::Fenced { incarnation: its, .. })] if *its == incarnation),
        "{said:?}"
    );
    // What only a coordinator says is none of its business either.
    tell_coordinator(&mut mesh, node_id(1), Message::Census { term: Term(1), request: 1 }, Bytes::new());
    assert_eq!(charges_of_coordinator(&mesh).len(), 2);
    let status = mesh.coordinator.status(mesh.now);
    assert_eq!((mesh.coordinator.map().version(), status.nodes.len()), (version, peers));
}

#[test]
fn a_character_is_saved_only_as_the_node_that_held_it_sends_it() {
    let mut mesh = scene();
    mesh.enter("ada");
    mesh.run(REPORTED);
    let entity = mesh.the_player_entity();
    let at = mesh.simulating(entity)[0];
    let (holder, other) = (node_id(at), node_id(1 - at));
    let entered = mesh.players[0].events.iter().find_map(|event| match event {
        ClientEvent::Entered { session, .. } => Some(*session),
        _ => None,
    });
    let session = entered.expect("the player is in the world");
    let end = AuthorityEpoch::FIRST.next_step();
    let of = |host: usize| {
        let incarnation = mesh.hosts[host].node.me().unwrap().incarnation;
        Message::SaveCharacter { session, entity, incarnation, end }
    };
    let (save, others) = (of(at), of(1 - at));
    let good = snapshot(entity, Some(session));
    // From another node: its own reports might be on their way, so it is blamed only when it insists.
    for _ in 0..5 {
        assert!(charges_of_coordinator(&mesh).is_empty());
        assert!(tell_coordinator(&mut mesh, other, others.clone(), good.clone()).is_empty());
    }
    let (by, what) = charges_of_coordinator(&mesh).pop().unwrap();
    assert!(by == other && what.contains(&holder.to_string()), "{what}");
    for (from, blob, cause) in [
        (holder, good.slice(..40), "not a valid snapshot".to_owned()),
        (holder, snapshot(OTHER, Some(session)), "another character".to_owned()),
        (holder, snapshot(entity, None), "another character".to_owned()),
    ] {
        assert!(tell_coordinator(&mut mesh, from, save.clone(), blob).is_empty());
        let (by, what) = charges_of_coordinator(&mesh).pop().unwrap();
        assert!(by == from && what.contains(&cause), "{what}");
    }
    assert!(mesh.saved.is_empty());
    let said = tell_coordinator(&mut mesh, holder, save, good);
    assert_eq!(said, [Message::SaveAck { term: Term(1), session }]);
    assert_eq!(mesh.saved, [session]);
}

#[test]
fn two_nodes_that_claim_one_epoch_are_a_violation_that_names_them() {
    let mut mesh = scene();
    mesh.hosts[1].spawn(ENTITY, 150.0, 0.0, Tick(2));
    mesh.run(REPORTED);
    let (event, epoch, tick) = (AuthorityEvent::Spawned, AuthorityEpoch::FIRST, Tick(3));
    let claim = AuthorityChange { entity: ENTITY, session: None, epoch, cell: Some(cell(0)), tick, event };
    let incarnation = mesh.hosts[0].node.me().unwrap().incarnation;
    let claims = Message::AuthorityChanged { term: Term(1), incarnation, changes: vec![claim] };
    tell_coordinator(&mut mesh, node_id(0), claims, Bytes::new());
    let said = mesh.coordinator_events.iter().find_map(|event| match event {
        CoordinatorEvent::AuthorityViolation { entity: ENTITY, what } => Some(what.clone()),
        _ => None,
    });
    let said = said.expect("a violation");
    assert!(said.contains(&node_id(0).to_string()) && said.contains(&node_id(1).to_string()), "{said}");
}
