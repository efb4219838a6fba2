//! Checkpoints that a node streams to its buddy, and when the source of a handoff may forget what it gave away.

use rkyv::{Archive, Deserialize, Serialize};

use crate::id::{AuthorityEpoch, EntityId, HandoffId, SessionId};
use crate::time::Tick;

/// One entity's place in a part of a cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub struct CopyHead {
    /// Which entity.
    pub entity: EntityId,
    /// Its session, if it is a player.
    pub session: Option<SessionId>,
    /// The epoch of the contents.
    pub epoch: AuthorityEpoch,
    /// How many bytes of the part's blob are its snapshot.
    pub bytes: u32,
}

/// What is said about standby copies. A checkpoint is a cut: every changed entity of the node at one tick, applied by
/// the buddy all or none.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub enum StandbyMessage {
    /// Node -> buddy: some entities of a cut. Blob: their snapshots end to end, each whole or of what changed since the
    /// cut that this one builds on. A snapshot of another epoch than the one kept is whole.
    Part {
        /// Which cut, counted by the node over all its buddies.
        cut: u64,
        /// Which part of it, from 0.
        index: u32,
        /// Whose snapshots, in the order of the blob.
        copies: Vec<CopyHead>,
    },
    /// Node -> buddy: what makes the cut complete.
    End {
        /// Which cut.
        cut: u64,
        /// The cut that it builds on; none if it is whole.
        base: Option<u64>,
        /// After which tick it was captured.
        tick: Tick,
        /// How many parts it has.
        parts: u32,
        /// Entities of earlier cuts that are no longer the node's.
        gone: Vec<EntityId>,
        /// Entities that have ended at the node, and at which epoch, for as long as others may have older copies of them:
        /// those must not come back.
        ended: Vec<(EntityId, AuthorityEpoch)>,
    },
    /// Buddy -> node: the cut is applied.
    Ack {
        /// Which cut.
        cut: u64,
    },
    /// Buddy -> node: the cut builds on one that is not here. Send a whole one.
    Lack {
        /// Which cut.
        cut: u64,
    },
    /// Node -> former buddy: forget my copies. Repeated until it is answered.
    Drop {
        /// Only those of cuts below this one.
        below: u64,
    },
    /// Former buddy -> node: they are forgotten.
    Dropped {
        /// As it was asked.
        below: u64,
    },
    /// Target -> source of handoffs: each entity is in a checkpoint of mine that is safe. Repeated until it is answered.
    Settled {
        /// Which handoffs.
        ids: Vec<HandoffId>,
    },
    /// Source -> target: what I gave away in these is forgotten here, by my buddy, and where I had it from.
    Forgotten {
        /// Which handoffs.
        ids: Vec<HandoffId>,
    },
}
