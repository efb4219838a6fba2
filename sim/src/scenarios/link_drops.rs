//! The link of source and target drops after the pre-copy, before the transfer.

use super::stage::{Setting, Stage, TRANSFER, WARMED};

/// The `Transfer` goes into the void, the source waits frozen, and the mesh goes on where the link left it.
pub(super) fn run() -> anyhow::Result<()> {
    let mut stage = Stage::open(&Setting::row(2))?;
    let [west, east] = stage.row()?;
    stage.place(90.0, 50.0)?;
    stage.walk(10.0, 0.0);
    stage.until("the target is warm", |stage| stage.arrived(WARMED, east, west) > 0)?;
    anyhow::ensure!(stage.sent(TRANSFER, west, east) == 0, "the transfer is out already");
    stage.cut(west, east, 2_500);
    stage.blink(105.0, 50.0);
    stage.until("the transfer goes into the void", |stage| stage.sent(TRANSFER, west, east) > 0)?;
    anyhow::ensure!(stage.arrived(TRANSFER, west, east) == 0, "the link is not cut");
    stage.halt();
    stage.until("the target holds the player", |stage| stage.holder() == Some(east))?;
    stage.settle()?;
    Ok(())
}
