//! The binary's own words: what it prints, and how the environment is read.

use assert_cmd::Command;

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
