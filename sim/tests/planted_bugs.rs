//! The checks see what they are for: each known bug, built in, is caught by the invariant that it breaks, and the same
//! seeds are clean without it.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic like the test")]

use std::thread::available_parallelism;

use selvedge_protocol::config::PlantedBug;
use selvedge_sim::{Batch, Failure, FaultSet, Profile, Scenario, SimOptions, run_batch};

/// Within so many seeds each bug must be caught.
const SEEDS_MAX: u64 = 1_000;
/// So many seeds must be clean without a bug.
const SEEDS_CLEAN: u64 = 30;

/// Under which profile and faults the seeds run.
fn options(faults: Option<&str>, tweak: fn(&mut Scenario)) -> SimOptions {
    let profile = Some(if faults.is_some() { Profile::Faults } else { Profile::Nasty });
    let faults = FaultSet::named(faults.unwrap_or("all")).unwrap();
    SimOptions { profile, faults, tweak, ..SimOptions::default() }
}

fn first_failure(seeds: u64, options: SimOptions) -> Option<Failure> {
    let jobs = available_parallelism().map_or(1, usize::from);
    run_batch(&Batch { first_seed: 1, seeds, jobs, keep_going: false, options }, &|_| {}).unwrap().failure
}

/// The bug shows as one of these; as which first is up to the seeds.
fn assert_caught(invariants: &[&str], faults: Option<&str>, tweak: fn(&mut Scenario)) {
    let failure = first_failure(SEEDS_MAX, options(faults, tweak)).expect("the bug is caught");
    assert!(invariants.contains(&failure.violation.invariant), "{failure}");
}

#[test]
fn a_boat_that_leaves_its_riders_behind_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.node.planted_bug = Some(PlantedBug::LeaveRiders);
    assert_caught(&["groups"], None, tweak);
}

#[test]
fn a_recovery_that_loses_who_rides_on_what_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.node.planted_bug = Some(PlantedBug::LoseRides);
    assert_caught(&["groups"], Some("crash"), tweak);
}

#[test]
fn a_source_that_thaws_on_silence_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.node.planted_bug = Some(PlantedBug::ThawOnTimeout);
    assert_caught(&["A1 single authority"], None, tweak);
}

#[test]
fn a_target_that_ignores_epochs_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.node.planted_bug = Some(PlantedBug::IgnoreEpochs);
    assert_caught(&["A1 single authority", "A2 nothing lost"], None, tweak);
}

#[test]
fn a_token_that_admits_twice_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.node.planted_bug = Some(PlantedBug::ReuseTokens);
    assert_caught(&["A5 tokens"], None, tweak);
}

#[test]
fn a_node_that_goes_on_after_its_lease_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.node.planted_bug = Some(PlantedBug::OutliveLease);
    assert_caught(&["A1 own lease"], Some("partition"), tweak);
}

#[test]
fn a_buddy_that_forgets_what_it_confirmed_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.node.planted_bug = Some(PlantedBug::DropStandby);
    assert_caught(&["A2 nothing lost"], Some("crash"), tweak);
}

#[test]
fn a_buddy_that_confirms_what_it_does_not_have_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.node.planted_bug = Some(PlantedBug::ConfirmUnapplied);
    assert_caught(&["A2 nothing lost"], Some("crash"), tweak);
}

#[test]
fn a_verdict_that_restores_an_older_copy_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.coordinator.planted_bug = Some(PlantedBug::RestoreOldest);
    assert_caught(&["A2 nothing lost"], Some("crash"), tweak);
}

#[test]
fn a_node_that_does_not_say_what_has_ended_is_caught() {
    let tweak = |drawn: &mut Scenario| {
        drawn.node.planted_bug = Some(PlantedBug::ForgetEnds);
        // Much comes and goes, each by itself: what ends must have crossed just before, or its source be silent.
        (drawn.play.spawn, drawn.play.despawn, drawn.play.ride) = (0.3, 0.3, 0.0);
    };
    // Who comes back after its end may have been closed for others.
    assert_caught(&["A2 nothing lost", "A3 actions once"], Some("crash,partition"), tweak);
}

#[test]
fn a_client_that_forgets_inputs_before_they_are_durable_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.client.planted_bug = Some(PlantedBug::ForgetApplied);
    assert_caught(&["A3 exactly once"], Some("crash"), tweak);
}

#[test]
fn a_coordinator_that_speaks_before_it_has_kept_what_it_says_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.hasty_disk = true;
    // Whose session it forgot may wait for ever; what it forgot to list counts as gone for who acts on it.
    let seen = ["A2 nothing lost", "A3 actions once", "A4 convergence"];
    assert_caught(&seen, Some("coordinator"), tweak);
}

#[test]
fn a_ghost_that_stays_when_nobody_tells_of_it_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.node.planted_bug = Some(PlantedBug::KeepGhosts);
    assert_caught(&["ghosts"], None, tweak);
}

#[test]
fn a_node_that_does_not_take_what_moves_ghosts_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.node.planted_bug = Some(PlantedBug::IgnoreSamples);
    assert_caught(&["ghosts"], None, tweak);
}

#[test]
fn a_ghost_beside_its_original_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.node.planted_bug = Some(PlantedBug::KeepPromoted);
    assert_caught(&["ghosts"], None, tweak);
}

#[test]
fn an_event_that_stops_at_a_border_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.node.planted_bug = Some(PlantedBug::EventToOne);
    assert_caught(&["events"], None, tweak);
}

#[test]
fn an_event_that_misses_who_is_between_two_nodes_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.node.planted_bug = Some(PlantedBug::ForgetComers);
    assert_caught(&["events"], None, tweak);
}

#[test]
fn an_event_that_reaches_on_both_sides_of_a_handoff_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.node.planted_bug = Some(PlantedBug::ReachStrangers);
    assert_caught(&["events"], None, tweak);
}

/// What a trade that is not atomic shows as.
const TRADE: [&str; 3] = ["A3 actions once", "items conserved", "whole snapshots"];

#[test]
fn a_durable_action_that_is_sent_before_it_is_safe_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.node.planted_bug = Some(PlantedBug::AskUnsafe);
    assert_caught(&TRADE, Some("crash"), tweak);
}

#[test]
fn a_durable_action_that_is_answered_before_it_is_safe_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.node.planted_bug = Some(PlantedBug::AnswerUnsafe);
    assert_caught(&TRADE, Some("crash"), tweak);
}

#[test]
fn a_durable_action_that_is_closed_before_its_answer_is_safe_is_caught() {
    let tweak = |drawn: &mut Scenario| drawn.node.planted_bug = Some(PlantedBug::CloseUnsafe);
    assert_caught(&TRADE, Some("crash"), tweak);
}

#[test]
fn an_entity_that_is_handed_over_without_its_book_is_caught() {
    assert_caught(&TRADE, None, |drawn: &mut Scenario| (drawn.bookless, drawn.play.ride) = (true, 0.0));
}

#[test]
fn the_same_seeds_are_clean_without_a_bug() {
    for faults in [None, Some("all")] {
        if let Some(failure) = first_failure(SEEDS_CLEAN, options(faults, |_| {})) {
            panic!("{failure}");
        }
    }
}
