//! Ghost replication: what is near a border is seen on both of its sides, and what is near a player on their screen.
//!
//! ```text
//! game -> Scene -> BorderInterest, ViewInterest -> GhostSender =====> GhostReceiver -> GhostTable -> game
//!         one a node      one a link or client          stream, datagrams      one a link      one a node or client
//! ```
//!
//! - A [`Scene`] holds what was published, quantized.
//! - [`BorderInterest`] and [`ViewInterest`] say what of it a link sees.
//! - A [`GhostSender`] makes that appear and vanish (on a stream) and move (in datagrams): by dead reckoning, as deltas
//!   against what was acknowledged, the most urgent first, within a budget.
//! - A [`GhostReceiver`] takes both in and acknowledges them.
//! - A [`GhostTable`] keeps one ghost for each entity, whichever link tells of it, and says where it is at a moment.
//! - An [`Outlet`] and an [`Inlet`] are the two ends of one way of a link, whose sessions begin anew when something of the
//!   stream is lost for good.
//!
//! All of it is pure: bytes go in and come out. Deliberately absent: who moves the bytes, and the game's own clock.

mod change;
mod delta;
mod gone;
mod inlet;
mod interest;
mod motion;
mod outlet;
mod quantize;
mod receiver;
mod scene;
mod sender;
mod settings;
mod state;
mod table;
mod track;
mod varint;
mod window;
mod wire;

pub use change::{GhostChange, Look};
pub use inlet::Inlet;
pub use interest::{BorderInterest, Region, Sight, SightRules, Sighting, ViewInterest};
pub use motion::{Prediction, predict};
pub use outlet::Outlet;
pub use quantize::{
    CLIMB_UNITS_PER_MPS2, Facing, POSITION_UNITS_PER_M, Sample, TURN_UNITS_PER_RADPS, VELOCITY_UNITS_PER_MPS,
    YAW_UNITS,
};
pub use receiver::{GhostReceiver, ReceiverStats};
pub use scene::{Scene, Subject};
pub use sender::{GhostError, GhostSender, SenderStats, put_delta};
pub use settings::{
    BUDGET_BYTES_MIN, Bound, DATAGRAM_BYTES_MIN, DATAGRAM_OVERHEAD_BYTES, Rates, SenderSettings,
    TableSettings,
};
pub use state::{FIELD_BYTES_MAX, FIELDS_MAX, State, StateError, StateView, Value};
pub use table::{Floors, GhostEvent, GhostTable, NoFloors, STALENESS_TICKS};
pub use track::Shown;
pub use wire::{
    EntityClass, GHOST_WIRE_VERSION, GhostWireError, VanishReason, is_ack, is_readable, is_stream,
};
