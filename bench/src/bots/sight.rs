//! What a bot sees of its own entity while nodes come and go: when it was last simulated, when another node restored
//! it and what that undid, and what is in its inventory.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use selvedge_node::arena::AvatarState;
use selvedge_protocol::id::{AuthorityEpoch, EntityId};

use super::account::Account;

/// The items of one inventory, as far as they were shown: one with each input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    items: u8,
    shown: BTreeMap<u8, u128>,
}

impl Inventory {
    /// Whether every item was shown.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.items > 0 && self.shown.len() == usize::from(self.items)
    }

    /// The ids of the items shown.
    pub fn ids(&self) -> impl Iterator<Item = u128> + '_ {
        self.shown.values().copied()
    }

    fn enter(&mut self, state: &AvatarState) {
        let item = state.item;
        if self.items != item.items {
            // Something came or went: the numbers mean other items now.
            *self = Self { items: item.items, shown: BTreeMap::new() };
        }
        if item.index < item.items {
            self.shown.insert(item.index, item.id);
        }
    }
}

impl FromIterator<u128> for Inventory {
    fn from_iter<I: IntoIterator<Item = u128>>(ids: I) -> Self {
        let shown: BTreeMap<u8, u128> = (0..=u8::MAX).zip(ids).collect();
        Self { items: u8::try_from(shown.len()).unwrap_or(u8::MAX), shown }
    }
}

/// What a bot sees of its own entity.
#[derive(Debug, Clone, Copy)]
pub struct Sight {
    /// Its entity.
    pub entity: EntityId,
    /// When the newest state came; none if there was none yet.
    pub seen_at: Option<Instant>,
    /// When the first state came after the last time that another node restored the entity.
    pub restored_at: Option<Instant>,
    /// How long nothing had been shown then.
    pub silent_for: Duration,
    /// Inputs that this restoration took back: applied by the dead node, and sent again.
    pub rolled_back: u64,
}

/// The account's part of it.
#[derive(Debug, Default)]
pub(super) struct Watch {
    epoch: AuthorityEpoch,
    seen_at: Option<Instant>,
    restored_at: Option<Instant>,
    silent_for: Duration,
    rolled_back: u64,
    inventory: Inventory,
}

impl Watch {
    /// Enters a state that is newer than all before.
    pub(super) fn on_state(&mut self, epoch: AuthorityEpoch, state: &AvatarState) {
        let now = Instant::now();
        if epoch.generation > self.epoch.generation
            && let Some(seen_at) = self.seen_at
        {
            self.restored_at = Some(now);
            self.silent_for = now - seen_at;
        }
        self.epoch = epoch;
        self.seen_at = Some(now);
        self.inventory.enter(state);
    }

    /// Enters what the client says of a restoration.
    pub(super) fn on_recovered(&mut self, inputs: u64) {
        self.rolled_back = inputs;
    }

    pub(super) fn recount(&mut self) {
        self.inventory = Inventory::default();
    }
}

impl Account {
    /// None before the bot was in the world.
    pub(super) fn sight(&self) -> Option<Sight> {
        let Watch { seen_at, restored_at, silent_for, rolled_back, .. } = self.watch;
        Some(Sight { entity: self.entity?, seen_at, restored_at, silent_for, rolled_back })
    }

    /// What its entity carries. None before the bot was in the world.
    pub(super) fn inventory(&self) -> Option<(EntityId, Inventory)> {
        Some((self.entity?, self.watch.inventory.clone()))
    }
}

#[cfg(test)]
mod tests {
    use selvedge_node::arena::ItemShown;

    use super::*;

    fn state(index: u8, items: u8) -> AvatarState {
        let item = ItemShown { items, index, id: u128::from(index) + 100 };
        AvatarState { item, ..AvatarState::default() }
    }

    #[test]
    fn an_inventory_is_complete_once_every_item_was_shown_and_begins_anew_when_their_number_changes() {
        let mut watch = Watch::default();
        for index in [0, 1, 1] {
            watch.on_state(AuthorityEpoch::default(), &state(index, 3));
            assert!(!watch.inventory.is_complete());
        }
        watch.on_state(AuthorityEpoch::default(), &state(2, 3));
        assert!(watch.inventory.is_complete());
        assert_eq!(watch.inventory.ids().collect::<Vec<_>>(), [100, 101, 102]);
        watch.on_state(AuthorityEpoch::default(), &state(0, 2));
        assert!(!watch.inventory.is_complete());
    }

    #[test]
    fn a_handoff_is_no_restoration_and_a_new_generation_is() {
        let mut watch = Watch::default();
        let epoch = |generation, step| AuthorityEpoch { generation, step };
        watch.on_state(epoch(1, 0), &state(0, 1));
        watch.on_state(epoch(1, 1), &state(0, 1));
        assert!(watch.restored_at.is_none(), "the first state and a handoff are no recovery");
        watch.on_state(epoch(2, 0), &state(0, 1));
        assert!(watch.restored_at.is_some());
    }
}
