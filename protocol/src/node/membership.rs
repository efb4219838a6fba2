//! The coordinator's side of a node: registration, heartbeats, the cell map, mesh time, the census.

use std::sync::Arc;

use bytes::Bytes;
use core::time::Duration;

use super::{Destination, Node, NodeEvent, Output, Registration, TimerKey};
use crate::cell_map::{CellMap, CellMapDiff, CellMapImage};
use crate::grid::{Grid, GridConfig};
use crate::id::{Incarnation, Peer, Term};
use crate::time::Time;
use crate::wire::{ActionMessage, EventMessage, Lane, Load, Message, PrepareOutcome, WhyMessage};

const REGISTER_RETRY: Duration = Duration::from_millis(500);
/// While mesh time rests on a few round trips, answered heartbeats follow each other in this part of their usual pause: the
/// first is made while both ends are busy with beginning, and milliseconds that it errs by are ticks that handoffs miss.
const YOUNG_CLOCK_PARTS: u32 = 16;

#[derive(Debug, Default)]
pub(super) struct Membership {
    pub(super) coordinator_linked: bool,
    term: Term,
    registered: Option<Registered>,
    /// Counts the lives of this process that are over.
    lives: u32,
}

#[derive(Debug)]
struct Registered {
    me: Peer,
    grid: Grid,
    tick_interval: Duration,
    interest_margin_m: f64,
}

impl Membership {
    pub(super) fn me(&self) -> Option<Peer> {
        self.registered.as_ref().map(|registered| registered.me)
    }

    /// What it was registered as is over.
    pub(super) fn begin_new_life(&mut self) {
        self.registered = None;
        self.lives += 1;
    }

    pub(super) fn grid(&self) -> Option<&Grid> {
        self.registered.as_ref().map(|registered| &registered.grid)
    }

    pub(super) fn tick_interval(&self) -> Duration {
        self.registered.as_ref().map_or(Duration::from_millis(33), |registered| registered.tick_interval)
    }

    pub(super) fn interest_margin_m(&self) -> f64 {
        self.registered.as_ref().map_or(0.0, |registered| registered.interest_margin_m)
    }
}

impl Node {
    pub(super) fn on_coordinator_up(&mut self, now: Time) {
        self.membership.coordinator_linked = true;
        self.on_membership_due(now);
        self.flush_directory(now);
        self.repeat_saves(now);
    }

    /// Registers, or if that is done says that this node lives.
    pub(super) fn on_membership_due(&mut self, now: Time) {
        self.echo.sends(now);
        let Some(me) = self.me() else {
            let setup = &self.setup;
            let register = Message::Register {
                node: setup.node,
                process: setup.process,
                life: self.membership.lives,
                sent_at: now,
                mesh_addr: setup.mesh_addr.clone(),
                client_addr: setup.client_addr.clone(),
                server_name: setup.server_name.clone(),
                schema_min: setup.config.schema_min,
                schema_max: setup.config.schema_max,
            };
            self.tell_coordinator(register);
            self.timers.set(TimerKey::Membership, now + REGISTER_RETRY);
            return;
        };
        self.tell_coordinator(Message::Heartbeat {
            incarnation: me.incarnation,
            sent_at: now,
            map_version: self.map.version(),
            mesh_time: self.clock.offset_us().map(|offset_us| now.offset_by(offset_us)),
            reported: self.reported(),
            load: self.load(),
        });
        self.repeat_carried();
        self.timers.set(TimerKey::Membership, now + self.setup.config.heartbeat);
    }

    fn load(&self) -> Load {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Load {
            entities: count(self.held.len()),
            players: count(self.held.values().filter(|held| held.session.is_some()).count()),
            ghosts: count(self.ghosts.len()),
            clients: count(self.clients.len()),
            handoffs_in: self.handoffs_in,
        }
    }

    pub(super) fn on_coordinator_message(&mut self, message: Message, blob: &Bytes, now: Time) {
        let registration = matches!(message, Message::Registered { .. } | Message::RegisterRefused { .. });
        if self.me().is_none() && !registration {
            // Meant for a former life of this node: this one holds nothing yet, and may promise nothing.
            return;
        }
        let known = self.membership.term;
        self.on_command(message, blob, now);
        if self.membership.term > known {
            self.on_new_term(now);
        }
    }

    fn on_command(&mut self, message: Message, blob: &Bytes, now: Time) {
        match message {
            Message::Registered {
                term,
                life,
                sent_at,
                incarnation,
                lease_us,
                grid,
                tick_interval_us,
                interest_margin_m,
                map,
            } => {
                if life == self.membership.lives && self.echo.knows(sent_at) && self.heed(term) {
                    if self.me().is_none() {
                        // The former life's may be of a coordinator whose memory was lost, and newer by its number.
                        self.map = Arc::default();
                    }
                    let lease = (Duration::from_micros(lease_us), sent_at);
                    let tick_interval = Duration::from_micros(tick_interval_us);
                    self.on_registered(incarnation, lease, grid, tick_interval, interest_margin_m, now);
                    self.on_map_whole(map);
                }
            }
            Message::RegisterRefused { reason } => self.on_register_refused(reason),
            Message::HeartbeatReply { term, sent_at, mesh_time } => {
                if self.heed(term) && self.echo.knows(sent_at) {
                    self.renewed_by_coordinator(sent_at, now);
                    if mesh_time.is_some_and(|mesh_time| self.clock.sample(sent_at, mesh_time, now)) {
                        let offset_us = self.clock.offset_us().unwrap_or(0);
                        self.outputs.push_back(Output::ClockOffset { offset_us });
                    }
                    if mesh_time.is_some() && self.clock.is_young() {
                        let pause = self.setup.config.heartbeat / YOUNG_CLOCK_PARTS;
                        self.timers.set_earlier(TimerKey::Membership, now + pause);
                    }
                }
            }
            Message::MapDiff { term, diff } => {
                if self.heed(term) {
                    self.on_map_diff(&diff);
                }
            }
            Message::MapWhole { term, map } => {
                if self.heed(term) {
                    self.on_map_whole(map);
                }
            }
            Message::PrepareToReceive { term, request } => {
                if self.heed(term) {
                    self.on_prepare(request, now);
                }
            }
            Message::PrepareReply { term, reservation, outcome } => {
                if self.heed(term) {
                    match outcome {
                        PrepareOutcome::Notified { target } => self.on_notified(reservation, target, now),
                        PrepareOutcome::Refused(reason) => self.on_prepare_refused(reservation, reason, now),
                    }
                }
            }
            Message::AuthorityAck { term, acknowledged } => {
                if self.heed(term) {
                    self.on_authority_ack(&acknowledged, now);
                }
            }
            Message::Admit { term, request, session, entity, name, resume, entry } => {
                if self.heed(term) {
                    let admission = super::players::Admit { request, session, entity, name, resume, entry };
                    self.on_admit(admission, blob, now);
                }
            }
            Message::SaveAck { term, session } => {
                if self.heed(term) {
                    self.saves.remove(&session);
                }
            }
            Message::Census { term, request } => {
                if self.heed(term) {
                    let message = Message::CensusReply { request, entries: self.census() };
                    let (to, lane, blob) = (Destination::Coordinator, Lane::Checkpoint, Bytes::new());
                    self.outputs.push_back(Output::Send { to, lane, message, blob });
                }
            }
            Message::Why(WhyMessage::Ask { term, request, entity }) => {
                if self.heed(term) {
                    let whereabouts = self.whereabouts(entity, now);
                    self.tell_coordinator(Message::Why(WhyMessage::Answer { request, whereabouts }));
                }
            }
            Message::Event(EventMessage::Announced { term, event }) => {
                if self.heed(term) {
                    self.hear_event(event);
                }
            }
            Message::Action(ActionMessage::Located { term, entity, at, gone }) => {
                if self.heed(term) {
                    self.on_located(entity, at, gone, now);
                }
            }
            Message::Lease(said) => self.on_coordinator_lease(said, now),
            Message::Recovery(said) => self.on_recovery(said, now),
            Message::Register { .. }
            | Message::Action(_)
            | Message::Event(_)
            | Message::Standby(_)
            | Message::Heartbeat { .. }
            | Message::PrepareRequest(_)
            | Message::PrepareDirect(_)
            | Message::Ready { .. }
            | Message::Refuse { .. }
            | Message::CancelPrepare { .. }
            | Message::Precopy { .. }
            | Message::Warmed { .. }
            | Message::Transfer { .. }
            | Message::Accepted { .. }
            | Message::Rejected { .. }
            | Message::Cancel { .. }
            | Message::Cancelled { .. }
            | Message::RelayInputs { .. }
            | Message::AuthorityChanged { .. }
            | Message::Ghosts
            | Message::AdmitReply { .. }
            | Message::SaveCharacter { .. }
            | Message::CensusReply { .. }
            | Message::Why(_)
            | Message::Report => {
                // Not a coordinator's word: its certificate says that it is one, so it is of another build. Ignored.
            }
        }
    }

    /// The newest term that this node has seen.
    pub(super) const fn term(&self) -> Term {
        self.membership.term
    }

    /// Refuses commands of a lower term than this node has seen.
    pub(super) fn heed(&mut self, term: Term) -> bool {
        if term < self.membership.term {
            return false;
        }
        self.membership.term = term;
        true
    }

    fn on_registered(
        &mut self,
        incarnation: Incarnation,
        (lease, asked_at): (Duration, Time),
        grid: GridConfig,
        tick_interval: Duration,
        interest_margin_m: f64,
        now: Time,
    ) {
        if self.me().is_some() {
            return;
        }
        let grid = match Grid::new(grid) {
            Ok(grid) => grid,
            Err(error) => {
                let reason = format!("the coordinator's grid can't be used: {error}");
                self.event(NodeEvent::RegistrationRefused { reason });
                return;
            }
        };
        let me = Peer { node: self.setup.node, incarnation };
        let term = self.membership.term;
        self.begin_ghosts(tick_interval);
        let registration = Registration { me, term, grid, tick_interval, interest_margin_m };
        self.membership.registered = Some(Registered { me, grid, tick_interval, interest_margin_m });
        self.outputs.push_back(Output::Registered(registration));
        self.begin_lease(lease, asked_at, now);
        self.on_membership_due(now);
    }

    fn on_register_refused(&mut self, reason: String) {
        if self.me().is_none() {
            self.event(NodeEvent::RegistrationRefused { reason });
        }
    }

    fn on_map_diff(&mut self, diff: &CellMapDiff) {
        // A gap heals by itself: the next heartbeat tells the version, and the whole map comes back.
        let mut map = (*self.map).clone();
        if map.apply(diff).is_ok() {
            self.take_map(map);
        }
    }

    fn on_map_whole(&mut self, image: CellMapImage) {
        if image.version <= self.map.version() {
            return;
        }
        if let Ok(map) = CellMap::from_image(image) {
            self.take_map(map);
        }
    }

    fn take_map(&mut self, map: CellMap) {
        self.map = Arc::new(map);
        self.outputs.push_back(Output::MapChanged(Arc::clone(&self.map)));
    }
}
