//! Players at the door: who they are, where they enter, where they find their entity again.

use bytes::Bytes;
use core::time::Duration;
use rand::{Rng, RngExt};

use super::{Coordinator, CoordinatorEvent, CoordinatorOutput, TimerKey};
use crate::grid::Position;
use crate::id::{AuthorityEpoch, EntityId, NodeId, SessionId};
use crate::limits::{HOPS_MAX, NAME_BYTES_MAX, REASON_BYTES_MAX, SESSIONS_MAX};
use crate::snapshot::SnapshotArchive;
use crate::time::Time;
use crate::token::Token;
use crate::wire::{AdmitOutcome, Invitation, Message, SessionReply, SessionRequest};

/// Questions at the door that are not answered yet. Further ones are refused.
const ENTRIES_MAX: usize = 65_536;
/// So many saves of a character in vain are no lag of the reports any more.
const DOUBTS_MAX: u32 = 5;
/// A session whose entity never appeared is forgotten after this.
const UNUSED_SESSION: Duration = Duration::from_secs(60);
/// A session whose entity is gone waits this long for the character to be saved.
const SAVE_PATIENCE: Duration = Duration::from_secs(5);

/// A player's stay.
#[derive(Debug)]
pub(super) struct Session {
    name: String,
    secret: Token,
    entity: EntityId,
    /// The character as it was when the player entered; empty for a new one.
    pub(super) baseline: Bytes,
    entry: Position,
    /// The node that was asked to let them in first.
    first_node: NodeId,
    /// Set once the entity is gone.
    over: bool,
    /// How often its character came from a node that by the reports never held it.
    doubted: u32,
}

/// A question at the door.
#[derive(Debug)]
pub(super) struct Entry {
    deadline: Time,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The authenticator is asked.
    Authenticating,
    /// The store is asked.
    Loading { name: String },
    /// A node is asked. `enters`: for a player whose program is new to the entity, which must not have lived yet.
    /// `listed`: the directory's word that led to the node, or that the node was ahead of.
    Admitting { session: SessionId, node: NodeId, hops: u8, enters: bool, listed: Option<AuthorityEpoch> },
}

impl Coordinator {
    pub(super) fn on_session_request(&mut self, request: u64, message: SessionRequest, now: Time) {
        if self.entries.len() >= ENTRIES_MAX {
            self.refuse(request, "too many players are at the door: try again later", true);
            return;
        }
        let deadline = now + self.config.entry_patience;
        match message {
            SessionRequest::Enter { name, credential } => {
                self.entries.insert(request, Entry { deadline, stage: Stage::Authenticating });
                self.timers.set(TimerKey::Entry(request), deadline);
                self.outputs.push_back(CoordinatorOutput::Authenticate { request, name, credential });
            }
            SessionRequest::Resume { session, secret } => {
                let Some(known) = self.sessions.get(&session).filter(|known| known.secret == secret) else {
                    self.refuse(request, "the session is over, or was never opened", false);
                    return;
                };
                if known.over {
                    self.refuse(request, "the session is over", false);
                    return;
                }
                let node = known.first_node;
                let stage = Stage::Admitting { session, node, hops: 0, enters: false, listed: None };
                self.entries.insert(request, Entry { deadline, stage });
                self.on_entry_due(request, now);
            }
        }
    }

    pub(super) fn on_authenticated(&mut self, request: u64, verdict: Result<String, String>, now: Time) {
        let Some(entry) = self.entries.get_mut(&request) else {
            return;
        };
        if !matches!(entry.stage, Stage::Authenticating) {
            return;
        }
        match verdict {
            Ok(name) if name.is_empty() || name.len() > NAME_BYTES_MAX => {
                self.end_entry(request);
                self.refuse(request, "the character's name is empty or too long", false);
            }
            Ok(name) if self.names.contains_key(&name) => self.answer_anew(request, &name, now),
            Ok(name) => {
                entry.stage = Stage::Loading { name: name.clone() };
                self.outputs.push_back(CoordinatorOutput::LoadCharacter { request, name });
            }
            Err(reason) => {
                self.end_entry(request);
                self.refuse(request, &reason, false);
            }
        }
    }

    /// The name has a session. If its entity never lived, its answer was lost on the way: whoever proved to be the
    /// player gets it anew, and the former secret admits nobody any more. An entity that lives has inputs under way
    /// that only the program that sent them can go on numbering: it is that program's until it has lingered out.
    fn answer_anew(&mut self, request: u64, name: &str, now: Time) {
        let secret = Token::generate(&mut self.random);
        let unused = |known: &Session| !known.over && self.directory.holder(known.entity).is_none();
        let known =
            self.names.get(name).and_then(|&session| Some((session, self.sessions.get_mut(&session)?)));
        let Some((session, known)) = known.filter(|(_, known)| unused(known)) else {
            self.end_entry(request);
            self.refuse(request, "the character is in the world already", true);
            return;
        };
        known.secret = secret;
        let node = known.first_node;
        if let Some(entry) = self.entries.get_mut(&request) {
            entry.stage = Stage::Admitting { session, node, hops: 0, enters: true, listed: None };
        }
        self.on_entry_due(request, now);
    }

    pub(super) fn on_character_loaded(
        &mut self,
        request: u64,
        character: Result<Option<Bytes>, String>,
        now: Time,
    ) {
        let Some(Entry { stage: Stage::Loading { name }, .. }) = self.entries.get(&request) else {
            return;
        };
        let name = name.clone();
        let baseline = match character {
            Ok(character) => character.unwrap_or_default(),
            Err(error) => {
                self.end_entry(request);
                self.event(CoordinatorEvent::StoreFailed { error });
                self.refuse(request, "the character could not be loaded: try again later", true);
                return;
            }
        };
        if self.names.contains_key(&name) || self.sessions.len() >= SESSIONS_MAX {
            // Two asked at once, and the other was quicker; or there is no room.
            self.end_entry(request);
            self.refuse(request, "the character is entering already, or the world is full: try again", true);
            return;
        }
        let entry = self.entry_of(&baseline);
        let Some((position, node)) = entry else {
            self.end_entry(request);
            self.refuse(request, "no node is ready for players yet: try again later", true);
            return;
        };
        let session = SessionId::from_u128(self.random_u128());
        let opened = Session {
            name: name.clone(),
            secret: Token::generate(&mut self.random),
            entity: EntityId::from_u128(self.random_u128()),
            baseline,
            entry: position,
            first_node: node,
            over: false,
            doubted: 0,
        };
        self.sessions.insert(session, opened);
        self.names.insert(name, session);
        self.timers.set(TimerKey::Session(session), now + UNUSED_SESSION);
        if let Some(entry) = self.entries.get_mut(&request) {
            entry.stage = Stage::Admitting { session, node, hops: 0, enters: true, listed: None };
        }
        self.on_entry_due(request, now);
    }

    fn random_u128(&mut self) -> u128 {
        (u128::from(self.random.next_u64()) << 64) | u128::from(self.random.next_u64())
    }

    /// Where a player enters: where the character last stood, or a random place in the next cell in turn.
    fn entry_of(&mut self, baseline: &Bytes) -> Option<(Position, NodeId)> {
        if !baseline.is_empty()
            && let Ok(archive) = SnapshotArchive::validate(baseline.clone())
        {
            let position = archive.head().position;
            if let Some(node) = self.live_owner(position) {
                return Some((position, node));
            }
        }
        let cells: Vec<_> = self.map.owners().keys().copied().collect();
        for _ in 0..cells.len() {
            let turn = usize::try_from(self.entered % cells.len() as u64).unwrap_or(0);
            self.entered += 1;
            let bounds = self.grid.bounds(cells[turn]);
            let (min, max) = (bounds.min, bounds.max);
            let mut between =
                |low: f64, high: f64| low + (high - low) * (0.1 + 0.8 * self.random.random::<f64>());
            let z = if self.grid.is_flat() { self.grid.config().origin_m[2] } else { between(min.z, max.z) };
            let position = Position::new(between(min.x, max.x), between(min.y, max.y), z);
            if let Some(node) = self.live_owner(position) {
                return Some((position, node));
            }
        }
        None
    }

    fn live_owner(&self, position: Position) -> Option<NodeId> {
        let owner = self.map.owner_at(&self.grid, position)?;
        self.nodes.get(&owner).filter(|record| record.alive).map(|_| owner)
    }

    /// Asks the node in question, again and again until the player's patience ends.
    pub(super) fn on_entry_due(&mut self, request: u64, now: Time) {
        let Some(entry) = self.entries.get_mut(&request) else {
            return;
        };
        if entry.deadline <= now {
            self.end_entry(request);
            self.refuse(request, "nobody answered in time: try again later", true);
            return;
        }
        let Stage::Admitting { session, node, hops, enters, listed } = &mut entry.stage else {
            return;
        };
        self.timers.set(TimerKey::Entry(request), (now + self.config.retry).min(entry.deadline));
        let Some(known) = self.sessions.get(session) else {
            return;
        };
        let listing = self.directory.listing(known.entity).filter(|_| !*enters);
        // The node that was asked may be dead, or may have restored another's entity: the directory's news counts.
        if let Some((holder, epoch)) = listing
            && *listed != Some(epoch)
        {
            (*node, *hops, *listed) = (holder.node, 0, Some(epoch));
        }
        let (session, node, resume) = (*session, *node, listing.is_some());
        let message = Message::Admit {
            request,
            session,
            entity: known.entity,
            name: known.name.clone(),
            resume,
            entry: known.entry,
        };
        let baseline = known.baseline.clone();
        self.send_with(node, message, baseline);
    }

    pub(super) fn on_admit_reply(&mut self, from: NodeId, request: u64, outcome: AdmitOutcome, now: Time) {
        let Some(entry) = self.entries.get_mut(&request) else {
            return;
        };
        let Stage::Admitting { session, node, hops, .. } = &mut entry.stage else {
            return;
        };
        if *node != from {
            return;
        }
        let session = *session;
        let Some(known) = self.sessions.get(&session) else {
            return;
        };
        match outcome {
            AdmitOutcome::Token { token, ttl_us: _ } => {
                let (secret, entity) = (known.secret, known.entity);
                self.end_entry(request);
                let Some(record) = self.nodes.get(&from) else {
                    return;
                };
                let addr = record.entry.client_addr.clone();
                let server_name = record.entry.server_name.clone();
                let invitation = Invitation { addr, server_name, token };
                let reply = SessionReply::Entered { session, secret, entity, invitation };
                self.outputs.push_back(CoordinatorOutput::Reply { request, reply });
            }
            AdmitOutcome::Moved { to } => {
                if *hops < HOPS_MAX {
                    *hops += 1;
                    *node = to.node;
                    self.on_entry_due(request, now);
                }
            }
            AdmitOutcome::NotHere => {
                // News of a handoff may be on its way: the next try asks whoever holds the entity by then.
                if let Some(holder) = self.directory.holder(known.entity) {
                    *node = holder.node;
                }
            }
            AdmitOutcome::Refused(reason) => {
                self.end_entry(request);
                self.refuse(request, &format!("the node refused: {reason}"), true);
            }
        }
    }

    /// The player's entity is gone: the session ends once the character is saved.
    pub(super) fn on_entity_gone(&mut self, session: SessionId, now: Time) {
        if let Some(known) = self.sessions.get_mut(&session)
            && !known.over
        {
            known.over = true;
            self.timers.set(TimerKey::Session(session), now + SAVE_PATIENCE);
        }
    }

    /// These entities are lost: their players may enter anew.
    pub(super) fn end_sessions_of(&mut self, lost: &[EntityId], now: Time) {
        let lost: std::collections::BTreeSet<EntityId> = lost.iter().copied().collect();
        let sessions: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, known)| lost.contains(&known.entity))
            .map(|(&session, _)| session)
            .collect();
        for session in sessions {
            self.on_entity_gone(session, now);
        }
    }

    pub(super) fn on_session_due(&mut self, session: SessionId, now: Time) {
        let Some(known) = self.sessions.get(&session) else {
            return;
        };
        let lives = !known.over && self.directory.holder(known.entity).is_some();
        if lives || (!known.over && !self.directory.is_gone(known.entity) && self.is_asked_for(session)) {
            self.timers.set(TimerKey::Session(session), now + UNUSED_SESSION);
        } else {
            self.end_session(session);
        }
    }

    fn is_asked_for(&self, session: SessionId) -> bool {
        self.entries
            .values()
            .any(|entry| matches!(entry.stage, Stage::Admitting { session: asked, .. } if asked == session))
    }

    fn end_session(&mut self, session: SessionId) {
        self.timers.cancel(TimerKey::Session(session));
        if let Some(ended) = self.sessions.remove(&session) {
            self.names.remove(&ended.name);
        }
    }

    pub(super) fn on_save_character(&mut self, from: NodeId, session: SessionId, character: Bytes) {
        let Some(known) = self.sessions.get_mut(&session) else {
            // Saved before, and the acknowledgement was lost.
            self.send(from, Message::SaveAck { session });
            return;
        };
        let (name, entity) = (known.name.clone(), known.entity);
        match SnapshotArchive::validate(character.clone()) {
            Err(error) => {
                self.misbehaved(from, format!("it sent a character that is not a valid snapshot: {error}"));
                return;
            }
            Ok(archive) if archive.head().entity != entity || archive.head().session != Some(session) => {
                self.misbehaved(from, format!("it sent another character than that of session {session}"));
                return;
            }
            Ok(_) => {}
        }
        // The node's reports may be on their way still: it sends the character again until it is acknowledged.
        let holder = self.directory.last_holder(entity);
        if holder != Some(from) {
            known.doubted = known.doubted.saturating_add(1);
            if let (Some(holder), DOUBTS_MAX) = (holder, known.doubted) {
                let what =
                    format!("it sends the character of {entity}, which by the reports is at node {holder}");
                self.misbehaved(from, what);
            }
            return;
        }
        self.outputs.push_back(CoordinatorOutput::SaveCharacter { session, node: from, name, character });
    }

    pub(super) fn on_character_saved(
        &mut self,
        session: SessionId,
        node: NodeId,
        result: Result<(), String>,
    ) {
        match result {
            Ok(()) => {
                self.send(node, Message::SaveAck { session });
                self.end_session(session);
            }
            // The node sends it again.
            Err(error) => self.event(CoordinatorEvent::StoreFailed { error }),
        }
    }

    fn end_entry(&mut self, request: u64) {
        self.timers.cancel(TimerKey::Entry(request));
        self.entries.remove(&request);
    }

    fn refuse(&mut self, request: u64, reason: &str, retry: bool) {
        let mut reason = reason.to_owned();
        while reason.len() > REASON_BYTES_MAX {
            reason.pop();
        }
        let reply = SessionReply::Refused { reason, retry };
        self.outputs.push_back(CoordinatorOutput::Reply { request, reply });
    }
}
