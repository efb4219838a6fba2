//! Real processes: each node is a `mesh-node` of its own, with its own TLS identity, and the players come over real QUIC.

mod ferry;
mod process;
mod shot;
#[allow(dead_code, unreachable_pub, reason = "the nodes that it can start in this process aren't used here")]
#[path = "../mesh/support.rs"]
mod support;
mod trade;
