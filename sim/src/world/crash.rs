//! Processes that end without a word, and begin anew with an empty memory.
//!
//! What an ended process had sent still arrives, until the other end of the link notices.

use core::time::Duration;

use selvedge_protocol::coordinator::Coordinator;
use selvedge_protocol::id::EntityId;

use super::World;
use super::door::DOOR_TIMEOUT;
use crate::event::{Event, Process, Stay};
use crate::fault::FaultKind;
use crate::hosts::HostClock;
use crate::invariant::{Fact, Violation};
use crate::network::{LinkId, Network};

/// How long the other ends take to notice, at most: at once, or when the link times out.
const NOTICED_US: [(u64, u64); 2] = [(200, 30_000), (1_000_000, 6_000_000)];
/// How far a process' clock may be ahead of virtual time when it begins.
const AHEAD_US_MAX: u64 = 10_000_000_000;

impl World {
    /// Draws the clocks of all processes; only where clocks drift.
    pub(super) fn draw_clocks(&mut self) {
        if !self.scenario.harm.kinds.has(FaultKind::Drift) {
            return;
        }
        for node in 0..self.nodes.len() {
            self.nodes[node].clock = self.draw_clock();
        }
        self.coordinator.clock = self.draw_clock();
        for player in 0..self.players.len() {
            self.players[player].clock = self.draw_clock();
        }
    }

    fn draw_clock(&mut self) -> HostClock {
        let drift = self.scenario.harm.kinds.has(FaultKind::Drift);
        let ppm_max = if drift { self.scenario.harm.drift_ppm_max } else { 0 };
        let ahead_us = i64::try_from(self.chance.whole(1_000_000, AHEAD_US_MAX)).unwrap_or(0);
        // Now and then as far off as it may be.
        let ppm = if self.chance.chance(0.3) { ppm_max } else { self.chance.whole(0, ppm_max) };
        let ppm = i64::try_from(ppm).unwrap_or(0);
        HostClock::new(ahead_us, if self.chance.chance(0.5) { ppm } else { -ppm })
    }

    /// A node's process ends; a new one begins after a while, or never.
    pub(super) fn crash_node(&mut self, node: usize, back_after: Option<Duration>) {
        let process = Process::Node(node);
        if !self.nodes[node].alive {
            return;
        }
        self.stats.crashes += 1;
        self.note(process, || "ends without a word".to_owned());
        let standings = core::mem::take(&mut self.nodes[node].standings);
        let nothing = |entity: EntityId| Fact::Standing { node, entity, standing: None };
        self.facts.push(Fact::Ended { node });
        self.facts.extend(standings.into_iter().map(|(entity, _)| nothing(entity)));
        self.nodes[node].end();
        for conn in self.connections.at_node(node) {
            self.connections.conn(conn).node_open = false;
            let noticed = self.noticed_after();
            self.queue.push(self.now + noticed, Event::ClosedAtPlayer(conn));
        }
        self.doom_links(process);
        self.return_after(process, back_after);
    }

    /// The coordinator's process ends, and a new one begins after a while.
    pub(super) fn crash_coordinator(&mut self, back_after: Duration) {
        if !self.coordinator.alive {
            return;
        }
        self.stats.coordinator_crashes += 1;
        self.note(Process::Coordinator, || "ends without a word".to_owned());
        let written = self.chance.chance(0.5);
        let asked = self.coordinator.end(written);
        for stay in asked {
            self.queue.push(self.now + DOOR_TIMEOUT, Event::DoorFailed(stay));
        }
        self.doom_links(Process::Coordinator);
        self.return_after(Process::Coordinator, Some(back_after));
    }

    /// A player's program ends; a new one begins after a while, or never.
    pub(super) fn crash_player(&mut self, stay: Stay, back_after: Option<Duration>) {
        self.stats.clients_vanished += 1;
        self.note(Process::Player(stay.player), || "ends without a word".to_owned());
        self.sever_all(stay);
        let host = &mut self.players[stay.player];
        host.begin(self.scenario.client.clone());
        host.wants_in = false;
        if let Some(after) = back_after {
            self.queue.push(self.now + after, Event::PlayerEnters(stay.player));
        }
    }

    fn return_after(&mut self, process: Process, after: Option<Duration>) {
        if let Some(after) = after {
            let at = self.now + after;
            self.last_return_at = self.last_return_at.max(at);
            self.queue.push(at, Event::Returns(process));
        }
    }

    pub(super) fn on_returns(&mut self, process: Process) -> Result<(), Violation> {
        match process {
            Process::Node(node) if !self.nodes[node].alive => {
                let clock = self.draw_clock();
                self.nodes[node].begin(node, &self.scenario, clock, &mut self.chance);
                self.stats.returns += 1;
                self.note(process, || "begins anew".to_owned());
                self.notice_doomed(process);
                self.let_rise(Network::of_coordinator(node));
            }
            Process::Coordinator if !self.coordinator.alive => {
                let clock = self.draw_clock();
                self.begin_coordinator(clock)?;
                self.note(process, || "begins anew".to_owned());
                self.notice_doomed(process);
                for node in 0..self.nodes.len() {
                    self.let_rise(Network::of_coordinator(node));
                }
            }
            Process::Node(_) | Process::Coordinator | Process::Player(_) => {}
        }
        Ok(())
    }

    /// A new coordinator knows what the disk of the former one holds.
    fn begin_coordinator(&mut self, clock: HostClock) -> Result<(), Violation> {
        let (config, image) = (self.scenario.coordinator.clone(), self.coordinator.disk.image());
        let machine = Coordinator::restored(config, image, clock.at(self.now), self.chance.seed());
        let machine = machine.map_err(|error| Violation {
            invariant: "progress",
            what: format!("the coordinator can't begin anew: {error}"),
            entity: None,
            player: None,
        })?;
        self.coordinator.begin(machine, clock);
        self.drain_coordinator();
        Ok(())
    }

    fn noticed_after(&mut self) -> Duration {
        let span = NOTICED_US[self.chance.index(0, 1)];
        self.chance.micros(span)
    }

    /// The other ends of a process' links notice that it ended, each in its own time.
    fn doom_links(&mut self, process: Process) {
        for id in self.network.links_of(process) {
            let noticed = self.noticed_after();
            let other = self.network.other_end(id, process);
            let link = self.network.link(id);
            if link.rising || link.doomed {
                // It was not up yet, or the other end is no more, either.
                link.drop_all();
            } else if link.up {
                link.doomed = true;
                self.lose_at(id, other, noticed);
            }
        }
    }

    /// Who begins anew is noticed by those who still believe in its former self.
    fn notice_doomed(&mut self, process: Process) {
        for id in self.network.links_of(process) {
            if self.network.link(id).doomed {
                let other = self.network.other_end(id, process);
                let noticed = self.chance.micros((200, 20_000));
                self.lose_at(id, other, noticed);
            }
        }
    }

    /// One end learns of a lost link after a while.
    pub(super) fn lose_at(&mut self, link: LinkId, end: Process, after: Duration) {
        let (process, life) = (self.life_of(end), self.network.link(link).life);
        self.queue.push(self.now + after, Event::LinkLost { link, life, end, process });
    }

    /// The one end that is left has noticed: the link may rise to the other's next process.
    pub(super) fn end_doomed(&mut self, id: LinkId) {
        let link = self.network.link(id);
        if link.doomed {
            link.drop_all();
            self.raise(id);
        }
    }

    /// Which process of a host this is.
    pub(super) fn life_of(&self, process: Process) -> u32 {
        match process {
            Process::Node(node) => self.nodes[node].life,
            Process::Coordinator => self.coordinator.life,
            Process::Player(player) => self.players[player].stay.life,
        }
    }

    /// Whether there is a process.
    pub(super) fn is_alive(&self, process: Process) -> bool {
        match process {
            Process::Node(node) => self.nodes[node].alive,
            Process::Coordinator => self.coordinator.alive,
            Process::Player(_) => true,
        }
    }
}
