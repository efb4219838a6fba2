//! Leases, recovery and checkpoints, as untrue as can be.

use bytes::{Bytes, BytesMut};
use selvedge_protocol::id::{Incarnation, Term};
use selvedge_protocol::time::Tick;
use selvedge_protocol::wire::{
    Assignment, Captured, Claim, ClaimKind, CopyHead, LeaseMessage, Message, NewestCut, Order,
    RecoveryMessage, StandbyMessage,
};

use super::super::named::Named;
use super::super::tape::Tape;
use super::{Said, snapshot};

pub(super) fn said(kind: u8, tape: &mut Tape<'_>, named: &Named) -> Option<Said> {
    match kind {
        0 => Some((Message::Lease(lease(tape, named)?), Bytes::new())),
        1 => Some((Message::Recovery(recovery(tape, named)?), Bytes::new())),
        _ => standby(tape, named),
    }
}

fn lease(tape: &mut Tape<'_>, named: &Named) -> Option<LeaseMessage> {
    Some(match tape.below(7)? {
        0 => LeaseMessage::Renew { sent_at: named.time(tape)? },
        1 => LeaseMessage::Renewed { sent_at: named.time(tape)? },
        2 => {
            let (term, version) = (Term(tape.number()?), tape.number()?);
            let voters = tape.list(3, Tape::peer)?;
            let buddy = if tape.flag()? { Some(tape.peer()?) } else { None };
            let incarnation = Incarnation(tape.number()?);
            LeaseMessage::Assign { term, incarnation, assignment: Assignment { version, voters, buddy } }
        }
        3 => {
            let (incarnation, version) = (Incarnation(tape.number()?), tape.number()?);
            LeaseMessage::Assigned { incarnation, version, heard: tape.number()? }
        }
        4 => LeaseMessage::AskPromise { term: Term(tape.number()?), of: tape.peer()? },
        5 => {
            let answered_ago_us = if tape.flag()? { Some(tape.number()?) } else { None };
            let (by, of) = (Incarnation(tape.number()?), tape.peer()?);
            LeaseMessage::Promised { by, of, answered_ago_us }
        }
        _ => LeaseMessage::Fenced { term: Term(tape.number()?), incarnation: Incarnation(tape.number()?) },
    })
}

fn recovery(tape: &mut Tape<'_>, named: &Named) -> Option<RecoveryMessage> {
    let kind = tape.below(5)?;
    let round = named.round(tape)?;
    // Mostly a whole list in one part.
    let (part, parts) = match tape.below(4)? {
        0 => (tape.number32()?, tape.number32()?),
        _ => (0, 1),
    };
    Some(match kind {
        0 => RecoveryMessage::Fence { round, dead: tape.list(4, Tape::peer)? },
        1 => {
            let cut = |tape: &mut Tape<'_>| {
                Some(NewestCut { of: tape.peer()?, cut: tape.number()?, tick: Tick(tape.number()?) })
            };
            let cuts = tape.list(4, cut)?;
            let claims = tape.list(16, |tape| claim(tape, named))?;
            RecoveryMessage::Claims { round, part, parts, cuts, claims }
        }
        2 => {
            let orders = tape.list(16, |tape| order(tape, named))?;
            RecoveryMessage::Verdict { round, part, parts, orders }
        }
        3 => RecoveryMessage::Carried { round },
        _ => RecoveryMessage::Closed { round, dead: tape.list(4, Tape::peer)? },
    })
}

fn contents(tape: &mut Tape<'_>) -> Option<Captured> {
    Some(Captured { epoch: tape.epoch()?, tick: Tick(tape.number()?) })
}

fn kind(tape: &mut Tape<'_>) -> Option<ClaimKind> {
    Some(match tape.below(7)? {
        0 => ClaimKind::Active,
        1 => ClaimKind::Frozen { to: tape.peer()? },
        2 => ClaimKind::Moved { to: tape.peer()? },
        3 => ClaimKind::Warm { from: tape.peer()? },
        4 => ClaimKind::Standby { of: tape.peer()?, cut: tape.number()? },
        5 => ClaimKind::Ended,
        _ => ClaimKind::Known,
    })
}

fn claim(tape: &mut Tape<'_>, named: &Named) -> Option<Claim> {
    let (entity, session) = (named.entity(tape)?, named.maybe_session(tape)?);
    let (epoch, floor, kind) = (tape.epoch()?, tape.epoch()?, kind(tape)?);
    let contents = if tape.flag()? { Some(contents(tape)?) } else { None };
    Some(Claim { entity, session, epoch, kind, contents, floor })
}

fn order(tape: &mut Tape<'_>, named: &Named) -> Option<Order> {
    let (entity, epoch) = (named.entity(tape)?, tape.epoch()?);
    Some(match tape.flag()? {
        false => Order::Discard { entity, below: epoch },
        true => Order::Restore { entity, epoch, kind: kind(tape)?, contents: contents(tape)? },
    })
}

fn standby(tape: &mut Tape<'_>, named: &Named) -> Option<Said> {
    let message = match tape.below(8)? {
        0 => {
            let (cut, index) = (tape.number()?, tape.number32()?);
            let (mut copies, mut blob) = (Vec::new(), BytesMut::new());
            for _ in 0..=tape.below(4)? {
                let (entity, session, epoch) =
                    (named.entity(tape)?, named.maybe_session(tape)?, tape.epoch()?);
                let body = snapshot(tape, entity, session)?;
                let true_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
                let bytes = if tape.below(8)? == 7 { tape.number32()? } else { true_bytes };
                copies.push(CopyHead { entity, session, epoch, bytes });
                blob.extend_from_slice(&body);
            }
            return Some((Message::Standby(StandbyMessage::Part { cut, index, copies }), blob.freeze()));
        }
        1 => {
            let (cut, tick, parts) = (tape.number()?, Tick(tape.number()?), tape.number32()?);
            let base = if tape.flag()? { Some(tape.number()?) } else { None };
            let gone = tape.list(8, |tape| named.entity(tape))?;
            let ended = tape.list(8, |tape| Some((named.entity(tape)?, tape.epoch()?)))?;
            StandbyMessage::End { cut, base, tick, parts, gone, ended }
        }
        2 => StandbyMessage::Ack { cut: tape.number()? },
        3 => StandbyMessage::Lack { cut: tape.number()? },
        4 => StandbyMessage::Drop { below: tape.number()? },
        5 => StandbyMessage::Dropped { below: tape.number()? },
        6 => StandbyMessage::Settled { ids: tape.list(16, |tape| named.handoff(tape))? },
        _ => StandbyMessage::Forgotten { ids: tape.list(16, |tape| named.handoff(tape))? },
    };
    Some((Message::Standby(message), Bytes::new()))
}
