//! The tick of a crossing: what the game publishes past a border is frozen, alone or with all that rides on it.

use bytes::Bytes;

use super::{ArmedTarget, FreezeEntry, FreezeOrder, GhostSight, PublishError, Roster};
use crate::ghost::Look;
use crate::grid::Motion;
use crate::id::EntityId;
use crate::limits::STATE_BYTES_MAX;
use crate::node::{ArmedMember, FrozenEntity, GameReport, Published};
use crate::snapshot::CapturedSnapshot;
use crate::time::{Tick, Time};

/// An entity past the border of a target that is armed for it.
#[derive(Debug)]
pub(super) struct Crossing {
    leader: EntityId,
    target: ArmedTarget,
    frozen_at: Time,
}

impl Roster {
    /// The game publishes an entity at the end of its step; once a tick and entity: where it is and how it looks, for all
    /// who see it, and what its own client alone is told.
    ///
    /// If the entity leads its group and is past the border of an armed target it is frozen in this tick, with its group: call
    /// [`Roster::poll_freeze`] once everything is published.
    ///
    /// # Errors
    /// If the entity isn't simulated here, moves impossibly or has too much state.
    pub fn publish(
        &mut self,
        entity: EntityId,
        motion: Motion,
        look: Look,
        own: &[u8],
        now: Time,
    ) -> Result<(), PublishError> {
        let follows = self.groups.attached_to(entity).is_some();
        let entry = self.held.get_mut(&entity).ok_or(PublishError::NotHeld(entity))?;
        if !motion.is_finite() {
            return Err(PublishError::NotFinite { entity, motion });
        }
        if own.len() > STATE_BYTES_MAX {
            return Err(PublishError::StateTooLong { entity, bytes: own.len() });
        }
        entry.position = motion.position;
        let own = Bytes::copy_from_slice(own);
        let published = Published { entity, grant: entry.grant, motion, look, applied: entry.applied, own };
        if follows {
            entry.last = Some(published.clone());
        }
        self.published.push(published);
        if follows || entry.armed.is_empty() {
            return Ok(());
        }
        let Some(owner) = self.map.past_border(&self.grid, self.me, motion.position, self.hysteresis_m)
        else {
            return Ok(());
        };
        let ready = entry.armed.iter().find(|armed| armed.target.node == owner && armed.not_before <= now);
        if let Some(target) = ready.cloned()
            && !self.is_held_back(entity, now)
        {
            self.freezing.push(Crossing { leader: entity, target, frozen_at: now });
        }
        Ok(())
    }

    /// The next entity or group that is frozen by what was just published. Capture it at once.
    pub fn poll_freeze(&mut self) -> Option<FreezeOrder> {
        while let Some(crossing) = self.freezing.pop() {
            if let Some(order) = self.order(crossing) {
                return Some(order);
            }
        }
        None
    }

    /// All that must be captured, or nothing: the game may have changed the group since the core armed it.
    fn order(&self, crossing: Crossing) -> Option<FreezeOrder> {
        let Crossing { leader, mut target, frozen_at } = crossing;
        let followers = self.groups.followers(leader);
        let members = core::mem::take(&mut target.members);
        #[cfg(feature = "planted-bugs")]
        let (followers, members) =
            if self.leaves_riders() { (Vec::new(), Vec::new()) } else { (followers, members) };
        let as_armed =
            followers.len() == members.len() && members.iter().all(|it| followers.contains(&it.entity));
        let may_go = as_armed && self.groups.attached_to(leader).is_none();
        if !may_go || self.is_held_back(leader, frozen_at) {
            return None;
        }
        let leads = ArmedMember {
            entity: leader,
            reservation: target.reservation,
            have: core::mem::take(&mut target.have),
        };
        let all = core::iter::once(leads).chain(members);
        let entries = all.map(|ArmedMember { entity, reservation, have }| {
            let entry = self.held.get(&entity)?;
            let shown = entry.last.is_some() || self.published.iter().any(|it| it.entity == entity);
            let (session, applied) = (entry.session, entry.applied);
            shown.then_some(FreezeEntry { entity, session, applied, have, reservation })
        });
        let entries = entries.collect::<Option<Vec<_>>>()?;
        Some(FreezeOrder { entries, target, frozen_at })
    }

    /// The game's answer to a [`FreezeOrder`], a snapshot for each entry in order; from here on none of them is simulated
    /// any more. Where one is missing (the game could not capture it) nothing is frozen.
    ///
    /// Returns whether the game must release them all.
    pub fn frozen(
        &mut self,
        order: FreezeOrder,
        snapshots: Vec<Option<CapturedSnapshot>>,
        tick: Tick,
    ) -> bool {
        let FreezeOrder { entries, target, frozen_at } = order;
        let snapshots: Option<Vec<CapturedSnapshot>> = snapshots.into_iter().collect();
        let all_here = entries.iter().all(|entry| self.holds(entry.entity));
        let Some(snapshots) = snapshots.filter(|all| all.len() == entries.len() && all_here) else {
            // Not again in each tick: the core arms it anew with the next pre-copy.
            if let Some(entry) = entries.first().and_then(|first| self.held.get_mut(&first.entity)) {
                entry.armed.retain(|armed| armed.reservation != target.reservation);
            }
            return false;
        };
        let mut group = Vec::with_capacity(entries.len());
        for (FreezeEntry { entity, applied, reservation, .. }, snapshot) in entries.iter().zip(snapshots) {
            let (entity, reservation) = (*entity, *reservation);
            // Who leads was published in this very tick: that is what ordered the freeze.
            let now = self.published.iter().rposition(|published| published.entity == entity);
            let kept = || self.held.get(&entity).and_then(|entry| entry.last.clone());
            let Some(last) = now.map(|index| self.published.swap_remove(index)).or_else(kept) else {
                continue;
            };
            // Shown as a ghost from here on, until its authority speaks or it comes back.
            let sight = GhostSight { motion: last.motion, look: last.look, tick };
            self.ghosts.insert(entity, sight);
            group.push(FrozenEntity { last: Published { applied: *applied, ..last }, reservation, snapshot });
        }
        for entry in &entries {
            self.held.remove(&entry.entity);
        }
        for entry in &entries {
            for left in self.groups.remove(entry.entity) {
                self.tell_attached(left);
            }
        }
        self.reports.push(GameReport::Frozen { target: target.target, group, tick, frozen_at });
        true
    }
}
