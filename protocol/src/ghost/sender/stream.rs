//! The ordered, reliable stream of a link: what appears and what vanishes.

use super::super::delta::Delta;
use super::super::interest::Sight;
use super::super::quantize::Sample;
use super::super::scene::{Actor, Scene};
use super::super::state::Changes;
use super::super::wire::{self, Appear, LANE_IDS, NET_IDS_MAX, VanishReason};
use super::slot::{Sent, Slot};
use super::{GhostSender, Lane, NOT_SHOWN};
use crate::limits::GHOSTS_UNCONFIRMED_MAX;

/// A piece of the stream is cut at this length, in bytes.
const STREAM_BYTES_USUAL: usize = 16 * 1024;
/// What a ghost's appearing takes in the stream, in bytes, with the state at its longest: more than it usually does.
const APPEAR_BYTES_USUAL: usize = 64;

impl GhostSender {
    /// Makes what is no longer in sight vanish.
    pub(super) fn vanish_unseen(&mut self, scene: &Scene, tick: u64) {
        for (net, entry) in (0..).zip(&mut self.slots) {
            let Some(slot) = entry.as_ref().filter(|slot| slot.in_sight != tick) else {
                continue;
            };
            let actor = scene.actor(slot.place).filter(|actor| actor.life == slot.life);
            let (why, epoch) = match (actor, scene.departure(slot.entity)) {
                // It is somebody else's: this node shows it as its ghost.
                (Some(actor), _) if !actor.subject.owned => (VanishReason::HandedOver, slot.epoch),
                (Some(_), _) | (None, None) => (VanishReason::OutOfSight, slot.epoch),
                (None, Some(departure)) => (departure.why, departure.epoch.max(slot.epoch)),
            };
            wire::put_vanish(&mut self.stream, net, epoch, why);
            self.records += 1;
            self.vanishing.push_back((self.records, net));
            if let Some(shown_as) = self.shown_as.get_mut(slot.place as usize).filter(|as_| **as_ == net) {
                *shown_as = NOT_SHOWN;
            }
            *entry = None;
            self.free.insert(net);
            if let Some(lane) = self.lanes.get_mut((net / LANE_IDS) as usize) {
                lane.used -= 1;
            }
        }
    }

    /// Makes what came into sight appear, the nearest first, as far as its part of the budget goes. Returns the bytes of
    /// the stream.
    pub(super) fn appear(&mut self, scene: &Scene, mut coming: Vec<Sight>, tick: u64) -> usize {
        let room = self.settings.budget_bytes.saturating_mul(self.settings.appear_percent) / 100;
        if coming.len() * APPEAR_BYTES_USUAL > room {
            coming.sort_by(|a, b| a.distance_m.total_cmp(&b.distance_m));
        }
        let mut bytes = 0;
        for (nth, sight) in coming.iter().enumerate() {
            // One at least, however small the budget.
            let room_is_used = nth > 0 && bytes + self.stream.len() >= room;
            if room_is_used || self.unconfirmed.len() >= GHOSTS_UNCONFIRMED_MAX {
                break;
            }
            let Some(actor) = scene.actor(sight.place) else {
                continue;
            };
            let Some(net) = self.net_id() else {
                break;
            };
            self.put_appear(actor, sight, net, tick);
            if self.stream.len() >= STREAM_BYTES_USUAL {
                bytes += self.flush_stream();
            }
        }
        bytes + self.flush_stream()
    }

    fn net_id(&mut self) -> Option<u32> {
        if let Some(net) = self.free.pop_first() {
            return Some(net);
        }
        let net = u32::try_from(self.slots.len()).ok().filter(|net| *net < NET_IDS_MAX)?;
        self.slots.push(None);
        if self.lanes.len() <= (net / LANE_IDS) as usize {
            self.lanes.push(Lane::default());
        }
        Some(net)
    }

    fn put_appear(&mut self, actor: &Actor, sight: &Sight, net: u32, tick: u64) {
        self.usages = self.usages.wrapping_add(1);
        let delta = Delta::between(&Sample::default(), &actor.sample, 0, 0.0);
        // The receiver has what the delta makes of it, not what was.
        let shown = delta.onto(&Sample::default()).unwrap_or(actor.sample);
        let sent = Sent { tick, sample: shown };
        let slot = Slot::new(actor, sight, self.usages, sent);
        let appear = Appear {
            net,
            entity: slot.entity,
            epoch: slot.epoch,
            class: actor.subject.class,
            since: self.flight.next_seq(),
            tick,
            delta,
            state: Changes::default(),
        };
        wire::put_appear(&mut self.stream, &appear);
        actor.subject.state.put_changes(&mut self.stream, actor.subject.state.mask());
        self.records += 1;
        self.unconfirmed.push_back((self.records, net, slot.usage));
        if let Some(lane) = self.lanes.get_mut((net / LANE_IDS) as usize) {
            lane.used += 1;
        }
        if let Some(shown_as) = self.shown_as.get_mut(sight.place as usize) {
            *shown_as = net;
        }
        if let Some(entry) = self.slots.get_mut(net as usize) {
            *entry = Some(slot);
        }
    }

    /// Cuts the stream here; returns the bytes of the piece.
    fn flush_stream(&mut self) -> usize {
        if self.stream.is_empty() {
            return 0;
        }
        let head = wire::stream_head_len(self.session, self.pieces);
        let mut piece = Vec::with_capacity(head + self.stream.len());
        wire::put_stream_head(&mut piece, self.session, self.pieces);
        self.pieces = self.pieces.wrapping_add(1);
        piece.append(&mut self.stream);
        let bytes = piece.len();
        self.stats.stream_bytes += bytes as u64;
        self.out_stream.push_back(piece.into());
        bytes
    }
}
