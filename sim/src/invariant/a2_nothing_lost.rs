//! A2: an entity whose spawn was acknowledged exists until its authority despawns it, whoever dies.
//!
//! Acknowledged means: it was in a cut that a keeper has confirmed. Who dies takes with it what was never confirmed, and
//! may leave behind what it despawned after the last confirmed cut. If all who had an entity or a copy of it die before
//! there is a new copy, it may be lost: that is more than the loss of one. So may the knowledge that it is gone.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_protocol::authority::Standing;
use selvedge_protocol::id::{AuthorityEpoch, EntityId};
use selvedge_protocol::time::Tick;

use selvedge_protocol::wire::Captured;

use super::{Fact, Inspection, Invariant, SentCopy, Step, Violation};

const NAME: &str = "A2 nothing lost";

/// Knows what must exist, and from when its state may be. See the module's page.
#[derive(Debug, Default)]
pub struct NothingLost {
    entities: BTreeMap<EntityId, Record>,
    /// Who keeps each node's newest confirmed cut.
    keepers: BTreeMap<usize, usize>,
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
    /// The newest tick in which it was simulated.
    simulated: Tick,
    /// From when the newest contents in a confirmed cut are.
    covered: Captured,
    /// The epoch of whoever holds it.
    held_at: AuthorityEpoch,
    /// Who could restore it if its holder died, and from the state of which epoch.
    copies: BTreeMap<usize, AuthorityEpoch>,
    /// Who knows that it is gone.
    end: Option<End>,
}

/// Who knows that an entity is gone, as long as that matters.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The node that despawned it.
    Unsafe(usize),
    /// That node, and who keeps its cuts.
    Safe(usize),
    /// Whoever kept the newest cut of that node when it died.
    Kept(usize),
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
                    (record.must, record.end, record.home) = (Must::NotBe, Some(End::Unsafe(*node)), None);
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
                Fact::CutSafe { node, keeper: Some(keeper), tick, copies, gone } => {
                    self.keepers.insert(*node, *keeper);
                    self.on_cut(*node, *keeper, *tick, copies);
                    self.on_cut_without(*node, gone);
                }
                Fact::Ended { node } | Fact::LifeOver { node } => self.on_death(*node),
                Fact::Restored { entity, contents, .. } => self.on_restored(*entity, *contents)?,
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
                | Fact::CutSafe { keeper: None, .. }
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

impl NothingLost {
    fn on_standing(&mut self, node: usize, entity: EntityId, standing: Standing) {
        // Who is let in stands at a core before the game agrees: only then are they born.
        let (Some(record), Standing::Active(epoch)) = (self.entities.get_mut(&entity), standing) else {
            return;
        };
        if record.must == Must::Maybe {
            (record.must, record.end) = (Must::Be, None);
        }
        if let Some(former) = record.home.replace(node).filter(|former| *former != node)
            && !record.orphaned
        {
            // Its tombstone keeps what it gave away until the new holder's own copy is safe.
            record.copies.insert(former, record.held_at);
        }
        (record.orphaned, record.held_at) = (false, epoch);
        record.copies.remove(&node);
    }

    fn on_cut(&mut self, node: usize, keeper: usize, tick: Tick, copies: &[SentCopy]) {
        for &SentCopy { entity, epoch, .. } in copies {
            let Some(record) = self.entities.get_mut(&entity) else {
                continue;
            };
            if record.home != Some(node) {
                // It has given it away, and has a copy of its tombstone safe: whoever had it before may forget it.
                if record.copies.get(&node) == Some(&epoch) {
                    record.copies.retain(|_, older| *older >= epoch);
                    record.copies.insert(keeper, epoch);
                    record.home.map(|home| record.copies.remove(&home));
                }
                continue;
            }
            record.acknowledged = true;
            // A cut holds what stands still, frozen or on its way into the game, as it was when it was simulated last. One
            // whose node's ticks lag behind those of the node that had it before names a lower tick: the epoch tells.
            record.covered = record.covered.max(Captured { epoch, tick: tick.min(record.simulated) });
            record.copies = BTreeMap::from([(keeper, epoch)]);
        }
    }

    fn on_cut_without(&mut self, node: usize, gone: &[EntityId]) {
        for entity in gone {
            if let Some(end) = self.entities.get_mut(entity).and_then(|record| record.end.as_mut())
                && let End::Unsafe(at) = *end
                && at == node
            {
                *end = End::Safe(node);
            }
        }
    }

    fn on_death(&mut self, node: usize) {
        let keeper = self.keepers.remove(&node);
        self.keepers.retain(|_, keeper| *keeper != node);
        for record in self.entities.values_mut() {
            record.copies.remove(&node);
            record.end = match record.end {
                Some(End::Safe(at)) if at == node && keeper.is_some() => keeper.map(End::Kept),
                Some(End::Unsafe(at) | End::Safe(at) | End::Kept(at)) if at == node => {
                    record.must = Must::Maybe;
                    None
                }
                end => end,
            };
            record.orphaned |= record.home == Some(node);
            if record.orphaned
                && record.must == Must::Be
                && (!record.acknowledged || record.copies.is_empty())
            {
                record.must = Must::Maybe;
            }
        }
    }

    /// What a recovery restores is not older than the newest confirmed cut, if a keeper of it lives, and not gone.
    fn on_restored(&mut self, entity: EntityId, contents: Captured) -> Result<(), Violation> {
        let Some(record) = self.entities.get_mut(&entity) else {
            return Ok(());
        };
        match record.must {
            Must::Be => {}
            Must::Maybe => return Ok(()),
            Must::NotBe => {
                let what = format!("{entity} is restored, but that it is gone was safe: {:?}", record.end);
                return Err(violation(entity, what));
            }
        }
        let covered = record.covered;
        // What is newer came from the tombstone of who had it before, and is there alone until a cut with it is confirmed.
        record.covered = covered.min(contents);
        if contents < covered && record.orphaned {
            let what = format!(
                "{entity} is restored as it was at epoch {} after tick {}, but epoch {}, tick {} was safe",
                contents.epoch, contents.tick.0, covered.epoch, covered.tick.0
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
        let at: Vec<&usize> = record.copies.keys().collect();
        let home = record.home.map_or("nobody".to_owned(), |node| format!("node {node}"));
        let what = format!(
            "{entity} is held by nobody; {home} held it last, copies that were confirmed are at nodes {at:?}"
        );
        Some((entity, what))
    }
}

fn violation(entity: EntityId, what: String) -> Violation {
    Violation { invariant: NAME, what, entity: Some(entity), player: None }
}
