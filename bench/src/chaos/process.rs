//! One process of the mesh, which can be killed, stopped and started again.

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

use super::child::{CHILD_COMMAND, Spec};

const LOOK: Duration = Duration::from_millis(20);
/// As much of a log as is shown when its process died.
const TAIL_BYTES: u64 = 3000;
const TAIL_LINES: usize = 15;

/// One process. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    log: PathBuf,
    /// Its stdin stays open in here. None while it is meant to be dead.
    child: Option<Child>,
}

impl Process {
    /// One that isn't started yet.
    pub(crate) const fn new(name: String, log: PathBuf) -> Self {
        Self { name, log, child: None }
    }

    /// Starts it, the first time or again; its log goes on.
    ///
    /// # Errors
    /// If the system doesn't.
    pub(crate) fn start(&mut self, spec: &Spec) -> anyhow::Result<()> {
        let program = env::current_exe().context("cannot find this program's own file")?;
        let stderr = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let stdout = stderr.try_clone().context("cannot write a log")?;
        let mut command = Command::new(program);
        // In `selvedge` the commands of this crate stand below `bench`.
        if env::args().nth(1).is_some_and(|first| first == "bench") {
            command.arg("bench");
        }
        command.arg(CHILD_COMMAND).arg(serde_json::to_string(spec)?);
        command.stdin(Stdio::piped()).stdout(stdout).stderr(stderr).process_group(0);
        // Settings in this process' environment are meant for other processes than these.
        for (key, _) in env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("SELVEDGE_")) {
            command.env_remove(key);
        }
        self.child = Some(command.spawn().with_context(|| format!("cannot start {}", self.name))?);
        Ok(())
    }

    /// Its id; none while it is meant to be dead.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// SIGKILL. Returns the moment before it, once the process is gone.
    ///
    /// # Errors
    /// If it was gone before.
    pub(crate) fn kill(&mut self) -> anyhow::Result<Instant> {
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
    pub(crate) fn pause(&mut self) -> anyhow::Result<Instant> {
        let at = Instant::now();
        self.signal(Signal::SIGSTOP)?;
        Ok(at)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// If it is gone.
    pub(crate) fn resume(&mut self) -> anyhow::Result<()> {
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
    pub(crate) fn death(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        self.child = None;
        Some(self.obituary("ended by itself", status))
    }

    fn obituary(&self, how: &str, status: ExitStatus) -> String {
        format!("{} {how} ({status}); the end of its log:\n{}", self.name, tail(&self.log))
    }

    /// SIGTERM.
    pub(crate) fn terminate(&mut self) {
        // It may have ended just now.
        drop(self.signal(Signal::SIGTERM));
    }

    /// Waits for the end that was asked for, or forces it; says what was wrong.
    pub(crate) fn end_until(&mut self, until: Instant) -> Option<String> {
        let mut child = self.child.take()?;
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return None,
                Ok(Some(status)) => return Some(self.obituary("ended badly", status)),
                Ok(None) if Instant::now() < until => std::thread::sleep(LOOK),
                Ok(None) | Err(_) => break,
            }
        }
        // Nothing is left to do about a failure: the closed stdin ends it, too.
        let _ = child.kill();
        let _ = child.wait();
        Some(format!("{} did not end in order and was killed", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The last lines of a log.
pub(crate) fn tail(path: &Path) -> String {
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
