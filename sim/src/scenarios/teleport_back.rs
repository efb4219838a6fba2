//! A player who blinks across a border blinks back while they are still on their way.

use super::stage::{Setting, Stage, TRANSFER};

/// The second input waits with the frozen entity, is applied by the target, and brings the player back.
pub(super) fn run() -> anyhow::Result<()> {
    let mut stage = Stage::open(&Setting::row(2))?;
    let [west, east] = stage.row()?;
    stage.place(50.0, 50.0)?;
    for round in 1..=3 {
        let (there, back) = (stage.arrived(TRANSFER, west, east), stage.arrived(TRANSFER, east, west));
        let sent = stage.sent(TRANSFER, west, east);
        stage.blink(150.0, 50.0);
        stage.until("they are on their way", |stage| stage.sent(TRANSFER, west, east) > sent)?;
        stage.blink(50.0, 50.0);
        stage.until("they are back", |stage| {
            stage.holder() == Some(west) && stage.arrived(TRANSFER, east, west) > back
        })?;
        anyhow::ensure!(stage.arrived(TRANSFER, west, east) > there, "round {round} went nowhere");
    }
    stage.settle()?;
    Ok(())
}
