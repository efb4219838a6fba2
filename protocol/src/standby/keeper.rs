//! The buddy's side: cuts of other nodes, collected in parts and applied all or none.
//!
//! Parts come in any order, doubled, late, or not at all. Nothing of a cut counts before all of it is here and fits what
//! is here already.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::id::{AuthorityEpoch, EntityId, Incarnation, Peer, SessionId};
use crate::limits::{CUTS_COLLECTED_MAX, NODES_MAX};
use crate::recovery::FencedLives;
use crate::snapshot::{Assembled, SnapshotArchive, SnapshotError};
use crate::time::Tick;
use crate::wire::{Captured, CopyHead, NewestCut};

/// What a copy weighs besides its snapshot, in bytes: for the account of memory.
const COPY_BYTES: usize = 512;

/// What the keeper makes of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Nothing to say: more is to come, or it came too late to matter.
    Silence,
    /// The cut is applied.
    Ack {
        /// Which.
        cut: u64,
    },
    /// The cut builds on what isn't here.
    Lack {
        /// Which.
        cut: u64,
    },
    /// There is no room for it: it is left out, and the sender will try again.
    Full,
    /// The sender broke the rules; the cut is given up.
    Misbehaved(&'static str),
}

/// What makes a cut complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CutEnd {
    /// The cut that it builds on; none if it is whole.
    pub base: Option<u64>,
    /// After which tick it was captured.
    pub tick: Tick,
    /// How many parts it has.
    pub parts: u32,
    /// Entities of earlier cuts that are no longer the sender's.
    pub gone: Vec<EntityId>,
    /// Entities that have ended at the sender, and at which epoch.
    pub ended: Vec<(EntityId, AuthorityEpoch)>,
}

/// A copy that could be restored from here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StandbyCopy {
    /// Whose it is.
    pub of: Peer,
    /// The newest cut of that node's that is here. All its copies are as of that cut.
    pub cut: u64,
    /// Which entity.
    pub entity: EntityId,
    /// Its session, if it is a player.
    pub session: Option<SessionId>,
    /// The epoch of the contents, and the tick of the cut.
    pub contents: Captured,
}

/// Standby copies of other nodes' entities, for each node in each of its lives. See the module's page.
#[derive(Debug)]
pub struct Keeper {
    sources: BTreeMap<Peer, Kept>,
    fenced: FencedLives,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Kept {
    /// The newest cut that is here, and its tick.
    applied: Option<(u64, Tick)>,
    copies: BTreeMap<EntityId, Copy>,
    /// What had ended by that cut.
    ended: Vec<(EntityId, AuthorityEpoch)>,
    collected: BTreeMap<u64, Collected>,
    /// What all of this weighs.
    bytes: usize,
}

#[derive(Debug)]
struct Copy {
    session: Option<SessionId>,
    epoch: AuthorityEpoch,
    state: Assembled,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Collected {
    parts: BTreeMap<u32, Vec<(CopyHead, SnapshotArchive)>>,
    end: Option<CutEnd>,
    bytes: usize,
}

/// Why a complete cut can't be applied.
enum Unfit {
    Lacks,
    Wrong(&'static str),
}

impl Keeper {
    /// Keeps nothing yet, and never more than `bytes_max` bytes.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self { sources: BTreeMap::new(), fenced: FencedLives::new(), bytes: 0, bytes_max }
    }

    /// What is kept and collected weighs so much, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Every copy that could be restored from here, in order of source and entity.
    pub fn copies(&self) -> impl Iterator<Item = StandbyCopy> + '_ {
        self.sources.iter().flat_map(|(&of, kept)| {
            let applied = kept.applied;
            kept.copies.iter().filter_map(move |(&entity, copy)| {
                let (cut, tick) = applied?;
                let contents = Captured { epoch: copy.epoch, tick };
                Some(StandbyCopy { of, cut, entity, session: copy.session, contents })
            })
        })
    }

    /// Every entity that had ended at a source by the newest cut of it that is here, and at which epoch.
    pub fn ended(&self) -> impl Iterator<Item = (EntityId, AuthorityEpoch)> + '_ {
        self.sources.values().flat_map(|kept| kept.ended.iter().copied())
    }

    /// The newest cut of each life that is kept here.
    pub fn cuts(&self) -> impl Iterator<Item = NewestCut> + '_ {
        self.sources.iter().filter_map(|(&of, kept)| {
            let (cut, tick) = kept.applied?;
            Some(NewestCut { of, cut, tick })
        })
    }

    /// The newest cut of a node's that is here.
    #[must_use]
    pub fn applied(&self, of: Peer) -> Option<u64> {
        self.sources.get(&of).and_then(|kept| kept.applied).map(|(cut, _)| cut)
    }

    /// The contents of a copy, for a restore. It stays until its source is dropped: a verdict may be repeated.
    #[must_use]
    pub fn take(&self, entity: EntityId, of: Peer) -> Option<Assembled> {
        self.sources.get(&of)?.copies.get(&entity).map(|copy| copy.state.clone())
    }

    /// From now on nothing of this life, nor of an earlier one, is taken any more. What is complete stays.
    pub fn fence(&mut self, life: Peer) {
        self.fenced.fence(life);
        let first = Peer { incarnation: Incarnation(0), ..life };
        for kept in self.sources.range_mut(first..=life).map(|(_, kept)| kept) {
            for collected in core::mem::take(&mut kept.collected).into_values() {
                kept.bytes -= collected.bytes;
                self.bytes -= collected.bytes;
            }
        }
    }

    /// Forgets everything of one life.
    pub fn drop_source(&mut self, of: Peer) {
        if let Some(kept) = self.sources.remove(&of) {
            self.bytes -= kept.bytes;
        }
    }

    /// Forgets what one life sent in cuts below `below`.
    pub fn drop_below(&mut self, of: Peer, below: u64) {
        let Some(kept) = self.sources.get_mut(&of) else {
            return;
        };
        self.bytes -= kept.bytes;
        if kept.applied.is_some_and(|(cut, _)| cut < below) {
            kept.applied = None;
            kept.copies.clear();
            kept.ended.clear();
        }
        kept.collected = kept.collected.split_off(&below);
        kept.weigh();
        self.bytes += kept.bytes;
        if kept.applied.is_none() && kept.collected.is_empty() {
            self.sources.remove(&of);
        }
    }

    /// A part of a cut: the snapshots of `copies` stand end to end in `blob`.
    pub fn on_part(&mut self, from: Peer, cut: u64, index: u32, copies: &[CopyHead], blob: &Bytes) -> Reply {
        if self.is_late(from, cut) {
            return Reply::Silence;
        }
        if let Some(end) = self.end_of(from, cut)
            && index >= end.parts
        {
            return self.give_up(from, cut, "sent a part of a checkpoint past its end");
        }
        let known = self.sources.get(&from).and_then(|kept| kept.collected.get(&cut));
        if known.is_some_and(|collected| collected.parts.contains_key(&index)) {
            return Reply::Silence;
        }
        let bytes = blob.len() + copies.len() * COPY_BYTES;
        if self.bytes + bytes > self.bytes_max {
            self.forget_cut(from, cut);
            return Reply::Full;
        }
        let part = match read_part(copies, blob) {
            Ok(part) => part,
            Err(what) => return self.give_up(from, cut, what),
        };
        let Some(collected) = self.collect(from, cut) else {
            return Reply::Full;
        };
        collected.parts.insert(index, part);
        collected.bytes += bytes;
        if let Some(kept) = self.sources.get_mut(&from) {
            kept.bytes += bytes;
        }
        self.bytes += bytes;
        self.apply_if_complete(from, cut)
    }

    /// What makes a cut complete.
    pub fn on_end(&mut self, from: Peer, cut: u64, end: CutEnd) -> Reply {
        if self.applied(from) == Some(cut) {
            return Reply::Ack { cut };
        }
        if self.is_late(from, cut) || self.end_of(from, cut).is_some() {
            return Reply::Silence;
        }
        if end.base.is_some_and(|base| base >= cut) {
            return self.give_up(from, cut, "sent a checkpoint that builds on a later one");
        }
        let Some(collected) = self.collect(from, cut) else {
            return Reply::Full;
        };
        if collected.parts.last_key_value().is_some_and(|(&last, _)| last >= end.parts) {
            return self.give_up(from, cut, "sent a part of a checkpoint past its end");
        }
        let bytes = end.gone.len() * size_of::<EntityId>() + ended_bytes(&end.ended);
        collected.end = Some(end);
        collected.bytes += bytes;
        if let Some(kept) = self.sources.get_mut(&from) {
            kept.bytes += bytes;
        }
        self.bytes += bytes;
        self.apply_if_complete(from, cut)
    }

    /// Whether nothing of this cut matters any more.
    fn is_late(&self, from: Peer, cut: u64) -> bool {
        self.fenced.is_fenced(from) || self.applied(from).is_some_and(|applied| cut <= applied)
    }

    fn end_of(&self, from: Peer, cut: u64) -> Option<&CutEnd> {
        self.sources.get(&from)?.collected.get(&cut)?.end.as_ref()
    }

    /// Where a cut is collected. Makes room for it among the source's others; none if there are too many sources.
    fn collect(&mut self, from: Peer, cut: u64) -> Option<&mut Collected> {
        if !self.sources.contains_key(&from) && self.sources.len() >= NODES_MAX {
            return None;
        }
        let kept = self.sources.entry(from).or_default();
        if !kept.collected.contains_key(&cut) && kept.collected.len() >= CUTS_COLLECTED_MAX {
            let oldest = *kept.collected.first_key_value()?.0;
            if oldest > cut {
                return None;
            }
            let given_up = kept.collected.remove(&oldest)?;
            kept.bytes -= given_up.bytes;
            self.bytes -= given_up.bytes;
        }
        Some(kept.collected.entry(cut).or_default())
    }

    fn give_up(&mut self, from: Peer, cut: u64, what: &'static str) -> Reply {
        self.forget_cut(from, cut);
        Reply::Misbehaved(what)
    }

    fn forget_cut(&mut self, from: Peer, cut: u64) {
        if let Some(kept) = self.sources.get_mut(&from)
            && let Some(collected) = kept.collected.remove(&cut)
        {
            kept.bytes -= collected.bytes;
            self.bytes -= collected.bytes;
        }
    }

    fn apply_if_complete(&mut self, from: Peer, cut: u64) -> Reply {
        let Some(kept) = self.sources.get_mut(&from) else {
            return Reply::Silence;
        };
        let Some(collected) = kept.collected.get(&cut) else {
            return Reply::Silence;
        };
        let Some(end) = collected.end.as_ref().filter(|end| end.parts as usize == collected.parts.len())
        else {
            return Reply::Silence;
        };
        let fresh = match kept.assemble(end.base, collected) {
            Ok(fresh) => fresh,
            Err(Unfit::Lacks) => {
                self.forget_cut(from, cut);
                return Reply::Lack { cut };
            }
            Err(Unfit::Wrong(what)) => return self.give_up(from, cut, what),
        };
        self.bytes -= kept.bytes;
        kept.apply(cut, fresh);
        self.bytes += kept.bytes;
        Reply::Ack { cut }
    }
}

impl Kept {
    /// The new state of every entity in the cut. Changes nothing.
    fn assemble(&self, base: Option<u64>, collected: &Collected) -> Result<BTreeMap<EntityId, Copy>, Unfit> {
        if let Some(base) = base
            && self.applied.is_none_or(|(applied, _)| applied < base)
        {
            return Err(Unfit::Lacks);
        }
        let mut fresh = BTreeMap::new();
        for (head, archive) in collected.parts.values().flatten() {
            let known = self.copies.get(&head.entity).filter(|known| known.epoch == head.epoch);
            let mut state = match (base, known) {
                (Some(_), Some(known)) => known.state.clone(),
                (Some(_) | None, _) => Assembled::new(),
            };
            match state.apply(archive.clone()) {
                Ok(()) => {}
                Err(SnapshotError::MissingComponent { .. }) if base.is_some() => return Err(Unfit::Lacks),
                Err(_) => {
                    return Err(Unfit::Wrong("sent a checkpoint whose snapshots can't be put together"));
                }
            }
            let bytes = state.retained_bytes() + archive.bytes().len() + COPY_BYTES;
            let copy = Copy { session: head.session, epoch: head.epoch, state, bytes };
            if fresh.insert(head.entity, copy).is_some() {
                return Err(Unfit::Wrong("sent an entity twice in one checkpoint"));
            }
        }
        Ok(fresh)
    }

    fn apply(&mut self, cut: u64, fresh: BTreeMap<EntityId, Copy>) {
        let Some(CutEnd { base, tick, gone, ended, .. }) =
            self.collected.remove(&cut).and_then(|collected| collected.end)
        else {
            return;
        };
        if base.is_none() {
            self.copies.clear();
        }
        for entity in gone {
            self.copies.remove(&entity);
        }
        self.copies.extend(fresh);
        self.ended = ended;
        self.applied = Some((cut, tick));
        self.collected = self.collected.split_off(&cut);
        self.weigh();
    }

    fn weigh(&mut self) {
        let copies: usize = self.copies.values().map(|copy| copy.bytes).sum();
        let collected: usize = self.collected.values().map(|collected| collected.bytes).sum();
        self.bytes = copies + ended_bytes(&self.ended) + collected;
    }
}

const fn ended_bytes(ended: &[(EntityId, AuthorityEpoch)]) -> usize {
    size_of_val(ended)
}

/// Checks every snapshot of a part.
fn read_part(copies: &[CopyHead], blob: &Bytes) -> Result<Vec<(CopyHead, SnapshotArchive)>, &'static str> {
    const MISFIT: &str = "sent a part of a checkpoint whose lengths don't add up";
    let claimed = copies.iter().map(|head| u64::from(head.bytes)).sum::<u64>();
    if claimed != blob.len() as u64 {
        return Err(MISFIT);
    }
    let mut part = Vec::with_capacity(copies.len());
    let mut at = 0;
    for head in copies {
        let range = at..at + head.bytes as usize;
        at = range.end;
        // A slice would keep the whole part in memory as long as one of its entities.
        let bytes = if copies.len() == 1 { blob.clone() } else { Bytes::copy_from_slice(&blob[range]) };
        let archive =
            SnapshotArchive::validate(bytes).map_err(|_| "sent an invalid snapshot in a checkpoint")?;
        if archive.head().entity != head.entity || archive.head().session != head.session {
            return Err("sent a checkpoint with another entity's snapshot");
        }
        part.push((*head, archive));
    }
    Ok(part)
}
