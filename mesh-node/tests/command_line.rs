//! The binary's own words: what it prints, and how the environment is read.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use std::path::Path;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use selvedge_certs::{Authority, CA_VALIDITY, IDENTITY_VALIDITY, Role, SubjectNames, Uuid, WorldName};

fn mesh_node() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-node"));
    command.env_clear();
    command
}

#[test]
fn the_environment_counts_before_the_file_and_a_flag_before_both() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    std::fs::write(&file, "[identity]\ncert = '/from/the/file'\nkey = 'k'\nca = 'c'\n").unwrap();
    let run = |flags: &[&str], env: Option<&str>, expected: &str| {
        let mut command = mesh_node();
        command.arg("--config").arg(&file).args(flags);
        if let Some(cert) = env {
            command.env("SELVEDGE_NODE_CERT", cert);
        }
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(expected), "{expected} in {text}");
    };
    run(&[], None, "/from/the/file");
    run(&[], Some("/from/the/environment"), "/from/the/environment");
    run(&["--cert", "/from/a/flag"], Some("/from/the/environment"), "/from/a/flag");
}

#[test]
fn every_key_is_printed_on_request() {
    let output = mesh_node().arg("--print-defaults").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for key in ["pacing", "[core]", "prepare_lead = \"500ms\"", "[transport.mesh]", "[arena]"] {
        assert!(text.contains(key), "{key} in {text}");
    }
}

#[test]
fn a_node_ends_with_the_process_that_started_it_even_without_a_coordinator() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = std::process::Command::new(env!("CARGO_BIN_EXE_mesh-node"))
        .env_clear()
        .args(identities(folder.path()))
        .args(["--coordinator", "127.0.0.1:9", "--die-with-parent"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(node.try_wait().unwrap().is_none(), "it waits for the coordinator");
    drop(node.stdin.take());
    let began = Instant::now();
    let status = node.wait().unwrap();
    assert!(status.success(), "{status}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// The flags that name a node's identities, which are made in `folder`.
fn identities(folder: &Path) -> Vec<String> {
    let authority = Authority::init(WorldName::new("aerie").unwrap(), CA_VALIDITY).unwrap();
    let roles = [
        ("--cert", "--key", Role::Node(Uuid::from_u128(7))),
        ("--client-cert", "--client-key", Role::Server("here".to_owned())),
    ];
    let write = |name: &str, pem: &str| {
        let path = folder.join(name.trim_start_matches('-'));
        std::fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let mut flags = vec!["--ca".to_owned(), write("ca.pem", authority.ca_pem())];
    for (cert, key, role) in roles {
        let issued = authority.issue(role, &SubjectNames::default(), IDENTITY_VALIDITY).unwrap();
        flags.extend([
            cert.to_owned(),
            write(cert, &issued.chain_pem),
            key.to_owned(),
            write(key, &issued.key_pem),
        ]);
    }
    flags
}
