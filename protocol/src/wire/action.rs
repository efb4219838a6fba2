//! Actions between entities of two nodes, and where to find an entity that nobody nearby knows.

use rkyv::{Archive, Deserialize, Serialize};

use crate::action::{ActionId, ActionNumber, Outcome};
use crate::id::{EntityId, Peer, Term};
use crate::time::Tick;

/// Why an action did not reach its receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub enum Missed {
    /// The receiver isn't here, and the node doesn't know where.
    NotHere,
    /// It isn't here any more; it went there.
    Moved {
        /// To whom.
        to: Peer,
    },
    /// It was passed on too often.
    TooManyHops,
}

/// What nodes say to each other about actions, in order. All of it may be repeated; what finds nobody is dropped.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub enum ActionMessage {
    /// Sender's node -> receiver's, perhaps by way of former ones: do this, once.
    Ask {
        /// Which action.
        id: ActionId,
        /// Who is to do it.
        to: EntityId,
        /// What its sender numbered below this is settled.
        low: ActionNumber,
        /// The last tick in which it may be done.
        deadline: Tick,
        /// Whether no single crash may undo one half of it.
        durable: bool,
        /// Who wants the answer.
        reply_to: Peer,
        /// How often it was passed on.
        hops: u8,
        /// What the sender's game says.
        bytes: Vec<u8>,
    },
    /// Receiver's node -> sender's: this came of it.
    Answer {
        /// Of which action.
        id: ActionId,
        /// What.
        outcome: Outcome,
        /// How often it was passed on.
        hops: u8,
    },
    /// A node that was asked -> sender's: it went no further.
    Missed {
        /// Which action.
        id: ActionId,
        /// Why.
        why: Missed,
    },
    /// Sender's node -> receiver's: the answer to a durable action is safe; forget it.
    Close {
        /// Which action.
        id: ActionId,
        /// Who remembers it.
        to: EntityId,
        /// Who wants to know that it is forgotten.
        reply_to: Peer,
        /// How often it was passed on.
        hops: u8,
    },
    /// Receiver's node -> sender's: it is forgotten, and that is safe.
    Closed {
        /// Which action.
        id: ActionId,
        /// How often it was passed on.
        hops: u8,
    },
    /// Node -> coordinator: who holds this entity?
    Locate {
        /// Which.
        entity: EntityId,
    },
    /// Coordinator -> node.
    Located {
        /// The coordinator's term.
        term: Term,
        /// Which entity.
        entity: EntityId,
        /// Who holds it, as far as it is known.
        at: Option<Peer>,
        /// Nobody holds it, and the coordinator knows everything that is held.
        gone: bool,
    },
}
