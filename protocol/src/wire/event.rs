//! Events on their way.

use rkyv::{Archive, Deserialize, Serialize};

use crate::event::Event;
use crate::id::Term;

/// What is said about events. Nothing is repeated: an event that is lost is lost.
#[derive(Clone, PartialEq, Debug, Archive, Serialize, Deserialize)]
pub enum EventMessage {
    /// Node -> node, for an area; node -> coordinator, for the whole world.
    Happens(Event),
    /// Coordinator -> node: somebody announces this to the whole world.
    Announced {
        /// The coordinator's term.
        term: Term,
        /// What.
        event: Event,
    },
}
