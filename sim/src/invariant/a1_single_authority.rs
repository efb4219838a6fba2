//! A1: at most one node holds an entity's authority, and no effect of a former one is accepted.
//!
//! A process that stands still simulates nothing: another may have been given what it held. It counts again from its
//! first step on, and by then it must know.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_protocol::authority::Standing;
use selvedge_protocol::handoff::client::ClientEvent;
use selvedge_protocol::id::{AuthorityEpoch, EntityId};
use selvedge_protocol::time::Tick;

use super::{Fact, Invariant, Step, Violation};

const NAME: &str = "A1 single authority";

/// Watches who holds what. See the module's page.
#[derive(Debug, Default)]
pub struct SingleAuthority {
    entities: BTreeMap<EntityId, Record>,
    /// Nodes whose process stands still.
    still: BTreeSet<usize>,
}

#[derive(Debug, Default)]
struct Record {
    /// Nodes that simulate it.
    active: Vec<(usize, AuthorityEpoch)>,
    /// The highest epoch that was ever active, and where.
    highest: Option<(AuthorityEpoch, usize)>,
    /// The newest publish that a core took.
    published: Option<(AuthorityEpoch, Tick)>,
}

impl Invariant for SingleAuthority {
    fn observe(&mut self, step: &Step<'_>) -> Result<(), Violation> {
        for fact in step.facts {
            match fact {
                Fact::Standing { node, entity, standing } => self.on_standing(*node, *entity, *standing)?,
                Fact::Published { entity, epoch, tick, node, .. } => {
                    self.on_published(*node, *entity, (*epoch, *tick))?;
                }
                Fact::Client { player, event: ClientEvent::TwoAuthorities { epoch } } => {
                    return Err(violation(None, format!("player {player} heard two nodes at epoch {epoch}")));
                }
                Fact::CoordinatorSawViolation { entity, what } => {
                    return Err(violation(
                        Some(*entity),
                        format!("the coordinator says of {entity}: {what}"),
                    ));
                }
                Fact::StoodStill { node } => {
                    self.still.insert(*node);
                }
                Fact::Stirred { node } => {
                    self.still.remove(node);
                }
                Fact::Ended { node } => self.on_ended(*node),
                // A character may come back under its old id: it begins anew.
                Fact::Gone { entity, .. } => drop(self.entities.remove(entity)),
                Fact::Born { .. }
                | Fact::PlayerBegan { .. }
                | Fact::Acted { .. }
                | Fact::Renumbered { .. }
                | Fact::LifeOver { .. }
                | Fact::LeaseOutlived { .. }
                | Fact::CutSafe { .. }
                | Fact::Restored { .. }
                | Fact::Client { .. }
                | Fact::AdmissionAsked { .. }
                | Fact::TokenGranted { .. }
                | Fact::TokenShown { .. }
                | Fact::Admitted { .. }
                | Fact::Action { .. }
                | Fact::Attached { .. }
                | Fact::Runs { .. }
                | Fact::Event(_)
                | Fact::GhostsShown { .. }
                | Fact::GameComplained { .. }
                | Fact::Inspected(_) => {}
            }
        }
        Ok(())
    }
}

impl SingleAuthority {
    fn on_standing(
        &mut self,
        node: usize,
        entity: EntityId,
        standing: Option<Standing>,
    ) -> Result<(), Violation> {
        let record = self.entities.entry(entity).or_default();
        record.active.retain(|(holder, _)| *holder != node);
        let Some(Standing::Active(epoch)) = standing else {
            return Ok(());
        };
        if let Some((other, other_epoch)) =
            record.active.iter().find(|(holder, _)| !self.still.contains(holder))
        {
            let what = format!(
                "{entity} is simulated by node {node} at epoch {epoch} and by node {other} at epoch {other_epoch}"
            );
            return Err(violation(Some(entity), what));
        }
        if let Some((highest, holder)) = record.highest
            && (epoch < highest || (epoch == highest && holder != node))
        {
            let what = format!(
                "node {node} simulates {entity} at epoch {epoch}, after node {holder} did at epoch {highest}"
            );
            return Err(violation(Some(entity), what));
        }
        record.active.push((node, epoch));
        record.highest = Some((epoch, node));
        Ok(())
    }

    fn on_ended(&mut self, node: usize) {
        self.still.remove(&node);
        for record in self.entities.values_mut() {
            record.active.retain(|(holder, _)| *holder != node);
        }
    }

    fn on_published(
        &mut self,
        node: usize,
        entity: EntityId,
        (epoch, tick): (AuthorityEpoch, Tick),
    ) -> Result<(), Violation> {
        let record = self.entities.entry(entity).or_default();
        // Whoever holds it: tick n is simulated once, and what follows is tick n + 1 or later. A recovery undoes ticks.
        if let Some((last_epoch, last_tick)) = record.published
            && (epoch < last_epoch || (epoch.generation == last_epoch.generation && tick <= last_tick))
        {
            let what = format!(
                "node {node} took {entity} at epoch {epoch}, tick {}, after epoch {last_epoch}, tick {}",
                tick.0, last_tick.0
            );
            return Err(violation(Some(entity), what));
        }
        record.published = Some((epoch, tick));
        Ok(())
    }
}

fn violation(entity: Option<EntityId>, what: String) -> Violation {
    Violation { invariant: NAME, what, entity, player: None }
}
