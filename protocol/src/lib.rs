//! The pure core of Selvedge: the vocabulary, the rules and the machines, without I/O.
//!
//! A machine is a plain value that is told what happened and asked what to do. It owns no time, no socket,
//! no randomness of its own: `Time` comes in, the seed comes in, so a run replays exactly.
//!
//! Deliberately absent: sockets, clocks, threads, async, hash maps with random order.

#![allow(missing_debug_implementations, reason = "rkyv generates archived types without Debug")]

pub mod action;
pub mod authority;
pub mod cell_map;
pub mod clock;
pub mod config;
pub mod coordinator;
pub mod event;
pub mod ghost;
pub mod grid;
pub mod group;
pub mod handoff;
pub mod id;
pub mod inputs;
pub mod lease;
pub mod limits;
pub mod node;
pub mod pin;
pub mod plan;
pub mod recovery;
pub mod roster;
pub mod snapshot;
pub mod standby;
pub mod time;
mod timers;
pub mod token;
pub mod wire;
