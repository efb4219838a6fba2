//! The node runtime to embed in a game server.
//!
//! A game implements [`World`], starts a [`MeshNode`] and calls [`MeshNode::tick`] from a loop and a thread of its own.
//! The mesh tells it which entities are its to simulate; it publishes where they are; and those that cross a border go
//! on at the neighbour in the next tick.
//!
//! ```no_run
//! use std::time::Duration;
//! # use selvedge_node::{Frame, MeshNode, MeshNodeConfig, World};
//! # fn play(config: MeshNodeConfig, identity: selvedge_certs::Identity, for_clients: selvedge_certs::Identity,
//! #     mut game: impl World, step: fn(&mut dyn World, Duration, &mut Frame<'_>)) -> Result<(), Box<dyn std::error::Error>> {
//! let mut node = MeshNode::builder()
//!     .config(config)
//!     .identity(identity)
//!     .client_identity(for_clients)
//!     .start()?;
//! node.wait_ready(Duration::from_secs(10))?;
//! loop {
//!     node.tick(&mut game, |game, frame| step(game, frame.interval(), frame))?;
//! }
//! # }
//! ```
//!
//! Three threads meet here. The game's own runs the ticks. One network thread owns the core (`selvedge_protocol`'s
//! `Node`) and the links of the mesh; another holds the clients' connections. They exchange commands and reports once a
//! tick and never wait for each other; no lock is held over game code.
//!
//! Deliberately absent: the rules of handoffs (`selvedge-protocol`), sockets (`selvedge-transport`).

mod action;
#[cfg(feature = "arena")]
pub mod app;
#[cfg(feature = "arena")]
pub mod arena;
mod clock;
pub mod config;
mod entity;
mod frame;
mod game;
mod lifeline;
mod net;
mod node;
mod report;
mod shared;
mod world;

pub use action::{Action, Answer, Durability, Event, Reply, Target};
pub use config::MeshNodeConfig;
pub use entity::{Ghost, Owned};
pub use frame::Frame;
pub use game::Pacing;
pub use lifeline::Lifeline;
pub use net::StartError;
pub use node::{MeshNode, MeshNodeBuilder, TickError, TickReport};
pub use report::{HistogramError, HistogramText, NodeCounters, NodeHistograms, NodeReport};
pub use world::{Player, Refused, World};

// The words of the core that a game meets.
pub use selvedge_protocol::action::{ActError, ActionNumber, Failure};
pub use selvedge_protocol::event::{Area, EventError};
pub use selvedge_protocol::ghost::{EntityClass, GhostChange, Look, State, StateError, StateView, Value};
pub use selvedge_protocol::grid::{Motion, Position, Velocity};
pub use selvedge_protocol::group::AttachError;
pub use selvedge_protocol::id::{EntityId, NodeId, SessionId};
pub use selvedge_protocol::node::{LeaveReason as Leave, ReleaseReason as Release};
pub use selvedge_protocol::pin::PinError;
pub use selvedge_protocol::roster::{GhostSight, PublishError};
pub use selvedge_protocol::snapshot::{SnapshotView, SnapshotWriter};
pub use selvedge_protocol::time::{Tick, Time};
