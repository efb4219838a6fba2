//! Who rides on whom: what moves together is handed over together.
//!
//! Entities are attached to others: a rider to a vehicle, a lamp to a rider. Whatever hangs together is a *group*; the one
//! that is attached to nothing *leads* it, and goes where it wants, with all the others. The game's side and the core keep a
//! value like this each: the game's is the original, the core's follows by reports.
//!
//! Deliberately absent: where anything is, and what attaching means to the game.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::EntityId;
use crate::limits::GROUP_MAX;

/// Why something can't be attached. All are mistakes of the game.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AttachError {
    /// One of the two is not simulated here.
    #[error("{0} is not simulated here: bring both to one node before you attach them")]
    NotHeld(EntityId),
    /// It is attached already, to another.
    #[error("{entity} is attached to {to}: detach it first")]
    Attached {
        /// Which entity.
        entity: EntityId,
        /// To what.
        to: EntityId,
    },
    /// It would be attached to itself, or to what rides on it.
    #[error("{entity} can't be attached to {to}, which rides on it")]
    Circle {
        /// Which entity.
        entity: EntityId,
        /// To what.
        to: EntityId,
    },
    /// The group would be too large to be handed over at once.
    #[error("the group would have {members} entities; at most {GROUP_MAX} are handed over at once")]
    TooMany {
        /// How many it would have.
        members: usize,
    },
}

/// What is attached to what. Invariant: no circles, and no group of more than [`GROUP_MAX`].
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Attachments {
    to: BTreeMap<EntityId, EntityId>,
    riders: BTreeMap<EntityId, BTreeSet<EntityId>>,
}

impl Attachments {
    /// Nothing is attached to anything.
    #[must_use]
    pub const fn new() -> Self {
        Self { to: BTreeMap::new(), riders: BTreeMap::new() }
    }

    /// What the entity is attached to.
    #[must_use]
    pub fn attached_to(&self, entity: EntityId) -> Option<EntityId> {
        self.to.get(&entity).copied()
    }

    /// What is attached to the entity itself, in order of id.
    pub fn riders(&self, entity: EntityId) -> impl Iterator<Item = EntityId> + '_ {
        self.riders.get(&entity).into_iter().flatten().copied()
    }

    /// Everything that is attached to something, and to what.
    pub fn all(&self) -> impl Iterator<Item = (EntityId, EntityId)> + '_ {
        self.to.iter().map(|(&entity, &to)| (entity, to))
    }

    /// Who decides where the entity goes: itself, if it is attached to nothing.
    #[must_use]
    pub fn leader(&self, entity: EntityId) -> EntityId {
        let mut leader = entity;
        while let Some(to) = self.attached_to(leader) {
            leader = to;
        }
        leader
    }

    /// Everything that the entity takes along, each after what it is attached to; without itself.
    #[must_use]
    pub fn followers(&self, entity: EntityId) -> Vec<EntityId> {
        let mut found: Vec<EntityId> = self.riders(entity).collect();
        let mut looked_at = 0;
        while let Some(&rider) = found.get(looked_at) {
            looked_at += 1;
            found.extend(self.riders(rider));
        }
        found
    }

    /// Attaches an entity to another. Again to the same is no error.
    ///
    /// # Errors
    /// If it is attached to another, they would go round in circles, or the group would be too large; nothing changes then.
    pub fn attach(&mut self, entity: EntityId, to: EntityId) -> Result<(), AttachError> {
        match self.attached_to(entity) {
            Some(known) if known == to => return Ok(()),
            Some(known) => return Err(AttachError::Attached { entity, to: known }),
            None => {}
        }
        let leader = self.leader(to);
        if leader == entity {
            return Err(AttachError::Circle { entity, to });
        }
        let members = 2 + self.followers(leader).len() + self.followers(entity).len();
        if members > GROUP_MAX {
            return Err(AttachError::TooMany { members });
        }
        self.to.insert(entity, to);
        self.riders.entry(to).or_default().insert(entity);
        Ok(())
    }

    /// Detaches an entity. Returns what it was attached to.
    pub fn detach(&mut self, entity: EntityId) -> Option<EntityId> {
        let to = self.to.remove(&entity)?;
        if let Some(riders) = self.riders.get_mut(&to) {
            riders.remove(&entity);
            if riders.is_empty() {
                self.riders.remove(&to);
            }
        }
        Some(to)
    }

    /// The entity is here no more: nothing is attached to it, and it to nothing. Returns what rode on it.
    pub fn remove(&mut self, entity: EntityId) -> Vec<EntityId> {
        self.detach(entity);
        let left: Vec<EntityId> = self.riders(entity).collect();
        for &rider in &left {
            self.detach(rider);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(number: u128) -> EntityId {
        EntityId::from_u128(number)
    }

    /// 1 carries 2 and 3, 3 carries 4.
    fn group() -> Attachments {
        let mut group = Attachments::new();
        for (entity, to) in [(4, 3), (3, 1), (2, 1)] {
            assert_eq!(group.attach(id(entity), id(to)), Ok(()));
        }
        group
    }

    #[test]
    fn who_leads_takes_everything_along_each_after_what_carries_it() {
        let group = group();
        for entity in 1..=4 {
            assert_eq!(group.leader(id(entity)), id(1));
        }
        assert_eq!(group.followers(id(1)), [id(2), id(3), id(4)]);
        assert_eq!(group.followers(id(3)), [id(4)]);
        assert_eq!(group.followers(id(9)), []);
    }

    #[test]
    fn nothing_rides_in_circles_or_on_two() {
        let mut group = group();
        let before = group.clone();
        assert_eq!(group.attach(id(1), id(4)), Err(AttachError::Circle { entity: id(1), to: id(4) }));
        assert_eq!(group.attach(id(5), id(5)), Err(AttachError::Circle { entity: id(5), to: id(5) }));
        assert_eq!(group.attach(id(4), id(1)), Err(AttachError::Attached { entity: id(4), to: id(3) }));
        assert_eq!(group, before);
        assert_eq!(group.attach(id(4), id(3)), Ok(()), "again to the same");
        assert_eq!(group, before);
    }

    #[test]
    fn two_groups_become_one_if_it_is_not_too_large() {
        let mut group = Attachments::new();
        let half = GROUP_MAX as u128 / 2;
        for number in 1..half {
            group.attach(id(number), id(0)).unwrap();
            group.attach(id(100 + number), id(100)).unwrap();
        }
        assert_eq!(group.attach(id(200), id(1)), Ok(()));
        assert_eq!(group.attach(id(100), id(2)), Err(AttachError::TooMany { members: GROUP_MAX + 1 }));
        assert_eq!(group.detach(id(200)), Some(id(1)));
        assert_eq!(group.attach(id(100), id(2)), Ok(()));
        assert_eq!(group.leader(id(101)), id(0));
    }

    #[test]
    fn who_goes_leaves_its_riders_behind_with_theirs() {
        let mut group = group();
        assert_eq!(group.remove(id(3)), [id(4)]);
        assert_eq!(group.followers(id(1)), [id(2)]);
        assert_eq!(group.leader(id(4)), id(4));
        assert_eq!(group.remove(id(1)), [id(2)]);
        assert_eq!(group, Attachments::new());
    }
}
