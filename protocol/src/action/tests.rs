use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::limits::{ACTIONS_REMEMBERED_MAX, ANSWER_BYTES_MAX, UNCLOSED_TICKS};

const A: EntityId = EntityId::from_u128(1);
const B: EntityId = EntityId::from_u128(2);
const PLAIN: Terms = Terms { durable: false, ticks: 10 };
const DURABLE: Terms = Terms { durable: true, ticks: 10 };

fn issue(book: &mut ActionBook, terms: Terms, tick: u64) -> ActionNumber {
    book.issue(A, 0, B, b"hit", terms, Tick(tick)).unwrap()
}

/// What A's node would ask B now.
fn request(book: &ActionBook, number: ActionNumber) -> Request {
    let pending = book.outbox().get(number).unwrap();
    let closing = book.outbox().closing().map(|(number, _)| number);
    let low = book.outbox().pending().map(|(number, _)| number).chain(closing).min().unwrap();
    let &Pending { deadline, durable, ref bytes, .. } = pending;
    Request { id: ActionId { from: A, number }, low, deadline, durable, bytes: bytes.clone() }
}

fn done() -> Outcome {
    Outcome::Done(b"ouch".to_vec())
}

fn perform(book: &mut ActionBook, request: &Request, tick: u64) -> Offer {
    let offer = book.offer(request, Tick(tick));
    if offer == Offer::Fresh {
        book.remember(request, done(), Tick(tick));
    }
    offer
}

fn travelled(book: &ActionBook) -> ActionBook {
    ActionBook::decode(book.version(), &book.encode()).unwrap()
}

#[test]
fn a_repeat_gets_the_same_answer_wherever_the_receiver_is() {
    let (mut a, mut b) = (ActionBook::default(), ActionBook::default());
    let number = issue(&mut a, PLAIN, 1);
    let asked = request(&a, number);
    assert_eq!(perform(&mut b, &asked, 2), Offer::Fresh);
    let mut elsewhere = travelled(&b);
    assert_eq!(elsewhere, b);
    assert_eq!(perform(&mut elsewhere, &asked, 3), Offer::Known { outcome: done(), at: Tick(2) });
}

#[test]
fn what_its_sender_has_settled_is_forgotten_and_never_done_again() {
    let (mut a, mut b) = (ActionBook::default(), ActionBook::default());
    let first = issue(&mut a, PLAIN, 1);
    let late_double = request(&a, first);
    perform(&mut b, &late_double, 2);
    assert_eq!(a.settle(first, &done(), Tick(3)), Some(Settled::Over));
    assert_eq!(a.settle(first, &done(), Tick(3)), None, "it is told once");
    let second = issue(&mut a, PLAIN, 4);
    perform(&mut b, &request(&a, second), 5);
    assert_eq!(perform(&mut b, &late_double, 5), Offer::Ignored);
}

#[test]
fn what_comes_past_its_deadline_is_not_done_so_it_may_be_forgotten_then() {
    let (mut a, mut b) = (ActionBook::default(), ActionBook::default());
    let number = issue(&mut a, PLAIN, 1);
    let asked = request(&a, number);
    let mut other = b.clone();
    assert_eq!(perform(&mut other, &asked, 12), Offer::Late);
    perform(&mut b, &asked, 11);
    b.forget_old(Tick(11));
    assert!(matches!(perform(&mut b, &asked, 11), Offer::Known { .. }));
    b.forget_old(Tick(12));
    assert_eq!(perform(&mut b, &asked, 12), Offer::Late);
    assert_eq!(a.outbox().overdue(Tick(11)).count(), 0);
    assert_eq!(a.outbox().overdue(Tick(12)).collect::<Vec<_>>(), [number]);
}

#[test]
fn a_durable_action_is_remembered_until_it_is_closed() {
    let (mut a, mut b) = (ActionBook::default(), ActionBook::default());
    let number = issue(&mut a, DURABLE, 1);
    let asked = request(&a, number);
    perform(&mut b, &asked, 2);
    b.forget_old(Tick(500));
    assert!(matches!(perform(&mut b, &asked, 500), Offer::Known { .. }), "long past its deadline");
    assert_eq!(a.outbox().overdue(Tick(500)).count(), 0, "only its receiver can tell");
    assert!(a.is_bound() && b.is_bound());
    assert_eq!(a.settle(number, &done(), Tick(501)), Some(Settled::Closing));
    assert!(a.is_bound());
    assert!(b.close(asked.id) && !b.close(asked.id));
    assert!(a.closed(number) && !a.is_bound() && !b.is_bound());
}

#[test]
fn what_its_sender_does_not_close_is_forgotten_only_once_that_is_gone_and_its_time_is_long_over() {
    let (mut a, mut b) = (ActionBook::default(), ActionBook::default());
    let number = issue(&mut a, DURABLE, 1);
    let asked = request(&a, number);
    perform(&mut b, &asked, 2);
    let late = Tick(asked.deadline.0 + UNCLOSED_TICKS);
    assert_eq!(b.unclosed(late).count(), 0);
    b.forsake(A, late);
    assert!(b.is_bound(), "its sender may only be slow to be told of");
    let over = late.next();
    assert_eq!(b.unclosed(over).collect::<Vec<_>>(), [A]);
    b.forsake(B, over);
    assert!(b.is_bound(), "it is another's");
    b.forsake(A, over);
    assert!(!b.is_bound() && b.unclosed(over).count() == 0);
    assert_eq!(perform(&mut b, &asked, over.0), Offer::Late, "and it is never done again");
}

#[test]
fn a_repeat_that_comes_after_the_close_takes_no_effect() {
    let (mut a, mut b) = (ActionBook::default(), ActionBook::default());
    let number = issue(&mut a, DURABLE, 1);
    let asked = request(&a, number);
    perform(&mut b, &asked, 2);
    a.settle(number, &done(), Tick(3));
    assert!(b.close(asked.id));
    for tick in [4, asked.deadline.0] {
        b.forget_old(Tick(tick));
        assert!(matches!(perform(&mut b, &asked, tick), Offer::Known { .. }), "in tick {tick}");
    }
    let after = asked.deadline.next();
    b.forget_old(after);
    assert_eq!(perform(&mut b, &asked, after.0), Offer::Late);
}

#[test]
fn a_failed_durable_action_leaves_nothing_to_close() {
    let mut a = ActionBook::default();
    let number = issue(&mut a, DURABLE, 1);
    assert_eq!(a.settle(number, &Outcome::Failed(Failure::TimedOut), Tick(3)), Some(Settled::Over));
    assert!(!a.is_bound());
}

#[test]
fn a_sender_that_fell_back_gives_its_numbers_anew_in_a_later_generation() {
    let (mut a, mut b) = (ActionBook::default(), ActionBook::default());
    let copy = a.clone();
    let undone = issue(&mut a, PLAIN, 1);
    perform(&mut b, &request(&a, undone), 2);
    let mut restored = copy;
    let anew = restored.issue(A, 7, B, b"hit", PLAIN, Tick(3)).unwrap();
    assert_eq!((undone.count, anew.count), (1, 1));
    assert_eq!(perform(&mut b, &request(&restored, anew), 4), Offer::Fresh);
}

#[test]
fn every_bound_is_an_error_at_once_or_a_silence() {
    let mut a = ActionBook::default();
    let long = vec![0; ACTION_BYTES_MAX + 1];
    let too_long = ActError::TooLong { entity: A, bytes: long.len() };
    assert_eq!(a.issue(A, 0, B, &long, PLAIN, Tick(1)), Err(too_long));
    for _ in 0..ACTIONS_PENDING_MAX {
        issue(&mut a, PLAIN, 1);
    }
    assert_eq!(a.issue(A, 0, B, b"", PLAIN, Tick(1)), Err(ActError::TooMany(A)));

    let mut b = ActionBook::default();
    let number = |count| ActionNumber { generation: 0, count };
    let ask = |count| Request {
        id: ActionId { from: A, number: number(count) },
        low: number(1),
        deadline: Tick(10),
        durable: false,
        bytes: Vec::new(),
    };
    let answer = Outcome::Done(vec![0; ANSWER_BYTES_MAX]);
    for count in 1..=ACTIONS_REMEMBERED_MAX as u64 {
        assert_eq!(b.offer(&ask(count), Tick(1)), Offer::Fresh);
        b.remember(&ask(count), answer.clone(), Tick(1));
    }
    assert_eq!(b.offer(&ask(9_999), Tick(1)), Offer::Ignored);
    assert_eq!(travelled(&b), b, "a full window still travels");
    // Where room is made, it goes on.
    let later = Request { deadline: Tick(20), ..ask(9_999) };
    assert_eq!(b.offer(&later, Tick(11)), Offer::Fresh);
    let for_ever = Request { deadline: Tick(u64::MAX), ..ask(10_000) };
    assert_eq!(b.offer(&for_ever, Tick(11)), Offer::Ignored);
}

#[test]
fn a_book_whose_numbers_have_no_next_one_is_refused() {
    let mut book = ActionBook::new();
    issue(&mut book, PLAIN, 1);
    assert!(ActionBook::decode(u64::MAX, &book.encode()).is_err());
    book.outbox.issued = u64::MAX;
    assert!(ActionBook::decode(1, &book.encode()).is_err());
}

#[test]
fn foreign_bytes_are_no_book() {
    let mut a = ActionBook::default();
    issue(&mut a, DURABLE, 1);
    let bytes = a.encode();
    for cut in 0..bytes.len() {
        assert!(ActionBook::decode(1, &bytes[..cut]).is_err());
    }
    assert!(ActionBook::decode(1, &[0xff; 200]).is_err());
}

/// What may happen between two entities and the network that lies between them.
#[derive(Clone, Debug)]
enum Step {
    Issue(bool),
    Ask(usize),
    /// A request that was sent arrives; it may arrive again.
    Arrive(usize),
    Answered(usize),
    HandOn(bool),
    Later(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        any::<bool>().prop_map(Step::Issue),
        (0..8usize).prop_map(Step::Ask),
        (0..64usize).prop_map(Step::Arrive),
        (0..64usize).prop_map(Step::Answered),
        any::<bool>().prop_map(Step::HandOn),
        (0..4u64).prop_map(Step::Later),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    #[test]
    fn whatever_the_network_does_each_action_is_done_once_and_answered_once(steps in steps()) {
        let (mut a, mut b, mut tick) = (ActionBook::default(), ActionBook::default(), 1u64);
        let (mut asked, mut answers) = (Vec::<Request>::new(), Vec::new());
        let mut performed = BTreeMap::<ActionId, u32>::new();
        let mut settled = BTreeMap::<ActionNumber, u32>::new();
        for step in steps {
            match step {
                Step::Issue(durable) => {
                    let terms = Terms { durable, ticks: 10 };
                    let _ = a.issue(A, 0, B, b"hit", terms, Tick(tick));
                }
                Step::Ask(index) => {
                    let number = a.outbox().pending().map(|(number, _)| number).nth(index);
                    asked.extend(number.map(|number| request(&a, number)));
                }
                Step::Arrive(index) if !asked.is_empty() => {
                    let request = &asked[index % asked.len()];
                    match perform(&mut b, request, tick) {
                        Offer::Fresh => {
                            *performed.entry(request.id).or_default() += 1;
                            answers.push((request.id.number, done()));
                        }
                        Offer::Known { outcome, .. } => answers.push((request.id.number, outcome)),
                        Offer::Late => {
                            answers.push((request.id.number, Outcome::Failed(Failure::TimedOut)));
                        }
                        Offer::Ignored => {}
                    }
                }
                Step::Answered(index) if !answers.is_empty() => {
                    let (number, outcome) = answers[index % answers.len()].clone();
                    let durable = a.outbox().get(number).is_some_and(|pending| pending.durable);
                    if a.settle(number, &outcome, Tick(tick)).is_some() {
                        *settled.entry(number).or_default() += 1;
                        let was_done = performed.contains_key(&ActionId { from: A, number });
                        match outcome {
                            Outcome::Done(_) => prop_assert!(was_done),
                            Outcome::Failed(_) => prop_assert!(!durable || !was_done),
                            Outcome::Refused(_) => {}
                        }
                    }
                }
                Step::HandOn(true) => a = travelled(&a),
                Step::HandOn(false) => b = travelled(&b),
                Step::Later(ticks) => {
                    tick += ticks;
                    for number in a.outbox().overdue(Tick(tick)).collect::<Vec<_>>() {
                        a.settle(number, &Outcome::Failed(Failure::TimedOut), Tick(tick));
                        *settled.entry(number).or_default() += 1;
                    }
                    b.forget_old(Tick(tick));
                }
                Step::Arrive(_) | Step::Answered(_) => {}
            }
        }
        prop_assert!(performed.values().chain(settled.values()).all(|&times| times == 1));
    }
}
