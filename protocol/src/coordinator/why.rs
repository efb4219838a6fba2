//! Why an entity is where it is: what the coordinator knows, and what the node says that holds it.

use serde::{Deserialize, Serialize};

use super::{CENSUS_PATIENCE, Coordinator, CoordinatorOutput, Episode, TimerKey};
use crate::id::{AuthorityEpoch, EntityId, NodeId, Peer, SessionId};
use crate::limits::{HOPS_MAX, INQUIRIES_MAX};
use crate::time::{Time, micros};
use crate::wire::{Delay, Message, Stay, Whereabouts, WhyMessage};

/// Whom a question is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Whom {
    /// An entity.
    Entity(EntityId),
    /// The entity of the player of this name.
    Player(String),
}

/// Everything that is known of one entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhyAccount {
    /// Which.
    pub entity: EntityId,
    /// The player's session.
    pub session: Option<SessionId>,
    /// The player's name.
    pub name: Option<String>,
    /// Mesh time at which this was said, in microseconds.
    pub mesh_time_us: u64,
    /// Who holds it by the nodes' reports; none if no report names it.
    pub listed: Option<Listed>,
    /// Who ended it, if it is no more.
    pub ended: Option<Ended>,
    /// Whether every node has said what it holds since the coordinator started: until then the reports have gaps.
    pub directory_whole: bool,
    /// The node that was asked, and whether it answered.
    pub asked: Option<Asked>,
    /// How the entity stands, by the word of the node that holds it.
    pub stay: Option<Stay>,
    /// What keeps it there or delays it, by the same word.
    pub delays: Vec<Reason>,
    /// What became of its authority lately, the newest first.
    pub history: Vec<HistoryRow>,
}

/// An entity in the coordinator's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Who holds it.
    pub holder: Peer,
    /// Since which epoch.
    pub epoch: AuthorityEpoch,
    /// When that was first told, in microseconds before now.
    pub told_ago_us: u64,
}

/// The end of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Who held it last.
    pub by: NodeId,
    /// At which epoch.
    pub epoch: AuthorityEpoch,
}

/// A node that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Which.
    pub node: NodeId,
    /// What came of it.
    pub answer: Answered,
    /// Whether it is registered and its lease runs.
    pub alive: bool,
    /// Whether a link to it is up.
    pub linked: bool,
    /// When it was heard last, in microseconds before now.
    pub last_heard_us: u64,
}

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answered {
    /// The node holds the entity, and said how.
    Told,
    /// The node does not hold it: it is on its way, or ends just now.
    NotHere,
    /// It did not answer in time, or can't be reached.
    Silent,
}

/// A delay, and what to say of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// What delays.
    #[serde(flatten)]
    pub delay: Delay,
    /// The same as a sentence.
    pub says: String,
}

/// One line of an entity's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// What happened.
    #[serde(flatten)]
    pub episode: Episode,
    /// Of a handoff or recovery: ticks in which nobody simulated it.
    pub missed_ticks: Option<u64>,
    /// When, in microseconds before now; none if no tick is known.
    pub ago_us: Option<u64>,
}

/// A question under way.
#[derive(Debug)]
pub(super) struct Inquiry {
    entity: EntityId,
    /// Whose answer is awaited.
    asked: Option<NodeId>,
    /// How often a former holder named the next.
    hops: u8,
    /// Whether somebody who was asked doesn't hold it.
    denied: bool,
    deadline: Time,
}

/// What the node that holds it said.
type Told = (Stay, Vec<Delay>);

impl Coordinator {
    pub(super) fn on_why_asked(&mut self, request: u64, whom: &Whom, now: Time) {
        let entity = match whom {
            Whom::Entity(entity) => Some(*entity),
            Whom::Player(name) => {
                let session = self.names.get(name).and_then(|session| self.sessions.get(session));
                session.map(|session| session.entity)
            }
        };
        let Some(entity) = entity else {
            self.outputs.push_back(CoordinatorOutput::Why { request, account: None });
            return;
        };
        let inquiry =
            Inquiry { entity, asked: None, hops: 0, denied: false, deadline: now + CENSUS_PATIENCE };
        if self.inquiries.len() >= INQUIRIES_MAX {
            self.answer_why(request, &inquiry, None, now);
            return;
        }
        self.inquiries.insert(request, inquiry);
        self.on_why_due(request, now);
    }

    /// Asks whom the reports name, again and again: they may lag behind a handoff.
    pub(super) fn on_why_due(&mut self, request: u64, now: Time) {
        let Some(inquiry) = self.inquiries.get(&request) else {
            return;
        };
        let (entity, deadline) = (inquiry.entity, inquiry.deadline);
        let holder = self.directory.holder(entity).map(|holder| holder.node);
        let reachable = holder.is_some_and(|node| self.nodes.get(&node).is_some_and(|node| node.stands()));
        if let Some(node) = holder.filter(|_| reachable && now < deadline) {
            self.ask_why(request, node, now);
        } else if let Some(mut inquiry) = self.inquiries.remove(&request) {
            inquiry.asked = inquiry.asked.or(holder);
            self.answer_why(request, &inquiry, None, now);
        }
    }

    fn ask_why(&mut self, request: u64, node: NodeId, now: Time) {
        let Some(inquiry) = self.inquiries.get_mut(&request) else {
            return;
        };
        inquiry.asked = Some(node);
        let (entity, deadline) = (inquiry.entity, inquiry.deadline);
        self.timers.set(TimerKey::Why(request), (now + self.config.retry).min(deadline));
        let term = self.term;
        self.send(node, Message::Why(WhyMessage::Ask { term, request, entity }));
    }

    pub(super) fn on_why_answer(&mut self, from: NodeId, request: u64, said: Whereabouts, now: Time) {
        let Some(inquiry) = self.inquiries.get_mut(&request).filter(|known| known.asked == Some(from)) else {
            return;
        };
        match said {
            Whereabouts::Here { stay, delays } => {
                self.timers.cancel(TimerKey::Why(request));
                if let Some(inquiry) = self.inquiries.remove(&request) {
                    self.answer_why(request, &inquiry, Some((stay, delays)), now);
                }
            }
            // The reports lag behind. Two that point at each other are asked no more than so often.
            Whereabouts::Moved { to } if inquiry.hops < HOPS_MAX => {
                inquiry.hops += 1;
                self.ask_why(request, to.node, now);
            }
            Whereabouts::Moved { .. } | Whereabouts::NotHere => inquiry.denied = true,
        }
    }

    fn answer_why(&mut self, request: u64, inquiry: &Inquiry, told: Option<Told>, now: Time) {
        self.timers.cancel(TimerKey::Why(request));
        let account = self.account(inquiry, told, now).map(Box::new);
        self.outputs.push_back(CoordinatorOutput::Why { request, account });
    }

    /// Everything that is known; none if nothing is.
    fn account(&self, inquiry: &Inquiry, told: Option<Told>, now: Time) -> Option<WhyAccount> {
        let entity = inquiry.entity;
        let listed = self.directory.listed(entity, now);
        let ended = self.directory.ended(entity);
        let history = self.directory.history(entity);
        if listed.is_none() && ended.is_none() && told.is_none() && history.is_empty() {
            return None;
        }
        let mesh_time = self.mesh_time.about(now);
        let interval = self.config.world.tick_interval;
        let row = |episode: Episode| {
            let ago_us = episode.tick().map(|tick| micros(mesh_time.since(tick.start(interval))));
            HistoryRow { missed_ticks: episode.missed_ticks(), ago_us, episode }
        };
        let answer = match (&told, inquiry.denied) {
            (Some(_), _) => Answered::Told,
            (None, true) => Answered::NotHere,
            (None, false) => Answered::Silent,
        };
        let asked = inquiry.asked.map(|node| match self.nodes.get(&node) {
            Some(record) => {
                let status = record.status(&self.map, now);
                let (alive, linked, last_heard_us) = (status.alive, status.linked, status.last_heard_us);
                Asked { node, answer, alive, linked, last_heard_us }
            }
            None => Asked { node, answer, alive: false, linked: false, last_heard_us: u64::MAX },
        });
        let (stay, delays) = told.map_or((None, Vec::new()), |(stay, delays)| (Some(stay), delays));
        let session = stay.and_then(|stay| stay.session).or_else(|| self.directory.session(entity));
        // A node may name any session: only the entity's own has its name.
        let session = session.filter(|id| self.sessions.get(id).is_none_or(|known| known.entity == entity));
        Some(WhyAccount {
            entity,
            session,
            name: session.and_then(|id| self.sessions.get(&id)).map(|known| known.name.clone()),
            mesh_time_us: mesh_time.as_micros(),
            listed,
            ended,
            directory_whole: self.directory.is_whole(),
            asked,
            stay,
            delays: delays.into_iter().map(|delay| Reason { says: delay.to_string(), delay }).collect(),
            history: history.into_iter().map(row).collect(),
        })
    }
}
