//! The players' side: [`port`] is the server's end, [`dial`] the client's, [`connection`] what both hold.
//!
//! One ordered stream of messages both ways, and datagrams. Only the server has a certificate; what the first message
//! proves (a token) is for the caller to judge.

pub(crate) mod connection;
pub(crate) mod dial;
pub(crate) mod port;
mod serve;
pub(crate) mod stats;
