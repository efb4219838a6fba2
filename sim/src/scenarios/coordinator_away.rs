//! The coordinator is away during two crossings, and its directory lags when it is back.

use super::stage::{AUTHORITY_CHANGED, PREPARE_DIRECT, Setting, Stage};

/// The nodes prepare directly; the player, who lost every connection, asks a door that knows only where they were.
pub(super) fn run() -> anyhow::Result<()> {
    let mut stage = Stage::open(&Setting::row(3))?;
    let [west, middle, east] = stage.row()?;
    stage.place(90.0, 50.0)?;
    stage.cut_coordinator(4_000);
    let held = [west, middle, east].map(|node| stage.hold_to_coordinator(AUTHORITY_CHANGED, node));
    stage.walk(20.0, 0.0);
    stage.until("the middle node holds the player", |stage| stage.holder() == Some(middle))?;
    stage.blink(205.0, 50.0);
    stage.until("the east node holds the player", |stage| stage.holder() == Some(east))?;
    anyhow::ensure!(stage.sent(PREPARE_DIRECT, west, middle) > 0, "the coordinator was not away");
    anyhow::ensure!(stage.sent(PREPARE_DIRECT, middle, east) > 0, "the coordinator was not away");
    stage.halt();
    stage.wait_ms(5_000)?;
    stage.sever(None);
    stage.wait_ms(4_000)?;
    // The newest news first.
    for rule in held.into_iter().rev() {
        stage.release(rule);
        stage.wait_ms(300)?;
    }
    stage.until("the client is with its entity", |stage| stage.is_attached())?;
    anyhow::ensure!(stage.holder() == Some(east), "the player is not where they went");
    stage.settle()?;
    Ok(())
}
