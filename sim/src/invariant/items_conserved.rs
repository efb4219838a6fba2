//! What is traded is neither doubled nor lost: once all is settled every thing is in one place, unless who had it has left
//! the world with it.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_protocol::id::EntityId;

use super::a3_actions::Fallen;
use super::{ActionFact, Fact, Inspection, Invariant, Step, Violation};

const NAME: &str = "items conserved";

/// Knows who had what last. See the module's page.
#[derive(Debug, Default)]
pub struct ItemsConserved {
    last_with: BTreeMap<u128, EntityId>,
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
                for thing in things {
                    self.last_with.insert(*thing, *entity);
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
        let here = |entity: &EntityId| inspection.purses.iter().any(|(known, _)| known == entity);
        let lost = self
            .last_with
            .iter()
            .find(|(thing, holder)| !found.contains_key(*thing) && here(holder) && !self.is_excused(**thing));
        lost.map(|(thing, holder)| (*holder, format!("{thing:032x}, last seen with {holder}, is nowhere")))
    }

    fn is_excused(&self, thing: u128) -> bool {
        self.touched.get(&thing).is_some_and(|holders| holders.iter().any(|&holder| self.fallen.has(holder)))
    }
}
