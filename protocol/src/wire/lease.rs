//! Leases: who witnesses that a node lives, and who has promised to witness it no more.

use rkyv::{Archive, Deserialize, Serialize};

use crate::id::{Incarnation, Peer, Term};
use crate::time::Time;

/// Whom a node depends on: its voters besides itself and the coordinator, and who keeps its standby copies.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug, Archive, Serialize, Deserialize)]
pub struct Assignment {
    /// Grows with each change.
    pub version: u64,
    /// Other nodes that witness the lease, each in one life.
    pub voters: Vec<Peer>,
    /// The node that is sent checkpoints; none in a mesh of one node.
    pub buddy: Option<Peer>,
}

/// What is said about leases.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub enum LeaseMessage {
    /// Node -> voting node: I live.
    Renew {
        /// The sender's own clock, echoed in the answer: its lease runs from here.
        sent_at: Time,
    },
    /// Voting node -> node: I have promised nobody to let you go.
    Renewed {
        /// As it was in the renewal.
        sent_at: Time,
    },
    /// Coordinator -> node: your voters and your buddy.
    Assign {
        /// The coordinator's term.
        term: Term,
        /// Which life of the node is meant.
        incarnation: Incarnation,
        /// Who they are.
        assignment: Assignment,
    },
    /// Node -> coordinator: by which voters I go, and by which I may go next. The ones between I will never go by.
    Assigned {
        /// Which life of the node says so.
        incarnation: Incarnation,
        /// The version that the node goes by.
        version: u64,
        /// The newest version that it has heard of.
        heard: u64,
    },
    /// Coordinator -> voting node: never answer this life's renewals again.
    AskPromise {
        /// The coordinator's term.
        term: Term,
        /// Whose.
        of: Peer,
    },
    /// Voting node -> coordinator: I won't.
    Promised {
        /// Which life of the voter says so.
        by: Incarnation,
        /// Whose.
        of: Peer,
        /// How long ago, by the voter's own clock, it last answered a renewal of that life; none if it never did.
        answered_ago_us: Option<u64>,
    },
    /// Coordinator -> node: this life of yours is over. Stop at once, and register anew.
    Fenced {
        /// The coordinator's term.
        term: Term,
        /// Which life.
        incarnation: Incarnation,
    },
}
