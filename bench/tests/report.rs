//! `mesh-bench report` from outside: files in, one page out, or a sentence that names the file.

#![allow(clippy::unwrap_used, reason = "a failed expectation fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn holds(&self, name: &str, content: &Value) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content.to_string()).unwrap();
        path
    }
}

fn report(files: &[&Path], out: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mesh-bench"))
        .arg("report")
        .args(files)
        .arg("--out")
        .arg(out)
        .output()
        .expect("it can be started")
}

/// What it complained of.
fn refused(files: &[&Path], out: &Path) -> String {
    let output = report(files, out);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn handoff(p50: f64) -> Value {
    let figures = json!({ "count": 2000, "p50": p50, "p99": 150.5, "p999": 180.25, "max": 310.125 });
    json!({
        "version": "0.1.0", "machine": { "cores": 2 }, "config": { "pin": "one" },
        "rows": [{ "path": "warm", "snapshot_bytes": 4096, "concurrency": 64, "cutover_us": figures,
                   "handoffs_per_s": 1234.5, "from_the_future": [1, { "x": 2 }] }],
    })
}

#[test]
fn the_page_is_written_and_its_path_printed() {
    let folder = Folder::new();
    let (before, after) =
        (folder.holds("before.json", &handoff(100.0)), folder.holds("after.json", &handoff(60.0)));
    let out = folder.path("page.html");
    let output = report(&[&before, &after], &out);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), out.to_str().unwrap());
    let page = fs::read_to_string(out).unwrap();
    for value in ["1234.5", "150.5", "180.25", "310.125", "0.6 better"] {
        assert!(page.contains(&format!(">{value}<")), "{value}: {page}");
    }
}

#[test]
fn no_report_is_overwritten_by_whatever_name_it_goes() {
    let folder = Folder::new();
    let file = folder.holds("a.json", &handoff(100.0));
    let content = fs::read_to_string(&file).unwrap();
    let (linked, dotted) = (folder.path("linked.html"), folder.0.path().join(".").join("a.json"));
    fs::hard_link(&file, &linked).unwrap();
    for out in [&file, &linked, &dotted] {
        let complaint = refused(&[&file], out);
        assert!(complaint.contains("would overwrite") && complaint.contains("a.json"), "{complaint}");
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
    }
}

#[test]
fn a_file_that_is_no_report_is_named_and_no_page_is_written() {
    let folder = Folder::new();
    let (good, out) = (folder.holds("good.json", &handoff(100.0)), folder.path("page.html"));
    let other = folder.holds("other.json", &json!({ "name": "x" }));
    let missing = folder.path("missing.json");
    let binary = folder.path("binary.json");
    fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
    for (file, cause) in [(&other, "mesh-bench handoff"), (&missing, "cannot read"), (&binary, "UTF-8")] {
        let complaint = refused(&[&good, file], &out);
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(complaint.contains(name) && complaint.contains(cause), "{complaint}");
        assert!(!out.exists());
    }
}

#[test]
fn a_page_that_cannot_be_written_is_named() {
    let folder = Folder::new();
    let file = folder.holds("a.json", &handoff(100.0));
    let complaint = refused(&[&file], &folder.path("no-such-folder/page.html"));
    assert!(complaint.contains("cannot write") && complaint.contains("no-such-folder"), "{complaint}");
}

#[test]
fn what_handoff_measures_becomes_a_page_with_curves() {
    let folder = Folder::new();
    let (json, out) = (folder.path("handoff.json"), folder.path("page.html"));
    let measured = Command::new(env!("CARGO_BIN_EXE_mesh-bench"))
        .args([
            "handoff",
            "--snapshot-bytes=1k",
            "--concurrency=2",
            "--duration=1s",
            "--turns=1",
            "--warm-up=100ms",
            "--json",
        ])
        .arg(&json)
        .output()
        .unwrap();
    assert!(measured.status.success(), "{measured:?}");
    let rows: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(rows["rows"].as_array().unwrap().len(), 4);
    let output = report(&[&json], &out);
    assert!(output.status.success(), "{output:?}");
    let page = fs::read_to_string(out).unwrap();
    assert!(page.contains(">4 of 4<"), "every row has a histogram: {page}");
    for row in rows["rows"].as_array().unwrap() {
        let figures = if row["rtt_us"].is_null() { &row["cutover_us"] } else { &row["rtt_us"] };
        let count = figures["count"].as_u64().unwrap();
        assert!(page.contains(&format!(">{count}<")), "{row:#}");
    }
}
