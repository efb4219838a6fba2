//! `mesh-bench handoff` from outside: real processes, and what they write down.
//!
//! Deliberately absent: how fast anything is.

#![allow(clippy::unwrap_used, reason = "a failed expectation fails the test")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use selvedge_certs::{
    Authority, CA_VALIDITY, IDENTITY_VALIDITY, Identity, Role, SubjectNames, Uuid, WorldName, server_name,
};
use selvedge_coordinator::{Addresses, AnyName, CoordinatorArgs, CoordinatorService, FileConfig, Settings};
use selvedge_node::arena::{Arena, ArenaConfig};
use selvedge_node::{MeshNode, MeshNodeConfig};
use selvedge_protocol::grid::GridConfig;
use serde_json::Value;
use tempfile::TempDir;

fn handoff(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mesh-bench"))
        .arg("handoff")
        .args(args)
        .output()
        .expect("it can be started")
}

/// What it printed and wrote, once it has ended well.
fn measured(folder: &Path, args: &[&str]) -> (String, Value) {
    let file = folder.join("handoff.json");
    let output = handoff(&[args, &["--json", file.to_str().expect("a path in UTF-8")]].concat());
    let (printed, complaints) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{printed}\n{complaints}", output.status);
    let text = fs::read_to_string(file).expect("the file was written");
    (printed.into_owned(), serde_json::from_str(&text).expect("it is JSON"))
}

fn count(row: &Value, path: &str) -> u64 {
    row.pointer(path)
        .and_then(|figures| figures["count"].as_u64())
        .unwrap_or_else(|| panic!("{path} in {row:#}"))
}

#[test]
fn every_row_has_its_figures_and_every_phase_its_histogram() {
    let folder = tempfile::tempdir().unwrap();
    let hgrm = folder.path().join("hgrm");
    let (printed, json) = measured(
        folder.path(),
        &[
            "--snapshot-bytes=2k",
            "--concurrency=3",
            "--pin=one",
            "--duration=1s",
            "--turns=2",
            "--warm-up=100ms",
            "--hgrm",
            hgrm.to_str().unwrap(),
        ],
    );
    assert!(json["machine"]["cores"].as_u64() >= Some(1), "{json:#}");
    assert_eq!((&json["config"]["entities"], &json["config"]["pin"]), (&"clientless".into(), &"one".into()));
    let figures_of = |row: &Value, of: &str| {
        for key in ["p50", "p99", "p999", "max"] {
            assert!(row[of][key].as_f64() > Some(0.0), "{of}.{key} in {row:#}");
        }
    };
    let rows = json["rows"].as_array().unwrap();
    let paths: Vec<_> = rows.iter().map(|row| row["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["udp", "quinn", "warm", "cold"]);
    for row in rows {
        assert_eq!((row["snapshot_bytes"].as_u64(), row["concurrency"].as_u64()), (Some(2048), Some(3)));
    }
    for floor in &rows[..2] {
        assert!(count(floor, "/rtt_us") > 0 && floor["requests_per_s"].as_f64() > Some(0.0), "{floor:#}");
        figures_of(floor, "rtt_us");
        assert_eq!(floor.get("handoffs_per_s"), Some(&Value::Null), "{floor:#}");
        assert_eq!(floor["phases"], serde_json::json!({}), "{floor:#}");
    }
    for row in &rows[2..] {
        assert!(row["handoffs_per_s"].as_f64() > Some(0.0), "{row:#}");
        figures_of(row, "cutover_us");
        for key in ["p50", "p99", "p999", "max"] {
            assert!(row["missed_ticks"][key].is_number(), "missed_ticks.{key} in {row:#}");
        }
        assert!(row["cpu_s_per_1000_handoffs"]["all"].as_f64() > Some(0.0), "{row:#}");
        let cutovers = count(row, "/phases/cutover_us");
        assert_eq!((count(row, "/phases/prepare_us"), count(row, "/phases/ready_us")), (cutovers, cutovers));
        assert!(count(row, "/phases/world_callbacks_us") > cutovers, "{row:#}");
        assert_eq!(count(row, "/phases/attach_us"), 0, "nobody plays");
    }
    let (warm, cold) = (&rows[2], &rows[3]);
    assert_eq!(count(warm, "/phases/precopy_us"), count(warm, "/phases/cutover_us"));
    assert!(warm["handoffs"]["cold"] == 0 && cold["handoffs"]["warm"] == 0, "{warm:#}\n{cold:#}");
    for name in ["udp-2048-x3-rtt_us", "warm-2048-x3-precopy_us", "cold-2048-x3-cutover_us"] {
        assert!(hgrm.join(format!("{name}.hgrm")).is_file(), "{name}");
    }
    assert!(printed.contains("phases, p50 / p99 us"), "{printed}");
}

#[test]
fn a_light_snapshot_is_measured_at_the_pace_of_a_heavy_one_too() {
    let folder = tempfile::tempdir().unwrap();
    let (printed, json) = measured(
        folder.path(),
        &[
            "--snapshot-bytes=1k,256k",
            "--concurrency=1",
            "--path=warm",
            "--no-floors",
            "--duration=500ms",
            "--turns=1",
            "--warm-up=100ms",
        ],
    );
    let sizes: Vec<_> = json["rows"].as_array().unwrap().iter().map(|row| &row["snapshot_bytes"]).collect();
    assert_eq!(sizes, [1024, 256 * 1024], "it is no row like the others");
    let seldom = &json["seldom"];
    assert_eq!((&seldom["path"], &seldom["snapshot_bytes"]), (&"warm".into(), &1024.into()));
    let dwell_s = seldom["dwell_s"].as_f64().unwrap();
    assert!(dwell_s > 0.0 && seldom["handoffs_per_s"].as_f64().unwrap() * dwell_s < 1.1, "{seldom:#}");
    assert!(printed.contains("warm, seldom"), "{printed}");
}

#[test]
fn players_follow_every_handoff_with_their_clients() {
    let folder = tempfile::tempdir().unwrap();
    let (printed, json) = measured(
        folder.path(),
        &[
            "--players",
            "--snapshot-bytes=1k",
            "--concurrency=2",
            "--duration=2s",
            "--turns=1",
            "--warm-up=100ms",
            "--no-floors",
            "--tick-hz=50",
            "--dwell=100ms",
        ],
    );
    assert_eq!(json["config"]["entities"], "players");
    for row in json["rows"].as_array().unwrap() {
        let players = &row["players"];
        assert!(count(players, "/client_gap_us") > 0, "{row:#}");
        assert!(count(row, "/phases/attach_us") > 0, "{row:#}");
        assert_eq!(players["authority_violations"], 0);
        assert_eq!((&players["inputs"]["lost"], &players["inputs"]["doubled"]), (&0.into(), &0.into()));
    }
    assert!(printed.contains("met: inputs of players lost: 0, doubled: 0; two authorities: 0"), "{printed}");
    assert!(printed.contains("doubtful: warm, 1024 bytes x 2:"), "few values are said to be few: {printed}");
}

#[test]
fn restless_entities_load_a_row_of_their_own_beside_the_quiet_one() {
    let folder = tempfile::tempdir().unwrap();
    let (printed, json) = measured(
        folder.path(),
        &[
            "--snapshot-bytes=1k",
            "--concurrency=1",
            "--path=warm",
            "--restless=3",
            "--restless-every=50ms",
            "--pace=ticks",
            "--tick-hz=100",
            "--duration=2s",
            "--turns=2",
            "--warm-up=100ms",
            "--no-floors",
        ],
    );
    let [quiet, loaded] = json["rows"].as_array().unwrap().as_slice() else { panic!("{json:#}") };
    assert!(quiet["restless"].is_null(), "{quiet:#}");
    assert_eq!(loaded["restless"]["entities"], 3);
    assert!(loaded["restless"]["precopies"].as_u64() > Some(0), "{loaded:#}");
    assert!(count(quiet, "/cutover_us") > 0 && count(loaded, "/cutover_us") > 0, "{json:#}");
    let compared = &json["beside_restless"][0];
    assert!(compared["p99_ratio"].as_f64() > Some(0.0) && compared["mb_per_s"].as_f64() > Some(0.0));
    assert!(printed.contains("beside 3 restless entities"), "{printed}");
}

/// A mesh that runs already. Its nodes end with it.
struct Elsewhere {
    authority: Authority,
    addresses: Addresses,
    coordinator: CoordinatorService,
    runtime: tokio::runtime::Runtime,
    nodes: Vec<JoinHandle<()>>,
    over: Arc<AtomicBool>,
    ca: PathBuf,
    folder: TempDir,
}

const GRID: GridConfig = GridConfig { origin_m: [0.0; 3], cell_edge_m: 20.0, cells: [2, 1, 1] };

impl Elsewhere {
    fn start(nodes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::init(WorldName::new("aerie").unwrap(), CA_VALIDITY).unwrap();
        let ca = folder.path().join("ca.pem");
        fs::write(&ca, authority.ca_pem()).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (path, anywhere) = (|| Some(PathBuf::from("unused")), Some(([127, 0, 0, 1], 0).into()));
        let args = CoordinatorArgs {
            world: Some(authority.world().clone()),
            cert: path(),
            key: path(),
            ca: path(),
            door_cert: path(),
            door_key: path(),
            bind_mesh: anywhere,
            bind_door: anywhere,
            bind_http: anywhere,
            ..CoordinatorArgs::default()
        };
        let mut settings = Settings::resolve(args, FileConfig::default(), None).unwrap();
        settings.store = None;
        settings.coordinator.world.grid = GRID;
        settings.coordinator.world.interest_margin_m = 5.0;
        settings.coordinator.nodes_min = nodes;
        let (identity, door) = (
            identity(&authority, Role::Coordinator("main".to_owned())),
            identity(&authority, Role::Server("door".to_owned())),
        );
        let started = CoordinatorService::start(&settings, identity, door, Arc::new(AnyName), None);
        let coordinator = runtime.block_on(started).unwrap();
        let (addresses, over) = (coordinator.addresses(), Arc::new(AtomicBool::new(false)));
        let mut mesh =
            Self { authority, addresses, coordinator, runtime, nodes: Vec::new(), over, ca, folder };
        (1..=nodes).for_each(|number| mesh.start_node(number));
        mesh
    }

    fn start_node(&mut self, number: usize) {
        let mut node = MeshNode::builder()
            .config(MeshNodeConfig::new(self.addresses.mesh))
            .identity(identity(&self.authority, Role::Node(Uuid::new_v4())))
            .client_identity(identity(&self.authority, Role::Server(format!("node-{number}"))))
            .start()
            .unwrap();
        node.wait_ready(std::time::Duration::from_secs(60)).unwrap();
        let over = self.over.clone();
        let arena = ArenaConfig { npcs: 0, ..ArenaConfig::default() };
        self.nodes.push(thread::spawn(move || {
            let mut arena = Arena::new(arena).unwrap();
            while !over.load(Ordering::Relaxed) && node.tick(&mut arena, Arena::step).is_ok() {}
            node.stop();
        }));
    }

    fn args(&self, coordinator: SocketAddr) -> Vec<String> {
        let door = Role::Server("door".to_owned());
        let name = server_name(identity(&self.authority, door).id());
        [
            format!("--coordinator={coordinator}"),
            format!("--door={}", self.addresses.door),
            format!("--door-name={name}"),
            format!("--ca={}", self.ca.display()),
            "--cells=2x1".to_owned(),
            "--cell-edge=20".to_owned(),
            "--concurrency=3".to_owned(),
            "--duration=3s".to_owned(),
            "--warm-up=100ms".to_owned(),
        ]
        .to_vec()
    }

    /// What it complains of, when it asks for the coordinator there.
    fn refusal(&self, coordinator: SocketAddr) -> String {
        let args = self.args(coordinator);
        let output = handoff(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for node in self.nodes.drain(..) {
            let _ = node.join();
        }
        self.coordinator.shutdown().cancel();
        self.runtime.block_on(async { tokio::time::sleep(std::time::Duration::from_millis(50)).await });
    }
}

fn identity(authority: &Authority, role: Role) -> Identity {
    let issued = authority.issue(role, &SubjectNames::default(), IDENTITY_VALIDITY).unwrap();
    Identity::from_issued(&issued).unwrap()
}

#[test]
fn a_mesh_that_runs_already_is_measured_by_its_own_reports_and_by_bots() {
    let mesh = Elsewhere::start(2);
    let args = mesh.args(mesh.addresses.http);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let (printed, json) = measured(mesh.folder.path(), &args);
    let rows = json["rows"].as_array().unwrap();
    let warm = rows.iter().find(|row| row["path"] == "warm").unwrap_or_else(|| panic!("{json:#}"));
    assert!(warm["snapshot_bytes"].is_null() && warm["concurrency"] == 3, "{warm:#}");
    assert!(count(warm, "/cutover_us") > 0 && count(warm, "/phases/precopy_us") > 0, "{warm:#}");
    assert!(rows.iter().all(|row| row["path"] == "warm" || row["path"] == "cold"), "no floors: {json:#}");
    let run = &json["runs"][0];
    assert_eq!((&run["nodes"], &run["concurrency"]), (&2.into(), &3.into()));
    assert!(count(run, "/players/client_gap_us") > 0 && count(run, "/phases/attach_us") > 0, "{run:#}");
    assert_eq!(run["players"]["authority_violations"], 0);
    assert!(printed.contains("no floors") && printed.contains("client_gap p50"), "{printed}");
}

#[test]
fn a_mesh_in_which_nothing_can_cross_is_refused_with_the_reason() {
    let mesh = Elsewhere::start(1);
    assert!(mesh.refusal(mesh.addresses.http).contains("one node"), "one node");
    let empty = Elsewhere::start(0);
    assert!(empty.refusal(empty.addresses.http).contains("no node"), "no node");
}

#[test]
fn an_address_that_is_no_coordinators_is_named() {
    let mesh = Elsewhere::start(0);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refusal = mesh.refusal(nobody);
    assert!(
        refusal.contains(&nobody.to_string()) && refusal.contains("is a coordinator running there"),
        "{refusal}"
    );

    let somebody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = somebody.local_addr().unwrap();
    thread::spawn(move || {
        for stream in somebody.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        }
    });
    let refusal = mesh.refusal(address);
    assert!(refusal.contains(&address.to_string()) && refusal.contains("--coordinator"), "{refusal}");
}
