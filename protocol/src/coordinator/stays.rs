//! Players' stays: from the session that was opened for them to the character that is saved.

use bytes::Bytes;
use core::time::Duration;

use super::{Coordinator, CoordinatorEvent, CoordinatorOutput, Record, SessionImage, TimerKey};
use crate::grid::Position;
use crate::id::{AuthorityEpoch, EntityId, NodeId, Peer, SessionId};
use crate::snapshot::SnapshotArchive;
use crate::time::Time;
use crate::token::Token;
use crate::wire::Message;

/// So many saves of a character in vain are no lag of the reports any more.
const DOUBTS_MAX: u32 = 5;
/// A session whose entity never appeared is forgotten after this.
pub(super) const UNUSED_SESSION: Duration = Duration::from_secs(60);
/// A session whose entity lived, and which no node holds, is forgotten after this: longer than a report may be late.
const MISSING_ENTITY: Duration = Duration::from_secs(10);
/// A session whose entity is gone waits this long for the character to be saved.
const SAVE_PATIENCE: Duration = Duration::from_secs(5);

/// A player's stay.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) name: String,
    pub(super) secret: Token,
    pub(super) entity: EntityId,
    /// The character as it was when the player entered, empty for a new one; none after a restart: the store has it.
    pub(super) baseline: Option<Bytes>,
    pub(super) entry: Position,
    /// Who was asked to let them in first. No other life may begin the entity: if that one did, unheard, it would live twice.
    pub(super) asked: Peer,
    /// Whether a node ever held the entity. If not, nobody minds if it is made anew.
    pub(super) lived: bool,
    /// Set once the entity is gone: the node that held it to its end.
    pub(super) gone_at: Option<NodeId>,
    /// How often its character came from a node that by the reports never held it.
    pub(super) doubted: u32,
    /// Whether the store is at work on its character: what comes again meanwhile is the same.
    pub(super) saving: bool,
}

impl Session {
    /// Whether the entity is gone, and only the character is awaited.
    pub(super) const fn is_over(&self) -> bool {
        self.gone_at.is_some()
    }
}

impl Coordinator {
    /// A node holds the player's entity, or has held it.
    pub(super) fn on_entity_lives(&mut self, session: SessionId, entity: EntityId) {
        if let Some(known) = self.sessions.get_mut(&session)
            && known.entity == entity
            && !core::mem::replace(&mut known.lived, true)
        {
            self.persist_session(session);
        }
    }

    /// The player's entity is gone: the session ends once the character is saved, by the node that held it last.
    pub(super) fn on_entity_gone(&mut self, session: SessionId, entity: EntityId, at: NodeId, now: Time) {
        if let Some(known) = self.sessions.get_mut(&session)
            && known.entity == entity
            && !known.is_over()
        {
            known.gone_at = Some(at);
            self.persist_session(session);
            self.timers.set(TimerKey::Session(session), now + SAVE_PATIENCE);
        }
    }

    /// These entities are lost: nobody has a character to save, and their players may enter anew.
    pub(super) fn end_sessions_of(&mut self, lost: &[EntityId]) {
        let lost: std::collections::BTreeSet<EntityId> = lost.iter().copied().collect();
        let sessions: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, known)| lost.contains(&known.entity))
            .map(|(&session, _)| session)
            .collect();
        for session in sessions {
            self.end_session(session);
        }
    }

    pub(super) fn on_session_due(&mut self, session: SessionId, now: Time) {
        let Some(known) = self.sessions.get(&session) else {
            return;
        };
        let lives = self.directory.holder(known.entity).is_some();
        let may_live = !self.all_told();
        // Who waits for an entity that lived, and that nobody holds, would wait for ever.
        let begins = || !known.lived && !self.directory.is_gone(known.entity) && self.is_asked_for(session);
        if !known.is_over() && (lives || may_live || begins()) {
            let patience = if known.lived { MISSING_ENTITY } else { UNUSED_SESSION };
            self.timers.set(TimerKey::Session(session), now + patience);
        } else {
            self.end_session(session);
        }
    }

    pub(super) fn end_session(&mut self, session: SessionId) {
        self.timers.cancel(TimerKey::Session(session));
        if let Some(ended) = self.sessions.remove(&session) {
            self.names.remove(&ended.name);
            self.persist(Record::SessionOver(session));
        }
    }

    /// `by`: the life in which the entity ended.
    pub(super) fn on_save_character(
        &mut self,
        by: Peer,
        session: SessionId,
        end: AuthorityEpoch,
        character: Bytes,
    ) {
        let from = by.node;
        // A former life's reports are not taken in any more: the round that settles it decides.
        let reports = self.peer(from) == Some(by);
        let Some(known) = self.sessions.get_mut(&session) else {
            // Saved before, and the acknowledgement was lost.
            self.send(from, Message::SaveAck { term: self.term, session });
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
        if self.directory.is_past(entity, end) {
            // A recovery undid this end, and the player plays on: perhaps at this very node again. That stay is not over.
            return;
        }
        // The node's reports may be on their way still: it sends the character again until it is acknowledged.
        let holder = self.directory.last_holder(entity).or(known.gone_at);
        if holder != Some(from) {
            known.doubted = known.doubted.saturating_add(u32::from(reports));
            if let (Some(holder), DOUBTS_MAX, true) = (holder, known.doubted, reports) {
                let what =
                    format!("it sends the character of {entity}, which by the reports is at node {holder}");
                self.misbehaved(from, what);
            }
            return;
        }
        if core::mem::replace(&mut known.saving, true) {
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
                self.end_session(session);
                self.send(node, Message::SaveAck { term: self.term, session });
            }
            // The node sends it again.
            Err(error) => {
                if let Some(known) = self.sessions.get_mut(&session) {
                    known.saving = false;
                }
                self.event(CoordinatorEvent::StoreFailed { error });
            }
        }
    }

    /// Goes on with a session that a former coordinator opened. It is looked at again once the nodes have had their time.
    pub(super) fn restore_session(&mut self, image: SessionImage, nodes_heard_at: Time) {
        let SessionImage { session, name, secret, entity, entry, asked, lived, gone_at } = image;
        let patience = match gone_at {
            Some(_) => SAVE_PATIENCE,
            None if lived => MISSING_ENTITY,
            None => UNUSED_SESSION,
        };
        self.timers.set(TimerKey::Session(session), nodes_heard_at + patience);
        self.names.insert(name.clone(), session);
        let (baseline, doubted, saving) = (None, 0, false);
        let known = Session { name, secret, entity, baseline, entry, asked, lived, gone_at, doubted, saving };
        self.sessions.insert(session, known);
    }

    pub(super) fn persist_session(&mut self, session: SessionId) {
        if let Some(known) = self.sessions.get(&session) {
            let image = SessionImage {
                session,
                name: known.name.clone(),
                secret: known.secret,
                entity: known.entity,
                entry: known.entry,
                asked: known.asked,
                lived: known.lived,
                gone_at: known.gone_at,
            };
            self.persist(Record::Session(image));
        }
    }
}
