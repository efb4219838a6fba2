//! One player's program.

use std::collections::BTreeMap;

use selvedge_protocol::grid::Position;
use selvedge_protocol::handoff::client::{Client, ClientConfig, ConnectionId};
use selvedge_protocol::id::{EntityId, SessionId};
use selvedge_protocol::time::Time;

use super::{HostClock, Standstill};
use crate::dice::Dice;
use crate::event::{ConnId, Stay};

/// One player's machine.
pub(crate) struct PlayerHost {
    pub(crate) machine: Client,
    /// The program's own clock.
    pub(crate) clock: HostClock,
    /// Whether the whole program stands still.
    pub(crate) standstill: Standstill,
    pub(crate) stay: Stay,
    pub(crate) wake_at: Option<Time>,
    pub(crate) name: String,
    pub(crate) connections: BTreeMap<ConnectionId, ConnId>,
    /// Whether the player wants to be in the world.
    pub(crate) wants_in: bool,
    pub(crate) session: Option<SessionId>,
    pub(crate) entity: Option<EntityId>,
    /// Until when the machine has no network.
    pub(crate) offline_until: Time,
    /// The digest of the inputs so far.
    pub(crate) digest: u64,
    /// Where the player stands, as last shown.
    pub(crate) at: Option<Position>,
    /// Where the player wants to go.
    pub(crate) goal: Option<Position>,
    pub(crate) dice: Dice,
}

impl PlayerHost {
    pub(crate) fn new(player: usize, config: ClientConfig, dice: Dice) -> Self {
        Self {
            machine: Client::new(config, player as u64),
            clock: HostClock::default(),
            standstill: Standstill::default(),
            stay: Stay { player, life: 0 },
            wake_at: None,
            name: format!("player-{player}"),
            connections: BTreeMap::new(),
            wants_in: false,
            session: None,
            entity: None,
            offline_until: Time::ZERO,
            digest: 0,
            at: None,
            goal: None,
            dice,
        }
    }

    /// A fresh program, as if it had never run.
    pub(crate) fn begin(&mut self, config: ClientConfig) {
        self.stay.life += 1;
        self.machine = Client::new(config, (u64::from(self.stay.life) << 32) | self.stay.player as u64);
        self.wake_at = None;
        self.standstill = Standstill::default();
        self.connections.clear();
        self.wants_in = true;
        (self.session, self.entity, self.at, self.goal) = (None, None, None, None);
        self.digest = 0;
    }
}
