//! Which cells a moving entity is about to enter, and when.
//!
//! The cells on the way come from an exact ray walk (Amanatides and Woo, "A Fast Voxel Traversal Algorithm for Ray
//! Tracing", 1987), each crossing time computed from the start so that nothing accumulates; the cells beside the way
//! from their distance.

use core::time::Duration;

use super::{CellId, Grid, Motion, Position, PositionError, Velocity};

/// The most cells on the way that a forecast lists; the walk stops there, so a huge velocity costs no more.
pub const FORECAST_CELLS_MAX: usize = 8;
/// The most cells beside the way that a forecast lists: all neighbours of a cell in three dimensions.
pub const FORECAST_MARGIN_CELLS_MAX: usize = 26;

/// Boundaries that are passed within this distance of each other are a corner: the cells on both sides are listed.
const CORNER_M: f64 = 1e-6;

/// A cell that an entity may enter.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Crossing {
    /// The cell.
    pub cell: CellId,
    /// How long until it is reached; none if the entity isn't getting closer to it.
    pub time_to_boundary: Option<Duration>,
    /// Metres from the entity to the nearest point of the cell; 0 if it stands on its boundary.
    pub distance_m: f64,
}

/// The cells that an entity is about to enter: first those on its way, in the order of entry, then those close by,
/// nearest first. Never its own cell, and none twice.
#[derive(Clone, PartialEq, Debug)]
pub struct Forecast {
    /// The cell that the entity is in, at the level of the forecast.
    pub current: CellId,
    /// What it may enter next.
    pub crossings: Vec<Crossing>,
}

impl Grid {
    /// Forecasts the base cells that `motion` enters within `horizon`, and those within `margin_m`.
    ///
    /// Through a corner (boundaries passed within a micrometre of each other) the cells on both sides are listed
    /// before the one across. A way that leaves the world ends there. A margin of more than one cell edge counts as
    /// one edge. Allocates only if there is something to list.
    ///
    /// # Errors
    /// If the motion isn't finite or doesn't start in the world.
    pub fn forecast(
        &self,
        motion: &Motion,
        horizon: Duration,
        margin_m: f64,
    ) -> Result<Forecast, PositionError> {
        self.forecast_at_level(0, motion, horizon, margin_m)
    }

    /// As [`forecast`](Self::forecast), in cells of `level`: for a world with split cells, the deepest level in use.
    ///
    /// # Errors
    /// If the motion isn't finite or doesn't start in the world.
    pub fn forecast_at_level(
        &self,
        level: u8,
        motion: &Motion,
        horizon: Duration,
        margin_m: f64,
    ) -> Result<Forecast, PositionError> {
        if !motion.velocity.is_finite() {
            return Err(PositionError::VelocityNotFinite { velocity: motion.velocity });
        }
        let current = self.cell_at_level(motion.position, level)?;
        let crossings = Walk::new(self, motion, current, horizon).collect();
        let mut forecast = Forecast { current, crossings };
        forecast.add_margin(self, motion, margin_m);
        Ok(forecast)
    }
}

impl Forecast {
    fn add_margin(&mut self, grid: &Grid, motion: &Motion, margin_m: f64) {
        let level = self.current.level();
        let margin_m = margin_m.min(grid.edge(0, level));
        let on_the_way = self.crossings.len();
        for cell in grid.cells_within_at_level(motion.position, margin_m, level) {
            let distance_m = grid.distance_to(motion.position, cell);
            let listed = cell == self.current || self.crossings.iter().any(|crossing| crossing.cell == cell);
            if listed || distance_m > margin_m {
                continue;
            }
            let nearest = grid.bounds(cell).nearest(motion.position);
            let time_to_boundary = time_to(motion, nearest, distance_m);
            self.crossings.push(Crossing { cell, time_to_boundary, distance_m });
        }
        let beside = &mut self.crossings[on_the_way..];
        beside.sort_by(|a, b| a.distance_m.total_cmp(&b.distance_m).then(a.cell.cmp(&b.cell)));
        self.crossings.truncate(on_the_way + FORECAST_MARGIN_CELLS_MAX);
    }
}

/// Distance over closing speed, where closing.
fn time_to(motion: &Motion, nearest: Position, distance_m: f64) -> Option<Duration> {
    let (at, to, velocity) = (motion.position.to_array(), nearest.to_array(), motion.velocity.to_array());
    let closing: f64 = (0..3).map(|axis| velocity[axis] * (to[axis] - at[axis])).sum::<f64>() / distance_m;
    (closing > 0.0).then(|| Duration::try_from_secs_f64(distance_m / closing).ok()).flatten()
}

/// The walk along the ray: each step passes the nearest boundary, or all that are passed at one time.
struct Walk<'a> {
    grid: &'a Grid,
    position: Position,
    velocity: Velocity,
    horizon: Duration,
    level: u8,
    index: [u32; 3],
}

impl<'a> Walk<'a> {
    fn new(grid: &'a Grid, motion: &Motion, current: CellId, horizon: Duration) -> Self {
        Self {
            grid,
            position: motion.position,
            velocity: motion.velocity,
            horizon,
            level: current.level(),
            index: [current.x(), current.y(), current.z()],
        }
    }

    fn collect(mut self) -> Vec<Crossing> {
        let mut crossings = Vec::new();
        while crossings.len() < FORECAST_CELLS_MAX {
            let Some((seconds, passed)) = self.next_boundary() else { break };
            let Some(across) = self.step(passed, seconds, &mut crossings) else { break };
            self.index = across;
        }
        crossings.truncate(FORECAST_CELLS_MAX);
        crossings
    }

    /// When the next boundary is passed, and on which axes (a bit each); none past the horizon.
    fn next_boundary(&self) -> Option<(f64, u8)> {
        let seconds: [f64; 3] = core::array::from_fn(|axis| self.seconds_to_boundary(axis));
        let first = seconds[0].min(seconds[1]).min(seconds[2]);
        if first > self.horizon.as_secs_f64() {
            return None;
        }
        let tie = first + CORNER_M / self.velocity.speed();
        let passed = (0..3).filter(|&axis| seconds[axis] <= tie).fold(0, |axes, axis| axes | 1 << axis);
        Some((first, passed))
    }

    /// Seconds from the start to the boundary ahead along `axis`; infinite if there is none.
    fn seconds_to_boundary(&self, axis: usize) -> f64 {
        let (at, velocity) = (self.position.to_array()[axis], self.velocity.to_array()[axis]);
        if velocity > 0.0 {
            let boundary = self.grid.lower(axis, self.level, self.index[axis] + 1);
            ((boundary - at) / velocity).max(0.0)
        } else if velocity < 0.0 {
            let boundary = self.grid.lower(axis, self.level, self.index[axis]);
            ((boundary - at) / velocity).max(0.0)
        } else {
            f64::INFINITY
        }
    }

    /// Lists what is entered by passing the boundaries of `axes` at once: the cells beside the corner, then the one
    /// across it. Returns the indices of the latter, none if it is outside the world.
    fn step(&self, axes: u8, seconds: f64, crossings: &mut Vec<Crossing>) -> Option<[u32; 3]> {
        let time = Duration::try_from_secs_f64(seconds).unwrap_or(self.horizon).min(self.horizon);
        for some in (1..axes).filter(|some| some & !axes == 0) {
            if let Some(index) = self.beyond(some) {
                crossings.push(self.crossing(index, time));
            }
        }
        let across = self.beyond(axes)?;
        crossings.push(self.crossing(across, time));
        Some(across)
    }

    /// The indices after passing the boundaries of `axes`; none outside the world.
    fn beyond(&self, axes: u8) -> Option<[u32; 3]> {
        let velocity = self.velocity.to_array();
        let mut index = self.index;
        for axis in (0..3).filter(|axis| axes & 1 << axis != 0) {
            index[axis] = if velocity[axis] > 0.0 { index[axis] + 1 } else { index[axis].checked_sub(1)? };
            if index[axis] >= self.grid.count(axis, self.level) {
                return None;
            }
        }
        Some(index)
    }

    fn crossing(&self, [x, y, z]: [u32; 3], time: Duration) -> Crossing {
        let cell = CellId::pack(self.level, x, y, z);
        let distance_m = self.grid.distance_to(self.position, cell);
        Crossing { cell, time_to_boundary: Some(time), distance_m }
    }
}
