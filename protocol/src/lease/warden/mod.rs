//! The coordinator's view of the leases: who is suspected, who has promised to let go, whose life is over.

mod plan;
mod votes;

use std::collections::{BTreeMap, BTreeSet};

use core::time::Duration;

use super::Witness;
use super::sets::{OpenSets, Promises, Voter};
use crate::id::{NodeId, Peer};
use crate::time::Time;
use crate::wire::Assignment;

#[cfg(feature = "planted-bugs")]
use crate::config::PlantedBug;

/// The times of the leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WardenSettings {
    /// How long a lease lasts on its holder's own clock.
    pub lease: Duration,
    /// What is waited longer than that: covers the difference of two clocks' rates.
    pub margin: Duration,
    /// A node that was not heard for so long is suspected.
    pub suspect_after: Duration,
    /// Pause between repeats of a question.
    pub retry: Duration,
}

/// What the coordinator is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WardenAction {
    /// Say that this node is not heard any more.
    Suspected {
        /// Who.
        of: Peer,
    },
    /// Ask a voter to answer that life no more.
    AskPromise {
        /// Whom to ask.
        voter: Peer,
        /// About whom.
        of: Peer,
    },
    /// That life is over: it has stopped by itself by now.
    Over {
        /// Who.
        of: Peer,
    },
    /// Tell a node who its voters and its buddy are.
    Assign {
        /// Which node.
        to: Peer,
        /// Who they are.
        assignment: Assignment,
    },
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum State {
    Alive,
    /// Promises are collected.
    Suspected {
        promises: Promises,
        ask_at: Time,
        /// When its last lease has run out, once no majority is left that could witness it.
        over_at: Option<Time>,
    },
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Watched {
    heard_at: Time,
    /// Where it runs: a buddy elsewhere is better.
    host: String,
    sets: OpenSets,
    /// When it is told the newest of them again, if it does not go by it.
    assign_at: Time,
    /// Voters that have promised to answer it no more, which was heard of only when it was not suspected: they are of no
    /// use to it, for a promise can't be undone.
    refused_by: BTreeSet<Peer>,
    /// When another process registered as the same node, if one has.
    replaced_at: Option<Time>,
    state: State,
}

impl Watched {
    /// Whether there is no way back: somebody has promised to answer it no more whose promise the coordinator can't undo.
    fn is_given_up(&self) -> bool {
        match &self.state {
            State::Alive => false,
            State::Suspected { promises, .. } => promises.keys().any(|&voter| voter != Voter::Coordinator),
        }
    }
}

/// The coordinator's view of every life that is not over. See the module's page.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Warden {
    settings: WardenSettings,
    witness: Witness,
    watched: BTreeMap<Peer, Watched>,
    /// Lives whose end is to be announced at the next occasion.
    over: Vec<Peer>,
    /// When the coordinator was last awake.
    awake_at: Time,
    #[cfg(feature = "planted-bugs")]
    bug: Option<PlantedBug>,
}

impl Warden {
    /// Builds a known bug in, if it is one of a warden's.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, bug: PlantedBug) {
        self.bug = Some(bug);
    }

    /// A coordinator that watches nobody yet.
    #[must_use]
    pub fn new(settings: WardenSettings) -> Self {
        let witness = Witness::new(settings.lease + settings.margin);
        Self {
            settings,
            witness,
            watched: BTreeMap::new(),
            over: Vec::new(),
            awake_at: Time::ZERO,
            #[cfg(feature = "planted-bugs")]
            bug: None,
        }
    }

    /// Watches a life that was just granted. It has a full lease from now, and no voter yet but the coordinator.
    pub fn admit(&mut self, peer: Peer, host: &str, now: Time) {
        self.watch(peer, host, OpenSets::default(), now, now);
    }

    /// Goes on watching a life that a former coordinator granted, with every set of voters that it may go by, oldest first.
    /// Nobody is suspected before a full lease has passed.
    pub fn restore(&mut self, peer: Peer, host: &str, sets: Vec<Assignment>, now: Time) {
        self.awake_at = now;
        let grace = self.settings.lease.saturating_sub(self.settings.suspect_after);
        self.watch(peer, host, OpenSets::restored(sets), now + grace, now);
    }

    fn watch(&mut self, peer: Peer, host: &str, sets: OpenSets, heard_at: Time, now: Time) {
        self.witness.renew(peer, now);
        let host = host.to_owned();
        let state = State::Alive;
        let refused_by = BTreeSet::new();
        let watched = Watched { heard_at, host, sets, assign_at: now, refused_by, replaced_at: None, state };
        self.watched.insert(peer, watched);
        self.plan();
    }

    /// Says that the coordinator is awake. If it was not for a while (stopped, starved), what it did not hear meanwhile says
    /// nothing about the nodes.
    pub fn notice(&mut self, now: Time) {
        let asleep = now.since(self.awake_at) > self.settings.suspect_after / 2;
        self.awake_at = now;
        if asleep {
            self.watched.values_mut().for_each(|watched| watched.heard_at = now);
        }
    }

    /// A life asks to live on; says whether it is to be answered. If it is suspected, and nobody but the coordinator itself
    /// has promised yet, it is suspected no more.
    pub fn heard(&mut self, peer: Peer, now: Time) -> bool {
        let Some(watched) = self.watched.get_mut(&peer).filter(|watched| !watched.is_given_up()) else {
            return false;
        };
        let was = core::mem::replace(&mut watched.state, State::Alive);
        watched.heard_at = now;
        self.witness.renew(peer, now);
        if was != State::Alive {
            // What there was to change about its voters had to wait.
            self.plan();
        }
        true
    }

    /// Whether this life may hold anything still.
    #[must_use]
    pub fn watches(&self, peer: Peer) -> bool {
        self.watched.contains_key(&peer)
    }

    /// Whether this life is watched and not suspected.
    #[must_use]
    pub fn is_alive(&self, peer: Peer) -> bool {
        self.watched.get(&peer).is_some_and(|watched| matches!(watched.state, State::Alive))
    }

    /// All lives that are not suspected.
    pub fn alive(&self) -> impl Iterator<Item = Peer> + '_ {
        self.watched
            .iter()
            .filter(|(_, watched)| matches!(watched.state, State::Alive))
            .map(|(&peer, _)| peer)
    }

    /// Every set of voters that this life may go by, oldest first: to be persisted before the newest is told.
    pub fn sets_of(&self, peer: Peer) -> impl Iterator<Item = &Assignment> {
        self.watched.get(&peer).into_iter().flat_map(|watched| watched.sets.iter())
    }

    /// The node goes by this version, and has heard of none newer than `heard`.
    pub fn assigned(&mut self, peer: Peer, version: u64, heard: u64) {
        if let Some(watched) = self.watched.get_mut(&peer) {
            watched.sets.answered(version, heard);
            self.plan();
        }
    }

    /// Its own process says that this life is over: it has stopped.
    pub fn confessed(&mut self, peer: Peer) {
        if self.watched.contains_key(&peer) {
            self.end(peer);
        }
    }

    fn end(&mut self, peer: Peer) {
        self.watched.remove(&peer);
        for watched in self.watched.values_mut() {
            watched.refused_by.remove(&peer);
        }
        self.over.push(peer);
        self.plan();
    }

    /// When [`handle_due`](Self::handle_due) is to be called next.
    #[must_use]
    pub fn next_due(&self) -> Option<Time> {
        if !self.over.is_empty() {
            return Some(Time::ZERO);
        }
        let due = |watched: &Watched| {
            let state = match &watched.state {
                State::Alive => watched.heard_at + self.settings.suspect_after,
                State::Suspected { ask_at, over_at, .. } => over_at.unwrap_or(*ask_at),
            };
            if watched.sets.is_settled() || !matches!(watched.state, State::Alive) {
                state
            } else {
                state.min(watched.assign_at)
            }
        };
        // Awake regularly, so that a long sleep is seen as one.
        let wake = self.awake_at + self.settings.suspect_after / 4;
        self.watched.values().map(due).min().map(|due| due.min(wake))
    }

    /// Lets time pass; says what is to be done.
    pub fn handle_due(&mut self, now: Time) -> Vec<WardenAction> {
        let mut actions = Vec::new();
        self.doubt_itself(now);
        let silent: Vec<Peer> = self
            .watched
            .iter()
            .filter(|(_, watched)| {
                matches!(watched.state, State::Alive) && now >= watched.heard_at + self.settings.suspect_after
            })
            .map(|(&peer, _)| peer)
            .collect();
        for of in silent {
            actions.push(WardenAction::Suspected { of });
            self.suspect(of, now);
        }
        self.count_dead_voters(now);
        let retry = self.settings.retry;
        let mut waited_out = Vec::new();
        for (&of, watched) in &mut self.watched {
            match &mut watched.state {
                State::Alive => {
                    if !watched.sets.is_settled() && watched.assign_at <= now {
                        watched.assign_at = now + retry;
                        let assignment = watched.sets.newest().clone();
                        actions.push(WardenAction::Assign { to: of, assignment });
                    }
                }
                State::Suspected { over_at: Some(over_at), .. } => {
                    if *over_at <= now {
                        waited_out.push(of);
                    }
                }
                State::Suspected { promises, ask_at, over_at: None } => {
                    if *ask_at <= now {
                        *ask_at = now + retry;
                        let mut unasked = watched.sets.voters();
                        unasked.retain(|voter| !promises.contains_key(&Voter::Node(*voter)));
                        actions
                            .extend(unasked.into_iter().map(|voter| WardenAction::AskPromise { voter, of }));
                    }
                }
            }
        }
        waited_out.into_iter().for_each(|of| self.end(of));
        actions.extend(core::mem::take(&mut self.over).into_iter().map(|of| WardenAction::Over { of }));
        actions
    }

    /// Who hears none of several is cut off itself: that says nothing about them, and they get a while to be heard again.
    fn doubt_itself(&mut self, now: Time) {
        let alive = || self.watched.values().filter(|watched| matches!(watched.state, State::Alive));
        let newest = alive().map(|watched| watched.heard_at).max();
        let cut_off = newest.is_some_and(|newest| now.since(newest) >= self.settings.suspect_after / 2);
        if alive().count() > 1 && cut_off {
            self.watched.values_mut().for_each(|watched| watched.heard_at = now);
        }
    }

    /// The lives of this node that are not over.
    pub fn lives_of(&self, node: NodeId) -> impl Iterator<Item = Peer> + '_ {
        self.watched.keys().copied().filter(move |peer| peer.node == node)
    }
}

fn earlier(now: Time, ago: Duration) -> Time {
    let ago = u64::try_from(ago.as_micros()).unwrap_or(u64::MAX);
    Time::from_micros(now.as_micros().saturating_sub(ago))
}
