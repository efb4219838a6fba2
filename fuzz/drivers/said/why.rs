//! Where entities are and what delays them, as untrue as can be.

use selvedge_protocol::grid::CellId;
use selvedge_protocol::id::{EntityId, Term};
use selvedge_protocol::limits::DELAYS_MAX;
use selvedge_protocol::time::Tick;
use selvedge_protocol::wire::{Delay, Message, Setback, Stay, StayStanding, Whereabouts, WhyMessage};

use super::super::named::Named;
use super::super::tape::Tape;
use super::{cell, motion, reason};

pub(super) fn said(tape: &mut Tape<'_>, named: &Named) -> Option<Message> {
    Some(Message::Why(match tape.below(4)? {
        0 => WhyMessage::Ask {
            term: Term(tape.number()?),
            request: tape.number()?,
            entity: named.entity(tape)?,
        },
        kind => {
            let request = named.request(tape)?;
            let whereabouts = match kind {
                1 => Whereabouts::Here { stay: stay(tape, named)?, delays: delays(tape)? },
                2 => Whereabouts::Moved { to: tape.peer()? },
                _ => Whereabouts::NotHere,
            };
            WhyMessage::Answer { request, whereabouts }
        }
    }))
}

fn stay(tape: &mut Tape<'_>, named: &Named) -> Option<Stay> {
    let moved = motion(tape)?;
    let standing = match tape.flag()? {
        false => StayStanding::Simulated,
        true => StayStanding::Frozen { to: tape.node()?, for_us: tape.number()? },
    };
    let stands_in: Option<CellId> = if tape.flag()? { Some(cell(tape)?) } else { None };
    Some(Stay {
        session: named.maybe_session(tape)?,
        epoch: tape.epoch()?,
        standing,
        cell: stands_in,
        position_m: [moved.position.x, moved.position.y, moved.position.z],
        velocity_m_per_s: [moved.velocity.x, moved.velocity.y, moved.velocity.z],
        tick: Tick(tape.number()?),
        held_for_us: tape.number()?,
        client: tape.flag()?,
    })
}

/// A few, or more than anybody takes.
fn delays(tape: &mut Tape<'_>) -> Option<Vec<Delay>> {
    let one = delay(tape)?;
    let many = usize::from(tape.byte()?) % (DELAYS_MAX + 2);
    Some(vec![one; many])
}

fn delay(tape: &mut Tape<'_>) -> Option<Delay> {
    let (to, for_us) = (tape.node()?, tape.number()?);
    Some(match tape.below(6)? {
        0 => Delay::InTransfer { to, for_us, cancelling: tape.flag()? },
        1 => {
            let after = Setback::TransferRefused(reason(tape)?);
            Delay::BackedOff { to, for_us, after, past_border: tape.flag()? }
        }
        2 => Delay::Ready { to, crossing_in_us: Some(for_us) },
        3 => Delay::NoBorderNear { lead_us: for_us, margin_m: f64::NAN },
        4 => {
            let name = "p".repeat(usize::from(tape.byte()?));
            Delay::Pinned { entity: EntityId::from_u128(u128::from(for_us)), name, for_us }
        }
        _ => Delay::OutsideWorld,
    })
}
