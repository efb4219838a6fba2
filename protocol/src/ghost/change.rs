//! What a game hears of ghosts, tick by tick.

use super::quantize::Facing;
use super::state::State;
use super::table::{GhostEvent, GhostTable};
use super::wire::EntityClass;
use crate::grid::Motion;
use crate::id::EntityId;
use crate::time::{Tick, Time};

/// How an entity looks, beside where it is and how it moves: what its game publishes for whoever sees it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Look {
    /// How it is turned: a quaternion x, y, z, w.
    pub rotation: [f32; 4],
    /// What kind of thing it is: kinds may be seen from nearer or farther than others.
    pub class: EntityClass,
    /// Small typed fields, numbered by the game: health, animation, team.
    pub state: State,
}

impl Default for Look {
    fn default() -> Self {
        Self { rotation: [0.0, 0.0, 0.0, 1.0], class: EntityClass::default(), state: State::default() }
    }
}

impl Look {
    /// Upright, turned by so many radians from +x towards +y; class 0, no state.
    #[must_use]
    pub fn facing(yaw_rad: f64) -> Self {
        Self { rotation: Facing::upright(yaw_rad).rotation(), ..Self::default() }
    }

    /// The same with this state.
    #[must_use]
    pub const fn with_state(self, state: State) -> Self {
        Self { state, ..self }
    }

    /// The same of this class.
    #[must_use]
    pub const fn with_class(self, class: EntityClass) -> Self {
        Self { class, ..self }
    }
}

/// A change of a ghost. Where it is, is where it was a little while ago: see
/// [`TableSettings::display_lag_ticks`](super::TableSettings::display_lag_ticks).
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum GhostChange {
    /// First sight.
    Appeared {
        /// Which entity.
        entity: EntityId,
        /// Where and how it moves.
        motion: Motion,
        /// How it looks.
        look: Look,
        /// The newest tick that its authority vouches for.
        tick: Tick,
    },
    /// It is elsewhere, or turned otherwise.
    Moved {
        /// Which entity.
        entity: EntityId,
        /// Where and how it moves.
        motion: Motion,
        /// How it is turned.
        rotation: [f32; 4],
        /// The newest tick that its authority vouches for.
        tick: Tick,
    },
    /// Its state is another.
    Changed {
        /// Which entity.
        entity: EntityId,
        /// All of its state.
        state: State,
    },
    /// Out of sight, or gone. Not when this node itself comes to hold it.
    Vanished {
        /// Which entity.
        entity: EntityId,
    },
}

impl GhostChange {
    /// Which entity it is about.
    #[must_use]
    pub const fn entity(&self) -> EntityId {
        match self {
            Self::Appeared { entity, .. }
            | Self::Moved { entity, .. }
            | Self::Changed { entity, .. }
            | Self::Vanished { entity } => *entity,
        }
    }
}

impl GhostTable {
    /// The game may show the entity otherwise than it was told, or not at all: if it is a ghost, it appears anew.
    pub fn tell_again(&mut self, entity: EntityId) {
        if let Some(ghost) = self.ghost_of_mut(entity) {
            ghost.track_mut().told = None;
        }
    }

    /// What a game must hear to have the ghosts as they are at a moment of mesh time. Takes the
    /// [events](Self::take_events).
    ///
    /// Vanished ones come first. What was [adopted](Self::adopt) appears: whoever has the entity still takes that for a move.
    pub fn take_changes(&mut self, at: Time) -> Vec<GhostChange> {
        let mut changes = Vec::with_capacity(self.usual_changes());
        for event in self.take_events() {
            match event {
                GhostEvent::Vanished { entity } => changes.push(GhostChange::Vanished { entity }),
                // Seen below, from what was told.
                GhostEvent::Appeared { .. } | GhostEvent::Changed { .. } => {}
            }
        }
        let settings = *self.settings();
        for ghost in self.ghosts_mut() {
            ghost.take_changes(at, &settings, &mut changes);
        }
        self.note_changes(changes.len());
        changes
    }
}
