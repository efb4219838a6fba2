//! A player dances about the corner of four nodes.

use super::stage::{Setting, Stage};

const STEPS: usize = 24;
/// The four cells in turn, then the diagonals, where the forecast sees two borders at once.
const PLACES: [(f64, f64); 6] =
    [(98.0, 98.0), (102.0, 98.0), (102.0, 102.0), (98.0, 102.0), (102.0, 98.0), (98.0, 102.0)];

/// Each step goes on before the last one's handoff can be over.
pub(super) fn run() -> anyhow::Result<()> {
    let mut stage = Stage::open(&Setting::square())?;
    stage.place(98.0, 98.0)?;
    for step in 0..STEPS {
        let (x, y) = PLACES[step % PLACES.len()];
        stage.blink(x, y);
        // From less than a round trip to some ticks.
        stage.wait_ms([7, 60, 130, 350][step % 4])?;
    }
    let stats = stage.settle()?;
    let handoffs = stats.handoffs_warm + stats.handoffs_cold;
    anyhow::ensure!(handoffs >= 6, "only {handoffs} handoffs: nothing was tried");
    Ok(())
}
