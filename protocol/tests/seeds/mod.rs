//! Seeds for the fuzz targets: what two nodes, a coordinator and a player say to each other while things cross.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use selvedge_protocol::grid::{Motion, Position, Velocity};
use selvedge_protocol::id::{EntityId, InputSeq, SessionId};
use selvedge_protocol::node::Destination;
use selvedge_protocol::snapshot::{ComponentVersions, SnapshotWriter};
use selvedge_protocol::token::Token;
use selvedge_protocol::wire::{
    self, ClientMessage, Hello, InputMessage, Message, SessionReply, SessionRequest,
};

use crate::common::{Mesh, node_id};
use crate::drivers::program;

/// Who said what.
type Said = (u8, Message);

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

fn says(program: &mut Vec<u8>, (from, message): &Said) {
    let mut frame = wire::encode_mesh(message).to_vec();
    if matches!(message, Message::Precopy { .. } | Message::Transfer { .. }) {
        frame.extend_from_slice(&snapshot(ComponentVersions::new()));
    }
    program.extend_from_slice(&[program::MESSAGE, *from, 2]);
    framed(program, &frame);
}

/// What the first node of two hears, tick by tick, while a player and a point cross; `x` is where they start.
fn heard(x: f64, speed: f32) -> Vec<Vec<Said>> {
    let mut mesh = Mesh::row(2);
    let said: Rc<RefCell<Vec<Said>>> = Rc::default();
    let recorder = Rc::clone(&said);
    mesh.filter = Box::new(move |from, to, message| {
        if from == node_id(1) && to == Destination::Node(node_id(0)) {
            recorder.borrow_mut().push((2, message.clone()));
        }
        false
    });
    mesh.enter("ada");
    let mut ticks = Vec::new();
    let mut heard = 0;
    for tick in 0..60 {
        if tick == 3 {
            let at = usize::from(x > 100.0);
            let now = mesh.tick;
            mesh.hosts[at].spawn(EntityId::from_u128(99), x, speed, now);
            let player = mesh.the_player_entity();
            let at = mesh.simulating(player)[0];
            let point = mesh.hosts[at].game.points.get_mut(&player).unwrap();
            point.motion.position = Position::new(x, 50.0, 0.0);
            point.motion.velocity = Velocity::new(speed, 0.0, 0.0);
        }
        mesh.act(0, b"go");
        mesh.run_tick();
        let coordinators = mesh.to_nodes[heard..].iter().filter(|(to, _)| *to == node_id(0));
        let mut now: Vec<Said> = coordinators.map(|(_, message)| (0, message.clone())).collect();
        heard = mesh.to_nodes.len();
        now.append(&mut said.borrow_mut());
        ticks.push(now);
    }
    ticks
}

fn snapshot(have: ComponentVersions) -> Bytes {
    let mut writer = SnapshotWriter::new(EntityId::from_u128(99), Some(SessionId::from_u128(5)), &have);
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

fn acts() -> Bytes {
    let inputs = (1..5).map(|seq| InputMessage { seq: InputSeq(seq), bytes: vec![1; 8] }).collect();
    wire::encode_client(&ClientMessage::Inputs { entity: EntityId::from_u128(99), inputs })
}

/// Writes all seeds.
pub(crate) fn write(folder: &Path) {
    let mut kinds = BTreeSet::new();
    for (name, x, speed) in [("leaves", 90.0, 12.0), ("comes", 110.0, -12.0)] {
        let ticks = heard(x, speed);
        let mut program = vec![program::COORDINATOR_UP];
        for (tick, said) in ticks.iter().enumerate() {
            said.iter().for_each(|said| says(&mut program, said));
            match tick {
                0 => program.extend_from_slice(&[program::LINK_UP, 2, 2, program::CLIENT_HELLO, 1, 0]),
                4 if speed > 0.0 => {
                    program.extend_from_slice(&[program::SPAWN, 2, 90, 12, program::TURN, 0, 95, 12])
                }
                _ => {}
            }
            if tick % 8 == 7 {
                program.extend_from_slice(&[program::CLIENT_MESSAGE, 1]);
                framed(&mut program, &acts());
            }
            program.push(program::TICK);
        }
        save(folder, "node", name, &program);
        for said in ticks.iter().flatten() {
            let frame = wire::encode_mesh(&said.1);
            let kind: String =
                format!("{:?}", said.1).chars().take_while(char::is_ascii_alphanumeric).collect();
            if kinds.insert(kind.clone()) {
                save(folder, "node_frames", &kind, &frame);
            }
        }
    }
    assert!(kinds.len() >= 10, "{kinds:?}");
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
    save(folder, "client_frames", "inputs", &acts());
    save(folder, "client_frames", "logout", &wire::encode_client(&ClientMessage::Logout));

    let whole = snapshot(ComponentVersions::new());
    let mut known = ComponentVersions::new();
    known.set("weight", 1);
    let part = snapshot(known);
    let mut both = u16::try_from(whole.len()).unwrap().to_le_bytes().to_vec();
    both.extend_from_slice(&whole);
    save(folder, "snapshots", "whole", &both);
    both.extend_from_slice(&part);
    save(folder, "snapshots", "whole_and_part", &both);
}
