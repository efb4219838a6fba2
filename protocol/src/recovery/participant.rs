//! A node's part in recovery: which round counts, who is fenced, one answer and one verdict in each round.

use std::collections::BTreeSet;

use super::fenced::FencedLives;
use super::parts::{Joiner, Offered, split};
use crate::id::Peer;
use crate::limits::RECOVERY_PARTS_MAX;
use crate::wire::{Claim, NewestCut, Order, RecoveryMessage, Round};

/// What a `Fence` asks of the node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fencing {
    /// Drop the links of `fenced`, forget the copies of `over` and what was given to them (their round is closed, whether
    /// or not [`Participant::on_closed`] was told), then build the claims and hand
    /// them to [`Participant::answer`].
    Answer {
        /// Lives that were not refused before.
        fenced: Vec<Peer>,
        /// Lives of an earlier round that this one no longer recovers.
        over: Vec<Peer>,
    },
    /// It asks again: send these again.
    Repeat(Vec<RecoveryMessage>),
    /// It is from a coordinator or a round that is over.
    Stale,
}

/// What a part of a verdict, or the end of a round, asks of the node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Instruction {
    /// The verdict is complete: carry it out, once. Call [`Participant::carried`] when everything that this node holds
    /// afterwards is in a checkpoint that is safe, or at once if there is nobody to keep one: once everybody has said
    /// so, the copies of the dead are forgotten.
    CarryOut(Vec<Order>),
    /// It is carried out already: say so again.
    Repeat(RecoveryMessage),
    /// Nothing yet.
    Nothing,
    /// It is from a coordinator or a round that is over.
    Stale,
}

/// What a node keeps about recovery. One that is fenced and rejoins keeps its fences and its round: only what it held
/// is gone.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Participant {
    round: Round,
    /// The newest round that this node knows to be closed.
    closed: u32,
    fenced: FencedLives,
    dead: BTreeSet<Peer>,
    /// The answer of this round: built once, or parts of two different answers could mix.
    answer: Vec<RecoveryMessage>,
    orders: Joiner<Order>,
    stage: Stage,
    #[cfg(feature = "planted-bugs")]
    bug: Option<crate::config::PlantedBug>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
enum Stage {
    /// No round is open here, or it is carried out as far as this node goes.
    #[default]
    Idle,
    /// Fenced, not answered.
    Asked,
    /// Answered.
    Answered,
    /// The verdict is here and being carried out.
    Ordered,
    /// It is carried out.
    Carried,
}

impl Participant {
    /// Builds a known bug in, if it is one of a participant's.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, bug: crate::config::PlantedBug) {
        self.bug = Some(bug);
    }

    #[cfg(feature = "planted-bugs")]
    fn obeys_old_rounds(&self) -> bool {
        self.bug == Some(crate::config::PlantedBug::ObeyOldRounds)
    }

    #[cfg(not(feature = "planted-bugs"))]
    const fn obeys_old_rounds(&self) -> bool {
        false
    }

    /// The highest round that this node has heard of.
    #[must_use]
    pub const fn round(&self) -> Round {
        self.round
    }

    /// Who is refused for ever.
    #[must_use]
    pub const fn fenced(&self) -> &FencedLives {
        &self.fenced
    }

    /// Whether a round is open that this node has been asked in. Meanwhile nothing that was claimed may vanish by
    /// itself: reservations, tombstones, copies.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self.stage {
            Stage::Idle => false,
            Stage::Asked | Stage::Answered | Stage::Ordered | Stage::Carried => true,
        }
    }

    /// The first round that may be open here, as far as this node knows: a round that is begun again for the same dead, under
    /// a higher number, leaves the one before it open. What was restored in it still has its older copies everywhere.
    #[must_use]
    pub fn open_since(&self) -> Option<u32> {
        self.is_open().then(|| self.closed.saturating_add(1))
    }

    /// The coordinator says that these lives are over, and asks what this node knows.
    pub fn on_fence(&mut self, round: Round, dead: &[Peer]) -> Fencing {
        if (round < self.round && !self.obeys_old_rounds()) || round == Round::default() {
            return Fencing::Stale;
        }
        if round == self.round {
            return match self.stage {
                Stage::Answered => Fencing::Repeat(self.answer.clone()),
                // Asked: the caller owes the answer of this very moment. Afterwards the question is a late double.
                Stage::Asked => Fencing::Answer { fenced: Vec::new(), over: Vec::new() },
                Stage::Idle | Stage::Ordered | Stage::Carried => Fencing::Stale,
            };
        }
        let dead: BTreeSet<Peer> = dead.iter().copied().collect();
        let fenced = dead.iter().copied().filter(|&life| self.fenced.fence(life)).collect();
        let over: Vec<Peer> = self.dead.difference(&dead).copied().collect();
        if !over.is_empty() {
            self.closed = self.round.number;
        }
        self.round = round;
        self.dead = dead;
        self.answer = Vec::new();
        self.orders = Joiner::default();
        self.stage = Stage::Asked;
        Fencing::Answer { fenced, over }
    }

    /// The node's answer, all of it of one moment after the fence. Returns what to send.
    pub fn answer(&mut self, cuts: &[NewestCut], claims: &[Claim]) -> Vec<RecoveryMessage> {
        if self.stage != Stage::Asked {
            return Vec::new();
        }
        let cuts: Vec<NewestCut> = cuts.iter().copied().filter(|cut| self.dead.contains(&cut.of)).collect();
        let mut parts = split(claims);
        parts.truncate(RECOVERY_PARTS_MAX as usize);
        let count = u32::try_from(parts.len()).unwrap_or(RECOVERY_PARTS_MAX);
        let round = self.round;
        let message = |(part, claims)| RecoveryMessage::Claims {
            round,
            part,
            parts: count,
            cuts: cuts.clone(),
            claims,
        };
        self.answer = (0..count).zip(parts).map(message).collect();
        self.stage = Stage::Answered;
        self.answer.clone()
    }

    /// A part of the verdict.
    pub fn on_verdict(&mut self, round: Round, part: u32, parts: u32, orders: Vec<Order>) -> Instruction {
        if round != self.round && !self.obeys_old_rounds() {
            return Instruction::Stale;
        }
        match self.stage {
            Stage::Carried => return Instruction::Repeat(RecoveryMessage::Carried { round }),
            Stage::Ordered => return Instruction::Nothing,
            Stage::Idle | Stage::Asked => return Instruction::Stale,
            Stage::Answered => {}
        }
        match self.orders.offer(part, parts, orders) {
            Offered::Complete => {
                self.stage = Stage::Ordered;
                self.answer = Vec::new();
                Instruction::CarryOut(core::mem::take(&mut self.orders).into_items())
            }
            Offered::Waiting | Offered::Duplicate | Offered::Malformed => Instruction::Nothing,
        }
    }

    /// The verdict is carried out and what was restored is safe. Returns what to send; nothing if none was owed.
    pub fn carried(&mut self) -> Option<RecoveryMessage> {
        if self.stage != Stage::Ordered {
            return None;
        }
        self.stage = Stage::Carried;
        Some(RecoveryMessage::Carried { round: self.round })
    }

    /// What to say again now and then, as long as this node hasn't heard that the round is closed: that was said once, and
    /// may have been lost.
    #[must_use]
    pub fn repeat(&self) -> Option<RecoveryMessage> {
        (self.stage == Stage::Carried).then_some(RecoveryMessage::Carried { round: self.round })
    }

    /// Everybody has carried it out; whichever term says so. Returns the lives whose copies are of no use any more.
    pub fn on_closed(&mut self, round: Round) -> Vec<Peer> {
        if round.number != self.round.number || self.stage != Stage::Carried {
            return Vec::new();
        }
        self.stage = Stage::Idle;
        self.closed = round.number;
        core::mem::take(&mut self.dead).into_iter().collect()
    }

    /// This node was fenced and rejoins with empty hands: what it owed in a round is owed by its former life.
    pub fn rejoin(&mut self) {
        self.dead = BTreeSet::new();
        self.answer = Vec::new();
        self.orders = Joiner::default();
        self.stage = Stage::Idle;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Incarnation, NodeId, Term};

    fn life(node: u128) -> Peer {
        Peer { node: NodeId::from_u128(node), incarnation: Incarnation(1) }
    }

    fn round(number: u32) -> Round {
        Round { term: Term(1), number }
    }

    fn asked(number: u32) -> Participant {
        let mut participant = Participant::default();
        participant.on_fence(round(number), &[life(9)]);
        participant
    }

    #[test]
    fn the_dead_are_refused_from_the_moment_of_the_answer() {
        let mut participant = Participant::default();
        let fencing = participant.on_fence(round(1), &[life(9)]);
        assert_eq!(fencing, Fencing::Answer { fenced: vec![life(9)], over: vec![] });
        assert!(participant.fenced().is_fenced(life(9)));
        assert!(participant.is_open());
    }

    #[test]
    fn a_repeated_question_gets_the_very_same_answer() {
        let mut participant = asked(1);
        let cut = |of| NewestCut { of, cut: 3, tick: crate::time::Tick(4) };
        let first = participant.answer(&[cut(life(9)), cut(life(8))], &[]);
        let [RecoveryMessage::Claims { part: 0, parts: 1, cuts, .. }] = &first[..] else {
            panic!("an empty answer is one part: {first:?}");
        };
        assert_eq!(cuts[..], [cut(life(9))], "only the dead's cuts are asked for");
        assert_eq!(participant.on_fence(round(1), &[life(9)]), Fencing::Repeat(first));
        assert!(participant.answer(&[], &[]).is_empty(), "there is no second answer");
    }

    #[test]
    fn lower_rounds_and_terms_are_refused() {
        let mut participant = asked(5);
        assert_eq!(participant.on_fence(round(4), &[life(7)]), Fencing::Stale);
        let lower_term = Round { term: Term(0), number: 9 };
        assert_eq!(participant.on_fence(lower_term, &[life(7)]), Fencing::Stale);
        assert!(!participant.fenced().is_fenced(life(7)));
        participant.answer(&[], &[]);
        assert_eq!(participant.on_verdict(round(4), 0, 1, vec![]), Instruction::Stale);
        assert_eq!(participant.on_verdict(round(6), 0, 1, vec![]), Instruction::Stale, "never asked in it");
    }

    #[test]
    fn a_verdict_is_carried_out_once_and_said_again_when_it_is_repeated() {
        let mut participant = asked(1);
        assert_eq!(participant.on_verdict(round(1), 0, 1, vec![]), Instruction::Stale, "before the answer");
        participant.answer(&[], &[]);
        assert_eq!(participant.on_verdict(round(1), 1, 2, vec![]), Instruction::Nothing);
        assert_eq!(participant.on_verdict(round(1), 0, 2, vec![]), Instruction::CarryOut(vec![]));
        assert_eq!(participant.on_verdict(round(1), 0, 2, vec![]), Instruction::Nothing, "under way");
        let carried = RecoveryMessage::Carried { round: round(1) };
        assert_eq!(participant.repeat(), None, "it is not carried out yet");
        assert_eq!(participant.carried(), Some(carried.clone()));
        assert_eq!(participant.carried(), None);
        assert_eq!(participant.on_verdict(round(1), 0, 2, vec![]), Instruction::Repeat(carried.clone()));
        assert_eq!(participant.repeat(), Some(carried));
        let by_another = Round { term: Term(2), ..round(1) };
        assert_eq!(participant.on_closed(by_another), [life(9)]);
        assert!(!participant.is_open());
        assert_eq!(participant.repeat(), None);
        assert_eq!(participant.on_fence(round(1), &[life(9)]), Fencing::Stale, "a late double");
    }

    #[test]
    fn a_higher_round_begins_anew_and_names_whose_copies_are_over() {
        let mut participant = asked(1);
        participant.answer(&[], &[]);
        participant.on_verdict(round(1), 0, 2, vec![]);
        let fencing = participant.on_fence(round(2), &[life(8)]);
        assert_eq!(fencing, Fencing::Answer { fenced: vec![life(8)], over: vec![life(9)] });
        assert!(participant.fenced().is_fenced(life(9)), "for ever");
        assert_eq!(participant.on_verdict(round(1), 1, 2, vec![]), Instruction::Stale);
        participant.answer(&[], &[]);
        assert_eq!(participant.on_verdict(round(2), 0, 1, vec![]), Instruction::CarryOut(vec![]));
    }

    #[test]
    fn a_round_begun_again_for_the_same_dead_leaves_the_one_before_it_open() {
        let mut participant = asked(3);
        assert_eq!(participant.open_since(), Some(1), "none is known to be closed");
        participant.answer(&[], &[]);
        participant.on_verdict(round(3), 0, 1, vec![]);
        participant.carried();
        participant.on_closed(round(3));
        assert_eq!(participant.open_since(), None);
        participant.on_fence(round(4), &[life(8)]);
        assert_eq!(participant.open_since(), Some(4));
        participant.on_fence(round(6), &[life(8), life(7)]);
        assert_eq!(participant.open_since(), Some(4), "8 is dead and not recovered yet");
        participant.on_fence(round(7), &[life(6)]);
        assert_eq!(participant.open_since(), Some(7), "8 and 7 are recovered");
    }

    #[test]
    fn a_new_life_refuses_what_its_former_one_refused_and_owes_nothing() {
        let mut participant = asked(3);
        participant.rejoin();
        assert!(participant.fenced().is_fenced(life(9)));
        assert!(!participant.is_open());
        assert_eq!(participant.on_fence(round(2), &[]), Fencing::Stale);
        assert_eq!(participant.on_fence(round(3), &[life(9)]), Fencing::Stale);
    }
}
