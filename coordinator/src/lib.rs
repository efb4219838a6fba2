//! Assigns cells to nodes, notifies them of crossings, admits players: the process around the machine
//! [`selvedge_protocol::coordinator::Coordinator`].
//!
//! One task owns the machine ([`CoordinatorService`] starts it); QUIC links to nodes, the players' door and the HTTP
//! status only move bytes to and from it. Who may enter is an [`Authenticator`]'s to say, characters are kept by a
//! [`CharacterStore`]; neither can hold the machine up. [`app::run`] is a whole process.
//!
//! Deliberately absent: decisions (they are the machine's), and persistence: this version keeps its table, its
//! sessions and, with [`MemoryStore`], its characters in memory. After a restart nodes register again and players
//! enter again.

mod addresses;
pub mod app;
mod authenticator;
mod clock;
mod config;
mod door;
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
    TripleArg,
};
pub use door::{DOOR_IDLE_MAX, DOOR_QUESTIONS_MAX};
pub use errands::{AUTHENTICATOR_PATIENCE, ERRANDS_MAX, STORE_PATIENCE};
pub use reports::REPORT_BYTES_MAX;
pub use service::{CoordinatorService, StartError};
pub use store::{CharacterStore, MEMORY_BYTES_MAX, MEMORY_CHARACTERS_MAX, MemoryStore, StoreError};
