//! Real nodes and a real coordinator in one process, over real QUIC.

mod crossing;
mod lighthouse;
mod support;
