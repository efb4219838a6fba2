//! Players at the door: who they are, where they enter, where they find their entity again.

use bytes::Bytes;
use rand::{Rng, RngExt};

use super::stays::{Session, UNUSED_SESSION};
use super::{Coordinator, CoordinatorEvent, CoordinatorOutput, TimerKey};
use crate::grid::Position;
use crate::id::{AuthorityEpoch, EntityId, NodeId, Peer, SessionId};
use crate::limits::{HOPS_MAX, NAME_BYTES_MAX, REASON_BYTES_MAX, SESSIONS_MAX};
use crate::snapshot::SnapshotArchive;
use crate::time::Time;
use crate::token::Token;
use crate::wire::{AdmitOutcome, Invitation, Message, SessionReply, SessionRequest};

/// Questions at the door that are not answered yet. Further ones are refused.
const ENTRIES_MAX: usize = 65_536;

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
    /// The store is asked again for the character of a session that was opened before the coordinator restarted.
    Reloading { session: SessionId, node: NodeId, enters: bool },
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
                if known.is_over() {
                    self.refuse(request, "the session is over", false);
                    return;
                }
                let node = known.asked.node;
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
        let (directory, whole) = (&self.directory, self.directory.is_whole());
        let unused = |known: &Session| {
            let settled = whole || known.baseline.is_some();
            !known.is_over() && !known.lived && settled && directory.holder(known.entity).is_none()
        };
        let known =
            self.names.get(name).and_then(|&session| Some((session, self.sessions.get_mut(&session)?)));
        let Some((session, known)) = known.filter(|(_, known)| unused(known)) else {
            self.end_entry(request);
            self.refuse(request, "the character is in the world already", true);
            return;
        };
        known.secret = secret;
        let node = known.asked.node;
        self.persist_session(session);
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
        let loading = match self.entries.get(&request).map(|entry| &entry.stage) {
            Some(Stage::Loading { name }) => Ok(name.clone()),
            Some(&Stage::Reloading { session, node, enters }) => {
                Err(Stage::Admitting { session, node, hops: 0, enters, listed: None })
            }
            Some(Stage::Authenticating | Stage::Admitting { .. }) | None => return,
        };
        let baseline = match character {
            Ok(character) => character.unwrap_or_default(),
            Err(error) => {
                self.end_entry(request);
                self.event(CoordinatorEvent::StoreFailed { error });
                self.refuse(request, "the character could not be loaded: try again later", true);
                return;
            }
        };
        let name = match loading {
            Ok(name) => name,
            Err(stage) => {
                self.on_reloaded(request, stage, baseline, now);
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
        let Some((position, life)) = entry else {
            self.end_entry(request);
            self.refuse(request, "no node is ready for players yet: try again later", true);
            return;
        };
        let session = SessionId::from_u128(self.random_u128());
        let opened = Session {
            name: name.clone(),
            secret: Token::generate(&mut self.random),
            entity: EntityId::from_u128(self.random_u128()),
            baseline: Some(baseline),
            entry: position,
            asked: life,
            lived: false,
            gone_at: None,
            doubted: 0,
            saving: false,
        };
        self.sessions.insert(session, opened);
        self.persist_session(session);
        self.names.insert(name, session);
        self.timers.set(TimerKey::Session(session), now + UNUSED_SESSION);
        if let Some(entry) = self.entries.get_mut(&request) {
            entry.stage = Stage::Admitting { session, node: life.node, hops: 0, enters: true, listed: None };
        }
        self.on_entry_due(request, now);
    }

    /// The character of a session that was opened before the coordinator restarted is here again.
    fn on_reloaded(&mut self, request: u64, stage: Stage, baseline: Bytes, now: Time) {
        if let Stage::Admitting { session, .. } = stage
            && let Some(known) = self.sessions.get_mut(&session)
        {
            known.baseline = Some(baseline);
        }
        if let Some(entry) = self.entries.get_mut(&request) {
            entry.stage = stage;
        }
        self.on_entry_due(request, now);
    }

    fn random_u128(&mut self) -> u128 {
        (u128::from(self.random.next_u64()) << 64) | u128::from(self.random.next_u64())
    }

    /// Where a player enters: where the character last stood, or a random place in the next cell in turn.
    fn entry_of(&mut self, baseline: &Bytes) -> Option<(Position, Peer)> {
        if !baseline.is_empty()
            && let Ok(archive) = SnapshotArchive::validate(baseline.clone())
        {
            let position = archive.head().position;
            if let Some(life) = self.live_owner(position) {
                return Some((position, life));
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
            if let Some(life) = self.live_owner(position) {
                return Some((position, life));
            }
        }
        None
    }

    fn live_owner(&self, position: Position) -> Option<Peer> {
        let owner = self.map.owner_at(&self.grid, position)?;
        self.nodes.get(&owner).filter(|record| record.alive).map(super::nodes::NodeRecord::peer)
    }

    /// The node that may begin the session's entity, if one may now. No other life may than the one that was asked first: if
    /// that is over, the round that recovers it decides; if that brought nothing, the session is over and the player may
    /// enter anew.
    fn beginner(&mut self, session: SessionId) -> Option<NodeId> {
        let known = self.sessions.get(&session)?;
        let asked = known.asked;
        if self.directory.listing(known.entity).is_some() {
            // It has begun, and its node's word of it is on its way.
            return None;
        }
        if !self.lives.contains_key(&asked) {
            self.end_session(session);
            return None;
        }
        // On a new link there may be another process, that has not said yet who it is.
        let stands = |record: &super::nodes::NodeRecord| record.stands() && record.peer() == asked;
        self.nodes.get(&asked.node).is_some_and(stands).then_some(asked.node)
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
            self.end_entry(request);
            self.refuse(
                request,
                "the character's node is dead, and nobody has a copy of it: enter again",
                true,
            );
            return;
        };
        if *enters && known.lived {
            self.end_entry(request);
            self.refuse(request, "the character is in the world already", true);
            return;
        }
        let listing = self.directory.listing(known.entity).filter(|_| !*enters);
        // The node that was asked may be dead, or may have restored another's entity: the directory's news counts.
        if let Some((holder, epoch)) = listing
            && *listed != Some(epoch)
        {
            (*node, *hops, *listed) = (holder.node, 0, Some(epoch));
        }
        // A coordinator that has just started may not have heard of an entity that lives.
        let may_live = known.baseline.is_none() && !self.directory.is_whole();
        let resume = !*enters && (known.lived || may_live || listing.is_some());
        let (session, enters) = (*session, *enters);
        let node = if resume { Some(*node) } else { self.beginner(session) };
        let Some(node) = node else {
            return;
        };
        let Some(known) = self.sessions.get(&session) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(&request) else {
            return;
        };
        if let Stage::Admitting { node: asked, .. } = &mut entry.stage {
            *asked = node;
        }
        let baseline = match &known.baseline {
            Some(baseline) => baseline.clone(),
            None if resume => Bytes::new(),
            None => {
                let name = known.name.clone();
                entry.stage = Stage::Reloading { session, node, enters };
                self.timers.set(TimerKey::Entry(request), entry.deadline);
                self.outputs.push_back(CoordinatorOutput::LoadCharacter { request, name });
                return;
            }
        };
        let message = Message::Admit {
            term: self.term,
            request,
            session,
            entity: known.entity,
            name: known.name.clone(),
            resume,
            entry: known.entry,
        };
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

    pub(super) fn is_asked_for(&self, session: SessionId) -> bool {
        self.entries
            .values()
            .any(|entry| matches!(entry.stage, Stage::Admitting { session: asked, .. } if asked == session))
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
