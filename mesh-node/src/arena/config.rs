//! What can be set on the arena.

use serde::{Deserialize, Serialize};

/// The smallest snapshot that an avatar can be sized to, in bytes.
pub const SNAPSHOT_BYTES_MIN: usize = 1024;
/// The largest snapshot that an avatar can be sized to, in bytes.
pub const SNAPSHOT_BYTES_MAX: usize = 256 * 1024;
/// The fastest that anything in the arena moves, in metres a second.
const SPEED_MAX_MPS: f64 = 1000.0;

/// What can be set on the arena.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArenaConfig {
    /// NPCs that this node adds, once, in its own cells. Default: 20.
    pub npcs: u32,
    /// What a whole snapshot of one avatar weighs, in bytes: 1024 to 262144. Default: 4096.
    pub snapshot_bytes: usize,
    /// The fastest that a player walks, in metres a second. Default: 12.
    pub player_speed_mps: f64,
    /// How fast an NPC walks, in metres a second. Default: 4.
    pub npc_speed_mps: f64,
    /// Ferries that this node adds, once, in its own cells: they run along the x axis from wall to wall, and a player may
    /// board one. Default: 0.
    pub ferries: u32,
    /// How fast a ferry is, in metres a second. Default: 60.
    pub ferry_speed_mps: f64,
    /// Where NPCs start and how they wander. Default: 0, which draws one by chance.
    pub seed: u64,
}

impl Default for ArenaConfig {
    fn default() -> Self {
        Self {
            npcs: 20,
            snapshot_bytes: 4096,
            player_speed_mps: 12.0,
            npc_speed_mps: 4.0,
            ferries: 0,
            ferry_speed_mps: 60.0,
            seed: 0,
        }
    }
}

impl ArenaConfig {
    /// Checks what the types don't say.
    ///
    /// # Errors
    /// Names the setting, its value and its range.
    pub fn check(&self) -> Result<(), String> {
        if !(SNAPSHOT_BYTES_MIN..=SNAPSHOT_BYTES_MAX).contains(&self.snapshot_bytes) {
            let bytes = self.snapshot_bytes;
            return Err(format!(
                "snapshot_bytes is {bytes}: choose {SNAPSHOT_BYTES_MIN} to {SNAPSHOT_BYTES_MAX}"
            ));
        }
        for (name, speed) in [
            ("player_speed_mps", self.player_speed_mps),
            ("npc_speed_mps", self.npc_speed_mps),
            ("ferry_speed_mps", self.ferry_speed_mps),
        ] {
            if !(0.0..=SPEED_MAX_MPS).contains(&speed) {
                return Err(format!("{name} is {speed}: choose 0 to {SPEED_MAX_MPS}"));
            }
        }
        Ok(())
    }
}
