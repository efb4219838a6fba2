//! The client's part: follow the entity from node to node, repeat what is not acknowledged, never mix up authorities.
//!
//! The machine serves one player. It asks the coordinator's door where to enter, connects, connects ahead where it is
//! told to (`Preconnect`), and switches when a node with a higher epoch says `Attached` or shows a state. Whoever lost
//! every connection asks the door again.

mod inputs;
mod io;

pub use io::{
    CONNECTIONS_MAX, ClientConfig, ClientEvent, ClientInput, ClientOutput, ClientTimeout, ConnectionId,
};

use std::collections::{BTreeMap, VecDeque};

use core::time::Duration;

use crate::id::{AuthorityEpoch, EntityId, InputSeq, SessionId};
use crate::time::{Tick, Time};
use crate::token::Token;
use crate::wire::{ByeReason, InputMessage, Invitation, ServerMessage, SessionReply, SessionRequest};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Dialling,
    Parked,
    Attached,
}

#[derive(Debug)]
struct Connection {
    invitation: Invitation,
    phase: Phase,
    prepared: bool,
}

#[derive(Debug)]
enum Stage {
    Outside,
    Entering { name: String, credential: Vec<u8> },
    InWorld(Box<InWorld>),
    Over,
}

#[derive(Debug)]
struct InWorld {
    session: SessionId,
    secret: Token,
    entity: EntityId,
    epoch: AuthorityEpoch,
    epoch_addr: Option<String>,
    current: Option<ConnectionId>,
    /// The connection to the authority before, until the new one has shown a state: the old one's last tick may still be
    /// on its way, overtaken by the new one's `Attached`.
    former: Option<ConnectionId>,
    connections: BTreeMap<ConnectionId, Connection>,
    /// The last `Redirect` whose token was not used yet.
    redirect: Option<Invitation>,
    last_state_at: Option<Time>,
    /// The newest state that was shown.
    shown: (AuthorityEpoch, Tick),
    /// Set at a switch until the first state from the new node: the last state from the old one.
    switched: Option<(Time, bool)>,
    quiet_since: Time,
    lost_since: Option<Time>,
    entered: bool,
    logout: bool,
}

/// The client's machine. See the module's page.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    stage: Stage,
    next_connection: u64,
    next_seq: InputSeq,
    tick_interval: Duration,
    unacknowledged: VecDeque<InputMessage>,
    repeat_at: Option<Time>,
    door_at: Option<Time>,
    outputs: VecDeque<ClientOutput>,
}

impl Client {
    /// Makes a client that is not in any world yet.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        Self {
            config,
            stage: Stage::Outside,
            next_connection: 0,
            next_seq: InputSeq(1),
            tick_interval: Duration::ZERO,
            unacknowledged: VecDeque::new(),
            repeat_at: None,
            door_at: None,
            outputs: VecDeque::new(),
        }
    }

    /// The number of the last input that was taken from the player; 0 before the first.
    #[must_use]
    pub fn last_input(&self) -> InputSeq {
        InputSeq(self.next_seq.0 - 1)
    }

    /// Inputs that no node has acknowledged as applied yet.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.unacknowledged.len()
    }

    /// Whether the player is attached to a node right now.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        matches!(&self.stage, Stage::InWorld(world) if world.current.is_some())
    }

    /// Takes one input. Never fails.
    pub fn handle(&mut self, input: ClientInput, now: Time) {
        match input {
            ClientInput::Enter { name, credential } => {
                if matches!(self.stage, Stage::Outside) {
                    self.stage = Stage::Entering { name, credential };
                    self.ask_door(now);
                }
            }
            ClientInput::Door(reply) => self.on_door(reply, now),
            ClientInput::DoorFailed => self.ask_later(now),
            ClientInput::Connected { connection } => {
                if let Stage::InWorld(world) = &mut self.stage
                    && let Some(held) = world.connections.get_mut(&connection)
                    && held.phase == Phase::Dialling
                {
                    held.phase = Phase::Parked;
                }
            }
            ClientInput::Closed { connection } => self.on_closed(connection, now),
            ClientInput::Message { connection, message } => self.on_message(connection, message, now),
            ClientInput::Act(bytes) => self.on_act(bytes, now),
            ClientInput::Logout => {
                match &mut self.stage {
                    Stage::InWorld(world) => world.logout = true,
                    Stage::Outside | Stage::Entering { .. } | Stage::Over => {
                        self.finish(None);
                        return;
                    }
                }
                self.repeat(now);
            }
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.repeat_at.is_some_and(|at| at <= now) {
            self.repeat(now);
        }
        if self.door_at.is_some_and(|at| at <= now) {
            self.ask_door(now);
        } else if self.door_at.is_none() && self.lost_at().is_some_and(|at| at <= now) {
            self.outputs.push_back(ClientOutput::Event(ClientEvent::Lost));
            self.ask_door(now);
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<ClientOutput> {
        self.outputs.pop_front()
    }

    /// When to call `handle_timeout`, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Time, ClientTimeout)> {
        let repeat = self.repeat_at.map(|at| (at, ClientTimeout::Repeat));
        let door = self.door_at.map(|at| (at, ClientTimeout::Door));
        let lost = match self.door_at {
            None => self.lost_at().map(|at| (at, ClientTimeout::Lost)),
            Some(_) => None,
        };
        [repeat, door, lost].into_iter().flatten().min()
    }

    /// When the connections count as lost or silent, if nothing happens.
    fn lost_at(&self) -> Option<Time> {
        let Stage::InWorld(world) = &self.stage else {
            return None;
        };
        let lost = world.lost_since.map(|since| since + self.config.lost_patience);
        let silent = world.quiet_since + self.config.silence_patience;
        Some(lost.map_or(silent, |lost| lost.min(silent)))
    }

    fn ask_door(&mut self, now: Time) {
        let request = match &self.stage {
            Stage::Entering { name, credential } => {
                SessionRequest::Enter { name: name.clone(), credential: credential.clone() }
            }
            Stage::InWorld(world) => SessionRequest::Resume { session: world.session, secret: world.secret },
            Stage::Outside | Stage::Over => return,
        };
        // An answer may never come: ask again then. The door answers within its own patience of 5 s.
        self.door_at = Some(now + self.config.door_retry.saturating_mul(12));
        self.outputs.push_back(ClientOutput::Ask(request));
    }

    fn ask_later(&mut self, now: Time) {
        if matches!(self.stage, Stage::Entering { .. } | Stage::InWorld(_)) {
            self.door_at = Some(now + self.config.door_retry);
        }
    }

    fn on_door(&mut self, reply: SessionReply, now: Time) {
        if self.door_at.is_none() {
            return;
        }
        match reply {
            SessionReply::Entered { session, secret, entity, invitation } => {
                self.door_at = None;
                match &mut self.stage {
                    Stage::Entering { .. } => {
                        self.stage = Stage::InWorld(Box::new(InWorld::new(session, secret, entity, now)));
                    }
                    Stage::InWorld(world) if world.session == session => {
                        world.secret = secret;
                        world.quiet_since = now;
                    }
                    Stage::InWorld(_) | Stage::Outside | Stage::Over => return,
                }
                self.connect(invitation, false);
            }
            SessionReply::Refused { reason, retry } => {
                self.outputs.push_back(ClientOutput::Event(ClientEvent::Refused { reason, retry }));
                if retry {
                    self.ask_later(now);
                } else {
                    self.finish(None);
                }
            }
        }
    }

    fn connect(&mut self, invitation: Invitation, prepared: bool) {
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

    fn on_closed(&mut self, connection: ConnectionId, now: Time) {
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

    fn on_message(&mut self, connection: ConnectionId, message: ServerMessage, now: Time) {
        let Stage::InWorld(world) = &mut self.stage else {
            return;
        };
        if !world.connections.contains_key(&connection) {
            return;
        }
        match message {
            ServerMessage::Parked { .. } => {}
            ServerMessage::Attached { entity, epoch, applied, tick_interval_us, .. } => {
                if entity != world.entity {
                    return;
                }
                self.tick_interval = Duration::from_micros(tick_interval_us);
                if self.follow(connection, epoch, now) {
                    self.acknowledge(applied);
                    // Whoever comes back without a memory of its inputs goes on behind what the world has seen.
                    self.next_seq = self.next_seq.max(applied.next());
                    self.repeat(now);
                }
            }
            ServerMessage::State { entity, epoch, tick, applied, .. } => {
                let of_former = world.former == Some(connection) && epoch < world.epoch;
                if entity != world.entity || !(of_former || self.follow(connection, epoch, now)) {
                    return;
                }
                self.acknowledge(applied);
                // A datagram that was overtaken shows the past.
                if let Stage::InWorld(world) = &mut self.stage
                    && world.shown < (epoch, tick)
                {
                    world.shown = (epoch, tick);
                    self.on_state(message, epoch, now);
                }
            }
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
                let known = world.connections.values().any(|held| held.invitation.addr == invitation.addr);
                if known {
                    world.redirect = Some(invitation);
                } else {
                    self.connect(invitation, false);
                }
            }
            ServerMessage::Bye { reason } => self.on_bye(connection, reason, now),
        }
    }

    /// Takes the word of a connection that claims `epoch`: true if it is the newest authority's.
    fn follow(&mut self, connection: ConnectionId, epoch: AuthorityEpoch, now: Time) -> bool {
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
        world.epoch = epoch;
        world.epoch_addr = Some(addr.clone());
        held.phase = Phase::Attached;
        let prepared = held.prepared;
        if moved && let Some(last) = world.last_state_at {
            world.switched = Some((last, prepared));
        }
        if world.current != Some(connection) {
            let replaced = world.current.replace(connection);
            world.redirect = None;
            world.lost_since = None;
            world.quiet_since = now;
            let older = world.former.take().filter(|older| *older != connection);
            world.former = replaced.filter(|_| moved);
            let useless = [older, replaced.filter(|_| !moved)];
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
        true
    }

    fn on_state(&mut self, state: ServerMessage, epoch: AuthorityEpoch, now: Time) {
        let Stage::InWorld(world) = &mut self.stage else {
            return;
        };
        world.quiet_since = now;
        world.last_state_at = Some(now);
        self.door_at = None;
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
        match reason {
            ByeReason::LoggedOut | ByeReason::Gone | ByeReason::Refused => self.finish(Some(reason)),
            ByeReason::BadToken
            | ByeReason::Full
            | ByeReason::Superseded
            | ByeReason::NotNeeded
            | ByeReason::Moved
            | ByeReason::NodeLost
            | ByeReason::Misbehaved => {
                self.outputs.push_back(ClientOutput::Close { connection });
                self.on_closed(connection, now);
            }
        }
    }

    fn finish(&mut self, reason: Option<ByeReason>) {
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

impl InWorld {
    fn new(session: SessionId, secret: Token, entity: EntityId, now: Time) -> Self {
        Self {
            session,
            secret,
            entity,
            epoch: AuthorityEpoch::default(),
            epoch_addr: None,
            current: None,
            former: None,
            connections: BTreeMap::new(),
            redirect: None,
            last_state_at: None,
            shown: (AuthorityEpoch::default(), Tick::default()),
            switched: None,
            quiet_since: now,
            lost_since: None,
            entered: false,
            logout: false,
        }
    }
}
