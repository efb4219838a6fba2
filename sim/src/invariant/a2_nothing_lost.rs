//! A2: an entity whose spawn was acknowledged exists until its authority despawns it, whoever dies.
//!
//! Acknowledged means: it was in a cut that a keeper has confirmed. Who dies takes with it what was never confirmed, and
//! may leave behind what it despawned after the last confirmed cut. If all who had an entity or a copy of it die before
//! there is a new copy, it may be lost: that is more than the loss of one.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_protocol::authority::Standing;
use selvedge_protocol::id::EntityId;
use selvedge_protocol::time::Tick;

use super::{Fact, Inspection, Invariant, Step, Violation};

const NAME: &str = "A2 nothing lost";

/// Knows what must exist, and from when its state may be. See the module's page.
#[derive(Debug, Default)]
pub struct NothingLost {
    entities: BTreeMap<EntityId, Record>,
    settled: bool,
}

/// Whether an entity is to be there.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Must {
    /// It exists.
    #[default]
    Be,
    /// It may have been lost, or may have come back, with a node.
    Maybe,
    /// It is gone.
    NotBe,
}

#[derive(Debug, Default)]
struct Record {
    must: Must,
    /// Who held it last.
    home: Option<usize>,
    /// Whether whoever holds it now is alive.
    orphaned: bool,
    /// Whether a keeper ever confirmed it.
    acknowledged: bool,
    /// The newest tick in which it was simulated, and up to which a confirmed cut holds it.
    simulated: Tick,
    covered: Tick,
    /// Who could restore it if its holder died.
    copies: BTreeSet<usize>,
    /// Where it was despawned, as long as no confirmed cut says so.
    gone_at: Option<usize>,
}

impl Invariant for NothingLost {
    fn observe(&mut self, step: &Step<'_>) -> Result<(), Violation> {
        for fact in step.facts {
            match fact {
                Fact::Born { node, entity } => {
                    let record = Record { home: Some(*node), ..Record::default() };
                    let former = self.entities.insert(*entity, record);
                    if former.is_some_and(|former| former.must == Must::Be) {
                        let what = format!("{entity} is born anew at node {node} though it was not gone");
                        return Err(violation(*entity, what));
                    }
                }
                Fact::Gone { node, entity } => {
                    let record = self.entities.entry(*entity).or_default();
                    (record.must, record.gone_at, record.home) = (Must::NotBe, Some(*node), None);
                    record.copies.clear();
                }
                Fact::Standing { node, entity, standing: Some(standing) } => {
                    self.on_standing(*node, *entity, *standing);
                }
                Fact::Published { entity, tick, .. } => {
                    if let Some(record) = self.entities.get_mut(entity) {
                        record.simulated = record.simulated.max(*tick);
                    }
                }
                Fact::CutSafe { node, keeper, tick, entities, gone } => {
                    self.on_cut(*node, *keeper, *tick, entities);
                    self.on_cut_without(*node, gone);
                }
                Fact::Ended { node } | Fact::LifeOver { node } => self.on_death(*node),
                Fact::Restored { entity, tick } => self.on_restored(*entity, *tick)?,
                Fact::Inspected(inspection) => {
                    let wrong = self.wrong(inspection);
                    self.settled = wrong.is_none();
                    if let Some((entity, what)) = wrong
                        && inspection.calm_for >= inspection.bound
                    {
                        let what = format!("{:?} after the last fault {what}", inspection.calm_for);
                        return Err(violation(entity, what));
                    }
                }
                Fact::Standing { standing: None, .. }
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
                | Fact::LeaseOutlived { .. }
                | Fact::GameComplained { .. } => {}
            }
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        self.settled
    }
}

impl NothingLost {
    fn on_standing(&mut self, node: usize, entity: EntityId, standing: Standing) {
        // Who is let in stands at a core before the game agrees: only then are they born.
        let (Some(record), Standing::Active(_)) = (self.entities.get_mut(&entity), standing) else {
            return;
        };
        if record.must == Must::Maybe {
            (record.must, record.gone_at) = (Must::Be, None);
        }
        if let Some(former) = record.home.replace(node).filter(|former| *former != node)
            && !record.orphaned
        {
            // Its tombstone keeps what it gave away until the new holder's own copy is safe.
            record.copies.insert(former);
        }
        record.orphaned = false;
        record.copies.remove(&node);
    }

    fn on_cut(&mut self, node: usize, keeper: usize, tick: Tick, entities: &[EntityId]) {
        for entity in entities {
            let Some(record) = self.entities.get_mut(entity).filter(|record| record.home == Some(node))
            else {
                continue;
            };
            record.acknowledged = true;
            // A cut holds what stands still, frozen or on its way into the game, as it was when it was simulated last.
            record.covered = record.covered.max(tick.min(record.simulated));
            record.copies = BTreeSet::from([keeper]);
        }
    }

    fn on_cut_without(&mut self, node: usize, gone: &[EntityId]) {
        for entity in gone {
            if let Some(record) = self.entities.get_mut(entity).filter(|record| record.gone_at == Some(node))
            {
                record.gone_at = None;
            }
        }
    }

    fn on_death(&mut self, node: usize) {
        for record in self.entities.values_mut() {
            record.copies.remove(&node);
            if record.gone_at == Some(node) {
                (record.must, record.gone_at) = (Must::Maybe, None);
            }
            record.orphaned |= record.home == Some(node);
            if record.orphaned
                && record.must == Must::Be
                && (!record.acknowledged || record.copies.is_empty())
            {
                record.must = Must::Maybe;
            }
        }
    }

    /// What a recovery restores is not older than the newest confirmed cut, if a keeper of it lives.
    fn on_restored(&mut self, entity: EntityId, tick: Tick) -> Result<(), Violation> {
        let Some(record) = self.entities.get_mut(&entity).filter(|record| record.must == Must::Be) else {
            return Ok(());
        };
        let covered = core::mem::replace(&mut record.covered, tick);
        if tick < covered && record.orphaned {
            let what = format!(
                "{entity} is restored as it was after tick {}, but tick {} was safe",
                tick.0, covered.0
            );
            return Err(violation(entity, what));
        }
        Ok(())
    }

    /// The first entity that isn't as it should be.
    fn wrong(&self, inspection: &Inspection) -> Option<(EntityId, String)> {
        let held: BTreeSet<EntityId> = inspection.held.iter().map(|held| held.entity).collect();
        let must = |entity: &EntityId| self.entities.get(entity).map(|record| record.must);
        let risen = held.iter().find(|entity| matches!(must(entity), None | Some(Must::NotBe)));
        if let Some(&entity) = risen {
            let node = inspection.held.iter().find(|held| held.entity == entity).map(|held| held.node);
            let what = format!("{entity} is held by node {node:?} but was never born or is gone");
            return Some((entity, what));
        }
        let is_lost =
            |&(entity, record): &(&EntityId, &Record)| record.must == Must::Be && !held.contains(entity);
        let (&entity, record) = self.entities.iter().find(is_lost)?;
        let home = record.home.map_or("nobody".to_owned(), |node| format!("node {node}"));
        let what = format!(
            "{entity} is held by nobody; {home} held it last, copies that were confirmed are at nodes {:?}",
            record.copies
        );
        Some((entity, what))
    }
}

fn violation(entity: EntityId, what: String) -> Violation {
    Violation { invariant: NAME, what, entity: Some(entity), player: None }
}
