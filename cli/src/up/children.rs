//! The processes of the mesh: started, watched and ended by this one.
//!
//! Each child holds the other end of a pipe as its stdin and ends when that closes: also when this process is killed
//! and can do nothing any more. Each is in a process group of its own, so that a Ctrl-C at the terminal reaches this
//! process alone, which then ends them in order.

use std::env;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a child may take to end in order before it is killed.
const GRACE: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_millis(20);
/// As much of a log as is shown when its process died.
const TAIL_BYTES: u64 = 3000;
const TAIL_LINES: usize = 15;

/// One process of the mesh.
#[derive(Debug)]
struct Process {
    name: String,
    /// Its stdin stays open in here for as long as this lives.
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

/// Every process of the mesh. Dropping it kills what still runs.
#[derive(Debug, Default)]
pub(super) struct Children {
    all: Vec<Process>,
}

impl Children {
    /// Starts this very program with other arguments, logging to `log`.
    pub(super) fn start(&mut self, name: &str, args: &[&str], log: &Path) -> anyhow::Result<()> {
        let program = env::current_exe().context("cannot find this program's own file")?;
        let stderr = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let stdout = stderr.try_clone().context("cannot write a log")?;
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(stdout).stderr(stderr).process_group(0);
        // Settings in this process' environment are meant for other processes than these.
        for (key, _) in env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("SELVEDGE_")) {
            command.env_remove(key);
        }
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        self.all.push(Process { name: name.to_owned(), child, log: log.to_owned(), ended: None });
        Ok(())
    }

    /// What became of the processes that should be running and aren't: one message each, with the end of its log. Each
    /// is told once.
    pub(super) fn deaths(&mut self) -> Vec<String> {
        self.all.iter_mut().filter_map(Process::death).collect()
    }

    /// The end of each process' log.
    pub(super) fn tails(&self) -> String {
        let of = |process: &Process| format!("{}:\n{}", process.name, tail(&process.log));
        self.all.iter().map(of).collect::<Vec<_>>().join("\n")
    }

    /// Ends everything, the last started first, and waits for it. Says who didn't end in order.
    pub(super) fn stop(&mut self) -> Vec<String> {
        let mut complaints = self.deaths();
        // The first is the coordinator: it goes when the nodes have said good-bye.
        let first = self.all.len().min(1);
        let (coordinator, nodes) = self.all.split_at_mut(first);
        for group in [nodes, coordinator] {
            group.iter_mut().for_each(Process::terminate);
            let until = Instant::now() + GRACE;
            complaints.extend(group.iter_mut().filter_map(|process| process.end_until(until)));
        }
        complaints
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for process in self.all.iter_mut().filter(|process| process.ended.is_none()) {
            // Nothing is left to do about a failure: the closed stdin ends it, too.
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

impl Process {
    fn poll(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    fn death(&mut self) -> Option<String> {
        if self.ended.is_some() {
            return None;
        }
        let status = self.poll()?;
        Some(format!("{} ended by itself ({status}); the end of its log:\n{}", self.name, tail(&self.log)))
    }

    fn terminate(&mut self) {
        if let (None, Ok(pid)) = (self.poll(), i32::try_from(self.child.id())) {
            // It may have ended just now.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }

    /// Waits for the end that was asked for, or forces it.
    fn end_until(&mut self, until: Instant) -> Option<String> {
        if self.ended.is_some() {
            return None;
        }
        while self.poll().is_none() && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        match self.ended {
            Some(status) if status.success() => None,
            Some(status) => Some(format!(
                "{} ended badly ({status}); the end of its log:\n{}",
                self.name,
                tail(&self.log)
            )),
            None => {
                let _ = self.child.kill();
                self.ended = self.child.wait().ok();
                Some(format!("{} did not end within {GRACE:?} and was killed", self.name))
            }
        }
    }
}

/// The last lines of a log.
fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_else(|error| format!("(no log: {error})"));
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    last.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_log_the_last_lines_are_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let text: String = (0..1000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&path, text).unwrap();
        let tail = tail(&path);
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("line 999"));
    }

    #[test]
    fn a_log_that_is_not_there_is_no_panic() {
        assert!(tail(Path::new("/nowhere/at/all")).contains("no log"));
    }
}
