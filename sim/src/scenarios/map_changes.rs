//! The cells are dealt anew while a player is on their way.

use super::stage::{Setting, Stage, TRANSFER};

/// A third node joins while the `Transfer` is under way: the target takes over a player who is no longer its own to
/// keep, and hands them on.
pub(super) fn run() -> anyhow::Result<()> {
    let setting = Setting { cells: [4, 1], nodes: 3, first: 2, seed: 3, tweak: |_| {} };
    let mut stage = Stage::open(&setting)?;
    let (west, east) = (stage.node_at(150.0, 50.0)?, stage.node_at(250.0, 50.0)?);
    anyhow::ensure!(west != east, "there is no border to cross");
    stage.place(190.0, 50.0)?;
    let held = stage.hold(TRANSFER, west, east);
    stage.walk(10.0, 0.0);
    stage.until("the player is on their way", |stage| stage.is_frozen_at(west))?;
    let version = stage.map_version();
    stage.start_node(2);
    stage.until("the cells are dealt anew", |stage| stage.share_map(3, version))?;
    let owner = stage.node_at(202.0, 50.0)?;
    anyhow::ensure!(owner != east, "the cell still belongs to the target: choose another seed");
    anyhow::ensure!(stage.is_frozen_at(west), "the transfer is over already");
    stage.release(held);
    stage.halt();
    stage.until("the new owner holds the player", |stage| stage.holder() == Some(owner))?;
    stage.settle()?;
    Ok(())
}
