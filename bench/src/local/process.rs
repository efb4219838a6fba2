//! The processes of a mesh: started, watched, hurt and ended by this one.
//!
//! Each holds the other end of a pipe as its stdin and ends when that closes: also when this process is killed and can
//! do nothing any more. Each is in a process group of its own, so that a Ctrl-C at the terminal reaches this process
//! alone, which then ends them in order.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a process may take to end in order before it is killed.
const GRACE: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_millis(20);
/// As much of a log as is shown when its process died.
const TAIL_BYTES: u64 = 3000;
const TAIL_LINES: usize = 15;

/// One process. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    /// Its stdin stays open in here. None while it is meant to be dead.
    child: Option<Child>,
}

/// Every process of the mesh, the coordinator first. Those that still run are killed when it is dropped.
#[derive(Debug, Default)]
pub struct Processes(Vec<Process>);

impl Processes {
    /// One more, which isn't started yet.
    pub fn add(&mut self, name: &str, log: PathBuf) -> &mut Process {
        let at = self.0.len();
        self.0.push(Process { name: name.to_owned(), log, child: None });
        &mut self.0[at]
    }

    /// By its number, from 0 on: that is the coordinator.
    ///
    /// # Errors
    /// If there is none of this number.
    pub fn at(&mut self, number: usize) -> anyhow::Result<&mut Process> {
        self.0.get_mut(number).with_context(|| format!("there is no process {number}"))
    }

    /// The process id of the one with this number; none while it is meant to be dead.
    #[must_use]
    pub fn id(&self, number: usize) -> Option<u32> {
        self.0.get(number)?.id()
    }

    /// What became of the processes that should be running and aren't: one message each, with the end of its log. Each
    /// is told once.
    pub fn deaths(&mut self) -> Vec<String> {
        self.0.iter_mut().filter_map(Process::death).collect()
    }

    /// The end of each process' log.
    #[must_use]
    pub fn tails(&self) -> String {
        let of = |process: &Process| format!("{}:\n{}", process.name, tail(&process.log));
        self.0.iter().map(of).collect::<Vec<_>>().join("\n")
    }

    /// Ends everything and waits for it, the coordinator when the nodes have said good-bye. Says who didn't end in order.
    pub fn stop(&mut self) -> Vec<String> {
        let mut complaints = self.deaths();
        let first = self.0.len().min(1);
        let (coordinator, nodes) = self.0.split_at_mut(first);
        for group in [nodes, coordinator] {
            group.iter_mut().for_each(Process::terminate);
            let until = Instant::now() + GRACE;
            complaints.extend(group.iter_mut().filter_map(|process| process.end_until(until)));
        }
        complaints
    }
}

impl Process {
    /// Starts this very program with other arguments, the first time or again; its log goes on.
    ///
    /// # Errors
    /// If the system doesn't.
    pub fn start<S: AsRef<str>>(&mut self, args: &[S]) -> anyhow::Result<()> {
        let program = env::current_exe().context("cannot find this program's own file")?;
        let stderr = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let stdout = stderr.try_clone().context("cannot write a log")?;
        let mut command = Command::new(program);
        command.args(args.iter().map(AsRef::as_ref));
        command.stdin(Stdio::piped()).stdout(stdout).stderr(stderr).process_group(0);
        // Settings in this process' environment are meant for other processes than these.
        for (key, _) in env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("SELVEDGE_")) {
            command.env_remove(key);
        }
        self.child = Some(command.spawn().with_context(|| format!("cannot start {}", self.name))?);
        Ok(())
    }

    fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// SIGKILL. Returns the moment before it, once the process is gone.
    ///
    /// # Errors
    /// If it was gone before.
    pub fn kill(&mut self) -> anyhow::Result<Instant> {
        self.living()?;
        let mut child = self.child.take().with_context(|| format!("{} is not there", self.name))?;
        let at = Instant::now();
        child.kill().with_context(|| format!("cannot kill {}", self.name))?;
        child.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        Ok(at)
    }

    /// SIGSTOP. Returns the moment before it.
    ///
    /// # Errors
    /// If it is gone.
    pub fn pause(&mut self) -> anyhow::Result<Instant> {
        let at = Instant::now();
        self.signal(Signal::SIGSTOP)?;
        Ok(at)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// If it is gone.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        self.living()?;
        let child = self.child.as_ref().with_context(|| format!("{} is not there", self.name))?;
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        kill(pid, signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    fn living(&mut self) -> anyhow::Result<()> {
        self.death().map_or(Ok(()), |death| Err(anyhow::anyhow!(death)))
    }

    /// What there is to say if it ended though nobody killed it.
    fn death(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        self.child = None;
        Some(self.obituary("ended by itself", status))
    }

    fn obituary(&self, how: &str, status: ExitStatus) -> String {
        format!("{} {how} ({status}); the end of its log:\n{}", self.name, tail(&self.log))
    }

    /// SIGTERM.
    fn terminate(&mut self) {
        // It may have ended just now.
        drop(self.signal(Signal::SIGTERM));
    }

    /// Waits for the end that was asked for, or forces it; says what was wrong.
    fn end_until(&mut self, until: Instant) -> Option<String> {
        let mut child = self.child.take()?;
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return None,
                Ok(Some(status)) => return Some(self.obituary("ended badly", status)),
                Ok(None) if Instant::now() < until => std::thread::sleep(LOOK),
                Ok(None) | Err(_) => break,
            }
        }
        end_at_once(&mut child);
        Some(format!("{} did not end within {GRACE:?} and was killed", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end_at_once(child);
        }
    }
}

fn end_at_once(child: &mut Child) {
    // Nothing is left to do about a failure: the closed stdin ends it, too.
    let _ = child.kill();
    let _ = child.wait();
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
