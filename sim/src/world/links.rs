//! Links that come up, go down, lose everything for a while.

use core::time::Duration;

use selvedge_protocol::coordinator::CoordinatorInput;
use selvedge_protocol::id::Peer;
use selvedge_protocol::node::Input;
use selvedge_protocol::time::Time;

use super::World;
use crate::event::{ConnId, Event, Process};
use crate::hosts::{Standstill, Timers};
use crate::network::LinkId;
use crate::network::Network;

impl World {
    /// Lets every link of a node rise that can.
    pub(super) fn consider_links(&mut self, node: usize) {
        for other in 0..self.nodes.len() {
            self.consider_link(node, other);
        }
    }

    /// Lets the link of two nodes rise if both are registered and each one's map names the other's life.
    fn consider_link(&mut self, a: usize, b: usize) {
        if a == b || !self.knows(a, b) || !self.knows(b, a) {
            return;
        }
        let link = self.network.of_nodes(a, b);
        self.let_rise(link);
    }

    fn knows(&self, knower: usize, known: usize) -> bool {
        let listed = self.nodes[knower].map.as_ref().and_then(|map| map.node(self.nodes[known].id));
        let Some(peer) = self.nodes[known].me() else {
            return false;
        };
        let shunned = self.nodes[knower].shunned.get(&known).is_some_and(|over| *over >= peer.incarnation);
        self.nodes[knower].me().is_some() && listed.map(|entry| entry.peer) == Some(peer) && !shunned
    }

    /// A node ends its link to a life that is over, and takes none up again.
    pub(super) fn on_shun(&mut self, node: usize, peer: Peer) {
        let Some(other) = self.nodes.iter().position(|host| host.id == peer.node) else {
            return;
        };
        let over = self.nodes[node].shunned.entry(other).or_default();
        *over = peer.incarnation.max(*over);
        let link = self.network.of_nodes(node, other);
        let is_newer = self.nodes[other].me().is_some_and(|me| me.incarnation > peer.incarnation);
        if node != other && !is_newer {
            self.cut(link, Duration::from_millis(1));
        }
    }

    /// A node that registered anew says hello anew.
    pub(super) fn close_links_of(&mut self, node: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            let link = self.network.of_nodes(node, other);
            self.cut(link, Duration::from_millis(1));
        }
    }

    pub(super) fn let_rise(&mut self, id: LinkId) {
        let after = self.dice.micros((500, 50_000));
        if self.network.ends(id).into_iter().any(|end| !self.is_alive(end)) {
            return;
        }
        let link = self.network.link(id);
        if link.up || link.cut || link.rising {
            return;
        }
        link.rising = true;
        let life = link.life;
        self.queue.push(self.now + after, Event::LinkRises { link: id, life });
    }

    pub(super) fn on_link_rises(&mut self, id: LinkId, life: u32) {
        if let Some(until) = self.standstill(id) {
            self.queue.push(until, Event::LinkRises { link: id, life });
            return;
        }
        if let Some(until) = self.barred(id) {
            self.queue.push(until, Event::LinkRises { link: id, life });
            return;
        }
        let link = self.network.link(id);
        if link.life != life {
            return;
        }
        link.rising = false;
        link.up = true;
        link.life += 1;
        for (end, other) in both_ways(self.network.ends(id)) {
            self.note(end, || format!("the link to {other:?} is up"));
            match (end, other) {
                (Process::Coordinator, Process::Node(node)) => {
                    let node = self.nodes[node].id;
                    self.drive_coordinator(CoordinatorInput::LinkUp { node });
                }
                (Process::Node(node), Process::Coordinator) => self.drive_node(node, Input::CoordinatorUp),
                (Process::Node(node), Process::Node(other)) => {
                    if let Some(peer) = self.nodes[other].me() {
                        self.drive_node(node, Input::LinkUp { peer });
                    }
                }
                (Process::Coordinator | Process::Player(_), _) | (_, Process::Player(_)) => {}
            }
        }
    }

    pub(super) fn on_link_lost(&mut self, id: LinkId, life: u32, end: Process) {
        if self.network.link(id).life > life {
            // It was noticed otherwise before, and may be up again.
            return;
        }
        let [first, second] = self.network.ends(id);
        let other = if first == end { second } else { first };
        self.note(end, || format!("the link to {other:?} is down"));
        match (end, other) {
            (Process::Coordinator, Process::Node(node)) => {
                let node = self.nodes[node].id;
                self.drive_coordinator(CoordinatorInput::LinkDown { node });
            }
            (Process::Node(node), Process::Coordinator) => self.drive_node(node, Input::CoordinatorDown),
            (Process::Node(node), Process::Node(other)) => {
                let other = self.nodes[other].id;
                self.drive_node(node, Input::LinkDown { node: other });
            }
            (Process::Coordinator | Process::Player(_), _) | (_, Process::Player(_)) => {}
        }
        self.end_doomed(id);
    }

    /// Cuts a link for a while. Both ends notice, each in its own time, before it heals.
    pub(super) fn cut(&mut self, id: LinkId, length: Duration) {
        let noticed = [self.dice.micros((1_000, 1_500_000)), self.dice.micros((1_000, 1_500_000))];
        let ends = self.network.ends(id);
        let link = self.network.link(id);
        if link.cut || !link.up || link.doomed {
            return;
        }
        link.drop_all();
        link.cut = true;
        self.stats.link_cuts += 1;
        for (end, after) in ends.into_iter().zip(noticed) {
            self.lose_at(id, end, after);
        }
        let healed = length.max(noticed[0]).max(noticed[1]) + Duration::from_millis(1);
        self.queue.push(self.now + healed, Event::LinkHeals { link: id });
    }

    pub(super) fn heal(&mut self, id: LinkId) {
        // An end that stands still has not noticed the cut yet, and must before it hears that the link is up.
        if let Some(until) = self.standstill(id) {
            self.queue.push(until, Event::LinkHeals { link: id });
            return;
        }
        let link = self.network.link(id);
        if !link.cut {
            return;
        }
        link.cut = false;
        self.raise(id);
    }

    /// Lets a link rise if nothing stands against it.
    pub(super) fn raise(&mut self, id: LinkId) {
        match self.network.ends(id) {
            [Process::Node(a), Process::Node(b)] => self.consider_link(a, b),
            [_, _] => self.let_rise(id),
        }
    }

    /// Until just after when an end of the link stands still, if one does.
    fn standstill(&self, id: LinkId) -> Option<Time> {
        let until = self.network.ends(id).into_iter().map(|end| self.standstill_of(end).until);
        until.max().filter(|until| *until >= self.now).map(|until| until + Duration::from_micros(1))
    }

    pub(super) fn next_weather(&mut self) {
        if let Some(mean) = self.scenario.faults.weather_every {
            let mean_us = u64::try_from(mean.as_micros()).unwrap_or(u64::MAX / 4);
            let after = self.dice.micros((1, 2 * mean_us));
            self.queue.push(self.now + after, Event::Weather);
        }
    }

    pub(super) fn on_weather(&mut self) {
        if self.is_calm() {
            return;
        }
        let faults = &self.scenario.faults;
        let (burst, cut) = (self.dice.micros(faults.burst_us), self.dice.micros(faults.cut_us));
        let node = self.dice.index(0, self.nodes.len() - 1);
        let other = (node + self.dice.index(1, self.nodes.len() - 1)) % self.nodes.len();
        let between = self.network.of_nodes(node, other);
        let until = self.now + burst;
        match self.dice.whole(0, 99) {
            0..=37 => {
                let first = self.dice.chance(0.5);
                self.deafen(between, [first, !first], until);
            }
            38..=51 => self.deafen(between, [true, true], until),
            52..=64 => self.cut(between, cut),
            65..=71 => {
                let both = self.dice.chance(0.5);
                self.deafen(Network::of_coordinator(node), [true, both], until);
            }
            72..=77 => self.cut(Network::of_coordinator(node), cut),
            78..=80 => {
                self.stats.coordinator_outages += 1;
                for node in 0..self.nodes.len() {
                    self.cut(Network::of_coordinator(node), cut);
                }
            }
            81..=86 => self.pause(node),
            _ => self.sever_some_client(),
        }
        self.next_weather();
    }

    fn deafen(&mut self, link: LinkId, directions: [bool; 2], until: Time) {
        self.stats.link_bursts += 1;
        self.network.deafen(link, directions, until);
    }

    /// A node's whole process stands still for a while, its clock goes on.
    fn pause(&mut self, node: usize) {
        let length = self.dice.micros(self.scenario.faults.pause_us);
        let process = Process::Node(node);
        if self.standstill_of(process).lasts(self.now) {
            return;
        }
        self.stats.pauses += 1;
        self.stand_still(process, Standstill { until: self.now + length, timers: Timers::AsTheyCame });
    }

    fn sever_some_client(&mut self) {
        let open = self.connections.open_ones();
        if let Some(&conn) = open.get(self.dice.index(0, open.len().max(1) - 1)) {
            self.sever(conn);
        }
    }

    /// Cuts a client's connection; both ends notice, each in its own time.
    pub(super) fn sever(&mut self, conn: ConnId) {
        self.stats.client_cuts += 1;
        self.connections.conn(conn).severed = true;
        let (at_node, at_player) =
            (self.dice.micros((1_000, 2_000_000)), self.dice.micros((1_000, 2_000_000)));
        self.queue.push(self.now + at_node, Event::ClosedAtNode(conn));
        self.queue.push(self.now + at_player, Event::ClosedAtPlayer(conn));
    }

    /// Faults and movement stop; what is cut heals once both ends have noticed.
    pub(super) fn on_calm(&mut self) {
        self.calm_since = Some(self.now);
        self.network.calm();
        self.end_partitions();
        self.ambush = None;
        self.connections.calm();
        for node in 0..self.nodes.len() {
            if let Some(game) = &mut self.nodes[node].game {
                game.calm();
            }
        }
        for link in self.network.cut_links() {
            self.queue.push(self.now + Duration::from_millis(1_501), Event::LinkHeals { link });
        }
        let still = self.nodes.iter().map(|host| host.standstill.until);
        let still = still.chain(self.players.iter().map(|host| host.standstill.until));
        let last = still.chain([self.coordinator.standstill.until, self.last_return_at]).max();
        self.quiet_from = last.unwrap_or_default().max(self.now);
        for player in &mut self.players {
            player.offline_until = player.offline_until.min(self.now);
        }
        self.queue.push(self.now + super::INSPECT_EVERY, Event::Inspect);
    }
}

fn both_ways([a, b]: [Process; 2]) -> [(Process, Process); 2] {
    [(a, b), (b, a)]
}
