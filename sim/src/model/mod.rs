//! The model check: every order of events, within bounds, of handoffs and recovery over a network that loses, doubles and
//! reorders; and of a lease between its holder, its voters and who would end it.
//!
//! It drives the protocol's own values: [`AuthorityTable`](selvedge_protocol::authority::AuthorityTable), the claims, the
//! verdict, [`RoundKeeper`](selvedge_protocol::recovery::RoundKeeper),
//! [`Participant`](selvedge_protocol::recovery::Participant), and the lease machines. What surrounds them here is small:
//! `node` says what a node does with their answers, as `protocol/src/node/` does.
//!
//! Time is no part of it: whatever a clock would decide is a free event. The network is a set of everything that was ever
//! said: what is never delivered was lost, what is delivered again was doubled or repeated. So a repeat is no event of
//! its own, and where nothing that would happen by itself changes anything, everything has been said and heard: there the
//! entity must be simulated, once, and nothing may be left over.
//!
//! Deliberately absent: clients, the game, groups, despawning, sizes; the whole `Node` (the simulator runs that).

mod actions;
mod bound;
mod coordinator;
mod explore;
mod hearing;
mod lease;
mod network;
mod node;
#[cfg(feature = "planted-bugs")]
mod plant;
mod properties;
mod shared;
mod state;

pub use bound::{Bound, LeaseBound};
pub use explore::{Explored, Violation, explore, explore_lease};
#[cfg(feature = "planted-bugs")]
pub use plant::{PLANTS, Plant};
