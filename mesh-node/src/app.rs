//! The node as a process of its own, with the arena as its game: what `mesh-node` and `selvedge node` run.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::arena::Arena;
use crate::config::{self, LoadedNode, NodeArgs, NodeFile};
use crate::lifeline::Lifeline;
use crate::node::{MeshNode, TickError};

/// Runs a node until a signal, a closed standard input, or an error ends it.
///
/// # Errors
/// If the configuration is wrong, an endpoint can't be opened, or the network side ends by itself.
pub fn run(args: &NodeArgs) -> anyhow::Result<()> {
    if args.print_defaults {
        return print(&NodeFile::default());
    }
    let loaded = config::load(args)?;
    if args.check_config {
        return print(&loaded.file);
    }
    log_to_stderr(&loaded.log)?;
    let lifeline = Lifeline::default();
    lifeline.watch_signals().context("signals can't be watched")?;
    if args.die_with_parent {
        lifeline.watch_parent().context("the process that started this one can't be watched")?;
    }
    run_arena(loaded, &lifeline)
}

/// Runs the arena on a node until the lifeline is cut.
///
/// # Errors
/// If an endpoint can't be opened, or the network side ends by itself.
pub fn run_arena(loaded: LoadedNode, lifeline: &Lifeline) -> anyhow::Result<()> {
    let mut arena = Arena::new(loaded.arena).context("the arena's avatars can't be made")?;
    let mut node = MeshNode::builder()
        .config(loaded.config)
        .identity(loaded.identity)
        .client_identity(loaded.client_identity)
        .start()?;
    let mut told = None;
    while !lifeline.is_cut() {
        match node.tick(&mut arena, Arena::step) {
            Ok(report) if report.skipped > 0 => {
                warn!(tick = report.tick.0, skipped = report.skipped, "ticks skipped");
            }
            Ok(_) => {}
            Err(TickError::NotReady { refused }) => {
                if refused != told {
                    warn!(?refused, "waiting for the coordinator");
                    told = refused;
                }
            }
            Err(error @ (TickError::Unfit { .. } | TickError::Stopped)) => return Err(error.into()),
        }
    }
    info!(avatars = arena.population(), "node ends");
    node.stop();
    Ok(())
}

fn print(file: &NodeFile) -> anyhow::Result<()> {
    let text = toml::to_string_pretty(file).context("the configuration can't be written as TOML")?;
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

fn log_to_stderr(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("log = {filter:?} is no filter; write it like info,selvedge_node=debug"))?;
    // Whoever embeds this may log already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .try_init();
    Ok(())
}
