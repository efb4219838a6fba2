//! One player's program.

use std::collections::BTreeMap;

use selvedge_protocol::grid::Position;
use selvedge_protocol::handoff::client::{Client, ClientConfig, ConnectionId};
use selvedge_protocol::id::{EntityId, SessionId};
use selvedge_protocol::time::Time;

use super::{HostClock, Standstill};
use crate::dice::Dice;
use crate::event::{ConnId, Stay};
use crate::trace::input_digest;

/// A player's inputs, and the digest of all up to each.
#[derive(Default)]
pub(crate) struct Acts {
    bytes: Vec<Vec<u8>>,
    digests: Vec<u64>,
}

impl Acts {
    /// One more. Returns the digest of all.
    pub(crate) fn push(&mut self, bytes: Vec<u8>) -> u64 {
        let (before, seq) = (self.digests.last().copied().unwrap_or_default(), self.bytes.len() + 1);
        let digest = input_digest(before, u32::try_from(seq).unwrap_or(u32::MAX), &bytes);
        self.bytes.push(bytes);
        self.digests.push(digest);
        digest
    }

    /// So many after number `applied` are lost: those behind them move up. Returns the digests of all that are left.
    pub(crate) fn lose(&mut self, applied: usize, lost: usize) -> Vec<u64> {
        let mut bytes = core::mem::take(self).bytes;
        let from = applied.min(bytes.len());
        drop(bytes.drain(from..(from + lost).min(bytes.len())));
        bytes.into_iter().map(|bytes| self.push(bytes)).collect()
    }
}

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
    /// What the player did so far, by the number that each input has now.
    pub(crate) acts: Acts,
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
            acts: Acts::default(),
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
        self.acts = Acts::default();
    }
}
