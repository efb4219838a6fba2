//! The source's cutover: freeze, transfer, and the target's word. Steps 7 to 9 of a crossing.

use core::time::Duration;

use super::actions::Acting;
use super::{GameCommand, Node, NodeEvent, Published, TimerKey};
use crate::handoff::Path;
use crate::handoff::source::{Stage, Transferring};
use crate::handoff::tombstone::{Contents, Tombstone};
use crate::id::{AuthorityEpoch, EntityId, HandoffId, Peer, ReservationId};
use crate::limits::{HOPS_MAX, TOMBSTONES_MAX};
use crate::snapshot::{CapturedSnapshot, SnapshotArchive};
use crate::time::{Tick, Time};
use crate::token::Token;
use crate::wire::{ByeReason, Captured, InputMessage, Lane, Message, RefuseReason, ServerMessage, Setback};

/// Pause between repeats of a `Redirect`, and between looks at a tombstone that must stay.
const REDIRECT_REPEAT: Duration = Duration::from_millis(200);

/// What the game side reports when it froze an entity.
#[derive(Debug)]
pub(super) struct Freeze {
    pub(super) last: Published,
    pub(super) target: Peer,
    pub(super) reservation: ReservationId,
    pub(super) snapshot: CapturedSnapshot,
    pub(super) tick: Tick,
    pub(super) frozen_at: Time,
}

impl Node {
    /// Step 7: the game froze the entity at the border. Sends it.
    pub(super) fn on_frozen(&mut self, freeze: Freeze, now: Time) {
        let Freeze { last, target, reservation, snapshot, tick, frozen_at } = freeze;
        let Published { entity, grant, motion, look, applied, own } = last;
        if !self.authority.holds(entity, grant) {
            // The game shows what it froze as a ghost by now, where it last took it to be.
            self.ghosts.set_right(entity);
            return;
        }
        let Some(held) = self.held.get_mut(&entity) else {
            return;
        };
        let kept = SnapshotArchive::validate(snapshot.bytes.clone())
            .and_then(|archive| held.source.captured.apply(archive));
        held.inputs.rewind(applied);
        // Built anew where the entity goes on, here or there.
        held.acting = Acting::default();
        // The tick that it was frozen after is shown: without it neighbours would see a gap.
        (held.motion, held.look, held.own) = (motion, look, own);
        (held.last_tick, held.published) = (tick, Some((tick, grant)));
        let candidate = held.source.candidate(reservation).filter(|candidate| candidate.target == target);
        let ready = match candidate.map(|candidate| &candidate.stage) {
            Some(Stage::Prepared(prepared)) if kept.is_ok() => {
                Some((prepared.steps, prepared.have.is_some()))
            }
            Some(_) | None => None,
        };
        let Some((steps, warm)) = ready else {
            // The preparation fell through while the game froze: nothing was sent, so nothing is burned.
            self.restore_here(entity, grant);
            return;
        };
        let pending = held.inputs.pending();
        let Some(id) = self.authority.freeze(entity, grant, target) else {
            return;
        };
        let transfer = Transferring {
            id,
            to: target,
            reservation,
            path: if warm { Path::Warm } else { Path::Cold },
            frozen_at,
            steps,
            repeat_at: now + self.setup.config.transfer_retry,
            grant,
            last_tick: tick,
            applied,
            snapshot: snapshot.bytes,
            pending,
        };
        self.send_transfer(&transfer);
        let client = self.held.get_mut(&entity).and_then(|held| {
            held.source.transferring = Some(transfer);
            held.client
        });
        // Now: it may be another node's before this tick's frame is done.
        if let Some(client) = client {
            self.tell_state(client, entity, grant, tick);
        }
        self.schedule_source(entity);
    }

    fn send_transfer(&mut self, transfer: &Transferring) {
        let message = Message::Transfer {
            id: transfer.id,
            reservation: transfer.reservation,
            last_tick: transfer.last_tick,
            pending: transfer.pending.clone(),
            asked_at: self.clock.mesh_time(transfer.steps.asked_at),
        };
        self.send_with(transfer.to.node, Lane::Cutover, message, transfer.snapshot.clone());
    }

    /// Lets the game go on with an entity that it froze.
    pub(super) fn restore_here(&mut self, entity: EntityId, grant: AuthorityEpoch) {
        let Some(held) = self.held.get(&entity) else {
            return;
        };
        let snapshot = held.source.captured.clone();
        let leaving = held.leaving;
        let first_tick = held.last_tick.next();
        self.command(GameCommand::Restore { entity, grant, snapshot, first_tick });
        self.deliver_inputs(entity);
        self.arm(entity);
        if let Some(why) = leaving {
            self.command(GameCommand::Leave { entity, grant, why });
        }
    }

    /// No answer: asks again, and after a while asks to cancel. No silence ever thaws.
    pub(super) fn repeat_transfer(&mut self, entity: EntityId, now: Time) {
        let (retry, patience) = (self.setup.config.transfer_retry, self.setup.config.transfer_patience);
        let Some(held) = self.held.get_mut(&entity) else {
            return;
        };
        let Some(mut transfer) = held.source.transferring.take_if(|transfer| transfer.repeat_at <= now)
        else {
            return;
        };
        transfer.repeat_at = now + retry;
        if now.since(transfer.frozen_at) < patience {
            self.send_transfer(&transfer);
        } else {
            self.send(transfer.to.node, Lane::Cutover, Message::Cancel { id: transfer.id });
        }
        #[cfg(feature = "planted-bugs")]
        let silent = now.since(transfer.frozen_at) >= patience;
        #[cfg(feature = "planted-bugs")]
        let (id, to) = (transfer.id, transfer.to);
        if let Some(held) = self.held.get_mut(&entity) {
            held.source.transferring = Some(transfer);
        }
        #[cfg(feature = "planted-bugs")]
        if silent && self.setup.config.has_bug(crate::config::PlantedBug::ThawOnTimeout) {
            self.on_not_taken(to, id, None, now);
        }
    }

    /// Step 8b: the target will never hold the entity at this id. The source goes on, at that very epoch.
    pub(super) fn on_not_taken(
        &mut self,
        peer: Peer,
        id: HandoffId,
        reason: Option<RefuseReason>,
        now: Time,
    ) {
        if !self.authority.thaw(id, peer) {
            return;
        }
        let backoff = self.setup.config.backoff;
        let Some(held) = self.held.get_mut(&id.entity) else {
            return;
        };
        let mut source = core::mem::take(&mut held.source);
        let Some(transfer) = source.transferring.take() else {
            return;
        };
        held.inputs.rewind(transfer.applied);
        let after = reason.map_or(Setback::Cancelled, Setback::TransferRefused);
        source.back_off(peer.node, after, backoff, now);
        self.cancel_candidates(&source, None);
        source.candidates.clear();
        let Some(held) = self.held.get_mut(&id.entity) else {
            return;
        };
        held.source = source;
        self.restore_here(id.entity, id.epoch);
        self.schedule_source(id.entity);
        self.record_thaw(id, transfer.last_tick, now);
        self.event(NodeEvent::Aborted { id, reason });
    }

    /// Step 8: the target holds the entity. What stays here is a tombstone.
    pub(super) fn on_accepted(&mut self, peer: Peer, id: HandoffId, token: Option<Token>, now: Time) {
        if !self.authority.gave_away(id, peer) {
            return;
        }
        let Some(mut held) = self.held.remove(&id.entity) else {
            return;
        };
        let Some(transfer) = held.source.transferring.take() else {
            return;
        };
        self.timers.cancel(TimerKey::Source(id.entity));
        self.timers.cancel(TimerKey::Linger(id.entity));
        self.cancel_candidates(&held.source, Some(transfer.reservation));
        let cutover = now.since(transfer.frozen_at);
        self.event(NodeEvent::HandedOver {
            id,
            to: peer,
            player: held.session.is_some(),
            path: transfer.path,
            cutover,
            prepare: transfer.steps.prepare(),
            answer: transfer.steps.answer(),
            precopy: transfer.steps.precopy(),
        });
        let sent = transfer.pending.last().map_or(transfer.applied, |input| input.seq);
        let late: Vec<InputMessage> =
            held.inputs.pending().into_iter().filter(|input| input.seq > sent).collect();
        if !late.is_empty() {
            self.relay(peer, id.entity, 0, late);
        }
        self.record_gift(id, peer, transfer.phases(cutover), held.session, transfer.last_tick, now);
        self.adopt_ghost(id.entity, &held, id.epoch);
        let invitation = token.and_then(|token| self.invitation(peer, token));
        if let Some(client) = held.client {
            self.clients.insert(client, super::ClientState::Following(id.entity));
        }
        self.bound_tombstones(now);
        let contents = Contents {
            session: held.session,
            state: held.source.captured,
            captured: Captured { epoch: transfer.grant, tick: transfer.last_tick },
        };
        let tombstone = Tombstone {
            id,
            to: peer,
            forward_until: now + self.setup.config.forward_for,
            acknowledged: false,
            contents: Some(contents),
            client: held.client,
            invitation,
            redirect_at: now,
        };
        self.tombstones.insert(id.entity, tombstone);
        self.on_tombstone_due(id.entity, now);
    }

    /// Passes late inputs on to whoever holds the entity now.
    pub(super) fn relay(&mut self, to: Peer, entity: EntityId, hops: u8, inputs: Vec<InputMessage>) {
        if hops < HOPS_MAX {
            self.send(to.node, Lane::Action, Message::RelayInputs { entity, hops, inputs });
        }
    }

    /// Step 9, and what becomes of a tombstone: the client is redirected until it has gone, then it may be forgotten.
    pub(super) fn on_tombstone_due(&mut self, entity: EntityId, now: Time) {
        let recovering = self.is_recovering();
        let Some(tombstone) = self.tombstones.get_mut(&entity) else {
            return;
        };
        if now >= tombstone.forward_until {
            let client = tombstone.client.take();
            if tombstone.acknowledged && tombstone.contents.is_none() && !recovering {
                self.tombstones.remove(&entity);
            } else {
                self.timers.set(TimerKey::Tombstone(entity), now + REDIRECT_REPEAT * 5);
            }
            if let Some(client) = client {
                self.dismiss(client, ByeReason::Moved);
            }
            return;
        }
        let mut due = tombstone.forward_until;
        let mut redirect = None;
        if let (Some(client), Some(invitation)) = (tombstone.client, &tombstone.invitation) {
            if tombstone.redirect_at <= now {
                tombstone.redirect_at = now + REDIRECT_REPEAT;
                let message =
                    ServerMessage::Redirect { epoch: tombstone.id.epoch, invitation: invitation.clone() };
                redirect = Some((client, message));
            }
            due = due.min(tombstone.redirect_at);
        }
        self.timers.set(TimerKey::Tombstone(entity), due);
        if let Some((client, message)) = redirect {
            self.tell_client(client, message);
        }
    }

    fn bound_tombstones(&mut self, now: Time) {
        if self.tombstones.len() < TOMBSTONES_MAX {
            return;
        }
        let over = |tombstone: &Tombstone| tombstone.forward_until <= now;
        let settled = |tombstone: &Tombstone| over(tombstone) && tombstone.contents.is_none();
        let all = || self.tombstones.iter();
        let over = all().find(|(_, known)| settled(known)).or_else(|| all().find(|(_, known)| over(known)));
        if let Some(entity) = over.map(|(&entity, _)| entity) {
            self.remove_tombstone(entity);
        }
    }

    /// Forgets a tombstone; returns the client that was still connected to it.
    pub(super) fn remove_tombstone(&mut self, entity: EntityId) -> Option<crate::id::ClientId> {
        self.timers.cancel(TimerKey::Tombstone(entity));
        self.tombstones.remove(&entity).and_then(|tombstone| tombstone.client)
    }
}
