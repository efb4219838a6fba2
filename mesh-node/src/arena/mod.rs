//! The sample world: avatars that wander an empty plain with realistic luggage.
//!
//! It is the game of the `mesh-node` binary, the load test's game, and the long example of embedding. An avatar carries
//! what a player of a real game does (inventory, cooldowns, effects, an engine's own blobs), sized to measure, and keeps
//! account of the inputs that reached it. The account travels inside the avatar, so that a lost or doubled input shows
//! wherever it happened.

mod avatar;
mod config;
mod deed;
mod ferry;
mod input;
mod kit;
mod ledger;
mod shot;
mod state;
#[cfg(test)]
mod tests;
mod world;

pub use config::{ArenaConfig, SNAPSHOT_BYTES_MAX, SNAPSHOT_BYTES_MIN};
pub use deed::{DEED_INPUT_BYTES, DeedInput};
pub use input::{MOVE_INPUT_BYTES, MoveInput, MoveInputError};
pub use ledger::Ledger;
pub use state::{AVATAR_STATE_BYTES, AvatarState, AvatarStateError, ItemShown};
pub use world::Arena;
