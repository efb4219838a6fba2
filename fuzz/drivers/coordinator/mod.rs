//! Bytes as a program that a coordinator is put through: time, what nodes and players say, an authenticator and a store that
//! answer when and what they please, and its own end at any moment.
//!
//! `op: u8` and its arguments, one after the other, as in a node's programs.

mod centre;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use selvedge_protocol::coordinator::CoordinatorInput;
use selvedge_protocol::id::NodeId;
use selvedge_protocol::wire::{self, SessionRequest};

use super::said::{said, snapshot};
use super::tape::Tape;
use centre::Centre;

/// The operations.
pub mod program {
    /// Milliseconds pass: `u16 LE`.
    pub const WAIT: u8 = 0;
    /// `node: u8`.
    pub const LINK_UP: u8 = 1;
    /// `node: u8`.
    pub const LINK_DOWN: u8 = 2;
    /// `node: u8`, a frame.
    pub const MESSAGE: u8 = 3;
    /// `node: u8`, `length: u8`, a message as `said` reads it.
    pub const SAY: u8 = 4;
    /// `node: u8`: it registers, or sends a heartbeat and an honest answer to all that it was told since.
    pub const ANSWER: u8 = 5;
    /// `name: u8`.
    pub const ENTER: u8 = 6;
    /// `session: u8, secret: u8`.
    pub const RESUME: u8 = 7;
    /// A frame at the door.
    pub const DOOR: u8 = 8;
    /// The authenticator and the store answer what they were asked.
    pub const SERVE: u8 = 9;
    /// `request: u8, verdict: u8`.
    pub const AUTHENTICATED: u8 = 10;
    /// `request: u8`, what the store says.
    pub const LOADED: u8 = 11;
    /// `session: u8, node: u8, verdict: u8`.
    pub const SAVED: u8 = 12;
    pub const CENSUS: u8 = 13;
    /// It dies, and another goes on from what was kept.
    pub const RESTART: u8 = 14;
    /// Why is this entity where it is: `entity: u8`.
    pub const WHY: u8 = 15;
}

/// Operations of one program.
const OPS_MAX: usize = 2_000;

/// Puts a coordinator through a program, and says what happened in it.
pub fn coordinator(bytes: &[u8]) -> BTreeSet<&'static str> {
    let (mut tape, mut centre) = (Tape(bytes), Centre::new());
    for _ in 0..OPS_MAX {
        if step(&mut tape, &mut centre).is_none() {
            break;
        }
    }
    // Whatever was said, time goes on, and another can go on from what was kept.
    centre.wait(Duration::from_secs(15));
    centre.restart();
    centre.wait(Duration::from_secs(15));
    centre.reached
}

fn hear(centre: &mut Centre, from: NodeId, frame: &Bytes) {
    if let Ok(frame) = wire::decode_mesh(frame) {
        let (message, blob) = (frame.message, frame.blob);
        centre.handle(CoordinatorInput::Message { from, incarnation: None, message, blob });
    }
}

fn refused(tape: &mut Tape<'_>) -> Option<Result<(), String>> {
    Some(if tape.below(4)? == 3 { Err("it can't be done".to_owned()) } else { Ok(()) })
}

fn step(tape: &mut Tape<'_>, centre: &mut Centre) -> Option<()> {
    match tape.byte()? {
        program::WAIT => centre.wait(Duration::from_millis(u64::from(tape.short()?))),
        program::LINK_UP => centre.handle(CoordinatorInput::LinkUp { node: tape.node()? }),
        program::LINK_DOWN => centre.handle(CoordinatorInput::LinkDown { node: tape.node()? }),
        program::MESSAGE => {
            let from = tape.node()?;
            hear(centre, from, &tape.frame()?);
        }
        program::SAY => {
            let from = tape.node()?;
            if let Some((message, blob)) = said(&mut tape.part()?, &centre.named) {
                hear(centre, from, &[&wire::encode_mesh(&message)[..], &blob].concat().into());
            }
        }
        program::ANSWER => centre.answer(tape.node()?),
        program::ENTER => {
            let name = format!("player {}", tape.byte()?);
            centre.ask(SessionRequest::Enter { name, credential: Vec::new() });
        }
        program::RESUME => {
            let (session, secret) = (centre.named.session(tape)?, centre.named.token(tape)?);
            centre.ask(SessionRequest::Resume { session, secret });
        }
        program::DOOR => {
            if let Ok(request) = wire::decode_session_request(&tape.frame()?) {
                centre.ask(request);
            }
        }
        program::SERVE => centre.serve(),
        program::AUTHENTICATED => {
            let request = centre.named.request(tape)?;
            let name = "n".repeat(usize::from(tape.byte()?));
            let verdict = refused(tape)?.map(|()| name);
            centre.handle(CoordinatorInput::Authenticated { request, verdict });
        }
        program::LOADED => {
            let request = centre.named.request(tape)?;
            let entity = centre.named.entity(tape)?;
            let bytes = if tape.flag()? { Some(snapshot(tape, entity, None)?) } else { None };
            let character = refused(tape)?.map(|()| bytes);
            centre.handle(CoordinatorInput::CharacterLoaded { request, character });
        }
        program::SAVED => {
            let (session, node) = (centre.named.session(tape)?, tape.node()?);
            centre.handle(CoordinatorInput::CharacterSaved { session, node, result: refused(tape)? });
        }
        program::CENSUS => centre.take_census(),
        program::RESTART => centre.restart(),
        program::WHY => {
            let entity = centre.named.entity(tape)?;
            centre.ask_why(entity);
        }
        _ => return None,
    }
    Some(())
}
