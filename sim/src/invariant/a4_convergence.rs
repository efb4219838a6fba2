//! A4: once faults and movement stop, everything is soon where it belongs, once.

use std::collections::BTreeMap;

use selvedge_protocol::authority::Standing;
use selvedge_protocol::id::EntityId;

use super::{Fact, Inspection, Invariant, Step, Violation};

const NAME: &str = "A4 convergence";

/// Looks whether everything is where it belongs. See the module's page.
#[derive(Debug, Default)]
pub struct Convergence {
    settled: bool,
}

impl Invariant for Convergence {
    fn observe(&mut self, step: &Step<'_>) -> Result<(), Violation> {
        for fact in step.facts {
            match fact {
                Fact::Inspected(inspection) => {
                    let wrong = Self::wrong(inspection);
                    self.settled = wrong.is_none() && !inspection.waiting;
                    if let Some(wrong) = wrong
                        && inspection.calm_for >= inspection.bound
                    {
                        let what = format!("{:?} after the last fault {}", inspection.calm_for, wrong.what);
                        return Err(Violation { what, ..wrong });
                    }
                }
                Fact::Standing { .. }
                | Fact::Born { .. }
                | Fact::Gone { .. }
                | Fact::Published { .. }
                | Fact::PlayerBegan { .. }
                | Fact::Ended { .. }
                | Fact::StoodStill { .. }
                | Fact::Stirred { .. }
                | Fact::Acted { .. }
                | Fact::Renumbered { .. }
                | Fact::LifeOver { .. }
                | Fact::LeaseOutlived { .. }
                | Fact::CutSafe { .. }
                | Fact::Restored { .. }
                | Fact::Client { .. }
                | Fact::CoordinatorSawViolation { .. }
                | Fact::AdmissionAsked { .. }
                | Fact::TokenGranted { .. }
                | Fact::TokenShown { .. }
                | Fact::Admitted { .. }
                | Fact::Action { .. }
                | Fact::Attached { .. }
                | Fact::Runs { .. }
                | Fact::Event(_)
                | Fact::GhostsShown { .. }
                | Fact::GameComplained { .. } => {}
            }
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        self.settled
    }
}

impl Convergence {
    /// The first thing that isn't as it should be.
    fn wrong(inspection: &Inspection) -> Option<Violation> {
        let of = |entity: EntityId, what: String| Violation {
            invariant: NAME,
            what,
            entity: Some(entity),
            player: None,
        };
        let mut holders: BTreeMap<EntityId, usize> = BTreeMap::new();
        for held in &inspection.held {
            let (entity, node) = (held.entity, held.node);
            let wrong = if let Some(other) = holders.insert(entity, node) {
                format!("{entity} is held by node {other} and by node {node}")
            } else if !matches!(held.standing, Standing::Active(_)) {
                format!("{entity} is frozen at node {node}: {:?}", held.standing)
            } else if !held.simulated {
                format!("{entity} is held by node {node}, whose game does not simulate it")
            } else if let Some(owner) = held.belongs_to {
                format!("{entity} is held by node {node} but stands in a cell of node {owner}")
            } else {
                continue;
            };
            return Some(of(entity, wrong));
        }
        if let Some(cell) = inspection.ownerless.first() {
            let what = format!("cell {cell} has no live owner");
            return Some(Violation { invariant: NAME, what, entity: None, player: None });
        }
        if let Some(node) = inspection.recovering.first() {
            let what = format!("node {node} takes a recovery round to be open");
            return Some(Violation { invariant: NAME, what, entity: None, player: None });
        }
        if let Some((node, entity)) = inspection.unheld.first() {
            let what = format!("the game of node {node} simulates {entity}, which it does not hold");
            return Some(of(*entity, what));
        }
        let player = inspection.players.iter().find(|player| player.wants_in && !player.attached)?;
        let what = format!("player {} is not attached to any node", player.player);
        Some(Violation { invariant: NAME, what, entity: player.entity, player: Some(player.player) })
    }
}
