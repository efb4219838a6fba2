//! Ending with the process that started this one, so that a crash of a starter leaves no orphan.
//!
//! Two ways, by what the starter gave as stdin. A pipe: its end says that the starter is gone (or closed it, to
//! say "stop"); nothing is ever read from it. Anything else: the kernel is asked to send SIGTERM when the thread
//! that started this process ends (Linux only), so such a starter must do it from a thread that lives as long as it.

use std::io::{self, Read};
use std::time::Duration;

use nix::libc;
use tokio_util::sync::CancellationToken;

/// How long an orderly end may take once the starter is gone.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Sees to it that `starter_gone` is cancelled, or SIGTERM comes, when the starter is gone. Call it from the main thread.
///
/// # Errors
/// If the system knows no way.
pub(crate) fn follow(starter_gone: CancellationToken) -> io::Result<()> {
    if stdin_is_pipe()? {
        return watch_stdin(starter_gone);
    }
    ask_kernel()
}

fn stdin_is_pipe() -> io::Result<bool> {
    let kind = nix::sys::stat::fstat(io::stdin())?.st_mode & libc::S_IFMT;
    Ok(kind == libc::S_IFIFO || kind == libc::S_IFSOCK)
}

fn watch_stdin(starter_gone: CancellationToken) -> io::Result<()> {
    let watch = move || {
        let mut ignored = [0; 256];
        loop {
            match io::stdin().read(&mut ignored) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        tracing::info!("the process that started this one is gone");
        starter_gone.cancel();
        std::thread::sleep(END_PATIENCE);
        tracing::error!(patience = ?END_PATIENCE, "no orderly end in time");
        std::process::exit(1);
    };
    std::thread::Builder::new().name("parent-watch".to_owned()).spawn(watch).map(drop)
}

#[cfg(target_os = "linux")]
fn ask_kernel() -> io::Result<()> {
    let starter = nix::unistd::getppid();
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)?;
    // The starter may have ended just before.
    if nix::unistd::getppid() != starter {
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM)?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn ask_kernel() -> io::Result<()> {
    Err(io::Error::other(
        "this system can't tell when the starter ends: start this process with a pipe as its stdin",
    ))
}
