//! A node's own lease, counted on its own clock.

use std::collections::BTreeMap;

use core::time::Duration;

use super::majority;
use crate::id::Peer;
use crate::time::Time;
use crate::wire::Assignment;

/// What a node knows of its own lease. It runs from when the node *sent* the newest renewal that a majority answered.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LeaseHolder {
    lease: Duration,
    assignment: Assignment,
    /// The next set of voters: counts once a majority of it has answered.
    next: Option<Assignment>,
    /// When the newest renewal was sent that the coordinator has answered.
    coordinator: Time,
    /// The same of each other voter that has answered one.
    answered: BTreeMap<Peer, Time>,
    /// When the lease runs out: asked at every input, so it is not counted anew each time.
    expires_at: Time,
}

impl LeaseHolder {
    /// A lease just granted by a registration that was first asked for at `asked_at`, witnessed by the coordinator alone.
    #[must_use]
    pub fn granted(lease: Duration, asked_at: Time) -> Self {
        Self {
            lease,
            assignment: Assignment::default(),
            next: None,
            coordinator: asked_at,
            answered: BTreeMap::new(),
            expires_at: asked_at + lease,
        }
    }

    /// Hears of a newer set of voters. It counts once a majority of it has answered, unless a newer one is heard of before.
    pub fn assign(&mut self, assignment: Assignment, now: Time) {
        if assignment.version > self.heard() {
            self.next = Some(assignment);
            self.count(now);
        }
    }

    /// The set that counts: who witnesses this lease besides the coordinator, and who keeps the copies.
    #[must_use]
    pub const fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// The newest version that was heard of: by none between the set that counts and this one will this node ever go.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.next.as_ref().map_or(self.assignment.version, |next| next.version)
    }

    /// Everybody who is to be asked for a renewal.
    pub fn voters(&self) -> impl Iterator<Item = Peer> + '_ {
        let next = self.next.iter().flat_map(|next| &next.voters);
        let new = next.filter(|voter| !self.assignment.voters.contains(voter));
        self.assignment.voters.iter().chain(new).copied()
    }

    /// The coordinator has answered a renewal that was sent then.
    pub fn answered_by_coordinator(&mut self, sent_at: Time, now: Time) {
        self.coordinator = self.coordinator.max(sent_at);
        self.count(now);
    }

    /// Another voter has.
    pub fn answered_by(&mut self, voter: Peer, sent_at: Time, now: Time) {
        if self.voters().any(|known| known == voter) {
            let newest = self.answered.entry(voter).or_insert(sent_at);
            *newest = sent_at.max(*newest);
            self.count(now);
        }
    }

    fn count(&mut self, now: Time) {
        self.adopt(now);
        self.expires_at = self.runs_from(&self.assignment).unwrap_or(Time::ZERO) + self.lease;
    }

    /// Goes over to the next set as soon as the lease is as good under it, or has most of its time to run from now.
    fn adopt(&mut self, now: Time) {
        let Some(next) = &self.next else {
            return;
        };
        let current = self.runs_from(&self.assignment).unwrap_or(Time::ZERO);
        let fresh = |from: Time| from >= current || from + self.lease / 2 >= now;
        let good = self.runs_from(next).is_some_and(fresh);
        if good && let Some(next) = self.next.take() {
            self.answered.retain(|voter, _| next.voters.contains(voter));
            self.assignment = next;
        }
    }

    /// When the newest renewal was sent that a majority of these voters answered.
    fn runs_from(&self, assignment: &Assignment) -> Option<Time> {
        let mut answers: Vec<Time> = core::iter::once(self.coordinator)
            .chain(assignment.voters.iter().filter_map(|voter| self.answered.get(voter).copied()))
            .collect();
        answers.sort_unstable_by(|a, b| b.cmp(a));
        // The node itself is one of the majority.
        answers.get(majority(assignment.voters.len()) - 2).copied()
    }

    /// When the lease runs out, if nobody answers any more.
    #[must_use]
    pub const fn expires_at(&self) -> Time {
        self.expires_at
    }

    /// Whether the node may simulate.
    #[must_use]
    pub fn is_valid(&self, now: Time) -> bool {
        now < self.expires_at
    }
}
