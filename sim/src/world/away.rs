//! Processes that are away: what would reach one that ended is lost, what would reach one that stands still waits.

use selvedge_protocol::time::Time;

use super::World;
use super::door::DOOR_TIMEOUT;
use crate::event::{Event, Process};
use crate::hosts::{Standstill, Timers};
use crate::invariant::Fact;

impl World {
    /// What of an event happens now: all of it, or nothing if whom it is for is no more or stands still.
    pub(super) fn unless_away(&mut self, event: Event) -> Option<Event> {
        let Some(process) = self.addressee(&event) else {
            return Some(event);
        };
        if self.is_for_another_life(&event) {
            return None;
        }
        let standstill = self.standstill_of(process);
        if !standstill.lasts(self.now) {
            return Some(event);
        }
        let mut at = standstill.until;
        if matches!(event, Event::NodeTimer(_) | Event::CoordinatorTimer | Event::PlayerTimer(_)) {
            let (now, wake_at) = (self.now, self.wake_at_of(process));
            at = standstill.timer_at();
            if *wake_at == Some(now) {
                *wake_at = Some(at);
            }
        }
        self.queue.push(at, event);
        None
    }

    /// Whose process takes an event in; none if it happens between processes.
    fn addressee(&mut self, event: &Event) -> Option<Process> {
        let process = match event {
            Event::NodeTimer(node)
            | Event::Tick { node, .. }
            | Event::Report { node, .. }
            | Event::Mesh { to: Process::Node(node), .. }
            | Event::LinkLost { end: Process::Node(node), .. } => Process::Node(*node),
            Event::Hello { conn, .. } | Event::ToNode { conn, .. } | Event::ClosedAtNode(conn) => {
                Process::Node(self.connections.conn(*conn).node)
            }
            Event::CoordinatorTimer
            | Event::Mesh { to: Process::Coordinator, .. }
            | Event::LinkLost { end: Process::Coordinator, .. }
            | Event::DoorAsked { .. }
            | Event::Authenticated { .. }
            | Event::Loaded { .. }
            | Event::DiskSynced { .. }
            | Event::Saved { .. } => Process::Coordinator,
            Event::PlayerTimer(player)
            | Event::Mesh { to: Process::Player(player), .. }
            | Event::LinkLost { end: Process::Player(player), .. } => Process::Player(*player),
            Event::Connected(conn) | Event::ToPlayer { conn, .. } | Event::ClosedAtPlayer(conn) => {
                Process::Player(self.connections.conn(*conn).owner?.0.player)
            }
            Event::DoorAnswered { stay, .. } | Event::DoorFailed(stay) | Event::PlayerActs(stay) => {
                Process::Player(stay.player)
            }
            Event::NodeStarts(_)
            | Event::LinkRises { .. }
            | Event::LinkHeals { .. }
            | Event::LinkTimesOut { .. }
            | Event::Weather
            | Event::Strike
            | Event::Returns(_)
            | Event::PlayerEnters(_)
            | Event::Calm
            | Event::Inspect => return None,
        };
        Some(process)
    }

    /// Whether the process that an event was for is no more. What the character store does is done all the same.
    fn is_for_another_life(&mut self, event: &Event) -> bool {
        match event {
            Event::Tick { node, process, .. }
            | Event::Report { node, process, .. }
            | Event::LinkLost { end: Process::Node(node), process, .. } => {
                let host = &self.nodes[*node];
                !host.alive || host.life != *process
            }
            Event::NodeTimer(node) | Event::Mesh { to: Process::Node(node), .. } => !self.nodes[*node].alive,
            Event::Hello { conn, .. } | Event::ToNode { conn, .. } | Event::ClosedAtNode(conn) => {
                let node = self.connections.conn(*conn).node;
                !self.nodes[node].alive
            }
            Event::LinkLost { end: Process::Coordinator, process, .. }
            | Event::Authenticated { process, .. }
            | Event::DiskSynced { process }
            | Event::Loaded { process, .. } => !self.coordinator.alive || self.coordinator.life != *process,
            Event::CoordinatorTimer | Event::Mesh { to: Process::Coordinator, .. } => !self.coordinator.alive,
            Event::DoorAsked { stay, .. } => {
                if !self.coordinator.alive {
                    self.queue.push(self.now + DOOR_TIMEOUT, Event::DoorFailed(*stay));
                }
                !self.coordinator.alive
            }
            Event::NodeStarts(_)
            | Event::PlayerTimer(_)
            | Event::Mesh { .. }
            | Event::LinkRises { .. }
            | Event::LinkLost { .. }
            | Event::LinkHeals { .. }
            | Event::LinkTimesOut { .. }
            | Event::Weather
            | Event::Strike
            | Event::Returns(_)
            | Event::Connected(_)
            | Event::ToPlayer { .. }
            | Event::ClosedAtPlayer(_)
            | Event::DoorAnswered { .. }
            | Event::DoorFailed(_)
            | Event::Saved { .. }
            | Event::PlayerActs(_)
            | Event::PlayerEnters(_)
            | Event::Calm
            | Event::Inspect => false,
        }
    }

    /// How a process stands still.
    pub(super) fn standstill_of(&self, process: Process) -> Standstill {
        match process {
            Process::Node(node) => self.nodes[node].standstill,
            Process::Coordinator => self.coordinator.standstill,
            Process::Player(player) => self.players[player].standstill,
        }
    }

    fn wake_at_of(&mut self, process: Process) -> &mut Option<Time> {
        match process {
            Process::Node(node) => &mut self.nodes[node].wake_at,
            Process::Coordinator => &mut self.coordinator.wake_at,
            Process::Player(player) => &mut self.players[player].wake_at,
        }
    }

    /// From now until then a process gets no events and no time.
    pub(super) fn stand_still(&mut self, process: Process, standstill: Standstill) {
        if self.standstill_of(process).lasts(self.now) {
            return;
        }
        self.note(process, || format!("stands still until {}", standstill.until));
        match process {
            Process::Node(node) => {
                self.nodes[node].standstill = standstill;
                self.nodes[node].was_still = true;
                self.facts.push(Fact::StoodStill { node });
            }
            Process::Coordinator => self.coordinator.standstill = standstill,
            Process::Player(player) => self.players[player].standstill = standstill,
        }
        let wake_at = self.wake_at_of(process);
        if standstill.timers == Timers::First && wake_at.is_some_and(|at| at <= standstill.until) {
            *wake_at = Some(standstill.until);
            let timer = match process {
                Process::Node(node) => Event::NodeTimer(node),
                Process::Coordinator => Event::CoordinatorTimer,
                Process::Player(player) => Event::PlayerTimer(player),
            };
            self.queue.push(standstill.until, timer);
        }
    }
}
