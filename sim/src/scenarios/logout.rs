//! A player logs out while they are on their way from one node to another.

use super::stage::{CANCELLED, Setting, Stage, TRANSFER};

/// The transfer goes through: the target lets the player leave.
pub(super) fn and_the_transfer_succeeds() -> anyhow::Result<()> {
    let (mut stage, held) = logged_out_in_transfer()?;
    stage.release(held);
    stage.until("the player is gone", |stage| stage.is_gone())?;
    left_once(stage)
}

/// The transfer is given up: the source lets the player leave.
pub(super) fn and_the_transfer_is_cancelled() -> anyhow::Result<()> {
    let (mut stage, _held) = logged_out_in_transfer()?;
    let [west, east] = stage.row()?;
    stage.until("the transfer is given up", |stage| stage.arrived(CANCELLED, east, west) > 0)?;
    stage.until("the player is gone", |stage| stage.is_gone())?;
    left_once(stage)
}

fn logged_out_in_transfer() -> anyhow::Result<(Stage, crate::world::RuleId)> {
    let mut stage = Stage::open(&Setting::row(2))?;
    let [west, east] = stage.row()?;
    stage.place(90.0, 50.0)?;
    let held = stage.hold(TRANSFER, west, east);
    stage.walk(10.0, 0.0);
    stage.until("the player is frozen", |stage| stage.is_frozen_at(west))?;
    stage.log_out();
    stage.wait_ms(200)?;
    anyhow::ensure!(stage.is_frozen_at(west), "the transfer is over already");
    Ok((stage, held))
}

fn left_once(mut stage: Stage) -> anyhow::Result<()> {
    stage.wait_ms(500)?;
    let stats = stage.settle()?;
    let saved = stats.characters_saved;
    anyhow::ensure!(saved >= 1, "the character was not saved");
    anyhow::ensure!(stats.entities_gone == 1, "{} entities left the world", stats.entities_gone);
    Ok(())
}
