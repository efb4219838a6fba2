//! Which ghosts have vanished lately, and at which epoch: a late word of an earlier authority must not bring one back.

use std::collections::{BTreeMap, VecDeque};

use crate::id::{AuthorityEpoch, EntityId};
use crate::limits::GHOSTS_GONE_MAX;

/// How something went.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct End {
    epoch: AuthorityEpoch,
    /// It is no more, so not even its last authority can show it again.
    ended: bool,
}

/// Those that have vanished. See the module's page.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// With the tick at which it is forgotten.
    by_entity: BTreeMap<EntityId, (End, u64)>,
    /// In the order in which they were noted, each as often as it was.
    order: VecDeque<(u64, EntityId)>,
}

impl Gone {
    /// Notes that an entity went at an epoch, to be remembered until a tick.
    pub(super) fn note(&mut self, entity: EntityId, epoch: AuthorityEpoch, ended: bool, until: u64) {
        let end = End { epoch, ended };
        let known = self.by_entity.entry(entity).or_insert((end, until));
        *known = (known.0.max(end), known.1.max(until));
        self.order.push_back((until, entity));
        if self.order.len() > GHOSTS_GONE_MAX {
            self.forget_oldest();
        }
    }

    /// Whether a word of this epoch is of before it went.
    pub(super) fn outdates(&self, entity: EntityId, epoch: AuthorityEpoch) -> bool {
        self.by_entity.get(&entity).is_some_and(|(end, _)| End { epoch, ended: false } < *end)
    }

    /// Forgets those whose time is over.
    pub(super) fn tick(&mut self, now: u64) {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((until, entity)) = self.order.pop_front() else {
            return;
        };
        // If it went again since, that is remembered for longer.
        if self.by_entity.get(&entity).is_some_and(|(_, last)| *last <= until) {
            self.by_entity.remove(&entity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: AuthorityEpoch = AuthorityEpoch::FIRST;

    const fn id(number: u128) -> EntityId {
        EntityId::from_u128(number)
    }

    #[test]
    fn what_went_is_outdated_by_lower_epochs_and_what_ended_by_its_own_too() {
        let (second, third) = (FIRST.next_step(), FIRST.next_step().next_step());
        let mut gone = Gone::default();
        gone.note(id(1), second, false, 10);
        gone.note(id(2), second, true, 10);
        // A late and lower one changes nothing.
        gone.note(id(2), FIRST, false, 10);
        for (entity, outdated) in [(1, [true, false, false]), (2, [true, true, false]), (3, [false; 3])] {
            assert_eq!([FIRST, second, third].map(|epoch| gone.outdates(id(entity), epoch)), outdated);
        }
    }

    #[test]
    fn it_is_forgotten_in_time_and_the_oldest_when_there_are_too_many() {
        let mut gone = Gone::default();
        gone.note(id(1), FIRST, true, 10);
        gone.note(id(2), FIRST, true, 11);
        gone.note(id(1), FIRST, true, 12);
        gone.tick(11);
        assert!(gone.outdates(id(1), FIRST) && !gone.outdates(id(2), FIRST));
        gone.tick(12);
        assert!(gone.by_entity.is_empty() && gone.order.is_empty());
        for number in 0..=GHOSTS_GONE_MAX as u128 {
            gone.note(id(number), FIRST, true, 20);
        }
        assert_eq!(gone.by_entity.len(), GHOSTS_GONE_MAX);
        assert!(!gone.outdates(id(0), FIRST) && gone.outdates(id(1), FIRST));
    }
}
