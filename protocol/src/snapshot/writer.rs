//! What the game writes an entity's state into.

use core::fmt;

use bytes::Bytes;
use rkyv::rancor;

use super::archive::{PREFIX_BYTES, check_bodies, check_count, check_name};
use super::{
    BODIES_BYTES_MAX, COMPONENTS_MAX, COOLDOWNS_MAX, Component, ComponentVersions, Cooldown, EFFECTS_MAX,
    Effect, SNAPSHOT_LAYOUT, Snapshot, SnapshotArchive, SnapshotError, SnapshotHead, Transform, Vitals,
};
use crate::action::{ACTIONS_COMPONENT, ActionBook};
use crate::grid::{Motion, Position, Velocity};
use crate::id::{EntityId, InputSeq, SessionId};

/// What a frame usually weighs besides its bodies.
const ARCHIVE_BYTES_USUAL: usize = 4096;

/// Collects one entity's state. The game calls the setters in any order, and names *every* component of the entity each
/// time: one that isn't named is gone at the receiver.
///
/// The methods take ids by value and bytes by slice, and don't fail: the first thing that is wrong is kept, what
/// comes after it is ignored, and [`finish`](Self::finish) reports it. A body is copied once, straight into the frame.
pub struct SnapshotWriter {
    /// What the receiver has already.
    have: ComponentVersions,
    /// The frame so far: prefix and bodies.
    frame: Vec<u8>,
    snapshot: Snapshot,
    error: Option<SnapshotError>,
}

/// A finished snapshot: a frame that passes every check of [`SnapshotArchive::validate`].
#[derive(Clone, PartialEq, Debug)]
pub struct CapturedSnapshot {
    /// The frame.
    pub bytes: Bytes,
    /// The versions of all the entity's components: what the receiver has once it has applied this.
    pub versions: ComponentVersions,
    /// Whether every component's body is in it.
    pub full: bool,
}

impl SnapshotWriter {
    /// Starts a snapshot of `entity` for a receiver that `have`s these components already.
    #[must_use]
    pub fn new(entity: EntityId, session: Option<SessionId>, have: &ComponentVersions) -> Self {
        let mut frame = vec![0; PREFIX_BYTES];
        frame[0] = SNAPSHOT_LAYOUT;
        let snapshot = Snapshot {
            head: SnapshotHead::new(entity, session),
            name: String::new(),
            class: String::new(),
            components: Vec::new(),
            cooldowns: Vec::new(),
            effects: Vec::new(),
        };
        Self { have: have.clone(), frame, snapshot, error: None }
    }

    /// Makes room for `bytes` bytes of bodies more, so that the frame needn't grow step by step.
    pub fn reserve(&mut self, bytes: usize) {
        let spare = self.frame.capacity() - self.frame.len();
        if spare < bytes {
            // Room for the archive too, or closing the frame would copy the bodies once more.
            self.frame.reserve(bytes.min(BODIES_BYTES_MAX) + ARCHIVE_BYTES_USUAL);
        }
    }

    /// Whose state this is.
    #[must_use]
    pub const fn entity(&self) -> EntityId {
        self.snapshot.head.entity
    }

    /// The version of the game's schema; default 0.
    pub const fn schema(&mut self, schema: u32) {
        self.snapshot.head.schema = schema;
    }

    /// The display name, up to 64 bytes; default empty.
    pub fn name(&mut self, name: &str) {
        if self.accept(check_name("name", name)) {
            name.clone_into(&mut self.snapshot.name);
        }
    }

    /// The class, up to 64 bytes; default empty.
    pub fn class(&mut self, class: &str) {
        if self.accept(check_name("class", class)) {
            class.clone_into(&mut self.snapshot.class);
        }
    }

    /// The level; default 0.
    pub const fn level(&mut self, level: u32) {
        self.snapshot.head.level = level;
    }

    /// Where to put the entity if its live position can't be used; default zero, unturned.
    pub const fn persisted(&mut self, persisted: Transform) {
        self.snapshot.head.persisted = persisted;
    }

    /// The vitals now and at most; default 0.
    pub const fn vitals(&mut self, vitals: Vitals, vitals_max: Vitals) {
        self.snapshot.head.vitals = vitals;
        self.snapshot.head.vitals_max = vitals_max;
    }

    /// The position, in metres; default zero.
    pub const fn position(&mut self, position: Position) {
        self.snapshot.head.position = position;
    }

    /// The rotation, a quaternion x, y, z, w; default unturned.
    pub const fn rotation(&mut self, rotation: [f32; 4]) {
        self.snapshot.head.rotation = rotation;
    }

    /// The velocity, in metres a second; default at rest.
    pub const fn velocity(&mut self, velocity: Velocity) {
        self.snapshot.head.velocity = velocity;
    }

    /// Position and velocity at once.
    pub const fn motion(&mut self, motion: Motion) {
        self.position(motion.position);
        self.velocity(motion.velocity);
    }

    /// Whether the receiver lacks this version: if not, the game may skip encoding and give an empty body.
    #[must_use]
    pub fn wants(&self, name: &str, version: u64) -> bool {
        self.have.version_of(name) != Some(version)
    }

    /// What the entity remembers of its actions: [`Roster::writer`](crate::roster::Roster::writer) calls it. A blank book
    /// isn't written.
    pub(crate) fn actions(&mut self, book: &ActionBook) {
        if !book.is_blank() {
            let wanted = self.wants(ACTIONS_COMPONENT, book.version());
            let body = if wanted { book.encode() } else { Vec::new() };
            self.put(ACTIONS_COMPONENT, book.version(), &body);
        }
    }

    /// What the entity is attached to: [`Roster::writer`](crate::roster::Roster::writer) calls it.
    pub(crate) const fn attached_to(&mut self, to: Option<EntityId>) {
        self.snapshot.head.attached_to = to;
    }

    /// Names a component. Its body is dropped if the receiver has this version.
    pub fn component(&mut self, name: &str, version: u64, body: &[u8]) {
        let reserved = name == ACTIONS_COMPONENT;
        let free = if reserved { Err(SnapshotError::NameReserved { name: name.to_owned() }) } else { Ok(()) };
        if self.accept(free) {
            self.put(name, version, body);
        }
    }

    pub(super) fn put(&mut self, name: &str, version: u64, body: &[u8]) {
        if !self.accept(self.check_component(name)) {
            return;
        }
        let mut body_len = None;
        if self.wants(name, version) {
            let bytes = (self.frame.len() - PREFIX_BYTES).saturating_add(body.len());
            if !self.accept(check_bodies(bytes)) {
                return;
            }
            self.reserve(body.len());
            self.frame.extend_from_slice(body);
            body_len = u32::try_from(body.len()).ok();
        }
        self.snapshot.components.push(Component { name: name.to_owned(), version, body_len });
    }

    /// Names an ability that can't be used for another `remaining_us` microseconds.
    pub fn cooldown(&mut self, ability: &str, remaining_us: u64) {
        let count = self.snapshot.cooldowns.len() + 1;
        let checked = check_count("cooldowns", count, COOLDOWNS_MAX);
        if self.accept(checked.and_then(|()| check_name("ability name", ability))) {
            self.snapshot.cooldowns.push(Cooldown { ability: ability.to_owned(), remaining_us });
        }
    }

    /// Names an effect that lasts another `remaining_us` microseconds.
    pub fn effect(&mut self, name: &str, remaining_us: u64, stacks: u32) {
        let count = self.snapshot.effects.len() + 1;
        let checked = check_count("effects", count, EFFECTS_MAX);
        if self.accept(checked.and_then(|()| check_name("effect name", name))) {
            self.snapshot.effects.push(Effect { name: name.to_owned(), remaining_us, stacks });
        }
    }

    /// Closes the snapshot; `last_input` is the last input that it includes.
    ///
    /// # Errors
    /// The first thing that was wrong with what the game wrote: what it makes is checked as the receiver will.
    pub fn finish(self, last_input: InputSeq) -> Result<CapturedSnapshot, SnapshotError> {
        let Self { mut frame, mut snapshot, error, .. } = self;
        if let Some(error) = error {
            return Err(error);
        }
        snapshot.head.last_input = last_input;
        let bytes = frame.len();
        let bodies_len =
            u32::try_from(bytes - PREFIX_BYTES).map_err(|_| SnapshotError::BodiesTooLarge { bytes })?;
        frame[1..PREFIX_BYTES].copy_from_slice(&bodies_len.to_le_bytes());
        let frame = rkyv::api::high::to_bytes_in::<_, rancor::Error>(&snapshot, frame)
            .map_err(|error| SnapshotError::Malformed { reason: error.to_string() })?;
        let archive = SnapshotArchive::validate(Bytes::from(frame))?;
        let components = snapshot.components.iter();
        Ok(CapturedSnapshot {
            bytes: archive.bytes().clone(),
            full: components.clone().all(|component| component.body_len.is_some()),
            versions: components.map(|component| (&component.name, component.version)).collect(),
        })
    }

    fn check_component(&self, name: &str) -> Result<(), SnapshotError> {
        check_count("components", self.snapshot.components.len() + 1, COMPONENTS_MAX)?;
        check_name("component name", name)
    }

    /// Keeps the first error. Whether to go on.
    fn accept(&mut self, checked: Result<(), SnapshotError>) -> bool {
        if self.error.is_none() {
            self.error = checked.err();
        }
        self.error.is_none()
    }

    /// Starts from what is there already, for a full copy of it.
    pub(super) fn copy_of(snapshot: Snapshot, have: &ComponentVersions) -> Self {
        let head = snapshot.head;
        let mut writer = Self::new(head.entity, head.session, have);
        writer.snapshot = Snapshot { components: Vec::new(), ..snapshot };
        writer
    }
}

impl fmt::Debug for SnapshotWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (entity, components) = (self.entity(), self.snapshot.components.len());
        write!(f, "SnapshotWriter({entity:?}, {components} components, {} bytes)", self.frame.len())
    }
}
