//! The order in which cells are dealt out: a Hilbert curve, so that a run of cells is a compact region.
//!
//! The generalised Hilbert curve fills any rectangle without leaving it (after J. Červený's "gilbert",
//! <https://github.com/jakubcerveny/gilbert>); on a square whose side is a power of two it is Hilbert's own. Steps
//! go to an edge neighbour, save for a few diagonal ones where a side is odd.

use crate::grid::{CellId, Grid};

/// Every base cell of `grid`, in curve order: layer by layer, each odd layer backwards, so that going up a layer is a
/// step to a neighbour too.
#[must_use]
pub fn curve(grid: &Grid) -> Vec<CellId> {
    let [width, height, layers] = grid.config().cells;
    let layer = layer_curve(width, height);
    let mut cells = Vec::with_capacity(layer.len() * layers as usize);
    let at = |z: u32| move |&(x, y): &(u32, u32)| CellId::new(0, x, y, z).ok();
    for z in 0..layers {
        if z % 2 == 0 {
            cells.extend(layer.iter().filter_map(at(z)));
        } else {
            cells.extend(layer.iter().rev().filter_map(at(z)));
        }
    }
    cells
}

/// The points of a rectangle in curve order, starting at (0, 0).
#[must_use]
pub fn layer_curve(width: u32, height: u32) -> Vec<(u32, u32)> {
    let mut points = Vec::with_capacity(width as usize * height as usize);
    if width == 0 || height == 0 {
        return points;
    }
    let (width, height) = (i64::from(width), i64::from(height));
    let (along_x, along_y) = (Vector { x: width, y: 0 }, Vector { x: 0, y: height });
    let origin = Vector { x: 0, y: 0 };
    if width >= height {
        fill(origin, along_x, along_y, &mut points);
    } else {
        fill(origin, along_y, along_x, &mut points);
    }
    points
}

#[derive(Clone, Copy)]
struct Vector {
    x: i64,
    y: i64,
}

impl Vector {
    /// The length of a vector along an axis.
    const fn length(self) -> i64 {
        (self.x + self.y).abs()
    }

    /// One step in its direction.
    const fn unit(self) -> Self {
        Self { x: self.x.signum(), y: self.y.signum() }
    }

    const fn half(self) -> Self {
        Self { x: self.x.div_euclid(2), y: self.y.div_euclid(2) }
    }

    const fn plus(self, other: Self) -> Self {
        Self { x: self.x + other.x, y: self.y + other.y }
    }

    const fn minus(self, other: Self) -> Self {
        Self { x: self.x - other.x, y: self.y - other.y }
    }

    const fn reversed(self) -> Self {
        Self { x: -self.x, y: -self.y }
    }
}

/// Fills the rectangle spanned at `from` by `major` and `minor`, ending at the far end of `major`.
fn fill(from: Vector, major: Vector, minor: Vector, points: &mut Vec<(u32, u32)>) {
    let (width, height) = (major.length(), minor.length());
    if height == 1 {
        return line(from, major.unit(), width, points);
    }
    if width == 1 {
        return line(from, minor.unit(), height, points);
    }
    let (mut half_major, mut half_minor) = (major.half(), minor.half());
    if 2 * width > 3 * height {
        // Long: two rectangles, one after the other; even halves make no diagonal steps.
        if half_major.length() % 2 == 1 && width > 2 {
            half_major = half_major.plus(major.unit());
        }
        fill(from, half_major, minor, points);
        fill(from.plus(half_major), major.minus(half_major), minor, points);
    } else {
        // Square-like: up, across, and down again.
        if half_minor.length() % 2 == 1 && height > 2 {
            half_minor = half_minor.plus(minor.unit());
        }
        fill(from, half_minor, half_major, points);
        fill(from.plus(half_minor), major, minor.minus(half_minor), points);
        let down = from.plus(major.minus(major.unit())).plus(half_minor.minus(minor.unit()));
        fill(down, half_minor.reversed(), major.minus(half_major).reversed(), points);
    }
}

fn line(mut from: Vector, step: Vector, length: i64, points: &mut Vec<(u32, u32)>) {
    for _ in 0..length {
        points.extend(u32::try_from(from.x).ok().zip(u32::try_from(from.y).ok()));
        from = from.plus(step);
    }
}
