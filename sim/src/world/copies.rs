//! What the checks are told of standby copies: read off the messages between nodes, not asked of the machines.

use std::collections::BTreeMap;

use bytes::Bytes;
use selvedge_protocol::id::{AuthorityEpoch, EntityId, Peer};
use selvedge_protocol::snapshot::SnapshotArchive;
use selvedge_protocol::time::Tick;
use selvedge_protocol::wire::{
    Captured, ClaimKind, CopyHead, Message, Order, RecoveryMessage, StandbyMessage,
};

use super::World;
use crate::invariant::{CopiedRide, Fact, SentCopy};

/// Cuts of one life of a node that are remembered.
const CUTS_KEPT: usize = 64;

/// One cut, as it was sent.
#[derive(Debug, Default)]
struct Cut {
    copies: Vec<SentCopy>,
    /// None until it was sent to its end.
    tick: Option<Tick>,
    gone: Vec<EntityId>,
}

/// What everything rides on that a keeper has, once it has a cut and all that the cut builds on.
type Rides = BTreeMap<EntityId, Option<EntityId>>;

/// Every cut that was sent lately, and what recoveries are to restore.
#[derive(Debug, Default)]
pub(super) struct Copies {
    sent: BTreeMap<Peer, BTreeMap<u64, Cut>>,
    rides: BTreeMap<Peer, BTreeMap<u64, Rides>>,
    ordered: BTreeMap<(EntityId, AuthorityEpoch), (ClaimKind, Captured)>,
}

impl Copies {
    fn cut(&mut self, of: Peer, cut: u64) -> &mut Cut {
        let cuts = self.sent.entry(of).or_default();
        while cuts.len() > CUTS_KEPT {
            cuts.pop_first();
        }
        cuts.entry(cut).or_default()
    }

    /// A node sends something about a cut.
    fn on_sent(&mut self, from: Peer, said: &StandbyMessage, blob: &Bytes) {
        if let StandbyMessage::Part { cut, copies, .. } = said {
            let known = &mut self.cut(from, *cut).copies;
            let mut at = 0;
            for copy in copies {
                let range = at..(at + copy.bytes as usize).min(blob.len());
                at = range.end;
                if !known.iter().any(|known| known.entity == copy.entity) {
                    known.push(sent_copy(copy, &blob.slice(range)));
                }
            }
        } else if let StandbyMessage::End { cut, base, tick, gone, .. } = said {
            let held = self.cut(from, *cut);
            (held.tick, held.gone) = (Some(*tick), gone.clone());
            self.note_rides(from, *cut, *base);
        }
    }

    /// The end of a cut is sent after its parts: what its keeper will have is known from here on.
    fn note_rides(&mut self, of: Peer, cut: u64, base: Option<u64>) {
        let rides = self.rides.entry(of).or_default();
        let known = match base {
            // What it builds on is long past: nobody can say what is kept.
            Some(base) if !rides.contains_key(&base) => return,
            Some(base) => rides.get(&base).cloned().unwrap_or_default(),
            None => Rides::new(),
        };
        let Some(Cut { copies, gone, .. }) = self.sent.get(&of).and_then(|cuts| cuts.get(&cut)) else {
            return;
        };
        let mut known = known;
        known.retain(|entity, _| !gone.contains(entity));
        known.extend(copies.iter().map(|copy| (copy.entity, copy.attached_to)));
        rides.insert(cut, known);
        while rides.len() > CUTS_KEPT {
            rides.pop_first();
        }
    }

    /// What an entity rides on by the copy that is to be restored; none if it comes from no cut.
    fn copied_ride(&self, entity: EntityId, kind: ClaimKind) -> Option<CopiedRide> {
        let ClaimKind::Standby { of, cut } = kind else {
            return None;
        };
        let to = *self.rides.get(&of)?.get(&cut)?.get(&entity)?;
        Some(CopiedRide { of, cut, to })
    }

    /// What a keeper has confirmed: it has this cut, and what it builds on was confirmed before.
    fn confirmed(&mut self, of: Peer, cut: u64) -> Option<(Tick, Cut)> {
        let cut = self.sent.get_mut(&of)?.remove(&cut)?;
        Some((cut.tick?, cut))
    }
}

/// The inputs, and what it rides on, are read out of the snapshot itself.
fn sent_copy(head: &CopyHead, snapshot: &Bytes) -> SentCopy {
    let archive = SnapshotArchive::validate(Bytes::copy_from_slice(snapshot)).ok();
    let contents = archive.as_ref().map(SnapshotArchive::head);
    let inputs = head.session.zip(contents.map(|contents| contents.last_input.0));
    let attached_to = contents.and_then(|contents| contents.attached_to);
    SentCopy { entity: head.entity, epoch: head.epoch, inputs, attached_to }
}

impl World {
    /// Follows what is sent about copies.
    pub(super) fn note_copies_sent(&mut self, node: usize, message: &Message, blob: &Bytes) {
        if let (Message::Standby(said), Some(me)) = (message, self.nodes[node].me()) {
            self.copies.on_sent(me, said, blob);
        }
    }

    /// Follows what arrives about copies. A keeper whose life has ended since has nothing any more.
    pub(super) fn note_copies_arrived(
        &mut self,
        (from, sender): (usize, Option<Peer>),
        node: usize,
        message: &Message,
    ) {
        if let (Message::Standby(StandbyMessage::Ack { cut }), Some(me)) = (message, self.nodes[node].me())
            && let Some((tick, Cut { copies, gone, .. })) = self.copies.confirmed(me, *cut)
        {
            let keeper = &self.nodes[from];
            let keeps = keeper.alive && keeper.me().is_some() && keeper.me() == sender;
            self.stats.cuts_confirmed += u64::from(keeps);
            let keeper = keeps.then_some(from);
            self.facts.push(Fact::CutSafe { node, keeper, tick, copies, gone });
        }
    }

    /// Follows what a recovery is to restore.
    pub(super) fn note_orders(&mut self, message: &Message) {
        if let Message::Recovery(RecoveryMessage::Verdict { orders, .. }) = message {
            for order in orders {
                if let Order::Restore { entity, epoch, kind, contents } = order {
                    self.copies.ordered.insert((*entity, *epoch), (*kind, *contents));
                }
            }
        }
    }

    /// A node has carried an order out. A verdict may come again later: then nothing is done.
    pub(super) fn note_recovered(&mut self, entity: EntityId, epoch: AuthorityEpoch) {
        if let Some((kind, contents)) = self.copies.ordered.remove(&(entity, epoch)) {
            let ride = self.copies.copied_ride(entity, kind);
            self.stats.rides_restored += u64::from(ride.is_some_and(|ride| ride.to.is_some()));
            self.facts.push(Fact::Restored { entity, contents, ride });
        }
    }
}
