//! The checks of actions and of what is traded, shown what they must see and what they must let pass.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic like the test")]

use core::time::Duration;

use selvedge_protocol::action::{ActionId, ActionNumber, Failure, Outcome};
use selvedge_protocol::id::{AuthorityEpoch, EntityId};
use selvedge_protocol::time::{Tick, Time};
use selvedge_protocol::wire::Captured;
use selvedge_sim::invariant::{
    ActionFact, ActionsOnce, Fact, Inspection, Invariant, ItemsConserved, SentCopy, Step, Violation,
};

const A: EntityId = EntityId::from_u128(1);
const B: EntityId = EntityId::from_u128(2);
const EPOCH: AuthorityEpoch = AuthorityEpoch::FIRST;
const NUMBER: ActionNumber = ActionNumber { generation: 0, count: 1 };
const BOUND: Duration = Duration::from_secs(10);

fn observe(check: &mut impl Invariant, facts: &[Fact]) -> Result<(), Violation> {
    check.observe(&Step { number: 1, at: Time::ZERO, facts })
}

const fn fact(entity: EntityId, fact: ActionFact) -> Fact {
    Fact::Action { node: 0, entity, fact }
}

const fn performed(tick: u64, durable: bool) -> Fact {
    fact(
        B,
        ActionFact::Performed { id: ActionId { from: A, number: NUMBER }, durable, at: (EPOCH, Tick(tick)) },
    )
}

const fn settled(outcome: Outcome, durable: bool) -> Fact {
    fact(A, ActionFact::Settled { number: NUMBER, durable, outcome })
}

const fn done() -> Outcome {
    Outcome::Done(Vec::new())
}

const fn restored(entity: EntityId, tick: u64) -> Fact {
    Fact::Restored { entity, contents: Captured { epoch: EPOCH, tick: Tick(tick) }, ride: None }
}

fn safe(entity: EntityId, tick: u64) -> Fact {
    let copies = vec![SentCopy { entity, epoch: EPOCH, inputs: None, attached_to: None }];
    Fact::CutSafe { node: 0, keeper: Some(1), tick: Tick(tick), copies, gone: Vec::new() }
}

fn inspected(purses: &[(EntityId, &[u128])], unsettled: &[(usize, EntityId, usize)]) -> Fact {
    Fact::Inspected(Inspection {
        calm_for: BOUND,
        bound: BOUND,
        held: Vec::new(),
        players: Vec::new(),
        margin_m: 30.0,
        ghosts: Vec::new(),
        unseen: Vec::new(),
        ownerless: Vec::new(),
        recovering: Vec::new(),
        waiting: false,
        unheld: Vec::new(),
        unsettled: unsettled.to_vec(),
        purses: purses.iter().map(|(entity, things)| (*entity, things.to_vec())).collect(),
    })
}

#[test]
fn an_action_that_is_done_and_answered_passes() {
    observe(&mut ActionsOnce::default(), &[performed(5, true), settled(done(), true), inspected(&[], &[])])
        .unwrap();
}

#[test]
fn doing_it_twice_is_seen_and_doing_again_what_a_crash_undid_is_not() {
    observe(&mut ActionsOnce::default(), &[performed(5, false), performed(6, false)]).unwrap_err();
    observe(&mut ActionsOnce::default(), &[performed(5, false), restored(B, 4), performed(9, false)])
        .unwrap();
    observe(&mut ActionsOnce::default(), &[performed(5, false), restored(B, 5), performed(9, false)])
        .unwrap_err();
}

#[test]
fn a_durable_action_that_was_answered_must_not_be_undone_unless_two_were_lost() {
    let facts = [performed(5, true), settled(done(), true), restored(B, 4)];
    observe(&mut ActionsOnce::default(), &facts).unwrap_err();
    let facts = [performed(5, true), safe(B, 6), settled(done(), true), restored(B, 4)];
    observe(&mut ActionsOnce::default(), &facts).unwrap();
    let facts = [performed(5, false), settled(done(), false), restored(B, 4)];
    observe(&mut ActionsOnce::default(), &facts).unwrap();
}

#[test]
fn what_the_sender_hears_must_be_true_and_come_once() {
    let failed = || Outcome::Failed(Failure::TimedOut);
    observe(&mut ActionsOnce::default(), &[settled(done(), false)]).unwrap_err();
    observe(&mut ActionsOnce::default(), &[performed(5, true), settled(failed(), true)]).unwrap_err();
    observe(&mut ActionsOnce::default(), &[settled(failed(), true), performed(5, true)]).unwrap_err();
    observe(&mut ActionsOnce::default(), &[performed(5, false), settled(failed(), false)]).unwrap();
    let twice = [performed(5, false), settled(done(), false), settled(done(), false)];
    observe(&mut ActionsOnce::default(), &twice).unwrap_err();
    // Who came back from before the answer may hear it again.
    let again = [performed(5, true), settled(done(), true), restored(A, 3), settled(done(), true)];
    observe(&mut ActionsOnce::default(), &again).unwrap();
}

#[test]
fn what_stays_unsettled_is_seen() {
    observe(&mut ActionsOnce::default(), &[inspected(&[], &[(0, A, 1)])]).unwrap_err();
}

#[test]
fn things_change_hands_or_leave_with_their_owner_but_are_not_lost_or_doubled() {
    let has = |entity, things: &[u128]| fact(entity, ActionFact::Has { things: things.to_vec() });
    let begun = [has(A, &[10, 11]), has(B, &[20])];
    let end = |purses: &[(EntityId, &[u128])]| {
        let mut check = ItemsConserved::default();
        observe(&mut check, &begun).unwrap();
        observe(&mut check, &[inspected(purses, &[])])
    };
    end(&[(A, &[11]), (B, &[20, 10])]).unwrap();
    // A took both along.
    end(&[(B, &[20])]).unwrap();
    end(&[(A, &[11]), (B, &[20])]).unwrap_err();
    end(&[(A, &[10, 11]), (B, &[20, 10])]).unwrap_err();
}
