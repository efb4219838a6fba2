//! A frame that was checked, read in place.

use core::fmt;

use bytes::Bytes;
use rkyv::rancor;

use super::{
    ArchivedSnapshot, BODIES_BYTES_MAX, COMPONENTS_MAX, COOLDOWNS_MAX, ComponentVersions, EFFECTS_MAX,
    MAGNITUDE_MAX, NAME_BYTES_MAX, REMAINING_FOREVER, REMAINING_US_MAX, SNAPSHOT_BYTES_MAX, SNAPSHOT_LAYOUT,
    STACKS_MAX, SnapshotError, SnapshotHead, Transform, Vitals,
};
use crate::action::{ACTIONS_COMPONENT, ActionBook};
use crate::grid::{Position, Velocity};

/// The bytes before the bodies: layout and length.
pub(super) const PREFIX_BYTES: usize = 1 + size_of::<u32>();

/// A snapshot frame whose structure, counts and ranges were all checked. Cheap to clone.
///
/// Invariant: `bytes` passed [`validate`](Self::validate), and nothing changes them.
#[derive(Clone)]
pub struct SnapshotArchive {
    bytes: Bytes,
    /// Where the bodies end and the rkyv archive begins.
    bodies_end: usize,
    /// A copy of the fixed-size part, so that reading it costs nothing.
    head: SnapshotHead,
}

impl SnapshotArchive {
    /// Checks a frame from a peer, or from a store. The slice needs no alignment.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn validate(bytes: Bytes) -> Result<Self, SnapshotError> {
        let bodies_end = bodies_end(&bytes)?;
        let root = access(&bytes[bodies_end..])?;
        let head = deserialize_head(root)?;
        check_head(&head)?;
        check_lists(root)?;
        check_components(root, bodies_end - PREFIX_BYTES)?;
        let archive = Self { bytes, bodies_end, head };
        archive.check_actions()?;
        Ok(archive)
    }

    /// The frame, to send or to store.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The fixed-size part.
    #[must_use]
    pub const fn head(&self) -> &SnapshotHead {
        &self.head
    }

    /// The archived snapshot, in place.
    ///
    /// Runs rkyv's structural check again (the unchecked access is `unsafe`, which this crate denies): 0.1 us for 8
    /// components and 16 cooldowns and effects; it grows with their number, not with the bodies.
    ///
    /// # Panics
    /// Never: the bytes passed this very check before and can't have changed.
    #[must_use]
    pub fn root(&self) -> &ArchivedSnapshot {
        match access(&self.bytes[self.bodies_end..]) {
            Ok(root) => root,
            Err(error) => unreachable!("a checked archive stays valid: {error}"),
        }
    }

    /// Whether every component has its body here.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.root().components.iter().all(|component| component.body_len.is_some())
    }

    /// The versions of the entity's components, whether or not their bodies are here.
    #[must_use]
    pub fn versions(&self) -> ComponentVersions {
        let components = self.root().components.iter();
        components.map(|component| (component.name.as_str(), component.version.to_native())).collect()
    }

    /// The mesh's own component is read here, once, so that whoever holds the archive can rely on it.
    fn check_actions(&self) -> Result<(), SnapshotError> {
        let named = || self.root().components.iter().any(|component| component.name == *ACTIONS_COMPONENT);
        if !named() {
            return Ok(());
        }
        let book = self.components().find(|(name, ..)| *name == ACTIONS_COMPONENT);
        if let Some((_, version, Some(body))) = book {
            ActionBook::decode(version, &body)?;
        }
        Ok(())
    }

    /// Each component's name, version and, if it is here, its body as a slice of the frame.
    pub(super) fn components(&self) -> impl Iterator<Item = (&str, u64, Option<Bytes>)> {
        let mut at = PREFIX_BYTES;
        self.root().components.iter().map(move |component| {
            let body = component.body_len.as_ref().map(|len| {
                let from = at;
                at += len.to_native() as usize;
                self.bytes.slice(from..at)
            });
            (component.name.as_str(), component.version.to_native(), body)
        })
    }
}

impl fmt::Debug for SnapshotArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SnapshotHead { entity, last_input, .. } = self.head;
        write!(f, "SnapshotArchive({entity:?}, input {last_input}, {} bytes)", self.bytes.len())
    }
}

impl PartialEq for SnapshotArchive {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

fn bodies_end(bytes: &[u8]) -> Result<usize, SnapshotError> {
    if bytes.len() > SNAPSHOT_BYTES_MAX {
        return Err(SnapshotError::TooLarge { bytes: bytes.len() });
    }
    let cut_short = SnapshotError::CutShort { bytes: bytes.len() };
    let Some((&layout, rest)) = bytes.split_first() else { return Err(cut_short) };
    if layout != SNAPSHOT_LAYOUT {
        return Err(SnapshotError::UnknownLayout { found: layout });
    }
    let Some((len, rest)) = rest.split_first_chunk() else { return Err(cut_short) };
    let len = u32::from_le_bytes(*len) as usize;
    if len > rest.len() {
        return Err(cut_short);
    }
    check_bodies(len)?;
    Ok(PREFIX_BYTES + len)
}

fn access(bytes: &[u8]) -> Result<&ArchivedSnapshot, SnapshotError> {
    rkyv::access::<ArchivedSnapshot, rancor::Error>(bytes).map_err(malformed)
}

fn deserialize_head(root: &ArchivedSnapshot) -> Result<SnapshotHead, SnapshotError> {
    rkyv::deserialize::<SnapshotHead, rancor::Error>(&root.head).map_err(malformed)
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn malformed(error: rancor::Error) -> SnapshotError {
    SnapshotError::Malformed { reason: error.to_string() }
}

fn check_head(head: &SnapshotHead) -> Result<(), SnapshotError> {
    let SnapshotHead { persisted, vitals_max, vitals, position, rotation, velocity, .. } = *head;
    let Transform { position: persisted_position, rotation: persisted_rotation } = persisted;
    check_position("persisted position", persisted_position)?;
    check_floats("persisted rotation", persisted_rotation)?;
    check_vitals("maximum vitals", vitals_max)?;
    check_vitals("vitals", vitals)?;
    check_position("position", position)?;
    check_floats("rotation", rotation)?;
    let Velocity { x, y, z } = velocity;
    check_floats("velocity", [x, y, z])
}

fn check_vitals(field: &'static str, vitals: Vitals) -> Result<(), SnapshotError> {
    let Vitals { health, mana, stamina } = vitals;
    check_floats(field, [health, mana, stamina])
}

fn check_position(field: &'static str, position: Position) -> Result<(), SnapshotError> {
    check_numbers(field, position.to_array())
}

fn check_floats<const N: usize>(field: &'static str, numbers: [f32; N]) -> Result<(), SnapshotError> {
    check_numbers(field, numbers.map(f64::from))
}

fn check_numbers<const N: usize>(field: &'static str, numbers: [f64; N]) -> Result<(), SnapshotError> {
    // NaN and the infinities fail the comparison too.
    if numbers.iter().all(|number| number.abs() <= MAGNITUDE_MAX) {
        Ok(())
    } else {
        Err(SnapshotError::BadNumber { field })
    }
}

fn check_lists(root: &ArchivedSnapshot) -> Result<(), SnapshotError> {
    check_count("components", root.components.len(), COMPONENTS_MAX)?;
    check_count("cooldowns", root.cooldowns.len(), COOLDOWNS_MAX)?;
    check_count("effects", root.effects.len(), EFFECTS_MAX)?;
    check_name("name", &root.name)?;
    check_name("class", &root.class)?;
    for cooldown in root.cooldowns.iter() {
        check_name("ability name", &cooldown.ability)?;
        check_remaining("a cooldown", cooldown.remaining_us.to_native())?;
    }
    for effect in root.effects.iter() {
        check_name("effect name", &effect.name)?;
        check_remaining("an effect", effect.remaining_us.to_native())?;
        let stacks = effect.stacks.to_native();
        if stacks > STACKS_MAX {
            return Err(SnapshotError::TooManyStacks { name: effect.name.as_str().to_owned(), stacks });
        }
    }
    Ok(())
}

fn check_components(root: &ArchivedSnapshot, held: usize) -> Result<(), SnapshotError> {
    let mut claimed = 0u64;
    for (index, component) in root.components.iter().enumerate() {
        let name = component.name.as_str();
        check_name("component name", name)?;
        if name.is_empty() {
            return Err(SnapshotError::NameEmpty { field: "component name" });
        }
        if root.components[..index].iter().any(|earlier| earlier.name == *name) {
            return Err(SnapshotError::DuplicateComponent { name: name.to_owned() });
        }
        claimed += component.body_len.as_ref().map_or(0, |len| u64::from(len.to_native()));
    }
    let held = held as u64;
    if claimed == held { Ok(()) } else { Err(SnapshotError::BodiesMismatch { claimed, held }) }
}

pub(super) const fn check_bodies(bytes: usize) -> Result<(), SnapshotError> {
    if bytes > BODIES_BYTES_MAX { Err(SnapshotError::BodiesTooLarge { bytes }) } else { Ok(()) }
}

pub(super) const fn check_count(field: &'static str, count: usize, max: usize) -> Result<(), SnapshotError> {
    if count > max { Err(SnapshotError::TooMany { field, count, max }) } else { Ok(()) }
}

pub(super) const fn check_name(field: &'static str, name: &str) -> Result<(), SnapshotError> {
    if name.len() > NAME_BYTES_MAX {
        return Err(SnapshotError::NameTooLong { field, bytes: name.len() });
    }
    Ok(())
}

const fn check_remaining(field: &'static str, remaining_us: u64) -> Result<(), SnapshotError> {
    if remaining_us > REMAINING_US_MAX && remaining_us != REMAINING_FOREVER {
        return Err(SnapshotError::RemainingTooLong { field, remaining_us });
    }
    Ok(())
}
