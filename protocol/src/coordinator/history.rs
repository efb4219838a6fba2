//! What became of each entity's authority lately, for those who look in from outside. Nothing is decided by it, and a
//! coordinator that starts knows none of what was before.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::grid::CellId;
use crate::id::{AuthorityEpoch, EntityId, NodeId};
use crate::limits::{EPISODES_MAX, EPISODES_OF_ENTITY_MAX};
use crate::time::Tick;
use crate::wire::{AuthorityChange, AuthorityEvent, HandoffPhases};

/// What became of an entity's authority at one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// At which epoch.
    pub epoch: AuthorityEpoch,
    /// What.
    pub kind: EpisodeKind,
    /// Who had it before; none if nobody, or if that node has not told yet.
    pub from: Option<NodeId>,
    /// Who has it since; none if nobody, or if that node has not told yet.
    pub to: Option<NodeId>,
    /// The cell that it was in, as the last of them told.
    pub cell: Option<CellId>,
    /// The last tick that `from` simulated.
    pub last_tick: Option<Tick>,
    /// The first tick that `to` simulated.
    pub first_tick: Option<Tick>,
    /// Of a handoff: how long each phase took, once its source has told.
    pub phases: Option<HandoffPhases>,
}

/// What can become of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EpisodeKind {
    /// It began.
    Spawned,
    /// It went from one node to another.
    Handoff,
    /// A handoff was aborted: its node goes on.
    Aborted,
    /// Its node died, another goes on from a copy.
    Recovered,
    /// It ended.
    Despawned,
}

impl Episode {
    const fn blank(epoch: AuthorityEpoch, kind: EpisodeKind) -> Self {
        Self {
            epoch,
            kind,
            from: None,
            to: None,
            cell: None,
            last_tick: None,
            first_tick: None,
            phases: None,
        }
    }

    fn of(by: NodeId, change: &AuthorityChange) -> Option<Self> {
        let &AuthorityChange { epoch, cell, tick, event, .. } = change;
        let blank = Self { cell, ..Self::blank(epoch, EpisodeKind::Handoff) };
        let begins = |kind| Self { kind, to: Some(by), first_tick: Some(tick), ..blank.clone() };
        Some(match event {
            AuthorityEvent::Spawned => begins(EpisodeKind::Spawned),
            AuthorityEvent::Recovered => begins(EpisodeKind::Recovered),
            AuthorityEvent::Thawed => Self { from: Some(by), ..begins(EpisodeKind::Aborted) },
            AuthorityEvent::Received { last_tick } => {
                Self { last_tick: Some(last_tick), ..begins(EpisodeKind::Handoff) }
            }
            AuthorityEvent::GaveAway { to, phases } => Self {
                from: Some(by),
                to: Some(to.node),
                last_tick: Some(tick),
                phases: Some(phases),
                ..blank
            },
            AuthorityEvent::Despawned => {
                Self { kind: EpisodeKind::Despawned, from: Some(by), last_tick: Some(tick), ..blank }
            }
            AuthorityEvent::Held => return None,
        })
    }

    /// Ticks in which nobody simulated it.
    #[must_use]
    pub fn missed_ticks(&self) -> Option<u64> {
        Some(self.first_tick?.0.saturating_sub(self.last_tick?.0.saturating_add(1)))
    }

    /// When it happened: the last tick before, or the first one after.
    #[must_use]
    pub fn tick(&self) -> Option<Tick> {
        self.last_tick.or(self.first_tick)
    }

    /// Source and target tell of the same handoff.
    fn complete(&mut self, other: Self) {
        self.from = self.from.or(other.from);
        self.to = self.to.or(other.to);
        self.cell = self.cell.or(other.cell);
        self.last_tick = self.last_tick.or(other.last_tick);
        self.first_tick = self.first_tick.or(other.first_tick);
        self.phases = self.phases.or(other.phases);
    }
}

/// The newest episodes of all entities: so many of each, so many together.
#[derive(Debug, Default)]
pub(super) struct History {
    /// In order of epoch. Invariant: none is empty.
    episodes: BTreeMap<EntityId, VecDeque<Episode>>,
    /// What came in when, the oldest first; some of it may be forgotten already.
    order: VecDeque<(EntityId, AuthorityEpoch)>,
}

impl History {
    /// A node told of a change; perhaps not for the first time.
    pub(super) fn note(&mut self, by: NodeId, change: &AuthorityChange) {
        if let Some(episode) = Episode::of(by, change) {
            self.insert(change.entity, episode);
        }
    }

    /// A round gave to one node what another held.
    pub(super) fn note_recovery(
        &mut self,
        entity: EntityId,
        epoch: AuthorityEpoch,
        from: Option<NodeId>,
        to: NodeId,
    ) {
        self.insert(entity, Episode { from, to: Some(to), ..Episode::blank(epoch, EpisodeKind::Recovered) });
    }

    fn insert(&mut self, entity: EntityId, episode: Episode) {
        let known = self.episodes.entry(entity).or_default();
        match known.binary_search_by_key(&episode.epoch, |known| known.epoch) {
            Ok(index) => {
                if let Some(known) = known.get_mut(index) {
                    known.complete(episode);
                }
                return;
            }
            Err(index) => {
                self.order.push_back((entity, episode.epoch));
                known.insert(index, episode);
            }
        }
        if known.len() > EPISODES_OF_ENTITY_MAX {
            known.pop_front();
        }
        while self.order.len() > EPISODES_MAX {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((entity, epoch)) = self.order.pop_front() else {
            return;
        };
        if let Some(known) = self.episodes.get_mut(&entity) {
            known.retain(|episode| episode.epoch != epoch);
            if known.is_empty() {
                self.episodes.remove(&entity);
            }
        }
    }

    /// What is remembered of one entity, the newest first.
    pub(super) fn of(&self, entity: EntityId) -> Vec<Episode> {
        self.episodes.get(&entity).map(|known| known.iter().rev().cloned().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Incarnation, Peer};

    const PHASES: HandoffPhases =
        HandoffPhases { warm: true, answer_us: 1, prepare_us: 2, precopy_us: Some(3), cutover_us: 4 };

    fn change(entity: u128, step: u32, tick: u64, event: AuthorityEvent) -> AuthorityChange {
        let epoch = AuthorityEpoch { generation: 0, step };
        let entity = EntityId::from_u128(entity);
        AuthorityChange { entity, session: None, epoch, cell: None, tick: Tick(tick), event }
    }

    fn peer(node: u128) -> Peer {
        Peer { node: NodeId::from_u128(node), incarnation: Incarnation(1) }
    }

    #[test]
    fn source_and_target_tell_of_one_handoff_in_either_order() {
        let given = change(1, 2, 10, AuthorityEvent::GaveAway { to: peer(8), phases: PHASES });
        let received = change(1, 2, 13, AuthorityEvent::Received { last_tick: Tick(10) });
        let mut told = Vec::new();
        for turn in 0..2 {
            let mut history = History::default();
            let mut both = [(peer(7).node, given), (peer(8).node, received)];
            both.rotate_left(turn);
            for (by, change) in both.iter().chain(&both) {
                history.note(*by, change);
            }
            told.push(history.of(given.entity));
        }
        assert_eq!(told[0], told[1]);
        let [handoff] = told[0].as_slice() else { panic!("{told:?}") };
        assert_eq!((handoff.from, handoff.to), (Some(peer(7).node), Some(peer(8).node)));
        assert_eq!((handoff.missed_ticks(), handoff.phases), (Some(2), Some(PHASES)));
    }

    #[test]
    fn the_newest_are_kept_of_each_and_of_all() {
        let mut history = History::default();
        let by = peer(7).node;
        let steps = u32::try_from(EPISODES_OF_ENTITY_MAX).unwrap() + 3;
        for step in 1..=steps {
            history.note(by, &change(1, step, 1, AuthorityEvent::Thawed));
        }
        let kept: Vec<u32> =
            history.of(EntityId::from_u128(1)).iter().map(|episode| episode.epoch.step).collect();
        assert_eq!(kept, (4..=steps).rev().collect::<Vec<_>>());
        for entity in 0..2 * EPISODES_MAX as u128 {
            history.note(by, &change(100 + entity, 1, 1, AuthorityEvent::Spawned));
        }
        assert!(history.order.len() <= EPISODES_MAX && history.episodes.len() <= EPISODES_MAX);
        assert!(history.of(EntityId::from_u128(1)).is_empty());
        assert_eq!(history.of(EntityId::from_u128(99 + 2 * EPISODES_MAX as u128)).len(), 1);
    }
}
