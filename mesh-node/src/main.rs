//! A node of the mesh, with the arena as its game.

use clap::Parser;
use selvedge_node::config::NodeArgs;

/// One node of a Selvedge mesh: simulates the arena in the cells that the coordinator gives it.
#[derive(Parser, Debug)]
#[command(name = "mesh-node", version)]
struct Cli {
    #[command(flatten)]
    node: NodeArgs,
}

fn main() -> anyhow::Result<()> {
    selvedge_node::app::run(&Cli::parse().node)
}
