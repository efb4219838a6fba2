//! The pure core of Selvedge: the vocabulary, the rules and the machines, without I/O.
//!
//! A machine is a plain value that is told what happened and asked what to do. It owns no time, no socket,
//! no randomness of its own: `Time` comes in, the seed comes in, so a run replays exactly.
//!
//! Deliberately absent: sockets, clocks, threads, async, hash maps with random order.

#![allow(missing_debug_implementations, reason = "rkyv generates archived types without Debug")]

pub mod id;
pub mod time;
