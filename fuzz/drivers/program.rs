//! Bytes as a program that a node is put through: time, links, what peers and clients say, ticks of its game, its game's lies.
//!
//! `op: u8` and its arguments, one after the other; a frame is `length: u16 LE | frame`. An unknown op, or one that is cut
//! short, ends the program. Frames go through the decoder, as from a wire, so that only what a peer can really say is said.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use selvedge_protocol::id::{ClientId, EntityId, Incarnation, NodeId, Peer, Term};
use selvedge_protocol::node::{Input, Sender};
use selvedge_protocol::wire::{self, Message};

use super::host::Host;
use super::lie::lie;
use super::said::{acknowledgement, area, said};
use super::tape::Tape;

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
/// `sender: u8` (0: the coordinator), `incarnation: u8`, `length: u8`, a message as `said` reads it.
pub const SAY: u8 = 13;
/// `length: u8`, a report of the game that isn't true, as `lie` reads it.
pub const LIE: u8 = 14;
/// `term: u8`. The coordinator answers the node's last heartbeat: its lease goes on.
pub const WITNESS: u8 = 15;
/// `which: u8`, `to: u8`, `durable: u8`: an entity of the game's own acts on one that was named, or any.
pub const ACT: u8 = 16;
/// An area as `said` reads it: an event happens there.
pub const CAUSE: u8 = 17;
/// `client: u8`, `length: u8`, an acknowledgement of ghosts as `said` reads it.
pub const CLIENT_ACK: u8 = 18;

/// Operations of one program.
const OPS_MAX: usize = 2_000;

fn node_of(byte: u8) -> NodeId {
    NodeId::from_u128(u128::from(byte % 8))
}

/// Puts a node through a program, and says what happened in it.
pub fn node(bytes: &[u8]) -> BTreeSet<&'static str> {
    let (mut tape, mut host) = (Tape(bytes), Host::new());
    for _ in 0..OPS_MAX {
        if step(&mut tape, &mut host).is_none() {
            break;
        }
    }
    // Whatever was said, time goes on: nothing is due for ever.
    host.wait(Duration::from_secs(60));
    host.reached
}

fn sender(tape: &mut Tape<'_>) -> Option<Sender> {
    let (sender, incarnation) = (tape.byte()?, Incarnation(tape.byte()?.into()));
    Some(match sender {
        0 => Sender::Coordinator,
        _ => Sender::Node(Peer { node: node_of(sender), incarnation }),
    })
}

/// As it comes from a wire: what the codec refuses is never heard.
fn hear(host: &mut Host, from: Sender, frame: &Bytes) {
    if let Ok(frame) = wire::decode_mesh(frame) {
        host.handle(Input::Message { from, message: frame.message, blob: frame.blob });
    }
}

fn framed(message: &Message, blob: &[u8]) -> Bytes {
    [&wire::encode_mesh(message)[..], blob].concat().into()
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
            let from = sender(tape)?;
            hear(host, from, &tape.frame()?);
        }
        SAY => {
            let from = sender(tape)?;
            if let Some((message, blob)) = said(&mut tape.part()?, &host.named) {
                hear(host, from, &framed(&message, &blob));
            }
        }
        LIE => {
            if let Some(report) = lie(&mut tape.part()?, host) {
                host.reached.insert("lied to");
                host.handle(Input::Game(report));
            }
        }
        WITNESS => {
            let (term, sent_at) = (Term(tape.byte()?.into()), host.named.sent_at);
            let message = Message::HeartbeatReply { term, sent_at, mesh_time: Some(host.now) };
            hear(host, Sender::Coordinator, &framed(&message, &[]));
        }
        CLIENT_HELLO => {
            let client = ClientId(tape.byte()?.into());
            let token = host.named.token(tape)?;
            host.handle(Input::ClientHello { client, token });
        }
        CLIENT_MESSAGE => {
            let client = ClientId(tape.byte()?.into());
            if let Ok(message) = wire::decode_client(&tape.frame()?) {
                host.handle(Input::ClientMessage { client, message });
            }
        }
        CLIENT_ACK => {
            let client = ClientId(tape.byte()?.into());
            // As it comes from a wire, where it has no head.
            if let Some(bytes) = acknowledgement(&mut tape.part()?)
                && let Ok(message) = wire::decode_client(&bytes)
            {
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
        ACT => {
            let (which, to) = (tape.byte()?, host.named.entity(tape)?);
            host.act(which, to, tape.flag()?);
        }
        CAUSE => host.cause(area(tape)?),
        REFUSE => host.refuse = !host.refuse,
        _ => return None,
    }
    Some(())
}
