//! The name of a cell: level and indices, packed into a `u64`.

use core::fmt;
use core::str::FromStr;

use rkyv::{Archive, Deserialize, Serialize};
use serde::{Deserialize as SerdeDeserialize, Serialize as SerdeSerialize};

/// The deepest level that a [`CellId`] can name: its cells have 1/32768 of the base edge.
pub const CELL_LEVEL_MAX: u8 = 15;
/// The greatest x and y index.
pub const CELL_XY_MAX: u32 = (1 << XY_BITS) - 1;
/// The greatest z index.
pub const CELL_Z_MAX: u32 = (1 << Z_BITS) - 1;

const XY_BITS: u32 = 22;
const Z_BITS: u32 = 16;
const Y_SHIFT: u32 = XY_BITS;
const Z_SHIFT: u32 = Y_SHIFT + XY_BITS;
const LEVEL_SHIFT: u32 = Z_SHIFT + Z_BITS;

const _: () =
    assert!(LEVEL_SHIFT + 4 == u64::BITS, "the fields fill the word, so every word is a cell's name");

/// One cell of the world: a base cell (level 0) or a quadtree leaf under one.
///
/// From the top bit down: level (4 bits), z (16), y (22), x (22). A cell of level n has 1/2^n of the base edge
/// in x and y; z is never split. Ordered by level, then z, y, x. Every `u64` is the name of some cell, so an id
/// from the wire needs no check of its form; whether this world *has* such a cell is
/// [`Grid::contains_cell`](super::Grid::contains_cell)'s to say.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Archive,
    Serialize,
    Deserialize,
    SerdeSerialize,
    SerdeDeserialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct CellId(u64);

impl CellId {
    /// Names a cell.
    ///
    /// # Errors
    /// If the level or an index doesn't fit its bits.
    pub fn new(level: u8, x: u32, y: u32, z: u32) -> Result<Self, CellIdError> {
        if level > CELL_LEVEL_MAX {
            return Err(CellIdError::Level { level });
        }
        if x > CELL_XY_MAX || y > CELL_XY_MAX || z > CELL_Z_MAX {
            return Err(CellIdError::Index { x, y, z });
        }
        Ok(Self::pack(level, x, y, z))
    }

    /// The cell that these bits name; every word names one.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The packed form.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The level: 0 is the base grid.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "four bits are left after the shift")]
    pub const fn level(self) -> u8 {
        (self.0 >> LEVEL_SHIFT) as u8
    }

    /// The index along x, counted in cells of this level.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "masked to 22 bits")]
    pub const fn x(self) -> u32 {
        self.0 as u32 & CELL_XY_MAX
    }

    /// The index along y, counted in cells of this level.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "masked to 22 bits")]
    pub const fn y(self) -> u32 {
        (self.0 >> Y_SHIFT) as u32 & CELL_XY_MAX
    }

    /// The index along z, the same at every level.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "masked to 16 bits")]
    pub const fn z(self) -> u32 {
        (self.0 >> Z_SHIFT) as u32 & CELL_Z_MAX
    }

    /// The cell of the level above that holds this one; none for a base cell.
    #[must_use]
    pub const fn parent(self) -> Option<Self> {
        match self.level() {
            0 => None,
            level => Some(Self::pack(level - 1, self.x() / 2, self.y() / 2, self.z())),
        }
    }

    /// The four cells into which this one splits, in ascending order; none where they could not be named
    /// (the deepest level, or indices past their 22 bits).
    #[must_use]
    pub const fn children(self) -> Option<[Self; 4]> {
        let (level, x, y, z) = (self.level() + 1, self.x() * 2, self.y() * 2, self.z());
        if level > CELL_LEVEL_MAX || x >= CELL_XY_MAX || y >= CELL_XY_MAX {
            return None;
        }
        Some([
            Self::pack(level, x, y, z),
            Self::pack(level, x + 1, y, z),
            Self::pack(level, x, y + 1, z),
            Self::pack(level, x + 1, y + 1, z),
        ])
    }

    /// The level-0 cell that holds this one; itself for a base cell.
    #[must_use]
    pub const fn base(self) -> Self {
        let level = self.level();
        Self::pack(0, self.x() >> level, self.y() >> level, self.z())
    }

    /// Packs fields that are known to fit.
    pub(super) const fn pack(level: u8, x: u32, y: u32, z: u32) -> Self {
        Self((level as u64) << LEVEL_SHIFT | (z as u64) << Z_SHIFT | (y as u64) << Y_SHIFT | x as u64)
    }
}

impl fmt::Display for CellId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{}({},{},{})", self.level(), self.x(), self.y(), self.z())
    }
}

impl fmt::Debug for CellId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<CellId> for String {
    fn from(cell: CellId) -> Self {
        cell.to_string()
    }
}

impl TryFrom<String> for CellId {
    type Error = CellIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for CellId {
    type Err = CellIdError;

    /// Reads what `Display` writes: `L0(3,2,0)`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (level, [x, y, z]) = parse(text).ok_or_else(|| CellIdError::Text { text: text.to_owned() })?;
        Self::new(level, x, y, z)
    }
}

fn parse(text: &str) -> Option<(u8, [u32; 3])> {
    let (level, indices) = text.strip_prefix('L')?.strip_suffix(')')?.split_once('(')?;
    let mut indices = indices.split(',').map(|index| index.trim().parse().ok());
    let xyz = [indices.next()??, indices.next()??, indices.next()??];
    if indices.next().is_some() {
        return None;
    }
    Some((level.parse().ok()?, xyz))
}

/// Why something isn't the name of a cell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CellIdError {
    /// The level is past [`CELL_LEVEL_MAX`].
    #[error("cell level {level} is past {CELL_LEVEL_MAX}")]
    Level {
        /// The level asked for.
        level: u8,
    },
    /// An index is past [`CELL_XY_MAX`] or [`CELL_Z_MAX`].
    #[error("cell index ({x},{y},{z}) is past ({CELL_XY_MAX},{CELL_XY_MAX},{CELL_Z_MAX})")]
    Index {
        /// The x index asked for.
        x: u32,
        /// The y index asked for.
        y: u32,
        /// The z index asked for.
        z: u32,
    },
    /// The text isn't of the form `L0(3,2,0)`.
    #[error("{text:?} is not a cell: write it as L0(3,2,0)")]
    Text {
        /// What was read.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_every_field_at_its_limits() {
        for (level, x, y, z) in
            [(0, 0, 0, 0), (3, 5, 7, 2), (CELL_LEVEL_MAX, CELL_XY_MAX, CELL_XY_MAX, CELL_Z_MAX)]
        {
            let cell = CellId::new(level, x, y, z).unwrap();
            assert_eq!((cell.level(), cell.x(), cell.y(), cell.z()), (level, x, y, z));
            assert_eq!(CellId::from_bits(cell.bits()), cell);
        }
        assert_eq!(
            CellId::new(CELL_LEVEL_MAX, CELL_XY_MAX, CELL_XY_MAX, CELL_Z_MAX).unwrap().bits(),
            u64::MAX
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        assert_eq!(CellId::new(16, 0, 0, 0), Err(CellIdError::Level { level: 16 }));
        assert_eq!(
            CellId::new(0, CELL_XY_MAX + 1, 0, 0),
            Err(CellIdError::Index { x: CELL_XY_MAX + 1, y: 0, z: 0 })
        );
        assert!(CellId::new(0, 0, 0, CELL_Z_MAX + 1).is_err());
    }

    #[test]
    fn children_name_their_parent_and_base() {
        let cell = CellId::new(1, 6, 5, 3).unwrap();
        let children = cell.children().unwrap();
        assert!(children.is_sorted());
        for child in children {
            assert_eq!(child.parent(), Some(cell));
            assert_eq!(child.base(), CellId::new(0, 3, 2, 3).unwrap());
        }
        assert_eq!(CellId::new(0, 1, 1, 0).unwrap().parent(), None);
    }

    #[test]
    fn a_cell_whose_children_have_no_name_does_not_split() {
        assert_eq!(CellId::from_bits(u64::MAX).children(), None);
        assert_eq!(CellId::new(0, CELL_XY_MAX, 0, 0).unwrap().children(), None);
        assert!(CellId::new(0, CELL_XY_MAX / 2, 0, 0).unwrap().children().is_some());
    }

    #[test]
    fn text_reads_what_it_writes() {
        let cell = CellId::new(2, 3, 2, 1).unwrap();
        assert_eq!(cell.to_string(), "L2(3,2,1)");
        assert_eq!("L2(3,2,1)".parse(), Ok(cell));
        for bad in ["", "L", "L0", "L0()", "L0(1,2)", "L0(1,2,3,4)", "L0(1,2,-3)", "0(1,2,3)", "L0(1,2,3"] {
            assert_eq!(bad.parse::<CellId>(), Err(CellIdError::Text { text: bad.to_owned() }));
        }
        assert_eq!("L99(0,0,0)".parse::<CellId>(), Err(CellIdError::Level { level: 99 }));
    }
}
