//! What the coordinator is told about authority, off the path of any handoff: batched, repeated until acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use core::time::Duration;

use super::{Node, TimerKey};
use crate::authority::Standing;
use crate::grid::CellId;
use crate::id::{AuthorityEpoch, EntityId, HandoffId, Peer, SessionId, Term};
use crate::limits::{AUTHORITY_CHANGES_MAX, AUTHORITY_CHANGES_PER_MESSAGE};
use crate::time::{Tick, Time};
use crate::wire::{AuthorityChange, AuthorityEvent, HandoffPhases, Message};

const BATCH: Duration = Duration::from_millis(100);
const REPEAT: Duration = Duration::from_secs(1);

/// Changes that the coordinator has not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Directory {
    changes: BTreeMap<(EntityId, AuthorityEpoch), Pending>,
    /// Changes never sent yet.
    unsent: usize,
    /// What the coordinator of the newest term has not acknowledged yet of all that was held when it began.
    unreported: BTreeSet<(EntityId, AuthorityEpoch)>,
    /// The newest term whose coordinator knows all that was held when it began.
    reported: Term,
}

#[derive(Debug)]
struct Pending {
    change: AuthorityChange,
    sent_at: Option<Time>,
}

impl Directory {
    fn insert(&mut self, key: (EntityId, AuthorityEpoch), pending: Pending) {
        if self.changes.len() >= AUTHORITY_CHANGES_MAX {
            // A long absence of the coordinator: what an entity did before its newest change is history.
            let first = (key.0, AuthorityEpoch::default());
            let older = self.changes.range(first..).next().map(|(&older, _)| older);
            let dropped = older.filter(|older| older.0 == key.0 && *older != key);
            match dropped.or_else(|| self.changes.keys().next().copied()) {
                Some(dropped) => self.settle(dropped),
                None => return,
            }
        }
        self.remove(key);
        self.unsent += usize::from(pending.sent_at.is_none());
        self.changes.insert(key, pending);
    }

    /// The change need not be told any more.
    fn settle(&mut self, key: (EntityId, AuthorityEpoch)) {
        self.remove(key);
        self.unreported.remove(&key);
    }

    fn remove(&mut self, key: (EntityId, AuthorityEpoch)) -> Option<Pending> {
        let removed = self.changes.remove(&key)?;
        self.unsent -= usize::from(removed.sent_at.is_none());
        Some(removed)
    }
}

impl Node {
    /// The newest term whose coordinator knows everything that this node holds.
    pub(super) const fn reported(&self) -> Term {
        self.directory.reported
    }

    /// A coordinator has started, or taken over: it must learn what this node holds, and whatever its predecessor may
    /// have acknowledged without that it arrived. What this node once had and has no more is no news any longer: what
    /// came of it may have been acknowledged by the predecessor, and would never be told.
    pub(super) fn on_new_term(&mut self, now: Time) {
        let authority = &self.authority;
        self.directory.changes.retain(|&(entity, epoch), pending| {
            !begins(pending.change.event)
                || authority.standing(entity).is_some() && epoch == authority.highest(entity)
        });
        for pending in self.directory.changes.values_mut() {
            pending.sent_at = None;
        }
        self.directory.unsent = self.directory.changes.len();
        self.directory.unreported.clear();
        let held: Vec<_> = self.authority.held().collect();
        for (entity, standing) in held {
            let epoch = match standing {
                Standing::Active(epoch) => epoch,
                Standing::Frozen { .. } => self.authority.highest(entity),
            };
            let key = (entity, epoch);
            if !self.directory.changes.contains_key(&key)
                && let Some(held) = self.held.get(&entity)
            {
                let (session, tick) = (held.session, held.last_tick);
                self.record(entity, session, epoch, tick, AuthorityEvent::Held);
            }
            self.directory.unreported.insert(key);
        }
        self.note_report(now);
        self.flush_directory(now);
    }

    /// Says so once nothing that the newest coordinator must know is left.
    fn note_report(&mut self, now: Time) {
        if self.directory.unreported.is_empty() && self.directory.reported != self.term() {
            self.directory.reported = self.term();
            if self.me().is_some() {
                self.on_membership_due(now);
            }
        }
    }

    pub(super) fn record_spawn(&mut self, entity: EntityId, tick: Tick, now: Time) {
        let session = self.held.get(&entity).and_then(|held| held.session);
        self.record(entity, session, AuthorityEpoch::FIRST, tick, AuthorityEvent::Spawned);
        self.timers.set_earlier(TimerKey::Directory, now + BATCH);
    }

    pub(super) fn record_receipt(&mut self, id: HandoffId, last_tick: Tick, tick: Tick, now: Time) {
        let session = self.held.get(&id.entity).and_then(|held| held.session);
        self.record(id.entity, session, id.epoch, tick, AuthorityEvent::Received { last_tick });
        self.timers.set_earlier(TimerKey::Directory, now + BATCH);
    }

    pub(super) fn record_gift(
        &mut self,
        id: HandoffId,
        to: Peer,
        phases: HandoffPhases,
        session: Option<SessionId>,
        tick: Tick,
        now: Time,
    ) {
        self.record(id.entity, session, id.epoch, tick, AuthorityEvent::GaveAway { to, phases });
        self.timers.set_earlier(TimerKey::Directory, now + BATCH);
    }

    pub(super) fn record_thaw(&mut self, id: HandoffId, tick: Tick, now: Time) {
        let session = self.held.get(&id.entity).and_then(|held| held.session);
        self.record(id.entity, session, id.epoch, tick.next(), AuthorityEvent::Thawed);
        self.timers.set_earlier(TimerKey::Directory, now + BATCH);
    }

    pub(super) fn record_recovery(&mut self, entity: EntityId, epoch: AuthorityEpoch, now: Time) {
        let held = self.held.get(&entity);
        let (session, tick) =
            held.map_or((None, Tick::default()), |held| (held.session, held.last_tick.next()));
        self.record(entity, session, epoch, tick, AuthorityEvent::Recovered);
        self.timers.set_earlier(TimerKey::Directory, now + BATCH);
    }

    pub(super) fn record_despawn(
        &mut self,
        entity: EntityId,
        session: Option<SessionId>,
        end: AuthorityEpoch,
        tick: Tick,
        now: Time,
    ) {
        self.record(entity, session, end, tick, AuthorityEvent::Despawned);
        self.timers.set_earlier(TimerKey::Directory, now + BATCH);
    }

    fn record(
        &mut self,
        entity: EntityId,
        session: Option<SessionId>,
        epoch: AuthorityEpoch,
        tick: Tick,
        event: AuthorityEvent,
    ) {
        let cell = self.cell_of(entity);
        let change = AuthorityChange { entity, session, epoch, cell, tick, event };
        self.directory.insert((entity, epoch), Pending { change, sent_at: None });
    }

    fn cell_of(&self, entity: EntityId) -> Option<CellId> {
        let held = self.held.get(&entity)?;
        self.grid()?.cell_at(held.motion.position).ok()
    }

    /// Sends what is new, and again what was not acknowledged in time.
    pub(super) fn flush_directory(&mut self, now: Time) {
        if self.directory.changes.is_empty() {
            return;
        }
        let (Some(me), true) = (self.me(), self.membership.coordinator_linked) else {
            self.timers.set(TimerKey::Directory, now + REPEAT);
            return;
        };
        let due = |pending: &Pending| pending.sent_at.is_none_or(|sent_at| sent_at + REPEAT <= now);
        if self.directory.unsent == 0 && !self.directory.changes.values().any(due) {
            self.timers.set_earlier(TimerKey::Directory, now + REPEAT);
            return;
        }
        let mut changes = Vec::new();
        for pending in self.directory.changes.values_mut().filter(|pending| due(pending)) {
            if changes.len() == AUTHORITY_CHANGES_PER_MESSAGE {
                break;
            }
            if pending.sent_at.replace(now).is_none() {
                self.directory.unsent -= 1;
            }
            changes.push(pending.change);
        }
        let (term, incarnation) = (self.term(), me.incarnation);
        self.tell_coordinator(Message::AuthorityChanged { term, incarnation, changes });
        let pause = if self.directory.unsent > 0 { Duration::ZERO } else { REPEAT };
        self.timers.set(TimerKey::Directory, now + pause);
    }

    pub(super) fn on_authority_ack(&mut self, acknowledged: &[(EntityId, AuthorityEpoch)], now: Time) {
        for &(entity, epoch) in acknowledged {
            self.directory.settle((entity, epoch));
            let tombstone = self.tombstones.get_mut(&entity).filter(|tombstone| tombstone.id.epoch == epoch);
            if let Some(tombstone) = tombstone {
                tombstone.acknowledged = true;
                if tombstone.forward_until <= now {
                    self.on_tombstone_due(entity, now);
                }
            }
        }
        self.note_report(now);
    }
}

/// Whether a change says that the node has the entity now.
const fn begins(event: AuthorityEvent) -> bool {
    match event {
        AuthorityEvent::Spawned
        | AuthorityEvent::Received { .. }
        | AuthorityEvent::Thawed
        | AuthorityEvent::Recovered
        | AuthorityEvent::Held => true,
        AuthorityEvent::GaveAway { .. } | AuthorityEvent::Despawned => false,
    }
}
