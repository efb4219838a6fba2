//! Ferries: fast things that take whoever boards them across every border.

use selvedge_protocol::grid::{CellId, Grid, Motion, Position, Velocity};
use selvedge_protocol::id::EntityId;
use tracing::debug;

use super::Arena;
use super::avatar::Avatar;
use super::deed::nearest;
use crate::Frame;

/// What a ferry's name begins with; no player's avatar is one, whatever it is called.
const NAME: &str = "ferry ";
/// Where riders sit, behind the ferry's middle, in metres.
const SEAT_M: f64 = 1.0;

impl Avatar {
    /// Whether it carries others.
    pub(super) fn is_ferry(&self) -> bool {
        !self.player && self.name().starts_with(NAME)
    }
}

/// What one is called, and how it sets out: along the x axis, from the middle of a cell.
pub(super) fn setting_out(number: u32, grid: &Grid, cell: CellId, speed_mps: f64) -> (String, Motion) {
    let bounds = grid.bounds(cell);
    let middle = |low: f64, high: f64| (low + high) / 2.0;
    let z = if grid.is_flat() { 0.0 } else { middle(bounds.min.z, bounds.max.z) };
    let (x, y) = (middle(bounds.min.x, bounds.max.x), middle(bounds.min.y, bounds.max.y));
    #[allow(clippy::cast_possible_truncation, reason = "speeds are small, and a velocity is f32")]
    let velocity = Velocity::new(speed_mps as f32, 0.0, 0.0);
    (format!("{NAME}{number}"), Motion { position: Position::new(x, y, z), velocity })
}

impl Arena {
    /// A player gets on the nearest ferry within reach, or off the one that carries them.
    pub(super) fn board(&mut self, frame: &mut Frame<'_>, rider: EntityId) {
        let Some(owned) = frame.owned_by(rider) else { return };
        if frame.detach(owned).is_some() {
            if let Some(avatar) = self.here.get_mut(&owned.id()) {
                avatar.motion.velocity = Velocity::default();
            }
            return;
        }
        let Some(at) = self.here.get(&owned.id()).map(|avatar| avatar.motion.position) else { return };
        let ferries = self
            .here
            .iter()
            .filter(|(_, avatar)| avatar.is_ferry())
            .filter_map(|(&id, ferry)| Some((id, ferry.motion.position, frame.owned_by(id)?)));
        let Some(ferry) = nearest(owned.id(), at, ferries) else { return };
        if let Err(cause) = frame.attach(owned, ferry) {
            debug!(entity = ?owned.id(), %cause, "not on board");
        }
    }

    /// Puts whoever rides where their ferry is.
    pub(super) fn carry(&mut self, frame: &Frame<'_>) {
        let seats: Vec<(EntityId, Motion)> = self
            .here
            .keys()
            .filter_map(|&rider| {
                let ferry = self.here.get(&frame.attached_to(frame.owned_by(rider)?)?)?;
                Some((rider, ferry.motion))
            })
            .collect();
        for (rider, motion) in seats {
            if let Some(avatar) = self.here.get_mut(&rider) {
                avatar.motion = motion;
                avatar.motion.position.x -= SEAT_M.copysign(f64::from(motion.velocity.x));
            }
        }
    }
}
