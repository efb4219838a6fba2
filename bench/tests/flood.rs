//! Real attackers on a real mesh: nobody goes down, and what the attackers did shows. Whether players felt it is for a
//! quiet machine to say.

#![allow(clippy::unwrap_used, reason = "a failed expectation fails the test")]

use std::process::Command;

use serde_json::Value;

#[test]
fn strangers_players_and_a_node_attack_and_every_process_lives() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("flood.json");
    let attacks = ["strangers", "players", "deaf", "control", "ghosts"];
    let output = Command::new(env!("CARGO_BIN_EXE_mesh-bench"))
        .args(["flood", "--duration", "1s", "--players", "4", "--npcs", "4", "--attacks", &attacks.join(",")])
        .arg("--json")
        .arg(&json)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: Value = serde_json::from_slice(&std::fs::read(&json).expect(&said)).unwrap();
    assert!(report["quiet"]["ticks"].as_u64().unwrap() > 0, "{report:#}");
    assert!(report["quiet"]["state_gap_ms"]["count"].as_u64().unwrap() > 0, "{report:#}");
    assert!(report["quiet"]["resident_bytes"].as_u64().unwrap() > 0, "{report:#}");
    let phases = report["attacks"].as_array().unwrap();
    assert_eq!(phases.iter().map(|phase| &phase[0]).collect::<Vec<_>>(), attacks);
    for phase in phases {
        let (attack, seen) = (&phase[0], &phase[1]);
        // How far an attacker with the lowest priority comes is up to the machine.
        assert!(seen["attacker"]["attempts"].as_u64().unwrap() > 0, "{attack}: {seen:#}");
        assert!(seen["ticks"].as_u64().unwrap() > 0, "{attack}: {seen:#}");
        if attack == "control" || attack == "ghosts" {
            assert!(seen["attacker"]["sent"].as_u64().unwrap() > 0, "{attack}: {seen:#}");
        }
    }
}
