//! Clients, their connections, and thieves of tokens.

use core::time::Duration;

use bytes::Bytes;
use selvedge_protocol::ghost::is_stream;
use selvedge_protocol::handoff::client::{ClientEvent, ClientInput, ClientOutput, ConnectionId};
use selvedge_protocol::id::ClientId;
use selvedge_protocol::node::Input;
use selvedge_protocol::time::Time;
use selvedge_protocol::token::Token;
use selvedge_protocol::wire::{
    ByeReason, ClientMessage, Invitation, ServerMessage, decode_client, decode_server, encode_client,
    encode_server,
};

use super::World;
use super::ambush::Moment;
use super::tap::Tap;
use crate::connections::Towards;
use crate::event::{ConnId, Event, Process};
use crate::hosts::client_addr;
use crate::invariant::{Fact, Violation};
use crate::moment::Told;
use crate::trace::Said;

/// How long after a client's own connection its twin shows the token.
const TWIN_AFTER: Duration = Duration::from_millis(1);

impl World {
    /// Tells a client's machine something, and does what it wants done.
    pub(super) fn drive_player(&mut self, player: usize, input: ClientInput) {
        let host = &mut self.players[player];
        host.machine.handle(input, host.clock.at(self.now));
        self.drain_player(player);
    }

    pub(super) fn on_player_timer(&mut self, player: usize) -> Result<(), Violation> {
        let host = &mut self.players[player];
        if host.wake_at != Some(self.now) {
            return Ok(());
        }
        host.wake_at = None;
        host.machine.handle_timeout(host.clock.at(self.now));
        self.drain_player(player);
        self.watch_timer(Process::Player(player))
    }

    pub(super) fn drain_player(&mut self, player: usize) {
        while let Some(output) = self.players[player].machine.poll_output() {
            match output {
                ClientOutput::Ask(request) => self.ask_door(self.players[player].stay, &request),
                ClientOutput::Connect { connection, invitation } => {
                    self.connect(player, connection, &invitation)
                }
                ClientOutput::Send { connection, message } => self.client_sends(player, connection, &message),
                ClientOutput::Close { connection } => self.client_closes(player, connection),
                ClientOutput::Event(event) => self.on_client_event(player, event),
            }
        }
        let host = &mut self.players[player];
        if let Some((at, _)) = host.machine.poll_timeout() {
            let at = host.clock.when(at).max(self.now);
            if host.wake_at.is_none_or(|wake_at| at < wake_at) {
                host.wake_at = Some(at);
                self.queue.push(at, Event::PlayerTimer(player));
            }
        }
    }

    fn connect(&mut self, player: usize, connection: ConnectionId, invitation: &Invitation) {
        let node = (0..self.nodes.len()).find(|&node| client_addr(node) == invitation.addr);
        let host = &mut self.players[player];
        let owner = Some((host.stay, connection));
        let conn = self.connections.open(owner, node.unwrap_or(0));
        host.connections.insert(connection, conn);
        let offline = host.offline_until > self.now;
        let barred = node.is_some_and(|node| self.tap.as_ref().is_some_and(|tap| tap.bars(node)));
        let absent = node.is_none_or(|node| !self.is_reachable(node));
        if absent || offline || barred || self.connections.fails() {
            self.connections.conn(conn).severed = true;
            let after = self.dice.micros((1_000, 1_000_000));
            self.queue.push(self.now + after, Event::ClosedAtPlayer(conn));
            return;
        }
        let there = self.connections.reliable(conn, Towards::Node, self.now);
        let back = self.connections.reliable(conn, Towards::Client, there);
        let hello_at = self.connections.reliable(conn, Towards::Node, back);
        let frame = encode_client(&ClientMessage::Hello { token: invitation.token });
        self.queue.push(back, Event::Connected(conn));
        self.queue.push(hello_at, Event::Hello { conn, frame });
        if let Some(ahead) = self.tap.as_mut().and_then(Tap::take_twin) {
            self.connect_twin(conn, invitation.token, if ahead { back } else { hello_at + TWIN_AFTER });
        }
        if self.connections.is_stolen() {
            self.steal(conn, invitation.token);
        }
    }

    /// A second connection shows the same token to the same node.
    fn connect_twin(&mut self, of: ConnId, token: Token, at: Time) {
        let node = self.connections.conn(of).node;
        let conn = self.connections.open(None, node);
        let frame = encode_client(&ClientMessage::Hello { token });
        self.queue.push(at, Event::Hello { conn, frame });
    }

    /// Somebody else shows a client's token, there or at another node, a little later.
    fn steal(&mut self, from: ConnId, token: Token) {
        self.stats.tokens_stolen += 1;
        let node = if self.dice.chance(0.8) {
            self.connections.conn(from).node
        } else {
            self.dice.index(0, self.nodes.len() - 1)
        };
        let conn = self.connections.open(None, node);
        let after = self.dice.micros((100_000, 6_000_000));
        let frame = encode_client(&ClientMessage::Hello { token });
        self.queue.push(self.now + after, Event::Hello { conn, frame });
        self.queue.push(self.now + after + Duration::from_secs(1), Event::ClosedAtNode(conn));
    }

    pub(super) fn on_connected(&mut self, conn: ConnId) {
        let held = self.connections.conn(conn);
        let Some((stay, connection)) = held.owner.filter(|_| held.player_open && !held.severed) else {
            return;
        };
        if self.players[stay.player].stay == stay {
            self.drive_player(stay.player, ClientInput::Connected { connection });
        }
    }

    pub(super) fn on_hello(&mut self, conn: ConnId, frame: &Bytes) {
        let held = self.connections.conn(conn);
        if held.severed || !held.node_open {
            return;
        }
        let Ok(ClientMessage::Hello { token }) = decode_client(frame) else {
            self.stats.undecodable += 1;
            return;
        };
        let node = held.node;
        let host = &mut self.nodes[node];
        host.clients_so_far += 1;
        let client = ClientId(host.clients_so_far);
        host.clients.insert(client, conn);
        let at = host.clock(self.now);
        held.client = Some(client);
        let from = held.owner.map_or(Process::Node(node), |(stay, _)| Process::Player(stay.player));
        self.stats.tokens_shown += 1;
        self.facts.push(Fact::TokenShown { node, client, token: *token.as_bytes(), at });
        self.trace.line(self.now, self.step, from, Process::Node(node), Said::Client(frame.clone()));
        self.note(Process::Node(node), || format!("{client:?} shows its token"));
        self.drive_node(node, Input::ClientHello { client, token });
    }

    fn client_sends(&mut self, player: usize, connection: ConnectionId, message: &ClientMessage) {
        let Some(&conn) = self.players[player].connections.get(&connection) else {
            return;
        };
        let held = self.connections.conn(conn);
        if held.severed || !held.player_open {
            return;
        }
        let frame = encode_client(message);
        if matches!(message, ClientMessage::Inputs { .. } | ClientMessage::Ghosts { .. }) {
            for at in self.connections.datagram(conn, self.now).into_iter().flatten() {
                self.queue.push(at, Event::ToNode { conn, frame: frame.clone() });
            }
        } else {
            let at = self.connections.reliable(conn, Towards::Node, self.now);
            self.queue.push(at, Event::ToNode { conn, frame });
        }
    }

    pub(super) fn on_client_frame(&mut self, conn: ConnId, frame: Bytes) {
        let held = self.connections.conn(conn);
        let (node, owner) = (held.node, held.owner);
        let Some(client) = held.client.filter(|_| held.node_open && !held.severed) else {
            return;
        };
        let Ok(message) = decode_client(&frame) else {
            self.stats.undecodable += 1;
            return;
        };
        let from = owner.map_or(Process::Node(node), |(stay, _)| Process::Player(stay.player));
        self.stats.client_messages += 1;
        self.trace.line(self.now, self.step, from, Process::Node(node), Said::client(&message, frame));
        self.drive_node(node, Input::ClientMessage { client, message });
    }

    /// The client's machine closes a connection: the node learns it after all that was sent on it.
    fn client_closes(&mut self, player: usize, connection: ConnectionId) {
        let Some(conn) = self.players[player].connections.remove(&connection) else {
            return;
        };
        let held = self.connections.conn(conn);
        if core::mem::take(&mut held.player_open) && !held.severed {
            let at = self.connections.reliable(conn, Towards::Node, self.now);
            self.queue.push(at, Event::ClosedAtNode(conn));
        }
    }

    /// A node says something to a client.
    pub(super) fn on_node_says(&mut self, node: usize, client: ClientId, message: &ServerMessage) {
        let admitted = match message {
            ServerMessage::Parked { entity } | ServerMessage::Attached { entity, .. } => Some(*entity),
            ServerMessage::State { .. }
            | ServerMessage::Ghosts { .. }
            | ServerMessage::Preconnect { .. }
            | ServerMessage::Redirect { .. }
            | ServerMessage::Bye { .. } => None,
        };
        if let Some(entity) = admitted {
            self.facts.push(Fact::Admitted { node, client, entity });
        }
        let Some(&conn) = self.nodes[node].clients.get(&client) else {
            return;
        };
        let held = self.connections.conn(conn);
        held.said_bye |= matches!(message, ServerMessage::Bye { .. });
        if held.severed || !held.player_open {
            return;
        }
        let frame = encode_server(message);
        let may_be_lost = match message {
            ServerMessage::State { .. } => true,
            ServerMessage::Ghosts { bytes } => !is_stream(bytes),
            ServerMessage::Parked { .. }
            | ServerMessage::Attached { .. }
            | ServerMessage::Preconnect { .. }
            | ServerMessage::Redirect { .. }
            | ServerMessage::Bye { .. } => false,
        };
        if may_be_lost {
            for at in self.connections.datagram(conn, self.now).into_iter().flatten() {
                self.queue.push(at, Event::ToPlayer { conn, frame: frame.clone() });
            }
        } else {
            let at = self.connections.reliable(conn, Towards::Client, self.now);
            self.queue.push(at, Event::ToPlayer { conn, frame });
        }
    }

    pub(super) fn on_node_closes(&mut self, node: usize, client: ClientId, reason: ByeReason) {
        let Some(conn) = self.nodes[node].clients.remove(&client) else {
            return;
        };
        let held = self.connections.conn(conn);
        held.node_open = false;
        let (alive, said_bye) = (!held.severed && held.player_open, held.said_bye);
        self.note(Process::Node(node), || format!("closes {client:?}: {reason:?}"));
        if !alive {
            return;
        }
        if !said_bye {
            let at = self.connections.reliable(conn, Towards::Client, self.now);
            let frame = encode_server(&ServerMessage::Bye { reason });
            self.queue.push(at, Event::ToPlayer { conn, frame });
        }
        let at = self.connections.reliable(conn, Towards::Client, self.now);
        self.queue.push(at, Event::ClosedAtPlayer(conn));
    }

    pub(super) fn on_server_frame(&mut self, conn: ConnId, frame: Bytes) {
        let held = self.connections.conn(conn);
        let node = held.node;
        let Some((stay, connection)) = held.owner.filter(|_| held.player_open && !held.severed) else {
            return;
        };
        if self.players[stay.player].stay != stay {
            return;
        }
        let Ok(message) = decode_server(&frame) else {
            self.stats.undecodable += 1;
            return;
        };
        self.stats.client_messages += 1;
        let (from, to) = (Process::Node(node), Process::Player(stay.player));
        self.trace.line(self.now, self.step, from, to, Said::server(&message, frame));
        if self.ambush.is_none() {
            self.drive_player(stay.player, ClientInput::Message { connection, message });
            return;
        }
        let told = message.clone();
        self.spring(Moment::Before, from, to, Told::Server(&told));
        if self.players[stay.player].stay == stay && !self.connections.conn(conn).severed {
            self.drive_player(stay.player, ClientInput::Message { connection, message });
            self.spring(Moment::After, from, to, Told::Server(&told));
        }
    }

    pub(super) fn on_closed_at_node(&mut self, conn: ConnId) {
        let held = self.connections.conn(conn);
        let node = held.node;
        if !core::mem::take(&mut held.node_open) {
            return;
        }
        if let Some(client) = held.client {
            self.nodes[node].clients.remove(&client);
            self.note(Process::Node(node), || format!("{client:?} is gone"));
            self.drive_node(node, Input::ClientClosed { client });
        }
    }

    pub(super) fn on_closed_at_player(&mut self, conn: ConnId) {
        let held = self.connections.conn(conn);
        let was_open = core::mem::take(&mut held.player_open);
        let Some((stay, connection)) = held.owner.filter(|_| was_open) else {
            return;
        };
        if self.players[stay.player].stay == stay {
            self.players[stay.player].connections.remove(&connection);
            self.drive_player(stay.player, ClientInput::Closed { connection });
        }
    }

    fn on_client_event(&mut self, player: usize, event: ClientEvent) {
        let host = &mut self.players[player];
        match &event {
            ClientEvent::State(ServerMessage::State { motion, .. }) => {
                host.at = Some(motion.position);
                return;
            }
            ClientEvent::Entered { session, entity } => {
                self.stats.players_entered += 1;
                (host.session, host.entity) = (Some(*session), Some(*entity));
            }
            ClientEvent::Lost => self.stats.clients_lost += 1,
            ClientEvent::Over { .. } => {
                host.wants_in = false;
                if host.dice.chance(self.scenario.play.come_back) {
                    let after = host.dice.millis(200, 5_000);
                    self.queue.push(self.now + after, Event::PlayerEnters(player));
                }
            }
            ClientEvent::Recovered { lost, .. } if *lost > 0 => {
                let kept = u32::try_from(host.machine.unacknowledged()).unwrap_or(u32::MAX);
                let (applied, lost) = (host.machine.last_input().0.saturating_sub(kept), *lost);
                let digests = host.acts.lose(applied as usize, lost as usize);
                self.stats.inputs_lost += u64::from(lost);
                self.facts.push(Fact::Renumbered { player, applied, lost, digests });
            }
            ClientEvent::State(_)
            | ClientEvent::Switched { .. }
            | ClientEvent::InputRefused
            | ClientEvent::TwoAuthorities { .. }
            | ClientEvent::Silent
            | ClientEvent::Recovered { .. }
            | ClientEvent::Refused { .. } => {}
        }
        self.note(Process::Player(player), || format!("{event:?}"));
        self.facts.push(Fact::Client { player, event });
    }
}
