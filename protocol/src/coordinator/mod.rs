//! The composed machine of the coordinator. Files by what it deals with.

mod io;

pub use io::{CoordinatorEvent, CoordinatorInput, CoordinatorOutput, CoordinatorStatus, NodeStatus};

use std::collections::VecDeque;

use crate::config::CoordinatorConfig;
use crate::id::Term;
use crate::time::Time;

/// Why `handle_timeout` is to be called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CoordinatorTimeout {
    /// A lease may run out.
    Lease,
    /// A question to a node is repeated or given up.
    Question,
}

/// The composed machine of the coordinator. Its clock is mesh time. See the module's page.
#[derive(Debug)]
pub struct Coordinator {
    outputs: VecDeque<CoordinatorOutput>,
}

impl Coordinator {
    /// Makes a coordinator without nodes.
    ///
    /// # Errors
    /// If the configuration is out of range.
    pub fn new(
        config: CoordinatorConfig,
        term: Term,
        seed: [u8; 32],
    ) -> Result<Self, crate::config::ConfigError> {
        config.world.check()?;
        let _ = (term, seed);
        Ok(Self { outputs: VecDeque::new() })
    }

    /// Takes one input. Never fails.
    pub fn handle(&mut self, _input: CoordinatorInput, _now: Time) {}

    /// Lets time pass.
    pub fn handle_timeout(&mut self, _now: Time) {}

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<CoordinatorOutput> {
        self.outputs.pop_front()
    }

    /// When to call `handle_timeout`, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Time, CoordinatorTimeout)> {
        None
    }

    /// The coordinator at a glance.
    #[must_use]
    pub fn status(&self, _now: Time) -> Option<CoordinatorStatus> {
        None
    }
}
