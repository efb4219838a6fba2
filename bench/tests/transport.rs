//! `mesh-bench transport` from outside: real processes, and what they write down.
//!
//! Deliberately absent: how fast anything is.

#![allow(clippy::unwrap_used, reason = "a failed expectation fails the test")]

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

fn transport(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mesh-bench"))
        .arg("transport")
        .args(args)
        .output()
        .expect("it can be started")
}

#[test]
fn every_lane_has_its_rows_and_a_cutover_is_compared_under_each_load() {
    let folder = tempfile::tempdir().unwrap();
    let (file, hgrm) = (folder.path().join("transport.json"), folder.path().join("hgrm"));
    let output = transport(&[
        "--lanes=cutover,precopy,datagram",
        "--duration=100ms",
        "--warm-up=100ms",
        "--set-ups=2",
        "--pin=free",
        "--json",
        file.to_str().unwrap(),
        "--hgrm",
        hgrm.to_str().unwrap(),
    ]);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.contains("a link is up after") && !printed.contains("-0.0"), "{printed}");

    let json: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(json["set_up_us"]["cold"]["count"], 2);
    assert_eq!(json["set_up_us"]["resumed"]["count"], 2);
    let rows = json["rows"].as_array().unwrap();
    let parts: Vec<_> = rows.iter().map(|row| row["part"].as_str().unwrap()).collect();
    assert_eq!(parts, [["alone"; 6].as_slice(), &["together"; 3], &["paced"; 5]].concat());
    for row in rows {
        assert!(row["rtt_us"]["count"].as_u64() > Some(0) && row["sent"].as_u64() > Some(0), "{row:#}");
        assert!(row["rtt_us"]["p50"].as_f64() > Some(0.0), "{row:#}");
        if row["lane"] != "datagram" {
            assert_eq!(row["sent"], row["answered"], "a lane loses nothing: {row:#}");
        }
        if row["part"] == "paced" {
            assert!(row["paced_us"].as_f64() > Some(0.0) && row["in_flight"].is_null(), "{row:#}");
            assert_eq!(row["late_us"]["count"], row["sent"], "{row:#}");
        }
    }
    let beside = json["cutover_under_load"].as_array().unwrap();
    let loads: Vec<_> = beside.iter().map(|judged| judged["load"].as_str().unwrap()).collect();
    assert_eq!(loads, ["precopy", "checkpoint", "datagram", "all"]);
    for judged in beside {
        assert_eq!(judged["verdict"], "doubtful", "200 values say nothing of a p99: {judged:#}");
        assert!(judged["load_mb_per_s"].as_f64() > Some(0.0), "{judged:#}");
    }
    assert!(!json["doubts"].as_array().unwrap().is_empty());
    for name in ["alone-precopy-x32-quiet", "paced-cutover-x0-all"] {
        assert!(hgrm.join(format!("{name}-rtt_us.hgrm")).is_file(), "{name}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused_with_the_reason() {
    for (arg, said) in [
        ("--duration=0s", "says nothing"),
        ("--duration=soon", "--duration"),
        ("--lanes=fast", "precopy"),
        ("--mtu=70", "1200"),
    ] {
        let output = transport(&[arg]);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arg}: {complaint}");
        assert!(complaint.contains(said), "{arg}: {complaint}");
    }
}
