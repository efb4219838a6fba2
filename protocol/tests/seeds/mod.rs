//! Seeds for the fuzz targets: what two nodes, a coordinator and a player say to each other while things cross.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use selvedge_protocol::coordinator::{CoordinatorInput, Whom};
use selvedge_protocol::grid::{Motion, Position, Velocity};
use selvedge_protocol::id::{EntityId, InputSeq, NodeId, SessionId};
use selvedge_protocol::node::Destination;
use selvedge_protocol::snapshot::{ComponentVersions, SnapshotWriter};
use selvedge_protocol::token::Token;
use selvedge_protocol::wire::{
    self, ClientMessage, Hello, InputMessage, LeaseMessage, Message, SessionReply, SessionRequest,
    StandbyMessage,
};

use crate::common::{Mesh, node_id};
use crate::drivers::{coordinator_program, program};

/// What crosses, and what dies with its node: `SPAWN, 2` of a program.
const POINT: EntityId = EntityId::from_u128(3);
/// The same as a byte of a program.
const POINT_BYTE: u8 = 2;
/// What was named last, as a byte of a program.
const NEWEST: u8 = 16;
/// Whereabouts, as the first byte of a message.
const WHY_KIND: u8 = 34;
/// Bytes that a message or a lie may be read from.
const LENGTH: u8 = 40;
/// The node that dies.
const DYING: usize = 1;

/// Who said what; 0: the coordinator.
type Said = (u8, Message);

/// What was heard in one tick.
struct Heard {
    by_the_first_node: Vec<Said>,
    by_the_coordinator: Vec<Said>,
}

fn save(folder: &Path, target: &str, name: &str, bytes: &[u8]) {
    let folder = folder.join(target);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), bytes).unwrap();
}

fn framed(program: &mut Vec<u8>, frame: &[u8]) {
    let Ok(length) = u16::try_from(frame.len()) else { return };
    program.extend_from_slice(&length.to_le_bytes());
    program.extend_from_slice(frame);
}

/// The sessions of all that is prepared.
fn sessions(ticks: &[Heard]) -> BTreeMap<EntityId, SessionId> {
    let said = ticks.iter().flat_map(|heard| heard.by_the_first_node.iter().chain(&heard.by_the_coordinator));
    let prepared = said.filter_map(|(_, message)| match message {
        Message::PrepareRequest(request)
        | Message::PrepareDirect(request)
        | Message::PrepareToReceive { request, .. } => Some((request.reservation.entity, request.session?)),
        _ => None,
    });
    prepared.collect()
}

/// The message with small snapshots in place of those that it came with.
fn frame(message: &Message, sessions: &BTreeMap<EntityId, SessionId>) -> Vec<u8> {
    let mut message = message.clone();
    let mut blob = Vec::new();
    match &mut message {
        Message::Precopy { reservation } | Message::Transfer { reservation, .. } => {
            let session = sessions.get(&reservation.entity).copied();
            blob = snapshot(reservation.entity, session, ComponentVersions::new()).to_vec();
        }
        Message::Standby(StandbyMessage::Part { copies, .. }) => {
            for head in copies {
                let body = snapshot(head.entity, head.session, ComponentVersions::new());
                head.bytes = u32::try_from(body.len()).unwrap();
                blob.extend_from_slice(&body);
            }
        }
        _ => {}
    }
    let mut frame = wire::encode_mesh(&message).to_vec();
    frame.extend_from_slice(&blob);
    frame
}

/// Nodes that register in the order of their numbers get the same numbers as incarnations.
fn says(program: &mut Vec<u8>, from: u8, frame: &[u8]) {
    program.extend_from_slice(&[program::MESSAGE, from, from]);
    framed(program, frame);
}

fn number(node: NodeId) -> u8 {
    u8::try_from(node.as_u128()).unwrap()
}

/// What is heard, tick by tick, while a script does something to a mesh.
fn heard(nodes: u32, ticks: u32, mut script: impl FnMut(&mut Mesh, u32)) -> Vec<Heard> {
    let mut mesh = Mesh::row(nodes);
    let said: Rc<RefCell<Vec<(u8, Destination, Message)>>> = Rc::default();
    let recorder = Rc::clone(&said);
    mesh.filter = Box::new(move |from, to, message| {
        recorder.borrow_mut().push((number(from), to, message.clone()));
        false
    });
    let mut heard = Vec::new();
    let mut told = 0;
    for tick in 0..ticks {
        script(&mut mesh, tick);
        mesh.run_tick();
        let to_first = mesh.to_nodes[told..].iter().filter(|(to, _)| *to == node_id(0));
        let mut by_the_first_node: Vec<Said> = to_first.map(|(_, message)| (0, message.clone())).collect();
        told = mesh.to_nodes.len();
        let mut by_the_coordinator = Vec::new();
        for (from, to, message) in said.borrow_mut().drain(..) {
            match to {
                Destination::Coordinator => by_the_coordinator.push((from, message)),
                Destination::Node(node) if node == node_id(0) => by_the_first_node.push((from, message)),
                Destination::Node(_) => {}
            }
        }
        heard.push(Heard { by_the_first_node, by_the_coordinator });
    }
    heard
}

/// A player and a point cross; `x` is where they start.
fn crossing(x: f64, speed: f32) -> Vec<Heard> {
    heard(2, 60, |mesh, tick| {
        if tick == 0 {
            mesh.enter("ada");
        }
        if tick == 3 {
            let at = usize::from(x > 100.0);
            let now = mesh.tick;
            mesh.hosts[at].spawn(POINT, x, speed, now);
            let player = mesh.the_player_entity();
            let at = mesh.simulating(player)[0];
            let point = mesh.hosts[at].game.points.get_mut(&player).unwrap();
            point.motion.position = Position::new(x, 50.0, 0.0);
            point.motion.velocity = Velocity::new(speed, 0.0, 0.0);
        }
        if tick == 30 {
            let whom = Whom::Entity(POINT);
            mesh.coordinator.handle(CoordinatorInput::WhyAsked { request: 1, whom }, mesh.now);
        }
        mesh.act(0, b"go");
    })
}

/// A node dies whose copies the first one keeps.
fn death() -> Vec<Heard> {
    heard(3, 190, |mesh, tick| match tick {
        3 => {
            let now = mesh.tick;
            mesh.hosts[DYING].spawn(POINT, 150.0, 0.0, now);
        }
        60 => {
            let me = mesh.hosts[0].node.me();
            assert_eq!(mesh.hosts[DYING].node.buddy(), me, "choose another to die");
            mesh.crash(DYING);
        }
        _ => {}
    })
}

fn snapshot(entity: EntityId, session: Option<SessionId>, have: ComponentVersions) -> Bytes {
    let mut writer = SnapshotWriter::new(entity, session, &have);
    writer.schema(1);
    writer.name("ada");
    writer.class("weaver");
    writer
        .motion(Motion { position: Position::new(90.0, 50.0, 0.0), velocity: Velocity::new(5.0, 0.0, 0.0) });
    writer.component("inputs", 3, &[1, 2, 3]);
    writer.component("weight", 1, &[7; 64]);
    writer.cooldown("leap", 1_500_000);
    writer.effect("warm", 3_000_000, 2);
    writer.finish(InputSeq(40)).unwrap().bytes
}

fn acts(entity: EntityId) -> Bytes {
    let inputs = (1..5).map(|seq| InputMessage { seq: InputSeq(seq), bytes: vec![1; 8] }).collect();
    wire::encode_client(&ClientMessage::Inputs { entity, inputs })
}

/// Writes all seeds.
pub(crate) fn write(folder: &Path) {
    let leaves = crossing(90.0, 12.0);
    let comes = crossing(110.0, -12.0);
    let outlives = death();
    save(folder, "node", "leaves", &node_program(&leaves, true));
    save(folder, "node", "comes", &node_program(&comes, false));
    save(folder, "node", "outlives", &node_program(&outlives, false));
    save(folder, "node", "lied_to", &lied_to(&leaves));
    save(folder, "node", "acts", &acts_and_is_told_anything(&leaves));
    save(folder, "coordinator", "a_crossing", &coordinator_program(&leaves));
    save(folder, "coordinator", "a_death", &coordinator_program(&outlives));
    save(folder, "coordinator", "its_own_end", &its_own_end());
    save(folder, "coordinator", "told_anything", &told_anything());

    let mut kinds = BTreeSet::new();
    for ticks in [leaves, comes, outlives] {
        let sessions = sessions(&ticks);
        let said =
            ticks.iter().flat_map(|heard| heard.by_the_first_node.iter().chain(&heard.by_the_coordinator));
        for (_, message) in said {
            let kind = kind(message);
            if kinds.insert(kind.clone()) {
                save(folder, "node_frames", &kind, &frame(message, &sessions));
            }
        }
    }
    for needed in [
        "Lease_AskPromise",
        "Recovery_Claims",
        "Recovery_Verdict",
        "Why_Ask",
        "Why_Answer",
        "Standby_Part",
        "Standby_End",
    ] {
        assert!(kinds.contains(needed), "{needed} was not said: {kinds:?}");
    }
    let hello =
        Hello { world: "aerie".to_owned(), peer: None, process: 7, term: None, schema_min: 1, schema_max: 3 };
    save(folder, "node_frames", "Hello", &wire::encode_hello(&hello));

    let enter = SessionRequest::Enter { name: "ada".to_owned(), credential: b"her credential".to_vec() };
    let resume =
        SessionRequest::Resume { session: SessionId::from_u128(5), secret: Token::from_bytes([7; 32]) };
    let refused = SessionReply::Refused { reason: "later".to_owned(), retry: true };
    save(folder, "client_frames", "enter", &wire::encode_session_request(&enter));
    save(folder, "client_frames", "resume", &wire::encode_session_request(&resume));
    save(folder, "client_frames", "refused", &wire::encode_session_reply(&refused));
    save(folder, "client_frames", "inputs", &acts(POINT));
    save(folder, "client_frames", "logout", &wire::encode_client(&ClientMessage::Logout));

    let (entity, session) = (POINT, Some(SessionId::from_u128(5)));
    let whole = snapshot(entity, session, ComponentVersions::new());
    let mut known = ComponentVersions::new();
    known.set("weight", 1);
    let part = snapshot(entity, session, known);
    let mut both = u16::try_from(whole.len()).unwrap().to_le_bytes().to_vec();
    both.extend_from_slice(&whole);
    save(folder, "snapshots", "whole", &both);
    both.extend_from_slice(&part);
    save(folder, "snapshots", "whole_and_part", &both);
}

/// What a message is, with what it says of leases, recovery or checkpoints.
fn kind(message: &Message) -> String {
    let shown = format!("{message:?}");
    let mut words = shown.split(|sign: char| !sign.is_ascii_alphanumeric());
    let outer = words.next().unwrap_or_default();
    match message {
        Message::Lease(_) | Message::Recovery(_) | Message::Standby(_) | Message::Why(_) => {
            format!("{outer}_{}", words.next().unwrap_or_default())
        }
        _ => outer.to_owned(),
    }
}

fn node_program(ticks: &[Heard], spawns: bool) -> Vec<u8> {
    let sessions = sessions(ticks);
    let player = sessions.keys().next().copied().unwrap_or(POINT);
    let mut program = vec![program::COORDINATOR_UP];
    for (tick, heard) in ticks.iter().enumerate() {
        let mut said = Vec::new();
        for (from, message) in &heard.by_the_first_node {
            match message {
                // Another clock's time proves nothing: these bring back what the node itself sent last.
                Message::HeartbeatReply { .. } => said.extend_from_slice(&[program::WITNESS, 1]),
                Message::Lease(LeaseMessage::Renewed { .. }) => {
                    said.extend_from_slice(&[program::SAY, *from, *from, 3, 14, 1, 0]);
                }
                _ => says(&mut said, *from, &frame(message, &sessions)),
            }
        }
        // What came last in a tick answers what was asked at its end; the first also registers.
        if tick == 0 {
            program.extend_from_slice(&said);
        }
        program.push(program::TICK);
        program.extend_from_slice(&said);
        match tick {
            0 => {
                program.extend_from_slice(&[program::LINK_UP, 2, 2, program::LINK_UP, 3, 3]);
                program.extend_from_slice(&[program::CLIENT_HELLO, 1, 0]);
            }
            3 if spawns => program.extend_from_slice(&[program::SPAWN, 2, 91, 12, program::TURN, 1, 91, 12]),
            _ => {}
        }
        if tick % 8 == 7 {
            program.extend_from_slice(&[program::CLIENT_MESSAGE, 1]);
            framed(&mut program, &acts(player));
        }
    }
    program
}

/// The game lies about what is about to leave, in every way, after a few ticks.
fn lied_to(ticks: &[Heard]) -> Vec<u8> {
    let mut program = node_program(ticks.get(..20).unwrap_or(ticks), true);
    for kind in 0..13 {
        program.extend_from_slice(&[program::LIE, LENGTH, kind, 2, 20]);
        program.extend_from_slice(&[1; LENGTH as usize - 3]);
        program.push(program::TICK);
    }
    program
}

/// An entity acts on another of the same node and on one of its neighbour, in both ways, and events happen; then
/// everything that can be said of actions is said.
fn acts_and_is_told_anything(ticks: &[Heard]) -> Vec<u8> {
    let mut program = node_program(ticks.get(..20).unwrap_or(ticks), true);
    program.extend_from_slice(&[program::SPAWN, 4, 60, 0]);
    for (to, durable) in [(2, 0), (4, 1), (9, 0), (9, 1)] {
        program.extend_from_slice(&[
            program::ACT,
            0,
            to,
            durable,
            program::ACT,
            1,
            to,
            durable,
            program::TICK,
        ]);
    }
    program.extend_from_slice(&[program::CAUSE, 2]);
    program.extend_from_slice(&[program::TICK; 8]);
    for kind in 0..9 {
        program.extend_from_slice(&[program::SAY, 2, 2, LENGTH, 33, kind]);
        program.extend_from_slice(&[2; LENGTH as usize - 2]);
        program.push(program::TICK);
    }
    program
}

/// Every kind of message, from a node that is registered.
fn told_anything() -> Vec<u8> {
    let mut program = vec![coordinator_program::ANSWER, 1];
    for kind in 0..35 {
        program.extend_from_slice(&[coordinator_program::SAY, 1, LENGTH, kind]);
        program.extend_from_slice(&[1; LENGTH as usize - 1]);
    }
    program
}

fn coordinator_program(ticks: &[Heard]) -> Vec<u8> {
    let mut program = Vec::new();
    for node in 1..=3 {
        program.extend_from_slice(&[coordinator_program::ANSWER, node]);
    }
    program.extend_from_slice(&[coordinator_program::ENTER, 1, coordinator_program::SERVE]);
    for heard in ticks {
        for (from, message) in &heard.by_the_coordinator {
            program.extend_from_slice(&[coordinator_program::MESSAGE, *from]);
            framed(&mut program, &frame(message, &BTreeMap::new()));
        }
        program.extend_from_slice(&[coordinator_program::SERVE, coordinator_program::WAIT, 33, 0]);
    }
    // Why is it there? Whoever is asked answers, and then with every other answer to what was asked last.
    for answer in 1..4 {
        program.extend_from_slice(&[coordinator_program::WHY, POINT_BYTE]);
        for node in 1..=3 {
            program.extend_from_slice(&[coordinator_program::SAY, node, LENGTH, WHY_KIND, answer, NEWEST]);
            program.extend_from_slice(&[1; LENGTH as usize - 3]);
        }
    }
    program
}

/// Honest nodes, of which one falls silent; then the coordinator dies as well.
fn its_own_end() -> Vec<u8> {
    let mut program = Vec::new();
    for second in 0..12 {
        let alive = if second < 3 { 1..=3 } else { 1..=2 };
        for _ in 0..4 {
            for node in alive.clone() {
                program.extend_from_slice(&[coordinator_program::ANSWER, node]);
            }
            program.extend_from_slice(&[coordinator_program::SERVE, coordinator_program::WAIT, 250, 0]);
        }
        match second {
            1 => program.extend_from_slice(&[coordinator_program::ENTER, 1]),
            2 => program.push(coordinator_program::CENSUS),
            10 => program.push(coordinator_program::RESTART),
            _ => {}
        }
    }
    program
}
