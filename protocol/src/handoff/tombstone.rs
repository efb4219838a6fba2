//! What a source keeps after a handoff: where the entity went, and its client until that has left.

use crate::id::{ClientId, HandoffId, Peer, SessionId};
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
    /// What was given away, until the target says that it is safe.
    pub(crate) contents: Option<Contents>,
    /// The player's client, while it is still connected here.
    pub(crate) client: Option<ClientId>,
    /// Where that client, or one that comes late, can go; its token admits once.
    pub(crate) invitation: Option<Invitation>,
    pub(crate) redirect_at: Time,
}

/// What could be restored of an entity that was given away.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) session: Option<SessionId>,
    pub(crate) state: Assembled,
    /// The epoch that it was simulated under here, and the last tick.
    pub(crate) captured: Captured,
}
