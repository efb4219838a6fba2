//! Who lets a life go: suspicion, promises, and the voters that can answer nobody any more.

use core::time::Duration;

use super::{State, Warden, WardenSettings, Watched, earlier};
#[cfg(feature = "planted-bugs")]
use crate::config::PlantedBug;
use crate::id::Peer;
#[cfg(feature = "planted-bugs")]
use crate::lease::sets::lets_go;
use crate::lease::sets::{Promises, Voter};
use crate::time::Time;

impl Warden {
    /// Begins to collect promises, the coordinator's own first.
    pub fn suspect(&mut self, peer: Peer, now: Time) {
        let Some(watched) = self.watched.get_mut(&peer) else {
            return;
        };
        if !matches!(watched.state, State::Alive) {
            return;
        }
        watched.state = State::Suspected { promises: Promises::new(), ask_at: now, over_at: None };
        let ago = self.witness.answered_ago(peer, now);
        self.vote(peer, Voter::Coordinator, ago.map_or(Time::ZERO, |ago| earlier(now, ago)));
    }

    /// Another process has registered as the same node. A node's identity belongs to one process at a time, so this says
    /// that the former one is gone: one vote, no more, for whoever started it may be wrong.
    pub fn superseded(&mut self, peer: Peer, now: Time) {
        self.suspect(peer, now);
        self.vote(peer, Voter::Itself, Time::ZERO);
        if let Some(watched) = self.watched.get_mut(&peer) {
            watched.replaced_at.get_or_insert(now);
        }
    }

    /// A voter has promised. A life that is suspected no more lives on, and gets another voter for this one: it can't go over
    /// to a set in which too many will never answer it, and whoever goes by no set has no buddy either.
    pub fn promised(&mut self, voter: Peer, of: Peer, answered_ago: Option<Duration>, now: Time) {
        let votes = |watched: &&mut Watched| watched.sets.voters().contains(&voter);
        let Some(watched) = self.watched.get_mut(&of).filter(votes) else {
            return;
        };
        match watched.state {
            State::Alive => {
                if watched.refused_by.insert(voter) {
                    self.plan();
                }
            }
            State::Suspected { .. } => {
                let answered_at = answered_ago.map_or(Time::ZERO, |ago| earlier(now, ago));
                self.vote(of, Voter::Node(voter), answered_at);
            }
        }
    }

    /// Voters that can answer nobody any more count as if they had promised: those whose own life is over, and, of a life
    /// whose process was replaced, those whose process was replaced as well. Without them a mesh of which most nodes died
    /// at once could never settle what they held.
    pub(super) fn count_dead_voters(&mut self, now: Time) {
        let mut dead = Vec::new();
        for (&of, watched) in &self.watched {
            let State::Suspected { promises, over_at: None, .. } = &watched.state else {
                continue;
            };
            let silent = |voter: &Peer| !promises.contains_key(&Voter::Node(*voter));
            for voter in watched.sets.voters().into_iter().filter(silent) {
                let answered_at = match self.watched.get(&voter) {
                    None => Some(now),
                    Some(other) => watched.replaced_at.and(other.replaced_at),
                };
                dead.extend(answered_at.map(|answered_at| (of, voter, answered_at)));
            }
        }
        for (of, voter, answered_at) in dead {
            self.vote(of, Voter::Node(voter), answered_at);
        }
    }

    /// Counts a vote. Once no majority is left, what there is to wait for is the last lease that the voters granted.
    fn vote(&mut self, of: Peer, voter: Voter, answered_at: Time) {
        let WardenSettings { lease, margin, .. } = self.settings;
        let Some(watched) = self.watched.get_mut(&of) else {
            return;
        };
        let State::Suspected { promises, over_at, .. } = &mut watched.state else {
            return;
        };
        promises.entry(voter).or_insert(answered_at);
        #[cfg(feature = "planted-bugs")]
        let margin = if self.bug == Some(PlantedBug::FenceWithoutMargin) { Duration::ZERO } else { margin };
        let let_go = watched.sets.let_go(promises);
        #[cfg(feature = "planted-bugs")]
        let let_go = match self.bug {
            Some(PlantedBug::FenceWithoutMajority) => true,
            Some(PlantedBug::CountNewestVoters) => lets_go(watched.sets.newest(), promises),
            _ => let_go,
        };
        if over_at.is_none() && let_go {
            let newest = promises.values().copied().max().unwrap_or(Time::ZERO);
            *over_at = Some(newest + lease + margin);
        }
    }
}
