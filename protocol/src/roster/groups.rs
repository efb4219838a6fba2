//! What rides on what, and what is pinned, as the game says.

use core::time::Duration;

use super::{Entry, Roster};
use crate::group::AttachError;
use crate::id::EntityId;
use crate::limits::ORPHAN_TICKS;
use crate::node::GameReport;
use crate::pin::{Pin, PinError};
use crate::time::{Tick, Time};

impl Roster {
    /// Attaches an entity to another: from here on it is handed over with that one, whatever cell it stands in itself.
    ///
    /// # Errors
    /// If one of them isn't simulated here, it is attached to another, they would go round in circles, or the group would be
    /// too large; nothing changes then.
    pub fn attach(&mut self, entity: EntityId, to: EntityId) -> Result<(), AttachError> {
        for needed in [entity, to] {
            if !self.holds(needed) {
                return Err(AttachError::NotHeld(needed));
            }
        }
        if self.groups.attached_to(entity) == Some(to) {
            return Ok(());
        }
        self.groups.attach(entity, to)?;
        if let Some(entry) = self.held.get_mut(&entity) {
            entry.armed.clear();
        }
        self.tell_attached(entity);
        Ok(())
    }

    /// Detaches an entity: it goes its own way from here on, with what is attached to it. Returns what it was attached to.
    pub fn detach(&mut self, entity: EntityId) -> Option<EntityId> {
        let to = self.groups.detach(entity)?;
        self.tell_attached(entity);
        Some(to)
    }

    /// What an entity is attached to.
    #[must_use]
    pub fn attached_to(&self, entity: EntityId) -> Option<EntityId> {
        self.groups.attached_to(entity)
    }

    /// Who decides where an entity goes: itself, if it is attached to nothing.
    #[must_use]
    pub fn leader(&self, entity: EntityId) -> EntityId {
        self.groups.leader(entity)
    }

    /// What is attached to an entity itself, in order of id.
    pub fn riders(&self, entity: EntityId) -> impl Iterator<Item = EntityId> + '_ {
        self.groups.riders(entity)
    }

    /// Everything that is attached to something here, and to what.
    pub fn attachments(&self) -> impl Iterator<Item = (EntityId, EntityId)> + '_ {
        self.groups.all()
    }

    /// Holds an entity, and its group, at this node for a while. Again under the same name it counts from now.
    ///
    /// # Errors
    /// If it isn't simulated here, the name is empty or too long, it would last too long, or there are too many.
    pub fn pin(&mut self, entity: EntityId, name: &str, lasts: Duration, now: Time) -> Result<(), PinError> {
        let entry = self.held.get_mut(&entity).ok_or(PinError::NotHeld(entity))?;
        entry.pins.set(entity, name, lasts, now)?;
        self.tell_pins(entity, now);
        Ok(())
    }

    /// Ends a pin before its time. False if there is none of this name.
    pub fn unpin(&mut self, entity: EntityId, name: &str, now: Time) -> bool {
        let ended = self.held.get_mut(&entity).is_some_and(|entry| entry.pins.end(name, now));
        if ended {
            self.tell_pins(entity, now);
        }
        ended
    }

    /// What holds an entity now, and for how long.
    pub fn pins(&self, entity: EntityId, now: Time) -> impl Iterator<Item = (&str, Duration)> {
        let pins = self.held.get(&entity).map(|entry| &entry.pins);
        pins.into_iter().flat_map(move |pins| pins.at(now)).map(move |pin| (&*pin.name, pin.until.since(now)))
    }

    fn tell_pins(&mut self, entity: EntityId, now: Time) {
        if let Some(entry) = self.held.get(&entity) {
            let pins: Vec<Pin> = entry.pins.at(now).cloned().collect();
            self.reports.push(GameReport::Pinned { entity, grant: entry.grant, pins });
        }
    }

    pub(super) fn tell_attached(&mut self, entity: EntityId) {
        if let Some(entry) = self.held.get(&entity) {
            let to = self.groups.attached_to(entity);
            self.reports.push(GameReport::Attached { entity, grant: entry.grant, to });
        }
    }

    /// An entity is simulated here no more. What rode on it goes its own way.
    pub(super) fn let_go(&mut self, entity: EntityId) -> Option<Entry> {
        let entry = self.held.remove(&entity)?;
        for rider in self.groups.remove(entity) {
            self.tell_attached(rider);
        }
        Some(entry)
    }

    /// An entity has come, attached to this by its snapshot.
    pub(super) fn come_attached(&mut self, entity: EntityId, to: Option<EntityId>) {
        self.groups.detach(entity);
        if let Some(to) = to
            && self.groups.attach(entity, to).is_err()
        {
            // What it rode on has been attached elsewhere meanwhile: a recovery took it back further.
            self.tell_attached(entity);
        }
    }

    /// Who came attached to what has not come is on its own after a while: nothing waits for ever.
    pub(super) fn free_orphans(&mut self, tick: Tick) {
        let orphans: Vec<EntityId> = self
            .groups
            .all()
            .filter(|(entity, to)| {
                let since = self.held.get(entity).map_or(Tick(0), |entry| entry.since);
                !self.held.contains_key(to) && tick.0 > since.0.saturating_add(ORPHAN_TICKS)
            })
            .map(|(entity, _)| entity)
            .collect();
        for orphan in orphans {
            self.groups.detach(orphan);
            self.tell_attached(orphan);
        }
    }

    /// Whether anything holds the entity, or one that it takes along, at this node.
    pub(super) fn is_held_back(&self, leader: EntityId, now: Time) -> bool {
        let held_back = |entity: EntityId| {
            self.held.get(&entity).is_none_or(|entry| entry.leaving.is_some() || entry.pins.holds(now))
        };
        held_back(leader) || self.groups.followers(leader).into_iter().any(held_back)
    }
}
