//! Groups in the core: what rides on what, what goes along with a leader, and taking a group over, all or none.

use bytes::Bytes;

use super::target::{Takeover, Transfer, overlay};
use super::{ArmedMember, ArmedTarget, GameCommand, Held, Node};
use crate::authority::{CancelAnswer, Receipt};
use crate::grid::Motion;
use crate::handoff::source::Stage as SourceStage;
use crate::handoff::target::Stage;
use crate::id::{AuthorityEpoch, EntityId, HandoffId, Peer, ReservationId};
use crate::pin::Pin;
use crate::snapshot::Assembled;
use crate::time::Time;
use crate::token::Token;
use crate::wire::{Lane, MemberTransfer, Message, RefuseReason};

impl Node {
    /// The game has attached or detached an entity.
    pub(super) fn on_attached(&mut self, entity: EntityId, grant: AuthorityEpoch, to: Option<EntityId>) {
        if !self.authority.holds(entity, grant) {
            return;
        }
        let former = self.groups.leader(entity);
        self.come_attached(entity, to);
        self.arm(entity);
        if former != entity {
            self.arm(former);
        }
    }

    pub(super) fn on_pinned(&mut self, entity: EntityId, grant: AuthorityEpoch, pins: Vec<Pin>) {
        if self.authority.holds(entity, grant)
            && let Some(held) = self.held.get_mut(&entity)
        {
            held.pins = pins;
        }
    }

    /// An entity is held here no more, and nothing rides on it.
    pub(super) fn let_go(&mut self, entity: EntityId) -> Option<Held> {
        self.groups.remove(entity);
        self.held.remove(&entity)
    }

    /// An entity is attached to this: by the game's word, or it has come so by its snapshot. The game's side refuses what can't
    /// be; it reads the same snapshot, and says so.
    pub(super) fn come_attached(&mut self, entity: EntityId, to: Option<EntityId>) {
        self.groups.detach(entity);
        if let Some(to) = to {
            let _ = self.groups.attach(entity, to);
        }
    }

    /// The motion that decides where the entity goes: that of who leads its group. None while that has not come.
    pub(super) fn leading_motion(&self, entity: EntityId) -> Option<Motion> {
        self.held.get(&self.groups.leader(entity)).map(|leader| leader.motion)
    }

    /// Tells the game side to whom the entity may go without asking further; if it rides on something, to whom that may go.
    pub(super) fn arm(&mut self, entity: EntityId) {
        let leader = self.groups.leader(entity);
        let Some(grant) = self.authority.active_epoch(leader) else {
            return;
        };
        let Some(held) = self.held.get(&leader) else {
            return;
        };
        let followers = self.groups.followers(leader);
        let targets = held.source.candidates.iter().filter_map(|candidate| {
            let leads = self.ready_for(leader, candidate.target)?;
            let members: Option<Vec<Ready>> = followers
                .iter()
                .map(|&member| self.ready_for(member, candidate.target).filter(|ready| ready.is_warm))
                .collect();
            // Who takes others along goes warm: whether the target will have them all must be known before.
            let members = members.filter(|members| members.is_empty() || leads.is_warm)?;
            let not_before = members.iter().fold(leads.not_before, |at, ready| at.max(ready.not_before));
            let ArmedMember { reservation, have, .. } = leads.member;
            let members = members.into_iter().map(|ready| ready.member).collect();
            Some(ArmedTarget { target: candidate.target, reservation, have, not_before, members })
        });
        let targets = targets.collect();
        self.command(GameCommand::Arm { entity: leader, grant, targets });
    }

    /// Whether a target has a pre-copy of an entity.
    pub(super) fn is_warm_for(&self, entity: EntityId, target: Peer) -> bool {
        self.ready_for(entity, target).is_some_and(|ready| ready.is_warm)
    }

    /// What a target has of an entity that it is prepared for.
    fn ready_for(&self, entity: EntityId, target: Peer) -> Option<Ready> {
        let held = self.held.get(&entity)?;
        let candidate = held.source.candidates.iter().find(|candidate| candidate.target == target)?;
        let SourceStage::Prepared(prepared) = &candidate.stage else {
            return None;
        };
        let dwelt_at = held.since + self.setup.config.dwell_min;
        let have = prepared.have.clone();
        Some(Ready {
            is_warm: have.is_some(),
            not_before: dwelt_at.max(held.source.not_before(target.node)),
            member: ArmedMember {
                entity,
                reservation: candidate.reservation,
                have: have.unwrap_or_default(),
            },
        })
    }

    /// Step 7 arrives for a group: takes all of it over, or none.
    pub(super) fn on_group_transfer(
        &mut self,
        peer: Peer,
        leader: Transfer,
        members: Vec<MemberTransfer>,
        blob: &Bytes,
        now: Time,
    ) {
        let ids: Vec<HandoffId> =
            core::iter::once(leader.id).chain(members.iter().map(|member| member.id)).collect();
        let Some(parts) = split(leader, members, blob) else {
            self.misbehaved(peer, "sent a group whose snapshots don't fill its message, or an entity twice");
            return;
        };
        let receipts: Vec<Receipt> = ids.iter().map(|&id| self.authority.receipt(id, peer)).collect();
        let any = |wanted: Receipt| receipts.contains(&wanted);
        if any(Receipt::Void) {
            return;
        }
        if receipts.first() == Some(&Receipt::Already) {
            self.say_group_accepted(peer, &ids);
            return;
        }
        if any(Receipt::Already) {
            // All of a group is accepted in one moment: whoever says otherwise is not answered.
            self.misbehaved(peer, "sent a group of which this node has accepted a part");
            return;
        }
        if any(Receipt::Conflict) {
            self.misbehaved(peer, "sent an entity that this node holds");
            self.reject_group(peer, &ids, RefuseReason::HeldHere);
            return;
        }
        if any(Receipt::Burned) {
            self.reject_group(peer, &ids, RefuseReason::Burned);
            return;
        }
        match self.takeovers(peer, parts, now) {
            Ok(takeovers) => self.take_group_over(peer, takeovers, now),
            Err(reason) => self.reject_group(peer, &ids, reason),
        }
    }

    /// Each part laid over what was copied of it. Nothing changes unless all of it is valid and warm.
    fn takeovers(
        &mut self,
        peer: Peer,
        parts: Vec<(Transfer, Bytes)>,
        now: Time,
    ) -> Result<Vec<Takeover>, RefuseReason> {
        let mut takeovers = Vec::with_capacity(parts.len());
        for (transfer, blob) in parts {
            if self.is_too_early(transfer.last_tick, now) {
                self.misbehaved(peer, "sent an entity from a tick far in the future");
                return Err(RefuseReason::BadSnapshot);
            }
            let state = self.warm_state(peer, transfer.id, transfer.reservation, blob)?;
            let Transfer { id, last_tick, pending, asked_at, .. } = transfer;
            takeovers.push(Takeover { id, from: peer, state, last_tick, pending, asked_at, runs: false });
        }
        Ok(takeovers)
    }

    fn warm_state(
        &mut self,
        peer: Peer,
        id: HandoffId,
        reservation: ReservationId,
        blob: Bytes,
    ) -> Result<Assembled, RefuseReason> {
        let known = self.reservations.get(&(id.entity, peer.node)).filter(|known| known.id == reservation);
        let known = known.filter(|known| matches!(known.stage, Stage::Warm));
        let known = known.ok_or(RefuseReason::NotPrepared)?;
        overlay(&known.copied, id.entity, known.session, blob)
            .map_err(|unfit| self.judge_unfit(peer, id.entity, &unfit))
    }

    fn take_group_over(&mut self, peer: Peer, takeovers: Vec<Takeover>, now: Time) {
        let mut taken = Vec::with_capacity(takeovers.len());
        for takeover in takeovers {
            // Every receipt was free a moment ago.
            if let Some(activated) = self.activate(takeover, now) {
                taken.push(activated);
            }
        }
        let mut tokens = taken.iter().map(|activated| (activated.id(), activated.accept_token));
        if let Some((id, token)) = tokens.next() {
            let members = tokens.collect();
            self.send(peer.node, Lane::Cutover, Message::Accepted { id, token, members });
        }
        for activated in taken {
            self.settle_in(activated, now);
        }
    }

    pub(super) fn reject_group(&mut self, peer: Peer, ids: &[HandoffId], reason: RefuseReason) {
        let Some((&id, members)) = ids.split_first() else {
            return;
        };
        match self.cancel_group(peer, id, members) {
            CancelAnswer::Cancelled => self.send(peer.node, Lane::Cutover, Message::Rejected { id, reason }),
            CancelAnswer::Accepted => self.say_group_accepted(peer, ids),
            CancelAnswer::Void => {}
        }
    }

    /// Burns all of a group's ids that this peer named, unless it was accepted.
    pub(super) fn cancel_group(
        &mut self,
        peer: Peer,
        leader: HandoffId,
        members: &[HandoffId],
    ) -> CancelAnswer {
        let answer = self.authority.cancel(leader, peer);
        if answer == CancelAnswer::Cancelled {
            for &member in members {
                self.authority.cancel(member, peer);
            }
        }
        answer
    }

    pub(super) fn say_group_accepted(&mut self, peer: Peer, ids: &[HandoffId]) {
        let mut tokens = ids.iter().map(|&id| (id, self.accept_token(peer, id)));
        let Some((id, token)) = tokens.next() else {
            return;
        };
        let members = tokens.collect();
        self.send(peer.node, Lane::Cutover, Message::Accepted { id, token, members });
    }

    /// What admits the client: for the source alone, which is the one to tell it.
    fn accept_token(&self, peer: Peer, id: HandoffId) -> Option<Token> {
        let held = self.held.get(&id.entity).filter(|_| self.authority.holds(id.entity, id.epoch))?;
        held.arrival.filter(|arrival| arrival.from == peer && arrival.epoch == id.epoch)?;
        held.accept_token
    }
}

/// One of a group, prepared.
struct Ready {
    member: ArmedMember,
    is_warm: bool,
    not_before: Time,
}

/// Cuts a group's message into what each of it would be alone; none if that can't be, or if one comes twice.
fn split(leader: Transfer, members: Vec<MemberTransfer>, blob: &Bytes) -> Option<Vec<(Transfer, Bytes)>> {
    let theirs: usize = members.iter().map(|member| member.bytes as usize).sum();
    let mut at = blob.len().checked_sub(theirs)?;
    let last_tick = leader.last_tick;
    let mut parts = vec![(leader, blob.slice(..at))];
    for MemberTransfer { id, reservation, pending, asked_at, bytes } in members {
        if parts.iter().any(|(known, _)| known.id.entity == id.entity) {
            return None;
        }
        let end = at + bytes as usize;
        parts.push((Transfer { id, reservation, last_tick, pending, asked_at }, blob.slice(at..end)));
        at = end;
    }
    Some(parts)
}
