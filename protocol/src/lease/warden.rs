//! The coordinator's view of the leases: who is suspected, who has promised to let go, whose life is over.

use std::collections::{BTreeMap, BTreeSet};

use core::time::Duration;

use super::{Witness, majority};
use crate::id::{NodeId, Peer};
use crate::limits::VOTERS_MAX;
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
    /// Promises are collected: of whom, and when the promising voter last answered, by the coordinator's clock.
    Asking {
        promises: BTreeMap<Voter, Time>,
        ask_at: Time,
    },
    /// A majority has promised.
    Waiting {
        until: Time,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Voter {
    /// The life itself: another process says that it is no more.
    Itself,
    Coordinator,
    Node(Peer),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Watched {
    heard_at: Time,
    /// Where it runs: a buddy elsewhere is better.
    host: String,
    assignment: Assignment,
    /// Whether the node goes by this assignment.
    acknowledged: bool,
    assign_at: Time,
    /// When another process registered as the same node, if one has.
    replaced_at: Option<Time>,
    state: State,
}

impl Watched {
    /// Whether there is no way back: somebody has promised to answer it no more whose promise the coordinator can't undo.
    fn is_given_up(&self) -> bool {
        match &self.state {
            State::Alive => false,
            State::Asking { promises, .. } => promises.keys().any(|&voter| voter != Voter::Coordinator),
            State::Waiting { .. } => true,
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

    /// Watches a life that was just granted, or that a store remembers. It has a full lease from now.
    pub fn admit(&mut self, peer: Peer, host: &str, assignment: Assignment, now: Time) {
        self.witness.renew(peer, now);
        let acknowledged = assignment.version == 0;
        let watched = Watched {
            heard_at: now,
            host: host.to_owned(),
            assignment,
            acknowledged,
            assign_at: now,
            replaced_at: None,
            state: State::Alive,
        };
        self.watched.insert(peer, watched);
        self.plan();
    }

    /// Goes on watching a life that a former coordinator granted. Nobody is suspected before a full lease has passed.
    pub fn restore(&mut self, peer: Peer, host: &str, assignment: Assignment, now: Time) {
        self.awake_at = now;
        let grace = self.settings.lease.saturating_sub(self.settings.suspect_after);
        self.admit(peer, host, assignment, now);
        if let Some(watched) = self.watched.get_mut(&peer) {
            watched.heard_at = now + grace;
        }
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

    /// Who keeps watch over this life, to be persisted before it is told.
    #[must_use]
    pub fn assignment(&self, peer: Peer) -> Option<&Assignment> {
        self.watched.get(&peer).map(|watched| &watched.assignment)
    }

    /// The node goes by this version.
    pub fn acknowledged(&mut self, peer: Peer, version: u64) {
        if let Some(watched) = self.watched.get_mut(&peer)
            && watched.assignment.version == version
        {
            watched.acknowledged = true;
            self.plan();
        }
    }

    /// Its own process says that this life is over: it has stopped.
    pub fn confessed(&mut self, peer: Peer) {
        if self.watched.contains_key(&peer) {
            self.end(peer);
        }
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

    /// Voters that can answer nobody any more count as if they had promised: those whose own life is over, and, of a life
    /// whose process was replaced, those whose process was replaced as well. Without them a mesh of which most nodes died
    /// at once could never settle what they held.
    fn count_dead_voters(&mut self, now: Time) {
        let mut dead = Vec::new();
        for (&of, watched) in &self.watched {
            let State::Asking { promises, .. } = &watched.state else {
                continue;
            };
            let silent = |voter: &&Peer| !promises.contains_key(&Voter::Node(**voter));
            for &voter in watched.assignment.voters.iter().filter(silent) {
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

    /// Begins to collect promises.
    pub fn suspect(&mut self, peer: Peer, now: Time) {
        let Some(watched) = self.watched.get_mut(&peer) else {
            return;
        };
        if !matches!(watched.state, State::Alive) {
            return;
        }
        watched.state = State::Asking { promises: BTreeMap::new(), ask_at: now };
        let ago = self.witness.answered_ago(peer, now);
        self.vote(peer, Voter::Coordinator, ago.map_or(Time::ZERO, |ago| earlier(now, ago)));
    }

    /// A voter has promised.
    pub fn promised(&mut self, voter: Peer, of: Peer, answered_ago: Option<Duration>, now: Time) {
        let votes = self.watched.get(&of).is_some_and(|watched| watched.assignment.voters.contains(&voter));
        if votes {
            let answered_at = answered_ago.map_or(Time::ZERO, |ago| earlier(now, ago));
            self.vote(of, Voter::Node(voter), answered_at);
        }
    }

    fn vote(&mut self, of: Peer, voter: Voter, answered_at: Time) {
        let WardenSettings { lease, margin, .. } = self.settings;
        let Some(watched) = self.watched.get_mut(&of) else {
            return;
        };
        let State::Asking { promises, .. } = &mut watched.state else {
            return;
        };
        promises.entry(voter).or_insert(answered_at);
        let needed = majority(watched.assignment.voters.len());
        #[cfg(feature = "planted-bugs")]
        let needed = if self.bug == Some(PlantedBug::FenceWithoutMajority) { 1 } else { needed };
        #[cfg(feature = "planted-bugs")]
        let margin = if self.bug == Some(PlantedBug::FenceWithoutMargin) { Duration::ZERO } else { margin };
        if promises.len() >= needed {
            let newest = promises.values().copied().max().unwrap_or(Time::ZERO);
            watched.state = State::Waiting { until: newest + lease + margin };
        }
    }

    fn end(&mut self, peer: Peer) {
        self.watched.remove(&peer);
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
                State::Asking { ask_at, .. } => *ask_at,
                State::Waiting { until } => *until,
            };
            if watched.acknowledged || !matches!(watched.state, State::Alive) {
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
                    if !watched.acknowledged && watched.assign_at <= now {
                        watched.assign_at = now + retry;
                        let assignment = watched.assignment.clone();
                        actions.push(WardenAction::Assign { to: of, assignment });
                    }
                }
                State::Asking { promises, ask_at } => {
                    if *ask_at <= now {
                        *ask_at = now + retry;
                        let unasked = watched
                            .assignment
                            .voters
                            .iter()
                            .filter(|&&voter| !promises.contains_key(&Voter::Node(voter)));
                        actions.extend(unasked.map(|&voter| WardenAction::AskPromise { voter, of }));
                    }
                }
                State::Waiting { until } => {
                    if *until <= now {
                        waited_out.push(of);
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

    /// Deals voters and buddies: the next lives in a ring by node id. A set changes by one voter, and the next change
    /// waits until the node goes by this one.
    fn plan(&mut self) {
        let ring: Vec<(Peer, String)> = self
            .watched
            .iter()
            .filter(|(_, watched)| !watched.is_given_up())
            .map(|(&peer, watched)| (peer, watched.host.clone()))
            .collect();
        for (at, (peer, host)) in ring.iter().enumerate() {
            let others = || ring.iter().cycle().skip(at + 1).take(ring.len() - 1);
            let others = || others().filter(|(other, _)| other.node != peer.node);
            let wanted: BTreeSet<Peer> = others().map(|(other, _)| *other).take(VOTERS_MAX).collect();
            let elsewhere = others().find(|(_, other)| other != host);
            let buddy = elsewhere.or_else(|| others().next()).map(|(other, _)| *other);
            let Some(watched) = self.watched.get_mut(peer) else {
                continue;
            };
            // Who is suspected stays in office, and keeps the voters that are being asked.
            if !watched.acknowledged || !matches!(watched.state, State::Alive) {
                continue;
            }
            let mut voters = watched.assignment.voters.clone();
            let surplus = voters.iter().position(|voter| !wanted.contains(voter));
            let missing = wanted.iter().find(|voter| !voters.contains(voter));
            match (surplus, missing) {
                (Some(surplus), _) => drop(voters.remove(surplus)),
                (None, Some(&missing)) => voters.push(missing),
                (None, None) => {}
            }
            // A buddy that lives keeps its office: another would have to be sent everything.
            let kept = watched.assignment.buddy.filter(|kept| ring.iter().any(|(other, _)| other == kept));
            let buddy = kept.or(buddy);
            if voters != watched.assignment.voters || buddy != watched.assignment.buddy {
                let version = watched.assignment.version + 1;
                watched.assignment = Assignment { version, voters, buddy };
                watched.acknowledged = false;
                watched.assign_at = Time::ZERO;
            }
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
