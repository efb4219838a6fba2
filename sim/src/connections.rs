//! The clients' connections: reliable and in order but for datagrams, and gone with everything under way when cut.

use core::time::Duration;

use selvedge_protocol::handoff::client::ConnectionId;
use selvedge_protocol::id::ClientId;
use selvedge_protocol::time::Time;

use crate::dice::Dice;
use crate::event::{ConnId, Stay};
use crate::scenario::Faults;

/// One connection of a client, or of a thief, to a node.
#[derive(Debug)]
pub(crate) struct Conn {
    /// Whose it is; none for a thief's.
    pub(crate) owner: Option<(Stay, ConnectionId)>,
    pub(crate) node: usize,
    /// Its name at the node, once the hello arrived.
    pub(crate) client: Option<ClientId>,
    /// Whether the client still uses it.
    pub(crate) player_open: bool,
    /// Whether the node still does.
    pub(crate) node_open: bool,
    /// Cut: nothing arrives any more.
    pub(crate) severed: bool,
    /// Whether the node said goodbye on it.
    pub(crate) said_bye: bool,
    delay_us: u64,
    /// When the last reliable bytes arrive: at the node, at the client.
    in_order: [Time; 2],
}

/// To which end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Towards {
    Node = 0,
    Client = 1,
}

/// All connections ever made.
pub(crate) struct Connections {
    all: Vec<Conn>,
    faults: Faults,
    pub(crate) dice: Dice,
}

impl Connections {
    pub(crate) const fn new(faults: Faults, dice: Dice) -> Self {
        Self { all: Vec::new(), faults, dice }
    }

    /// From now on nothing is lost and nobody steals.
    pub(crate) const fn calm(&mut self) {
        let faults = &mut self.faults;
        (faults.loss, faults.duplicate, faults.reorder) = (0.0, 0.0, 0.0);
        (faults.connect_fails, faults.stolen_token) = (0.0, 0.0);
    }

    /// Begins a connection.
    pub(crate) fn open(&mut self, owner: Option<(Stay, ConnectionId)>, node: usize) -> ConnId {
        let delay_us = self.dice.whole(self.faults.delay_us.0, self.faults.delay_us.1);
        self.all.push(Conn {
            owner,
            node,
            client: None,
            player_open: owner.is_some(),
            node_open: true,
            severed: false,
            said_bye: false,
            delay_us,
            in_order: [Time::ZERO; 2],
        });
        ConnId(self.all.len() - 1)
    }

    /// The connection.
    pub(crate) fn conn(&mut self, conn: ConnId) -> &mut Conn {
        &mut self.all[conn.0]
    }

    /// Every connection that both ends use.
    pub(crate) fn open_ones(&self) -> Vec<ConnId> {
        let is_open = |conn: &Conn| conn.player_open && conn.node_open && !conn.severed;
        (0..self.all.len()).filter(|&number| is_open(&self.all[number])).map(ConnId).collect()
    }

    /// Every connection that a node has, or is about to.
    pub(crate) fn at_node(&self, node: usize) -> Vec<ConnId> {
        let is_there = |conn: &Conn| conn.node == node && conn.node_open && !conn.severed;
        (0..self.all.len()).filter(|&number| is_there(&self.all[number])).map(ConnId).collect()
    }

    /// Whether the attempt to connect fails.
    pub(crate) fn fails(&mut self) -> bool {
        self.dice.chance(self.faults.connect_fails)
    }

    /// Whether somebody steals the token.
    pub(crate) fn is_stolen(&mut self) -> bool {
        self.dice.chance(self.faults.stolen_token)
    }

    fn delay(&mut self, conn: ConnId) -> Duration {
        Duration::from_micros(self.all[conn.0].delay_us + self.dice.whole(0, self.faults.jitter_us))
    }

    /// When reliable bytes arrive: never before what was sent before them.
    pub(crate) fn reliable(&mut self, conn: ConnId, towards: Towards, now: Time) -> Time {
        let mut arrival = now + self.delay(conn);
        // What is lost is sent again: it comes late, and so does all behind it.
        if self.dice.chance(self.faults.loss) {
            arrival += Duration::from_micros(2 * self.all[conn.0].delay_us + 20_000);
        }
        let in_order = &mut self.all[conn.0].in_order[towards as usize];
        *in_order = arrival.max(*in_order);
        *in_order
    }

    /// When the copies of a datagram arrive.
    pub(crate) fn datagram(&mut self, conn: ConnId, now: Time) -> [Option<Time>; 2] {
        if self.dice.chance(self.faults.loss) {
            return [None; 2];
        }
        let mut first = now + self.delay(conn);
        if self.dice.chance(self.faults.reorder) {
            first += self.dice.micros(self.faults.reorder_us);
        }
        let second = self.dice.chance(self.faults.duplicate).then(|| now + self.delay(conn));
        [Some(first), second]
    }
}
