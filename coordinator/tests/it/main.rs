//! The coordinator from outside: over QUIC, over HTTP, and as a process.

#![allow(clippy::unwrap_used, reason = "a helper that panics fails the test that called it")]

mod bad_input;
mod mesh;
mod process;
mod support;
