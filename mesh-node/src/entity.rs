//! Handles that say in their type whether an entity may be written to.

use selvedge_protocol::id::EntityId;

/// An entity that this node simulates. Only an `Owned` can be published or despawned.
///
/// A handle is good for the frame that gave it. Kept longer it may outlive the authority behind it: then
/// [`Frame::publish`](crate::Frame::publish) says `NotHeld`, and nothing is written.
///
/// ```
/// use selvedge_node::{Frame, Look, Motion, Owned};
///
/// fn move_it(frame: &mut Frame<'_>, boat: Owned, motion: Motion) {
///     frame.publish(boat, motion, Look::default(), &[]).expect("the boat is ours");
/// }
/// ```
///
/// What another node simulates can be looked at, not written to:
///
/// ```compile_fail
/// use selvedge_node::{Frame, Ghost, Look, Motion};
///
/// fn move_it(frame: &mut Frame<'_>, boat: Ghost, motion: Motion) {
///     frame.publish(boat, motion, Look::default(), &[]).expect("the boat is not ours");
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Owned(EntityId);

impl Owned {
    pub(crate) const fn new(entity: EntityId) -> Self {
        Self(entity)
    }

    /// Which entity.
    #[must_use]
    pub const fn id(self) -> EntityId {
        self.0
    }
}

/// An entity that another node simulates and this one sees.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ghost(EntityId);

impl Ghost {
    pub(crate) const fn new(entity: EntityId) -> Self {
        Self(entity)
    }

    /// Which entity.
    #[must_use]
    pub const fn id(self) -> EntityId {
        self.0
    }
}
