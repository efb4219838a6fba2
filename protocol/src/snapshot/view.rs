//! What the game reads an entity's state from.

use core::fmt;
use std::collections::BTreeMap;

use super::assembled::Held;
use super::{ArchivedSnapshot, SnapshotHead, Transform, Vitals};
use crate::action::ACTIONS_COMPONENT;
use crate::grid::{Motion, Position, Velocity};
use crate::id::{EntityId, InputSeq, SessionId};

/// An entity's state, read in place: every number is finite, every count within its limit.
#[derive(Clone, Copy)]
pub struct SnapshotView<'a> {
    head: &'a SnapshotHead,
    root: &'a ArchivedSnapshot,
    held: &'a BTreeMap<String, Held>,
}

/// A component, read in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ComponentView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: u64,
    /// Its body: what the game gave to the writer. Not aligned.
    pub body: &'a [u8],
}

/// A cooldown, read in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CooldownView<'a> {
    /// The ability's name.
    pub ability: &'a str,
    /// Microseconds left.
    pub remaining_us: u64,
}

/// An effect, read in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EffectView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Microseconds left.
    pub remaining_us: u64,
    /// How many times it is applied.
    pub stacks: u32,
}

impl<'a> SnapshotView<'a> {
    pub(super) const fn new(
        head: &'a SnapshotHead,
        root: &'a ArchivedSnapshot,
        held: &'a BTreeMap<String, Held>,
    ) -> Self {
        Self { head, root, held }
    }

    /// Everything of fixed size at once.
    #[must_use]
    pub const fn head(&self) -> &'a SnapshotHead {
        self.head
    }

    /// The version of the game's schema that the components follow.
    #[must_use]
    pub const fn schema(&self) -> u32 {
        self.head.schema
    }

    /// Whose state this is.
    #[must_use]
    pub const fn entity(&self) -> EntityId {
        self.head.entity
    }

    /// The player's session, if a player plays it.
    #[must_use]
    pub const fn session(&self) -> Option<SessionId> {
        self.head.session
    }

    /// The display name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.root.name.as_str()
    }

    /// The class.
    #[must_use]
    pub fn class(&self) -> &'a str {
        self.root.class.as_str()
    }

    /// The level.
    #[must_use]
    pub const fn level(&self) -> u32 {
        self.head.level
    }

    /// Where to put the entity if its live position can't be used.
    #[must_use]
    pub const fn persisted(&self) -> Transform {
        self.head.persisted
    }

    /// The vitals now.
    #[must_use]
    pub const fn vitals(&self) -> Vitals {
        self.head.vitals
    }

    /// The most that the vitals can be.
    #[must_use]
    pub const fn vitals_max(&self) -> Vitals {
        self.head.vitals_max
    }

    /// Where it is, in metres. Finite; whether it is inside the world is for the grid to say.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.head.position
    }

    /// How it is turned: a quaternion x, y, z, w, as the game wrote it (not normalised).
    #[must_use]
    pub const fn rotation(&self) -> [f32; 4] {
        self.head.rotation
    }

    /// How it moves, in metres a second.
    #[must_use]
    pub const fn velocity(&self) -> Velocity {
        self.head.velocity
    }

    /// Position and velocity at once.
    #[must_use]
    pub const fn motion(&self) -> Motion {
        Motion { position: self.head.position, velocity: self.head.velocity }
    }

    /// The last of the client's inputs that this state includes.
    #[must_use]
    pub const fn last_input(&self) -> InputSeq {
        self.head.last_input
    }

    /// The version and body of the component `name`.
    #[must_use]
    pub fn component(&self, name: &str) -> Option<(u64, &'a [u8])> {
        let held = self.held.get(name).filter(|_| name != ACTIONS_COMPONENT)?;
        Some((held.version, held.body.as_ref()))
    }

    /// Every component, ascending by name.
    pub fn components(&self) -> impl Iterator<Item = ComponentView<'a>> + use<'a> {
        let of_game = self.held.iter().filter(|(name, _)| *name != ACTIONS_COMPONENT);
        of_game.map(|(name, held)| ComponentView { name, version: held.version, body: &held.body })
    }

    /// Every cooldown, in the order in which the game wrote them.
    pub fn cooldowns(&self) -> impl Iterator<Item = CooldownView<'a>> + use<'a> {
        self.root.cooldowns.iter().map(|cooldown| CooldownView {
            ability: cooldown.ability.as_str(),
            remaining_us: cooldown.remaining_us.to_native(),
        })
    }

    /// Every effect, in the order in which the game wrote them.
    pub fn effects(&self) -> impl Iterator<Item = EffectView<'a>> + use<'a> {
        self.root.effects.iter().map(|effect| EffectView {
            name: effect.name.as_str(),
            remaining_us: effect.remaining_us.to_native(),
            stacks: effect.stacks.to_native(),
        })
    }
}

impl fmt::Debug for SnapshotView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotView")
            .field("entity", &self.entity())
            .field("position", &self.position())
            .field("last_input", &self.last_input())
            .field("components", &self.held.len())
            .finish_non_exhaustive()
    }
}
