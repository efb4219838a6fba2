//! Nodes and coordinator: what reaches them, and what becomes of what they say.

use core::time::Duration;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use selvedge_protocol::cell_map::CellMap;
use selvedge_protocol::coordinator::{CoordinatorEvent, CoordinatorInput, CoordinatorOutput};
use selvedge_protocol::handoff::Path;
use selvedge_protocol::id::Peer;
use selvedge_protocol::node::{Destination, GameCommand, Input, NodeEvent, Output, Registration, Sender};
use selvedge_protocol::time::Time;
use selvedge_protocol::wire::{AdmitOutcome, Frame, Lane, Message, decode_mesh, encode_mesh};

use super::World;
use super::ambush::Moment;
use super::tap::Parcel;
use crate::event::{Event, Process};
use crate::invariant::{Fact, TokenTarget, Violation};
use crate::moment::Told;
use crate::network::Network;
use crate::trace::Said;

/// How long the coordinator's disk takes to sync.
const SYNC_US: (u64, u64) = (200, 8_000);
/// The same where nobody waits for it: whenever the operating system pleases.
const LAZY_SYNC_US: (u64, u64) = (100_000, 5_000_000);

impl World {
    pub(super) fn on_node_starts(&mut self, node: usize) {
        self.nodes[node].alive = true;
        self.let_rise(Network::of_coordinator(node));
    }

    /// Tells a node's machine something, and does what it wants done.
    pub(super) fn drive_node(&mut self, node: usize, input: Input) {
        let host = &mut self.nodes[node];
        let clock = host.clock(self.now);
        host.machine.handle(input, clock);
        self.drain_node(node);
    }

    pub(super) fn on_node_timer(&mut self, node: usize) -> Result<(), Violation> {
        let host = &mut self.nodes[node];
        if host.wake_at != Some(self.now) {
            return Ok(());
        }
        host.wake_at = None;
        let clock = host.clock(self.now);
        host.machine.handle_timeout(clock);
        self.drain_node(node);
        self.watch_timer(Process::Node(node))
    }

    fn drain_node(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].machine.poll_output() {
            self.on_node_output(node, output);
        }
        let host = &mut self.nodes[node];
        if let Some((clock, _)) = host.machine.poll_timeout() {
            let at = host.when(clock).max(self.now);
            if host.wake_at.is_none_or(|wake_at| at < wake_at) {
                host.wake_at = Some(at);
                self.queue.push(at, Event::NodeTimer(node));
            }
        }
        self.note_standings(node);
    }

    fn on_node_output(&mut self, node: usize, output: Output) {
        match output {
            Output::Send { to, lane, message, blob } => self.on_node_send(node, to, lane, &message, &blob),
            Output::Client { client, message } => self.on_node_says(node, client, &message),
            Output::CloseClient { client, reason } => self.on_node_closes(node, client, reason),
            Output::Game(command) => {
                self.note_event_command(node, &command);
                self.tell_game(node, command);
            }
            Output::Registered(registration) => self.on_registered(node, registration),
            Output::MapChanged(map) => self.on_map_changed(node, map),
            Output::Shun { peer } => self.on_shun(node, peer),
            Output::ClockOffset { offset_us } => {
                self.nodes[node].offset_us = Some(offset_us);
                self.start_ticks(node);
            }
            Output::Event(event) => self.on_node_event(node, event),
        }
    }

    fn on_node_send(&mut self, node: usize, to: Destination, lane: Lane, message: &Message, blob: &Bytes) {
        self.note_token(node, message);
        self.note_copies_sent(node, message, blob);
        self.note_event_sent(node, to, message);
        let (to, link) = match to {
            Destination::Coordinator => (Process::Coordinator, Network::of_coordinator(node)),
            Destination::Node(id) => match self.nodes.iter().position(|host| host.id == id) {
                Some(other) if other != node => (Process::Node(other), self.network.of_nodes(node, other)),
                Some(_) | None => {
                    self.stats.messages_unlinked += 1;
                    return;
                }
            },
        };
        let sender = self.nodes[node].me();
        self.send((Process::Node(node), to, link), sender, lane, message, blob);
    }

    fn send(
        &mut self,
        (from, to, link): (Process, Process, crate::network::LinkId),
        sender: Option<Peer>,
        lane: Lane,
        message: &Message,
        blob: &Bytes,
    ) {
        if let Some(tap) = &mut self.tap {
            let parcel =
                Parcel { from, to, link, sender, lane, message: message.clone(), blob: blob.clone() };
            if !tap.lets_pass(parcel) {
                return;
            }
        }
        self.put_on_link((from, to, link), sender, lane, message, blob);
    }

    /// Hands a message to the network.
    pub(super) fn put_on_link(
        &mut self,
        (from, to, link): (Process, Process, crate::network::LinkId),
        sender: Option<Peer>,
        lane: Lane,
        message: &Message,
        blob: &Bytes,
    ) {
        let arrivals = self.network.pass(link, from, lane, self.now, &mut self.stats);
        if arrivals.iter().all(Option::is_none) {
            return;
        }
        let mut frame = BytesMut::from(&encode_mesh(message)[..]);
        frame.put_slice(blob);
        let frame = frame.freeze();
        let life = self.network.link(link).life;
        for (at, replay) in arrivals.into_iter().flatten() {
            let frame = frame.clone();
            self.queue.push(at, Event::Mesh { link, life, replay, from, to, sender, frame });
        }
    }

    pub(super) fn on_mesh(&mut self, from: Process, to: Process, sender: Option<Peer>, frame: Bytes) {
        self.stats.message_bytes += frame.len() as u64;
        let Ok(Frame { message, blob }) = decode_mesh(&frame) else {
            self.stats.undecodable += 1;
            return;
        };
        self.trace.line(self.now, self.step, from, to, Said::mesh(&message, frame));
        if let Some(tap) = &mut self.tap {
            tap.on_arrival(from, to, &message);
        }
        if self.ambush.is_none() {
            self.deliver((from, to), sender, message, blob);
            return;
        }
        let told = message.clone();
        self.spring(Moment::Before, from, to, Told::Mesh(&told));
        if self.is_alive(to) && !self.standstill_of(to).lasts(self.now) {
            self.deliver((from, to), sender, message, blob);
            self.spring(Moment::After, from, to, Told::Mesh(&told));
        }
    }

    fn deliver(
        &mut self,
        (from, to): (Process, Process),
        sender: Option<Peer>,
        message: Message,
        blob: Bytes,
    ) {
        match (from, to) {
            (Process::Node(from), Process::Coordinator) => {
                let (from, incarnation) = (self.nodes[from].id, sender.map(|peer| peer.incarnation));
                self.drive_coordinator(CoordinatorInput::Message { from, incarnation, message, blob });
            }
            (from, Process::Node(node)) => {
                match from {
                    Process::Node(from) => self.note_copies_arrived((from, sender), node, &message),
                    Process::Coordinator | Process::Player(_) => self.note_orders(&message),
                }
                if let Message::Admit { request, entity, .. } = &message {
                    let (request, entity) = (*request, *entity);
                    self.facts.push(Fact::AdmissionAsked { node, request, entity });
                }
                let from = match (from, sender) {
                    (Process::Coordinator, _) => Sender::Coordinator,
                    (_, Some(peer)) => Sender::Node(peer),
                    (_, None) => return,
                };
                self.drive_node(node, Input::Message { from, message, blob });
            }
            (_, _) => {}
        }
    }

    /// Follows the tokens that a node gives out.
    fn note_token(&mut self, node: usize, message: &Message) {
        let clock = self.nodes[node].clock(self.now);
        let mut granted = Vec::new();
        if let Message::Ready { reservation, token: Some(token), token_ttl_us } = message {
            let target = TokenTarget::Entity(reservation.entity);
            granted.push((token, target, Duration::from_micros(*token_ttl_us)));
        } else if let Message::Accepted { id, token, members } = message {
            let all = core::iter::once((id, token)).chain(members.iter().map(|(id, token)| (id, token)));
            granted.extend(all.filter_map(|(id, token)| {
                Some((token.as_ref()?, TokenTarget::Entity(id.entity), self.scenario.node.token_ttl))
            }));
        } else if let Message::AdmitReply { request, outcome: AdmitOutcome::Token { token, ttl_us } } =
            message
        {
            granted.push((token, TokenTarget::Admission(*request), Duration::from_micros(*ttl_us)));
        }
        for (token, to, ttl) in granted {
            self.stats.tokens_granted += 1;
            let (token, expires_at) = (*token.as_bytes(), clock + ttl);
            self.facts.push(Fact::TokenGranted { node, token, to, expires_at });
        }
    }

    fn tell_game(&mut self, node: usize, command: GameCommand) {
        let host = &mut self.nodes[node];
        let earliest = host.mailbox.back().map_or(Time::ZERO, |(at, _)| *at);
        let at = (self.now + host.dice.micros((0, 2_000))).max(earliest);
        host.mailbox.push_back((at, command));
    }

    fn on_registered(&mut self, node: usize, registration: Registration) {
        self.note(Process::Node(node), || format!("registered as {:?}", registration.me));
        if self.nodes[node].registration.replace(registration).is_some() {
            self.close_links_of(node);
        }
        self.start_ticks(node);
        self.consider_links(node);
    }

    fn on_map_changed(&mut self, node: usize, map: Arc<CellMap>) {
        self.note(Process::Node(node), || format!("has cell map {}", map.version()));
        let host = &mut self.nodes[node];
        if let Some(game) = &mut host.game {
            game.set_map(Arc::clone(&map));
        }
        host.map = Some(map);
        self.start_ticks(node);
        self.consider_links(node);
    }

    fn on_node_event(&mut self, node: usize, event: NodeEvent) {
        let stats = &mut self.stats;
        match &event {
            NodeEvent::HandedOver { path, .. } => match path {
                Path::Warm => stats.handoffs_warm += 1,
                Path::Cold => stats.handoffs_cold += 1,
            },
            NodeEvent::Aborted { reason, .. } => {
                stats.handoffs_aborted += 1;
                stats.handoffs_cancelled += u64::from(reason.is_none());
            }
            NodeEvent::PrepareRefused { .. } => stats.prepares_refused += 1,
            NodeEvent::TakenOver { missed_ticks, .. } => stats.missed_ticks += missed_ticks,
            NodeEvent::Attached { .. } => stats.clients_attached += 1,
            NodeEvent::TokenRefused { .. } => stats.tokens_refused += 1,
            NodeEvent::ClientMisbehaved { .. } => stats.clients_misbehaved += 1,
            NodeEvent::PeerMisbehaved { .. } => stats.peers_misbehaved += 1,
            NodeEvent::Fenced { .. } => {
                stats.lives_over += 1;
                self.facts.push(Fact::LifeOver { node });
            }
            NodeEvent::Recovered { entity, epoch, .. } => self.note_recovered(*entity, *epoch),
            NodeEvent::RegistrationRefused { .. }
            | NodeEvent::Checkpointed { .. }
            | NodeEvent::CheckpointLost { .. }
            | NodeEvent::ActionSettled { .. }
            | NodeEvent::EventCaused
            | NodeEvent::StandbyFull { .. } => {}
            // Too often to be told.
            NodeEvent::CheckpointAge { .. }
            | NodeEvent::GhostsShown { .. }
            | NodeEvent::GhostsSent { .. } => return,
        }
        self.note(Process::Node(node), || format!("{event:?}"));
    }

    /// Tells the coordinator's machine something, and does what it wants done.
    pub(super) fn drive_coordinator(&mut self, input: CoordinatorInput) {
        let clock = self.coordinator.clock(self.now);
        self.coordinator.machine.handle(input, clock);
        self.drain_coordinator();
    }

    pub(super) fn on_coordinator_timer(&mut self) -> Result<(), Violation> {
        if self.coordinator.wake_at != Some(self.now) {
            return Ok(());
        }
        self.coordinator.wake_at = None;
        let clock = self.coordinator.clock(self.now);
        self.coordinator.machine.handle_timeout(clock);
        self.drain_coordinator();
        self.watch_timer(Process::Coordinator)
    }

    pub(super) fn drain_coordinator(&mut self) {
        while let Some(output) = self.coordinator.machine.poll_output() {
            if let Some(output) = self.coordinator.disk.pass(output) {
                self.on_coordinator_output(output);
            }
        }
        self.sync_disk();
        let host = &mut self.coordinator;
        if let Some((clock, _)) = host.machine.poll_timeout() {
            let at = host.when(clock).max(self.now);
            if host.wake_at.is_none_or(|wake_at| at < wake_at) {
                host.wake_at = Some(at);
                self.queue.push(at, Event::CoordinatorTimer);
            }
        }
    }

    fn sync_disk(&mut self) {
        if self.coordinator.disk.begin_sync() {
            let sync_us = if self.scenario.hasty_disk { LAZY_SYNC_US } else { SYNC_US };
            let at = self.now + self.chance.micros(sync_us);
            self.queue.push(at, Event::DiskSynced { process: self.coordinator.life });
        }
    }

    /// What the coordinator wrote is safe: what it said after that is done.
    pub(super) fn on_disk_synced(&mut self) {
        for output in self.coordinator.disk.end_sync() {
            self.on_coordinator_output(output);
        }
        self.sync_disk();
    }

    fn on_coordinator_output(&mut self, output: CoordinatorOutput) {
        match output {
            CoordinatorOutput::Send { to, lane, message, blob } => {
                if let Some(node) = self.nodes.iter().position(|host| host.id == to) {
                    let way = (Process::Coordinator, Process::Node(node), Network::of_coordinator(node));
                    self.send(way, None, lane, &message, &blob);
                }
            }
            CoordinatorOutput::Authenticate { request, name, .. } => self.authenticate(request, name),
            CoordinatorOutput::LoadCharacter { request, name } => self.load(request, name),
            CoordinatorOutput::SaveCharacter { session, node, name, character } => {
                self.save(session, node, name, character);
            }
            CoordinatorOutput::Reply { request, reply } => self.answer_at_door(request, &reply),
            CoordinatorOutput::Census { .. }
            | CoordinatorOutput::Why { .. }
            | CoordinatorOutput::Standing { .. }
            | CoordinatorOutput::Persist(_) => {}
            CoordinatorOutput::Event(event) => self.on_coordinator_event(event),
        }
    }

    fn on_coordinator_event(&mut self, event: CoordinatorEvent) {
        self.note(Process::Coordinator, || format!("{event:?}"));
        match event {
            CoordinatorEvent::MapChanged { .. } => self.stats.map_changes += 1,
            CoordinatorEvent::Suspected { .. } => self.stats.leases_expired += 1,
            CoordinatorEvent::AuthorityViolation { entity, what } => {
                self.facts.push(Fact::CoordinatorSawViolation { entity, what });
            }
            CoordinatorEvent::LifeOver { peer } => {
                // Who ended or stopped has said so; who stands still, or hears nothing, has not.
                if let Some(node) = self.nodes.iter().position(|host| host.me() == Some(peer)) {
                    self.facts.push(Fact::LifeOver { node });
                }
            }
            CoordinatorEvent::NodeMisbehaved { .. } => self.stats.peers_misbehaved += 1,
            CoordinatorEvent::RoundClosed { .. } => self.stats.recoveries += 1,
            CoordinatorEvent::NodeJoined { .. }
            | CoordinatorEvent::Recovered { .. }
            | CoordinatorEvent::StoreFailed { .. } => {}
        }
    }
}
