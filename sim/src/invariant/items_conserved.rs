//! What is traded is neither doubled nor lost: once all is settled every thing is in one place, unless who had it has left
//! the world with it. Who was restored has again what it had then: so each one's purse is followed, not each thing.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_protocol::id::EntityId;

use super::a3_actions::Fallen;
use super::{ActionFact, Fact, Inspection, Invariant, Step, Violation};

const NAME: &str = "items conserved";

/// Knows what each one had last. See the module's page.
#[derive(Debug, Default)]
pub struct ItemsConserved {
    purses: BTreeMap<EntityId, Vec<u128>>,
    /// Everybody who ever had a thing.
    touched: BTreeMap<u128, BTreeSet<EntityId>>,
    fallen: Fallen,
    settled: bool,
}

impl Invariant for ItemsConserved {
    fn observe(&mut self, step: &Step<'_>) -> Result<(), Violation> {
        for fact in step.facts {
            self.fallen.follow(fact);
            if let Fact::Action { entity, fact: ActionFact::Has { things }, .. } = fact {
                self.purses.insert(*entity, things.clone());
                for thing in things {
                    self.touched.entry(*thing).or_default().insert(*entity);
                }
            } else if let Fact::Inspected(inspection) = fact {
                let wrong = self.wrong(inspection);
                self.settled = wrong.is_none();
                if let Some((entity, what)) = wrong
                    && inspection.calm_for >= inspection.bound
                {
                    let what = format!("{:?} after the last fault {what}", inspection.calm_for);
                    return Err(Violation { invariant: NAME, what, entity: Some(entity), player: None });
                }
            }
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        self.settled
    }
}

impl ItemsConserved {
    fn wrong(&self, inspection: &Inspection) -> Option<(EntityId, String)> {
        let mut found: BTreeMap<u128, EntityId> = BTreeMap::new();
        for (entity, things) in &inspection.purses {
            for thing in things {
                if let Some(other) = found.insert(*thing, *entity)
                    && !self.is_excused(*thing)
                {
                    return Some((*entity, format!("{thing:032x} is with {other} and with {entity}")));
                }
            }
        }
        let absent = |entity: &EntityId| inspection.purses.iter().all(|(known, _)| known != entity);
        let gone: BTreeSet<u128> = self
            .purses
            .iter()
            .filter(|(entity, _)| absent(entity))
            .flat_map(|(_, things)| things.iter().copied())
            .collect();
        let is_lost =
            |thing: &u128| !found.contains_key(thing) && !gone.contains(thing) && !self.is_excused(*thing);
        let (thing, holders) = self.touched.iter().find(|(thing, _)| is_lost(thing))?;
        let holder = *holders.first()?;
        let names: Vec<String> = holders.iter().map(EntityId::to_string).collect();
        Some((holder, format!("{thing:032x}, which was with {}, is nowhere", names.join(", "))))
    }

    fn is_excused(&self, thing: u128) -> bool {
        self.touched.get(&thing).is_some_and(|holders| holders.iter().any(|&holder| self.fallen.has(holder)))
    }
}
