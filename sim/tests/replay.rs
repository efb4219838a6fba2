//! A seed replays: the same seed makes the same run to the last byte, another makes another.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic like the test")]

use selvedge_sim::{Profile, SimOptions, run_seed};

fn trace_hash(seed: u64, profile: Profile) -> u64 {
    let options = SimOptions { profile: Some(profile), ..SimOptions::default() };
    let outcome = run_seed(seed, &options).unwrap();
    assert!(outcome.failure.is_none(), "{}", outcome.failure.unwrap());
    outcome.trace_hash
}

#[test]
fn the_same_seed_makes_the_same_run() {
    for profile in [Profile::Calm, Profile::Lossy, Profile::Nasty] {
        assert_eq!(trace_hash(1, profile), trace_hash(1, profile), "{}", profile.name());
    }
}

#[test]
fn another_seed_makes_another_run() {
    assert_ne!(trace_hash(1, Profile::Lossy), trace_hash(2, Profile::Lossy));
}

#[test]
fn a_run_does_not_pass_because_nothing_happened() {
    let outcome =
        run_seed(1, &SimOptions { profile: Some(Profile::Lossy), ..SimOptions::default() }).unwrap();
    let stats = outcome.stats;
    assert!(stats.handoffs_warm > 0 && stats.handoffs_cold > 0, "{stats:?}");
    assert!(stats.players_entered > 0 && stats.inputs_applied > 0, "{stats:?}");
    assert_eq!(stats.undecodable, 0, "{stats:?}");
}
