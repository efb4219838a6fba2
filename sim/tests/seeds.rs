//! Every seed that ever failed is replayed.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic like the test")]

use selvedge_sim::{FaultSet, Profile, SimOptions, run_seed};

/// One line of `seeds.txt`: how to run which seed, and what it found.
fn read(line: &str) -> (SimOptions, u64, &str) {
    let mut words = line.splitn(4, char::is_whitespace).filter(|word| !word.is_empty());
    let mut word = || words.next().unwrap_or_else(|| panic!("{line:?} lacks a word"));
    let (profile, faults, seed, found) = (word(), word(), word(), word());
    let profile = Profile::named(profile).unwrap_or_else(|| panic!("no profile is called {profile:?}"));
    let faults = if faults == "-" { Some(FaultSet::NONE) } else { FaultSet::named(faults) };
    let faults = faults.unwrap_or_else(|| panic!("{line:?} names a fault that there isn't"));
    let seed = seed.parse().unwrap_or_else(|_| panic!("{seed:?} is no seed"));
    (SimOptions { profile: Some(profile), faults, ..SimOptions::default() }, seed, found.trim())
}

#[test]
fn every_seed_that_ever_failed_holds() {
    let lines = include_str!("../seeds.txt").lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (options, seed, found) = read(line);
        if let Some(failure) = run_seed(seed, &options).unwrap().failure {
            panic!("it once found: {found}\n{failure}");
        }
    }
}

#[test]
fn a_line_of_the_list_is_read() {
    let (options, seed, found) = read("faults crash,pause 17 an entity was lost with its node");
    assert_eq!((options.profile, seed), (Some(Profile::Faults), 17));
    assert_eq!(options.faults.to_string(), "crash,pause");
    assert_eq!(found, "an entity was lost with its node");
}
