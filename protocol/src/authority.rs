//! Who holds what, at which epoch: the one place that says so, and the only one that changes it.
//!
//! Every rule that keeps an entity from being simulated twice or lost stands here, as a question that the handoff's
//! machines must ask before they act. Deliberately absent: messages, timers, the reasons to hand off.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::{AuthorityEpoch, EntityId, HandoffId, Peer};
use crate::limits::{BURNED_OF_PEER_MAX, FLOORS_TOLD_MAX, LEDGER_MAX};

/// How an entity stands at this node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Standing {
    /// Simulated here, at this epoch.
    Active(AuthorityEpoch),
    /// Frozen here: the handoff's outcome is not known.
    Frozen {
        /// The handoff that is under way.
        id: HandoffId,
        /// To whom.
        to: Peer,
    },
}

/// What a target may do with a `Transfer`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receipt {
    /// Nothing stands against it.
    Free,
    /// It was accepted before, or a later epoch proves that it must have been: say `Accepted`.
    Already,
    /// It was cancelled or rejected: never.
    Burned,
    /// This node holds the entity itself at a lower epoch: somebody is wrong.
    Conflict,
    /// A recovery made it void. Say nothing: the source is told by the same verdict.
    Void,
}

/// The answer to a `Cancel`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CancelAnswer {
    /// The id is burned: this node will never activate it.
    Cancelled,
    /// Too late: it was accepted.
    Accepted,
    /// A recovery made it void. Say nothing: the source is told by the same verdict.
    Void,
}

/// What a node remembers of an entity that it holds no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remembered {
    /// Which entity.
    pub entity: EntityId,
    /// Its floor here.
    pub floor: AuthorityEpoch,
    /// Whether it was despawned here, by its authority.
    pub ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Record {
    standing: Option<Standing>,
    /// The highest epoch that was ever active here or was accepted from here. Outlives the standing.
    highest: AuthorityEpoch,
    /// The highest epoch that a recovery made void here.
    void: AuthorityEpoch,
    /// Despawned here at `highest`.
    ended: bool,
}

impl Record {
    fn floor(&self) -> AuthorityEpoch {
        self.highest.max(self.void)
    }
}

/// Everything that this node holds or remembers to have held.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct AuthorityTable {
    records: BTreeMap<EntityId, Record>,
    /// Entities that left, the oldest first: what is forgotten when the ledger is full.
    left: VecDeque<EntityId>,
    /// The highest id of each entity that this node, as a target, refused for good, by who asked: an id is one source's, and
    /// what another one says of an entity takes nothing from it.
    burned: BTreeMap<Peer, BTreeMap<EntityId, AuthorityEpoch>>,
    active: usize,
    #[cfg(feature = "planted-bugs")]
    bug: Option<crate::config::PlantedBug>,
}

impl AuthorityTable {
    /// Makes a table that holds nothing: a new life's, and that of a fenced node which rejoins with empty hands.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Builds a known bug in, if it is one of this table's.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, bug: crate::config::PlantedBug) {
        self.bug = Some(bug);
    }

    #[cfg(feature = "planted-bugs")]
    fn has_bug(&self, bug: crate::config::PlantedBug) -> bool {
        self.bug == Some(bug)
    }

    /// How the entity stands here.
    #[must_use]
    pub fn standing(&self, entity: EntityId) -> Option<Standing> {
        self.records.get(&entity).and_then(|record| record.standing)
    }

    /// Whether the entity is simulated here under this very grant: if not, what the game did with it is void.
    #[must_use]
    pub fn holds(&self, entity: EntityId, grant: AuthorityEpoch) -> bool {
        self.standing(entity) == Some(Standing::Active(grant))
    }

    /// The epoch at which the entity is simulated here.
    #[must_use]
    pub fn active_epoch(&self, entity: EntityId) -> Option<AuthorityEpoch> {
        match self.standing(entity) {
            Some(Standing::Active(epoch)) => Some(epoch),
            Some(Standing::Frozen { .. }) | None => None,
        }
    }

    /// The highest epoch that this node knows to have been active.
    #[must_use]
    pub fn highest(&self, entity: EntityId) -> AuthorityEpoch {
        self.records.get(&entity).map(|record| record.highest).unwrap_or_default()
    }

    /// The highest epoch that this node has held, given away or been told to discard below.
    #[must_use]
    pub fn floor(&self, entity: EntityId) -> AuthorityEpoch {
        #[cfg(feature = "planted-bugs")]
        if self.has_bug(crate::config::PlantedBug::IgnoreFloors) {
            return AuthorityEpoch::default();
        }
        self.records.get(&entity).map(Record::floor).unwrap_or_default()
    }

    /// The entities that left or were discarded last, up to [`FLOORS_TOLD_MAX`], in order of id.
    #[must_use]
    pub fn remembered(&self) -> Vec<Remembered> {
        let newest: BTreeSet<EntityId> = self.left.iter().rev().take(FLOORS_TOLD_MAX).copied().collect();
        let remembered = |entity| {
            let record = self.records.get(&entity).filter(|record| record.standing.is_none())?;
            let floor = record.floor();
            let known = floor > AuthorityEpoch::default();
            known.then_some(Remembered { entity, floor, ended: record.ended && floor == record.highest })
        };
        newest.into_iter().filter_map(remembered).collect()
    }

    /// Entities held, active or frozen.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.active
    }

    /// Whether nothing is held.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.active == 0
    }

    /// Everything held, in order of id.
    pub fn held(&self) -> impl Iterator<Item = (EntityId, Standing)> + '_ {
        self.records.iter().filter_map(|(&entity, record)| Some((entity, record.standing?)))
    }

    /// A new entity begins here. False if the id was ever used here.
    pub fn spawn(&mut self, entity: EntityId) -> bool {
        if self.records.contains_key(&entity) {
            return false;
        }
        let record = Record {
            standing: Some(Standing::Active(AuthorityEpoch::FIRST)),
            highest: AuthorityEpoch::FIRST,
            ..Record::default()
        };
        self.records.insert(entity, record);
        self.active += 1;
        true
    }

    /// The entity is no more. Uses up a step, which it returns; none if this grant does not hold it.
    pub fn despawn(&mut self, entity: EntityId, grant: AuthorityEpoch) -> Option<AuthorityEpoch> {
        if !self.holds(entity, grant) {
            return None;
        }
        let record = self.records.get_mut(&entity)?;
        record.standing = None;
        record.highest = grant.next_step();
        record.ended = true;
        let end = record.highest;
        self.leave(entity);
        Some(end)
    }

    /// Source: freezes the entity and uses up the next step. None if this grant does not hold it.
    pub fn freeze(&mut self, entity: EntityId, grant: AuthorityEpoch, to: Peer) -> Option<HandoffId> {
        if !self.holds(entity, grant) {
            return None;
        }
        let record = self.records.get_mut(&entity)?;
        let id = HandoffId { entity, epoch: grant.next_step() };
        record.standing = Some(Standing::Frozen { id, to });
        Some(id)
    }

    /// Source: the target said that it will never activate this id. The source goes on at that very epoch.
    pub fn thaw(&mut self, id: HandoffId, from: Peer) -> bool {
        let Some(record) = self.records.get_mut(&id.entity) else {
            return false;
        };
        if record.standing != Some(Standing::Frozen { id, to: from }) {
            return false;
        }
        record.standing = Some(Standing::Active(id.epoch));
        record.highest = id.epoch;
        true
    }

    /// Source: the target said that it holds the entity.
    pub fn gave_away(&mut self, id: HandoffId, to: Peer) -> bool {
        let Some(record) = self.records.get_mut(&id.entity) else {
            return false;
        };
        if record.standing != Some(Standing::Frozen { id, to }) {
            return false;
        }
        record.standing = None;
        record.highest = id.epoch;
        self.leave(id.entity);
        true
    }

    /// Target: what may be done with a `Transfer` of this id that comes from this source.
    ///
    /// A source that asks about an id is frozen at it, and only the target's own word thaws it. So if any later epoch
    /// was ever active, that id must have been accepted, here.
    #[must_use]
    pub fn receipt(&self, id: HandoffId, from: Peer) -> Receipt {
        #[cfg(feature = "planted-bugs")]
        if self.has_bug(crate::config::PlantedBug::IgnoreEpochs) {
            return Receipt::Free;
        }
        let known = self.records.get(&id.entity);
        if known.is_some_and(|record| id.epoch <= record.highest) {
            return Receipt::Already;
        }
        // Before what was refused: a refusal thaws the source.
        if known.is_some_and(|record| id.epoch <= record.void) {
            return Receipt::Void;
        }
        let burned = self.burned.get(&from).and_then(|burned| burned.get(&id.entity));
        if burned.is_some_and(|&burned| id.epoch <= burned) {
            return Receipt::Burned;
        }
        match known.and_then(|record| record.standing) {
            None => Receipt::Free,
            // A higher id proves that the one this node is frozen at was accepted: its answer is still on the way.
            Some(Standing::Frozen { id: frozen, .. }) if id.epoch > frozen.epoch => Receipt::Free,
            Some(Standing::Frozen { .. } | Standing::Active(_)) => Receipt::Conflict,
        }
    }

    /// Target: takes the entity. Only after [`receipt`](Self::receipt) said `Free`; false otherwise.
    pub fn activate(&mut self, id: HandoffId, from: Peer) -> bool {
        if self.receipt(id, from) != Receipt::Free {
            return false;
        }
        let record = self.records.entry(id.entity).or_default();
        if record.standing.is_none() {
            self.active += 1;
        }
        record.standing = Some(Standing::Active(id.epoch));
        record.highest = record.highest.max(id.epoch);
        record.ended = false;
        true
    }

    /// Target: refuses this source's id for good, unless it was accepted.
    pub fn cancel(&mut self, id: HandoffId, from: Peer) -> CancelAnswer {
        #[cfg(feature = "planted-bugs")]
        if self.has_bug(crate::config::PlantedBug::ForgetCancel) && id.epoch > self.highest(id.entity) {
            return CancelAnswer::Cancelled;
        }
        let known = self.records.get(&id.entity);
        if known.is_some_and(|record| id.epoch <= record.highest) {
            return CancelAnswer::Accepted;
        }
        if known.is_some_and(|record| id.epoch <= record.void) {
            return CancelAnswer::Void;
        }
        let burned = self.burned.entry(from).or_default();
        let highest = burned.entry(id.entity).or_default();
        *highest = id.epoch.max(*highest);
        if burned.len() > BURNED_OF_PEER_MAX {
            burned.pop_first();
        }
        CancelAnswer::Cancelled
    }

    /// This life is refused for ever: what it could ask need not be remembered.
    pub fn forget_burned(&mut self, from: Peer) {
        self.burned.remove(&from);
    }

    /// Recovery: the entity goes on here, at the epoch of a round. Takes the place of what is known here below it;
    /// false, and nothing changes, if anything at that epoch or above is known here.
    pub fn restore(&mut self, entity: EntityId, epoch: AuthorityEpoch) -> bool {
        let record = self.records.get(&entity).copied().unwrap_or_default();
        if record.floor() >= epoch {
            return false;
        }
        if record.standing.is_none() {
            self.active += 1;
        }
        let standing = Some(Standing::Active(epoch));
        self.records.insert(entity, Record { standing, highest: epoch, ended: false, ..record });
        true
    }

    /// Recovery: everything below this epoch is void here. Returns the standing that ends by it: usually a frozen copy
    /// towards a dead node. What stands at that epoch or above stays.
    pub fn discard(&mut self, entity: EntityId, below: AuthorityEpoch) -> Option<Standing> {
        let known = self.records.contains_key(&entity);
        let record = self.records.entry(entity).or_default();
        record.void = record.void.max(below.last_before());
        let ended = record.standing.take_if(|standing| match *standing {
            Standing::Active(epoch) => epoch < below,
            Standing::Frozen { id, .. } => id.epoch < below,
        });
        if ended.is_some() {
            self.leave(entity);
        } else if !known {
            self.leave_only(entity);
        }
        ended
    }

    fn leave(&mut self, entity: EntityId) {
        self.active -= 1;
        self.leave_only(entity);
    }

    fn leave_only(&mut self, entity: EntityId) {
        self.left.push_back(entity);
        while self.left.len() > LEDGER_MAX {
            let Some(oldest) = self.left.pop_front() else {
                return;
            };
            if self.standing(oldest).is_none() {
                self.records.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests;
