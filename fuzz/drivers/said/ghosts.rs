//! Bytes of ghost replication: well-formed for the most part, of ghosts that aren't there, out of order, of ticks to come;
//! and bytes of any kind.

use bytes::Bytes;
use selvedge_protocol::ghost::GHOST_WIRE_VERSION;

use super::super::named::Named;
use super::super::tape::Tape;

const UPDATE: u8 = 0;
const UPDATE_WITH_ORIGIN: u8 = 1;
const ACK: u8 = 2;
const STREAM: u8 = 3;
/// The fields of a sample: position, velocity, curve, facing, state.
const FIELDS: [u8; 5] = [1, 2, 4, 8, 16];
const STATE: u8 = 16;

/// What a neighbour says.
pub fn of_a_node(tape: &mut Tape<'_>, named: &Named) -> Option<Bytes> {
    match tape.below(8)? {
        0 => any(tape),
        1..5 => piece(tape, named),
        5 => ack(tape),
        _ => update(tape),
    }
}

/// What a client says.
pub fn of_a_client(tape: &mut Tape<'_>) -> Option<Bytes> {
    if tape.below(8)? == 0 { any(tape) } else { ack(tape) }
}

/// Any bytes behind the version.
fn any(tape: &mut Tape<'_>) -> Option<Bytes> {
    let mut bytes = tape.list(64, Tape::byte)?;
    bytes.insert(0, GHOST_WIRE_VERSION);
    Some(bytes.into())
}

/// A piece of the stream.
fn piece(tape: &mut Tape<'_>, named: &Named) -> Option<Bytes> {
    let mut out = vec![GHOST_WIRE_VERSION, STREAM];
    unsigned(&mut out, tape.number()?);
    unsigned(&mut out, tape.number()?);
    for _ in 0..tape.below(6)? {
        let kind = tape.below(6)?;
        out.push(if kind == 5 { 0 } else { kind });
        unsigned(&mut out, tape.number()?);
        let is_new = matches!(kind, 0 | 5);
        if is_new {
            out.extend(named.entity(tape)?.as_u128().to_le_bytes());
        }
        unsigned(&mut out, tape.number()?);
        unsigned(&mut out, tape.number()?);
        if is_new {
            out.push(tape.byte()?);
            unsigned(&mut out, tape.number()?);
            unsigned(&mut out, tape.number()?);
            let mask = tape.byte()? & !(STATE | 0xe0);
            out.push(mask);
            sample(&mut out, mask, tape)?;
            state(&mut out, tape)?;
        }
    }
    Some(out.into())
}

/// A datagram of samples.
fn update(tape: &mut Tape<'_>) -> Option<Bytes> {
    let with_origin = tape.flag()?;
    let mut out = vec![GHOST_WIRE_VERSION, if with_origin { UPDATE_WITH_ORIGIN } else { UPDATE }];
    for _ in 0..4 {
        unsigned(&mut out, tape.number()?);
    }
    if with_origin {
        for _ in 0..3 {
            unsigned(&mut out, tape.byte()?.into());
        }
    }
    for _ in 0..tape.below(4)? {
        unsigned(&mut out, tape.number()?);
        out.extend([tape.byte()?, tape.byte()?]);
        let need = tape.byte()?;
        out.push(need);
        if need & 0x80 != 0 {
            out.extend(core::iter::repeat_n(tape.byte()?, 8));
        }
        let (count, mut place) = (tape.below(6)?, tape.below(4)?);
        out.push(count);
        for _ in 0..count {
            let (fields, base) = (tape.byte()?, tape.byte()?);
            out.extend([place, fields, base]);
            sample(&mut out, fields & 0xf, tape)?;
            if fields & STATE != 0 {
                state(&mut out, tape)?;
            }
            place = place.saturating_add(1 + tape.below(4)?);
        }
    }
    Some(out.into())
}

/// What has come.
fn ack(tape: &mut Tape<'_>) -> Option<Bytes> {
    let mut out = vec![GHOST_WIRE_VERSION, ACK];
    for _ in 0..3 {
        unsigned(&mut out, tape.number()?);
    }
    out.extend(tape.list(12, Tape::byte)?);
    Some(out.into())
}

fn sample(out: &mut Vec<u8>, mask: u8, tape: &mut Tape<'_>) -> Option<()> {
    let [position, velocity, curve, facing, _] = FIELDS.map(|field| mask & field != 0);
    let numbers = if position { 3 } else { 0 } + if velocity { 3 } else { 0 } + if curve { 2 } else { 0 };
    for _ in 0..numbers {
        unsigned(out, tape.number()?);
    }
    if facing {
        let first = tape.byte()?;
        out.push(first);
        let more = if first & 0x80 == 0 { 1 } else { 4 };
        for _ in 0..more {
            out.push(tape.byte()?);
        }
    }
    Some(())
}

/// Fields in order, one of any kind.
fn state(out: &mut Vec<u8>, tape: &mut Tape<'_>) -> Option<()> {
    let mut fields = Vec::new();
    for number in 0..tape.below(4)? {
        fields.push(number << 4 | tape.below(8)?);
        fields.extend(tape.list(8, Tape::byte)?);
    }
    unsigned(out, fields.len() as u64);
    out.extend(fields);
    Some(())
}

fn unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}
