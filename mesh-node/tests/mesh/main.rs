//! Real nodes and a real coordinator in one process, over real QUIC.

mod bad_input;
mod crossing;
mod flood;
mod lighthouse;
mod support;
