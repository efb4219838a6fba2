//! What must hold in every state.

use selvedge_protocol::authority::Standing;
use stateright::Property;

use super::actions::Action;
use super::explore::Model;
use super::state::{Broken, ENTITY, State};

pub(super) fn all() -> Vec<Property<Model>> {
    vec![
        Property::always("A1 single authority", |_, state: &State| state.active().count() <= 1),
        Property::always("epochs only grow", |_, state: &State| state.broken != Some(Broken::EpochWentBack)),
        Property::always("A2 nothing older than acknowledged", |_, state: &State| {
            state.broken != Some(Broken::OlderThanAcknowledged)
        }),
        Property::always("A2 what is restored is there", |_, state: &State| {
            state.broken != Some(Broken::NoSuchCopy)
        }),
        Property::always("A2 nothing lost, nothing left over", |model: &Model, state: &State| {
            state.is_at_peace() || state.moves_by_itself(model)
        }),
    ]
}

impl State {
    /// Nodes that run under a valid lease and simulate the entity.
    fn active(&self) -> impl Iterator<Item = usize> + '_ {
        let active = |&index: &usize| {
            let node = &self.nodes[index];
            node.up && node.table.active_epoch(ENTITY).is_some()
        };
        (0..self.nodes.len()).filter(active)
    }

    /// One node simulates the entity and its state is safe elsewhere, nobody waits for anything, nothing is kept that is
    /// of no use, and everybody who is dead has been recovered.
    fn is_at_peace(&self) -> bool {
        let Some(holder) = self.active().next() else {
            return false;
        };
        let safe = self.buddy(holder).is_none_or(|buddy| {
            self.nodes[holder].cut_is_current(buddy) && self.nodes[holder].cut.is_some_and(|cut| cut.safe)
        });
        let left_over = self.nodes.iter().any(|node| {
            let frozen = matches!(node.table.standing(ENTITY), Some(Standing::Frozen { .. }));
            frozen || node.tombstone.is_some() || node.participant.is_open()
        });
        safe && !left_over && self.is_recovered()
    }

    /// Nobody is dead who was not recovered, and whoever held anything then has made it safe.
    pub(super) fn is_recovered(&self) -> bool {
        let office = &self.coordinators[self.in_office()];
        let recovered = |life| self.store.recovered.contains(&life);
        !office.keeper.is_open() && self.nodes.iter().all(|node| node.up || recovered(node.me))
    }

    /// Whether anything that happens by itself still changes something.
    fn moves_by_itself(&self, model: &Model) -> bool {
        let mut actions: Vec<Action> = Vec::new();
        self.due(model.mistake, &mut actions);
        actions.iter().any(|action| {
            let mut next = self.clone();
            next.step(action, model);
            next != *self
        })
    }
}
