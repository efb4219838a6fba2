//! Checkpoints between a sender and a keeper driven by hand: what arrives is all of a cut or nothing of it.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a failed expectation fails the test"
)]

mod hostile;
mod pair;
mod sending;
mod weather;
