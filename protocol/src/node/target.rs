//! An entity that comes: taken over, or refused. The target's side of steps 7 and 8.

use bytes::Bytes;

use super::{Arrival, GameCommand, Held, Node, NodeEvent, ReleaseReason, TimerKey};
use crate::authority::{CancelAnswer, Receipt};
use crate::handoff::target::{Admission, Stage};
use crate::id::{AuthorityEpoch, EntityId, HandoffId, NodeId, Peer, ReservationId, SessionId};
use crate::inputs::InputQueue;
use crate::limits::TICKS_AHEAD_MAX;
use crate::snapshot::{Assembled, SnapshotArchive, SnapshotError, SnapshotHead};
use crate::time::{Tick, Time};
use crate::token::{Token, TokenPurpose};
use crate::wire::{InputMessage, Lane, Message, RefuseReason};

/// A `Transfer` without its blob.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) id: HandoffId,
    pub(super) reservation: ReservationId,
    pub(super) last_tick: Tick,
    pub(super) pending: Vec<InputMessage>,
    pub(super) asked_at: Time,
}

/// Everything that makes an entity this node's.
#[derive(Debug)]
pub(super) struct Takeover {
    pub(super) id: HandoffId,
    pub(super) from: Peer,
    pub(super) state: Assembled,
    pub(super) last_tick: Tick,
    pub(super) pending: Vec<InputMessage>,
    pub(super) asked_at: Time,
    /// Whether the game already runs it, or will from its first tick on (the cold path).
    pub(super) runs: bool,
}

/// An entity that is this node's from this moment on: its source can be told.
#[derive(Debug)]
pub(super) struct Activated {
    takeover: Takeover,
    head: SnapshotHead,
    /// A second token for the client.
    pub(super) accept_token: Option<Token>,
}

impl Activated {
    pub(super) const fn id(&self) -> HandoffId {
        self.takeover.id
    }
}

impl Node {
    /// Step 7 arrives: takes the entity over at once if it is warm, asks the game if it is not.
    pub(super) fn on_transfer(&mut self, peer: Peer, transfer: Transfer, blob: Bytes, now: Time) {
        let id = transfer.id;
        match self.authority.receipt(id, peer) {
            Receipt::Free => {}
            Receipt::Already => {
                self.say_group_accepted(peer, &[id]);
                return;
            }
            Receipt::Burned => {
                self.reject(peer, id, RefuseReason::Burned);
                return;
            }
            Receipt::Conflict => {
                self.misbehaved(peer, "sent an entity that this node holds");
                self.reject(peer, id, RefuseReason::HeldHere);
                return;
            }
            Receipt::Void => return,
        }
        if self.is_too_early(transfer.last_tick, now) {
            self.misbehaved(peer, "sent an entity from a tick far in the future");
            self.reject(peer, id, RefuseReason::BadSnapshot);
            return;
        }
        let key = (id.entity, peer.node);
        let Some(reservation) =
            self.reservations.get_mut(&key).filter(|known| known.id == transfer.reservation)
        else {
            self.reject(peer, id, RefuseReason::NotPrepared);
            return;
        };
        if let Stage::Admitting(admission) = &reservation.stage
            && admission.id == id
        {
            return;
        }
        let state = match overlay(&reservation.copied, id.entity, reservation.session, blob) {
            Ok(state) => state,
            Err(unfit) => {
                let reason = self.judge_unfit(peer, id.entity, &unfit);
                self.reject(peer, id, reason);
                return;
            }
        };
        let Transfer { last_tick, pending, asked_at, .. } = transfer;
        if matches!(reservation.stage, Stage::Warm) {
            self.take_over(
                Takeover { id, from: peer, state, last_tick, pending, asked_at, runs: false },
                now,
            );
        } else {
            let admission = Admission { id, state: state.clone(), last_tick, pending, asked_at };
            reservation.stage = Stage::Admitting(Box::new(admission));
            self.command(GameCommand::Admit { id, snapshot: state, first_tick: last_tick.next() });
        }
    }

    /// What a peer is told of a snapshot that can't be used. That it has lost count of the copies is nobody's fault; all else
    /// is held against it.
    pub(super) fn judge_unfit(&mut self, peer: Peer, entity: EntityId, unfit: &Unfit) -> RefuseReason {
        if matches!(unfit, Unfit::Snapshot(SnapshotError::MissingComponent { .. })) {
            return RefuseReason::StalePrecopy;
        }
        self.misbehaved(peer, format!("sent an invalid snapshot of the entity {entity}: {unfit}"));
        RefuseReason::BadSnapshot
    }

    /// Whether a source's tick is so far ahead that this node's game could not go on from it.
    pub(super) fn is_too_early(&self, last_tick: Tick, now: Time) -> bool {
        let knows = self.last_frame > Tick::default() || self.clock.offset_us().is_some();
        knows && last_tick.0 > self.tick_at(now).0.saturating_add(TICKS_AHEAD_MAX)
    }

    /// Refuses an id for good.
    fn reject(&mut self, peer: Peer, id: HandoffId, reason: RefuseReason) {
        self.reject_group(peer, &[id], reason);
    }

    /// The source gave up waiting: never activate this id, nor those of whom was to come along, unless that is done.
    pub(super) fn on_cancel(&mut self, peer: Peer, id: HandoffId, members: &[HandoffId]) {
        match self.cancel_group(peer, id, members) {
            CancelAnswer::Accepted => {
                let ids: Vec<HandoffId> = core::iter::once(id).chain(members.iter().copied()).collect();
                self.say_group_accepted(peer, &ids);
            }
            CancelAnswer::Cancelled => {
                if let Some(reservation) = self.reservations.get_mut(&(id.entity, peer.node))
                    && matches!(&reservation.stage, Stage::Admitting(admission) if admission.id == id)
                {
                    reservation.stage = Stage::Reserved { asked: true };
                }
                self.send(peer.node, Lane::Cutover, Message::Cancelled { id });
            }
            CancelAnswer::Void => {}
        }
    }

    /// Cold path: the game has restored the entity, or won't have it.
    pub(super) fn on_admitted(&mut self, id: HandoffId, accepted: bool, tick: Tick, now: Time) {
        let range = (id.entity, NodeId::from_u128(0))..=(id.entity, NodeId::from_u128(u128::MAX));
        let waiting = self.reservations.range_mut(range).find(
            |(_, reservation)| matches!(&reservation.stage, Stage::Admitting(admission) if admission.id == id),
        );
        let Some((_, reservation)) = waiting else {
            if accepted {
                self.release_void(id);
            }
            return;
        };
        let from = reservation.id.source;
        let Stage::Admitting(admission) =
            core::mem::replace(&mut reservation.stage, Stage::Reserved { asked: accepted })
        else {
            return;
        };
        if !accepted {
            self.reject(from, id, RefuseReason::Game);
            return;
        }
        if self.authority.receipt(id, from) != Receipt::Free || self.is_shunned(from) {
            self.release_void(id);
            return;
        }
        let Admission { id, state, last_tick, pending, asked_at } = *admission;
        self.take_over(Takeover { id, from, state, last_tick, pending, asked_at, runs: true }, now);
        if tick > last_tick {
            self.on_restored(id.entity, id.epoch, tick, now);
        }
    }

    fn release_void(&mut self, id: HandoffId) {
        let why = ReleaseReason::Void;
        self.command(GameCommand::Release { entity: id.entity, grant: id.epoch, why });
    }

    /// Step 8: this node holds the entity from here on.
    fn take_over(&mut self, takeover: Takeover, now: Time) {
        let from = takeover.from;
        if let Some(activated) = self.activate(takeover, now) {
            let (id, token) = (activated.id(), activated.accept_token);
            let accepted = Message::Accepted { id, token, members: Vec::new() };
            self.send(from.node, Lane::Cutover, accepted);
            self.settle_in(activated, now);
        }
    }

    /// Takes the authority. What it means for all else is [`settle_in`](Self::settle_in)'s: the source hears of it before.
    pub(super) fn activate(&mut self, takeover: Takeover, now: Time) -> Option<Activated> {
        let head = takeover.state.head().copied()?;
        let HandoffId { entity, .. } = takeover.id;
        if !self.authority.activate(takeover.id, takeover.from) {
            return None;
        }
        self.handoffs_in += 1;
        let accept_token =
            head.session.map(|session| self.grant_token(entity, session, TokenPurpose::Handoff, now));
        Some(Activated { takeover, head, accept_token })
    }

    /// Makes a home for an entity that was just taken over.
    pub(super) fn settle_in(&mut self, activated: Activated, now: Time) {
        let Activated { takeover, head, accept_token } = activated;
        let Takeover { id, from, state, last_tick, pending, asked_at, runs } = takeover;
        let (entity, session) = (id.entity, head.session);
        let key = (entity, from.node);
        self.timers.cancel(TimerKey::Reservation(entity, from.node));
        let reservation = self.take_reservation(key);

        let mut inputs = InputQueue::new(head.last_input);
        for InputMessage { seq, bytes } in pending {
            inputs.offer(seq, Bytes::from(bytes));
        }
        // The entity may come back while its client has not left, or while this node's own frozen copy of it waits
        // for an answer that the higher epoch makes needless.
        let mut client = reservation.and_then(|reservation| reservation.parked);
        client = client.or(self.remove_tombstone(entity));
        if let Some(former) = self.let_go(entity) {
            self.cancel_candidates(&former.source, None);
            if let Some(going) = &former.source.transferring {
                self.gave_away_with(going, now);
            }
            self.timers.cancel(TimerKey::Source(entity));
            client = client.or(former.client);
            for InputMessage { seq, bytes } in former.inputs.pending() {
                inputs.offer(seq, Bytes::from(bytes));
            }
        }
        let motion = crate::grid::Motion { position: head.position, velocity: head.velocity };
        let mut held = Held::new(session, motion, inputs, last_tick, now);
        held.accept_token = accept_token;
        held.source.captured = state.clone();
        held.arrival =
            Some(Arrival { from, epoch: id.epoch, last_tick, asked_at, simulated: false, attached: false });
        self.held.insert(entity, held);
        self.come_attached(entity, head.attached_to);
        self.owe_settlement(id, from, now);
        self.promote_ghost(entity);
        if !runs {
            let first_tick = last_tick.next();
            self.command(GameCommand::Restore { entity, grant: id.epoch, snapshot: state, first_tick });
        }
        self.deliver_inputs(entity);
        self.attach_or_linger(client, entity, session, now);
    }

    /// The game runs the entity: the handoff's last fact.
    pub(super) fn on_restored(&mut self, entity: EntityId, grant: AuthorityEpoch, tick: Tick, now: Time) {
        let Some(held) = self.held.get_mut(&entity) else {
            return;
        };
        let player = held.session.is_some();
        let Some(arrival) =
            held.arrival.as_mut().filter(|arrival| arrival.epoch == grant && !arrival.simulated)
        else {
            return;
        };
        arrival.simulated = true;
        let Arrival { from, last_tick, .. } = *arrival;
        let missed_ticks = tick.0.saturating_sub(last_tick.0.saturating_add(1));
        let id = HandoffId { entity, epoch: grant };
        self.record_receipt(id, last_tick, tick, now);
        self.event(NodeEvent::TakenOver { id, from, player, missed_ticks });
    }
}

/// Why a snapshot from outside can't be laid over what was copied before.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("it is of the entity {found}")]
    OtherEntity { found: EntityId },
    #[error("it is of another player's session, or of none")]
    OtherSession,
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// Lays a snapshot from outside over what was copied before. Nothing changes unless all of it is valid.
pub(super) fn overlay(
    copied: &Assembled,
    entity: EntityId,
    session: Option<SessionId>,
    blob: Bytes,
) -> Result<Assembled, Unfit> {
    let archive = SnapshotArchive::validate(blob)?;
    let head = archive.head();
    if head.entity != entity {
        return Err(Unfit::OtherEntity { found: head.entity });
    }
    if head.session != session {
        return Err(Unfit::OtherSession);
    }
    let mut state = copied.clone();
    state.apply(archive)?;
    Ok(state)
}
