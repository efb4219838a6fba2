//! The source asks to cancel while the target's word that it took over is on its way.

use super::stage::{ACCEPTED, CANCEL, CANCELLED, Setting, Stage};

/// The target's word stands: the source may not go on.
pub(super) fn run() -> anyhow::Result<()> {
    let mut stage = Stage::open(&Setting::row(2))?;
    let [west, east] = stage.row()?;
    stage.place(90.0, 50.0)?;
    let held = stage.hold(ACCEPTED, east, west);
    stage.walk(10.0, 0.0);
    stage.until("the source asks to cancel", |stage| stage.sent(CANCEL, west, east) > 0)?;
    anyhow::ensure!(stage.is_frozen_at(west) && stage.holder() == Some(east), "nothing crosses");
    stage.release(held);
    stage.until("the cancel arrives", |stage| stage.arrived(CANCEL, west, east) > 0)?;
    stage.wait_ms(1_000)?;
    anyhow::ensure!(stage.sent(CANCELLED, east, west) == 0, "a handoff was cancelled after it was accepted");
    anyhow::ensure!(stage.holder() == Some(east) && !stage.is_frozen_at(west), "the handoff is not over");
    stage.settle()?;
    Ok(())
}
