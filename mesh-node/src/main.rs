//! A node of the mesh, with the arena as its game.

use clap::Parser;
use mimalloc::MiMalloc;
use selvedge_node::config::NodeArgs;

/// Snapshots of many sizes come and go on three threads: the C library's allocator returns and faults their pages in.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

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
