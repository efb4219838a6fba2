//! What bodies do to each other: they give things away, for good, and poke each other, for nothing.
//!
//! A thing that is given is in the giver's escrow until the taker has answered: it is always somewhere.

use bytes::{Buf, BufMut};
use selvedge_protocol::action::{ActionNumber, Outcome, Request, Terms};
use selvedge_protocol::id::EntityId;
use selvedge_protocol::roster::Performed;
use selvedge_protocol::time::Tick;

use super::Game;
use crate::stats::Stats;

/// Things that a body is born with.
const THINGS_AT_BIRTH: u128 = 2;
/// A taker won't have it.
const REFUSES: f64 = 0.1;
/// An action has this long, in ticks.
const TICKS: u64 = 60;

const GIVE: u8 = 1;
const POKE: u8 = 2;

/// What a body has.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Purse {
    /// Grows with each change; 0 where nobody trades.
    pub(super) version: u64,
    things: Vec<u128>,
    /// Given away, and not answered.
    escrow: Vec<(ActionNumber, u128)>,
}

impl Purse {
    /// What the body of `entity` is born with: no other's.
    pub(super) fn born(entity: EntityId) -> Self {
        let things = (0..THINGS_AT_BIRTH).map(|number| entity.as_u128() ^ number).collect();
        Self { version: 1, things, escrow: Vec::new() }
    }

    /// Whether its owner takes part.
    pub(crate) const fn trades(&self) -> bool {
        self.version > 0
    }

    /// Everything in it.
    pub(crate) fn all(&self) -> impl Iterator<Item = u128> + '_ {
        self.things.iter().copied().chain(self.escrow.iter().map(|(_, thing)| *thing))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_u32_le(u32::try_from(self.things.len()).unwrap_or(u32::MAX));
        self.things.iter().for_each(|thing| bytes.put_u128_le(*thing));
        for (ActionNumber { generation, count }, thing) in &self.escrow {
            bytes.put_u32_le(*generation);
            bytes.put_u64_le(*count);
            bytes.put_u128_le(*thing);
        }
        bytes
    }

    pub(super) fn decode(version: u64, mut bytes: &[u8]) -> Option<Self> {
        let count = bytes.try_get_u32_le().ok()?;
        let things = (0..count).map(|_| bytes.try_get_u128_le().ok()).collect::<Option<Vec<_>>>()?;
        let mut escrow = Vec::new();
        while !bytes.is_empty() {
            let generation = bytes.try_get_u32_le().ok()?;
            let number = ActionNumber { generation, count: bytes.try_get_u64_le().ok()? };
            escrow.push((number, bytes.try_get_u128_le().ok()?));
        }
        Some(Self { version, things, escrow })
    }
}

impl Game {
    /// Now and then somebody gives somebody else something, or pokes them.
    pub(super) fn trade(&mut self, tick: Tick, stats: &mut Stats) {
        let everybody: Vec<EntityId> = self.bodies.keys().chain(self.ghosts.keys()).copied().collect();
        for entity in self.bodies.keys().copied().collect::<Vec<_>>() {
            if !self.trade_dice.chance(self.play.trade) {
                continue;
            }
            let to = everybody[self.trade_dice.index(0, everybody.len() - 1)];
            let gives = self.trade_dice.chance(0.6);
            let pick = self.trade_dice.bits();
            let Some(body) = self.bodies.get_mut(&entity).filter(|_| to != entity) else {
                continue;
            };
            let purse = &mut body.purse;
            if gives && !purse.things.is_empty() {
                let index = usize::try_from(pick % purse.things.len() as u64).unwrap_or(0);
                let mut bytes = vec![GIVE];
                bytes.put_u128_le(purse.things[index]);
                let terms = Terms { durable: true, ticks: TICKS };
                if let Ok(number) = self.roster.act(entity, to, &bytes, terms, tick) {
                    stats.trades_begun += 1;
                    purse.escrow.push((number, purse.things.swap_remove(index)));
                    purse.version += 1;
                }
            } else {
                let terms = Terms { durable: false, ticks: TICKS };
                let poked = self.roster.act(entity, to, &[POKE], terms, tick);
                stats.pokes += u64::from(poked.is_ok());
            }
        }
        self.collect();
    }

    /// Somebody else asks for something.
    pub(super) fn perform(&mut self, entity: EntityId, request: &Request, tick: Tick) {
        let refuses = !self.calm && self.trade_dice.chance(REFUSES);
        let Some(body) = self.bodies.get_mut(&entity) else {
            self.complaints.push((entity, "an action on a body that isn't there".to_owned()));
            return;
        };
        let mut bytes = &request.bytes[..];
        let answer = match (bytes.try_get_u8(), refuses) {
            (_, true) => Performed::Refused(&[]),
            (Ok(GIVE), false) => {
                let thing = bytes.try_get_u128_le().unwrap_or(0);
                // What it gave away may come back before it has heard that it was taken: then it is in its escrow, too.
                if body.purse.things.contains(&thing) {
                    self.complaints.push((entity, format!("{thing:x}, which it has")));
                }
                body.purse.things.push(thing);
                body.purse.version += 1;
                Performed::Done(b"thanks")
            }
            (Ok(_) | Err(_), false) => Performed::Done(b"ouch"),
        };
        self.roster.performed(entity, request, answer, tick);
    }

    /// Something that a body did is settled.
    pub(super) fn settled(&mut self, entity: EntityId, number: ActionNumber, outcome: &Outcome) {
        let Some(body) = self.bodies.get_mut(&entity) else {
            self.complaints.push((entity, "an answer for a body that isn't there".to_owned()));
            return;
        };
        let purse = &mut body.purse;
        let Some(index) = purse.escrow.iter().position(|(known, _)| *known == number) else {
            return;
        };
        let (_, thing) = purse.escrow.swap_remove(index);
        purse.version += 1;
        match outcome {
            Outcome::Done(_) => {}
            Outcome::Refused(_) | Outcome::Failed(_) => purse.things.push(thing),
        }
    }

    /// What a body has.
    pub(crate) fn purse(&self, entity: EntityId) -> Option<&Purse> {
        self.bodies.get(&entity).map(|body| &body.purse)
    }

    /// What of a body's actions isn't settled.
    pub(crate) fn unsettled(&self, entity: EntityId) -> usize {
        self.roster.unsettled(entity)
    }
}
