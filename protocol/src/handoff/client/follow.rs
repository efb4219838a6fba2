//! Following the entity: connections, and whose word counts.

use core::time::Duration;

use super::world::{Connection, Phase};
use super::{CONNECTIONS_MAX, Client, ClientEvent, ClientOutput, ConnectionId, Stage};
use crate::id::{AuthorityEpoch, InputSeq};
use crate::time::Time;
use crate::wire::{ByeReason, Invitation, ServerMessage};

/// What a node says of the entity beside its state.
#[derive(Clone, Copy, Debug)]
struct Word {
    epoch: AuthorityEpoch,
    applied: InputSeq,
    durable: InputSeq,
}

impl Client {
    pub(super) fn connect(&mut self, invitation: Invitation, prepared: bool) {
        let Stage::InWorld(world) = &mut self.stage else {
            return;
        };
        if world.connections.len() >= CONNECTIONS_MAX {
            // The oldest that isn't in use makes room: a newer invitation is the likelier one.
            let current = world.current;
            let Some(oldest) = world.connections.keys().copied().find(|id| Some(*id) != current) else {
                return;
            };
            world.connections.remove(&oldest);
            world.former.take_if(|former| *former == oldest);
            self.outputs.push_back(ClientOutput::Close { connection: oldest });
        }
        self.next_connection += 1;
        let connection = ConnectionId(self.next_connection);
        let held = Connection { invitation: invitation.clone(), phase: Phase::Dialling, prepared };
        world.connections.insert(connection, held);
        world.lost_since = None;
        self.outputs.push_back(ClientOutput::Connect { connection, invitation });
    }

    pub(super) fn on_closed(&mut self, connection: ConnectionId, now: Time) {
        let Stage::InWorld(world) = &mut self.stage else {
            return;
        };
        let Some(closed) = world.connections.remove(&connection) else {
            return;
        };
        if world.current == Some(connection) {
            world.current = None;
        }
        world.former.take_if(|former| *former == connection);
        let redirect = world.redirect.take_if(|redirect| redirect.addr == closed.invitation.addr);
        if let Some(invitation) = redirect {
            self.connect(invitation, false);
        } else if world.connections.is_empty() {
            world.lost_since = Some(now);
        }
    }

    pub(super) fn on_message(&mut self, connection: ConnectionId, message: ServerMessage, now: Time) {
        let Stage::InWorld(world) = &mut self.stage else {
            return;
        };
        if !world.connections.contains_key(&connection) {
            return;
        }
        match message {
            ServerMessage::Parked { .. } => {}
            ServerMessage::Attached { entity, session: _, epoch, applied, durable, tick_interval_us } => {
                if entity != world.entity {
                    return;
                }
                self.tick_interval = Duration::from_micros(tick_interval_us);
                self.expect_sights();
                if self.follow(connection, Word { epoch, applied, durable }, now) {
                    self.repeat(now);
                }
            }
            ServerMessage::State { entity, epoch, tick, applied, durable, .. } => {
                if entity != world.entity {
                    return;
                }
                #[cfg(feature = "planted-bugs")]
                let durable = match self.config.planted_bug {
                    Some(crate::config::PlantedBug::ForgetApplied) => applied,
                    Some(_) | None => durable,
                };
                if world.former == Some(connection) && epoch < world.epoch {
                    self.log.hear(applied, durable);
                } else if !self.follow(connection, Word { epoch, applied, durable }, now) {
                    return;
                }
                self.rest_if_applied();
                // A datagram that was overtaken shows the past.
                if let Stage::InWorld(world) = &mut self.stage
                    && world.shown < (epoch, tick)
                {
                    world.shown = (epoch, tick);
                    self.let_sights_pass(tick, now);
                    self.on_state(message, epoch, now);
                }
            }
            ServerMessage::Ghosts { bytes } => self.on_ghosts(connection, bytes, now),
            ServerMessage::Preconnect { invitation } => {
                let known = world.connections.iter().any(|(id, held)| {
                    held.invitation.token == invitation.token
                        || (held.invitation.addr == invitation.addr
                            && held.phase != Phase::Dialling
                            && world.former != Some(*id))
                });
                if !known {
                    self.connect(invitation, true);
                }
            }
            ServerMessage::Redirect { epoch, invitation } => {
                if epoch <= world.epoch {
                    return;
                }
                let (mut used, mut known) = (false, false);
                for held in world.connections.values() {
                    used |= held.invitation.token == invitation.token;
                    known |= held.invitation.addr == invitation.addr;
                }
                // Told again, there is nobody at the other end of the connection that is known: it led to a process that
                // died and was started again at the same address.
                let again = world.redirect.as_ref().is_some_and(|told| told.token == invitation.token);
                if known && !again {
                    world.redirect = Some(invitation);
                } else if !used {
                    self.connect(invitation, false);
                }
            }
            ServerMessage::Bye { reason } => self.on_bye(connection, reason, now),
        }
    }

    /// Takes the word of a connection: true if it is the newest authority's.
    fn follow(&mut self, connection: ConnectionId, word: Word, now: Time) -> bool {
        let Word { epoch, applied, durable } = word;
        let Stage::InWorld(world) = &mut self.stage else {
            return false;
        };
        if epoch < world.epoch {
            return false;
        }
        let Some(held) = world.connections.get_mut(&connection) else {
            return false;
        };
        let addr = &held.invitation.addr;
        if epoch == world.epoch && world.epoch_addr.as_ref().is_some_and(|known| known != addr) {
            self.outputs.push_back(ClientOutput::Event(ClientEvent::TwoAuthorities { epoch }));
            return false;
        }
        let moved = world.epoch_addr.as_ref().is_some_and(|known| known != addr);
        let recovered = world.epoch_addr.is_some() && epoch.generation > world.epoch.generation;
        world.epoch = epoch;
        world.epoch_addr = Some(addr.clone());
        held.phase = Phase::Attached;
        let prepared = held.prepared;
        if recovered {
            world.switched = None;
        } else if moved && let Some(last) = world.last_state_at {
            world.switched = Some((last, prepared));
        }
        if world.current != Some(connection) {
            let replaced = world.current.replace(connection);
            world.redirect = None;
            world.lost_since = None;
            world.quiet_since = now;
            // After a handoff the former node's last tick is still to come; what a dead one says counts no more.
            let speaks = moved && !recovered;
            let older = world.former.take().filter(|older| *older != connection);
            world.former = replaced.filter(|_| speaks);
            let useless = [older, replaced.filter(|_| !speaks)];
            for connection in useless.into_iter().flatten() {
                world.connections.remove(&connection);
                self.outputs.push_back(ClientOutput::Close { connection });
            }
        }
        if !world.entered {
            world.entered = true;
            let (session, entity) = (world.session, world.entity);
            self.outputs.push_back(ClientOutput::Event(ClientEvent::Entered { session, entity }));
        }
        if recovered {
            let silent = world.last_state_at.map_or(Duration::ZERO, |last| now.since(last));
            let back = self.log.roll_back(applied, durable);
            let (replayed, lost) = (back.replayed, back.lost);
            let event = ClientEvent::Recovered { epoch, silent, replayed, lost };
            self.outputs.push_back(ClientOutput::Event(event));
            self.repeat_at = Some(now);
        } else {
            self.log.hear(applied, durable);
        }
        true
    }

    fn on_state(&mut self, state: ServerMessage, epoch: AuthorityEpoch, now: Time) {
        let Stage::InWorld(world) = &mut self.stage else {
            return;
        };
        world.quiet_since = now;
        world.last_state_at = Some(now);
        world.missing = None;
        self.door_at = None;
        self.tries = 0;
        if epoch < world.epoch {
            // The former authority's last tick: the gap begins only now.
            if let Some((last, _)) = &mut world.switched {
                *last = now;
            }
            self.outputs.push_back(ClientOutput::Event(ClientEvent::State(state)));
            return;
        }
        if let Some(connection) = world.former.take() {
            world.connections.remove(&connection);
            self.outputs.push_back(ClientOutput::Close { connection });
        }
        if let Some((last, prepared)) = world.switched.take() {
            let gap = now.since(last).saturating_sub(self.tick_interval);
            self.outputs.push_back(ClientOutput::Event(ClientEvent::Switched { epoch, gap, prepared }));
        }
        self.outputs.push_back(ClientOutput::Event(ClientEvent::State(state)));
    }

    fn on_bye(&mut self, connection: ConnectionId, reason: ByeReason, now: Time) {
        let Stage::InWorld(world) = &self.stage else {
            return;
        };
        // Only the node that is followed knows the end; of what another says the door knows how much is true.
        let followed = world.current.is_none_or(|current| current == connection);
        match reason {
            ByeReason::LoggedOut | ByeReason::Gone | ByeReason::Refused if followed => {
                self.finish(Some(reason));
            }
            ByeReason::LoggedOut
            | ByeReason::Gone
            | ByeReason::Refused
            | ByeReason::BadToken
            | ByeReason::Full
            | ByeReason::Superseded
            | ByeReason::NotNeeded
            | ByeReason::Moved
            | ByeReason::Misbehaved
            | ByeReason::NodeLost => {
                self.outputs.push_back(ClientOutput::Close { connection });
                self.on_closed(connection, now);
            }
        }
    }

    pub(super) fn finish(&mut self, reason: Option<ByeReason>) {
        if matches!(self.stage, Stage::Over) {
            return;
        }
        if let Stage::InWorld(world) = &mut self.stage {
            for connection in core::mem::take(&mut world.connections).into_keys() {
                self.outputs.push_back(ClientOutput::Close { connection });
            }
        }
        self.stage = Stage::Over;
        self.repeat_at = None;
        self.door_at = None;
        self.outputs.push_back(ClientOutput::Event(ClientEvent::Over { reason }));
    }
}
