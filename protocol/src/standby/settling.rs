//! A target's debts: the source of each handoff keeps what it gave away until it hears that it is safe here, and says when
//! nothing of it is left.
//!
//! Until then an older copy may be with the source, with the source's buddy, or with whom the source had the entity from.
//! If the entity ends here meanwhile, all that keeps such a copy from coming back is this node's word: so each of its cuts
//! carries it, until the debt is paid or the source's life has been recovered.

use std::collections::{BTreeMap, BTreeSet};

use core::ops::Bound;
use core::time::Duration;

use crate::id::{AuthorityEpoch, EntityId, HandoffId, Peer};
use crate::limits::{CUT_ENDED_MAX, SETTLED_PER_MESSAGE_MAX, SETTLING_MAX};
use crate::time::Time;

/// Pause before the first repeat; it doubles up to [`PAUSE_MAX`]. The answer waits for the source's next checkpoint.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(32);

/// Handoffs that this node received and has not settled with their sources.
#[derive(Debug, Default)]
pub struct Settling {
    waiting: BTreeMap<HandoffId, Peer>,
    safe: BTreeMap<HandoffId, Safe>,
    ended: BTreeMap<EntityId, AuthorityEpoch>,
}

#[derive(Debug)]
struct Safe {
    source: Peer,
    due_at: Time,
    pause: Duration,
}

impl Settling {
    /// Nothing was received yet.
    #[must_use]
    pub const fn empty() -> Self {
        Self { waiting: BTreeMap::new(), safe: BTreeMap::new(), ended: BTreeMap::new() }
    }

    /// This node took an entity over.
    pub fn received(&mut self, id: HandoffId, source: Peer) {
        if self.waiting.len() >= SETTLING_MAX {
            self.waiting.pop_first();
        }
        self.waiting.insert(id, source);
    }

    /// What waits to be safe.
    pub fn waiting(&self) -> impl Iterator<Item = HandoffId> + '_ {
        self.waiting.keys().copied()
    }

    /// What was taken over is safe here: the source is to hear it.
    pub fn settle(&mut self, id: HandoffId, now: Time) {
        if let Some(source) = self.waiting.remove(&id) {
            if self.safe.len() >= SETTLING_MAX {
                self.safe.pop_first();
            }
            self.safe.insert(id, Safe { source, due_at: now, pause: PAUSE });
        }
    }

    /// The source has heard it.
    pub fn forgotten(&mut self, id: HandoffId, source: Peer) {
        if self.safe.get(&id).is_some_and(|safe| safe.source == source) {
            self.safe.remove(&id);
        }
    }

    /// Whether a source of the entity, in a handoff before this one, may have older copies.
    #[must_use]
    pub fn owes_below(&self, id: HandoffId) -> bool {
        self.lowest_owed(id.entity).is_some_and(|owed| owed < id)
    }

    fn lowest_owed(&self, entity: EntityId) -> Option<HandoffId> {
        let first = HandoffId { entity, epoch: AuthorityEpoch::default() };
        let waiting = self.waiting.range(first..).next().map(|(&id, _)| id);
        let safe = self.safe.range(first..).next().map(|(&id, _)| id);
        waiting.into_iter().chain(safe).filter(|id| id.entity == entity).min()
    }

    /// An entity ended here, at this epoch.
    pub fn ended(&mut self, entity: EntityId, epoch: AuthorityEpoch) {
        if self.ended.len() < CUT_ENDED_MAX {
            self.ended.insert(entity, epoch);
        }
    }

    /// Everything that ended here and of which others may have older copies: sources of handoffs, and, as long as the
    /// round that it was restored in may be open, who keeps what it was restored from. `open_since` is the first round that
    /// may be.
    pub fn all_ended(&mut self, open_since: Option<u32>) -> Vec<(EntityId, AuthorityEpoch)> {
        let mut ended = core::mem::take(&mut self.ended);
        ended.retain(|&entity, epoch| {
            let recovering = open_since.is_some_and(|first| epoch.generation >= first);
            recovering || self.lowest_owed(entity).is_some()
        });
        self.ended = ended;
        self.ended.iter().map(|(&entity, &epoch)| (entity, epoch)).collect()
    }

    /// Sources whose life `is_over`, and recovered, need not hear anything any more.
    pub fn forget_dead(&mut self, is_over: impl Fn(Peer) -> bool) {
        self.waiting.retain(|_, source| !is_over(*source));
        self.safe.retain(|_, safe| !is_over(safe.source));
    }

    /// What is to be said now, and to whom; at most one message's worth for each source.
    pub fn poll_due(&mut self, now: Time) -> BTreeMap<Peer, Vec<HandoffId>> {
        let mut due: BTreeMap<Peer, Vec<HandoffId>> = BTreeMap::new();
        for (&id, safe) in self.safe.iter_mut().filter(|(_, safe)| safe.due_at <= now) {
            let ids = due.entry(safe.source).or_default();
            if ids.len() < SETTLED_PER_MESSAGE_MAX {
                ids.push(id);
                safe.due_at = now + safe.pause;
                safe.pause = (safe.pause * 2).min(PAUSE_MAX);
            }
        }
        due
    }

    /// When something is to be said.
    #[must_use]
    pub fn due_at(&self) -> Option<Time> {
        self.safe.values().map(|safe| safe.due_at).min()
    }
}

/// What targets have settled and a source has not forgotten in full.
#[derive(Debug, Default)]
pub struct Forgetting {
    asked: BTreeMap<HandoffId, Peer>,
}

impl Forgetting {
    /// Nothing was settled yet.
    #[must_use]
    pub const fn empty() -> Self {
        Self { asked: BTreeMap::new() }
    }

    /// A target has settled these. Past [`SETTLING_MAX`] it will have to ask again.
    pub fn asked(&mut self, target: Peer, ids: Vec<HandoffId>) {
        for id in ids {
            if self.asked.len() < SETTLING_MAX || self.asked.contains_key(&id) {
                self.asked.insert(id, target);
            }
        }
    }

    /// Targets whose life `is_over` need no answer.
    pub fn forget_dead(&mut self, is_over: impl Fn(Peer) -> bool) {
        self.asked.retain(|_, target| !is_over(*target));
    }

    /// Of everything that was settled, what `is_gone`.
    ///
    /// A handoff is not gone before those of the same entity that came before it are: the first one that isn't ends the
    /// search for its entity, however many come after.
    pub fn gone(&self, is_gone: impl Fn(HandoffId) -> bool) -> Vec<HandoffId> {
        let (mut gone, mut from) = (Vec::new(), None);
        while let Some(entity) = self.next_entity(from) {
            gone.extend(self.of_entity(entity).take_while(|&id| is_gone(id)));
            from = Some(entity);
        }
        gone
    }

    /// Of what is about the same entities as these handoffs, what `is_gone`.
    pub fn gone_with(&self, ids: &[HandoffId], is_gone: impl Fn(HandoffId) -> bool) -> Vec<HandoffId> {
        let entities: BTreeSet<EntityId> = ids.iter().map(|id| id.entity).collect();
        entities.into_iter().flat_map(|entity| self.of_entity(entity).take_while(|&id| is_gone(id))).collect()
    }

    fn of_entity(&self, entity: EntityId) -> impl Iterator<Item = HandoffId> + '_ {
        let first = HandoffId { entity, epoch: AuthorityEpoch::default() };
        self.asked.range(first..).map(|(&id, _)| id).take_while(move |id| id.entity == entity)
    }

    fn next_entity(&self, after: Option<EntityId>) -> Option<EntityId> {
        let last = AuthorityEpoch { generation: u32::MAX, step: u32::MAX };
        let from =
            after.map_or(Bound::Unbounded, |entity| Bound::Excluded(HandoffId { entity, epoch: last }));
        self.asked.range((from, Bound::Unbounded)).next().map(|(id, _)| id.entity)
    }

    /// These are forgotten. Returns what is to be said, and to whom, in messages of at most [`SETTLED_PER_MESSAGE_MAX`] ids.
    pub fn forgotten(&mut self, ids: Vec<HandoffId>) -> Vec<(Peer, Vec<HandoffId>)> {
        let mut done: BTreeMap<Peer, Vec<HandoffId>> = BTreeMap::new();
        for id in ids {
            if let Some(target) = self.asked.remove(&id) {
                done.entry(target).or_default().push(id);
            }
        }
        let in_messages = |(target, ids): (Peer, Vec<HandoffId>)| {
            ids.chunks(SETTLED_PER_MESSAGE_MAX).map(|ids| (target, ids.to_vec())).collect::<Vec<_>>()
        };
        done.into_iter().flat_map(in_messages).collect()
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;
    use crate::id::{Incarnation, NodeId};

    const ENTITY: EntityId = EntityId::from_u128(7);
    const SOURCE: Peer = Peer { node: NodeId::from_u128(1), incarnation: Incarnation(1) };

    const fn epoch(generation: u32, step: u32) -> AuthorityEpoch {
        AuthorityEpoch { generation, step }
    }

    const fn id(step: u32) -> HandoffId {
        HandoffId { entity: ENTITY, epoch: epoch(0, step) }
    }

    #[test]
    fn an_end_is_told_until_every_source_has_forgotten_the_entity_or_is_recovered() {
        let now = Time::from_micros(1);
        for dies in [false, true] {
            let mut debts = Settling::empty();
            debts.received(id(2), SOURCE);
            debts.received(id(4), SOURCE);
            debts.ended(ENTITY, epoch(0, 5));
            assert_eq!(debts.all_ended(None), [(ENTITY, epoch(0, 5))]);
            debts.settle(id(4), now);
            debts.forgotten(id(4), SOURCE);
            assert_eq!(debts.all_ended(None).len(), 1, "it came from there before");
            debts.settle(id(2), now);
            assert_eq!(debts.all_ended(None).len(), 1, "the source has said nothing yet");
            if dies {
                debts.forget_dead(|peer| peer == SOURCE)
            } else {
                debts.forgotten(id(2), SOURCE)
            }
            assert_eq!(debts.all_ended(None), []);
        }
    }

    #[test]
    fn the_end_of_what_nobody_else_ever_had_is_not_told() {
        let mut debts = Settling::empty();
        debts.received(HandoffId { entity: EntityId::from_u128(8), ..id(2) }, SOURCE);
        debts.ended(ENTITY, epoch(0, 5));
        assert_eq!(debts.all_ended(None), []);
    }

    #[test]
    fn the_end_of_what_was_restored_is_told_as_long_as_its_round_is_open() {
        let mut debts = Settling::empty();
        debts.ended(ENTITY, epoch(3, 1));
        assert_eq!(debts.all_ended(Some(2)), [(ENTITY, epoch(3, 1))]);
        assert_eq!(debts.all_ended(Some(3)), [(ENTITY, epoch(3, 1))]);
        assert_eq!(debts.all_ended(Some(4)), []);
    }

    #[test]
    fn a_handoff_is_forgotten_only_once_those_before_it_are() {
        let mut debts = Settling::empty();
        debts.received(id(2), SOURCE);
        assert!(debts.owes_below(id(3)));
        assert!(!debts.owes_below(id(2)));
        let next = HandoffId { entity: EntityId::from_u128(6), ..id(9) };
        assert!(!debts.owes_below(next), "another entity's");
    }

    #[test]
    fn what_is_forgotten_is_said_once_and_the_dead_hear_nothing() {
        let other = Peer { node: NodeId::from_u128(2), ..SOURCE };
        let mut forgetting = Forgetting::empty();
        forgetting.asked(SOURCE, vec![id(2), id(4)]);
        forgetting.asked(other, vec![id(6)]);
        let another = HandoffId { entity: EntityId::from_u128(8), ..id(3) };
        forgetting.asked(other, vec![another]);
        assert_eq!(forgetting.gone_with(&[id(9)], |_| true), [id(2), id(4), id(6)]);
        assert_eq!(forgetting.gone(|_| true), [id(2), id(4), id(6), another]);
        let said = forgetting.forgotten(vec![id(2), id(3), id(6)]);
        assert_eq!(said, [(SOURCE, vec![id(2)]), (other, vec![id(6)])]);
        forgetting.forget_dead(|peer| peer == SOURCE);
        assert_eq!(forgetting.gone(|_| true), [another]);
    }

    #[test]
    fn nobody_looks_past_the_first_handoff_of_an_entity_that_is_not_gone() {
        let mut forgetting = Forgetting::empty();
        let another = HandoffId { entity: EntityId::from_u128(8), ..id(3) };
        forgetting.asked(SOURCE, (1..1000).map(id).chain([another]).collect());
        let looks = Cell::new(0);
        let is_gone = |gone: HandoffId| {
            looks.set(looks.get() + 1);
            gone == another || gone < id(3)
        };
        assert_eq!(forgetting.gone_with(&[id(500)], is_gone), [id(1), id(2)]);
        assert_eq!(looks.take(), 3);
        assert_eq!(forgetting.gone(is_gone), [id(1), id(2), another]);
        assert_eq!(looks.take(), 4);
    }

    #[test]
    fn many_answers_go_in_messages_of_their_own() {
        let ids: Vec<HandoffId> = (1..).map(id).take(2 * SETTLED_PER_MESSAGE_MAX + 1).collect();
        let mut forgetting = Forgetting::empty();
        forgetting.asked(SOURCE, ids.clone());
        let lengths: Vec<usize> = forgetting.forgotten(ids).iter().map(|(_, ids)| ids.len()).collect();
        assert_eq!(lengths, [SETTLED_PER_MESSAGE_MAX, SETTLED_PER_MESSAGE_MAX, 1]);
    }
}
