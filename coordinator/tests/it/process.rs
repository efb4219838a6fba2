//! The binary: environment, the addresses file, and each way to end it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use selvedge_certs::{CA_CERTIFICATE_FILE, Overwrite, Role, Uuid};
use selvedge_coordinator::Addresses;

use crate::support::{World, http};

const PATIENCE: Duration = Duration::from_secs(20);

struct Folder {
    dir: tempfile::TempDir,
    world: World,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new();
        let save = |role, stem| world.issue(role).save(dir.path(), stem, Overwrite::Refuse).unwrap();
        save(Role::Coordinator("main".into()), "coordinator");
        save(Role::Server("door".into()), "door");
        std::fs::write(dir.path().join(CA_CERTIFICATE_FILE), world.authority.ca_pem()).unwrap();
        let config = "cert = 'coordinator.pem'\nkey = 'coordinator.key'\nca = 'ca.pem'\n\
                      door_cert = 'door.pem'\ndoor_key = 'door.key'\nworld = 'overruled'\n\
                      bind_mesh = '127.0.0.1:0'\nbind_door = '127.0.0.1:0'\nbind_http = '127.0.0.1:0'\n[store]\npath = 'store'\n";
        std::fs::write(dir.path().join("mesh.toml"), config).unwrap();
        Self { dir, world }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coordinator"));
        command
            .current_dir(self.dir.path())
            .env("SELVEDGE_CONFIG", "mesh.toml")
            .env("SELVEDGE_WORLD", "aerie")
            .args(["--addresses-file", "addresses.json"])
            .stderr(Stdio::null());
        command
    }

    fn addresses(&self) -> PathBuf {
        self.dir.path().join("addresses.json")
    }
}

/// A child that doesn't outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }

    async fn ended_well(&mut self) -> bool {
        until("the end of the process", || self.0.try_wait().unwrap()).await.success()
    }
}

async fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(result) = done() {
            return result;
        }
        assert!(started.elapsed() < PATIENCE, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn read(path: &Path) -> Addresses {
    let text = until("the addresses", || std::fs::read_to_string(path).ok()).await;
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn it_says_where_it_listens_and_ends_on_each_signal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let folder = Folder::new();
        let mut running = Running(folder.command().stdin(Stdio::null()).spawn().unwrap());
        let addresses = read(&folder.addresses()).await;
        assert!([addresses.mesh, addresses.door, addresses.http].iter().all(|address| address.port() != 0));
        assert_eq!(http(addresses.http, "GET", "/healthz").await.0, 200);
        running.signal(signal);
        assert!(running.ended_well().await, "{signal}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn it_ends_when_the_starters_end_of_its_stdin_is_closed() {
    let folder = Folder::new();
    let mut running =
        Running(folder.command().arg("--die-with-parent").stdin(Stdio::piped()).spawn().unwrap());
    read(&folder.addresses()).await;
    drop(running.0.stdin.take());
    assert!(running.ended_well().await);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "current_thread")]
async fn it_ends_when_its_starter_is_killed() {
    let folder = Folder::new();
    let mut command = folder.command();
    command.arg("--die-with-parent");
    let quoted: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .filter_map(|part| part.to_str())
        .collect();
    let mut starter = Command::new("sh");
    // The shell stays, so that it and not this test is the starter.
    starter.arg("-c").arg(format!("{} < /dev/null & echo $!; wait", quoted.join(" ")));
    starter.current_dir(folder.dir.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    for (key, value) in command.get_envs() {
        starter.env(key, value.unwrap_or_default());
    }
    let mut starter = Running(starter.spawn().unwrap());
    let address = read(&folder.addresses()).await.http;
    starter.0.kill().unwrap();
    starter.0.wait().unwrap();
    until("the orphan's end", || std::net::TcpStream::connect(address).is_err().then_some(())).await;
}

#[test]
fn an_identity_of_another_role_is_named_with_its_file_and_both_roles() {
    let folder = Folder::new();
    let node = folder.world.issue(Role::Node(Uuid::from_u128(1)));
    node.save(folder.dir.path(), "node", Overwrite::Refuse).unwrap();
    for (which, file, found, expected) in [
        (["--cert", "--key"], "node", "role node", "role coordinator"),
        (["--door-cert", "--door-key"], "node", "role node", "role server"),
        (["--cert", "--key"], "door", "role server", "role coordinator"),
    ] {
        let files = [format!("{file}.pem"), format!("{file}.key")];
        let args = which.iter().zip(&files).flat_map(|(flag, file)| [*flag, file]);
        let output = folder.command().stderr(Stdio::piped()).args(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{said}");
        for word in [&files[0], found, expected, "issue one with that role"] {
            assert!(said.contains(word), "{word} in {said}");
        }
        assert!(!folder.addresses().exists(), "it never listened");
    }
}

#[test]
fn a_setting_that_can_not_be_used_is_named() {
    let folder = Folder::new();
    let output = folder.command().stderr(Stdio::piped()).args(["--tick-hz", "0"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("tick_hz") && said.contains("--tick-hz"), "{said}");
    let output = folder.command().stderr(Stdio::piped()).env("SELVEDGE_WORLD", "elsewhere").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.contains("coordinator.pem") && said.contains("elsewhere"),
        "{said}"
    );
}
