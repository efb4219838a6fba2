//! Standby copies: what another node needs to go on with a node's entities when that node dies.
//!
//! - [`CheckpointSender`]: a node's side. When to capture a cut, what of it to send, what is safe.
//! - [`Keeper`]: the buddy's side. Collects cuts, applies each all or none, and has the copies ready for a recovery.
//! - [`Settling`]: a target's word to the source of a handoff that what it took over is safe. [`Forgetting`]: the source's
//!   word that nothing of it is left.
//!
//! Deliberately absent: who is whose buddy, and what a recovery makes of the copies.

mod flight;
mod keeper;
mod sender;
mod settling;

pub use flight::{Covered, CutCopy};
pub use keeper::{CutEnd, Keeper, Reply, StandbyCopy};
pub use sender::{Acked, Act, CheckpointSender, CutOrder, Have, SenderConfig};
pub use settling::{Forgetting, Settling};
