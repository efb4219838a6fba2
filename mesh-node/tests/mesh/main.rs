//! Real nodes and a real coordinator in one process, over real QUIC.

mod bad_clients;
mod bad_input;
mod bad_nodes;
mod crossing;
mod deeds;
mod flood;
mod lighthouse;
mod support;
