//! The whole mesh on virtual time over a hostile network, from one seed.
//!
//! A run draws a mesh, a network and players from its seed ([`Scenario`]), drives the real machines (`Node`,
//! `Coordinator`, `Client`) and the real roster through them, and checks every invariant of the design after every
//! step ([`invariant`]). The same seed replays the same run, to the last byte.
//!
//! Deliberately absent: sockets, threads inside a run, the wall clock.

mod batch;
mod connections;
mod dice;
mod event;
mod fault;
mod game;
mod hosts;
pub mod invariant;
pub mod matrix;
pub mod model;
mod moment;
mod network;
mod queue;
mod run;
mod scenario;
pub mod scenarios;
mod stats;
mod trace;
mod world;

pub use batch::{Batch, BatchOutcome, run_batch};
pub use event::Process;
pub use fault::{FaultKind, FaultSet, Harm};
pub use run::{Failure, Outcome, SimOptions, run_seed};
pub use scenario::{Faults, Play, Profile, Scenario};
pub use stats::Stats;
pub use trace::Watcher;
