//! The client's part: follow the entity from node to node, repeat what is not acknowledged, never mix up authorities.
//!
//! The machine serves one player. It asks the coordinator's door where to enter, connects, connects ahead where it is
//! told to (`Preconnect`), and switches when a node with a higher epoch says `Attached` or shows a state. Whoever lost
//! every connection, or hears nothing, asks the door again; an epoch of a higher generation means that the entity was
//! restored from a copy, and what that copy doesn't include is sent again.

mod door;
mod follow;
mod inputs;
mod io;
mod log;
mod sights;
mod world;

pub use io::{
    CONNECTIONS_MAX, ClientConfig, ClientEvent, ClientInput, ClientOutput, ClientTimeout, ConnectionId, Link,
};

use core::time::Duration;
use std::collections::VecDeque;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use self::log::InputLog;
use self::sights::Sights;
use self::world::{InWorld, Phase};
use crate::id::InputSeq;
use crate::time::Time;

#[derive(Debug)]
enum Stage {
    Outside,
    Entering { name: String, credential: Vec<u8> },
    InWorld(Box<InWorld>),
    Over,
}

/// The client's machine. See the module's page.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    stage: Stage,
    next_connection: u64,
    tick_interval: Duration,
    log: InputLog,
    repeat_at: Option<Time>,
    /// When the door is asked next; set while an answer is waited for, too.
    door_at: Option<Time>,
    /// Questions at the door since the last state.
    tries: u32,
    /// Between 0 and 1: how much later than others this client loses patience.
    lean: f64,
    random: ChaCha8Rng,
    sights: Sights,
    outputs: VecDeque<ClientOutput>,
}

impl Client {
    /// Makes a client that is not in any world yet. The seed feeds the jitter of its pauses.
    #[must_use]
    pub fn new(config: ClientConfig, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        Self {
            config,
            stage: Stage::Outside,
            next_connection: 0,
            tick_interval: Duration::ZERO,
            log: InputLog::new(),
            repeat_at: None,
            door_at: None,
            tries: 0,
            lean: random.random(),
            random,
            sights: Sights::default(),
            outputs: VecDeque::new(),
        }
    }

    /// The number of the last input that was taken from the player; 0 before the first.
    #[must_use]
    pub const fn last_input(&self) -> InputSeq {
        self.log.last()
    }

    /// Inputs that no node has acknowledged as applied yet, or that a recovery took back.
    #[must_use]
    pub const fn unacknowledged(&self) -> usize {
        self.log.unapplied()
    }

    /// Inputs that are kept: not acknowledged, or not durable.
    #[must_use]
    pub fn inputs_kept(&self) -> usize {
        self.log.kept()
    }

    /// Inputs that went before they were durable, because [`INPUTS_KEPT_MAX`](crate::limits::INPUTS_KEPT_MAX) were kept.
    /// A recovery from an old copy couldn't replay them.
    #[must_use]
    pub const fn inputs_forgotten(&self) -> u64 {
        self.log.forgotten()
    }

    /// How the player stands to the world right now.
    #[must_use]
    pub fn link(&self) -> Link {
        match &self.stage {
            Stage::Outside | Stage::Entering { .. } => Link::Outside,
            Stage::InWorld(world) => world.link(),
            Stage::Over => Link::Over,
        }
    }

    /// Whether the player is attached to a node that speaks.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.link() == Link::Attached
    }

    /// Takes one input. Never fails.
    pub fn handle(&mut self, input: ClientInput, now: Time) {
        match input {
            ClientInput::Enter { name, credential } => {
                if matches!(self.stage, Stage::Outside) {
                    self.stage = Stage::Entering { name, credential };
                    self.ask_door(now);
                }
            }
            ClientInput::Door(reply) => self.on_door(reply, now),
            ClientInput::DoorFailed => {
                if self.door_at.is_some() {
                    self.ask_later(now);
                }
            }
            ClientInput::Connected { connection } => {
                if let Stage::InWorld(world) = &mut self.stage
                    && let Some(held) = world.connections.get_mut(&connection)
                    && held.phase == Phase::Dialling
                {
                    held.phase = Phase::Parked;
                }
            }
            ClientInput::Closed { connection } => self.on_closed(connection, now),
            ClientInput::Message { connection, message } => self.on_message(connection, message, now),
            ClientInput::Act(bytes) => self.on_act(bytes, now),
            ClientInput::Logout => {
                match &mut self.stage {
                    Stage::InWorld(world) => world.logout = true,
                    Stage::Outside | Stage::Entering { .. } | Stage::Over => {
                        self.finish(None);
                        return;
                    }
                }
                self.repeat(now);
            }
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.repeat_at.is_some_and(|at| at <= now) {
            self.repeat(now);
        }
        if self.door_at.is_some_and(|at| at <= now) {
            self.ask_door(now);
        } else if self.door_at.is_none() && self.missing_at().is_some_and(|at| at <= now) {
            self.on_missing(now);
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<ClientOutput> {
        self.outputs.pop_front()
    }

    /// When to call `handle_timeout`, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Time, ClientTimeout)> {
        let repeat = self.repeat_at.map(|at| (at, ClientTimeout::Repeat));
        let door = self.door_at.map(|at| (at, ClientTimeout::Door));
        let missing = match self.door_at {
            None => self.missing_at().map(|at| (at, ClientTimeout::Missing)),
            Some(_) => None,
        };
        [repeat, door, missing].into_iter().flatten().min()
    }
}
