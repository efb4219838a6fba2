//! `mesh-bench ghosts` from outside: real processes, and what they write down.
//!
//! Deliberately absent: how fast anything is.

#![allow(clippy::unwrap_used, reason = "a failed expectation fails the test")]

use std::fs;
use std::process::Command;

use serde_json::Value;

#[test]
fn ghosts_are_shown_to_every_neighbour_with_loss_and_without() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ghosts.json");
    let output = Command::new(env!("CARGO_BIN_EXE_mesh-bench"))
        .args(["ghosts", "--entities=60", "--neighbours=3", "--duration=1s", "--warm-up=500ms", "--loss=0,5"])
        .arg("--json")
        .arg(&file)
        .output()
        .expect("it can be started");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));

    let json: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    for row in [&json, &json["loss_5"]] {
        assert!(row["shown"].as_u64() >= Some(57), "{json:#}");
        assert!(row["bytes_per_entity_tick"].as_f64() > Some(0.0), "{json:#}");
        assert!(row["bytes_vs_naive"].as_f64() < Some(1.0), "{json:#}");
        assert!(row["updates_per_s"].as_f64() > Some(0.0), "{json:#}");
        for way in ["send", "receive"] {
            assert!(row["cpu_s_per_million"][way].is_f64(), "{json:#}");
        }
        for figure in ["near", "far"] {
            assert!(row["ghost_error_m"][figure]["p99"].is_f64(), "{json:#}");
        }
        assert!(row["ghost_staleness_ticks"]["p50"].is_f64(), "{json:#}");
    }
    assert_eq!(json["neighbours"], 3);
    assert!(json["naive"]["bytes_per_entity_tick"].as_f64() > Some(90.0), "{json:#}");
    assert!(json["udp"]["cpu_s_per_million"]["send"].is_f64(), "{json:#}");
}
