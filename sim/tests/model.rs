//! The model check holds within small bounds, and sees each known bug. Larger bounds and deeper bugs take a release build:
//! `cargo run -p selvedge-sim --release --features planted-bugs -- model --bound large`, and `--plant all`.

use selvedge_sim::model::{Bound, Explored, LeaseBound, PLANTS, explore, explore_lease};

fn assert_sound(explored: &Explored) {
    if let Some(violation) = &explored.violation {
        panic!("{}: {violation}", explored.bound);
    }
    assert!(explored.states > 100, "{explored:?}: what is not explored is not checked");
}

#[test]
fn handoffs_and_recovery_hold_within_small_bounds() {
    for bound in &Bound::SMALL {
        assert_sound(&explore(bound, 1));
    }
}

#[test]
fn a_life_is_over_only_when_it_has_stopped_by_itself() {
    assert_sound(&explore_lease(&LeaseBound::SMALL, 1));
}

#[test]
fn each_planted_bug_is_seen() {
    for plant in PLANTS.iter().filter(|plant| !plant.is_deep) {
        let explored = plant.explore(1);
        assert!(explored.violation.is_some(), "{} is not seen in {} states", plant.name, explored.states);
    }
}

#[test]
#[ignore = "minutes in a debug build: `selvedge-sim model --plant all` does the same"]
fn each_planted_bug_that_lies_deep_is_seen() {
    for plant in PLANTS.iter().filter(|plant| plant.is_deep) {
        let explored = plant.explore(2);
        assert!(explored.violation.is_some(), "{} is not seen in {} states", plant.name, explored.states);
    }
}
