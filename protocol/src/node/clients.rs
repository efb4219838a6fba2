//! Players' connections: tokens at the door, who is attached to what, inputs on their way to the game.

use bytes::Bytes;

use super::{GameCommand, LeaveReason, Node, NodeEvent, TimerKey};
use crate::authority::Standing;
use crate::id::{ClientId, EntityId, NodeId};
use crate::limits::CLIENTS_MAX;
use crate::time::Time;
use crate::token::{Token, TokenError, TokenGrant, TokenPurpose};
use crate::wire::{ByeReason, ClientMessage, InputMessage, ServerMessage};

/// What a client's connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ClientState {
    /// Connected ahead; the entity is not here yet.
    Parked { entity: EntityId, source: NodeId },
    /// Its entity is held here.
    Attached(EntityId),
    /// Its entity has left; it is told where, and what it sends is passed on.
    Following(EntityId),
}

impl Node {
    pub(super) fn on_client_hello(&mut self, client: ClientId, token: &Token, now: Time) {
        if self.clients.contains_key(&client) {
            self.client_misbehaved(client, "said hello twice");
            return;
        }
        if self.clients.len() >= CLIENTS_MAX {
            self.turn_away(client, ByeReason::Full);
            return;
        }
        match self.admit_token(token, now) {
            Ok(TokenGrant { entity, purpose: TokenPurpose::Join, .. }) => self.on_join(client, entity, now),
            Ok(TokenGrant { entity, purpose: TokenPurpose::Handoff | TokenPurpose::Resume, .. }) => {
                self.on_arrival(client, entity, token, now);
            }
            Err(cause) => {
                self.event(NodeEvent::TokenRefused { client, cause });
                self.turn_away(client, ByeReason::BadToken);
            }
        }
    }

    fn admit_token(&mut self, token: &Token, now: Time) -> Result<TokenGrant, TokenError> {
        #[cfg(feature = "planted-bugs")]
        if self.setup.config.has_bug(crate::config::PlantedBug::ReuseTokens) {
            return self.tokens.admit_reusable(token, now);
        }
        self.tokens.admit(token, now)
    }

    /// A client came for an entity that is here, will be, or was.
    fn on_arrival(&mut self, client: ClientId, entity: EntityId, token: &Token, now: Time) {
        if self.held.contains_key(&entity) {
            self.attach(client, entity, now);
            return;
        }
        let range = (entity, NodeId::from_u128(0))..=(entity, NodeId::from_u128(u128::MAX));
        let reserved = self
            .reservations
            .range(range)
            .find(|(_, reservation)| reservation.token.as_ref() == Some(token))
            .map(|(&key, _)| key);
        if let Some(key) = reserved {
            self.park(client, key);
            return;
        }
        let Some(tombstone) = self.tombstones.get_mut(&entity) else {
            self.turn_away(client, ByeReason::NotNeeded);
            return;
        };
        // Handed on before the client came: it follows the chain.
        let former = tombstone.client.replace(client);
        tombstone.redirect_at = now;
        self.clients.insert(client, ClientState::Following(entity));
        if let Some(former) = former {
            self.dismiss(former, ByeReason::Superseded);
        }
        self.on_tombstone_due(entity, now);
    }

    /// Makes `client` the one that plays `entity`, which is held here.
    pub(super) fn attach(&mut self, client: ClientId, entity: EntityId, now: Time) {
        let epoch = match self.authority.standing(entity) {
            Some(Standing::Active(epoch)) => Some(epoch),
            Some(Standing::Frozen { .. }) => None,
            None => return,
        };
        let tick_interval = self.membership.tick_interval();
        let mesh_now = self.clock.mesh_time(now);
        let alone = self.is_alone();
        let Some(held) = self.held.get_mut(&entity) else {
            return;
        };
        let former = held.client.replace(client).filter(|&former| former != client);
        let (applied, session) = (held.inputs.confirmed(), held.session);
        let durable = if alone { applied } else { held.durable };
        let attach = now.since(held.since);
        let first = held.arrival.as_mut().filter(|arrival| !arrival.attached).map(|arrival| {
            arrival.attached = true;
            (mesh_now.since(arrival.asked_at), attach)
        });
        self.timers.cancel(TimerKey::Linger(entity));
        self.clients.insert(client, ClientState::Attached(entity));
        if let (Some(epoch), Some(session)) = (epoch, session) {
            let tick_interval_us = u64::try_from(tick_interval.as_micros()).unwrap_or(u64::MAX);
            let message =
                ServerMessage::Attached { entity, session, epoch, applied, durable, tick_interval_us };
            self.tell_client(client, message);
        }
        if let Some(former) = former {
            self.dismiss(former, ByeReason::Superseded);
        }
        if let Some((handoff_total, attach)) = first {
            self.event(NodeEvent::Attached { entity, handoff_total, attach });
        }
    }

    pub(super) fn on_client_message(&mut self, client: ClientId, message: ClientMessage, now: Time) {
        let Some(&state) = self.clients.get(&client) else {
            return;
        };
        match message {
            ClientMessage::Hello { .. } => {
                self.client_misbehaved(client, "said hello twice");
                self.on_client_closed(client, now);
                self.turn_away(client, ByeReason::Misbehaved);
            }
            ClientMessage::Inputs { entity, inputs } => match state {
                ClientState::Attached(own) if own == entity => self.take_inputs(entity, inputs),
                ClientState::Following(own) if own == entity => self.on_late_inputs(entity, 0, inputs, now),
                ClientState::Attached(_) | ClientState::Following(_) => {
                    self.client_misbehaved(client, "sent inputs for an entity that it does not play");
                }
                ClientState::Parked { .. } => {}
            },
            ClientMessage::Ghosts { bytes } => self.on_client_ghosts(client, &bytes, now),
            ClientMessage::Logout => {
                if let ClientState::Attached(entity) = state {
                    self.ask_to_leave(entity, LeaveReason::Logout);
                }
            }
        }
    }

    fn take_inputs(&mut self, entity: EntityId, inputs: Vec<InputMessage>) {
        let Some(held) = self.held.get_mut(&entity) else {
            return;
        };
        for InputMessage { seq, bytes } in inputs {
            held.inputs.offer(seq, Bytes::from(bytes));
        }
        self.deliver_inputs(entity);
    }

    /// Gives the game the inputs whose turn it is. While the entity is frozen they wait.
    pub(super) fn deliver_inputs(&mut self, entity: EntityId) {
        let Some(grant) = self.authority.active_epoch(entity) else {
            return;
        };
        let Some(held) = self.held.get_mut(&entity) else {
            return;
        };
        while let Some((seq, bytes)) = held.inputs.poll_deliver() {
            self.outputs.push_back(super::Output::Game(GameCommand::Input { entity, grant, seq, bytes }));
        }
    }

    /// Inputs passed on by a node that held the entity before.
    pub(super) fn on_relay(&mut self, entity: EntityId, hops: u8, inputs: Vec<InputMessage>, now: Time) {
        if self.held.contains_key(&entity) {
            self.take_inputs(entity, inputs);
        } else {
            self.on_late_inputs(entity, hops.saturating_add(1), inputs, now);
        }
    }

    fn on_late_inputs(&mut self, entity: EntityId, hops: u8, inputs: Vec<InputMessage>, now: Time) {
        let tombstone = self.tombstones.get(&entity).filter(|tombstone| now < tombstone.forward_until);
        if let Some(to) = tombstone.map(|tombstone| tombstone.to) {
            self.relay(to, entity, hops, inputs);
        }
    }

    pub(super) fn on_client_closed(&mut self, client: ClientId, now: Time) {
        let Some(state) = self.clients.remove(&client) else {
            return;
        };
        match state {
            ClientState::Parked { entity, source } => {
                if let Some(reservation) = self.reservations.get_mut(&(entity, source)) {
                    reservation.parked.take_if(|parked| *parked == client);
                }
            }
            ClientState::Attached(entity) => {
                let gone =
                    self.held.get_mut(&entity).and_then(|held| held.client.take_if(|own| *own == client));
                if gone.is_some() {
                    self.start_linger(entity, now);
                }
            }
            ClientState::Following(entity) => {
                if let Some(tombstone) = self.tombstones.get_mut(&entity) {
                    tombstone.client.take_if(|own| *own == client);
                }
            }
        }
    }

    /// Ends a connection that this node knows.
    pub(super) fn dismiss(&mut self, client: ClientId, reason: ByeReason) {
        if self.clients.remove(&client).is_some() {
            self.turn_away(client, reason);
        }
    }

    fn turn_away(&mut self, client: ClientId, reason: ByeReason) {
        self.tell_client(client, ServerMessage::Bye { reason });
        self.outputs.push_back(super::Output::CloseClient { client, reason });
    }
}
