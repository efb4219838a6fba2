//! Ghosts: no game shows one for long whose entity is no more, none beside its original, and once faults and movement have
//! stopped each is where its original is, and like it, wherever it should be seen.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use selvedge_protocol::id::EntityId;
use selvedge_protocol::time::Time;

use super::{Fact, GhostView, Inspection, Invariant, Step, Violation};

const NAME: &str = "ghosts";
/// How long a game may show what nobody holds any more: what is told of nobody lingers for 1 s after the last word of it, that is
/// believed for 2 s, and clocks differ.
const OUTLIVES_MAX: Duration = Duration::from_secs(6);
/// How far a ghost of something that stands still may be off, in metres: the sender's own bound at the margin, and rounding.
const OFF_M_MAX: f64 = 0.3;
/// Ghosts are seen up to a tenth beyond the margin, give or take.
const AWAY_PART_MAX: f64 = 1.25;

/// Looks at what the games show. See the module's page.
#[derive(Debug, Default)]
pub struct Ghosts {
    holders: BTreeMap<EntityId, BTreeSet<usize>>,
    /// Since when nobody holds them.
    free_since: BTreeMap<EntityId, Time>,
    /// For each node, what it showed at its last look for longer than it may.
    overdue: BTreeMap<usize, BTreeSet<EntityId>>,
    /// When each node's process last stirred after a standstill: until then it heard of no end.
    stirred: BTreeMap<usize, Time>,
    settled: bool,
}

impl Invariant for Ghosts {
    fn observe(&mut self, step: &Step<'_>) -> Result<(), Violation> {
        for fact in step.facts {
            match fact {
                Fact::Standing { node, entity, standing: Some(_) } => {
                    self.free_since.remove(entity);
                    self.holders.entry(*entity).or_default().insert(*node);
                }
                Fact::Standing { node, entity, standing: None } => self.let_go(*node, *entity, step.at),
                Fact::Ended { node } => {
                    self.overdue.remove(node);
                    let all: Vec<EntityId> = self.holders.keys().copied().collect();
                    all.into_iter().for_each(|entity| self.let_go(*node, entity, step.at));
                }
                Fact::GhostsShown { node, entities, beside } => {
                    if let Some(&entity) = beside.first() {
                        let what = format!("node {node} takes {entity}, which it holds, for a ghost");
                        return Err(violation(what, entity));
                    }
                    self.look(*node, entities, step.at)?;
                }
                Fact::Inspected(inspection) => self.inspect(inspection)?,
                Fact::Stirred { node } => drop(self.stirred.insert(*node, step.at)),
                Fact::Born { .. }
                | Fact::Gone { .. }
                | Fact::Published { .. }
                | Fact::Event(_)
                | Fact::PlayerBegan { .. }
                | Fact::StoodStill { .. }
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
                | Fact::GameComplained { .. } => {}
            }
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        self.settled
    }
}

impl Ghosts {
    fn let_go(&mut self, node: usize, entity: EntityId, at: Time) {
        if let Some(holders) = self.holders.get_mut(&entity)
            && holders.remove(&node)
            && holders.is_empty()
        {
            self.holders.remove(&entity);
            self.free_since.insert(entity, at);
        }
    }

    /// A game that stood still has not looked either: only what it shows at two looks in a row counts.
    fn look(&mut self, node: usize, shown: &[EntityId], at: Time) -> Result<(), Violation> {
        let awake_since = self.stirred.get(&node).copied().unwrap_or_default();
        let mut overdue = BTreeSet::new();
        for &entity in shown {
            let free_since = self.free_since.get(&entity).copied();
            let free_for = match free_since {
                _ if self.holders.contains_key(&entity) => continue,
                Some(since) => at.since(since.max(awake_since)),
                None => {
                    return Err(violation(format!("node {node} shows {entity}, which never was"), entity));
                }
            };
            if free_for <= OUTLIVES_MAX {
                continue;
            }
            if self.overdue.get(&node).is_some_and(|before| before.contains(&entity)) {
                let what = format!("node {node} shows {entity} {free_for:?} after its end");
                return Err(violation(what, entity));
            }
            overdue.insert(entity);
        }
        self.overdue.insert(node, overdue);
        Ok(())
    }

    fn inspect(&mut self, inspection: &Inspection) -> Result<(), Violation> {
        let wrong = wrong(inspection);
        self.settled = wrong.is_none() && !inspection.waiting;
        match wrong {
            Some(wrong) if inspection.calm_for >= inspection.bound => {
                let what = format!("{:?} after the last fault {}", inspection.calm_for, wrong.what);
                Err(Violation { what, ..wrong })
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn wrong(inspection: &Inspection) -> Option<Violation> {
    if let Some(&(node, entity)) = inspection.unseen.first() {
        return Some(violation(
            format!("node {node} does not show {entity}, which is near its cells"),
            entity,
        ));
    }
    inspection.ghosts.iter().find_map(|ghost| {
        let GhostView { node, entity, off_m, alike, away_m } = *ghost;
        let what = match off_m {
            None => format!("node {node} shows {entity}, which nobody simulates"),
            Some(off_m) if off_m > OFF_M_MAX => format!("node {node} shows {entity} {off_m:.2} m off"),
            Some(_) if !alike => format!("node {node} shows {entity} in another state"),
            Some(_) if away_m > inspection.margin_m * AWAY_PART_MAX => {
                format!("node {node} shows {entity}, which is {away_m:.1} m away from its cells")
            }
            Some(_) => return None,
        };
        Some(violation(what, entity))
    })
}

fn violation(what: String, entity: EntityId) -> Violation {
    Violation { invariant: NAME, what, entity: Some(entity), player: None }
}
