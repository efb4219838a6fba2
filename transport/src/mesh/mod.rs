//! The mesh side: one endpoint per process, one link per peer.
//!
//! [`endpoint`] is the public handle; [`dial`] and [`accept`] bring connections about, [`registry`] decides which one
//! is the link, [`failures`] says which didn't become one, [`run`] reads it until it ends, [`link`], [`queue`] and [`datagrams`] send on it, bulk and datagrams at their [`pace`].

mod accept;
#[cfg(target_os = "linux")]
mod alarm;
mod datagrams;
mod dial;
pub(crate) mod endpoint;
pub(crate) mod event;
mod failures;
mod handshake;
pub(crate) mod link;
mod pace;
mod queue;
mod receive;
mod registry;
mod run;
pub(crate) mod stats;
