//! Puts the archives of one entity together: bodies that travelled early, hot state that came last.

use core::fmt;
use std::collections::BTreeMap;

use bytes::Bytes;
use rkyv::rancor;

use super::archive::check_bodies;
use super::view::SnapshotView;
use super::{
    CapturedSnapshot, ComponentVersions, Snapshot, SnapshotArchive, SnapshotError, SnapshotHead,
    SnapshotWriter,
};
use crate::action::{ACTIONS_COMPONENT, ActionBook};

/// When the frames that bodies keep alive weigh more than so many times the bodies, these are copied out: then what comes in
/// between two copies is thrice what is copied.
const RETAINED_TIMES_MAX: usize = 4;
/// Where the bodies are small, frames may weigh so many bytes more.
const RETAINED_BYTES_SPARE: usize = 64 * 1024;

/// A component's body: a slice of the frame that it came in.
#[derive(Clone, PartialEq)]
pub(super) struct Held {
    pub(super) version: u64,
    pub(super) body: Bytes,
}

/// The newest state of one entity, and every component body that it refers to. Cheap to clone: the bytes are shared.
#[derive(Clone, Default)]
pub struct Assembled {
    newest: Option<SnapshotArchive>,
    /// Invariant: exactly the components that `newest` names, at its versions.
    held: BTreeMap<String, Held>,
    /// What the frames weigh that `held` may keep alive.
    retained_bytes: usize,
}

impl Assembled {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { newest: None, held: BTreeMap::new(), retained_bytes: 0 }
    }

    /// Takes over a newer archive: its state, its components, and its bodies as slices of the frame, without a copy.
    /// A component that it names without a body must be held at that version; one that it doesn't name is dropped.
    ///
    /// Whether it *is* newer is for the caller to know.
    ///
    /// # Errors
    /// If a component is missing, the archive is of another entity, or all bodies together weigh too much; then nothing
    /// changes.
    pub fn apply(&mut self, archive: SnapshotArchive) -> Result<(), SnapshotError> {
        if let Some(held) = self.entity().filter(|&held| held != archive.head().entity) {
            return Err(SnapshotError::OtherEntity { held, given: archive.head().entity });
        }
        let mut merged = BTreeMap::new();
        let mut brings_bodies = false;
        for (name, version, body) in archive.components() {
            brings_bodies |= body.is_some();
            let held = match body {
                Some(body) => Held { version, body },
                None => self.held(name, version)?.clone(),
            };
            merged.insert(name.to_owned(), held);
        }
        check_bodies(weight(&merged))?;
        if brings_bodies {
            self.retained_bytes += archive.bytes().len();
        }
        self.held = merged;
        self.newest = Some(archive);
        if self.retained_bytes > RETAINED_TIMES_MAX * self.body_bytes() + RETAINED_BYTES_SPARE {
            self.copy_out();
        }
        Ok(())
    }

    /// Whether nothing was applied yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.newest.is_none()
    }

    /// The newest fixed-size part.
    #[must_use]
    pub fn head(&self) -> Option<&SnapshotHead> {
        self.newest.as_ref().map(SnapshotArchive::head)
    }

    /// Whose state this is.
    #[must_use]
    pub fn entity(&self) -> Option<crate::id::EntityId> {
        self.head().map(|head| head.entity)
    }

    /// What the entity remembers of its actions.
    #[must_use]
    pub fn actions(&self) -> ActionBook {
        let held = self.held.get(ACTIONS_COMPONENT);
        // Checked with the archive that it came in.
        held.and_then(|held| ActionBook::decode(held.version, &held.body).ok()).unwrap_or_default()
    }

    /// What is held: tell it to the sender, and it leaves that out.
    #[must_use]
    pub fn versions(&self) -> ComponentVersions {
        self.held.iter().map(|(name, held)| (name, held.version)).collect()
    }

    /// What the bodies weigh together, in bytes.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        weight(&self.held)
    }

    /// What the frames weigh that the bodies keep alive, at most: four times the bodies, and a little.
    #[must_use]
    pub const fn retained_bytes(&self) -> usize {
        self.retained_bytes
    }

    /// The state for reading. Costs one [`SnapshotArchive::root`].
    ///
    /// # Errors
    /// If nothing was applied yet.
    pub fn view(&self) -> Result<SnapshotView<'_>, SnapshotError> {
        let newest = self.newest.as_ref().ok_or(SnapshotError::Empty)?;
        Ok(SnapshotView::new(newest.head(), newest.root(), &self.held))
    }

    /// A complete frame of its own, as for saving a character: every body is in it. Copies each body once; if the
    /// newest frame is complete already, it is that one and nothing is copied.
    ///
    /// # Errors
    /// If nothing was applied yet.
    pub fn to_full_bytes(&self) -> Result<Bytes, SnapshotError> {
        let newest = self.newest.as_ref().ok_or(SnapshotError::Empty)?;
        if newest.is_full() {
            return Ok(newest.bytes().clone());
        }
        let snapshot = rkyv::deserialize::<Snapshot, rancor::Error>(newest.root())
            .map_err(|error| SnapshotError::Malformed { reason: error.to_string() })?;
        let mut writer = SnapshotWriter::copy_of(snapshot, &ComponentVersions::new());
        writer.reserve(self.body_bytes());
        for (name, Held { version, body }) in &self.held {
            writer.put(name, *version, body);
        }
        Ok(writer.finish(newest.head().last_input)?.bytes)
    }

    /// The state as the game would capture it for a receiver that `have`s these components of it.
    ///
    /// # Errors
    /// If nothing was applied yet.
    pub fn captured_for(&self, have: &ComponentVersions) -> Result<CapturedSnapshot, SnapshotError> {
        let newest = self.newest.as_ref().ok_or(SnapshotError::Empty)?;
        let snapshot = rkyv::deserialize::<Snapshot, rancor::Error>(newest.root())
            .map_err(|error| SnapshotError::Malformed { reason: error.to_string() })?;
        let mut writer = SnapshotWriter::copy_of(snapshot, have);
        for (name, Held { version, body }) in &self.held {
            writer.put(name, *version, body);
        }
        writer.finish(newest.head().last_input)
    }

    fn held(&self, name: &str, version: u64) -> Result<&Held, SnapshotError> {
        self.held
            .get(name)
            .filter(|held| held.version == version)
            .ok_or_else(|| SnapshotError::MissingComponent { name: name.to_owned(), version })
    }

    /// Copies the bodies into one buffer, so that they no longer keep whole frames alive.
    fn copy_out(&mut self) {
        let mut buffer = Vec::with_capacity(self.body_bytes());
        self.held.values().for_each(|held| buffer.extend_from_slice(&held.body));
        let mut buffer = Bytes::from(buffer);
        self.retained_bytes = buffer.len();
        for held in self.held.values_mut() {
            held.body = buffer.split_to(held.body.len());
        }
    }
}

impl PartialEq for Assembled {
    fn eq(&self, other: &Self) -> bool {
        self.newest == other.newest && self.held == other.held
    }
}

impl fmt::Debug for Assembled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (components, bytes) = (self.held.len(), self.body_bytes());
        match self.head() {
            Some(SnapshotHead { entity, last_input, .. }) => {
                write!(f, "Assembled({entity:?}, input {last_input}, {components} components, {bytes} bytes)")
            }
            None => f.write_str("Assembled(empty)"),
        }
    }
}

fn weight(held: &BTreeMap<String, Held>) -> usize {
    held.values().map(|held| held.body.len()).sum()
}
