//! Who holds what, as the nodes report it; and whether their reports add up to one authority at a time (A1).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::history::History;
use super::{Coordinator, CoordinatorEvent, Ended, Episode, Listed};
use crate::id::{AuthorityEpoch, EntityId, NodeId, Peer, SessionId, Term};
use crate::time::{Time, micros};
use crate::wire::{ActionMessage, AuthorityChange, AuthorityEvent, Message};

/// Activations remembered of each entity, to see an epoch that is claimed twice.
const HISTORY: usize = 8;
/// Entities remembered after they were despawned; the oldest are forgotten first.
const GONE_MAX: usize = 65_536;

#[derive(Debug)]
struct Listing {
    holder: Peer,
    epoch: AuthorityEpoch,
    /// When this coordinator first heard of that.
    told_at: Time,
    session: Option<SessionId>,
    /// Who was active at which epoch, the newest last.
    history: VecDeque<(AuthorityEpoch, NodeId)>,
}

/// Who holds what.
#[derive(Debug, Default)]
pub(super) struct Directory {
    listings: BTreeMap<EntityId, Listing>,
    /// Who despawned what, at which epoch.
    gone: BTreeMap<EntityId, (AuthorityEpoch, NodeId)>,
    gone_order: VecDeque<EntityId>,
    changes: u64,
    violations: u64,
    /// Lives that a former coordinator knew and that have not said yet what they hold.
    unheard: BTreeSet<Peer>,
    lately: History,
}

impl Directory {
    pub(super) fn len(&self) -> usize {
        self.listings.len()
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn violations(&self) -> u64 {
        self.violations
    }

    /// Who holds the entity, and since which epoch.
    pub(super) fn listing(&self, entity: EntityId) -> Option<(Peer, AuthorityEpoch)> {
        self.listings.get(&entity).map(|listing| (listing.holder, listing.epoch))
    }

    /// The same for those who look in from outside.
    pub(super) fn listed(&self, entity: EntityId, now: Time) -> Option<Listed> {
        let &Listing { holder, epoch, told_at, .. } = self.listings.get(&entity)?;
        Some(Listed { holder, epoch, told_ago_us: micros(now.since(told_at)) })
    }

    /// Who despawned the entity, and when.
    pub(super) fn ended(&self, entity: EntityId) -> Option<Ended> {
        self.gone.get(&entity).map(|&(epoch, by)| Ended { by, epoch })
    }

    /// The player's session of an entity that is held.
    pub(super) fn session(&self, entity: EntityId) -> Option<SessionId> {
        self.listings.get(&entity).and_then(|listing| listing.session)
    }

    /// What became of an entity lately, the newest first.
    pub(super) fn history(&self, entity: EntityId) -> Vec<Episode> {
        self.lately.of(entity)
    }

    /// These lives may hold what is not in here.
    pub(super) fn expect(&mut self, lives: impl Iterator<Item = Peer>) {
        self.unheard = lives.collect();
    }

    /// All that this life held when this coordinator began is in here, or lost.
    pub(super) fn on_heard_out(&mut self, life: Peer) {
        self.unheard.remove(&life);
    }

    /// Whether everything is in here that is held anywhere.
    pub(super) fn is_whole(&self) -> bool {
        self.unheard.is_empty()
    }

    pub(super) fn holder(&self, entity: EntityId) -> Option<Peer> {
        self.listings.get(&entity).map(|listing| listing.holder)
    }

    /// Who holds the entity, or held it to its end.
    pub(super) fn last_holder(&self, entity: EntityId) -> Option<NodeId> {
        let gone = || self.gone.get(&entity).map(|&(_, node)| node);
        self.holder(entity).map(|holder| holder.node).or_else(gone)
    }

    /// Whether something became of the entity after it ended at this epoch: then a recovery undid that end.
    pub(super) fn is_past(&self, entity: EntityId, end: AuthorityEpoch) -> bool {
        let listed = self.listings.get(&entity).map(|listing| listing.epoch);
        let gone = self.gone.get(&entity).map(|&(gone, _)| gone);
        listed.max(gone).is_some_and(|newest| newest > end)
    }

    /// Whether the entity was despawned, by its last authority's word.
    pub(super) fn is_gone(&self, entity: EntityId) -> bool {
        self.gone.contains_key(&entity)
    }

    fn knows(&self, entity: EntityId, epoch: AuthorityEpoch) -> bool {
        self.gone.contains_key(&entity)
            || self.listings.get(&entity).is_some_and(|listing| listing.epoch >= epoch)
    }

    /// Takes an activation; says what is wrong with it.
    fn activate(
        &mut self,
        entity: EntityId,
        epoch: AuthorityEpoch,
        holder: Peer,
        session: Option<SessionId>,
        now: Time,
    ) -> Option<String> {
        if self.gone.get(&entity).is_some_and(|&(end, _)| epoch <= end) {
            return None;
        }
        let listing = self.listings.entry(entity).or_insert_with(|| Listing {
            holder,
            epoch,
            told_at: now,
            session,
            history: VecDeque::with_capacity(HISTORY),
        });
        let claimed = listing.history.iter().find(|(known, _)| *known == epoch);
        if let Some(&(_, other)) = claimed {
            let twice = other != holder.node;
            return twice
                .then(|| format!("nodes {other} and {} both were active at epoch {epoch}", holder.node));
        }
        if listing.history.len() == HISTORY {
            listing.history.pop_front();
        }
        listing.history.push_back((epoch, holder.node));
        listing.session = listing.session.or(session);
        if epoch >= listing.epoch {
            (listing.epoch, listing.holder, listing.told_at) = (epoch, holder, now);
        }
        None
    }

    /// Removes everything that a life held which is over.
    fn forget_life(&mut self, ended: Peer) -> Vec<EntityId> {
        self.unheard.remove(&ended);
        let lost: Vec<EntityId> = self
            .listings
            .iter()
            .filter(|(_, listing)| listing.holder == ended)
            .map(|(&entity, _)| entity)
            .collect();
        for entity in &lost {
            self.listings.remove(entity);
        }
        lost
    }

    /// A recovery round gave the entity to this life.
    pub(super) fn recover(&mut self, entity: EntityId, epoch: AuthorityEpoch, holder: Peer, now: Time) {
        let former = self.holder(entity).map(|holder| holder.node);
        self.lately.note_recovery(entity, epoch, former, holder.node);
        drop(self.activate(entity, epoch, holder, None, now));
    }

    fn remove(&mut self, entity: EntityId, end: AuthorityEpoch, by: NodeId) {
        if self.listings.get(&entity).is_some_and(|listing| listing.epoch > end) {
            return;
        }
        self.listings.remove(&entity);
        if self.gone.insert(entity, (end, by)).is_none() {
            self.gone_order.push_back(entity);
        }
        while self.gone_order.len() > GONE_MAX {
            if let Some(oldest) = self.gone_order.pop_front() {
                self.gone.remove(&oldest);
            }
        }
    }
}

impl Coordinator {
    /// A life is over and what it held is recovered. What the reports still say of it is lost, and its players' sessions
    /// are over.
    pub(super) fn forget_life(&mut self, ended: Peer) {
        let lost = self.directory.forget_life(ended);
        self.end_sessions_of(&lost);
    }

    pub(super) fn on_authority_changed(
        &mut self,
        by: Peer,
        term: Term,
        changes: &[AuthorityChange],
        now: Time,
    ) {
        if term != self.term {
            // Another coordinator has taken over: to acknowledge is its business alone. Or the node takes this one for its
            // predecessor: then it says again what is still true once it knows better.
            return;
        }
        if self.peer(by.node) != Some(by) {
            // Late word of a former life. What that one held went on elsewhere or is lost, by the round that settles it. If it
            // were listed as the present one's, nothing would ever take it off the list, and it would be looked for for ever.
            return;
        }
        // While a round is open nothing is acknowledged: a tombstone could vanish between two nodes' answers.
        let withheld = self.rounds.is_open();
        let mut acknowledged = Vec::with_capacity(changes.len());
        for change in changes {
            self.directory.changes += 1;
            if self.take_change(by, change, now) && !withheld {
                acknowledged.push((change.entity, change.epoch));
            }
        }
        let term = self.term;
        self.send(by.node, Message::AuthorityAck { term, acknowledged });
    }

    /// Whether the directory holds all that is held, but for what happened just now. A life that is not heard, or not
    /// settled, may hold what no report has told yet.
    pub(super) fn all_told(&self) -> bool {
        self.directory.is_whole() && self.lives.keys().all(|&life| self.warden.is_alive(life))
    }

    /// A node has lost sight of an entity that one of its own acts on, or that acts on one of its own.
    pub(super) fn on_locate(&mut self, from: NodeId, entity: EntityId) {
        let at = self.directory.holder(entity);
        // What nobody has told yet may be held all the same, and so may what a round is about.
        let all_told = self.all_told() && !self.rounds.is_open();
        let gone = at.is_none() && (all_told || self.directory.is_gone(entity));
        let term = self.term;
        self.send(from, Message::Action(ActionMessage::Located { term, entity, at, gone }));
    }

    /// Whether an entity that was given to this life ended with it: the life is over, recovered, and nobody holds it.
    fn is_lost_with(&self, entity: EntityId, life: Peer) -> bool {
        self.all_told() && !self.lives.contains_key(&life) && self.directory.holder(entity).is_none()
    }

    /// What a round found no copy of is gone for good.
    pub(super) fn on_lost(&mut self, lost: &[EntityId], epoch: AuthorityEpoch, with: NodeId) {
        for &entity in lost {
            self.directory.remove(entity, epoch, with);
        }
        self.end_sessions_of(lost);
    }

    /// Takes one change; says whether it needs no repeat.
    fn take_change(&mut self, from: Peer, change: &AuthorityChange, now: Time) -> bool {
        self.directory.lately.note(from.node, change);
        let &AuthorityChange { entity, session, epoch, cell: _, tick, event } = change;
        if let Some(session) = session {
            self.on_entity_lives(session, entity);
        }
        let fault = match event {
            AuthorityEvent::Spawned
            | AuthorityEvent::Thawed
            | AuthorityEvent::Recovered
            | AuthorityEvent::Held => self.directory.activate(entity, epoch, from, session, now),
            AuthorityEvent::Received { last_tick } => {
                let twice = self.directory.activate(entity, epoch, from, session, now);
                let overlap = (tick <= last_tick).then(|| {
                    let (node, tick, last) = (from.node, tick.0, last_tick.0);
                    format!(
                        "node {node} simulated tick {tick}, which its source had simulated too (up to {last})"
                    )
                });
                twice.or(overlap)
            }
            // The giver's report alone proves nothing: it may forget once the receiver's is here.
            AuthorityEvent::GaveAway { to, phases: _ } => {
                return self.directory.knows(entity, epoch) || self.is_lost_with(entity, to);
            }
            AuthorityEvent::Despawned => {
                self.directory.remove(entity, epoch, from.node);
                if let Some(session) = session {
                    self.on_entity_gone(session, entity, from.node, now);
                }
                None
            }
        };
        if let Some(what) = fault {
            self.directory.violations += 1;
            self.event(CoordinatorEvent::AuthorityViolation { entity, what });
        }
        true
    }
}
