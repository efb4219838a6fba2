//! Checkpoints that a node streams to its buddy.

use rkyv::{Archive, Deserialize, Serialize};

use crate::id::{AuthorityEpoch, EntityId, HandoffId, SessionId};
use crate::time::Tick;

/// What is said about standby copies. A checkpoint is a cut: every changed entity of the node at one tick, applied by
/// the buddy all or none.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub enum StandbyMessage {
    /// Node -> buddy: one entity of a cut. Blob: a snapshot, whole or of what changed since the last acknowledged cut.
    Part {
        /// Which cut, counted by the node.
        cut: u64,
        /// Which part of it, from 0.
        index: u32,
        /// Which entity.
        entity: EntityId,
        /// Its session, if it is a player.
        session: Option<SessionId>,
        /// The epoch that it is held at.
        epoch: AuthorityEpoch,
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
        /// Entities of earlier cuts that the node no longer holds.
        gone: Vec<EntityId>,
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
    /// Node -> former buddy: forget my copies.
    Drop,
    /// Target -> source of a handoff: the entity is in a checkpoint of mine that is safe.
    Settled {
        /// Which handoff.
        id: HandoffId,
    },
}
