//! `selvedge certs` from outside: files, modes and messages.

#![allow(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

fn selvedge(dir: &Path, args: &[&str]) -> assert_cmd::assert::Assert {
    Command::new(env!("CARGO_BIN_EXE_selvedge")).current_dir(dir).args(args).assert()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_ca_issues_identities_that_can_be_shown() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    selvedge(dir, &["certs", "init", "--world", "aerie"]).success();
    assert_eq!(mode(&dir.join("certs")), 0o700);
    assert_eq!(mode(&dir.join("certs/ca.key")), 0o600);

    let id = "8a6e0804-2bd0-4672-b79d-d97027f9071a";
    selvedge(dir, &["certs", "issue", "node", "--id", id, "--stem", "node-1", "--out", "host"]).success();
    assert_eq!(mode(&dir.join("host/node-1.key")), 0o600);
    assert!(dir.join("host/ca.pem").exists(), "a process needs the CA's certificate, too");
    assert!(!dir.join("host/ca.key").exists());
    selvedge(dir, &["certs", "issue", "coordinator"]).success();
    selvedge(dir, &["certs", "issue", "server", "--name", "door", "--ip", "127.0.0.1"]).success();

    let files = ["certs/ca.pem", "host/node-1.pem", "certs/coordinator-main.pem", "certs/server-door.pem"];
    let shown = selvedge(dir, &[["certs", "show", "--json"].as_slice(), &files].concat()).success();
    let shown: Value = serde_json::from_slice(&shown.get_output().stdout).unwrap();
    let uris: Vec<_> = shown.as_array().unwrap().iter().map(|one| one["uri"].as_str().unwrap()).collect();
    let node = format!("spiffe://aerie/node/{id}");
    assert_eq!(
        uris,
        ["spiffe://aerie", &node, "spiffe://aerie/coordinator/main", "spiffe://aerie/server/door"]
    );
    assert_eq!(shown[3]["dns_names"][0], "server-door.aerie.selvedge");
    assert_eq!(shown[3]["ips"][0], "127.0.0.1");
}

#[test]
fn nothing_is_overwritten_unless_asked_for() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    selvedge(dir, &["certs", "init", "--world", "aerie"]).success();
    let before = fs::read(dir.join("certs/ca.pem")).unwrap();
    let refused = selvedge(dir, &["certs", "init", "--world", "aerie"]).code(1);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("already exists") && said.contains("--replace"), "{said}");
    assert_eq!(fs::read(dir.join("certs/ca.pem")).unwrap(), before);
    selvedge(dir, &["certs", "init", "--world", "aerie", "--replace"]).success();
    assert_ne!(fs::read(dir.join("certs/ca.pem")).unwrap(), before);
}

#[test]
fn errors_name_the_cause_and_what_to_do() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let error = |args: &[&str], code: i32| {
        let refused = selvedge(dir, args).code(code);
        String::from_utf8_lossy(&refused.get_output().stderr).into_owned()
    };
    assert!(error(&["certs", "issue", "node"], 1).contains("selvedge certs init"));
    assert!(error(&["certs", "init", "--world", "Not A Name"], 2).contains("a-z"));
    assert!(error(&["certs", "show", "nothing.pem"], 1).contains("nothing.pem"));
    selvedge(dir, &["certs", "init", "--world", "aerie", "--valid", "1d"]).success();
    assert!(error(&["certs", "issue", "node"], 1).contains("the CA itself expires"));
    assert!(error(&["certs", "issue", "server", "--valid", "1h"], 1).contains("--name"));
    assert!(error(&["certs", "issue", "node", "--name", "x", "--valid", "1h"], 1).contains("--id"));
}

#[test]
fn every_command_explains_itself_with_examples() {
    let temp = tempfile::tempdir().unwrap();
    for command in [
        [].as_slice(),
        &["up"],
        &["node"],
        &["coordinator"],
        &["certs", "init"],
        &["certs", "issue"],
        &["certs", "show"],
        &["bench", "load"],
        &["status"],
    ] {
        let help = selvedge(temp.path(), &[command, &["--help"]].concat()).success();
        let text = String::from_utf8_lossy(&help.get_output().stdout).into_owned();
        assert!(text.contains("Examples:"), "{command:?}: {text}");
    }
}
