//! Assigns cells to nodes, notifies them of crossings, admits players: the process around the machine
//! [`selvedge_protocol::coordinator::Coordinator`].
//!
//! One task owns the machine ([`CoordinatorService`] starts it); QUIC links to nodes, the players' door and the HTTP
//! status only move bytes to and from it. Who may enter is an [`Authenticator`]'s to say, characters are kept by a
//! [`CharacterStore`]; neither can hold the machine up. [`app::run`] is a whole process.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use selvedge_coordinator::{Authenticator, BoxFuture, CoordinatorArgs, Denied, app};
//!
//! #[derive(Debug)]
//! struct Password;
//!
//! impl Authenticator for Password {
//!     fn authenticate<'a>(&'a self, name: &'a str, credential: &'a [u8]) -> BoxFuture<'a, Result<String, Denied>> {
//!         Box::pin(async move {
//!             // A real one asks a database here: nobody else waits for it.
//!             if credential == b"open sesame" {
//!                 Ok(name.to_owned())
//!             } else {
//!                 Err(Denied { reason: "wrong password".to_owned() })
//!             }
//!         })
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let args = CoordinatorArgs { config: Some("mesh.toml".into()), ..CoordinatorArgs::default() };
//! app::run_with(args, Arc::new(Password), None)?;
//! # Ok(())
//! # }
//! ```
//!
//! What must survive a restart is kept in redb files: see [`DiskError`] for what can be wrong with them.
//!
//! Deliberately absent: decisions, also on what is kept (they are the machine's).

mod addresses;
pub mod app;
mod authenticator;
mod clock;
mod config;
mod disk;
mod door;
mod door_thread;
mod driver;
mod errands;
mod http;
mod links;
mod parent;
mod questions;
mod reports;
mod service;
mod store;

pub use addresses::Addresses;
pub use authenticator::{AnyName, Authenticator, BoxFuture, Denied};
pub use config::{
    CoordinatorArgs, FileConfig, GridSection, IdentityFiles, PinArg, PinnedEntry, SettingError, Settings,
    StoreArg, StoreSection, TripleArg,
};
pub use disk::{DiskError, RedbStore};
pub use door::{DOOR_IDLE_MAX, DOOR_QUESTIONS_MAX};
pub use door_thread::DoorError;
pub use errands::{AUTHENTICATOR_PATIENCE, ERRANDS_MAX, STORE_PATIENCE};
pub use reports::REPORT_BYTES_MAX;
pub use service::{CoordinatorService, StartError};
pub use store::{CharacterStore, MEMORY_BYTES_MAX, MEMORY_CHARACTERS_MAX, MemoryStore, StoreError};
