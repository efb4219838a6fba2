//! One cut on its way: what it holds, cut into parts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::id::{AuthorityEpoch, EntityId, HandoffId, InputSeq, SessionId};
use crate::limits::{COPIES_PER_PART_MAX, PART_BYTES_USUAL};
use crate::snapshot::{CapturedSnapshot, ComponentVersions};
use crate::time::{Tick, Time};
use crate::wire::CopyHead;

/// One entity of a cut.
#[derive(Clone, Debug)]
pub struct CutCopy {
    /// Which entity.
    pub entity: EntityId,
    /// Its session, if it is a player.
    pub session: Option<SessionId>,
    /// The epoch of the contents.
    pub epoch: AuthorityEpoch,
    /// The last input in them.
    pub applied: InputSeq,
    /// What the buddy doesn't have of it. None: it could not be captured, and the buddy's copy stays as it is.
    pub snapshot: Option<CapturedSnapshot>,
}

/// An entity that an acknowledged cut holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Covered {
    /// Which entity.
    pub entity: EntityId,
    /// The epoch of the contents.
    pub epoch: AuthorityEpoch,
    /// The last input in them.
    pub applied: InputSeq,
    /// Whether it is the first cut at this buddy that holds it at this epoch.
    pub first: bool,
}

/// What the buddy has of an entity.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) epoch: AuthorityEpoch,
    pub(super) versions: Arc<ComponentVersions>,
    /// As it was sent: the same again needs no sending.
    pub(super) frame: Bytes,
}

/// A captured cut, until it is acknowledged or lost.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) cut: u64,
    pub(super) tick: Tick,
    pub(super) began_at: Time,
    /// What is sent in it.
    pub(super) fresh: BTreeMap<EntityId, Known>,
    pub(super) gone: Vec<EntityId>,
    pub(super) ended: Vec<(EntityId, AuthorityEpoch)>,
    /// Everything that it holds, sent or unchanged.
    pub(super) covered: Vec<Covered>,
    /// Handoffs that are settled once it is safe.
    pub(super) settles: Vec<HandoffId>,
    pub(super) parts: Parts,
}

/// The parts of a cut that are still to be sent.
#[derive(Debug, Default)]
pub(super) struct Parts {
    ready: VecDeque<(Vec<CopyHead>, Bytes)>,
    heads: Vec<CopyHead>,
    blob: BytesMut,
    /// How many there are, sent ones included.
    pub(super) count: u32,
    sent: u32,
    pub(super) bytes: u64,
}

impl Parts {
    /// Adds a snapshot. One that fills a part by itself isn't copied.
    pub(super) fn push(&mut self, copy: &CutCopy, snapshot: &Bytes) {
        let bytes = u32::try_from(snapshot.len()).unwrap_or(u32::MAX);
        let head = CopyHead { entity: copy.entity, session: copy.session, epoch: copy.epoch, bytes };
        self.bytes += u64::from(bytes);
        if snapshot.len() >= PART_BYTES_USUAL {
            self.count += 1;
            self.ready.push_back((vec![head], snapshot.clone()));
            return;
        }
        if self.blob.len() + snapshot.len() > PART_BYTES_USUAL || self.heads.len() == COPIES_PER_PART_MAX {
            self.close();
        }
        self.heads.push(head);
        self.blob.extend_from_slice(snapshot);
    }

    /// No more snapshots come.
    pub(super) fn close(&mut self) {
        if !self.heads.is_empty() {
            self.count += 1;
            self.ready.push_back((core::mem::take(&mut self.heads), self.blob.split().freeze()));
        }
    }

    /// The next part: its number, whose snapshots, and they.
    pub(super) fn next(&mut self) -> Option<(u32, Vec<CopyHead>, Bytes)> {
        let (copies, blob) = self.ready.pop_front()?;
        let index = self.sent;
        self.sent += 1;
        Some((index, copies, blob))
    }
}
