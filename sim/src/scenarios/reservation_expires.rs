//! The target's reservation expires while the source is frozen.

use core::time::Duration;

use super::stage::{REJECTED, Setting, Stage, TRANSFER};

/// The `Transfer` finds nothing prepared: it is rejected, the source goes on and prepares anew.
pub(super) fn run() -> anyhow::Result<()> {
    let mut setting = Setting::row(2);
    setting.tweak = |config| {
        config.reservation_ttl = Duration::from_secs(1);
        config.transfer_patience = Duration::from_secs(5);
    };
    let mut stage = Stage::open(&setting)?;
    let [west, east] = stage.row()?;
    stage.place(90.0, 50.0)?;
    let held = stage.hold(TRANSFER, west, east);
    stage.walk(10.0, 0.0);
    stage.until("the source is frozen", |stage| stage.is_frozen_at(west))?;
    stage.wait_ms(1_500)?;
    anyhow::ensure!(stage.is_frozen_at(west), "the source went on by itself");
    stage.release(held);
    stage.until("the transfer is rejected", |stage| stage.arrived(REJECTED, east, west) > 0)?;
    anyhow::ensure!(stage.holder() == Some(west), "the source does not go on");
    stage.until("the next attempt succeeds", |stage| stage.holder() == Some(east))?;
    stage.settle()?;
    Ok(())
}
