//! What rides together stays together: held by one node at every moment, and apart only if the game says so.
//!
//! A recovery may take two back to moments that don't agree: who got on since the older of the two copies is off again. Of
//! one cut they do agree: who comes back rides on what the copy says.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_protocol::authority::Standing;
use selvedge_protocol::id::EntityId;

use super::{CopiedRide, Fact, Invariant, Step, Violation};

const NAME: &str = "groups";

/// Knows who rides on what, and who holds both. See the module's page.
#[derive(Debug, Default)]
pub struct Groups {
    rides_on: BTreeMap<EntityId, EntityId>,
    holders: BTreeMap<EntityId, usize>,
    /// Restored by a recovery, and not running yet, and what is known of that.
    restored: BTreeMap<EntityId, Back>,
}

/// What one that a recovery has restored must ride on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Back {
    /// What is known here: all that matters came back from one cut.
    AsKnown,
    /// Whatever its game says: what it rode on was taken back to another moment, or is elsewhere.
    AsTheGameSays,
}

impl Invariant for Groups {
    fn observe(&mut self, step: &Step<'_>) -> Result<(), Violation> {
        let (mut moved, mut back) = (BTreeSet::new(), BTreeMap::new());
        for fact in step.facts {
            match *fact {
                Fact::Standing { node, entity, standing } => {
                    match standing {
                        Some(Standing::Active(_)) => drop(self.holders.insert(entity, node)),
                        Some(Standing::Frozen { .. }) | None => {
                            if self.holders.get(&entity) == Some(&node) {
                                self.holders.remove(&entity);
                            }
                        }
                    }
                    moved.insert(entity);
                }
                Fact::Ended { node } => self.holders.retain(|_, holder| *holder != node),
                Fact::Restored { entity, ride, .. } => {
                    self.forget(entity);
                    self.restored.insert(entity, Back::AsTheGameSays);
                    back.extend(ride.map(|ride| (entity, ride)));
                }
                Fact::Gone { entity, .. } => self.forget(entity),
                Fact::Attached { entity, to, by_game, .. } => self.attached(entity, to, by_game)?,
                Fact::Runs { node, entity, to } => self.runs(node, entity, to)?,
                Fact::Published { .. }
                | Fact::Born { .. }
                | Fact::LifeOver { .. }
                | Fact::LeaseOutlived { .. }
                | Fact::CutSafe { .. }
                | Fact::Action { .. }
                | Fact::StoodStill { .. }
                | Fact::Stirred { .. }
                | Fact::PlayerBegan { .. }
                | Fact::Acted { .. }
                | Fact::Renumbered { .. }
                | Fact::Client { .. }
                | Fact::CoordinatorSawViolation { .. }
                | Fact::AdmissionAsked { .. }
                | Fact::TokenGranted { .. }
                | Fact::TokenShown { .. }
                | Fact::Admitted { .. }
                | Fact::GameComplained { .. }
                | Fact::GhostsShown { .. }
                | Fact::Event(_)
                | Fact::Inspected(_) => {}
            }
        }
        self.came_back(&back);
        for (&rider, &to) in &self.rides_on {
            let (here, there) = (self.holders.get(&rider), self.holders.get(&to));
            if here != there && (moved.contains(&rider) || moved.contains(&to)) {
                return Err(apart(
                    rider,
                    format!("is at {here:?}, and {to}, which it rides on, at {there:?}"),
                ));
            }
        }
        Ok(())
    }
}

impl Groups {
    fn forget(&mut self, entity: EntityId) {
        self.rides_on.retain(|&rider, &mut to| rider != entity && to != entity);
    }

    /// A node has carried a verdict out: who rode on what has come back with it, from the same cut, rides on.
    fn came_back(&mut self, back: &BTreeMap<EntityId, CopiedRide>) {
        for (&entity, &CopiedRide { of, cut, to }) in back {
            if let Some(to) = to {
                let with_it = |ride: &CopiedRide| (ride.of, ride.cut) == (of, cut);
                if !back.get(&to).is_some_and(with_it) || self.holders.get(&to) != self.holders.get(&entity) {
                    continue;
                }
                self.rides_on.insert(entity, to);
            }
            self.restored.insert(entity, Back::AsKnown);
        }
    }

    fn attached(&mut self, entity: EntityId, to: Option<EntityId>, by_game: bool) -> Result<(), Violation> {
        let Some(to) = to else {
            return match self.rides_on.remove(&entity) {
                // What its game got on while it stood there on approval, and was not taken over in the end, was never there.
                Some(from) if !by_game && self.holders.get(&from) == self.holders.get(&entity) => {
                    Err(apart(entity, format!("came off {from} by itself")))
                }
                Some(_) | None => Ok(()),
            };
        };
        self.rides_on.insert(entity, to);
        Ok(())
    }

    /// It has come to a game: what it rode on before it must ride on there.
    fn runs(&mut self, node: usize, entity: EntityId, to: Option<EntityId>) -> Result<(), Violation> {
        let back = self.restored.remove(&entity);
        if back == Some(Back::AsTheGameSays) {
            if let Some(to) = to.filter(|to| self.holders.get(to) == Some(&node)) {
                self.rides_on.insert(entity, to);
            }
            return Ok(());
        }
        match self.rides_on.get(&entity) {
            Some(from) if to != Some(*from) => {
                Err(apart(entity, format!("rode on {from} and came to node {node} riding on {to:?}")))
            }
            None if back == Some(Back::AsKnown) && to.is_some() => {
                Err(apart(entity, format!("rode on nothing in its copy, and on {to:?} at node {node}")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn apart(entity: EntityId, what: String) -> Violation {
    Violation { invariant: NAME, what: format!("{entity} {what}"), entity: Some(entity), player: None }
}
