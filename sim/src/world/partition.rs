//! Sets of directed pairs that hear nothing of each other for a while.

use core::time::Duration;

use selvedge_protocol::time::Time;

use super::World;
use crate::event::{Event, Process};
use crate::network::LinkId;

/// After how long without a sign a link is given up.
const IDLE_US: (u64, u64) = (1_000_000, 6_000_000);

impl World {
    /// Nothing that `from` sends reaches `to` until then. A link on which that lasts too long goes down.
    pub(super) fn silence(&mut self, from: Process, to: Process, length: Duration) {
        let Some(link) = self.network.between(from, to) else {
            return;
        };
        let until = self.now + length;
        let first = self.network.ends(link)[0] == from;
        self.network.deafen(link, [first, !first], until);
        let held = self.network.link(link);
        held.barred_until = held.barred_until.max(until);
        let life = held.life;
        let idle = self.chance.micros(IDLE_US);
        if idle < length {
            let event = Event::LinkTimesOut { link, life, length: length - idle };
            self.queue.push(self.now + idle, event);
        }
    }

    /// Neither of two processes hears the other until then.
    pub(super) fn silence_both(&mut self, a: Process, b: Process, length: Duration) {
        self.silence(a, b, length);
        self.silence(b, a, length);
    }

    pub(super) fn on_link_times_out(&mut self, link: LinkId, life: u32, length: Duration) {
        if self.network.link(link).life == life && !self.is_calm() {
            self.cut(link, length);
        }
    }

    /// Until when a link can't come up, if it can't.
    pub(super) fn barred(&mut self, link: LinkId) -> Option<Time> {
        let until = self.network.link(link).barred_until;
        (until > self.now).then(|| until + Duration::from_micros(1))
    }

    /// No client reaches a node for a while; those that are there are cut off.
    pub(super) fn shut_clients_out(&mut self, node: usize, length: Duration) {
        self.nodes[node].shut_until = self.nodes[node].shut_until.max(self.now + length);
        for conn in self.connections.at_node(node) {
            if self.connections.conn(conn).owner.is_some() {
                self.sever(conn);
            }
        }
    }

    /// Whether a client can connect to a node.
    pub(super) fn is_reachable(&self, node: usize) -> bool {
        self.nodes[node].alive && self.nodes[node].shut_until <= self.now
    }

    /// Every partition ends.
    pub(super) fn end_partitions(&mut self) {
        self.network.unbar();
        for host in &mut self.nodes {
            host.shut_until = Time::ZERO;
        }
    }
}
