use core::time::Duration;

use super::*;
use crate::id::{Incarnation, NodeId, Peer};
use crate::time::Time;
use crate::wire::Assignment;

const LEASE: Duration = Duration::from_secs(3);
const SETTINGS: WardenSettings = WardenSettings {
    lease: LEASE,
    margin: Duration::from_millis(150),
    suspect_after: Duration::from_secs(2),
    retry: Duration::from_millis(200),
};

fn peer(n: u128) -> Peer {
    Peer { node: NodeId::from_u128(n), incarnation: Incarnation(u64::try_from(n).unwrap()) }
}

fn at(millis: u64) -> Time {
    Time::from_micros(millis * 1000)
}

fn holder(voters: &[u128]) -> LeaseHolder {
    let mut holder = LeaseHolder::granted(LEASE, at(0));
    for n in 1..=voters.len() {
        let voters: Vec<Peer> = voters[..n].iter().map(|&n| peer(n)).collect();
        for &voter in &voters {
            holder.answered_by(voter, at(0), at(0));
        }
        let assignment =
            Assignment { version: u64::try_from(n).unwrap(), voters: voters.clone(), buddy: None };
        holder.assign(assignment, at(0));
        voters.iter().for_each(|&voter| holder.answered_by(voter, at(0), at(0)));
        assert_eq!(holder.assignment().voters, voters);
    }
    holder
}

/// A warden of so many nodes, whose voters are all told and acknowledged.
fn warden(nodes: u128) -> Warden {
    let mut warden = Warden::new(SETTINGS);
    (1..=nodes).for_each(|n| warden.admit(peer(n), "host", at(0)));
    settle(&mut warden, at(0));
    warden
}

fn settle(warden: &mut Warden, now: Time) {
    for _ in 0..16 {
        for action in warden.handle_due(now) {
            if let WardenAction::Assign { to, assignment } = action {
                warden.assigned(to, assignment.version, assignment.version);
            }
        }
    }
}

/// The newest set of voters of a life.
fn newest(warden: &Warden, of: Peer) -> Assignment {
    warden.sets_of(of).last().unwrap().clone()
}

fn is_over(actions: &[WardenAction], of: Peer) -> bool {
    actions.contains(&WardenAction::Over { of })
}

#[test]
fn a_lease_runs_from_the_sending_of_the_newest_renewal_that_a_majority_answered() {
    let mut holder = holder(&[2, 3, 4]);
    assert_eq!(holder.expires_at(), at(3000));
    holder.answered_by(peer(2), at(1000), at(1000));
    assert_eq!(holder.expires_at(), at(3000), "two of five, the node itself included");
    holder.answered_by(peer(3), at(900), at(900));
    assert_eq!(holder.expires_at(), at(3900));
    holder.answered_by_coordinator(at(800), at(800));
    assert_eq!(holder.expires_at(), at(3900), "the coordinator is not needed");
    assert!(holder.is_valid(at(3899)) && !holder.is_valid(at(3900)));
}

#[test]
fn who_does_not_vote_does_not_count() {
    let mut holder = holder(&[2]);
    holder.answered_by(peer(9), at(2000), at(2000));
    assert_eq!(holder.expires_at(), at(3000));
}

#[test]
fn a_new_set_of_voters_counts_once_its_majority_has_answered() {
    let mut holder = LeaseHolder::granted(LEASE, at(0));
    holder.assign(Assignment { version: 1, voters: vec![peer(2)], buddy: None }, at(0));
    assert_eq!(holder.assignment().version, 1, "the coordinator and the node are two of three");
    holder.assign(Assignment { version: 2, voters: vec![peer(2), peer(3)], buddy: None }, at(0));
    assert_eq!(holder.assignment().version, 1);
    assert!(holder.is_valid(at(2999)), "a voter that never answered takes nothing away");
    assert!(holder.voters().any(|voter| voter == peer(3)), "it is asked already");
    holder.answered_by(peer(3), at(100), at(100));
    assert_eq!(holder.assignment().version, 2);
}

#[test]
fn going_over_to_new_voters_never_ends_a_lease() {
    let mut holder = holder(&[2]);
    // Two of three: the node itself and voter 2. The coordinator was not heard for long.
    holder.answered_by(peer(2), at(2000), at(2000));
    let next = Assignment { version: 2, voters: vec![peer(2), peer(3)], buddy: None };
    holder.assign(next, at(3500));
    assert_eq!(holder.assignment().version, 1);
    holder.answered_by(peer(3), at(100), at(3500));
    assert_eq!(holder.assignment().version, 1, "three of four: the third answer is older than a lease");
    assert!(holder.is_valid(at(4999)));
    holder.answered_by(peer(3), at(3600), at(3700));
    assert_eq!(holder.assignment().version, 2, "as good as before, if not better");
    assert!(holder.is_valid(at(4999)));
}

#[test]
fn a_witness_that_has_promised_answers_no_more_and_says_when_it_last_did() {
    let mut witness = Witness::new(LEASE);
    assert!(witness.renew(peer(5), at(100)));
    let ago = Duration::from_millis(1300);
    assert_eq!(witness.promise(peer(5), at(1400)), Plea::Promised(Some(ago)));
    assert!(!witness.renew(peer(5), at(1500)));
    let next = Peer { incarnation: Incarnation(6), ..peer(5) };
    assert!(witness.renew(next, at(1500)), "the next life of the same node is another matter");
    let former = Peer { incarnation: Incarnation(4), ..peer(5) };
    assert!(!witness.renew(former, at(1500)), "lives before a promised one are over as well");
}

#[test]
fn a_witness_promises_nothing_about_whom_it_hears() {
    let mut witness = Witness::new(LEASE);
    assert!(witness.renew(peer(5), at(100)));
    assert_eq!(witness.promise(peer(5), at(1099)), Plea::Lively);
    assert!(witness.renew(peer(5), at(1099)), "and goes on answering");
    assert_eq!(witness.promise(peer(5), at(2099)), Plea::Promised(Some(Duration::from_millis(1000))));
    assert_eq!(witness.promise(peer(7), at(2099)), Plea::Promised(None), "never heard here");
}

#[test]
fn who_is_heard_again_before_a_voter_has_promised_lives_on() {
    let mut warden = warden(4);
    let of = peer(1);
    let voter = newest(&warden, of).voters[0];
    warden.suspect(of, at(100));
    assert!(!warden.is_alive(of));
    assert!(warden.heard(of, at(200)));
    assert!(warden.is_alive(of));
    warden.suspect(of, at(300));
    warden.promised(voter, of, None, at(400));
    assert!(!warden.heard(of, at(500)), "that voter will never answer it again");
}

#[test]
fn a_voter_whose_promise_comes_after_the_life_was_heard_again_is_replaced() {
    let mut warden = warden(6);
    let of = peer(1);
    assert_eq!(newest(&warden, of).voters, [peer(2), peer(3), peer(4)]);
    warden.suspect(of, at(100));
    assert!(warden.heard(of, at(200)));
    warden.promised(peer(3), of, None, at(300));
    assert!(warden.is_alive(of), "it has a majority without that one");
    assert_eq!(newest(&warden, of).voters, [peer(2), peer(4), peer(5)]);
    assert_eq!(newest(&warden, peer(6)).voters, [peer(1), peer(2), peer(3)], "it votes for others as before");
    assert_eq!(warden.sets_of(of).count(), 2, "it may go by either");
    warden.suspect(of, at(400));
    [2, 3].into_iter().for_each(|n| warden.promised(peer(n), of, None, at(400)));
    assert!(
        !is_over(&warden.handle_due(at(9_000)), of),
        "what was promised late is no vote by the newer set"
    );
    warden.promised(peer(5), of, None, at(9_000));
    assert!(is_over(&warden.handle_due(at(9_000)), of));
}

#[test]
fn whom_no_other_node_would_answer_goes_by_the_coordinator_alone_and_keeps_its_buddy() {
    let mut warden = warden(2);
    let of = peer(1);
    warden.promised(peer(2), of, None, at(100));
    assert_eq!(newest(&warden, of), Assignment { version: 2, voters: vec![], buddy: Some(peer(2)) });
    settle(&mut warden, at(200));
    let next = Peer { incarnation: Incarnation(9), ..peer(2) };
    warden.confessed(peer(2));
    warden.admit(next, "host", at(300));
    settle(&mut warden, at(400));
    assert_eq!(newest(&warden, of).voters, [next], "another life has promised nothing");
}

/// What a node is told of its voters now.
fn told(warden: &mut Warden, node: Peer, now: Time) -> Option<Assignment> {
    let told = |action| match action {
        WardenAction::Assign { to, assignment } => (to == node).then_some(assignment),
        WardenAction::Suspected { .. } | WardenAction::AskPromise { .. } | WardenAction::Over { .. } => None,
    };
    warden.handle_due(now).into_iter().find_map(told)
}

#[test]
fn everybody_has_three_voters_and_a_buddy_in_the_end() {
    let warden = warden(5);
    for n in 1..=5 {
        let assignment = newest(&warden, peer(n));
        assert_eq!(assignment.voters.len(), 3);
        assert!(!assignment.voters.contains(&peer(n)));
        assert!(assignment.buddy.is_some_and(|buddy| buddy != peer(n)));
        assert_eq!(warden.sets_of(peer(n)).count(), 1, "what it does not go by any more is put away");
    }
}

#[test]
fn a_set_that_is_told_is_repeated_until_the_node_goes_by_it() {
    let mut warden = warden(3);
    let of = peer(1);
    warden.confessed(peer(2));
    let next = told(&mut warden, of, at(100)).unwrap();
    assert_eq!(told(&mut warden, of, at(200)), None);
    warden.assigned(of, next.version - 1, next.version);
    assert_eq!(told(&mut warden, of, at(300)), Some(next.clone()), "it may not know yet that it was adopted");
    warden.assigned(of, next.version, next.version);
    assert_eq!(told(&mut warden, of, at(900)), None);
}

#[test]
fn voters_that_die_before_the_node_goes_by_them_are_replaced() {
    let mut warden = warden(4);
    let of = peer(1);
    warden.confessed(peer(2));
    let missed = told(&mut warden, of, at(100)).unwrap();
    assert_eq!(missed.voters, [peer(3), peer(4)]);
    warden.confessed(peer(3));
    assert_eq!(newest(&warden, of), missed, "it is not known to have heard of these");
    warden.assigned(of, missed.version - 1, missed.version);
    let next = told(&mut warden, of, at(200)).unwrap();
    assert_eq!(next.voters, [peer(4)]);
    assert_eq!(warden.sets_of(of).count(), 3, "it may go by any of these");
    warden.assigned(of, missed.version - 1, next.version);
    let may_be: Vec<u64> = warden.sets_of(of).map(|set| set.version).collect();
    assert_eq!(may_be, [missed.version - 1, next.version], "it has passed one over");
    warden.assigned(of, missed.version - 1, missed.version);
    assert_eq!(warden.sets_of(of).count(), 2, "what it said before comes late and changes nothing");
}

#[test]
fn a_life_is_over_only_when_no_set_that_it_may_go_by_has_a_majority_left() {
    let mut warden = Warden::new(SETTINGS);
    let of = peer(10);
    [10, 20, 30, 40].into_iter().for_each(|n| warden.admit(peer(n), "host", at(0)));
    settle(&mut warden, at(0));
    [11, 12, 13].into_iter().for_each(|n| warden.admit(peer(n), "host", at(0)));
    let first = told(&mut warden, of, at(100)).unwrap().version - 1;
    warden.assigned(of, first, first + 1);
    assert_eq!(told(&mut warden, of, at(200)).unwrap().voters, [peer(11), peer(12), peer(13)]);
    // It has heard of the last one, and nobody knows whether it goes by it.
    warden.assigned(of, first, first + 2);
    warden.suspect(of, at(300));
    [11, 12, 13].into_iter().for_each(|n| warden.promised(peer(n), of, None, at(400)));
    assert!(!is_over(&warden.handle_due(at(9_000)), of), "its former voters may still witness it");
    warden.promised(peer(30), of, None, at(9_000));
    assert!(!is_over(&warden.handle_due(at(9_000)), of), "two of these five");
    warden.promised(peer(40), of, None, at(9_000));
    assert!(is_over(&warden.handle_due(at(9_000)), of));
}

#[test]
fn a_restarted_coordinator_asks_every_set_that_was_kept() {
    let mut warden = Warden::new(SETTINGS);
    let of = peer(1);
    let set = |version, voters: &[u128]| {
        let voters = voters.iter().map(|&n| peer(n)).collect();
        Assignment { version, voters, buddy: None }
    };
    (2..=4).for_each(|n| warden.restore(peer(n), "host", vec![Assignment::default()], at(0)));
    warden.restore(of, "host", vec![set(4, &[2]), set(5, &[3, 4])], at(0));
    assert_eq!(
        told(&mut warden, of, at(0)).unwrap(),
        set(5, &[3, 4]),
        "whether it has heard of them is not known"
    );
    assert_eq!(warden.sets_of(of).count(), 2);
    warden.suspect(of, at(100));
    [3, 4].into_iter().for_each(|n| warden.promised(peer(n), of, None, at(100)));
    assert!(!is_over(&warden.handle_due(at(9_000)), of));
    warden.promised(peer(2), of, None, at(9_000));
    assert!(is_over(&warden.handle_due(at(9_000)), of));
}

#[test]
fn whom_the_coordinator_alone_witnessed_is_over_a_lease_after_it_was_heard() {
    let mut warden = Warden::new(SETTINGS);
    let of = peer(1);
    warden.admit(of, "host", at(0));
    warden.suspect(of, at(2_000));
    assert!(!is_over(&warden.handle_due(at(3_149)), of));
    assert!(warden.heard(of, at(3_149)), "what the coordinator promises itself it may take back");
    warden.suspect(of, at(5_000));
    assert!(!is_over(&warden.handle_due(at(6_298)), of));
    assert!(is_over(&warden.handle_due(at(6_299)), of), "nobody else could have renewed its lease since");
}

#[test]
fn of_an_even_number_of_voters_half_of_them_keep_a_life_from_being_renewed() {
    let mut warden = warden(3);
    let of = peer(1);
    warden.suspect(of, at(100));
    assert!(
        !is_over(&warden.handle_due(at(9_000)), of),
        "two others, and the node itself, are three of four"
    );
    warden.promised(peer(2), of, None, at(9_000));
    assert!(is_over(&warden.handle_due(at(9_000)), of), "one other and the node itself are not");
    let mut holder = holder(&[2, 3]);
    holder.answered_by(peer(3), at(1000), at(1000));
    assert_eq!(holder.expires_at(), at(3000));
}

#[test]
fn a_life_is_over_once_a_majority_has_promised_and_the_last_lease_has_run_out() {
    let mut warden = warden(5);
    let of = peer(1);
    let voters = newest(&warden, of).voters;
    (2..=5).for_each(|n| assert!(warden.heard(peer(n), at(2000))));
    let actions = warden.handle_due(at(2000));
    assert!(actions.contains(&WardenAction::Suspected { of }));
    assert!(actions.contains(&WardenAction::AskPromise { voter: voters[0], of }));
    // The first witness answered it at 1,900 ms.
    warden.promised(voters[0], of, Some(Duration::from_millis(150)), at(2050));
    assert!(!warden.heard(of, at(2051)), "nor is it answered by the coordinator from here on");
    assert!(!is_over(&warden.handle_due(at(9000)), of), "two promises of five");
    warden.promised(voters[1], of, None, at(9000));
    let actions = warden.handle_due(at(9000));
    assert!(is_over(&actions, of), "1,900 + 3,000 + 150 ms have passed long ago");
}

#[test]
fn the_wait_counts_from_the_newest_answer_of_those_that_promised() {
    let mut warden = warden(3);
    let of = peer(1);
    let voters = newest(&warden, of).voters;
    (2..=3).for_each(|n| assert!(warden.heard(peer(n), at(2000))));
    warden.handle_due(at(2000));
    warden.promised(voters[0], of, Some(Duration::from_millis(100)), at(2100));
    warden.promised(voters[1], of, None, at(2100));
    (2..=3).for_each(|n| assert!(warden.heard(peer(n), at(4000))));
    assert!(!is_over(&warden.handle_due(at(5149)), of));
    assert!(is_over(&warden.handle_due(at(5150)), of), "2,000 + 3,000 + 150");
}

#[test]
fn an_isolated_coordinator_can_end_no_life() {
    let mut warden = warden(4);
    (1..=4).for_each(|n| warden.suspect(peer(n), at(100)));
    for second in 1..60 {
        let actions = warden.handle_due(at(second * 1000));
        assert!(!actions.iter().any(|action| matches!(action, WardenAction::Over { .. })));
    }
    assert_eq!(warden.alive().count(), 0);
}

#[test]
fn a_life_whose_own_process_ended_it_is_over_at_once() {
    let mut warden = warden(3);
    warden.confessed(peer(2));
    assert_eq!(warden.next_due(), Some(Time::ZERO));
    assert!(is_over(&warden.handle_due(at(10)), peer(2)));
}

#[test]
fn another_process_of_the_same_node_is_one_vote_and_no_more() {
    let mut warden = warden(4);
    let of = peer(1);
    warden.superseded(of, at(100));
    assert!(!is_over(&warden.handle_due(at(60_000)), of), "two votes of five");
    let mut alone = Warden::new(SETTINGS);
    alone.admit(of, "host", at(0));
    alone.superseded(of, at(100));
    assert!(!is_over(&alone.handle_due(at(3000)), of));
    assert!(is_over(&alone.handle_due(at(3150)), of), "in a mesh of one node the two are all the votes");
}

#[test]
fn a_voter_whose_own_life_is_over_counts_as_if_it_had_promised_then() {
    let mut warden = warden(4);
    let of = peer(1);
    warden.superseded(of, at(100));
    assert!(!is_over(&warden.handle_due(at(5_000)), of), "two votes of five");
    warden.confessed(peer(2));
    assert!(!is_over(&warden.handle_due(at(6_000)), of), "it may have answered until its end");
    assert!(!is_over(&warden.handle_due(at(9_149)), of));
    assert!(is_over(&warden.handle_due(at(9_150)), of), "6,000 + 3,000 + 150");
}

#[test]
fn where_every_process_was_replaced_at_once_every_former_life_is_over_in_the_end() {
    let mut warden = warden(4);
    (1..=4_u8).for_each(|n| warden.superseded(peer(n.into()), at(100 * u64::from(n))));
    let over = |warden: &mut Warden, now| {
        let actions = warden.handle_due(now);
        (1..=4).filter(|&n| is_over(&actions, peer(n))).count()
    };
    assert_eq!(over(&mut warden, at(500)), 0);
    assert_eq!(over(&mut warden, at(3_249)), 0, "whoever else voted may have answered until it was replaced");
    assert_eq!(over(&mut warden, at(8_000)), 4);
}

#[test]
fn dead_voters_are_replaced_once_they_are_over() {
    let mut warden = warden(4);
    warden.confessed(peer(2));
    settle(&mut warden, at(10));
    for n in [1, 3, 4] {
        let assignment = newest(&warden, peer(n));
        assert!(!assignment.voters.contains(&peer(2)) && assignment.buddy != Some(peer(2)), "{assignment:?}");
        assert_eq!(assignment.voters.len(), 2);
    }
}

#[test]
fn a_coordinator_that_hears_nobody_suspects_nobody_until_it_hears_the_others_again() {
    let mut warden = warden(5);
    let suspects = |warden: &mut Warden, now| {
        let actions = warden.handle_due(now);
        actions.into_iter().any(|action| matches!(action, WardenAction::Suspected { .. }))
    };
    for millis in (500..=6000).step_by(500) {
        assert!(!suspects(&mut warden, at(millis)), "it is cut off itself, {millis} ms");
    }
    for millis in (6500..=8000).step_by(500) {
        (2..=5).for_each(|n| assert!(warden.heard(peer(n), at(millis))));
        assert_eq!(suspects(&mut warden, at(millis)), millis == 8000, "{millis} ms");
    }
}

/// When a life is over that the coordinator hears last at 0, and its other voters until then; they promise when asked.
fn over_at(witnessed_until: Time) -> Option<Time> {
    let mut warden = warden(4);
    let (of, mut now) = (peer(1), at(0));
    while now < at(10_000) {
        (2..=4).for_each(|n| assert!(warden.heard(peer(n), now)));
        for action in warden.handle_due(now) {
            if let WardenAction::AskPromise { voter, of } = action {
                let answered_at = witnessed_until.min(now);
                warden.promised(voter, of, Some(now.since(answered_at)), now);
            } else if action == (WardenAction::Over { of }) {
                return Some(now);
            }
        }
        now += Duration::from_millis(50);
    }
    None
}

#[test]
fn who_is_cut_off_from_all_is_over_a_lease_after_the_newest_renewal_that_a_voter_answered() {
    let waited_out = SETTINGS.lease + SETTINGS.margin;
    assert_eq!(over_at(at(0)), Some(at(0) + waited_out), "suspicion and lease run at the same time");
    assert_eq!(
        over_at(at(1000)),
        Some(at(1000) + waited_out),
        "from the newest renewal that a voter answered"
    );
}
