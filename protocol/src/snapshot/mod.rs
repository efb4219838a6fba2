//! The full dynamic state of an entity: what travels in a handoff, a pre-copy, a checkpoint.
//!
//! A frame is `layout: u8 | bodies_len: u32 LE | bodies | archive`: the component bodies end to end, then the rkyv
//! archive of a [`Snapshot`], which says where each body ends. So a body is copied once, from the game into the
//! frame, and is read in place by the receiver, and checking an archive doesn't cost more for heavier bodies.
//!
//! - [`SnapshotWriter`] is what the game writes into; it makes a frame.
//! - [`SnapshotArchive`] is a frame that was checked: structure, counts, ranges.
//! - [`Assembled`] puts archives of one entity together: bodies that travelled early, hot state that came last.
//! - [`SnapshotView`] is what the game reads.
//!
//! Deliberately absent: what the bodies mean (an engine's own serialization), and when a snapshot is taken.

mod archive;
mod assembled;
#[cfg(test)]
mod tests;
mod versions;
mod view;
mod writer;

use rkyv::{Archive, Deserialize, Serialize};

use crate::grid::{Position, Velocity};
use crate::id::{EntityId, InputSeq, SessionId};

pub use archive::SnapshotArchive;
pub use assembled::Assembled;
pub use versions::{ComponentVersion, ComponentVersions};
pub use view::{ComponentView, CooldownView, EffectView, SnapshotView};
pub use writer::{CapturedSnapshot, SnapshotWriter};

/// The number of the frame's layout, in its first byte. A frame of another is refused.
pub const SNAPSHOT_LAYOUT: u8 = 2;
/// The largest frame, bodies included.
pub const SNAPSHOT_BYTES_MAX: usize = 1 << 20;
/// The most that the component bodies of one entity may weigh together. It leaves room for all the rest at its limits,
/// so that what was assembled from several frames always fits into one.
pub const BODIES_BYTES_MAX: usize = SNAPSHOT_BYTES_MAX - (64 << 10);
/// The most components of an entity.
pub const COMPONENTS_MAX: usize = 64;
/// The most cooldowns of an entity.
pub const COOLDOWNS_MAX: usize = 256;
/// The most effects on an entity.
pub const EFFECTS_MAX: usize = 256;
/// The longest name of anything in a snapshot, in bytes: a player's name must fit.
pub const NAME_BYTES_MAX: usize = crate::limits::NAME_BYTES_MAX;
/// The greatest magnitude of a vital, a coordinate or a velocity component.
pub const MAGNITUDE_MAX: f64 = 1e9;
/// The longest cooldown or effect that ends by itself: ten years, in microseconds.
pub const REMAINING_US_MAX: u64 = 10 * 366 * 24 * 3600 * 1_000_000;
/// The remaining time of what doesn't end by itself.
pub const REMAINING_FOREVER: u64 = u64::MAX;
/// The most stacks of an effect.
pub const STACKS_MAX: u32 = 1_000_000;

/// Where something is and how it is turned.
#[derive(Clone, Copy, PartialEq, Debug, Archive, Serialize, Deserialize)]
pub struct Transform {
    /// Where, in metres.
    pub position: Position,
    /// The rotation as a quaternion: x, y, z, w.
    pub rotation: [f32; 4],
}

impl Default for Transform {
    /// At zero, unturned.
    fn default() -> Self {
        Self { position: Position::default(), rotation: [0.0, 0.0, 0.0, 1.0] }
    }
}

/// Health, mana and stamina, in the game's own units.
#[derive(Clone, Copy, PartialEq, Debug, Default, Archive, Serialize, Deserialize)]
pub struct Vitals {
    /// Health.
    pub health: f32,
    /// Mana.
    pub mana: f32,
    /// Stamina.
    pub stamina: f32,
}

/// The part of a snapshot that has a fixed size.
#[derive(Clone, Copy, PartialEq, Debug, Archive, Serialize, Deserialize)]
pub struct SnapshotHead {
    /// The version of the game's own schema: what the components mean.
    pub schema: u32,
    /// Whose state this is.
    pub entity: EntityId,
    /// The player's session; none for what no player plays.
    pub session: Option<SessionId>,
    /// What it is attached to; none for what moves by itself.
    pub attached_to: Option<EntityId>,
    /// The player's level.
    pub level: u32,
    /// Where to put the entity if its live position can't be used.
    pub persisted: Transform,
    /// The most that the vitals can be.
    pub vitals_max: Vitals,
    /// The vitals now.
    pub vitals: Vitals,
    /// Where it is, in metres.
    pub position: Position,
    /// How it is turned: a quaternion x, y, z, w.
    pub rotation: [f32; 4],
    /// How it moves, in metres a second.
    pub velocity: Velocity,
    /// The last of the client's inputs that this state includes.
    pub last_input: InputSeq,
}

impl SnapshotHead {
    /// The head of an entity at zero, unturned, at rest.
    #[must_use]
    pub fn new(entity: EntityId, session: Option<SessionId>) -> Self {
        let Transform { position, rotation } = Transform::default();
        Self {
            schema: 0,
            entity,
            session,
            attached_to: None,
            level: 0,
            persisted: Transform::default(),
            vitals_max: Vitals::default(),
            vitals: Vitals::default(),
            position,
            rotation,
            velocity: Velocity::default(),
            last_input: InputSeq::default(),
        }
    }
}

/// What is archived behind the bodies.
#[derive(Clone, PartialEq, Debug, Archive, Serialize, Deserialize)]
pub struct Snapshot {
    /// Everything of fixed size.
    pub head: SnapshotHead,
    /// The name of the player or the thing; may be empty.
    pub name: String,
    /// Its class; may be empty.
    pub class: String,
    /// All its components, in the order in which their bodies lie in the frame.
    pub components: Vec<Component>,
    /// Abilities that are cooling down.
    pub cooldowns: Vec<Cooldown>,
    /// Effects on it.
    pub effects: Vec<Effect>,
}

/// A named, versioned blob of the game's.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub struct Component {
    /// Its name; not empty, and unique in its snapshot.
    pub name: String,
    /// Grows whenever the body changes.
    pub version: u64,
    /// How many bytes of the frame are its body; none if the receiver has this version already.
    pub body_len: Option<u32>,
}

/// An ability that can't be used yet.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub struct Cooldown {
    /// The ability's name.
    pub ability: String,
    /// Microseconds until it can be used, up to [`REMAINING_US_MAX`], or [`REMAINING_FOREVER`].
    pub remaining_us: u64,
}

/// Something that acts on an entity for a while.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub struct Effect {
    /// Its name.
    pub name: String,
    /// Microseconds until it ends, up to [`REMAINING_US_MAX`], or [`REMAINING_FOREVER`].
    pub remaining_us: u64,
    /// How many times it is applied.
    pub stacks: u32,
}

/// Why a snapshot can't be made, read or put together.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The frame is past [`SNAPSHOT_BYTES_MAX`].
    #[error("a frame of {bytes} bytes is past the limit of {SNAPSHOT_BYTES_MAX}")]
    TooLarge {
        /// How many bytes.
        bytes: usize,
    },
    /// The bodies of one entity, in one frame or put together, are past [`BODIES_BYTES_MAX`].
    #[error("{bytes} bytes of component bodies are past the limit of {BODIES_BYTES_MAX}")]
    BodiesTooLarge {
        /// How many bytes.
        bytes: usize,
    },
    /// The frame is cut short, or its bodies reach past its end.
    #[error("a frame of {bytes} bytes is cut short")]
    CutShort {
        /// How many bytes there are.
        bytes: usize,
    },
    /// The frame has another layout.
    #[error("the frame has layout {found}, this build reads {SNAPSHOT_LAYOUT}")]
    UnknownLayout {
        /// The layout found.
        found: u8,
    },
    /// The archive's structure is broken.
    #[error("the archive is malformed: {reason}")]
    Malformed {
        /// What rkyv says.
        reason: String,
    },
    /// A number is infinite, NaN, or past [`MAGNITUDE_MAX`].
    #[error("{field} is not a finite number within {MAGNITUDE_MAX}")]
    BadNumber {
        /// The field.
        field: &'static str,
    },
    /// A list is too long.
    #[error("{count} {field} are past the limit of {max}")]
    TooMany {
        /// The list.
        field: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A name is too long.
    #[error("the {field} has {bytes} bytes, past the limit of {NAME_BYTES_MAX}")]
    NameTooLong {
        /// Whose name.
        field: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// A name is empty that must not be.
    #[error("the {field} is empty")]
    NameEmpty {
        /// Whose name.
        field: &'static str,
    },
    /// A game uses a component name of the mesh's own.
    #[error("the component name {name:?} is the mesh's own: choose another")]
    NameReserved {
        /// The name.
        name: String,
    },
    /// What the entity remembers of its actions can't be read.
    #[error("{0}")]
    Actions(#[from] crate::action::BookError),
    /// Two components have one name.
    #[error("the component {name:?} is there twice")]
    DuplicateComponent {
        /// The name.
        name: String,
    },
    /// The bodies' lengths don't add up to what the frame holds.
    #[error("the components claim {claimed} bytes of bodies, the frame holds {held}")]
    BodiesMismatch {
        /// What the components' lengths add up to.
        claimed: u64,
        /// What the frame holds.
        held: u64,
    },
    /// A remaining time is past [`REMAINING_US_MAX`] and isn't [`REMAINING_FOREVER`].
    #[error("{field} has {remaining_us} us left, past the limit of {REMAINING_US_MAX}")]
    RemainingTooLong {
        /// What has the time.
        field: &'static str,
        /// The time.
        remaining_us: u64,
    },
    /// An effect has more than [`STACKS_MAX`] stacks.
    #[error("the effect {name:?} has {stacks} stacks, past the limit of {STACKS_MAX}")]
    TooManyStacks {
        /// The effect.
        name: String,
        /// Its stacks.
        stacks: u32,
    },
    /// A component came without its body, and that version isn't held.
    #[error("the component {name:?} came without its body, and version {version} is not held")]
    MissingComponent {
        /// The component.
        name: String,
        /// The version that is missing.
        version: u64,
    },
    /// The archive is of another entity than those applied before.
    #[error("the snapshot is of {given:?}, what is held of {held:?}")]
    OtherEntity {
        /// Whose state is held.
        held: EntityId,
        /// Whose state came.
        given: EntityId,
    },
    /// There is no archive yet to read from.
    #[error("no snapshot was applied yet")]
    Empty,
}
