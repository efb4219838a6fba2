//! What the machine under test has named so far, and whoever talks to it may name in return: its ids are too long to be
//! guessed by a program of bytes.

use selvedge_protocol::id::{EntityId, HandoffId, ReservationId, SessionId};
use selvedge_protocol::time::Time;
use selvedge_protocol::token::Token;
use selvedge_protocol::wire::{AdmitOutcome, LeaseMessage, Message, RecoveryMessage, Round, WhyMessage};

use super::tape::Tape;

/// Names kept of each kind.
const KEPT: usize = 32;

/// Names by kind, the newest last.
#[derive(Default)]
pub struct Named {
    entities: Vec<EntityId>,
    sessions: Vec<SessionId>,
    reservations: Vec<ReservationId>,
    handoffs: Vec<HandoffId>,
    rounds: Vec<Round>,
    requests: Vec<u64>,
    pub tokens: Vec<Token>,
    /// The machine's clock, as it last said it to a peer that echoes it.
    pub sent_at: Time,
    /// The life that it last wanted registered.
    pub life: u32,
}

fn keep<T: PartialEq>(kept: &mut Vec<T>, one: T) {
    if !kept.contains(&one) {
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push(one);
    }
}

/// One of a small domain, or one of those that were named, from the newest on.
fn pick<T: Copy>(tape: &mut Tape<'_>, kept: &[T], small: impl Fn(u128) -> T) -> Option<T> {
    let byte = usize::from(tape.byte()?);
    let named = byte.checked_sub(16).and_then(|back| kept.iter().rev().nth(back)).copied();
    Some(named.unwrap_or_else(|| small(byte as u128 % 16 + 1)))
}

impl Named {
    pub fn entity(&self, tape: &mut Tape<'_>) -> Option<EntityId> {
        pick(tape, &self.entities, EntityId::from_u128)
    }

    pub fn session(&self, tape: &mut Tape<'_>) -> Option<SessionId> {
        pick(tape, &self.sessions, SessionId::from_u128)
    }

    pub fn maybe_session(&self, tape: &mut Tape<'_>) -> Option<Option<SessionId>> {
        Some(if tape.flag()? { Some(self.session(tape)?) } else { None })
    }

    /// One that the machine made, or one of anybody's making.
    pub fn reservation(&self, tape: &mut Tape<'_>) -> Option<ReservationId> {
        let back = usize::from(tape.byte()?);
        if let Some(made) = self.reservations.iter().rev().nth(back) {
            return Some(*made);
        }
        Some(ReservationId { entity: self.entity(tape)?, source: tape.peer()?, attempt: tape.number32()? })
    }

    pub fn handoff(&self, tape: &mut Tape<'_>) -> Option<HandoffId> {
        let back = usize::from(tape.byte()?);
        if let Some(made) = self.handoffs.iter().rev().nth(back) {
            return Some(*made);
        }
        Some(HandoffId { entity: self.entity(tape)?, epoch: tape.epoch()? })
    }

    pub fn round(&self, tape: &mut Tape<'_>) -> Option<Round> {
        let back = usize::from(tape.byte()?);
        if let Some(named) = self.rounds.iter().rev().nth(back) {
            return Some(*named);
        }
        Some(Round { term: selvedge_protocol::id::Term(tape.number()?), number: tape.number32()? })
    }

    pub fn request(&self, tape: &mut Tape<'_>) -> Option<u64> {
        pick(tape, &self.requests, |small| u64::try_from(small).unwrap_or(0))
    }

    pub fn token(&self, tape: &mut Tape<'_>) -> Option<Token> {
        let back = usize::from(tape.byte()?);
        Some(self.tokens.iter().rev().nth(back).copied().unwrap_or(Token::from_bytes([0xee; 32])))
    }

    /// Time as the machine last said it, or any.
    pub fn time(&self, tape: &mut Tape<'_>) -> Option<Time> {
        Some(match tape.number()? {
            0 => self.sent_at,
            other => Time::from_micros(other),
        })
    }

    pub fn keep_request(&mut self, request: u64) {
        keep(&mut self.requests, request);
    }

    pub fn keep_session(&mut self, session: SessionId) {
        keep(&mut self.sessions, session);
    }

    pub fn keep_token(&mut self, token: Token) {
        keep(&mut self.tokens, token);
    }

    /// Notes what the machine says.
    pub fn notice(&mut self, message: &Message) {
        match message {
            Message::Register { life, sent_at, .. } => (self.life, self.sent_at) = (*life, *sent_at),
            Message::Heartbeat { sent_at, .. } | Message::Lease(LeaseMessage::Renew { sent_at }) => {
                self.sent_at = *sent_at;
            }
            Message::PrepareRequest(request) | Message::PrepareDirect(request) => {
                keep(&mut self.reservations, request.reservation);
            }
            Message::Transfer { id, members, .. } => {
                keep(&mut self.handoffs, *id);
                members.iter().for_each(|member| keep(&mut self.handoffs, member.id));
            }
            Message::Admit { request, session, entity, .. } => {
                keep(&mut self.requests, *request);
                keep(&mut self.sessions, *session);
                keep(&mut self.entities, *entity);
            }
            Message::Census { request, .. } | Message::Why(WhyMessage::Ask { request, .. }) => {
                keep(&mut self.requests, *request);
            }
            Message::Recovery(RecoveryMessage::Fence { round, .. }) => keep(&mut self.rounds, *round),
            Message::AdmitReply { outcome: AdmitOutcome::Token { token, .. }, .. } => {
                keep(&mut self.tokens, *token);
            }
            Message::Ready { token, .. } | Message::Accepted { token, .. } => {
                token.iter().for_each(|token| keep(&mut self.tokens, *token));
            }
            _ => {}
        }
    }
}
