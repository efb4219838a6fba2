//! The world as a grid of cells: which cell holds a position, and which cells lie around it.
//!
//! Cells tile the world without gap or overlap: each is half open (its lower faces belong to it, its upper
//! faces to the next), at every level, to the last bit of the coordinate. Deliberately absent: who owns a cell
//! ([`CellMap`](crate::cell_map::CellMap)).

mod cell_id;
mod forecast;
mod position;
#[cfg(test)]
mod tests;

use rkyv::{Archive, Deserialize, Serialize};
use serde::{Deserialize as SerdeDeserialize, Serialize as SerdeSerialize};

pub use cell_id::{CELL_LEVEL_MAX, CELL_XY_MAX, CELL_Z_MAX, CellId, CellIdError};
pub use forecast::{Crossing, FORECAST_CELLS_MAX, FORECAST_MARGIN_CELLS_MAX, Forecast};
pub use position::{Motion, Position, Velocity};

/// The most base cells that a world may have: 2^20, which the planner deals out in 0.15 s.
pub const GRID_CELLS_MAX: u64 = 1 << 20;
/// The farthest that a world may reach from zero, in metres: there an `f64` still tells 0.12 micrometres apart.
pub const COORDINATE_MAX_M: f64 = 1e9;
/// The smallest edge of a base cell, in metres.
pub const CELL_EDGE_MIN_M: f64 = 0.1;

const _: () = assert!(GRID_CELLS_MAX <= CELL_XY_MAX as u64, "every base cell must have a name");

/// The shape of the world. [`Grid::new`] checks it.
#[derive(
    Clone, Copy, PartialEq, Debug, Archive, Serialize, Deserialize, SerdeSerialize, SerdeDeserialize,
)]
#[serde(default, deny_unknown_fields)]
pub struct GridConfig {
    /// The world's lowest corner, in metres; default 0, 0, 0.
    pub origin_m: [f64; 3],
    /// The edge of a base cell, in metres; default 100. Too small: entities cross all the time. Too big: the load
    /// can't be spread.
    pub cell_edge_m: f64,
    /// How many base cells along x, y and z; default 4, 4, 1. One along z makes a 2D grid: every altitude is in z = 0.
    pub cells: [u32; 3],
}

impl Default for GridConfig {
    fn default() -> Self {
        Self { origin_m: [0.0; 3], cell_edge_m: 100.0, cells: [4, 4, 1] }
    }
}

/// Why a [`GridConfig`] makes no world.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
pub enum GridError {
    /// The origin has an infinite or NaN coordinate.
    #[error("the grid's origin {origin_m:?} is not finite")]
    OriginNotFinite {
        /// The origin given.
        origin_m: [f64; 3],
    },
    /// The cell edge is infinite or NaN.
    #[error("the grid's cell edge of {cell_edge_m} m is not finite")]
    CellEdgeNotFinite {
        /// The edge given.
        cell_edge_m: f64,
    },
    /// The cell edge is zero, negative or below [`CELL_EDGE_MIN_M`].
    #[error("the grid's cell edge of {cell_edge_m} m is below {CELL_EDGE_MIN_M} m")]
    CellEdgeTooSmall {
        /// The edge given.
        cell_edge_m: f64,
    },
    /// There is no cell along some axis.
    #[error("a grid of {cells:?} cells has none")]
    NoCells {
        /// The counts given.
        cells: [u32; 3],
    },
    /// There are more than [`GRID_CELLS_MAX`] cells, or more layers than a cell id can number.
    #[error("a grid of {cells:?} cells is past the limit of {GRID_CELLS_MAX} cells and 65536 layers")]
    TooManyCells {
        /// The counts given.
        cells: [u32; 3],
    },
    /// The world reaches farther than [`COORDINATE_MAX_M`] from zero.
    #[error("the grid reaches to {reach_m} m, past {COORDINATE_MAX_M} m from zero")]
    TooFar {
        /// The coordinate that is too far.
        reach_m: f64,
    },
}

/// Why a position is in no cell.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
pub enum PositionError {
    /// A coordinate is infinite or NaN.
    #[error("the position {position:?} is not finite")]
    NotFinite {
        /// The position given.
        position: Position,
    },
    /// A velocity component is infinite or NaN.
    #[error("the velocity {velocity:?} is not finite")]
    VelocityNotFinite {
        /// The velocity given.
        velocity: Velocity,
    },
    /// The position is outside the world.
    #[error("the position {position:?} is outside the world")]
    OutsideWorld {
        /// The position given.
        position: Position,
    },
}

/// A box: `min` belongs to it, `max` doesn't. In a 2D grid it is infinite in z.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bounds {
    /// The lowest corner, in metres.
    pub min: Position,
    /// The highest corner, in metres: the first point past the box.
    pub max: Position,
}

impl Bounds {
    /// Whether `position` is inside: not below `min` and below `max` on each axis.
    #[must_use]
    pub fn contains(&self, position: Position) -> bool {
        let (min, max, at) = (self.min.to_array(), self.max.to_array(), position.to_array());
        (0..3).all(|axis| min[axis] <= at[axis] && at[axis] < max[axis])
    }

    /// The point of the closed box that is nearest to `position`.
    #[must_use]
    pub fn nearest(&self, position: Position) -> Position {
        let (min, max, at) = (self.min.to_array(), self.max.to_array(), position.to_array());
        Position::from_array(core::array::from_fn(|axis| at[axis].max(min[axis]).min(max[axis])))
    }

    /// Whether the box meets the cube of half-edge `radius_m` around `centre`.
    #[must_use]
    pub fn meets_cube(&self, centre: Position, radius_m: f64) -> bool {
        let (min, max, at) = (self.min.to_array(), self.max.to_array(), centre.to_array());
        (0..3).all(|axis| at[axis] + radius_m >= min[axis] && at[axis] - radius_m < max[axis])
    }
}

/// A checked grid. Cheap to copy; everything in it is arithmetic.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Grid {
    /// Invariant: passed the checks of [`Grid::new`].
    config: GridConfig,
}

impl Default for Grid {
    /// The world of [`GridConfig::default`].
    fn default() -> Self {
        Self { config: GridConfig::default() }
    }
}

impl Grid {
    /// Checks a configuration.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub fn new(config: GridConfig) -> Result<Self, GridError> {
        let GridConfig { origin_m, cell_edge_m, cells } = config;
        if !origin_m.iter().all(|m| m.is_finite()) {
            return Err(GridError::OriginNotFinite { origin_m });
        }
        if !cell_edge_m.is_finite() {
            return Err(GridError::CellEdgeNotFinite { cell_edge_m });
        }
        if cell_edge_m < CELL_EDGE_MIN_M {
            return Err(GridError::CellEdgeTooSmall { cell_edge_m });
        }
        if cells.contains(&0) {
            return Err(GridError::NoCells { cells });
        }
        let total = cells.iter().try_fold(1u64, |product, &count| product.checked_mul(u64::from(count)));
        if total.is_none_or(|total| total > GRID_CELLS_MAX) || cells[2] > CELL_Z_MAX + 1 {
            return Err(GridError::TooManyCells { cells });
        }
        for axis in 0..3 {
            for reach_m in [origin_m[axis], origin_m[axis] + f64::from(cells[axis]) * cell_edge_m] {
                if reach_m.abs() > COORDINATE_MAX_M {
                    return Err(GridError::TooFar { reach_m });
                }
            }
        }
        Ok(Self { config })
    }

    /// The configuration that this grid was made from.
    #[must_use]
    pub const fn config(&self) -> &GridConfig {
        &self.config
    }

    /// Whether there is one layer, so that altitude doesn't matter.
    #[must_use]
    pub const fn is_flat(&self) -> bool {
        self.config.cells[2] == 1
    }

    /// How many base cells there are: x times y times z.
    #[must_use]
    pub fn cell_count(&self) -> u64 {
        self.config.cells.iter().map(|&count| u64::from(count)).product()
    }

    /// The base cell that holds `position`.
    ///
    /// # Errors
    /// If the position isn't finite or isn't in the world.
    pub fn cell_at(&self, position: Position) -> Result<CellId, PositionError> {
        self.cell_at_level(position, 0)
    }

    /// The cell of `level` that holds `position`; levels past [`CELL_LEVEL_MAX`] are read as that, and a level whose
    /// cells can't be numbered in this world as the deepest that can.
    ///
    /// # Errors
    /// If the position isn't finite or isn't in the world.
    pub fn cell_at_level(&self, position: Position, level: u8) -> Result<CellId, PositionError> {
        let level = self.nameable_level(level);
        let [x, y, z] = self.indices_at(position, level)?;
        Ok(CellId::pack(level, x, y, z))
    }

    /// The nearest position that is inside the world; a NaN coordinate becomes the world's lowest.
    #[must_use]
    pub fn clamp(&self, position: Position) -> Position {
        let at = position.to_array();
        Position::from_array(core::array::from_fn(|axis| {
            let (low, high) = self.axis_range(axis);
            if at[axis].is_nan() {
                return self.config.origin_m[axis];
            }
            at[axis].max(low.max(f64::MIN)).min(high.next_down())
        }))
    }

    /// Every base cell, in ascending order of id.
    pub fn cells(&self) -> CellRange {
        CellRange::new(0, [0; 3], self.config.cells.map(|count| count - 1))
    }

    /// The box of a cell of any level. In a 2D grid it is infinite in z.
    #[must_use]
    pub fn bounds(&self, cell: CellId) -> Bounds {
        let index = [cell.x(), cell.y(), cell.z()];
        let level = cell.level();
        Bounds {
            min: Position::from_array(core::array::from_fn(|axis| self.lower(axis, level, index[axis]))),
            max: Position::from_array(core::array::from_fn(|axis| self.lower(axis, level, index[axis] + 1))),
        }
    }

    /// Whether this world has `cell`, at whatever level.
    #[must_use]
    pub fn contains_cell(&self, cell: CellId) -> bool {
        let base = cell.base();
        let [x, y, z] = self.config.cells;
        base.x() < x && base.y() < y && base.z() < z
    }

    /// Every base cell whose box meets the cube of half-edge `radius_m` around `position`, in ascending order; none
    /// if either isn't finite. The position may be outside the world. Costs a few divisions and no allocation.
    pub fn cells_within(&self, position: Position, radius_m: f64) -> CellRange {
        self.cells_within_at_level(position, radius_m, 0)
    }

    /// Metres from `position` to the nearest point of `cell`, of any level: 0 inside. Ignores z in a 2D grid.
    #[must_use]
    pub fn distance_to(&self, position: Position, cell: CellId) -> f64 {
        let nearest = self.bounds(cell).nearest(position);
        position.distance(nearest)
    }

    fn cells_within_at_level(&self, position: Position, radius_m: f64, level: u8) -> CellRange {
        if !position.is_finite() || !radius_m.is_finite() || radius_m < 0.0 {
            return CellRange::EMPTY;
        }
        let at = position.to_array();
        let (mut first, mut last) = ([0; 3], [0; 3]);
        for axis in 0..3 {
            let (low, high) = (at[axis] - radius_m, at[axis] + radius_m);
            let (world_low, world_high) = self.axis_range(axis);
            if high < world_low || low >= world_high {
                return CellRange::EMPTY;
            }
            first[axis] = self.index_at(axis, level, low.max(world_low));
            last[axis] = self.index_at(axis, level, high.min(world_high.next_down()));
        }
        CellRange::new(level, first, last)
    }

    fn indices_at(&self, position: Position, level: u8) -> Result<[u32; 3], PositionError> {
        if !position.is_finite() {
            return Err(PositionError::NotFinite { position });
        }
        let at = position.to_array();
        let mut indices = [0; 3];
        for axis in 0..3 {
            let (low, high) = self.axis_range(axis);
            if at[axis] < low || at[axis] >= high {
                return Err(PositionError::OutsideWorld { position });
            }
            indices[axis] = self.index_at(axis, level, at[axis]);
        }
        Ok(indices)
    }

    /// The index along `axis` of a coordinate that is inside the world.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the axis' indices first"
    )]
    fn index_at(&self, axis: usize, level: u8, at: f64) -> u32 {
        let last = self.count(axis, level) - 1;
        if axis == 2 && self.is_flat() {
            return 0;
        }
        let guess = (at - self.config.origin_m[axis]) / self.edge(axis, level);
        let mut index = guess.clamp(0.0, f64::from(last)) as u32;
        // The division rounds; the bounds decide, so that exactly one cell holds each coordinate.
        while index > 0 && at < self.lower(axis, level, index) {
            index -= 1;
        }
        while index < last && at >= self.lower(axis, level, index + 1) {
            index += 1;
        }
        index
    }

    /// The lowest coordinate of the cells with `index` along `axis`. Halving the edge is exact, so that a parent's
    /// bounds are those of its children to the last bit.
    fn lower(&self, axis: usize, level: u8, index: u32) -> f64 {
        if axis == 2 && self.is_flat() {
            return if index == 0 { f64::NEG_INFINITY } else { f64::INFINITY };
        }
        self.config.origin_m[axis] + f64::from(index) * self.edge(axis, level)
    }

    /// The world's extent along `axis`: the first coordinate in it, and the first past it.
    fn axis_range(&self, axis: usize) -> (f64, f64) {
        (self.lower(axis, 0, 0), self.lower(axis, 0, self.config.cells[axis]))
    }

    /// The edge along `axis` of a cell of `level`, in metres; z is never split.
    fn edge(&self, axis: usize, level: u8) -> f64 {
        if axis == 2 { self.config.cell_edge_m } else { self.config.cell_edge_m / f64::from(1u32 << level) }
    }

    /// How many cells of `level` there are along `axis`.
    fn count(&self, axis: usize, level: u8) -> u32 {
        if axis == 2 { self.config.cells[axis] } else { self.config.cells[axis] << level }
    }

    /// `level`, or the deepest above it at which every cell of this world has a name.
    fn nameable_level(&self, level: u8) -> u8 {
        let widest = self.config.cells[0].max(self.config.cells[1]);
        let mut level = level.min(CELL_LEVEL_MAX);
        while level > 0 && u64::from(widest) << level > u64::from(CELL_XY_MAX) + 1 {
            level -= 1;
        }
        level
    }
}

/// A block of cells of one level, walked in ascending order of id.
#[derive(Clone, Debug)]
pub struct CellRange {
    level: u8,
    first: [u32; 3],
    last: [u32; 3],
    /// The next cell; none once all are walked.
    next: Option<[u32; 3]>,
}

impl CellRange {
    const EMPTY: Self = Self { level: 0, first: [0; 3], last: [0; 3], next: None };

    const fn new(level: u8, first: [u32; 3], last: [u32; 3]) -> Self {
        Self { level, first, last, next: Some(first) }
    }

    /// Whether no cell is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.next.is_none()
    }

    /// The one cell of a block of one; none if the block is larger or empty. Doesn't count what was walked.
    #[must_use]
    pub fn single(&self) -> Option<CellId> {
        let [x, y, z] = self.next?;
        (self.first == self.last).then(|| CellId::pack(self.level, x, y, z))
    }
}

impl Iterator for CellRange {
    type Item = CellId;

    fn next(&mut self) -> Option<CellId> {
        let mut index = self.next?;
        let cell = CellId::pack(self.level, index[0], index[1], index[2]);
        for axis in 0..3 {
            if index[axis] < self.last[axis] {
                index[axis] += 1;
                self.next = Some(index);
                return Some(cell);
            }
            index[axis] = self.first[axis];
        }
        self.next = None;
        Some(cell)
    }
}
