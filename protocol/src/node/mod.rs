//! The composed machine of one node. Files by what it deals with.

mod io;

pub use io::{
    ArmedTarget, Destination, GameCommand, GameReport, GhostChange, Input, LeaveReason, NodeEvent, Output,
    Published, Registration, ReleaseReason, Sender,
};

use core::time::Duration;
use std::collections::VecDeque;

use crate::config::NodeConfig;
use crate::id::{NodeId, Peer};
use crate::time::Time;

/// What a node must know of itself before it registers.
#[derive(Clone, Debug)]
pub struct NodeSetup {
    /// Its id, as its certificate says.
    pub node: NodeId,
    /// A random number that tells this process from any other with the same id.
    pub process: u64,
    /// Where other nodes reach it, `ip:port`.
    pub mesh_addr: String,
    /// Where clients reach it, `ip:port`.
    pub client_addr: String,
    /// The TLS server name of its client endpoint.
    pub server_name: String,
    /// How it hands off, forwards and forgets.
    pub config: NodeConfig,
    /// Feeds tokens and jitter; in a real process it comes from the operating system.
    pub seed: [u8; 32],
}

/// Why `handle_timeout` is to be called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum NodeTimeout {
    /// A heartbeat or registration is due.
    Membership,
    /// Something about an entity's handoff is due.
    Handoff,
    /// Something expires: a reservation, a token, a tombstone, a ghost, a lingering player.
    Expiry,
    /// Changes of authority are to be reported.
    Directory,
}

/// The composed machine of one node. See the module's page.
#[derive(Debug)]
pub struct Node {
    setup: NodeSetup,
    outputs: VecDeque<Output>,
}

impl Node {
    /// Makes a node that has not registered yet.
    #[must_use]
    pub fn new(setup: NodeSetup) -> Self {
        Self { setup, outputs: VecDeque::new() }
    }

    /// This node in this life, once it is registered.
    #[must_use]
    pub fn me(&self) -> Option<Peer> {
        None
    }

    /// Takes one input. Never fails.
    pub fn handle(&mut self, _input: Input, _now: Time) {}

    /// Lets time pass.
    pub fn handle_timeout(&mut self, _now: Time) {}

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call `handle_timeout`, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Time, NodeTimeout)> {
        let _ = (&self.setup, Duration::ZERO);
        None
    }
}
