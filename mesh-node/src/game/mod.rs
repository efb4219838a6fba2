//! The game's side of a node: what happens on the game's own thread, without a socket in sight.

mod mailbox;
mod outbox;
mod pacer;
mod side;
#[cfg(test)]
mod tests;

pub use pacer::Pacing;

pub(crate) use mailbox::{Batch, Mailbox};
pub(crate) use outbox::{NobodyReads, Outbox};
pub(crate) use pacer::{Pacer, sleep_sharply};
pub(crate) use side::GameSide;
