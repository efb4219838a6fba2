//! What dead nodes held: what this node knows of it, and what becomes of it.

use bytes::Bytes;

use super::standby::is_of_the_past;
use super::{Destination, GameCommand, Held, Node, NodeEvent, Output};
use crate::grid::Motion;
use crate::id::{AuthorityEpoch, EntityId, NodeId, Peer};
use crate::inputs::InputQueue;
use crate::recovery::{ClaimList, Fencing, Instruction};
use crate::standby::StandbyCopy;
use crate::time::Time;
use crate::wire::{
    ByeReason, Captured, Claim, ClaimKind, Lane, Message, Order, RecoveryMessage, Round, Setback,
};

impl Node {
    pub(super) fn on_recovery(&mut self, message: RecoveryMessage, now: Time) {
        match message {
            RecoveryMessage::Fence { round, dead } => {
                if self.heed(round.term) {
                    self.on_fence(round, &dead, now);
                }
            }
            RecoveryMessage::Verdict { round, part, parts, orders } => {
                if self.heed(round.term) {
                    match self.participant.on_verdict(round, part, parts, orders) {
                        Instruction::CarryOut(orders) => self.carry_out(&orders, now),
                        Instruction::Repeat(message) => self.say_in_round(message),
                        Instruction::Nothing | Instruction::Stale => {}
                    }
                }
            }
            RecoveryMessage::Closed { round, dead: _ } => {
                if self.heed(round.term) {
                    let over = self.participant.on_closed(round);
                    self.forget_recovered(&over);
                }
            }
            // Not a coordinator's word.
            RecoveryMessage::Claims { .. } | RecoveryMessage::Carried { .. } => {}
        }
    }

    /// A life that is over is heard no more, on no link, ever.
    pub(super) fn is_shunned(&self, peer: Peer) -> bool {
        self.participant.fenced().is_fenced(peer)
    }

    fn on_fence(&mut self, round: Round, dead: &[Peer], now: Time) {
        let messages = match self.participant.on_fence(round, dead) {
            Fencing::Answer { fenced, over } => {
                fenced.into_iter().for_each(|life| self.shun(life, now));
                self.forget_recovered(&over);
                let claims = self.claims();
                let cuts = self.standby_cuts();
                self.participant.answer(&cuts, &claims)
            }
            Fencing::Repeat(messages) => messages,
            Fencing::Stale => return,
        };
        messages.into_iter().for_each(|message| self.say_in_round(message));
    }

    fn say_in_round(&mut self, message: RecoveryMessage) {
        let large = matches!(message, RecoveryMessage::Claims { .. });
        let lane = if large { Lane::Checkpoint } else { Lane::Control };
        let (to, message, blob) = (Destination::Coordinator, Message::Recovery(message), Bytes::new());
        self.outputs.push_back(Output::Send { to, lane, message, blob });
    }

    fn shun(&mut self, dead: Peer, now: Time) {
        if self.is_linked(dead) {
            self.links.remove(&dead.node);
        }
        self.authority.forget_burned(dead);
        self.fence_standby(dead);
        self.fence_ghosts(dead);
        self.outputs.push_back(Output::Shun { peer: dead });
        // Nothing more is prepared with the dead. What is frozen towards them waits for the verdict.
        let entities: Vec<EntityId> = self
            .held
            .iter()
            .filter(|(_, held)| held.source.candidates.iter().any(|candidate| candidate.target == dead))
            .map(|(&entity, _)| entity)
            .collect();
        let backoff = self.setup.config.backoff;
        for entity in entities {
            if let Some(held) = self.held.get_mut(&entity) {
                held.source.candidates.retain(|candidate| candidate.target != dead);
                held.source.back_off(dead.node, Setback::Died, backoff, now);
                self.arm(entity);
                self.schedule_source(entity);
            }
        }
    }

    fn claims(&self) -> Vec<Claim> {
        let mut list = ClaimList::new(&self.authority);
        for (&entity, held) in &self.held {
            let last_tick = held.source.transferring.as_ref().map(|transfer| transfer.last_tick);
            list.held(entity, held.session, last_tick);
        }
        for tombstone in self.tombstones.values() {
            let contents = tombstone.contents.as_ref();
            let session = contents.and_then(|contents| contents.session);
            list.moved(tombstone.id, tombstone.to, session, contents.map(|contents| contents.captured));
        }
        for StandbyCopy { of, cut, entity, session, contents } in self.standby_copies() {
            list.standby(entity, of, cut, session, contents);
        }
        for (entity, epoch) in self.ended_elsewhere() {
            list.ended(entity, epoch);
        }
        list.finish()
    }

    fn carry_out(&mut self, orders: &[Order], now: Time) {
        for &order in orders {
            match order {
                Order::Restore { entity, epoch, kind, contents } => {
                    self.recover(entity, epoch, kind, contents, now);
                }
                Order::Discard { entity, below } => self.discard(entity, below),
            }
        }
        self.say_carried_when_safe(now);
    }

    /// The entity goes on here, from a copy.
    fn recover(
        &mut self,
        entity: EntityId,
        epoch: AuthorityEpoch,
        kind: ClaimKind,
        contents: Captured,
        now: Time,
    ) {
        if let ClaimKind::Frozen { .. } = kind {
            self.recover_frozen(entity, epoch, now);
            return;
        }
        let copy = match kind {
            ClaimKind::Standby { of, .. } => self.take_standby(entity, of),
            ClaimKind::Moved { .. } => self.take_given_away(entity),
            ClaimKind::Warm { from } => {
                self.reservations.get(&(entity, from.node)).map(|reservation| reservation.copied.clone())
            }
            ClaimKind::Active | ClaimKind::Frozen { .. } | ClaimKind::Ended | ClaimKind::Known => None,
        };
        let Some(state) = copy else {
            return;
        };
        let Some(head) = state.head().copied() else {
            return;
        };
        if !self.authority.restore(entity, epoch) {
            return;
        }
        let motion = Motion { position: head.position, velocity: head.velocity };
        let inputs = InputQueue::new(head.last_input);
        let last_tick = contents.tick.max(self.last_frame);
        let mut held = Held::new(head.session, motion, inputs, last_tick, now);
        held.source.captured = state.clone();
        let client = self.remove_tombstone(entity);
        self.held.insert(entity, held);
        let attached_to = head.attached_to;
        #[cfg(feature = "planted-bugs")]
        let attached_to =
            attached_to.filter(|_| !self.setup.config.has_bug(crate::config::PlantedBug::LoseRides));
        self.come_attached(entity, attached_to);
        self.promote_ghost(entity);
        let first_tick = last_tick.next();
        self.command(GameCommand::Restore { entity, grant: epoch, snapshot: state, first_tick });
        self.after_recovery(entity, epoch, now);
        self.attach_or_linger(client, entity, head.session, now);
    }

    /// It was frozen on its way to the dead, and nobody knows better: it goes on where it stands.
    fn recover_frozen(&mut self, entity: EntityId, epoch: AuthorityEpoch, now: Time) {
        if !self.authority.restore(entity, epoch) {
            return;
        }
        let Some(held) = self.held.get_mut(&entity) else {
            return;
        };
        let mut source = core::mem::take(&mut held.source);
        if let Some(transfer) = source.transferring.take() {
            held.inputs.rewind(transfer.applied);
        }
        self.cancel_candidates(&source, None);
        source.candidates.clear();
        if let Some(held) = self.held.get_mut(&entity) {
            held.source = source;
        }
        self.restore_here(entity, epoch);
        self.schedule_source(entity);
        self.after_recovery(entity, epoch, now);
    }

    fn after_recovery(&mut self, entity: EntityId, epoch: AuthorityEpoch, now: Time) {
        let player = self.held.get(&entity).is_some_and(|held| held.session.is_some());
        self.record_recovery(entity, epoch, now);
        self.unsafe_restores.insert((entity, epoch));
        self.event(NodeEvent::Recovered { entity, epoch, player });
    }

    fn discard(&mut self, entity: EntityId, below: AuthorityEpoch) {
        if self.authority.discard(entity, below).is_none() {
            return;
        }
        if let Some(held) = self.let_go(entity) {
            self.forget_held(entity, &held, ByeReason::NodeLost);
            // Who holds it tells of it at a higher epoch.
            let epoch = held.published.map(|(_, epoch)| epoch).unwrap_or_default();
            self.forget_shown(entity, crate::ghost::VanishReason::HandedOver, epoch);
        }
    }

    /// Everything of these lives is recovered and safe: what they had announced won't come, and nothing that is kept of
    /// them, or was given to them, may come back.
    fn forget_recovered(&mut self, over: &[Peer]) {
        let is_over = |peer: Peer| over.iter().any(|&life| is_of_the_past(peer, life));
        let reservations = self.reservations.iter().filter(|(_, reservation)| is_over(reservation.id.source));
        let keys: Vec<(EntityId, NodeId)> = reservations.map(|(&key, _)| key).collect();
        keys.into_iter().for_each(|key| self.drop_reservation(key));
        for tombstone in self.tombstones.values_mut().filter(|tombstone| is_over(tombstone.to)) {
            tombstone.contents = None;
        }
        over.iter().for_each(|&life| self.drop_standby(life));
    }

    /// Whether a recovery round is open as far as this node knows: what it claimed there stays as it is for now.
    #[must_use]
    pub fn is_recovering(&self) -> bool {
        self.participant.is_open()
    }

    /// Until what was restored is safe elsewhere, the copies that it came from are all that a further crash leaves.
    pub(super) fn say_carried_when_safe(&mut self, now: Time) {
        let alone = self.buddy().is_none();
        self.unsafe_restores.retain(|&(entity, epoch)| {
            !alone && self.authority.holds(entity, epoch) && !self.standby.covers(entity, epoch)
        });
        if !self.unsafe_restores.is_empty() {
            self.hurry_checkpoint(now);
        } else if let Some(message) = self.participant.carried() {
            self.say_in_round(message);
        }
    }

    /// Says again what was carried out, until the round is known to be closed.
    pub(super) fn repeat_carried(&mut self) {
        if let Some(message) = self.participant.repeat() {
            self.say_in_round(message);
        }
    }

    pub(super) fn rejoin_rounds(&mut self) {
        self.participant.rejoin();
        self.unsafe_restores.clear();
    }
}
