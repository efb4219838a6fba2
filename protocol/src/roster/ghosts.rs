//! The ghosts that the game shows, kept true to what it simulates: never a ghost beside its original.
//!
//! The core speaks of ghosts a little behind the game: it may still move one that the game simulates by now, and the game
//! has ghosts that the core doesn't know to be any, since what it froze a moment ago it goes on showing.

use std::collections::BTreeMap;

use super::Roster;
use crate::ghost::{GhostChange, Look};
use crate::grid::Motion;
use crate::id::EntityId;
use crate::time::Tick;

/// What is known of a ghost.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GhostSight {
    /// Where it is shown, and how it moves.
    pub motion: Motion,
    /// How it looks.
    pub look: Look,
    /// The newest tick that its authority vouched for when it last moved.
    pub tick: Tick,
}

/// The game's ghosts.
pub(super) type Ghosts = BTreeMap<EntityId, GhostSight>;

impl Roster {
    /// Everything that others simulate and this node sees, in order of id.
    pub fn ghosts(&self) -> impl Iterator<Item = (EntityId, &GhostSight)> {
        self.ghosts.iter().map(|(&entity, sight)| (entity, sight))
    }

    /// One of these.
    #[must_use]
    pub fn ghost(&self, entity: EntityId) -> Option<&GhostSight> {
        self.ghosts.get(&entity)
    }

    /// Takes what the core says of ghosts; returns what the game must hear of it.
    pub(super) fn take_ghosts(&mut self, changes: Vec<GhostChange>) -> Vec<GhostChange> {
        let mut told = Vec::with_capacity(changes.len());
        for change in changes {
            let entity = change.entity();
            if !self.held.contains_key(&entity) {
                enter(&mut self.ghosts, entity, change, &mut told);
            }
        }
        told
    }
}

fn enter(ghosts: &mut Ghosts, entity: EntityId, change: GhostChange, told: &mut Vec<GhostChange>) {
    match (change, ghosts.get_mut(&entity)) {
        (GhostChange::Appeared { motion, look, tick, .. }, known) => {
            let new = GhostSight { motion, look, tick };
            match known {
                // It was simulated here until now, and has been a ghost since.
                Some(known) => {
                    let rotation = look.rotation;
                    told.push(GhostChange::Moved { entity, motion, rotation, tick });
                    if known.look.state != look.state {
                        told.push(GhostChange::Changed { entity, state: look.state });
                    }
                    *known = new;
                }
                None => {
                    told.push(change);
                    ghosts.insert(entity, new);
                }
            }
        }
        (GhostChange::Moved { motion, rotation, tick, .. }, Some(known)) => {
            *known = GhostSight { motion, look: Look { rotation, ..known.look }, tick };
            told.push(change);
        }
        (GhostChange::Changed { state, .. }, Some(known)) => {
            known.look.state = state;
            told.push(change);
        }
        (GhostChange::Vanished { .. }, Some(_)) => {
            ghosts.remove(&entity);
            told.push(change);
        }
        (GhostChange::Moved { .. } | GhostChange::Changed { .. } | GhostChange::Vanished { .. }, None) => {}
    }
}
