//! A3 for actions: each takes effect once, and what its sender hears of it is true. Across a crash this holds for durable
//! ones; of the others what a crash undid may happen again.
//!
//! Where all who had an entity or a copy of it died, it may fall back behind what was safe: that is the loss of two, and
//! such entities count no more.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_protocol::action::{ActionId, ActionNumber, Outcome};
use selvedge_protocol::authority::Standing;
use selvedge_protocol::id::{AuthorityEpoch, EntityId};
use selvedge_protocol::time::Tick;
use selvedge_protocol::wire::Captured;

use super::{Fact, Inspection, Invariant, SentCopy, Step, Violation};

const NAME: &str = "A3 actions once";

/// What is seen of actions, and of what is traded by them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ActionFact {
    /// The entity did what another asked, or refused to: just now.
    Performed {
        /// Which action.
        id: ActionId,
        /// Whether it is durable.
        durable: bool,
        /// Under which grant, in which tick.
        at: (AuthorityEpoch, Tick),
    },
    /// The entity's game was told what came of its action.
    Settled {
        /// Which.
        number: ActionNumber,
        /// Whether it is durable, where that is known.
        durable: bool,
        /// What came of it.
        outcome: Outcome,
    },
    /// What the entity has, in its purse and on its way to others.
    Has {
        /// All of it.
        things: Vec<u128>,
    },
}

/// Follows each action. See the module's page.
#[derive(Debug, Default)]
pub struct ActionsOnce {
    actions: BTreeMap<ActionId, Record>,
    fallen: Fallen,
    settled: bool,
}

#[derive(Debug, Default)]
struct Record {
    /// By whom, and when, as far as no crash has undone it.
    performed: Option<(EntityId, (AuthorityEpoch, Tick))>,
    ever_performed: bool,
    durable: bool,
    heard: Option<Heard>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Heard {
    Answer,
    Failure,
}

impl Invariant for ActionsOnce {
    fn observe(&mut self, step: &Step<'_>) -> Result<(), Violation> {
        for fact in step.facts {
            self.fallen.follow(fact);
            if let Fact::Action { entity, fact, .. } = fact {
                self.on_action(*entity, fact)?;
            } else if let Fact::Restored { entity, contents, .. } = fact {
                self.on_restored(*entity, *contents)?;
            } else if let Fact::Inspected(inspection) = fact {
                self.on_inspection(inspection)?;
            }
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        self.settled
    }
}

impl ActionsOnce {
    fn on_action(&mut self, entity: EntityId, fact: &ActionFact) -> Result<(), Violation> {
        match fact {
            ActionFact::Performed { id, durable, at } => {
                let fallen = self.fallen.has(entity) || self.fallen.has(id.from);
                let record = self.actions.entry(*id).or_default();
                record.durable = *durable;
                if let Some((by, before)) = record.performed.replace((entity, *at))
                    && !fallen
                {
                    let what = format!("{id:?} was done by {by} at {before:?} and again at {at:?}");
                    return Err(violation(entity, what));
                }
                record.ever_performed = true;
                if *durable && record.heard == Some(Heard::Failure) && !fallen {
                    let what = format!("{id:?} was done though its sender had heard that it never would be");
                    return Err(violation(entity, what));
                }
                Ok(())
            }
            ActionFact::Settled { number, durable, outcome } => {
                let id = ActionId { from: entity, number: *number };
                let fallen = self.fallen.has(entity);
                let record = self.actions.entry(id).or_default();
                let by = record.performed.map(|(by, _)| by);
                let excused = fallen || by.is_some_and(|by| self.fallen.has(by));
                let (heard, true_word) = match outcome {
                    Outcome::Done(_) | Outcome::Refused(_) => {
                        (Heard::Answer, if *durable { by.is_some() } else { record.ever_performed })
                    }
                    // With who is lost is lost what it did.
                    Outcome::Failed(_) => {
                        (Heard::Failure, !*durable || by.is_none_or(|by| self.fallen.is_orphan(by)))
                    }
                };
                let twice = record.heard.replace(heard).is_some();
                if excused || (true_word && !twice) {
                    return Ok(());
                }
                let what = if twice {
                    format!("{id:?} was settled twice")
                } else {
                    format!("the sender of {id:?} heard {outcome:?}, but it was done by {by:?}")
                };
                Err(violation(entity, what))
            }
            ActionFact::Has { .. } => Ok(()),
        }
    }

    fn on_restored(&mut self, entity: EntityId, contents: Captured) -> Result<(), Violation> {
        let back_to = (contents.epoch, contents.tick);
        let fallen = self.fallen.has(entity);
        for (id, record) in &mut self.actions {
            if id.from == entity {
                // Its sender may not have heard it, as it stands now.
                record.heard = None;
            }
            let undone = record.performed.take_if(|(by, at)| *by == entity && *at > back_to).is_some();
            if undone && record.durable && record.heard == Some(Heard::Answer) && !fallen {
                let what =
                    format!("{id:?} is durable and was answered, but undone by a return to {contents:?}");
                return Err(violation(entity, what));
            }
        }
        Ok(())
    }

    fn on_inspection(&mut self, inspection: &Inspection) -> Result<(), Violation> {
        let late = inspection.unsettled.first();
        self.settled = late.is_none();
        match late {
            Some((node, entity, count)) if inspection.calm_for >= inspection.bound => {
                let calm_for = inspection.calm_for;
                let what = format!(
                    "{calm_for:?} after the last fault {count} actions of or to {entity} at node {node} are unsettled"
                );
                Err(violation(*entity, what))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Entities that came back from before what was safe: all who had more have died.
#[derive(Debug, Default)]
pub(super) struct Fallen {
    covered: BTreeMap<EntityId, (AuthorityEpoch, Tick)>,
    home: BTreeMap<EntityId, usize>,
    /// Whose holder has died: what they did is undone, unless somebody restores it.
    orphans: BTreeSet<EntityId>,
    fallen: BTreeSet<EntityId>,
}

impl Fallen {
    pub(super) fn follow(&mut self, fact: &Fact) {
        if let Fact::Standing { node, entity, standing: Some(Standing::Active(_)) } = fact {
            self.home.insert(*entity, *node);
            self.orphans.remove(entity);
        } else if let Fact::Ended { node } | Fact::LifeOver { node } = fact {
            let held = self.home.iter().filter(|(_, home)| *home == node);
            self.orphans.extend(held.map(|(entity, _)| *entity));
        } else if let Fact::CutSafe { tick, copies, .. } = fact {
            for SentCopy { entity, epoch, .. } in copies {
                let covered = self.covered.entry(*entity).or_default();
                *covered = (*covered).max((*epoch, *tick));
            }
        } else if let Fact::Restored { entity, contents, .. } = fact
            && self.covered.get(entity).is_some_and(|covered| (contents.epoch, contents.tick) < *covered)
        {
            self.fallen.insert(*entity);
        }
    }

    /// Whether its holder has died, and nobody has restored it.
    fn is_orphan(&self, entity: EntityId) -> bool {
        self.orphans.contains(&entity)
    }

    /// Whether the entity fell back.
    pub(super) fn has(&self, entity: EntityId) -> bool {
        self.fallen.contains(&entity)
    }
}

fn violation(entity: EntityId, what: String) -> Violation {
    Violation { invariant: NAME, what, entity: Some(entity), player: None }
}
