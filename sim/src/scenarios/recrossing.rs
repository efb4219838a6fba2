//! A player crosses on before their client has attached.

use super::stage::{RELAY, Setting, Stage};

/// The client never reaches the middle node: its inputs go by the first one's tombstone, and it follows two nodes on.
pub(super) fn run() -> anyhow::Result<()> {
    let mut stage = Stage::open(&Setting::row(3))?;
    let [west, middle, east] = stage.row()?;
    stage.place(90.0, 50.0)?;
    stage.bar(middle);
    stage.walk(10.0, 0.0);
    stage.until("the middle node holds the player", |stage| stage.holder() == Some(middle))?;
    stage.blink(250.0, 50.0);
    stage.until("the east node holds the player", |stage| stage.holder() == Some(east))?;
    stage.until("the client is with them", |stage| stage.is_attached())?;
    anyhow::ensure!(stage.sent(RELAY, west, middle) > 0, "the input did not go by the tombstone");
    stage.settle()?;
    Ok(())
}
