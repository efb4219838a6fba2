//! The command from outside. It takes a minute and wants the machine for itself:
//! `cargo test --release -p selvedge-bench --test chaos -- --ignored`

#![allow(clippy::unwrap_used, reason = "a failed expectation fails the test")]

use std::fs;
use std::process::Command;

use serde_json::Value;

fn mesh_bench() -> Command {
    Command::new(env!("CARGO_BIN_EXE_mesh-bench"))
}

#[test]
#[ignore = "starts a whole mesh and kills a part of it: some 40 s on a machine with nothing else to do"]
fn a_mesh_survives_a_kill_and_the_report_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("chaos.json");
    let output = mesh_bench()
        .args(["chaos", "--faults", "kill", "--faults-max", "1", "--players", "40", "--npcs", "40", "--json"])
        .arg(&json)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    let report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["faults"]["kills"], 1);
    assert_eq!(report["players"]["missing"], 0);
    assert_eq!(report["players"]["present"], 40);
    assert_eq!(report["inputs"]["lost"], 0);
    assert_eq!(report["items"]["before"], report["items"]["after"]);
    assert!(report["items"]["trades"].as_u64().unwrap() > 0, "{}", report["items"]);
    assert_eq!(report["lease_ms"], 3000.0);
    let [p50, p99, max] = ["p50", "p99", "max"].map(|key| report["recovery_ms"][key].as_f64().unwrap());
    assert!(p50 > 0.0 && p50 <= p99 && p99 <= max, "{}", report["recovery_ms"]);
    assert!(report["recovery_all_ms"]["max"].as_f64().unwrap() > 0.0);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_started() {
    let output = mesh_bench().args(["chaos", "--nodes", "1"]).output().unwrap();
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("--nodes 1: choose 2 to 16"), "{errors}");
    let output = mesh_bench().args(["chaos", "--faults", "flood"]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("flood") && errors.contains("partition"), "{errors}");
}
