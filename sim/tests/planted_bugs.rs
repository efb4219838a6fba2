//! The checks see what they are for: each known bug, built in, is caught by the invariant that it breaks, and the same
//! seeds are clean without it.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic like the test")]

use std::thread::available_parallelism;

use selvedge_protocol::config::{NodeConfig, PlantedBug};
use selvedge_sim::{Batch, Failure, Profile, SimOptions, run_batch};

/// Within so many seeds each bug must be caught.
const SEEDS_MAX: u64 = 1_000;
/// So many seeds must be clean without a bug.
const SEEDS_CLEAN: u64 = 30;

fn first_failure(seeds: u64, tweak: fn(&mut NodeConfig)) -> Option<Failure> {
    let options = SimOptions { profile: Some(Profile::Nasty), tweak, ..SimOptions::default() };
    let jobs = available_parallelism().map_or(1, usize::from);
    run_batch(&Batch { first_seed: 1, seeds, jobs, keep_going: false, options }, &|_| {}).unwrap().failure
}

fn assert_caught_by(invariant: &str, tweak: fn(&mut NodeConfig)) {
    let failure = first_failure(SEEDS_MAX, tweak).expect("the bug is caught");
    assert_eq!(failure.violation.invariant, invariant, "{failure}");
}

#[test]
fn a_source_that_thaws_on_silence_is_caught() {
    assert_caught_by("A1 single authority", |config| config.planted_bug = Some(PlantedBug::ThawOnTimeout));
}

#[test]
fn a_target_that_ignores_epochs_is_caught() {
    assert_caught_by("A1 single authority", |config| config.planted_bug = Some(PlantedBug::IgnoreEpochs));
}

#[test]
fn a_token_that_admits_twice_is_caught() {
    assert_caught_by("A5 tokens", |config| config.planted_bug = Some(PlantedBug::ReuseTokens));
}

#[test]
fn the_same_seeds_are_clean_without_a_bug() {
    if let Some(failure) = first_failure(SEEDS_CLEAN, |_| {}) {
        panic!("{failure}");
    }
}
