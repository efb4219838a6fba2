//! What surrounds each machine: its clock, its timer, its game, its connections. Processes end and begin anew here.

mod clock;
mod coordinator;
mod disk;
mod node;
mod player;
mod standstill;

pub(crate) use clock::HostClock;
pub(crate) use coordinator::CoordinatorHost;
pub(crate) use disk::Disk;
pub(crate) use node::NodeHost;
pub(crate) use player::PlayerHost;
pub(crate) use standstill::{Standstill, Timers};

/// The address of a node's client endpoint.
pub(crate) fn client_addr(node: usize) -> String {
    format!("10.1.0.{node}:1")
}
