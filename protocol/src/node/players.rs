//! Players' comings and goings: admitted by the coordinator, joined, lingering, leaving, saved.

use bytes::Bytes;
use core::time::Duration;

use super::{ClientState, Destination, GameCommand, Held, LeaveReason, Node, Output, TimerKey};
use crate::grid::{Motion, Position, Velocity};
use crate::id::{AuthorityEpoch, ClientId, EntityId, Incarnation, InputSeq, SessionId};
use crate::inputs::InputQueue;
use crate::limits::CLIENTS_MAX;
use crate::snapshot::{Assembled, CapturedSnapshot, SnapshotArchive};
use crate::time::{Tick, Time};
use crate::token::{Token, TokenPurpose};
use crate::wire::{AdmitOutcome, ByeReason, Lane, Message, RefuseReason};

const SAVE_REPEAT: Duration = Duration::from_secs(1);
/// Characters that wait for the coordinator to save them. When it is full, the oldest session's goes.
const SAVES_MAX: usize = 4_096;

/// What the coordinator asks when a player is at its door.
#[derive(Debug)]
pub(super) struct Admit {
    pub(super) request: u64,
    pub(super) session: SessionId,
    pub(super) entity: EntityId,
    pub(super) name: String,
    pub(super) resume: bool,
    pub(super) entry: Position,
}

/// A player who may enter, until their client comes.
#[derive(Debug)]
pub(super) struct PendingJoin {
    session: SessionId,
    name: String,
    entry: Position,
    baseline: Option<Assembled>,
    token: Token,
    expires_at: Time,
}

/// A character on its way to the store.
#[derive(Debug)]
pub(super) struct Save {
    entity: EntityId,
    incarnation: Incarnation,
    end: AuthorityEpoch,
    character: Bytes,
}

impl Node {
    pub(super) fn on_admit(&mut self, admit: Admit, blob: &Bytes, now: Time) {
        let request = admit.request;
        let outcome = self.admit_outcome(admit, blob, now);
        self.tell_coordinator(Message::AdmitReply { request, outcome });
    }

    fn admit_outcome(&mut self, admit: Admit, blob: &Bytes, now: Time) -> AdmitOutcome {
        let Admit { session, entity, name, resume, entry, .. } = admit;
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let ttl_us = micros(self.setup.config.token_ttl);
        if self.held.contains_key(&entity) {
            if !resume {
                // Joined meanwhile: the coordinator will know in a moment, and then it asks for a player who comes back.
                return AdmitOutcome::Refused(RefuseReason::HeldHere);
            }
            let token = self.grant_token(entity, session, TokenPurpose::Resume, now);
            return AdmitOutcome::Token { token, ttl_us };
        }
        if let Some(tombstone) = self.tombstones.get(&entity) {
            return AdmitOutcome::Moved { to: tombstone.to };
        }
        if let Some(join) = self.joins.get(&entity) {
            return AdmitOutcome::Token { token: join.token, ttl_us: micros(join.expires_at.since(now)) };
        }
        if resume {
            return AdmitOutcome::NotHere;
        }
        if self.held.len() + self.joins.len() >= self.setup.config.entities_max
            || self.joins.len() >= CLIENTS_MAX
        {
            return AdmitOutcome::Refused(RefuseReason::Overloaded);
        }
        let Ok(baseline) = read_baseline(blob) else {
            return AdmitOutcome::Refused(RefuseReason::BadSnapshot);
        };
        let token = self.grant_token(entity, session, TokenPurpose::Join, now);
        let expires_at = now + self.setup.config.token_ttl;
        let join = PendingJoin { session, name, entry, baseline, token, expires_at };
        self.joins.insert(entity, join);
        self.timers.set(TimerKey::Join(entity), expires_at);
        AdmitOutcome::Token { token, ttl_us }
    }

    pub(super) fn on_join_due(&mut self, entity: EntityId, now: Time) {
        if self.joins.get(&entity).is_some_and(|join| join.expires_at <= now) {
            self.joins.remove(&entity);
        }
    }

    /// The player's client is here: the game lets them in at its next tick.
    pub(super) fn on_join(&mut self, client: ClientId, entity: EntityId, now: Time) {
        self.clients.insert(client, ClientState::Attached(entity));
        self.timers.cancel(TimerKey::Join(entity));
        let Some(join) = self.joins.remove(&entity).filter(|_| self.authority.spawn(entity)) else {
            self.dismiss(client, ByeReason::BadToken);
            return;
        };
        let PendingJoin { session, name, entry, baseline, .. } = join;
        let motion = Motion { position: entry, velocity: Velocity::new(0.0, 0.0, 0.0) };
        let inputs = InputQueue::new(InputSeq::default());
        let mut held = Held::new(Some(session), motion, inputs, Tick::default(), now);
        held.client = Some(client);
        self.held.insert(entity, held);
        let grant = AuthorityEpoch::FIRST;
        self.command(GameCommand::Join { entity, grant, session, name, entry, baseline });
    }

    pub(super) fn on_joined(&mut self, entity: EntityId, motion: Option<Motion>, tick: Tick, now: Time) {
        let grant = AuthorityEpoch::FIRST;
        if !self.authority.holds(entity, grant) {
            return;
        }
        let Some(motion) = motion else {
            let end = self.authority.despawn(entity, grant);
            if let (Some(end), Some(held)) = (end, self.let_go(entity)) {
                self.forget_held(entity, &held, ByeReason::Refused);
                // Told, though nothing ever lived: it ends the session, so that the player may try anew.
                self.record_despawn(entity, held.session, end, tick, now);
            }
            return;
        };
        let Some(held) = self.held.get_mut(&entity) else {
            return;
        };
        held.motion = motion;
        held.last_tick = tick;
        let client = held.client;
        self.record_spawn(entity, tick, now);
        self.hurry_checkpoint(now);
        if let Some(client) = client {
            self.attach(client, entity, now);
        }
    }

    /// Who has come to be held here goes on with the client that is here for it; a player without one lingers.
    pub(super) fn attach_or_linger(
        &mut self,
        client: Option<ClientId>,
        entity: EntityId,
        session: Option<SessionId>,
        now: Time,
    ) {
        match (client, session) {
            (Some(client), _) => self.attach(client, entity, now),
            (None, Some(_)) => self.start_linger(entity, now),
            (None, None) => {}
        }
    }

    /// A player without a client stays for a while.
    pub(super) fn start_linger(&mut self, entity: EntityId, now: Time) {
        self.timers.set(TimerKey::Linger(entity), now + self.setup.config.linger);
    }

    pub(super) fn on_linger_due(&mut self, entity: EntityId, now: Time) {
        let Some(held) = self.held.get(&entity).filter(|held| held.client.is_none()) else {
            return;
        };
        // Asked again until the game has answered: a command to an entity that is just frozen is lost on it.
        let why = held.leaving.unwrap_or(LeaveReason::Lingered);
        self.ask_to_leave(entity, why);
        self.timers.set(TimerKey::Linger(entity), now + self.setup.config.transfer_patience);
    }

    /// Has the game capture and forget a player. If the entity is frozen its outcome is awaited first.
    pub(super) fn ask_to_leave(&mut self, entity: EntityId, why: LeaveReason) {
        let Some(held) = self.held.get_mut(&entity) else {
            return;
        };
        held.leaving = Some(why);
        if let Some(grant) = self.authority.active_epoch(entity) {
            self.command(GameCommand::Leave { entity, grant, why });
        }
    }

    pub(super) fn on_left(
        &mut self,
        entity: EntityId,
        grant: AuthorityEpoch,
        snapshot: Option<CapturedSnapshot>,
        tick: Tick,
        now: Time,
    ) {
        let Some(end) = self.authority.despawn(entity, grant) else {
            return;
        };
        let Some(held) = self.let_go(entity) else {
            return;
        };
        let bye = match held.leaving {
            Some(LeaveReason::Logout) => ByeReason::LoggedOut,
            Some(LeaveReason::Lingered) | None => ByeReason::Gone,
        };
        self.forget_held(entity, &held, bye);
        self.remember_end(entity, end);
        self.forget_shown(entity, crate::ghost::VanishReason::Ended, end);
        self.record_despawn(entity, held.session, end, tick, now);
        if let (Some(session), Some(snapshot), Some(me)) = (held.session, snapshot, self.me()) {
            // The coordinator takes a character only from the node that held it last: it must know who that was.
            self.flush_directory(now);
            if self.saves.len() >= SAVES_MAX {
                self.saves.pop_first();
            }
            let (incarnation, character) = (me.incarnation, snapshot.bytes);
            self.saves.insert(session, Save { entity, incarnation, end, character });
            self.repeat_saves(now);
        }
    }

    /// Sends every character that the coordinator has not saved yet.
    pub(super) fn repeat_saves(&mut self, now: Time) {
        if self.saves.is_empty() {
            return;
        }
        for (&session, save) in &self.saves {
            let &Save { entity, incarnation, end, ref character } = save;
            self.outputs.push_back(Output::Send {
                to: Destination::Coordinator,
                lane: Lane::Checkpoint,
                message: Message::SaveCharacter { session, entity, incarnation, end },
                blob: character.clone(),
            });
        }
        self.timers.set(TimerKey::Saves, now + SAVE_REPEAT);
    }
}

fn read_baseline(blob: &Bytes) -> Result<Option<Assembled>, crate::snapshot::SnapshotError> {
    if blob.is_empty() {
        return Ok(None);
    }
    let mut baseline = Assembled::new();
    baseline.apply(SnapshotArchive::validate(blob.clone())?)?;
    Ok(Some(baseline))
}
