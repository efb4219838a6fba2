//! Events: what happens somewhere and reaches whoever is there, on whatever node.
//!
//! An event takes effect in one tick, the same on every node, a little later than it was caused. In any tick each entity
//! is one node's to simulate, so that node's copy of the event reaches it, at a corner of cells as elsewhere, whether it
//! crosses or not, and no other copy does. A node that hears of it too late reaches those who were its own in that tick
//! and still are. So each entity is reached at most once, and missed only where the message came late and the entity has
//! left since.
//!
//! - [`Happenings`]: the game's side of it; the roster has one
//! - `node/events.rs`: the way to every node whose cells the area touches

#![allow(missing_docs, reason = "a field that the derive of `Archive` makes for `Area` has none")]

mod happenings;

use rkyv::{Archive, Deserialize, Serialize};

use crate::grid::Position;
use crate::id::Peer;
use crate::limits::{EVENT_BYTES_MAX, EVENT_RADIUS_M_MAX, EVENTS_PER_TICK_MAX};
use crate::time::Tick;

pub use happenings::{Happenings, Reached};

/// Where an event happens.
#[derive(Clone, Copy, PartialEq, Debug, Archive, Serialize, Deserialize)]
pub enum Area {
    /// Within a distance of a place.
    Sphere {
        /// The place.
        centre: Position,
        /// The distance, in metres.
        radius_m: f64,
    },
    /// In a box; its faces belong to it.
    Cuboid {
        /// The lowest corner.
        min: Position,
        /// The highest.
        max: Position,
    },
    /// Everywhere. Goes by way of the coordinator, at a bounded rate.
    World,
}

impl Area {
    /// Whether a place is in it.
    #[must_use]
    pub fn contains(&self, at: Position) -> bool {
        match self {
            Self::Sphere { centre, radius_m } => centre.distance_squared(at) <= radius_m * radius_m,
            Self::Cuboid { min, max } => {
                let (min, max, at) = (min.to_array(), max.to_array(), at.to_array());
                (0..3).all(|axis| min[axis] <= at[axis] && at[axis] <= max[axis])
            }
            Self::World => true,
        }
    }

    /// A cube that holds it: its centre, and half its edge in metres. None if it is everywhere.
    #[must_use]
    pub fn cube(&self) -> Option<(Position, f64)> {
        match *self {
            Self::Sphere { centre, radius_m } => Some((centre, radius_m)),
            Self::Cuboid { min, max } => {
                let (min, max) = (min.to_array(), max.to_array());
                let centre = core::array::from_fn(|axis| f64::midpoint(min[axis], max[axis]));
                let half = (0..3).map(|axis| (max[axis] - min[axis]) / 2.0).fold(0.0, f64::max);
                Some((Position::from_array(centre), half))
            }
            Self::World => None,
        }
    }

    /// Whether its numbers are possible: finite, in order, and not past the limit.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        let (finite, ordered) = match self {
            Self::Sphere { centre, radius_m } => (centre.is_finite(), *radius_m >= 0.0),
            Self::Cuboid { min, max } => {
                let (low, high) = (min.to_array(), max.to_array());
                (min.is_finite() && max.is_finite(), (0..3).all(|axis| low[axis] <= high[axis]))
            }
            Self::World => (true, true),
        };
        finite && ordered && self.cube().is_none_or(|(_, half)| half <= EVENT_RADIUS_M_MAX)
    }
}

/// One event in the whole mesh.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Archive, Serialize, Deserialize)]
pub struct EventId {
    /// The node that caused it, in one of its lives.
    pub by: Peer,
    /// Counts that life's events.
    pub number: u64,
}

/// What happens.
#[derive(Clone, PartialEq, Debug, Archive, Serialize, Deserialize)]
pub struct Event {
    /// Which event.
    pub id: EventId,
    /// In which tick it takes effect.
    pub tick: Tick,
    /// Where.
    pub area: Area,
    /// What the game makes of it.
    pub bytes: Vec<u8>,
}

/// Why an event can't be caused. All are mistakes of the game, or a bound that is reached.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
pub enum EventError {
    /// Too much to say.
    #[error("an event has {bytes} bytes; at most {EVENT_BYTES_MAX} are allowed")]
    TooLong {
        /// How much.
        bytes: usize,
    },
    /// The area can't be.
    #[error(
        "an event's area is not finite, not in order, or reaches further than {EVENT_RADIUS_M_MAX} m: {area:?}"
    )]
    BadArea {
        /// What was given.
        area: Area,
    },
    /// Too many in one tick.
    #[error("a node causes at most {EVENTS_PER_TICK_MAX} events in a tick")]
    TooMany,
}
