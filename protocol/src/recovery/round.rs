//! The coordinator's machine of recovery: one round for all who are dead and not yet recovered.
//!
//! ```text
//! Quiet -bury, or join while open-> Wanted -begin (the number is persisted)-> Asking -all answered-> Ordering -all carried-> Quiet
//!                                     ^__________bury, join, a claim from the future______|______________|
//! ```
//!
//! Nothing is sent between `Wanted` and [`begin`](RoundKeeper::begin): the caller persists the number and the dead
//! first, so that a coordinator which restarts starts the same round again, under a higher number.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::parts::{Joiner, Offered, split};
#[cfg(not(feature = "planted-bugs"))]
use super::verdict::verdict;
use super::verdict::{Answer, Verdict};
use crate::id::{AuthorityEpoch, Peer};
use crate::limits::{LIVES_MAX, RECOVERY_PARTS_MAX, ROUNDS_LOST_MAX};
use crate::time::Time;
use crate::wire::{Claim, NewestCut, Order, RecoveryMessage, Round};

/// What the keeper asks for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum RoundOutput {
    /// Send this to one life of a node: never to a later one.
    Send {
        /// To whom.
        to: Peer,
        /// What.
        message: RecoveryMessage,
    },
    /// Everybody has answered: this is the outcome, on its way to the nodes.
    Decided(Verdict),
    /// Everybody has carried it out. These lives need not be recovered again.
    Closed {
        /// Which round.
        round: Round,
        /// Whose.
        dead: Vec<Peer>,
    },
}

/// What became of a message from a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// It counts.
    Yes,
    /// It was known, or is of another round, or of a life that this round doesn't ask.
    Ignored,
    /// It is about a round that is closed, and the node hasn't heard that: say [`RecoveryMessage::Closed`] again.
    Late,
    /// No honest node says this.
    Malformed,
}

/// Runs recovery rounds. Holds one answer for each live node at most.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RoundKeeper {
    retry: Duration,
    /// The last round begun; every further number must be above it.
    round: Round,
    /// The highest generation that any claim named: a number at or below it would be no new generation.
    generation_seen: u32,
    /// Lives that are asked: all that are not buried.
    live: BTreeSet<Peer>,
    dead: BTreeSet<Peer>,
    phase: Phase,
    outputs: VecDeque<RoundOutput>,
    #[cfg(feature = "planted-bugs")]
    bug: Option<crate::config::PlantedBug>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Quiet,
    Wanted,
    Asking { answers: BTreeMap<Peer, Joiner<Claim>>, cuts: BTreeMap<Peer, Vec<NewestCut>>, repeat_at: Time },
    Ordering { waiting: BTreeMap<Peer, Vec<Vec<Order>>>, repeat_at: Time },
}

impl RoundKeeper {
    /// Makes a keeper that knows nobody. `round` is the last one that the store knows; `retry` the pause between
    /// repeats of what is not answered.
    #[must_use]
    pub const fn new(round: Round, retry: Duration) -> Self {
        Self {
            retry,
            round,
            generation_seen: 0,
            live: BTreeSet::new(),
            dead: BTreeSet::new(),
            phase: Phase::Quiet,
            outputs: VecDeque::new(),
            #[cfg(feature = "planted-bugs")]
            bug: None,
        }
    }

    /// Builds a known bug in, if it is one of a keeper's or of the verdict's.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, bug: crate::config::PlantedBug) {
        self.bug = Some(bug);
    }

    #[cfg(feature = "planted-bugs")]
    fn judges_early(&self) -> bool {
        self.bug == Some(crate::config::PlantedBug::JudgeEarly)
    }

    #[cfg(not(feature = "planted-bugs"))]
    const fn judges_early(&self) -> bool {
        false
    }

    /// A life is registered. Its node's former life, if it was not buried, is: nobody else speaks for what it held.
    /// False, and nothing changes, if it is not newer than what is known, or if there are too many.
    pub fn join(&mut self, life: Peer) -> bool {
        let former: Vec<Peer> = self.live.iter().copied().filter(|known| known.node == life.node).collect();
        if !self.admit(life) {
            return false;
        }
        for former in former {
            self.bury(former);
        }
        true
    }

    /// A life is registered whose node may have a former one that is not over yet. That one is asked as before, so that no
    /// round ends before it answers or is buried. False, and nothing changes, if it is not newer than what is known, or if
    /// there are too many.
    pub fn admit(&mut self, life: Peer) -> bool {
        let newer =
            self.live.iter().all(|known| known.node != life.node || known.incarnation < life.incarnation);
        if !newer || self.dead.contains(&life) || self.live.len() >= LIVES_MAX {
            return false;
        }
        self.live.insert(life);
        if self.phase != Phase::Quiet {
            self.want();
        }
        true
    }

    /// A life is over: its lease has been waited out, or a newer life of its node has registered. What it held must be
    /// recovered. False if that is known.
    pub fn bury(&mut self, life: Peer) -> bool {
        if !self.dead.insert(life) {
            return false;
        }
        self.live.remove(&life);
        self.want();
        true
    }

    fn want(&mut self) {
        self.phase = Phase::Wanted;
        // What an abandoned round still had to say is void; what it decided and closed before stands.
        self.outputs.retain(|output| !matches!(output, RoundOutput::Send { .. }));
    }

    /// Whether a round must be begun, and above which number: persist a higher one and [`dead`](Self::dead), then call
    /// [`begin`](Self::begin).
    #[must_use]
    pub fn wanted_above(&self) -> Option<u32> {
        (self.phase == Phase::Wanted).then_some(self.round.number.max(self.generation_seen))
    }

    /// Whether a round is open or about to be. Meanwhile no change of authority may be acknowledged: a tombstone could
    /// vanish between two answers.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase != Phase::Quiet
    }

    /// Who is dead and not yet recovered. Must be persisted before a round for them begins, and after it closed.
    #[must_use]
    pub const fn dead(&self) -> &BTreeSet<Peer> {
        &self.dead
    }

    /// The last round begun.
    #[must_use]
    pub const fn round(&self) -> Round {
        self.round
    }

    /// Of whom an answer, or the word that the verdict is carried out, is awaited.
    #[must_use]
    pub fn awaited(&self) -> Vec<Peer> {
        match &self.phase {
            Phase::Quiet | Phase::Wanted => Vec::new(),
            Phase::Asking { answers, .. } => {
                answers.iter().filter(|(_, joiner)| !joiner.is_complete()).map(|(&peer, _)| peer).collect()
            }
            Phase::Ordering { waiting, .. } => waiting.keys().copied().collect(),
        }
    }

    /// Begins the round. Its number and the dead must be safe in the store by now: they outlive this coordinator. False,
    /// and nothing is sent, if no round is wanted or the number does not grow.
    pub fn begin(&mut self, round: Round, now: Time) -> bool {
        let grows = self.wanted_above().is_some_and(|above| round.number > above);
        if !grows || round.term < self.round.term {
            return false;
        }
        self.round = round;
        let answers = self.lives().map(|peer| (peer, Joiner::default())).collect();
        self.phase = Phase::Asking { answers, cuts: BTreeMap::new(), repeat_at: now + self.retry };
        self.ask();
        self.conclude(now);
        true
    }

    fn lives(&self) -> impl Iterator<Item = Peer> + '_ {
        self.live.iter().copied()
    }

    /// A part of a node's answer.
    pub fn on_claims(&mut self, from: Peer, message: ClaimsPart, now: Time) -> Taken {
        let ClaimsPart { round, part, parts, cuts, claims } = message;
        let Phase::Asking { answers, cuts: known_cuts, .. } = &mut self.phase else {
            return Taken::Ignored;
        };
        if round != self.round {
            return Taken::Ignored;
        }
        let Some(answer) = answers.get_mut(&from) else {
            return Taken::Ignored;
        };
        let newest = claims.iter().map(claimed_generation).max().unwrap_or_default();
        if cuts.len() > LIVES_MAX || newest > round.number.saturating_add(ROUNDS_LOST_MAX) {
            return Taken::Malformed;
        }
        let taken = match answer.offer(part, parts, claims) {
            Offered::Complete | Offered::Waiting => Taken::Yes,
            Offered::Duplicate => return Taken::Ignored,
            Offered::Malformed => return Taken::Malformed,
        };
        known_cuts.entry(from).or_insert(cuts);
        self.generation_seen = self.generation_seen.max(newest);
        if self.generation_seen >= self.round.number {
            // The store has lost rounds that were held: this number would restore below what is alive.
            self.want();
        } else {
            self.conclude(now);
        }
        taken
    }

    /// A node has carried the verdict out.
    pub fn on_carried(&mut self, from: Peer, round: Round) -> Taken {
        let waiting = match &mut self.phase {
            // What was begun and isn't open is closed: this keeper goes on with what its predecessor left open.
            Phase::Quiet if round.number <= self.round.number && self.live.contains(&from) => {
                return Taken::Late;
            }
            Phase::Quiet | Phase::Wanted | Phase::Asking { .. } => return Taken::Ignored,
            Phase::Ordering { waiting, .. } => waiting,
        };
        if round != self.round || waiting.remove(&from).is_none() {
            return Taken::Ignored;
        }
        self.close_if_carried();
        Taken::Yes
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub const fn due(&self) -> Option<Time> {
        match &self.phase {
            Phase::Quiet | Phase::Wanted => None,
            Phase::Asking { repeat_at, .. } | Phase::Ordering { repeat_at, .. } => Some(*repeat_at),
        }
    }

    /// Repeats what is not answered, once it is due.
    pub fn handle_timeout(&mut self, now: Time) {
        let next = now + self.retry;
        match &mut self.phase {
            Phase::Asking { repeat_at, .. } if *repeat_at <= now => {
                *repeat_at = next;
                self.ask();
            }
            Phase::Ordering { repeat_at, .. } if *repeat_at <= now => {
                *repeat_at = next;
                self.order();
            }
            Phase::Quiet | Phase::Wanted | Phase::Asking { .. } | Phase::Ordering { .. } => {}
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<RoundOutput> {
        self.outputs.pop_front()
    }

    fn ask(&mut self) {
        let dead: Vec<Peer> = self.dead.iter().copied().collect();
        for to in self.awaited() {
            let message = RecoveryMessage::Fence { round: self.round, dead: dead.clone() };
            self.outputs.push_back(RoundOutput::Send { to, message });
        }
    }

    fn order(&mut self) {
        let Phase::Ordering { waiting, .. } = &self.phase else {
            return;
        };
        let round = self.round;
        for (&to, orders) in waiting {
            let parts = u32::try_from(orders.len()).unwrap_or(RECOVERY_PARTS_MAX);
            for (part, orders) in (0..parts).zip(orders) {
                let message = RecoveryMessage::Verdict { round, part, parts, orders: orders.clone() };
                self.outputs.push_back(RoundOutput::Send { to, message });
            }
        }
    }

    /// Gives the verdict once everybody has answered.
    fn conclude(&mut self, now: Time) {
        let early = self.judges_early();
        let Phase::Asking { answers, cuts, .. } = &mut self.phase else {
            return;
        };
        let missing = answers.values().filter(|answer| !answer.is_complete()).count();
        if missing > if early { answers.len().saturating_sub(1) } else { 0 } {
            return;
        }
        let mut cuts = core::mem::take(cuts);
        let answers: BTreeMap<Peer, Answer> = core::mem::take(answers)
            .into_iter()
            .map(|(peer, joiner)| {
                let cuts = cuts.remove(&peer).unwrap_or_default();
                (peer, Answer { cuts, claims: joiner.into_items() })
            })
            .collect();
        #[cfg(not(feature = "planted-bugs"))]
        let verdict = verdict(self.round, &self.dead, &answers);
        #[cfg(feature = "planted-bugs")]
        let verdict = super::verdict::flawed(self.round, &self.dead, &answers, self.bug);
        let waiting = verdict.orders.iter().map(|(&peer, orders)| (peer, split(orders))).collect();
        self.phase = Phase::Ordering { waiting, repeat_at: now + self.retry };
        self.outputs.push_back(RoundOutput::Decided(verdict));
        self.order();
        self.close_if_carried();
    }

    fn close_if_carried(&mut self) {
        let Phase::Ordering { waiting, .. } = &self.phase else {
            return;
        };
        if !waiting.is_empty() {
            return;
        }
        let round = self.round;
        self.phase = Phase::Quiet;
        let dead: Vec<Peer> = core::mem::take(&mut self.dead).into_iter().collect();
        let closed: Vec<RoundOutput> = self
            .lives()
            .map(|to| RoundOutput::Send {
                to,
                message: RecoveryMessage::Closed { round, dead: dead.clone() },
            })
            .collect();
        self.outputs.extend(closed);
        self.outputs.push_back(RoundOutput::Closed { round, dead });
    }
}

/// A part of a node's answer, as [`RecoveryMessage::Claims`] carries it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimsPart {
    /// The round that asked.
    pub round: Round,
    /// Which part of the answer, from 0.
    pub part: u32,
    /// How many there are.
    pub parts: u32,
    /// The newest cut of each dead life that the node keeps copies of.
    pub cuts: Vec<NewestCut>,
    /// What the node knows.
    pub claims: Vec<Claim>,
}

fn claimed_generation(claim: &Claim) -> u32 {
    let contents = claim.contents.map(|contents| contents.epoch).unwrap_or_default();
    let AuthorityEpoch { generation, .. } = claim.epoch.max(claim.floor).max(contents);
    generation
}

#[cfg(test)]
mod tests;
