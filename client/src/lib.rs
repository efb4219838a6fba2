//! The player's side: connect, send inputs, follow handoffs.
//!
//! A [`ClientEndpoint`] holds the UDP socket; each player who enters through it is a [`Client`] with a task of its own
//! that drives the machine [`selvedge_protocol::handoff::client::Client`]. The machine decides; this crate moves bytes.
//!
//! ```no_run
//! use selvedge_client::{ClientEndpoint, ClientEvent, ClientSettings};
//!
//! # async fn play() -> Result<(), Box<dyn std::error::Error>> {
//! let ca_pem = std::fs::read_to_string("certs/ca.pem")?;
//! let door = "127.0.0.1:7401".parse()?;
//! let settings = ClientSettings::new(door, "server-door.aerie.selvedge", ca_pem);
//! let endpoint = ClientEndpoint::new(settings)?;
//!
//! let mut player = endpoint.enter("ada", *b"her credential");
//! while let Some(event) = player.next_event().await {
//!     match event {
//!         ClientEvent::Entered { entity, .. } => println!("playing {entity}"),
//!         ClientEvent::State(state) => {
//!             println!("{state:?}");
//!             player.act(b"north")?;
//!         }
//!         ClientEvent::Switched { gap, .. } => println!("crossed; nothing was seen for {gap:?}"),
//!         ClientEvent::Over { .. } => break,
//!         other => println!("{other:?}"),
//!     }
//! }
//! player.logout().await?;
//! endpoint.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Deliberately absent: what inputs and states mean, and prediction: those are the game's.

mod client;
mod core;
mod endpoint;
mod events;
mod slot;
mod stats;
mod task;

pub use client::{ActError, Client, LogoutTimeout, SeenEntity, SessionTicket};
pub use endpoint::{ClientEndpoint, ClientSettings};
pub use events::EVENTS_WAITING_MAX;
pub use selvedge_protocol::handoff::client::{ClientConfig, ClientEvent, Link};
pub use stats::ClientStats;
