//! The source's cutover: freeze, transfer, and the target's word. Steps 7 to 9 of a crossing.

use core::time::Duration;

use super::actions::Acting;
use super::{FrozenEntity, GameCommand, Node, NodeEvent, Published, TimerKey};
use crate::handoff::Path;
use crate::handoff::source::{Stage, Steps, Transferring};
use crate::handoff::tombstone::{Contents, Tombstone};
use crate::id::{AuthorityEpoch, EntityId, HandoffId, Peer};
use crate::limits::{BLOB_BYTES_MAX, HOPS_MAX, TOMBSTONES_MAX};
use crate::snapshot::SnapshotArchive;
use crate::time::{Tick, Time};
use crate::token::Token;
use crate::wire::{
    ByeReason, Captured, InputMessage, Lane, MemberTransfer, Message, RefuseReason, ServerMessage, Setback,
};

/// Pause between repeats of a `Redirect`, and between looks at a tombstone that must stay.
const REDIRECT_REPEAT: Duration = Duration::from_millis(200);

/// What the game side reports when it froze an entity, with its group.
#[derive(Debug)]
pub(super) struct Freeze {
    pub(super) target: Peer,
    /// Who leads it first.
    pub(super) group: Vec<FrozenEntity>,
    pub(super) tick: Tick,
    pub(super) frozen_at: Time,
}

impl Node {
    /// Step 7: the game froze an entity or a group at the border. Sends it, all or none.
    pub(super) fn on_frozen(&mut self, freeze: Freeze, now: Time) {
        let Freeze { target, group, tick, frozen_at } = freeze;
        let bytes: usize = group.iter().map(|frozen| frozen.snapshot.bytes.len()).sum();
        let warm_only = group.len() > 1;
        let mut ready = Vec::with_capacity(group.len());
        for frozen in &group {
            ready.push(self.keep_frozen(frozen, target, tick).filter(|(_, warm)| *warm || !warm_only));
        }
        let ready: Option<Vec<(Steps, bool)>> = ready.into_iter().collect();
        let Some(ready) = ready.filter(|_| bytes <= BLOB_BYTES_MAX) else {
            self.go_on_here(&group, target, now);
            return;
        };
        let mut transfers = Vec::with_capacity(group.len());
        for (FrozenEntity { last, reservation, snapshot }, (steps, warm)) in group.into_iter().zip(ready) {
            let pending = self.held.get(&last.entity).map(|held| held.inputs.pending());
            let (Some(pending), Some(id)) = (pending, self.authority.freeze(last.entity, last.grant, target))
            else {
                continue;
            };
            transfers.push(Transferring {
                id,
                to: target,
                reservation,
                path: if warm { Path::Warm } else { Path::Cold },
                frozen_at,
                steps,
                repeat_at: now + self.setup.config.transfer_retry,
                grant: last.grant,
                last_tick: tick,
                applied: last.applied,
                group: Vec::new(),
                snapshot: snapshot.bytes,
                pending,
            });
        }
        let ids: Vec<HandoffId> = transfers.iter().map(|transfer| transfer.id).collect();
        let Some(&leader) = ids.first() else {
            return;
        };
        let mut clients = Vec::new();
        for mut transfer in transfers {
            let HandoffId { entity, .. } = transfer.id;
            if ids.len() > 1 {
                transfer.group.clone_from(&ids);
            }
            if let Some(held) = self.held.get_mut(&entity) {
                clients.extend(held.client.map(|client| (client, entity, transfer.grant)));
                held.source.transferring = Some(transfer);
            }
        }
        self.send_transfer(leader.entity);
        // Now: it may be another node's before this tick's frame is done.
        for (client, entity, grant) in clients {
            self.tell_state(client, entity, grant, tick);
        }
        for id in ids {
            self.schedule_source(id.entity);
        }
    }

    /// Keeps what was captured of a frozen entity. Says how it was prepared; none if it can't be sent.
    fn keep_frozen(&mut self, frozen: &FrozenEntity, target: Peer, tick: Tick) -> Option<(Steps, bool)> {
        let FrozenEntity { last, reservation, snapshot } = frozen;
        let Published { entity, grant, motion, look, applied, ref own } = *last;
        if !self.authority.holds(entity, grant) {
            // The game shows what it froze as a ghost by now, where it last took it to be.
            self.ghosts.set_right(entity);
            return None;
        }
        let held = self.held.get_mut(&entity)?;
        let kept = SnapshotArchive::validate(snapshot.bytes.clone())
            .and_then(|archive| held.source.captured.apply(archive));
        held.inputs.rewind(applied);
        // Built anew where the entity goes on, here or there.
        held.acting = Acting::default();
        // The tick that it was frozen after is shown: without it neighbours would see a gap.
        (held.motion, held.look, held.own) = (motion, look, own.clone());
        (held.last_tick, held.published) = (tick, Some((tick, grant)));
        kept.ok()?;
        let candidate = held.source.candidate(*reservation).filter(|candidate| candidate.target == target)?;
        match &candidate.stage {
            Stage::Prepared(prepared) => Some((prepared.steps, prepared.have.is_some())),
            Stage::Preparing(_) => None,
        }
    }

    /// The preparation fell through while the game froze: nothing was sent, so nothing is burned.
    fn go_on_here(&mut self, group: &[FrozenEntity], target: Peer, now: Time) {
        let backoff = self.setup.config.backoff;
        for FrozenEntity { last, .. } in group {
            if self.authority.holds(last.entity, last.grant) {
                if group.len() > 1
                    && let Some(held) = self.held.get_mut(&last.entity)
                {
                    // Or it would be frozen again in the next tick: what came too early, or is too heavy, needs more copies.
                    held.source.back_off(target.node, Setback::GroupNotReady, backoff, now);
                }
                self.restore_here(last.entity, last.grant);
            }
        }
    }

    fn send_transfer(&mut self, leader: EntityId) {
        let Some(transfer) = self.transferring(leader) else {
            return;
        };
        let (to, mut blob) = (transfer.to, transfer.snapshot.clone());
        let mut members = Vec::with_capacity(transfer.members().len());
        let mut frames = Vec::new();
        for member in transfer.members() {
            // Whoever came back proves that all were taken: nothing is repeated then.
            let Some(going) = self.transferring(member.entity).filter(|going| going.id == *member) else {
                return;
            };
            members.push(MemberTransfer {
                id: going.id,
                reservation: going.reservation,
                pending: going.pending.clone(),
                asked_at: self.clock.mesh_time(going.steps.asked_at),
                bytes: u32::try_from(going.snapshot.len()).unwrap_or(u32::MAX),
            });
            frames.push(going.snapshot.clone());
        }
        let message = Message::Transfer {
            id: transfer.id,
            reservation: transfer.reservation,
            last_tick: transfer.last_tick,
            pending: transfer.pending.clone(),
            asked_at: self.clock.mesh_time(transfer.steps.asked_at),
            members,
        };
        if !frames.is_empty() {
            frames.insert(0, blob);
            blob = frames.concat().into();
        }
        self.send_with(to.node, Lane::Cutover, message, blob);
    }

    fn transferring(&self, entity: EntityId) -> Option<&Transferring> {
        self.held.get(&entity).and_then(|held| held.source.transferring.as_ref())
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

    /// No answer: asks again, and after a while asks to cancel. No silence ever thaws. Who leads a group asks for all of it.
    pub(super) fn repeat_transfer(&mut self, entity: EntityId, now: Time) {
        let (retry, patience) = (self.setup.config.transfer_retry, self.setup.config.transfer_patience);
        let held = self.held.get_mut(&entity);
        let transferring = held.and_then(|held| held.source.transferring.as_mut());
        let Some(transfer) = transferring.filter(|going| going.leads() && going.repeat_at <= now) else {
            return;
        };
        transfer.repeat_at = now + retry;
        let silent = now.since(transfer.frozen_at) >= patience;
        let (id, to, members) = (transfer.id, transfer.to, transfer.members().to_vec());
        if silent {
            self.send(to.node, Lane::Cutover, Message::Cancel { id, members });
        } else {
            self.send_transfer(entity);
        }
        #[cfg(feature = "planted-bugs")]
        if silent && self.setup.config.has_bug(crate::config::PlantedBug::ThawOnTimeout) {
            self.on_not_taken(to, id, None, now);
        }
    }

    /// Everything that an answer about a handoff decides about.
    fn all_with(&self, id: HandoffId) -> Vec<HandoffId> {
        let known = self.transferring(id.entity).filter(|going| going.id == id);
        known.map_or_else(|| vec![id], Transferring::all)
    }

    /// Step 8b: the target will never hold the entity at this id, nor those who were to come along. The source goes on, at that
    /// very epoch.
    pub(super) fn on_not_taken(
        &mut self,
        peer: Peer,
        id: HandoffId,
        reason: Option<RefuseReason>,
        now: Time,
    ) {
        for id in self.all_with(id) {
            self.thaw(peer, id, reason, now);
        }
    }

    fn thaw(&mut self, peer: Peer, id: HandoffId, reason: Option<RefuseReason>, now: Time) {
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

    /// Step 8: the target holds the entity, and all who came along. What stays here are tombstones.
    pub(super) fn on_accepted(
        &mut self,
        peer: Peer,
        id: HandoffId,
        token: Option<Token>,
        members: &[(HandoffId, Option<Token>)],
        now: Time,
    ) {
        for taken in self.all_with(id) {
            let named = members.iter().find(|(member, _)| *member == taken);
            let token = if taken == id { token } else { named.and_then(|(_, token)| *token) };
            self.gave_away(peer, taken, token, now);
        }
    }

    /// One of a group is held elsewhere at a higher epoch, or is back: then all of it was taken.
    pub(super) fn gave_away_with(&mut self, going: &Transferring, now: Time) {
        for id in going.all().into_iter().filter(|&id| id != going.id) {
            self.gave_away(going.to, id, None, now);
        }
    }

    fn gave_away(&mut self, peer: Peer, id: HandoffId, token: Option<Token>, now: Time) {
        if !self.authority.gave_away(id, peer) {
            return;
        }
        let Some(mut held) = self.let_go(id.entity) else {
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
