//! Ghost replication over a hostile link, on virtual time, from seeds.

#![allow(clippy::unwrap_used, reason = "a helper that panics fails the test that called it")]
#![allow(clippy::print_stdout, reason = "`--nocapture` shows the figures")]
#![allow(clippy::cast_possible_truncation, reason = "velocities are f32, and tests are for small numbers")]

mod crowd;
mod figures;
mod handover;
mod hostile;
mod link;
mod players;
mod weather;
