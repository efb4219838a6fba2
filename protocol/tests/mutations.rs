//! Real traffic with bytes exchanged, cut off and added: whatever still decodes is taken by every machine without a panic.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]
#![allow(clippy::unwrap_used, reason = "a helper that panics fails the test that called it")]

mod common;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use common::{Mesh, node_id};
use selvedge_protocol::coordinator::CoordinatorInput;
use selvedge_protocol::grid::{Position, Velocity};
use selvedge_protocol::id::{ClientId, EntityId};
use selvedge_protocol::node::{Input, Sender};
use selvedge_protocol::wire::{self, Message, WireError};

const ENTITY: EntityId = EntityId::from_u128(99);
/// Changed frames made of each recorded one.
const CHANGES: u32 = 500;

/// A small generator, so that a failure comes back.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }

    /// A frame as it might come from a broken or a wicked peer. Extreme bytes more often than others.
    fn change(&mut self, frame: &Bytes) -> Bytes {
        let mut bytes = frame.to_vec();
        for _ in 0..=self.roll(3) {
            let at = self.roll(bytes.len());
            let width = 1 << self.roll(4);
            let value = [0, 1, 0x7f, 0x80, 0xff, u8::try_from(self.roll(256)).unwrap()][self.roll(6)];
            for byte in bytes.iter_mut().skip(at).take(width) {
                *byte = value;
            }
        }
        match self.roll(8) {
            0 => bytes.truncate(self.roll(frame.len())),
            1 => bytes.extend_from_slice(&[0xa5; 40]),
            _ => {}
        }
        bytes.into()
    }
}

/// A mesh of two with a player, who crosses with a point of the game's beside them.
fn scene() -> Mesh {
    let mut mesh = Mesh::row(2);
    mesh.enter("ada");
    mesh.run(3);
    let player = mesh.the_player_entity();
    let at = mesh.simulating(player)[0];
    let (x, speed) = if at == 0 { (90.0, 12.0) } else { (110.0, -12.0) };
    let point = mesh.hosts[at].game.points.get_mut(&player).unwrap();
    point.motion.position = Position::new(x, 50.0, 0.0);
    point.motion.velocity = Velocity::new(speed, 0.0, 0.0);
    let tick = mesh.tick;
    mesh.hosts[at].spawn(ENTITY, x, speed, tick);
    mesh
}

/// Every kind of message that two crossings take.
fn traffic() -> Vec<Message> {
    let mut mesh = scene();
    let heard = Rc::new(RefCell::new(Vec::new()));
    let recorder = Rc::clone(&heard);
    mesh.filter = Box::new(move |_, _, message| {
        recorder.borrow_mut().push(message.clone());
        false
    });
    for _ in 0..80 {
        mesh.act(0, b"go");
        mesh.run_tick();
    }
    let mut all = heard.take();
    all.extend(mesh.to_nodes.iter().map(|(_, message)| message.clone()));
    assert!(all.iter().any(|message| matches!(message, Message::Transfer { .. })));
    // What is said over and over need not be tried over and over.
    let mut kinds = std::collections::BTreeMap::new();
    all.retain(|message| {
        // What is of ghosts has no head: tests/ghost/hostile.rs changes its bytes.
        if matches!(message, Message::Ghosts) {
            return false;
        }
        let count: &mut u32 = kinds.entry(format!("{:?}", std::mem::discriminant(message))).or_default();
        *count += 1;
        *count <= 6
    });
    assert!(kinds.len() >= 15, "{kinds:?}");
    all
}

#[test]
fn no_changed_frame_panics_a_machine() {
    let mut dice = Dice(0x5e1_7ed6e);
    let (mut decoded, mut refused) = (0, 0);
    let mut mesh = scene();
    for _ in 0..15 {
        mesh.act(0, b"go");
        mesh.run_tick();
    }
    let player = mesh.the_player_entity();
    let blob = {
        use selvedge_protocol::id::InputSeq;
        use selvedge_protocol::snapshot::{ComponentVersions, SnapshotWriter};
        SnapshotWriter::new(player, None, &ComponentVersions::new()).finish(InputSeq(0)).unwrap().bytes
    };
    let peers = [0, 1].map(|host: usize| mesh.hosts[host].node.me().unwrap());
    for message in traffic() {
        let frame = wire::encode_mesh(&message);
        for _ in 0..CHANGES {
            let frame = match wire::decode_mesh(&dice.change(&frame)) {
                Ok(frame) => frame,
                Err(
                    WireError::Malformed
                    | WireError::OutOfRange { .. }
                    | WireError::Version { .. }
                    | WireError::TooLong { .. }
                    | WireError::Truncated { .. },
                ) => {
                    refused += 1;
                    continue;
                }
            };
            decoded += 1;
            let blob = if frame.blob.is_empty() { blob.clone() } else { frame.blob };
            for (host, sender) in [
                (0, Sender::Node(peers[1])),
                (1, Sender::Node(peers[0])),
                (0, Sender::Coordinator),
                (1, Sender::Coordinator),
            ] {
                let (from, message, blob) = (sender, frame.message.clone(), blob.clone());
                mesh.hosts[host].node.handle(Input::Message { from, message, blob }, mesh.now);
                while mesh.hosts[host].node.poll_output().is_some() {}
            }
            for host in [0, 1] {
                let (from, message, blob) = (node_id(host), frame.message.clone(), blob.clone());
                let input = CoordinatorInput::Message { from, incarnation: None, message, blob };
                mesh.coordinator.handle(input, mesh.now);
                while mesh.coordinator.poll_output().is_some() {}
            }
            if decoded % 50 == 0 {
                mesh.now += Duration::from_millis(250);
                for host in &mut mesh.hosts {
                    host.node.handle_timeout(mesh.now);
                    while host.node.poll_output().is_some() {}
                }
                mesh.coordinator.handle_timeout(mesh.now);
                while mesh.coordinator.poll_output().is_some() {}
            }
        }
    }
    assert!(decoded > 500 && refused > 500, "{decoded} decoded, {refused} refused");
}

#[test]
fn no_changed_client_message_panics_a_node_or_disturbs_the_game() {
    use selvedge_protocol::id::InputSeq;
    use selvedge_protocol::wire::{ClientMessage, InputMessage};
    let mut mesh = scene();
    let (player, mut dice) = (mesh.the_player_entity(), Dice(7));
    let inputs = (1..20).map(|seq| InputMessage { seq: InputSeq(seq), bytes: vec![1; 8] }).collect();
    let frame = wire::encode_client(&ClientMessage::Inputs { entity: player, inputs });
    let mut decoded = 0;
    for round in 0..2_000_u64 {
        let Ok(message) = wire::decode_client(&dice.change(&frame)) else {
            continue;
        };
        decoded += 1;
        // As the player's own client, and as one that nobody admitted.
        for client in [ClientId(1), ClientId(round + 100)] {
            for host in &mut mesh.hosts {
                host.node.handle(Input::ClientMessage { client, message: message.clone() }, mesh.now);
            }
        }
        mesh.settle();
    }
    assert!(decoded > 100, "{decoded} decoded");
    mesh.run(60);
    assert_eq!(mesh.simulating(ENTITY).len(), 1);
    assert!(mesh.simulating(player).len() <= 1);
}
