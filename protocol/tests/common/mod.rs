//! A mesh in memory: real machines, instant and perfect links, a game that moves points. For tests of single behaviours;
//! the simulator is where everything goes wrong.

#![allow(dead_code, unreachable_pub, reason = "shared by test files, each of which uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a failed expectation fails the test"
)]

mod coordinator;
mod host;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use selvedge_protocol::config::{CoordinatorConfig, NodeConfig, WorldConfig};
use selvedge_protocol::coordinator::{
    Coordinator, CoordinatorEvent, CoordinatorImage, CoordinatorInput, CoordinatorOutput, LiveProcess,
    WhyAccount,
};
use selvedge_protocol::grid::{CellId, GridConfig};
use selvedge_protocol::handoff::client::{
    Client, ClientConfig, ClientEvent, ClientInput, ClientOutput, ConnectionId,
};
use selvedge_protocol::id::{ClientId, EntityId, NodeId, SessionId, Term};
use selvedge_protocol::node::{Destination, Input, NodeEvent, Output, Sender};
use selvedge_protocol::roster::Roster;
use selvedge_protocol::time::{Tick, Time};
use selvedge_protocol::wire::{ByeReason, Message, SessionReply};

pub use host::Host;

pub const TICK: Duration = Duration::from_micros(33_333);

pub struct Player {
    pub client: Client,
    pub events: Vec<ClientEvent>,
    connected: BTreeMap<ConnectionId, usize>,
}

/// Drops a message if it returns true.
pub type Filter = Box<dyn FnMut(NodeId, Destination, &Message) -> bool>;

/// The same for what the coordinator says.
pub type CoordinatorFilter = Box<dyn FnMut(NodeId, &Message) -> bool>;

pub struct Mesh {
    pub now: Time,
    pub tick: Tick,
    pub coordinator: Coordinator,
    /// What the coordinator has persisted.
    pub image: CoordinatorImage,
    config: CoordinatorConfig,
    pub hosts: Vec<Host>,
    pub players: Vec<Player>,
    pub filter: Filter,
    /// Drops what the coordinator says to a node if it returns true.
    pub coordinator_filter: CoordinatorFilter,
    pub coordinator_linked: bool,
    pub coordinator_events: Vec<CoordinatorEvent>,
    /// What nodes said to nodes that aren't of this mesh.
    pub to_strangers: Vec<Message>,
    pub to_nodes: Vec<(NodeId, Message)>,
    pub turned_away: Vec<(ClientId, ByeReason)>,
    pub saved: Vec<SessionId>,
    pub standing: Vec<(NodeId, Option<LiveProcess>)>,
    /// What was answered to those who asked why.
    pub accounts: Vec<Option<Box<WhyAccount>>>,
    asked: BTreeMap<u64, usize>,
    next_request: u64,
}

pub fn node_id(index: usize) -> NodeId {
    NodeId::from_u128(index as u128 + 1)
}

impl Mesh {
    /// `nodes` nodes side by side in a row of cells of 100 m, one each.
    pub fn row(nodes: u32) -> Self {
        let owners: Vec<usize> = (0..nodes as usize).collect();
        Self::grid([nodes, 1], &owners, &NodeConfig::default())
    }

    /// A grid of cells of 100 m, so many along x and y, and who has them: the cells along x first. All nodes are set alike.
    pub fn grid(cells: [u32; 2], owners: &[usize], node: &NodeConfig) -> Self {
        let [width, height] = cells;
        let grid = GridConfig { origin_m: [0.0; 3], cell_edge_m: 100.0, cells: [width, height, 1] };
        let world = WorldConfig { grid, ..WorldConfig::default() };
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let pinned = places
            .zip(owners)
            .map(|((x, y), &owner)| (CellId::new(0, x, y, 0).unwrap(), node_id(owner)))
            .collect();
        let nodes = owners.iter().max().unwrap() + 1;
        let config = CoordinatorConfig { world, pinned, nodes_min: nodes, ..CoordinatorConfig::default() };
        let coordinator = Coordinator::new(config.clone(), Term(1), [7; 32]).unwrap();
        let hosts = (0..nodes).map(|index| Host::new(index, node.clone())).collect();
        let mut mesh = Self {
            now: Time::from_micros(1_000_000),
            tick: Tick(0),
            coordinator,
            image: CoordinatorImage::default(),
            config,
            hosts,
            players: Vec::new(),
            filter: Box::new(|_, _, _| false),
            coordinator_filter: Box::new(|_, _| false),
            coordinator_linked: true,
            coordinator_events: Vec::new(),
            to_strangers: Vec::new(),
            to_nodes: Vec::new(),
            turned_away: Vec::new(),
            saved: Vec::new(),
            standing: Vec::new(),
            accounts: Vec::new(),
            asked: BTreeMap::new(),
            next_request: 0,
        };
        for index in 0..mesh.hosts.len() {
            let node = mesh.hosts[index].id;
            mesh.coordinator.handle(CoordinatorInput::LinkUp { node }, mesh.now);
            mesh.hosts[index].node.handle(Input::CoordinatorUp, mesh.now);
        }
        mesh.settle();
        let peers: Vec<_> = mesh.hosts.iter().map(|host| host.node.me().unwrap()).collect();
        for host in &mut mesh.hosts {
            for &peer in peers.iter().filter(|peer| peer.node != host.id) {
                host.node.handle(Input::LinkUp { peer }, mesh.now);
            }
        }
        mesh.settle();
        mesh
    }

    /// Adds a player and lets them enter.
    pub fn enter(&mut self, name: &str) -> usize {
        let mut client = Client::new(ClientConfig::default(), 1);
        client.handle(ClientInput::Enter { name: name.to_owned(), credential: Vec::new() }, self.now);
        self.players.push(Player { client, events: Vec::new(), connected: BTreeMap::new() });
        self.settle();
        self.players.len() - 1
    }

    pub fn log_out(&mut self, player: usize) {
        self.players[player].client.handle(ClientInput::Logout, self.now);
        self.settle();
    }

    /// As the coordinator is set.
    pub fn config(&self) -> CoordinatorConfig {
        self.config.clone()
    }

    /// Breaks every connection of a player's client.
    pub fn break_connections(&mut self, player: usize) {
        for index in 0..self.hosts.len() {
            let host = &mut self.hosts[index];
            let of_player = |(&client, &(whose, connection)): (&ClientId, &(usize, ConnectionId))| {
                (whose == player).then_some((client, connection))
            };
            let broken: Vec<_> = host.clients.iter().filter_map(of_player).collect();
            for (client, connection) in broken {
                host.clients.remove(&client);
                host.connections.remove(&(player, connection));
                host.node.handle(Input::ClientClosed { client }, self.now);
                self.players[player].client.handle(ClientInput::Closed { connection }, self.now);
            }
        }
        self.settle();
    }

    pub fn act(&mut self, player: usize, bytes: &'static [u8]) {
        self.players[player].client.handle(ClientInput::Act(Bytes::from_static(bytes)), self.now);
        self.settle();
    }

    /// Runs one tick everywhere, moving every point, then lets time pass to the next.
    pub fn run_tick(&mut self) {
        self.tick = self.tick.next();
        for index in (0..self.hosts.len()).filter(|&index| !self.hosts[index].gone).collect::<Vec<_>>() {
            let (tick, now) = (self.tick, self.now);
            self.hosts[index].run_tick(tick, now);
            self.settle();
            if self.hosts[index].late_frames {
                self.hosts[index].end_tick(now);
                self.settle();
            }
        }
        self.now += TICK;
        for host in self.hosts.iter_mut().filter(|host| !host.gone) {
            host.node.handle_timeout(self.now);
        }
        self.coordinator.handle_timeout(self.now);
        for player in &mut self.players {
            player.client.handle_timeout(self.now);
        }
        self.settle();
    }

    pub fn run(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.run_tick();
        }
    }

    /// The nodes whose game simulates the entity.
    pub fn simulating(&self, entity: EntityId) -> Vec<usize> {
        (0..self.hosts.len()).filter(|&index| self.hosts[index].game.points.contains_key(&entity)).collect()
    }

    pub fn the_player_entity(&self) -> EntityId {
        let entered = self.players[0].events.iter().find_map(|event| match event {
            ClientEvent::Entered { entity, .. } => Some(*entity),
            _ => None,
        });
        entered.expect("the player is in the world")
    }

    pub fn handed_over(&self) -> Vec<selvedge_protocol::handoff::Path> {
        let events = self.hosts.iter().flat_map(|host| &host.events);
        let paths = events.filter_map(|event| match event {
            NodeEvent::HandedOver { path, .. } => Some(*path),
            _ => None,
        });
        paths.collect()
    }

    /// Delivers everything that is on its way until nothing is.
    pub fn settle(&mut self) {
        loop {
            let mut moved = false;
            for index in 0..self.hosts.len() {
                while let Some(output) = self.poll_host(index) {
                    moved = true;
                    self.deliver(index, output);
                }
            }
            while let Some(output) = self.coordinator.poll_output() {
                moved = true;
                self.deliver_from_coordinator(output);
            }
            for index in 0..self.players.len() {
                while let Some(output) = self.players[index].client.poll_output() {
                    moved = true;
                    self.deliver_from_player(index, output);
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn poll_host(&mut self, index: usize) -> Option<Output> {
        let host = &mut self.hosts[index];
        if host.gone { None } else { host.node.poll_output() }
    }

    /// Kills a node, or stops it. The others' links to it go down.
    pub fn crash(&mut self, index: usize) {
        self.hosts[index].gone = true;
        self.unlink(index);
    }

    /// Cuts a node off from everybody but its players, or ends that.
    pub fn cut_off(&mut self, index: usize, cut_off: bool) {
        self.hosts[index].cut_off = cut_off;
        if cut_off {
            self.unlink(index);
            self.hosts[index].node.handle(Input::CoordinatorDown, self.now);
            let others: Vec<NodeId> = self.hosts.iter().map(|host| host.id).collect();
            let node = &mut self.hosts[index].node;
            others.into_iter().for_each(|node_id| node.handle(Input::LinkDown { node: node_id }, self.now));
        } else {
            let node = self.hosts[index].id;
            self.coordinator.handle(CoordinatorInput::LinkUp { node }, self.now);
            self.hosts[index].node.handle(Input::CoordinatorUp, self.now);
        }
        self.settle();
    }

    fn unlink(&mut self, index: usize) {
        let (node, now) = (self.hosts[index].id, self.now);
        self.coordinator.handle(CoordinatorInput::LinkDown { node }, now);
        for host in self.hosts.iter_mut().filter(|host| host.id != node && !host.gone) {
            host.node.handle(Input::LinkDown { node }, now);
        }
        self.settle();
    }

    fn is_cut_off(&self, node: NodeId) -> bool {
        self.hosts.iter().any(|host| host.id == node && (host.cut_off || host.gone))
    }

    fn deliver(&mut self, index: usize, output: Output) {
        let now = self.now;
        let from = self.hosts[index].id;
        match output {
            Output::Send { to, message, blob, .. } => {
                let unreachable = match to {
                    Destination::Coordinator => false,
                    Destination::Node(node) => self.is_cut_off(node),
                };
                if unreachable || self.is_cut_off(from) || (self.filter)(from, to, &message) {
                    return;
                }
                match to {
                    Destination::Coordinator if self.coordinator_linked => {
                        let incarnation = self.hosts[index].node.me().map(|me| me.incarnation);
                        let input = CoordinatorInput::Message { from, incarnation, message, blob };
                        self.coordinator.handle(input, now);
                    }
                    Destination::Coordinator => {}
                    Destination::Node(node) => {
                        let me = self.hosts[index].node.me().unwrap();
                        match self.hosts.iter_mut().find(|host| host.id == node) {
                            Some(target) => target
                                .node
                                .handle(Input::Message { from: Sender::Node(me), message, blob }, now),
                            None => self.to_strangers.push(message),
                        }
                    }
                }
            }
            Output::Client { client, message } => {
                if let Some(&(player, connection)) = self.hosts[index].clients.get(&client) {
                    self.players[player].client.handle(ClientInput::Message { connection, message }, now);
                }
            }
            Output::CloseClient { client, reason } => {
                self.turned_away.push((client, reason));
                let host = &mut self.hosts[index];
                if let Some((player, connection)) = host.clients.remove(&client) {
                    host.connections.remove(&(player, connection));
                    self.players[player].client.handle(ClientInput::Closed { connection }, now);
                }
            }
            Output::Game(command) => self.hosts[index].mailbox.push_back(command),
            Output::Registered(registration) => {
                let host = &mut self.hosts[index];
                let map = Arc::clone(&host.map);
                host.roster = Some(Roster::new(host.id, registration.grid, map, 1.0));
            }
            Output::MapChanged(map) => {
                let host = &mut self.hosts[index];
                host.map = Arc::clone(&map);
                if let Some(roster) = &mut host.roster {
                    roster.set_map(map);
                }
            }
            Output::ClockOffset { .. } | Output::Shun { .. } => {}
            Output::Event(event) => self.hosts[index].events.push(event),
        }
    }

    fn deliver_from_coordinator(&mut self, output: CoordinatorOutput) {
        let now = self.now;
        match output {
            CoordinatorOutput::Send { to, message, blob, .. } => {
                self.check_kept(to, &message);
                self.to_nodes.push((to, message.clone()));
                let lost = (self.coordinator_filter)(to, &message);
                let reachable = self.coordinator_linked && !self.is_cut_off(to) && !lost;
                if let Some(host) = self.hosts.iter_mut().find(|host| host.id == to && reachable) {
                    host.node.handle(Input::Message { from: Sender::Coordinator, message, blob }, now);
                }
            }
            CoordinatorOutput::Authenticate { request, name, .. } => {
                let input = CoordinatorInput::Authenticated { request, verdict: Ok(name) };
                self.coordinator.handle(input, now);
            }
            CoordinatorOutput::LoadCharacter { request, .. } => {
                let input = CoordinatorInput::CharacterLoaded { request, character: Ok(None) };
                self.coordinator.handle(input, now);
            }
            CoordinatorOutput::SaveCharacter { session, node, .. } => {
                self.saved.push(session);
                let input = CoordinatorInput::CharacterSaved { session, node, result: Ok(()) };
                self.coordinator.handle(input, now);
            }
            CoordinatorOutput::Reply { request, reply } => {
                let player = self.asked[&request];
                self.reply(player, reply);
            }
            CoordinatorOutput::Event(event) => self.coordinator_events.push(event),
            CoordinatorOutput::Standing { node, live } => self.standing.push((node, live)),
            CoordinatorOutput::Persist(record) => self.image.apply(record),
            CoordinatorOutput::Why { account, .. } => self.accounts.push(account),
            CoordinatorOutput::Census { .. } => {}
        }
    }

    fn reply(&mut self, player: usize, reply: SessionReply) {
        self.players[player].client.handle(ClientInput::Door(reply), self.now);
    }

    fn deliver_from_player(&mut self, index: usize, output: ClientOutput) {
        let now = self.now;
        match output {
            ClientOutput::Ask(message) => {
                self.next_request += 1;
                let request = self.next_request;
                self.asked.insert(request, index);
                self.coordinator.handle(CoordinatorInput::Session { request, message }, now);
            }
            ClientOutput::Connect { connection, invitation } => {
                let at = self.hosts.iter().position(|host| host.client_addr() == invitation.addr).unwrap();
                let host = &mut self.hosts[at];
                host.next_client += 1;
                let client = ClientId(host.next_client);
                host.clients.insert(client, (index, connection));
                host.connections.insert((index, connection), client);
                self.players[index].connected.insert(connection, at);
                self.players[index].client.handle(ClientInput::Connected { connection }, now);
                self.hosts[at].node.handle(Input::ClientHello { client, token: invitation.token }, now);
            }
            ClientOutput::Send { connection, message } => {
                if let Some((at, client)) = self.client_of(index, connection) {
                    self.hosts[at].node.handle(Input::ClientMessage { client, message }, now);
                }
            }
            ClientOutput::Close { connection } => self.close(index, connection),
            ClientOutput::Event(event) => self.players[index].events.push(event),
        }
    }

    /// Closes a player's connection, as if the network had.
    pub fn close(&mut self, player: usize, connection: ConnectionId) {
        if let Some((at, client)) = self.client_of(player, connection) {
            self.hosts[at].clients.remove(&client);
            self.hosts[at].connections.remove(&(player, connection));
            self.hosts[at].node.handle(Input::ClientClosed { client }, self.now);
        }
    }

    fn client_of(&self, player: usize, connection: ConnectionId) -> Option<(usize, ClientId)> {
        let at = *self.players[player].connected.get(&connection)?;
        let client = *self.hosts[at].connections.get(&(player, connection))?;
        Some((at, client))
    }
}
