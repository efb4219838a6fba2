//! Load test: bots that play on a mesh and keep account of what they see.
//!
//! [`Bots::start`] puts any number of players into a world; each sends an input every tick, walks to where it crosses
//! from node to node often, and checks what it is shown: every input applied exactly once, one authority at a time.
//! [`app`] is the command line around it (`mesh-bench`, `selvedge bench`), [`Observer`] reads what the coordinator
//! knows over HTTP.
//!
//! [`local`] starts a mesh of real processes on this machine for those who judge one: `selvedge up` and `mesh-bench
//! chaos`.
//!
//! Deliberately absent: figures that only nodes can measure: those come from
//! the nodes' reports.

pub mod app;
mod bots;
mod census;
mod chaos;
mod figures;
mod flood;
mod ghosts;
mod handoff;
mod http;
pub mod local;
mod observer;
mod report;
mod size;
mod table;
mod transport;

pub use bots::{
    BotAccount, Bots, BotsError, BotsReport, BotsSettings, BotsSnapshot, Inventory, Manner,
    PLAYERS_PER_THREAD, Plain, Sight, Undrained,
};
pub use census::{Judgement, judge};
pub use figures::{Figures, figures, milliseconds};
pub use http::{HttpError, RESPONSE_BYTES_MAX};
pub use observer::{CellsView, CensusView, Epoch, HeldView, Observer, ObserverError, Standing};
pub use table::Table;
