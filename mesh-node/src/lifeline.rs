//! What ends a node from outside: signals, and the end of the process that started it.

use std::io::{self, Read};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::fstat;
use tracing::{info, warn};

/// How long an orderly end may take once the starter is gone.
const ORDERLY_END: Duration = Duration::from_secs(5);
/// The exit status of a process that was ended by force.
const FORCED: i32 = 130;

/// Says when the process should end.
#[derive(Clone, Debug, Default)]
pub struct Lifeline {
    cut: Arc<AtomicBool>,
}

impl Lifeline {
    /// Watches for SIGINT and SIGTERM. Call it before any other thread is started: threads inherit that these signals are
    /// left to the watcher. A second signal ends the process at once.
    ///
    /// # Errors
    /// If the signals can't be masked or the watcher not started.
    pub fn watch_signals(&self) -> io::Result<()> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block()?;
        let cut = Arc::clone(&self.cut);
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            loop {
                match signals.wait() {
                    Ok(signal) if cut.swap(true, Ordering::Relaxed) => {
                        warn!(%signal, "second signal: ending at once");
                        process::exit(FORCED);
                    }
                    Ok(signal) => info!(%signal, "ending"),
                    Err(cause) => {
                        warn!(%cause, "signals are no longer watched");
                        return;
                    }
                }
            }
        })?;
        Ok(())
    }

    /// Watches for the end of the process that started this one. If this one then doesn't end by itself within five
    /// seconds, it is ended by force, so that no orphan survives its starter. Call it from the main thread.
    ///
    /// Where standard input is a pipe, its end says that the starter is gone. Where it is something else, the kernel is
    /// asked to send SIGTERM when the thread that started this process ends: such a starter must do it from a thread
    /// that lives as long as it does.
    ///
    /// # Errors
    /// If the system knows no way.
    pub fn watch_parent(&self) -> io::Result<()> {
        let kind = fstat(io::stdin())?.st_mode & libc::S_IFMT;
        if kind == libc::S_IFIFO || kind == libc::S_IFSOCK { self.watch_stdin() } else { ask_kernel() }
    }

    fn watch_stdin(&self) -> io::Result<()> {
        let cut = Arc::clone(&self.cut);
        thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            let mut scrap = [0; 256];
            let mut stdin = io::stdin().lock();
            loop {
                match stdin.read(&mut scrap) {
                    Ok(1..) => {}
                    Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                    Ok(0) | Err(_) => break,
                }
            }
            info!("the process that started this one is gone: ending");
            cut.store(true, Ordering::Relaxed);
            thread::sleep(ORDERLY_END);
            process::exit(FORCED);
        })?;
        Ok(())
    }

    /// Whether the process should end.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }
}

#[cfg(target_os = "linux")]
fn ask_kernel() -> io::Result<()> {
    let starter = nix::unistd::getppid();
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
    // The starter may have ended just before.
    if nix::unistd::getppid() != starter {
        nix::sys::signal::raise(Signal::SIGTERM)?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn ask_kernel() -> io::Result<()> {
    Err(io::Error::other(
        "this system can't tell when the starter ends: start this process with a pipe as its standard input",
    ))
}
