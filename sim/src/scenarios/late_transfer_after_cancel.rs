//! The `Transfer` comes after the `Cancel` that gave it up.

use super::stage::{CANCELLED, REJECTED, Setting, Stage, TRANSFER};

/// The id is burned: the source goes on, and takes the next one.
pub(super) fn run() -> anyhow::Result<()> {
    let mut stage = Stage::open(&Setting::row(2))?;
    let [west, east] = stage.row()?;
    stage.place(90.0, 50.0)?;
    let held = stage.hold(TRANSFER, west, east);
    stage.walk(10.0, 0.0);
    stage.until("the target says that it never will", |stage| stage.arrived(CANCELLED, east, west) > 0)?;
    anyhow::ensure!(stage.holder() == Some(west), "the source does not go on");
    stage.release(held);
    stage.until("the late transfer is rejected", |stage| stage.sent(REJECTED, east, west) > 0)?;
    anyhow::ensure!(stage.holder() == Some(west), "the source does not go on");
    stage.until("the next attempt succeeds", |stage| stage.holder() == Some(east))?;
    stage.settle()?;
    Ok(())
}
