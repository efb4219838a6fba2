//! Which process or which set of links comes to harm next, in a drawn run.
//!
//! What the design promises holds for the loss of any *one* node: so the next one is lost only after the mesh had the
//! time to make good for the last, unless the run is reckless. A node that hears nobody for longer than its lease, or
//! that nobody hears, is lost as well.

use core::time::Duration;

use super::World;
use super::ambush::{Ambush, Deed, Moment, Victim};
use crate::event::{Event, Process};
use crate::fault::FaultKind;
use crate::hosts::{Standstill, Timers};
use crate::moment::KINDS;

/// A node that is away for less than this is not lost to the mesh.
const HARMLESS: Duration = Duration::from_millis(1_000);
/// In so many leases after a node was lost the mesh has made good for it: fenced it, recovered, copied all anew.
const LEASES_TO_RECOVER: u32 = 4;
/// So long harm waits for a message.
const AMBUSH_PATIENCE: Duration = Duration::from_secs(4);
/// A strike never leaves fewer nodes than this for good.
const NODES_LEFT_MIN: usize = 2;

impl World {
    pub(super) fn next_strike(&mut self) {
        if let Some(mean) = self.scenario.harm.every {
            let mean_us = u64::try_from(mean.as_micros()).unwrap_or(u64::MAX / 4);
            let after = self.chance.micros((1, 2 * mean_us));
            self.queue.push(self.now + after, Event::Strike);
        }
    }

    pub(super) fn on_strike(&mut self) {
        if self.is_calm() {
            return;
        }
        let kinds = self.scenario.harm.kinds;
        let possible: Vec<FaultKind> =
            FaultKind::ALL.into_iter().filter(|&kind| kinds.has(kind) && kind != FaultKind::Drift).collect();
        if let Some(&kind) = possible.get(self.chance.index(0, possible.len().max(1) - 1)) {
            self.stats.strikes += 1;
            match kind {
                FaultKind::Crash => self.strike_node(),
                FaultKind::Pause => self.strike_with_pause(),
                FaultKind::Partition => self.strike_with_partition(),
                FaultKind::Coordinator => self.strike_coordinator(),
                FaultKind::Client => self.strike_player(),
                FaultKind::Drift => {}
            }
        }
        self.next_strike();
    }

    /// Whether a node may be lost now; if so, for how long none other may.
    fn may_lose(&mut self, away: Duration) -> bool {
        if away < HARMLESS || self.scenario.harm.reckless {
            return true;
        }
        if self.now < self.losses_from {
            return false;
        }
        self.losses_from = self.now + away + self.scenario.coordinator.lease * LEASES_TO_RECOVER;
        true
    }

    fn strike_node(&mut self) {
        let alive: Vec<usize> = (0..self.nodes.len()).filter(|&node| self.nodes[node].alive).collect();
        let harm = &self.scenario.harm;
        let (down_us, ambush, never_back) = (harm.down_us, harm.ambush, harm.never_back);
        let down = self.chance.micros(down_us);
        // Without its cells dealt a mesh waits for all of its nodes.
        let dealt = self.coordinator.machine.map().version() > 0;
        let gone_for_good = dealt && alive.len() > NODES_LEFT_MIN && self.chance.chance(never_back);
        let back_after = (!gone_for_good).then_some(down);
        if alive.is_empty() || !self.may_lose(down.max(HARMLESS)) {
            return;
        }
        if self.chance.chance(ambush) {
            self.losses_from += AMBUSH_PATIENCE;
            let victim = if self.chance.chance(0.5) { Victim::Sender } else { Victim::Receiver };
            self.wait_for_message(Deed::Kill(victim, back_after));
        } else {
            let node = alive[self.chance.index(0, alive.len() - 1)];
            self.crash_node(node, back_after);
        }
    }

    /// Harm comes with the next message of a kind that is drawn.
    fn wait_for_message(&mut self, deed: Deed) {
        let kind = KINDS[self.chance.index(0, KINDS.len() - 1)];
        let moment = if self.chance.chance(0.5) { Moment::Before } else { Moment::After };
        let until = self.now + AMBUSH_PATIENCE;
        self.lay_ambush(Ambush { kind, from: None, to: None, moment, deed, until });
    }

    fn strike_with_pause(&mut self) {
        let process = match self.chance.whole(0, 9) {
            0 => Process::Coordinator,
            1 => Process::Player(self.chance.index(0, self.players.len() - 1)),
            _ => Process::Node(self.chance.index(0, self.nodes.len() - 1)),
        };
        let length = self.chance.micros(self.scenario.harm.pause_us);
        let is_node = matches!(process, Process::Node(_));
        if !self.is_alive(process) || (is_node && !self.may_lose(length)) {
            return;
        }
        let timers = [Timers::AsTheyCame, Timers::First, Timers::Last][self.chance.index(0, 2)];
        self.stats.pauses += 1;
        if is_node && self.chance.chance(self.scenario.harm.ambush) {
            let victim = if self.chance.chance(0.5) { Victim::Sender } else { Victim::Receiver };
            self.losses_from += AMBUSH_PATIENCE;
            self.wait_for_message(Deed::Still(victim, length));
            return;
        }
        self.stand_still(process, Standstill { until: self.now + length, timers });
        if self.chance.chance(0.5) {
            self.give_up_links_of(process, length);
        }
    }

    /// The others give the links to a process up that they hear nothing of.
    fn give_up_links_of(&mut self, process: Process, length: Duration) {
        for link in self.network.links_of(process) {
            let life = self.network.link(link).life;
            let idle = self.chance.millis(1_000, 6_000);
            if idle < length {
                let event = Event::LinkTimesOut { link, life, length: Duration::from_millis(1) };
                self.queue.push(self.now + idle, event);
            }
        }
    }

    fn strike_with_partition(&mut self) {
        let length = self.chance.micros(self.scenario.harm.partition_us);
        let node = self.chance.index(0, self.nodes.len() - 1);
        let other = (node + self.chance.index(1, self.nodes.len() - 1)) % self.nodes.len();
        let (node, other) = (Process::Node(node), Process::Node(other));
        match self.chance.whole(0, 99) {
            0..=9 => self.wait_for_message(Deed::Cut(Victim::Sender, Victim::Receiver, length)),
            10..=19 => self.silence_both(node, other, length),
            20..=34 => self.silence(node, other, length),
            35..=49 => self.cut_off_from_coordinator(length),
            50..=64 if self.may_lose(length) => self.silence_both(node, Process::Coordinator, length),
            65..=74 if self.may_lose(length) => {
                let (from, to) = if self.chance.chance(0.5) {
                    (node, Process::Coordinator)
                } else {
                    (Process::Coordinator, node)
                };
                self.silence(from, to, length);
            }
            75..=89 if self.may_lose(length) => self.isolate(node, length),
            90..=99 => self.split(if self.scenario.harm.reckless { length } else { length.min(HARMLESS) }),
            _ => return,
        }
        self.stats.partitions += 1;
    }

    /// The coordinator hears nobody, or nobody hears it.
    fn cut_off_from_coordinator(&mut self, length: Duration) {
        let (deaf, mute) = [(true, true), (true, false), (false, true)][self.chance.index(0, 2)];
        for node in (0..self.nodes.len()).map(Process::Node) {
            if deaf {
                self.silence(node, Process::Coordinator, length);
            }
            if mute {
                self.silence(Process::Coordinator, node, length);
            }
        }
    }

    /// One node hears nobody, is heard by nobody, or both.
    fn isolate(&mut self, node: Process, length: Duration) {
        let (deaf, mute) = [(true, true), (true, false), (false, true)][self.chance.index(0, 2)];
        for link in self.network.links_of(node) {
            let other = self.network.other_end(link, node);
            if deaf {
                self.silence(other, node, length);
            }
            if mute {
                self.silence(node, other, length);
            }
        }
        if let (Process::Node(node), true) = (node, self.chance.chance(0.3)) {
            self.shut_clients_out(node, length);
        }
    }

    /// The mesh falls in two.
    fn split(&mut self, length: Duration) {
        let side: Vec<bool> = (0..self.nodes.len()).map(|_| self.chance.chance(0.5)).collect();
        for a in 0..side.len() {
            if side[a] {
                self.silence_both(Process::Node(a), Process::Coordinator, length);
            }
            for b in 0..a {
                if side[a] != side[b] {
                    self.silence_both(Process::Node(a), Process::Node(b), length);
                }
            }
        }
    }

    fn strike_coordinator(&mut self) {
        let down = self.chance.micros(self.scenario.harm.coordinator_down_us);
        if self.chance.chance(self.scenario.harm.ambush) {
            self.wait_for_message(Deed::Kill(Victim::This(Process::Coordinator), Some(down)));
        } else {
            self.crash_coordinator(down);
        }
    }

    fn strike_player(&mut self) {
        let player = self.chance.index(0, self.players.len() - 1);
        let stay = self.players[player].stay;
        if !self.players[player].wants_in {
            return;
        }
        let back = self.chance.chance(0.6);
        let after = self.chance.millis(200, 8_000);
        self.crash_player(stay, back.then_some(after));
    }
}
