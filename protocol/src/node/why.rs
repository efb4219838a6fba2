//! What an entity's node knows of where it is and of what delays it, for those who look in from outside.
//!
//! Deliberately absent: what only the game's side knows (what others' durable actions stand against it). Nothing here
//! changes anything.

use core::time::Duration;

use super::{Held, Node};
use crate::authority::Standing;
use crate::grid::{Grid, Motion};
use crate::handoff::source::{Candidate, Stage, Transferring};
use crate::id::{EntityId, NodeId};
use crate::limits::DELAYS_MAX;
use crate::time::{Time, micros};
use crate::wire::{Awaited, Delay, Stay, StayStanding, Whereabouts};

impl Node {
    /// Where the entity is, and what delays it.
    pub(super) fn whereabouts(&self, entity: EntityId, now: Time) -> Whereabouts {
        let (Some(standing), Some(held)) = (self.authority.standing(entity), self.held.get(&entity)) else {
            let tombstone = self.tombstones.get(&entity);
            return tombstone
                .map_or(Whereabouts::NotHere, |tombstone| Whereabouts::Moved { to: tombstone.to });
        };
        let (epoch, standing) = match (standing, &held.source.transferring) {
            (Standing::Active(epoch), _) => (epoch, StayStanding::Simulated),
            (Standing::Frozen { id, to }, transfer) => {
                let since = transfer.as_ref().map_or(now, |transfer| transfer.frozen_at);
                (id.epoch, StayStanding::Frozen { to: to.node, for_us: micros(now.since(since)) })
            }
        };
        let Motion { position, velocity } = held.motion;
        let stay = Stay {
            session: held.session,
            epoch,
            standing,
            cell: self.grid().and_then(|grid| grid.cell_at(position).ok()),
            position_m: [position.x, position.y, position.z],
            velocity_m_per_s: [velocity.x, velocity.y, velocity.z],
            tick: held.last_tick,
            held_for_us: micros(now.since(held.since)),
            client: held.client.is_some(),
        };
        let mut delays = self.delays(entity, held, now);
        delays.truncate(DELAYS_MAX);
        Whereabouts::Here { stay, delays }
    }

    fn delays(&self, entity: EntityId, held: &Held, now: Time) -> Vec<Delay> {
        let mut delays = Vec::new();
        let leader = self.groups.leader(entity);
        if leader != entity {
            delays.push(Delay::Follows { leader });
        }
        self.pins(leader, now, &mut delays);
        if held.leaving.is_some() {
            delays.push(Delay::Leaving);
        }
        if let Ok(actions @ 1..) = u32::try_from(held.acting.durable()) {
            delays.push(Delay::Bound { actions });
        }
        match &held.source.transferring {
            Some(transfer) => delays.push(self.in_transfer(transfer, now)),
            None if leader != entity => {}
            None => {
                self.before_the_border(held, now, &mut delays);
                self.awaited_members(leader, held, &mut delays);
            }
        }
        delays
    }

    /// What the game holds here, of all that goes where `leader` goes.
    fn pins(&self, leader: EntityId, now: Time, delays: &mut Vec<Delay>) {
        let all = core::iter::once(leader).chain(self.groups.followers(leader));
        for (entity, held) in all.filter_map(|entity| Some((entity, self.held.get(&entity)?))) {
            let pins = held.pins.iter().filter(|pin| pin.until > now);
            delays.extend(pins.map(|pin| Delay::Pinned {
                entity,
                name: pin.name.clone(),
                for_us: micros(pin.until.since(now)),
            }));
        }
    }

    /// Who keeps a group from crossing to where its leader could.
    fn awaited_members(&self, leader: EntityId, held: &Held, delays: &mut Vec<Delay>) {
        let followers = self.groups.followers(leader);
        for candidate in &held.source.candidates {
            let behind = followers.iter().filter(|&&member| !self.is_warm_for(member, candidate.target));
            delays.extend(behind.map(|&member| Delay::AwaitsMember { member, to: candidate.target.node }));
        }
    }

    fn in_transfer(&self, transfer: &Transferring, now: Time) -> Delay {
        let since = now.since(transfer.frozen_at);
        let cancelling = since >= self.setup.config.transfer_patience;
        Delay::InTransfer { to: transfer.to.node, for_us: micros(since), cancelling }
    }

    fn before_the_border(&self, held: &Held, now: Time, delays: &mut Vec<Delay>) {
        let config = &self.setup.config;
        let (Some(me), Some(grid)) = (self.me(), self.grid()) else {
            return;
        };
        let at = held.motion.position;
        let stands = self.stands_in(grid, &held.motion, delays);
        let other = stands.filter(|&owner| owner != me.node);
        let past = self.map.past_border(grid, me.node, at, config.hysteresis_m);
        if let Some(to) = other.filter(|_| past.is_none()) {
            delays.push(Delay::WithinHysteresis { to, hysteresis_m: config.hysteresis_m });
        }
        let wanted = self.wanted_targets(&held.motion);
        let dwells = (held.since + config.dwell_min).since(now);
        let crosses = !wanted.is_empty() || !held.source.candidates.is_empty();
        if crosses && !dwells.is_zero() {
            delays.push(Delay::Dwelling { for_us: micros(dwells) });
        }
        for crossing in &wanted {
            let to = crossing.target.node;
            if !self.is_linked(crossing.target) {
                delays.push(Delay::Unlinked { to });
            }
            let candidate = held.source.candidates.iter().find(|known| known.target == crossing.target);
            let backoff = held.source.backoff(to).filter(|backoff| backoff.until > now);
            if let Some(backoff) = backoff {
                let for_us = micros(backoff.until.since(now));
                let past_border = other == Some(to);
                delays.push(Delay::BackedOff { to, for_us, after: backoff.after, past_border });
            }
            match candidate {
                Some(candidate) => delays.push(prepared(candidate, Some(crossing.crossing_in), now)),
                None if backoff.is_none() => {
                    delays.push(Delay::Foreseen { to, crossing_in_us: micros(crossing.crossing_in) });
                }
                None => {}
            }
        }
        let unwanted = |known: &&Candidate| wanted.iter().all(|crossing| crossing.target != known.target);
        let unwanted = held.source.candidates.iter().filter(unwanted);
        delays.extend(unwanted.map(|candidate| prepared(candidate, None, now)));
        if wanted.is_empty() && stands == Some(me.node) {
            let (lead_us, margin_m) = (micros(config.prepare_lead), config.prepare_margin_m);
            delays.push(Delay::NoBorderNear { lead_us, margin_m });
        }
    }

    /// Who owns the ground under it; says so if nobody does.
    fn stands_in(&self, grid: &Grid, motion: &Motion, delays: &mut Vec<Delay>) -> Option<NodeId> {
        let Ok(cell) = grid.cell_at(motion.position) else {
            delays.push(Delay::OutsideWorld);
            return None;
        };
        let owner = self.map.owner_at(grid, motion.position);
        if owner.is_none() {
            delays.push(Delay::NoOwner { cell });
        }
        owner
    }
}

/// How far a preparation is.
fn prepared(candidate: &Candidate, crossing_in: Option<Duration>, now: Time) -> Delay {
    let to = candidate.target.node;
    match &candidate.stage {
        Stage::Preparing(preparing) => {
            let awaits = match (preparing.direct, preparing.notified_at) {
                (true, _) => Awaited::TargetDirectly,
                (false, Some(_)) => Awaited::Target,
                (false, None) => Awaited::Coordinator,
            };
            Delay::Preparing { to, for_us: micros(now.since(candidate.asked_at)), awaits }
        }
        Stage::Prepared(prepared) if prepared.have.is_none() => {
            Delay::Copying { to, for_us: micros(now.since(prepared.steps.ready_at)) }
        }
        Stage::Prepared(_) => Delay::Ready { to, crossing_in_us: crossing_in.map(micros) },
    }
}
