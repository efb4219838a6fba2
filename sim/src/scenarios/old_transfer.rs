//! A late duplicate of an old `Transfer`.

use super::stage::{ACCEPTED, Setting, Stage, TRANSFER};

/// It arrives after the player came back, and again after they went over once more: it changes nothing.
pub(super) fn run() -> anyhow::Result<()> {
    let mut stage = Stage::open(&Setting::row(2))?;
    let [west, east] = stage.row()?;
    stage.place(90.0, 50.0)?;
    let copies = stage.copy(TRANSFER, west, east);
    stage.walk(10.0, 0.0);
    stage.until("the target holds the player", |stage| stage.holder() == Some(east))?;
    stage.place(50.0, 50.0)?;
    let answered = stage.sent(ACCEPTED, east, west);
    stage.replay(copies);
    stage.wait_ms(500)?;
    anyhow::ensure!(stage.sent(ACCEPTED, east, west) > answered, "the duplicate was not answered");
    anyhow::ensure!(stage.holder() == Some(west), "the duplicate took the player away");
    stage.place(150.0, 50.0)?;
    stage.replay(copies);
    stage.wait_ms(500)?;
    anyhow::ensure!(stage.holder() == Some(east), "the duplicate changed the holder");
    // And to the former holder, which holds a tombstone, while the player is on their way back to it.
    stage.blink(50.0, 50.0);
    stage.until("the player is on their way back", |stage| stage.is_frozen_at(east))?;
    stage.replay(copies);
    stage.until("they are back", |stage| stage.holder() == Some(west))?;
    stage.settle()?;
    Ok(())
}
