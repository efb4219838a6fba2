//! A child process, and what it says.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use serde::de::DeserializeOwned;

use super::spec::Spec;

/// The subcommand that makes this program a child.
pub(crate) const CHILD_COMMAND: &str = "handoff-child";

/// What a child is asked: what it has seen so far.
pub(crate) const LOOK: &str = "?";
/// What bots are asked besides: to stand still until all that they did has taken effect, and then the same.
pub(crate) const STOP: &str = "stop";

/// This program again. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Kin {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Kin {
    /// Starts a child.
    ///
    /// # Errors
    /// If the system doesn't.
    pub(crate) fn start(name: &str, spec: &Spec) -> anyhow::Result<Self> {
        let program = env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(program);
        // In `selvedge` the commands of this crate stand below `bench`.
        if env::args().nth(1).is_some_and(|first| first == "bench") {
            command.arg("bench");
        }
        command.arg(CHILD_COMMAND).arg(serde_json::to_string(spec)?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (said, lines) = mpsc::channel();
        let stdout = stdout.context("a child without standard output")?;
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if said.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { name: name.to_owned(), child, stdin, lines })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next thing that it says.
    ///
    /// # Errors
    /// If it says nothing, or something else.
    pub(crate) fn hear<T: DeserializeOwned>(&self, patience: Duration) -> anyhow::Result<T> {
        let line = self
            .lines
            .recv_timeout(patience)
            .with_context(|| format!("{} ended or did not answer within {patience:?}", self.name))?;
        serde_json::from_str(&line).with_context(|| format!("{} said something strange", self.name))
    }

    /// Asks for its next answer.
    ///
    /// # Errors
    /// If it is gone.
    pub(crate) fn ask(&mut self, question: &str) -> anyhow::Result<()> {
        let stdin = self.stdin.as_mut().context("already ended")?;
        let line = format!("{question}\n");
        stdin.write_all(line.as_bytes()).with_context(|| format!("{} has ended", self.name))
    }

    /// Lets it end, without waiting for that.
    pub(crate) fn let_go(&mut self) {
        drop(self.stdin.take());
    }
}

impl Drop for Kin {
    fn drop(&mut self) {
        self.let_go();
        for _ in 0..100 {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
