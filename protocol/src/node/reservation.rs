//! Room for an entity that may come: reserved, warmed ahead, given up. The target's side of steps 2 to 6.

use bytes::Bytes;

use super::target::overlay;
use super::{ClientState, GameCommand, Node, ReleaseReason, TimerKey};
use crate::handoff::target::{Reservation, Stage};
use crate::id::{AuthorityEpoch, EntityId, NodeId, Peer, ReservationId, SessionId};
use crate::limits::{PRECOPIED_OF_NODE_BYTES_MAX, RESERVATIONS_MAX};
use crate::snapshot::Assembled;
use crate::time::Time;
use crate::token::{Token, TokenGrant, TokenPurpose};
use crate::wire::{ByeReason, Lane, Message, PrepareRequest, RefuseReason};

impl Node {
    /// Steps 2 and 3b: reserves room, or says why not.
    pub(super) fn on_prepare(&mut self, request: PrepareRequest, now: Time) {
        let id = request.reservation;
        let key = (id.entity, id.source.node);
        if let Some(known) = self.reservations.get_mut(&key) {
            if known.id == id {
                known.expires_at = now + self.setup.config.reservation_ttl;
                let token = known.token;
                self.say_ready(id, token);
                return;
            }
            let older = (id.source.incarnation, id.attempt) < (known.id.source.incarnation, known.id.attempt);
            if older || matches!(known.stage, Stage::Admitting(_)) {
                return;
            }
            self.drop_reservation(key);
        }
        if let Some(reason) = self.reason_to_refuse(&request) {
            self.refuse_prepare(id.source, id, reason);
            return;
        }
        let token =
            request.session.map(|session| self.grant_token(id.entity, session, TokenPurpose::Handoff, now));
        let expires_at = now + self.setup.config.reservation_ttl;
        let reservation = Reservation {
            id,
            session: request.session,
            token,
            expires_at,
            parked: None,
            copied: Assembled::new(),
            stage: Stage::Reserved { asked: false },
        };
        self.reservations.insert(key, reservation);
        self.timers.set(TimerKey::Reservation(key.0, key.1), expires_at);
        self.say_ready(id, token);
    }

    fn reason_to_refuse(&self, request: &PrepareRequest) -> Option<RefuseReason> {
        let config = &self.setup.config;
        let me = self.me()?;
        if request.reservation.source.node == me.node {
            return Some(RefuseReason::SameNode);
        }
        if self.map.owner_of(request.to_cell) != Some(me.node) {
            return Some(RefuseReason::NotMyCell);
        }
        if self.authority.active_epoch(request.reservation.entity).is_some() {
            return Some(RefuseReason::HeldHere);
        }
        if request.schema < config.schema_min || request.schema > config.schema_max {
            return Some(RefuseReason::Schema);
        }
        let full = self.held.len() + self.reservations.len() >= config.entities_max;
        (full || self.reservations.len() >= RESERVATIONS_MAX).then_some(RefuseReason::Overloaded)
    }

    fn say_ready(&mut self, reservation: ReservationId, token: Option<Token>) {
        let token_ttl_us = u64::try_from(self.setup.config.token_ttl.as_micros()).unwrap_or(u64::MAX);
        let message = Message::Ready { reservation, token, token_ttl_us };
        self.send(reservation.source.node, Lane::Control, message);
    }

    /// Makes a token that admits one client of `session` to `entity`. A full table makes one that admits nobody: the
    /// client then asks the door.
    pub(super) fn grant_token(
        &mut self,
        entity: EntityId,
        session: SessionId,
        purpose: TokenPurpose,
        now: Time,
    ) -> Token {
        let token = Token::generate(&mut self.random);
        let expires_at = now + self.setup.config.token_ttl;
        let grant = TokenGrant { session: Some(session), entity, expires_at, purpose };
        if self.tokens.grant(token, grant).is_ok() {
            self.timers.set_earlier(TimerKey::Tokens, expires_at);
        }
        token
    }

    pub(super) fn expire_tokens(&mut self, now: Time) {
        self.tokens.expire(now);
        if let Some(at) = self.tokens.next_expiry() {
            self.timers.set(TimerKey::Tokens, at);
        }
    }

    pub(super) fn on_cancel_prepare(&mut self, peer: Peer, reservation: ReservationId) {
        let key = (reservation.entity, peer.node);
        let known = self.reservations.get(&key).is_some_and(|known| {
            known.id == reservation && known.id.source == peer && !matches!(known.stage, Stage::Admitting(_))
        });
        if known {
            self.drop_reservation(key);
        }
    }

    pub(super) fn on_reservation_due(&mut self, entity: EntityId, source: NodeId, now: Time) {
        let key = (entity, source);
        let Some(reservation) = self.reservations.get(&key) else {
            return;
        };
        if self.is_recovering() {
            // It was claimed, or may be.
            let again = now + self.setup.config.reservation_ttl;
            self.timers.set(TimerKey::Reservation(entity, source), again);
        } else if reservation.expires_at > now {
            self.timers.set(TimerKey::Reservation(entity, source), reservation.expires_at);
        } else if matches!(reservation.stage, Stage::Admitting(_)) {
            // The game's answer is due any tick now; it decides.
            self.timers.set(TimerKey::Reservation(entity, source), now + self.setup.config.reservation_ttl);
        } else {
            self.drop_reservation(key);
        }
    }

    pub(super) fn drop_reservation(&mut self, key: (EntityId, NodeId)) {
        self.timers.cancel(TimerKey::Reservation(key.0, key.1));
        let Some(reservation) = self.take_reservation(key) else {
            return;
        };
        if let Some(token) = &reservation.token {
            self.tokens.revoke(token);
        }
        if let Some(client) = reservation.parked {
            self.dismiss(client, ByeReason::NotNeeded);
        }
        let other =
            self.reservations.range((key.0, NodeId::from_u128(0))..=(key.0, NodeId::from_u128(u128::MAX)));
        let still_expected = other.count() > 0 || self.held.contains_key(&key.0);
        if reservation.game_knows() && !still_expected {
            let why = ReleaseReason::NotComing;
            self.command(GameCommand::Release { entity: key.0, grant: AuthorityEpoch::default(), why });
        }
    }

    pub(super) fn take_reservation(&mut self, key: (EntityId, NodeId)) -> Option<Reservation> {
        let reservation = self.reservations.remove(&key)?;
        if let Some(bytes) = self.precopied_bytes.get_mut(&key.1) {
            *bytes = bytes.saturating_sub(reservation.copied.retained_bytes());
            if *bytes == 0 {
                self.precopied_bytes.remove(&key.1);
            }
        }
        Some(reservation)
    }

    /// Step 6: a pre-copy arrived.
    pub(super) fn on_precopy(&mut self, peer: Peer, id: ReservationId, blob: Bytes, now: Time) {
        let expires_at = now + self.setup.config.reservation_ttl;
        let key = (id.entity, peer.node);
        let Some(reservation) = self.reservations.get_mut(&key).filter(|known| known.id == id) else {
            self.refuse_prepare(peer, id, RefuseReason::NotPrepared);
            return;
        };
        if matches!(reservation.stage, Stage::Admitting(_)) {
            return;
        }
        reservation.expires_at = expires_at;
        match overlay(&reservation.copied, id.entity, reservation.session, blob) {
            Ok(copied) => {
                let kept = self.precopied_bytes.entry(peer.node).or_default();
                let others = kept.saturating_sub(reservation.copied.retained_bytes());
                let bytes = others + copied.retained_bytes();
                if bytes > PRECOPIED_OF_NODE_BYTES_MAX {
                    let (versions, refused) = (reservation.copied.versions(), Some(RefuseReason::Overloaded));
                    let message = Message::Warmed { reservation: id, versions, refused };
                    self.send(peer.node, Lane::Control, message);
                    return;
                }
                *kept = bytes;
                reservation.copied = copied.clone();
                if let Stage::Reserved { asked } = &mut reservation.stage {
                    *asked = true;
                }
                self.command(GameCommand::Warm { entity: id.entity, reservation: id, snapshot: copied });
            }
            Err(unfit) => {
                let versions = reservation.copied.versions();
                let reason = self.judge_unfit(peer, id.entity, &unfit);
                let message = Message::Warmed { reservation: id, versions, refused: Some(reason) };
                self.send(peer.node, Lane::Control, message);
            }
        }
    }

    /// Step 6b: the game has built the entity, or won't have it.
    pub(super) fn on_warmed_by_game(&mut self, entity: EntityId, id: ReservationId, accepted: bool) {
        let key = (entity, id.source.node);
        let Some(reservation) = self.reservations.get_mut(&key).filter(|known| known.id == id) else {
            return;
        };
        let refused = (!accepted).then_some(RefuseReason::Game);
        match (&reservation.stage, accepted) {
            (Stage::Reserved { .. }, true) => reservation.stage = Stage::Warm,
            (Stage::Warm, false) => reservation.stage = Stage::Reserved { asked: true },
            (Stage::Reserved { .. }, false) | (Stage::Warm, true) => {}
            (Stage::Admitting(_), _) => return,
        }
        let versions = reservation.copied.versions();
        self.send(id.source.node, Lane::Control, Message::Warmed { reservation: id, versions, refused });
    }

    /// Puts a client that connected ahead where its entity will come.
    pub(super) fn park(&mut self, client: crate::id::ClientId, key: (EntityId, NodeId)) {
        let Some(reservation) = self.reservations.get_mut(&key) else {
            return;
        };
        if let Some(former) = reservation.parked.replace(client) {
            self.dismiss(former, ByeReason::Superseded);
        }
        self.clients.insert(client, ClientState::Parked { entity: key.0, source: key.1 });
        self.tell_client(client, crate::wire::ServerMessage::Parked { entity: key.0 });
    }
}
