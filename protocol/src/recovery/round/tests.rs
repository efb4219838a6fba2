//! The coordinator's machine: who is asked, when a verdict is given, what starts it again.

use super::*;
use crate::id::{EntityId, Term};
use crate::id::{Incarnation, NodeId};
use crate::time::Tick;
use crate::wire::{Captured, ClaimKind};

const RETRY: Duration = Duration::from_millis(200);
const ENTITY: EntityId = EntityId::from_u128(1);

fn life(node: u128, incarnation: u64) -> Peer {
    Peer { node: NodeId::from_u128(node), incarnation: Incarnation(incarnation) }
}

fn round(number: u32) -> Round {
    Round { term: Term(1), number }
}

fn empty(number: u32) -> ClaimsPart {
    ClaimsPart { round: round(number), part: 0, parts: 1, cuts: vec![], claims: vec![] }
}

/// A copy of the entity as node 9, which is dead, had it.
fn copy(generation: u32) -> Claim {
    let epoch = AuthorityEpoch { generation, step: 1 };
    let contents = Some(Captured { epoch, tick: Tick(5) });
    let kind = ClaimKind::Standby { of: life(9, 1), cut: 1 };
    Claim { entity: ENTITY, session: None, epoch, kind, contents, floor: AuthorityEpoch::default() }
}

fn with_copy(number: u32, generation: u32) -> ClaimsPart {
    ClaimsPart { claims: vec![copy(generation)], ..empty(number) }
}

/// Nodes 1, 2 and 9 are registered, and 9 is dead.
fn wanted() -> RoundKeeper {
    let mut keeper = RoundKeeper::new(Round::default(), RETRY);
    for node in [1, 2, 9] {
        assert!(keeper.join(life(node, 1)));
    }
    assert!(!keeper.is_open(), "registrations alone open nothing");
    assert!(keeper.bury(life(9, 1)));
    keeper
}

fn begun() -> RoundKeeper {
    let mut keeper = wanted();
    assert!(keeper.begin(round(1), Time::ZERO));
    keeper
}

fn drain(keeper: &mut RoundKeeper) -> Vec<RoundOutput> {
    core::iter::from_fn(|| keeper.poll_output()).collect()
}

fn asked(outputs: &[RoundOutput]) -> Vec<Peer> {
    let fence = |output: &RoundOutput| match output {
        RoundOutput::Send { to, message: RecoveryMessage::Fence { .. } } => Some(*to),
        RoundOutput::Send { .. } | RoundOutput::Decided(_) | RoundOutput::Closed { .. } => None,
    };
    outputs.iter().filter_map(fence).collect()
}

fn ordered(outputs: &[RoundOutput]) -> Vec<Peer> {
    let verdict = |output: &RoundOutput| match output {
        RoundOutput::Send { to, message: RecoveryMessage::Verdict { .. } } => Some(*to),
        RoundOutput::Send { .. } | RoundOutput::Decided(_) | RoundOutput::Closed { .. } => None,
    };
    outputs.iter().filter_map(verdict).collect()
}

#[test]
fn nothing_is_sent_before_the_number_is_persisted() {
    let mut keeper = wanted();
    assert!(keeper.is_open(), "no change of authority is acknowledged from here on");
    assert_eq!(keeper.wanted_above(), Some(0));
    assert_eq!(keeper.due(), None);
    assert!(drain(&mut keeper).is_empty());
    assert!(!keeper.begin(round(0), Time::ZERO), "the number must grow");
    assert!(keeper.begin(round(1), Time::ZERO));
    assert_eq!(asked(&drain(&mut keeper)), [life(1, 1), life(2, 1)]);
    assert!(!keeper.begin(round(2), Time::ZERO), "one is begun and nothing happened since");
}

#[test]
fn the_verdict_waits_for_every_live_node() {
    let mut keeper = begun();
    drain(&mut keeper);
    assert_eq!(keeper.on_claims(life(1, 1), with_copy(1, 0), Time::ZERO), Taken::Yes);
    assert!(drain(&mut keeper).is_empty());
    assert_eq!(keeper.awaited(), [life(2, 1)]);
    assert_eq!(keeper.on_claims(life(2, 1), empty(1), Time::ZERO), Taken::Yes);
    let outputs = drain(&mut keeper);
    let RoundOutput::Decided(verdict) = &outputs[0] else {
        panic!("{outputs:?}");
    };
    assert_eq!(verdict.restored[0].holder, life(1, 1));
    assert_eq!(ordered(&outputs), [life(1, 1), life(2, 1)]);
}

#[test]
fn questions_and_verdicts_are_repeated_to_those_who_owe_an_answer() {
    let mut keeper = begun();
    drain(&mut keeper);
    let due = keeper.due().unwrap();
    assert_eq!(due, Time::ZERO + RETRY);
    keeper.on_claims(life(1, 1), empty(1), Time::ZERO);
    keeper.handle_timeout(due - Duration::from_micros(1));
    assert!(drain(&mut keeper).is_empty(), "before it is due");
    keeper.handle_timeout(due);
    assert_eq!(asked(&drain(&mut keeper)), [life(2, 1)]);
    keeper.on_claims(life(2, 1), empty(1), due);
    drain(&mut keeper);
    assert_eq!(keeper.on_carried(life(2, 1), round(1)), Taken::Yes);
    assert_eq!(keeper.on_carried(life(2, 1), round(1)), Taken::Ignored);
    keeper.handle_timeout(keeper.due().unwrap());
    assert_eq!(ordered(&drain(&mut keeper)), [life(1, 1)]);
}

#[test]
fn a_round_closes_when_everybody_has_carried_it_out() {
    let mut keeper = begun();
    for node in [1, 2] {
        keeper.on_claims(life(node, 1), empty(1), Time::ZERO);
    }
    drain(&mut keeper);
    keeper.on_carried(life(1, 1), round(1));
    assert!(keeper.is_open());
    assert!(keeper.dead().contains(&life(9, 1)), "a coordinator that restarts now must start again");
    keeper.on_carried(life(2, 1), round(1));
    let closed = RoundOutput::Closed { round: round(1), dead: vec![life(9, 1)] };
    assert_eq!(drain(&mut keeper).last(), Some(&closed));
    assert!(!keeper.is_open() && keeper.dead().is_empty() && keeper.due().is_none());
}

#[test]
fn who_says_again_that_it_has_carried_a_closed_round_out_has_not_heard_that_it_is_closed() {
    let mut keeper = begun();
    for node in [1, 2] {
        keeper.on_claims(life(node, 1), empty(1), Time::ZERO);
    }
    assert_eq!(keeper.on_carried(life(1, 1), round(1)), Taken::Yes);
    assert_eq!(keeper.on_carried(life(1, 1), round(1)), Taken::Ignored, "the round is still open");
    assert_eq!(keeper.on_carried(life(2, 1), round(1)), Taken::Yes);
    assert_eq!(keeper.on_carried(life(1, 1), round(1)), Taken::Late);
    assert_eq!(keeper.on_carried(life(1, 1), round(2)), Taken::Ignored, "nobody has begun that one");
    assert_eq!(keeper.on_carried(life(9, 1), round(1)), Taken::Ignored, "it is dead");
    let mut next = RoundKeeper::new(Round { term: Term(2), number: 1 }, RETRY);
    next.join(life(1, 1));
    assert_eq!(next.on_carried(life(1, 1), round(1)), Taken::Late, "nor is it open for the next coordinator");
    next.join(life(2, 1));
    next.bury(life(2, 1));
    assert_eq!(next.on_carried(life(1, 1), round(1)), Taken::Ignored, "it will be asked anew");
}

#[test]
fn only_answers_to_this_round_from_lives_that_it_asks_count() {
    let mut keeper = begun();
    drain(&mut keeper);
    let other_term = Round { term: Term(0), number: 1 };
    for (from, part) in [
        (life(1, 1), empty(2)),
        (life(1, 1), ClaimsPart { round: other_term, ..empty(1) }),
        (life(1, 2), empty(1)),
        (life(9, 1), empty(1)),
        (life(7, 1), empty(1)),
    ] {
        assert_eq!(keeper.on_claims(from, part.clone(), Time::ZERO), Taken::Ignored, "{from:?} {part:?}");
    }
    assert_eq!(keeper.on_carried(life(1, 1), round(1)), Taken::Ignored, "there is no verdict yet");
    let bad = ClaimsPart { part: 3, parts: 2, ..empty(1) };
    assert_eq!(keeper.on_claims(life(1, 1), bad, Time::ZERO), Taken::Malformed);
    assert_eq!(keeper.awaited(), [life(1, 1), life(2, 1)]);
    assert_eq!(keeper.on_claims(life(1, 1), empty(1), Time::ZERO), Taken::Yes);
    assert_eq!(keeper.on_claims(life(1, 1), with_copy(1, 0), Time::ZERO), Taken::Ignored, "it said its word");
}

#[test]
fn a_further_death_starts_the_round_again_for_all_the_dead() {
    let mut keeper = begun();
    keeper.on_claims(life(1, 1), empty(1), Time::ZERO);
    assert!(keeper.bury(life(2, 1)));
    assert!(drain(&mut keeper).is_empty(), "what the old round still had to say is void");
    assert_eq!(keeper.wanted_above(), Some(1));
    assert_eq!(keeper.on_claims(life(1, 1), empty(1), Time::ZERO), Taken::Ignored);
    assert!(keeper.begin(round(2), Time::ZERO));
    let outputs = drain(&mut keeper);
    let dead = vec![life(2, 1), life(9, 1)];
    let fence = RecoveryMessage::Fence { round: round(2), dead };
    assert_eq!(outputs, [RoundOutput::Send { to: life(1, 1), message: fence }]);
    assert_eq!(
        keeper.on_claims(life(1, 1), empty(1), Time::ZERO),
        Taken::Ignored,
        "an answer to the old one"
    );
    assert_eq!(keeper.on_claims(life(1, 1), empty(2), Time::ZERO), Taken::Yes);
}

#[test]
fn a_node_that_joins_starts_an_open_round_again_and_is_asked_too() {
    let mut keeper = begun();
    for node in [1, 2] {
        keeper.on_claims(life(node, 1), with_copy(1, 0), Time::ZERO);
    }
    assert!(keeper.join(life(3, 1)));
    assert_eq!(keeper.wanted_above(), Some(1));
    assert_eq!(keeper.on_carried(life(1, 1), round(1)), Taken::Ignored);
    assert!(keeper.begin(round(2), Time::ZERO));
    assert_eq!(asked(&drain(&mut keeper)), [life(1, 1), life(2, 1), life(3, 1)]);
}

#[test]
fn a_node_that_registers_again_opens_a_round_for_its_former_life() {
    let mut keeper = RoundKeeper::new(Round::default(), RETRY);
    assert!(keeper.join(life(1, 1)) && keeper.join(life(2, 1)));
    assert!(keeper.join(life(2, 2)));
    assert!(keeper.dead().contains(&life(2, 1)));
    assert!(keeper.begin(round(1), Time::ZERO));
    assert_eq!(asked(&drain(&mut keeper)), [life(1, 1), life(2, 2)]);
    assert!(!keeper.join(life(2, 1)), "a late word of the former life");
    assert!(!keeper.join(life(2, 2)));
}

#[test]
fn a_coordinator_that_restarts_starts_the_round_again_under_a_higher_number() {
    let before = begun();
    let mut after = RoundKeeper::new(before.round(), RETRY);
    for node in [1, 2] {
        assert!(after.join(life(node, 1)));
    }
    for &dead in before.dead() {
        assert!(after.bury(dead));
    }
    assert_eq!(after.wanted_above(), Some(1));
    let next = Round { term: Term(2), number: 2 };
    assert!(after.begin(next, Time::ZERO));
    assert_eq!(asked(&drain(&mut after)), [life(1, 1), life(2, 1)]);
}

#[test]
fn a_claim_from_the_future_makes_the_number_jump_past_it() {
    let mut keeper = begun();
    drain(&mut keeper);
    assert_eq!(keeper.on_claims(life(1, 1), with_copy(1, 6), Time::ZERO), Taken::Yes);
    assert_eq!(keeper.wanted_above(), Some(6), "the store has lost rounds that were held");
    assert!(!keeper.begin(round(6), Time::ZERO));
    assert!(keeper.begin(round(7), Time::ZERO));
    keeper.on_claims(life(1, 1), with_copy(7, 6), Time::ZERO);
    keeper.on_claims(life(2, 1), empty(7), Time::ZERO);
    let decided = drain(&mut keeper).into_iter().any(|output| match output {
        RoundOutput::Decided(verdict) => verdict.restored[0].epoch == AuthorityEpoch::restored_in(7),
        RoundOutput::Send { .. } | RoundOutput::Closed { .. } => false,
    });
    assert!(decided);
    let absurd = with_copy(7, 7 + ROUNDS_LOST_MAX + 1);
    let mut keeper = wanted();
    keeper.begin(round(7), Time::ZERO);
    assert_eq!(keeper.on_claims(life(1, 1), absurd, Time::ZERO), Taken::Malformed);
    assert_eq!(keeper.wanted_above(), None);
}

#[test]
fn a_round_without_a_live_node_has_nothing_to_ask() {
    let mut keeper = RoundKeeper::new(Round::default(), RETRY);
    keeper.bury(life(9, 1));
    assert!(keeper.begin(round(1), Time::ZERO));
    assert!(!keeper.is_open());
    assert!(keeper.join(life(1, 1)));
    assert!(!keeper.is_open());
}
