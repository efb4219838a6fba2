//! Bytes as a program that a node is put through: time, links, frames of peers and clients, ticks of its game.
//!
//! `op: u8` and its arguments, one after the other; a frame is `length: u16 LE | frame`. An unknown op, or one that is cut
//! short, ends the program. Frames go through the decoder, as from a wire, so that only what a peer can really say is said.

use std::time::Duration;

use bytes::Bytes;
use selvedge_protocol::id::{ClientId, EntityId, Incarnation, NodeId, Peer};
use selvedge_protocol::node::{Input, Sender};
use selvedge_protocol::token::Token;
use selvedge_protocol::wire;

use super::host::Host;

/// Milliseconds pass: `u16 LE`.
pub const WAIT: u8 = 0;
pub const COORDINATOR_UP: u8 = 1;
pub const COORDINATOR_DOWN: u8 = 2;
/// `node: u8, incarnation: u8`.
pub const LINK_UP: u8 = 3;
/// `node: u8`.
pub const LINK_DOWN: u8 = 4;
/// `sender: u8` (0: the coordinator), `incarnation: u8`, a frame.
pub const MESSAGE: u8 = 5;
/// `client: u8`, `token: u8`: one of those that the node gave out, from the newest on, or one that it didn't.
pub const CLIENT_HELLO: u8 = 6;
/// `client: u8`, a frame.
pub const CLIENT_MESSAGE: u8 = 7;
/// `client: u8`.
pub const CLIENT_CLOSED: u8 = 8;
/// The game runs one tick; a tick's time passes.
pub const TICK: u8 = 9;
/// `entity: u8`, `x_m: u8`, `speed_mps: i8`.
pub const SPAWN: u8 = 10;
/// `which: u8`, `x_m: u8`, `speed_mps: i8`.
pub const TURN: u8 = 11;
/// The game takes nobody, or takes them again.
pub const REFUSE: u8 = 12;

/// Operations of one program.
const OPS_MAX: usize = 2_000;

struct Tape<'a>(&'a [u8]);

impl<'a> Tape<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes([self.byte()?, self.byte()?]))
    }

    fn frame(&mut self) -> Option<Bytes> {
        let length = usize::from(self.short()?);
        let (frame, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Bytes::copy_from_slice(frame))
    }
}

fn node_of(byte: u8) -> NodeId {
    NodeId::from_u128(u128::from(byte % 8))
}

/// Puts a node through a program.
pub fn node(bytes: &[u8]) {
    let (mut tape, mut host) = (Tape(bytes), Host::new());
    for _ in 0..OPS_MAX {
        if step(&mut tape, &mut host).is_none() {
            break;
        }
    }
    // Whatever was said, time goes on: nothing is due for ever.
    host.wait(Duration::from_secs(60));
}

fn step(tape: &mut Tape<'_>, host: &mut Host) -> Option<()> {
    match tape.byte()? {
        WAIT => host.wait(Duration::from_millis(u64::from(tape.short()?))),
        COORDINATOR_UP => host.handle(Input::CoordinatorUp),
        COORDINATOR_DOWN => host.handle(Input::CoordinatorDown),
        LINK_UP => {
            let (node, incarnation) = (node_of(tape.byte()?), Incarnation(tape.byte()?.into()));
            host.handle(Input::LinkUp { peer: Peer { node, incarnation } });
        }
        LINK_DOWN => host.handle(Input::LinkDown { node: node_of(tape.byte()?) }),
        MESSAGE => {
            let (sender, incarnation) = (tape.byte()?, Incarnation(tape.byte()?.into()));
            let from = match sender {
                0 => Sender::Coordinator,
                _ => Sender::Node(Peer { node: node_of(sender), incarnation }),
            };
            if let Ok(frame) = wire::decode_mesh(&tape.frame()?) {
                host.handle(Input::Message { from, message: frame.message, blob: frame.blob });
            }
        }
        CLIENT_HELLO => {
            let client = ClientId(tape.byte()?.into());
            let back = usize::from(tape.byte()?);
            let token = host.tokens.iter().rev().nth(back).copied();
            let token = token.unwrap_or(Token::from_bytes([0xee; 32]));
            host.handle(Input::ClientHello { client, token });
        }
        CLIENT_MESSAGE => {
            let client = ClientId(tape.byte()?.into());
            if let Ok(message) = wire::decode_client(&tape.frame()?) {
                host.handle(Input::ClientMessage { client, message });
            }
        }
        CLIENT_CLOSED => host.handle(Input::ClientClosed { client: ClientId(tape.byte()?.into()) }),
        TICK => {
            host.run_tick();
            host.wait(Duration::from_micros(33_333));
        }
        SPAWN => {
            let entity = EntityId::from_u128(u128::from(tape.byte()? % 16) + 1);
            let (x, speed) = (f64::from(tape.byte()?), f32::from(tape.byte()?.cast_signed()));
            host.spawn(entity, x, speed);
        }
        TURN => {
            let which = tape.byte()?;
            let (x, speed) = (f64::from(tape.byte()?), f32::from(tape.byte()?.cast_signed()));
            host.turn(which, x, speed);
        }
        REFUSE => host.refuse = !host.refuse,
        _ => return None,
    }
    Some(())
}
