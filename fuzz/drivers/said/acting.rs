//! Actions and events, as untrue as can be: of anybody, to anybody, past any deadline, under any number.

use selvedge_protocol::action::{ActionId, ActionNumber, Closing, Failure, Outcome, Pending};
use selvedge_protocol::event::{Area, Event, EventId};
use selvedge_protocol::id::Term;
use selvedge_protocol::limits::{ACTION_BYTES_MAX, ANSWER_BYTES_MAX};
use selvedge_protocol::node::ActionNews;
use selvedge_protocol::time::Tick;
use selvedge_protocol::wire::{ActionMessage, EventMessage, Message, Missed};

use super::super::named::Named;
use super::super::tape::Tape;
use super::place;

/// More bytes than any of it may have.
const TOO_MANY: usize = 2_000;

pub(super) fn said(tape: &mut Tape<'_>, named: &Named) -> Option<Message> {
    let kind = tape.below(9)?;
    let event = match kind {
        7 => EventMessage::Happens(event(tape)?),
        8 => EventMessage::Announced { term: Term(tape.number()?), event: event(tape)? },
        _ => return Some(Message::Action(action(kind, tape, named)?)),
    };
    Some(Message::Event(event))
}

fn action(kind: u8, tape: &mut Tape<'_>, named: &Named) -> Option<ActionMessage> {
    Some(match kind {
        0 => ActionMessage::Ask {
            id: id(tape, named)?,
            to: named.entity(tape)?,
            low: number(tape)?,
            deadline: Tick(tape.number()?),
            durable: tape.flag()?,
            reply_to: tape.peer()?,
            hops: tape.byte()?,
            bytes: words(tape, TOO_MANY)?,
        },
        1 => ActionMessage::Answer {
            id: id(tape, named)?,
            outcome: outcome(tape, TOO_MANY)?,
            hops: tape.byte()?,
        },
        2 => {
            let id = id(tape, named)?;
            let why = match tape.below(3)? {
                0 => Missed::NotHere,
                1 => Missed::Moved { to: tape.peer()? },
                _ => Missed::TooManyHops,
            };
            ActionMessage::Missed { id, why }
        }
        3 => ActionMessage::Close {
            id: id(tape, named)?,
            to: named.entity(tape)?,
            reply_to: tape.peer()?,
            hops: tape.byte()?,
        },
        4 => ActionMessage::Closed { id: id(tape, named)?, hops: tape.byte()? },
        5 => ActionMessage::Locate { entity: named.entity(tape)? },
        _ => {
            let (term, entity) = (Term(tape.number()?), named.entity(tape)?);
            let at = if tape.flag()? { Some(tape.peer()?) } else { None };
            ActionMessage::Located { term, entity, at, gone: tape.flag()? }
        }
    })
}

/// What a game says of its entities' actions: short, for the roster takes nothing else.
pub fn news(tape: &mut Tape<'_>, named: &Named) -> Option<ActionNews> {
    Some(match tape.below(7)? {
        0 => {
            let (number, to) = (number(tape)?, named.entity(tape)?);
            let (at, deadline) = (Tick(tape.number()?), Tick(tape.number()?));
            let action =
                Pending { to, durable: tape.flag()?, at, deadline, bytes: words(tape, ACTION_BYTES_MAX)? };
            ActionNews::Pending { number, action }
        }
        1 => ActionNews::Over {
            number: number(tape)?,
            durable: tape.flag()?,
            outcome: outcome(tape, ANSWER_BYTES_MAX)?,
        },
        2 => {
            let closing = Closing { to: named.entity(tape)?, at: Tick(tape.number()?) };
            ActionNews::Closing { number: number(tape)?, closing, outcome: None }
        }
        3 => {
            let (id, durable, fresh) = (id(tape, named)?, tape.flag()?, tape.flag()?);
            ActionNews::Performed {
                id,
                durable,
                fresh,
                at: Tick(tape.number()?),
                outcome: outcome(tape, ANSWER_BYTES_MAX)?,
            }
        }
        4 => ActionNews::NotPerformed { id: id(tape, named)?, late: tape.flag()? },
        5 => ActionNews::Closed { id: id(tape, named)?, at: Tick(tape.number()?) },
        _ => ActionNews::Unclosed { from: named.entity(tape)? },
    })
}

pub fn area(tape: &mut Tape<'_>) -> Option<Area> {
    Some(match tape.below(3)? {
        0 => Area::Sphere { centre: place(tape)?, radius_m: f64::from(tape.number32()?) },
        1 => Area::Cuboid { min: place(tape)?, max: place(tape)? },
        _ => Area::World,
    })
}

fn event(tape: &mut Tape<'_>) -> Option<Event> {
    let id = EventId { by: tape.peer()?, number: tape.number()? };
    Some(Event { id, tick: Tick(tape.number()?), area: area(tape)?, bytes: words(tape, TOO_MANY)? })
}

fn id(tape: &mut Tape<'_>, named: &Named) -> Option<ActionId> {
    Some(ActionId { from: named.entity(tape)?, number: number(tape)? })
}

fn number(tape: &mut Tape<'_>) -> Option<ActionNumber> {
    Some(ActionNumber { generation: u32::from(tape.below(3)?), count: tape.number()? })
}

fn outcome(tape: &mut Tape<'_>, most: usize) -> Option<Outcome> {
    Some(match tape.below(5)? {
        0 => Outcome::Done(words(tape, most)?),
        1 => Outcome::Refused(words(tape, most)?),
        2 => Outcome::Failed(Failure::TimedOut),
        3 => Outcome::Failed(Failure::TooManyHops),
        _ => Outcome::Failed(Failure::NoSuchEntity),
    })
}

fn words(tape: &mut Tape<'_>, most: usize) -> Option<Vec<u8>> {
    Some(vec![7; usize::from(tape.short()?) % (most + 1)])
}
