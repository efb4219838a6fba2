//! The attackers' process: this program again, told whom to attack.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use selvedge_protocol::id::NodeId;
use serde::{Deserialize, Serialize};

use super::args::Attack;
use super::attack;
use crate::handoff::child::{end_with_parent, say};

/// The subcommand that makes this program one.
pub(crate) const CHILD_COMMAND: &str = "flood-child";

/// Whom to attack, how, and for how long.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Spec {
    pub(super) attack: Attack,
    pub(super) duration: Duration,
    pub(super) ca: PathBuf,
    pub(super) door: SocketAddr,
    pub(super) door_name: String,
    /// The attacked node's client port, its TLS name, its mesh port, and its id.
    pub(super) clients: SocketAddr,
    pub(super) clients_name: String,
    pub(super) mesh: SocketAddr,
    pub(super) node: NodeId,
    /// For a node that attacks: its identity, and with whom it registers.
    pub(super) rogue: Option<Rogue>,
    pub(super) coordinator: SocketAddr,
}

/// A node's identity that fell into the wrong hands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Rogue {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

/// What an attacker did.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Deeds {
    /// Connections that it tried to open.
    pub(super) attempts: u64,
    /// Of these, let in.
    pub(super) let_in: u64,
    /// Messages, datagrams or packets that it sent.
    pub(super) sent: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Connections that were closed on it.
    pub(super) closed: u64,
}

impl Deeds {
    /// Two attackers together.
    pub(super) const fn add(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.let_in += other.let_in;
        self.sent += other.sent;
        self.bytes += other.bytes;
        self.closed += other.closed;
    }
}

/// Attacks for as long as it is told, and says what it did.
///
/// # Errors
/// If it can't begin.
pub(crate) fn run_child(spec: &str) -> anyhow::Result<()> {
    let spec: Spec = serde_json::from_str(spec).context("not what this program tells its own children")?;
    end_with_parent()?;
    say(&attack::run(&spec)?)
}

/// A running attacker. Killed when dropped.
#[derive(Debug)]
pub(super) struct Attacker(Child);

impl Attacker {
    /// Starts it with the lowest priority.
    pub(super) fn start(spec: &Spec) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new("nice");
        command.arg("-n19").arg(program);
        if std::env::args().nth(1).is_some_and(|first| first == "bench") {
            command.arg("bench");
        }
        command.arg(CHILD_COMMAND).arg(serde_json::to_string(spec)?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Self(command.spawn().context("cannot start the attacker: is there a program `nice`?")?))
    }

    /// Waits for its end.
    pub(super) fn deeds(mut self) -> anyhow::Result<Deeds> {
        let stdin = self.0.stdin.take();
        let mut said = String::new();
        if let Some(mut stdout) = self.0.stdout.take() {
            std::io::Read::read_to_string(&mut stdout, &mut said)?;
        }
        drop(stdin);
        self.0.wait()?;
        serde_json::from_str(&said).with_context(|| format!("the attacker failed; it said {said:?}"))
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
