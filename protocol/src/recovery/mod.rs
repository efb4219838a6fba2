//! Recovery of what dead nodes held: claims, the verdict, the coordinator's round, a node's part in it.
//!
//! ```text
//! coordinator                                  each live node
//! bury lives, persist a number, open --Fence-> fence the dead, build claims once, repeat them
//! everybody has answered <------------Claims--
//! verdict, entity by entity -----------Verdict-> restore, discard
//! everybody has carried it out <------Carried-- once what was restored is safe
//! Closed -------------------------------------> copies of the dead are of no use any more
//! ```
//!
//! The rules are DESIGN section 6's; `sim/src/model/` explores them exhaustively through this very code.
//! Deliberately absent: I/O, who is dead (leases say so), snapshots (claims name them, nodes keep them).

mod claim;
mod fenced;
mod participant;
mod parts;
mod round;
mod verdict;

pub use claim::ClaimList;
pub use fenced::FencedLives;
pub use participant::{Fencing, Instruction, Participant};
pub use parts::{Joiner, Offered, split};
pub use round::{ClaimsPart, RoundKeeper, RoundOutput, Taken};
pub use verdict::{Answer, Restored, Verdict, verdict};
