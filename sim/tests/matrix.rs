//! A part of the matrix; all of it: `cargo run -p selvedge-sim --release -- matrix`.

use std::thread::available_parallelism;

use selvedge_sim::matrix::{Case, Moment, cases, play_all};

/// Where most is at stake: authority is under way, and a recovery asks.
const MESSAGES: [&str; 3] = ["Transfer", "Accepted", "Fence"];

#[test]
fn whatever_dies_before_a_message_that_matters_one_node_holds_the_player_and_nothing_is_lost() {
    let matters = |case: &Case| case.moment == Moment::Before && MESSAGES.contains(&case.message());
    let cases: Vec<Case> = cases().into_iter().filter(matters).collect();
    assert!(cases.len() >= 3 * MESSAGES.len());
    let jobs = available_parallelism().map_or(1, usize::from);
    let rows = play_all(&cases, jobs, &|_| {});
    let bad: Vec<String> = rows
        .iter()
        .filter(|row| !row.end.is_good())
        .map(|row| format!("{}: {:?}", row.case, row.end))
        .collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn the_matrix_has_a_row_for_each_message_harm_and_moment() {
    let cases = cases();
    let mut names: Vec<String> = cases.iter().map(ToString::to_string).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), cases.len());
    assert!(cases.len() >= 20 * 10 * 2, "{}", cases.len());
}
