use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use selvedge_certs::{Authority, CA_VALIDITY, IDENTITY_VALIDITY, Role, SubjectNames, WorldName};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::game::Pacing;

const NODE: &str = "00000000-0000-4000-8000-000000000007";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    node: NodeArgs,
}

/// A folder with identities and a configuration file.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = WorldName::new("aerie").unwrap();
        let authority = Authority::init(world, CA_VALIDITY).unwrap();
        let roles = [
            ("node", Role::Node(NODE.parse::<Uuid>().unwrap())),
            ("server", Role::Server("here".to_owned())),
        ];
        for (name, role) in roles {
            let issued = authority.issue(role, &SubjectNames::default(), IDENTITY_VALIDITY).unwrap();
            fs::write(folder.path().join(format!("{name}.pem")), &issued.chain_pem).unwrap();
            fs::write(folder.path().join(format!("{name}.key")), issued.key_pem.as_bytes()).unwrap();
            fs::write(folder.path().join("ca.pem"), &issued.ca_pem).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A complete file, with `more` behind it.
    fn file(&self, more: &str) -> PathBuf {
        let folder = self.0.path().display();
        let text = format!(
            "coordinator.addr = '127.0.0.1:7000'\n\
             [identity]\ncert = '{folder}/node.pem'\nkey = '{folder}/node.key'\nca = '{folder}/ca.pem'\n\
             [client_identity]\ncert = '{folder}/server.pem'\nkey = '{folder}/server.key'\n{more}"
        );
        let path = self.path("node.toml");
        fs::write(&path, text).unwrap();
        path
    }
}

fn args(file: &Path, flags: &[&str]) -> NodeArgs {
    let file = file.display().to_string();
    let all = ["mesh-node", "--config", &file].into_iter().chain(flags.iter().copied());
    Cli::try_parse_from(all).unwrap().node
}

fn refused(file: &Path, flags: &[&str]) -> String {
    load(&args(file, flags)).unwrap_err().to_string()
}

#[test]
fn a_flag_counts_before_the_file_and_that_before_the_default() {
    let folder = Folder::new();
    let file = folder.file(
        "[mesh]\nbind = '127.0.0.1:7301'\n[clients]\nbind = '127.0.0.1:7302'\n\
         [core]\nhysteresis_m = 0.5\nlinger = '1m'\n[arena]\nnpcs = 3\n",
    );
    let flags = ["--bind-mesh", "127.0.0.1:7401", "--set", "core.linger=5s", "--set", "arena.npcs = 4"];
    let loaded = load(&args(&file, &flags)).unwrap();
    assert_eq!(loaded.config.bind_mesh.port(), 7401);
    assert_eq!(loaded.config.bind_clients.port(), 7302);
    assert_eq!(loaded.config.coordinator_name, "main");
    assert_eq!(loaded.config.core.hysteresis_m, 0.5);
    assert_eq!(loaded.config.core.linger, Duration::from_secs(5));
    assert_eq!(loaded.config.core.heartbeat, Duration::from_millis(250));
    assert_eq!(loaded.config.pacing, Pacing::MeshTime);
    assert_eq!(loaded.arena.npcs, 4);
}

#[test]
fn missing_keys_of_the_clients_tuning_are_those_for_clients() {
    let folder = Folder::new();
    let file = folder.file("[transport.clients]\nmtu_max = 1300\n");
    let tuning = load(&args(&file, &[])).unwrap().config.client_tuning;
    let expected = selvedge_transport::Tuning { mtu_max: 1300, ..selvedge_transport::Tuning::for_clients() };
    assert_eq!(tuning, expected);
}

#[test]
fn an_unknown_key_is_named_with_its_file_and_line() {
    let folder = Folder::new();
    let text = refused(&folder.file("[core]\nhysteresis = 0.5\n"), &[]);
    for word in ["node.toml", "hysteresis", "line 10", "correct"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    let text = refused(&folder.file(""), &["--set", "core.linga=5s"]);
    assert!(text.contains("core.linga=5s") && text.contains("linga"), "{text}");
    let text = refused(&folder.file(""), &["--set", "core.linger"]);
    assert!(text.contains("section.key=value"), "{text}");
}

#[test]
fn what_is_missing_is_named_with_its_flag_and_variable() {
    let folder = Folder::new();
    fs::write(folder.path("node.toml"), "").unwrap();
    let text = refused(&folder.path("node.toml"), &[]);
    for word in ["identity.cert", "--cert", "SELVEDGE_NODE_CERT"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    let text = refused(&folder.path("nowhere.toml"), &[]);
    assert!(text.contains("nowhere.toml") && text.contains("--config"), "{text}");
}

#[test]
fn a_certificate_of_another_node_or_world_is_refused() {
    let folder = Folder::new();
    let other = "00000000-0000-4000-8000-000000000008";
    let text = refused(&folder.file(""), &["--node", other]);
    assert!(text.contains(other) && text.contains(NODE) && text.contains("--node"), "{text}");
    let mut file = String::from("world = 'eyrie'\n");
    file.push_str(&fs::read_to_string(folder.file("")).unwrap());
    fs::write(folder.path("node.toml"), file).unwrap();
    let text = refused(&folder.path("node.toml"), &[]);
    assert!(text.contains("eyrie") && text.contains("aerie") && text.contains("node.toml"), "{text}");
    load(&args(&folder.path("node.toml"), &["--world", "aerie", "--node", NODE])).unwrap();
}

#[test]
fn a_server_is_no_node_and_a_node_no_server() {
    let folder = Folder::new();
    let file = folder.file("");
    let (cert, key) =
        (folder.path("server.pem").display().to_string(), folder.path("server.key").display().to_string());
    let text = refused(&file, &["--cert", &cert, "--key", &key]);
    assert!(text.contains("server.pem"), "{text}");
    let (cert, key) =
        (folder.path("node.pem").display().to_string(), folder.path("node.key").display().to_string());
    let text = refused(&file, &["--client-cert", &cert, "--client-key", &key]);
    assert!(text.contains("node.pem"), "{text}");
}

#[test]
fn contradictions_are_refused() {
    let folder = Folder::new();
    let file = folder.file("");
    for (flags, words) in [
        (vec!["--bind-mesh", "0.0.0.0:7301"], ["mesh.advertise", "--bind-mesh"]),
        (vec!["--bind-clients", "0.0.0.0:7301"], ["clients.advertise", "--bind-clients"]),
        (vec!["--bind-mesh", "127.0.0.1:7301", "--bind-clients", "127.0.0.1:7301"], ["same address", "7301"]),
        (vec!["--set", "core.schema_min=4"], ["schema_min 4", "schema_max 1"]),
        (vec!["--set", "core.transfer_retry=9s"], ["transfer_retry", "transfer_patience"]),
        (vec!["--set", "core.hysteresis_m=-1"], ["hysteresis_m", "greater than zero"]),
        (vec!["--set", "core.heartbeat=0s"], ["heartbeat", "zero"]),
        (vec!["--set", "core.entities_max=0"], ["entities_max", "65536"]),
        (vec!["--set", "arena.snapshot_bytes=1"], ["snapshot_bytes", "1024"]),
        (vec!["--coordinator", "nowhere"], ["coordinator.addr", "--coordinator"]),
    ] {
        let text = refused(&file, &flags);
        assert!(words.iter().all(|word| text.contains(word)), "{flags:?}: {text}");
    }
    load(&args(&file, &["--bind-mesh", "0.0.0.0:7301", "--advertise-mesh", "10.0.0.7:0"])).unwrap();
}

#[test]
fn a_file_that_can_not_be_read_is_named_with_the_cause() {
    let folder = Folder::new();
    fs::write(folder.path("noise.toml"), [0xff, 0xfe, 0x00]).unwrap();
    fs::write(folder.path("broken.toml"), "pacing = \n[core").unwrap();
    for (name, cause) in [("", "directory"), ("noise.toml", "UTF-8"), ("broken.toml", "line 2")] {
        let text = refused(&folder.path(name), &[]);
        assert!(text.contains(name) && text.contains(cause), "{cause} in {text}");
    }
}

#[test]
fn the_printed_defaults_are_a_valid_file() {
    let text = toml::to_string_pretty(&NodeFile::default()).unwrap();
    assert_eq!(toml::from_str::<NodeFile>(&text).unwrap(), NodeFile::default());
    assert!(text.contains("hysteresis_m") && text.contains("mtu_max"), "{text}");
}
