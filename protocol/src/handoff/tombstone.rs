//! What a source keeps after a handoff: where the entity went, and its client until that has left.

use crate::id::{ClientId, HandoffId, Peer};
use crate::snapshot::Assembled;
use crate::time::Time;
use crate::wire::{Captured, Invitation};

/// The mark that an entity left behind.
#[derive(Debug)]
pub(crate) struct Tombstone {
    pub(crate) id: HandoffId,
    pub(crate) to: Peer,
    /// Late inputs are forwarded until then.
    pub(crate) forward_until: Time,
    /// Whether the coordinator knows.
    pub(crate) acknowledged: bool,
    /// The player's client, while it is still connected here.
    pub(crate) client: Option<ClientId>,
    /// Where that client, or one that comes late, can go; its token admits once.
    pub(crate) invitation: Option<Invitation>,
    pub(crate) redirect_at: Time,
}

impl Tombstone {
    /// From when the contents are that are kept here.
    pub(crate) fn kept_from(&self) -> Option<Captured> {
        None
    }

    /// The contents.
    pub(crate) fn kept(&self) -> Option<Assembled> {
        None
    }
}
