//! The fuzz targets' corpus, run once: what was found before stays found, and the targets can't rot.

#![allow(clippy::unwrap_used, reason = "a helper that panics fails the test that called it")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a seed is made of some kinds of messages")]
#![allow(clippy::print_stdout, reason = "a failed test shows which file it was")]

#[path = "../../fuzz/drivers/mod.rs"]
#[allow(clippy::wildcard_enum_match_arm, unreachable_pub, reason = "shared with the fuzz targets")]
mod drivers;

mod common;
mod seeds;

use std::collections::BTreeSet;
use std::path::Path;

fn replay(target: &str, mut drive: impl FnMut(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        println!("{}", file.display());
        drive(&std::fs::read(&file).unwrap());
    }
}

#[test]
fn every_node_frame_of_the_corpus_is_taken_or_refused() {
    replay("node_frames", drivers::node_frames);
}

#[test]
fn every_client_frame_of_the_corpus_is_taken_or_refused() {
    replay("client_frames", drivers::client_frames);
}

#[test]
fn every_snapshot_of_the_corpus_is_read_or_refused() {
    replay("snapshots", drivers::snapshots);
}

#[test]
fn no_program_of_the_corpus_brings_a_node_down() {
    let mut reached = BTreeSet::new();
    replay("node", |bytes| reached.extend(drivers::node(bytes)));
    // The seeds lead past the first door: recovery, leases and checkpoints are theirs to break.
    let wanted = ["handed over", "taken over", "recovered", "checkpointed", "fenced", "lied to"];
    for what in wanted.into_iter().chain(["performed", "settled", "event", "ghosts"]) {
        assert!(reached.contains(what), "no program of the corpus leads to {what:?}: {reached:?}");
    }
}

#[test]
fn no_program_of_the_corpus_brings_a_coordinator_down() {
    let mut reached = BTreeSet::new();
    replay("coordinator", |bytes| reached.extend(drivers::coordinator(bytes)));
    for what in
        ["entered", "life over", "recovered", "round closed", "restarted", "node misbehaved", "why told"]
    {
        assert!(reached.contains(what), "no program of the corpus leads to {what:?}: {reached:?}");
    }
}

/// Writes what real machines say to each other into the corpus. Run it when a message changes its shape:
/// `cargo test -p selvedge-protocol --test corpus -- --ignored`.
#[test]
#[ignore = "it writes into the source tree"]
fn the_corpus_is_written_anew_from_real_traffic() {
    seeds::write(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus"));
}
