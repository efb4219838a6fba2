//! `selvedge up` from outside: real processes, a real terminal's signals, and what is left behind.

#![allow(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// How long anything may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(90);

fn selvedge() -> Command {
    Command::new(env!("CARGO_BIN_EXE_selvedge"))
}

/// A running `up`. Killed if the test fails, so that its children end, too.
struct Up {
    child: Child,
    said: mpsc::Receiver<String>,
    log: Vec<String>,
}

impl Up {
    /// Starts it and waits until its mesh is up.
    fn start(dir: &Path, args: &[&str]) -> Self {
        let mut child = selvedge()
            .arg("up")
            .args(args)
            .arg("--keep-dir")
            .arg(dir.join("mesh"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (say, said) = mpsc::channel();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let also_say = say.clone();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|l| also_say.send(l))
        });
        thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|l| say.send(l))
        });
        let mut up = Self { child, said, log: Vec::new() };
        up.wait_for("the mesh is up");
        up
    }

    fn wait_for(&mut self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.log.last().is_some_and(|line| line.contains(text)) {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.said.recv_timeout(left);
            self.log.push(line.unwrap_or_else(|_| panic!("{text:?} was never said, but: {:#?}", self.log)));
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.log.extend(self.said.iter());
                return status;
            }
            assert!(Instant::now() < until, "it did not end: {:#?}", self.log);
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn said(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.contains(text))
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process, by its id and the moment of its start: ids are used again.
#[derive(Debug, Clone, PartialEq)]
struct Process {
    pid: i32,
    parent: i32,
    started: String,
}

/// A process that runs; none if it has ended, whether or not somebody has asked for its exit status.
fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let running = !matches!(fields[0], "Z" | "X");
    running.then(|| Process { pid, parent: fields[1].parse().unwrap(), started: fields[19].to_owned() })
}

fn children_of(parent: u32) -> Vec<Process> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(process).filter(|process| process.parent == i32::try_from(parent).unwrap()).collect()
}

fn wait_until_gone(processes: &[Process]) {
    let until = Instant::now() + PATIENCE;
    loop {
        let left: Vec<_> = processes
            .iter()
            .filter(|one| process(one.pid).is_some_and(|now| now.started == one.started))
            .collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "still there: {left:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn players_cross_between_real_processes_and_every_invariant_holds() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("report.json");
    let output = selvedge()
        .args([
            "up",
            "--nodes",
            "3",
            "--players",
            "50",
            "--npcs",
            "12",
            "--cells",
            "2x2",
            "--cell-edge",
            "100",
        ])
        .args(["--duration", "15s", "--keep-dir"])
        .arg(dir.path().join("mesh"))
        .arg("--json")
        .arg(&json)
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64);
    for pointer in [
        "/handoffs/completed",
        "/handoffs/refused",
        "/handoffs/failed",
        "/handoffs/npcs_completed",
        "/players/expected",
        "/players/present",
        "/players/missing",
        "/inputs/sent",
        "/inputs/applied",
        "/inputs/lost",
        "/inputs/doubled",
        "/authority_violations",
        "/missed_ticks/zero_share",
        "/missed_ticks/max",
        "/cutover_us/p50",
        "/cutover_us/p99",
        "/cutover_us/p999",
        "/cutover_us/max",
        "/client_gap_ms/p50",
        "/client_gap_ms/p99",
        "/client_gap_ms/max",
        "/handoff_total_ms/p50",
        "/handoff_total_ms/p99",
        "/handoff_total_ms/max",
        "/duration_s",
        "/handoffs_per_s",
        "/ghosts/error_over_border_m/p99",
        "/ghosts/error_over_border_m_max",
        "/ghosts/to_nodes/updates_per_s",
        "/ghosts/to_players/bytes_per_s",
        "/actions/done",
        "/actions/trades",
        "/events/reached",
        "/machine/cores",
    ] {
        assert!(number(pointer).is_some(), "{pointer} is not in {report:#}");
    }
    for some in [
        "/handoffs/completed",
        "/ghosts/error_over_border_m/count",
        "/ghosts/to_nodes/updates",
        "/ghosts/to_players/updates",
        "/actions/trades",
        "/events/caused",
        "/events/reached",
    ] {
        assert!(number(some) > Some(0.0), "{some}: {report:#}");
    }
    assert_eq!(number("/players/expected"), Some(50.0));
    assert_eq!(number("/players/present"), Some(50.0));
    for none in ["/players/missing", "/inputs/lost", "/inputs/doubled", "/authority_violations"] {
        assert_eq!(number(none), Some(0.0), "{none}: {report:#}");
    }
    // In cells of this size so many looks over a border are judged, unless the machine can't keep 30 ticks a second.
    assert!(number("/ghosts/error_over_border_m/count") >= Some(1_000.0), "{report:#}");
    if number("/tick_late_us/p99") <= Some(1e6 / 30.0) {
        let bound = number("/ghosts/error_over_border_m_max");
        assert!(number("/ghosts/error_over_border_m/p99") <= bound, "{report:#}");
    }
    assert!(number("/inputs/sent") > Some(0.0));
    assert_eq!(number("/inputs/sent"), number("/inputs/applied"));
    assert_eq!(report["good"], true);
}

#[test]
fn no_child_outlives_an_up_that_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(dir.path(), &["--nodes", "2", "--players", "2", "--npcs", "0"]);
    let children = children_of(up.child.id());
    assert_eq!(children.len(), 3, "a coordinator and two nodes: {children:?}");
    up.signal(Signal::SIGKILL);
    up.child.wait().unwrap();
    wait_until_gone(&children);
}

#[test]
fn an_interrupt_ends_everything_in_order_and_still_gives_the_report() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(dir.path(), &["--nodes", "2", "--players", "3", "--npcs", "4"]);
    let children = children_of(up.child.id());
    up.signal(Signal::SIGINT);
    let status = up.wait();
    assert_eq!(status.code(), Some(0), "{:#?}", up.log);
    assert!(up.said("every invariant held"), "{:#?}", up.log);
    wait_until_gone(&children);
}

#[test]
fn a_mesh_is_measured_from_another_terminal_by_the_command_that_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let small = ["--nodes", "2", "--players", "0", "--npcs", "0", "--cells", "2x1", "--cell-edge", "20"];
    let mut up = Up::start(dir.path(), &small);
    up.wait_for("bench handoff");
    let line = up.log.last().unwrap();
    let (_, command) = line.split_once("selvedge ").unwrap();
    let json = dir.path().join("handoff.json");
    let output = selvedge()
        .args(command.split(' '))
        .args(["--concurrency=3", "--duration=3s", "--warm-up=100ms", "--json"])
        .arg(&json)
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    let row = &report["rows"][0];
    assert!(row["cutover_us"]["count"].as_u64() > Some(0) && row["concurrency"] == 3, "{report:#}");
    assert!(report["runs"][0]["players"]["client_gap_us"]["count"].as_u64() > Some(0), "{report:#}");
    up.signal(Signal::SIGINT);
    assert_eq!(up.wait().code(), Some(0), "{:#?}", up.log);
}

#[test]
fn a_node_that_dies_fails_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(dir.path(), &["--nodes", "2", "--players", "2", "--npcs", "0"]);
    // The coordinator was started first.
    let mut children = children_of(up.child.id());
    children.sort_by_key(|child| child.started.parse::<u64>().unwrap());
    kill(Pid::from_raw(children[2].pid), Signal::SIGKILL).unwrap();
    let status = up.wait();
    assert_eq!(status.code(), Some(1), "{:#?}", up.log);
    assert!(up.said("ended by itself"), "{:#?}", up.log);
    wait_until_gone(&children);
}

/// What `selvedge why` says of an entity: its exit code and everything that it printed.
fn why(http: &str, args: &[&str]) -> (Option<i32>, String) {
    let output = selvedge().args(["why", "--http", http]).args(args).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn where_a_player_is_and_why_can_be_asked_while_the_mesh_plays() {
    let dir = tempfile::tempdir().unwrap();
    let small = ["--cells", "2x1", "--cell-edge", "40", "--nodes", "2", "--players", "3", "--npcs", "0"];
    let mut up = Up::start(dir.path(), &small);
    let http = up.log.last().unwrap().rsplit(' ').next().unwrap().to_owned();
    let until = Instant::now() + PATIENCE;
    let handoff = loop {
        let (code, said) = why(&http, &["bot-0", "--json"]);
        assert!(Instant::now() < until, "bot-0 never crossed: {said}");
        thread::sleep(Duration::from_millis(100));
        // As long as the player is not in the world, nobody knows them.
        if code != Some(0) {
            continue;
        }
        let account: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(account["name"], "bot-0", "{said}");
        assert_eq!(account["asked"]["answer"], "told", "{said}");
        assert!(account["stay"]["position_m"][0].is_number(), "{said}");
        assert!(
            account["delays"].as_array().unwrap().iter().all(|delay| delay["says"].is_string()),
            "{said}"
        );
        let history = account["history"].as_array().unwrap();
        let whole =
            |row: &&Value| row["kind"] == "handoff" && row["phases"].is_object() && row["to"].is_string();
        if let Some(handoff) = history.iter().find(whole) {
            break (account["entity"].as_str().unwrap().to_owned(), handoff.clone());
        }
    };
    let (entity, handoff) = handoff;
    for phase in ["answer_us", "prepare_us", "cutover_us"] {
        assert!(handoff["phases"][phase].is_u64(), "{phase}: {handoff:#}");
    }
    assert!(handoff["missed_ticks"].is_u64() && handoff["from"] != handoff["to"], "{handoff:#}");
    let (code, said) = why(&http, &[&entity]);
    assert_eq!(code, Some(0), "{said}");
    for word in ["player \"bot-0\"", "epoch", "what delays it", "cutover", "ago"] {
        assert!(said.contains(word), "{word} is not in: {said}");
    }

    let (code, said) = why(&http, &["nobody"]);
    assert_eq!((code, said.contains("no player \"nobody\" is in the world")), (Some(3), true), "{said}");
    let (code, said) = why("127.0.0.1:1", &[&entity]);
    assert_eq!((code, said.contains("is a coordinator running there?")), (Some(1), true), "{said}");

    // Nodes that hear nothing: what the coordinator knows is all there is.
    let mut children = children_of(up.child.id());
    children.sort_by_key(|child| child.started.parse::<u64>().unwrap());
    children[1..].iter().for_each(|node| kill(Pid::from_raw(node.pid), Signal::SIGSTOP).unwrap());
    let (code, said) = why(&http, &[&entity]);
    assert_eq!(code, Some(4), "{said}");
    for word in ["the coordinator was told", "did not answer in time", "handoff"] {
        assert!(said.contains(word), "{word} is not in: {said}");
    }
    up.signal(Signal::SIGKILL);
    up.child.wait().unwrap();
    wait_until_gone(&children);
}

#[test]
fn wrong_usage_is_told_apart_from_a_broken_mesh() {
    for args in [
        ["up", "--nodes", "0"].as_slice(),
        &["up", "--nodes", "9", "--cells", "2x2"],
        &["up", "--snapshot-bytes", "4 apples"],
        &["up", "--snapshot-bytes", "1M"],
        &["up", "--duration", "soon"],
        &["walk"],
    ] {
        let output = selvedge().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
