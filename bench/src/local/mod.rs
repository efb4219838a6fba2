//! A mesh of real processes on this machine: what `selvedge up` and `mesh-bench chaos` have in common.

mod args;
mod folder;
mod process;
mod signals;

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context;
use selvedge_protocol::coordinator::CoordinatorStatus;
use tracing_subscriber::EnvFilter;

pub use args::LocalArgs;
pub(crate) use args::choose;
pub use folder::{Folder, node_name};
pub use process::{Process, Processes};
pub use signals::Signals;

/// Bots that knock at the door a second.
pub const ENTRIES_PER_SECOND: u32 = 100;

/// Whether every node is there and every cell has an owner.
#[must_use]
pub fn is_whole(status: &CoordinatorStatus, nodes: usize) -> bool {
    let alive = status.nodes.iter().filter(|node| node.alive && node.linked).count();
    alive == nodes && status.cells > 0 && status.cells_without_owner == 0
}

/// Lets what the bots have to say go to a file, as the terminal is for other things.
///
/// # Errors
/// If the filter is none, or the file can't be written.
pub fn log_to(path: &Path, filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("--log {filter:?} is no filter; write it like info,selvedge_node=debug"))?;
    let file = OpenOptions::new().create(true).append(true).open(path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    // Where this isn't the first, the first goes on.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .try_init();
    Ok(())
}
