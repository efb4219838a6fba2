//! A mesh that is run by hand, as docs/OPERATIONS.md says.

#![allow(dead_code, reason = "shared by test files, each of which uses its own part")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

pub(crate) const PAGE: &str = include_str!("../../../docs/OPERATIONS.md");
const MARK: &str = "<!-- test: by-hand -->";
/// How long anything may take. Far more than it needs, so that a busy machine fails nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
pub(crate) const LOOK: Duration = Duration::from_millis(100);
pub(crate) const NODES: usize = 2;
/// The second node's id, to which the page pins a cell. So high that the cell would otherwise be the first node's.
const NODE_2_ID: &str = "fb6f3a52-2d4c-4c8e-9f57-5d1e0a7c9e21";

/// The blocks that are marked, without their fences.
pub(crate) fn marked_blocks(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line != MARK {
            continue;
        }
        assert_eq!(lines.next(), Some("```sh"), "a mark stands right before its block");
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(block.join("\n"));
    }
    blocks
}

/// A mesh that is run by hand. Dropping it kills what still runs.
pub(crate) struct ByHand {
    pub(crate) folder: tempfile::TempDir,
    variables: String,
    addresses: Vec<(&'static str, SocketAddr)>,
    /// In the order of their start.
    pub(crate) running: Vec<Process>,
}

pub(crate) struct Process {
    pub(crate) command: String,
    pub(crate) child: Child,
    pub(crate) log: PathBuf,
}

impl ByHand {
    pub(crate) fn new(variables: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder, variables: variables.to_owned(), addresses: free_addresses(), running: Vec::new() }
    }

    /// A shell in the folder that runs `script` behind the page's variables.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_selvedge"));
        let programs = program.parent().expect("the binary is in a folder");
        let others = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell.arg("-euc").arg(format!("{}\n{script}", self.variables)).current_dir(self.folder.path());
        // What is set where the test is run is meant for another mesh.
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("SELVEDGE_"))
        {
            shell.env_remove(key);
        }
        shell.env("PATH", format!("{}:{others}", programs.display()));
        shell.env("PLAY_FOR", "5s").env("NODE_2_ID", NODE_2_ID);
        for (name, address) in &self.addresses {
            shell.env(name, address.to_string());
        }
        shell
    }

    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        let found = self.addresses.iter().find(|(known, _)| *known == name);
        found.expect("the address is one of the page's").1
    }

    /// Runs a block to its end, which must be good.
    pub(crate) fn run(&self, block: &str) {
        let output = self.shell(block).stdin(Stdio::null()).output().expect("a shell");
        assert!(
            output.status.success(),
            "{block}\nended with {}\n{}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            self.logs(),
        );
    }

    /// Starts a process that goes on.
    pub(crate) fn start(&mut self, command: &str) {
        let log = self.folder.path().join(format!("{}.log", self.running.len()));
        let to_log = File::create(&log).expect("a log");
        // The shell makes room for the process, so that the id known here is the process' own.
        let child = self
            .shell(&format!("exec {command} --die-with-parent"))
            .stdin(Stdio::piped())
            .stdout(to_log.try_clone().expect("a log"))
            .stderr(to_log)
            .spawn()
            .expect("a shell");
        self.running.push(Process { command: command.to_owned(), child, log });
    }

    /// Waits until the status shows every node alive and every cell owned.
    pub(crate) fn wait_until_whole(&mut self) {
        let begun = Instant::now();
        loop {
            let status = self.status();
            if status.as_ref().is_some_and(is_whole) {
                return;
            }
            for process in &mut self.running {
                let ended = process.child.try_wait().expect("a child can be asked");
                assert_eq!(ended, None, "{} ended:\n{}", process.command, tail(&process.log));
            }
            assert!(begun.elapsed() < PATIENCE, "not whole yet: {status:?}\n{}", self.logs());
            thread::sleep(LOOK);
        }
    }

    /// What `selvedge status --json` prints; none while nobody answers.
    pub(crate) fn status(&self) -> Option<Value> {
        let mut status = self.shell("selvedge status --json --http \"$COORDINATOR_HTTP\"");
        let output = status.stdin(Stdio::null()).output().expect("a shell");
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("the status is JSON"))
    }

    /// After everything on the page: the mesh is whole, no two reports contradict each other, and the pin holds.
    pub(crate) fn check_end_state(&mut self) {
        self.wait_until_whole();
        let status = self.status().expect("the coordinator answers");
        assert_eq!(status["authority_violations"], 0, "{status}");
        let nodes = array(&status["nodes"]).iter();
        let advertised: Vec<&Value> =
            nodes.flat_map(|node| [&node["mesh_addr"], &node["client_addr"]]).collect();
        for name in ["NODE_1_MESH", "NODE_1_CLIENTS", "NODE_2_MESH", "NODE_2_CLIENTS"] {
            let address = Value::from(self.address(name).to_string());
            assert!(advertised.contains(&&address), "{name} {address} is not advertised: {status}");
        }
        let cells = get(self.address("COORDINATOR_HTTP"), "/cells");
        assert_eq!(cells["cells"]["L0(0,0,0)"], NODE_2_ID, "{cells}");
    }

    /// Stops what was started in the page's order: the nodes, then the coordinator. Each must end well.
    pub(crate) fn stop(&mut self) {
        while let Some(process) = self.running.last_mut() {
            let pid = i32::try_from(process.child.id()).expect("a process id");
            kill(Pid::from_raw(pid), Signal::SIGTERM).expect("the process is there");
            let begun = Instant::now();
            let status = loop {
                if let Some(status) = process.child.try_wait().expect("a child can be asked") {
                    break status;
                }
                assert!(begun.elapsed() < PATIENCE, "{} goes on:\n{}", process.command, tail(&process.log));
                thread::sleep(LOOK);
            };
            assert!(status.success(), "{} ended with {status}:\n{}", process.command, tail(&process.log));
            self.running.pop();
        }
    }

    pub(crate) fn logs(&self) -> String {
        let logs =
            self.running.iter().map(|process| format!("--- {}\n{}", process.command, tail(&process.log)));
        logs.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        for process in &mut self.running {
            // It may have ended already.
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

/// An address for each of the page's names, at a port that was free a moment ago.
pub(crate) fn free_addresses() -> Vec<(&'static str, SocketAddr)> {
    let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let http = TcpListener::bind(anywhere).expect("a free TCP port");
    let names = [
        "COORDINATOR_MESH",
        "COORDINATOR_DOOR",
        "NODE_1_MESH",
        "NODE_1_CLIENTS",
        "NODE_2_MESH",
        "NODE_2_CLIENTS",
    ];
    // All are open at once, so that none is given twice.
    let open = names.map(|name| (name, UdpSocket::bind(anywhere).expect("a free UDP port")));
    let here = |address: std::io::Result<SocketAddr>| {
        let port = address.expect("a bound socket has an address").port();
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
    };
    let mut addresses = vec![("COORDINATOR_HTTP", here(http.local_addr()))];
    addresses.extend(open.iter().map(|(name, socket)| (*name, here(socket.local_addr()))));
    addresses
}

pub(crate) fn is_whole(status: &Value) -> bool {
    let alive = array(&status["nodes"]).iter().filter(|node| node["alive"] == true).count();
    alive == NODES && status["cells_without_owner"] == 0
}

pub(crate) fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A page of the coordinator's HTTP status, without the help of a tool that may not be there.
pub(crate) fn get(address: SocketAddr, path: &str) -> Value {
    let mut stream = TcpStream::connect(address).expect("the HTTP port is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (_, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer has a head");
    serde_json::from_str(body).expect("the body is JSON")
}

pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
