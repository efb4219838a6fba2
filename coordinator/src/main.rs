//! The coordinator as a process of its own. Everything is in the library: [`selvedge_coordinator::app`].

use clap::Parser;
use selvedge_coordinator::CoordinatorArgs;

/// Assigns cells to nodes, notifies them of crossings, admits players
#[derive(Debug, Parser)]
#[command(name = "coordinator", version)]
struct Line {
    #[command(flatten)]
    args: CoordinatorArgs,
}

fn main() -> anyhow::Result<()> {
    selvedge_coordinator::app::run(Line::parse().args)
}
