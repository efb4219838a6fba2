//! Recovery: what each live node knows of entities that the dead may have held, and what is to become of them.

use rkyv::{Archive, Deserialize, Serialize};

use crate::id::{AuthorityEpoch, EntityId, Peer, SessionId, Term};
use crate::time::Tick;

/// A recovery round: numbered by the coordinator, persisted, always growing. Its number is the generation of what is
/// restored in it.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Archive, Serialize, Deserialize,
)]
pub struct Round {
    /// The term of the coordinator that runs it.
    pub term: Term,
    /// Its number: grows from round to round, over all terms.
    pub number: u32,
}

/// From when a copy is: the authority that it was captured under, and the last tick in it.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Archive, Serialize, Deserialize,
)]
pub struct Captured {
    /// Under which epoch.
    pub epoch: AuthorityEpoch,
    /// After which tick.
    pub tick: Tick,
}

/// How a node stands to an entity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Archive, Serialize, Deserialize)]
pub enum ClaimKind {
    /// Simulated here.
    Active,
    /// Frozen here, the handoff's outcome is not known.
    Frozen {
        /// To whom it goes.
        to: Peer,
    },
    /// Handed away.
    Moved {
        /// To whom.
        to: Peer,
    },
    /// Pre-copied here by a source, not activated.
    Warm {
        /// By whom.
        from: Peer,
    },
    /// Kept here as a standby copy.
    Standby {
        /// For whom.
        of: Peer,
        /// The newest cut of that node's that is here: the same for all copies that a buddy keeps of one life.
        cut: u64,
    },
    /// Despawned by its authority: here, or at a node whose cuts are kept here.
    Ended,
    /// Nothing is here any more, but the node remembers the entity: only the floor counts.
    Known,
}

/// The newest cut that a node keeps of another's: what is not in it, that life no longer held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Archive, Serialize, Deserialize)]
pub struct NewestCut {
    /// Whose.
    pub of: Peer,
    /// Its number, counted by that life.
    pub cut: u64,
    /// After which tick it was captured.
    pub tick: Tick,
}

/// What a node says about one entity.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Archive, Serialize, Deserialize)]
pub struct Claim {
    /// Which entity.
    pub entity: EntityId,
    /// Its session, if it is a player and the node knows it.
    pub session: Option<SessionId>,
    /// `Active`: the epoch held. `Frozen` and `Moved`: the id of the handoff. `Ended`: at which epoch. `Known`: the floor.
    /// Otherwise the epoch of the contents.
    pub epoch: AuthorityEpoch,
    /// How the node stands to it.
    pub kind: ClaimKind,
    /// From when the contents are that could be restored from here; none if there are none.
    pub contents: Option<Captured>,
    /// The highest epoch that this node has held, given away or been told to discard below.
    pub floor: AuthorityEpoch,
}

/// What a node is to do with an entity once everybody has answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Archive, Serialize, Deserialize)]
pub enum Order {
    /// Simulate it from the copy that you have.
    Restore {
        /// Which entity.
        entity: EntityId,
        /// From now on at this epoch.
        epoch: AuthorityEpoch,
        /// Which copy.
        kind: ClaimKind,
        /// As it was claimed.
        contents: Captured,
    },
    /// Forget what you have of it below this epoch.
    Discard {
        /// Which entity.
        entity: EntityId,
        /// What is at this epoch or above stays.
        below: AuthorityEpoch,
    },
}

/// What is said in a recovery round. Long lists go in parts.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Archive, Serialize, Deserialize)]
pub enum RecoveryMessage {
    /// Coordinator -> node: these lives are over; what do you know? Repeated until it is answered.
    Fence {
        /// Which round.
        round: Round,
        /// All lives that are recovered in it.
        dead: Vec<Peer>,
    },
    /// Node -> coordinator.
    Claims {
        /// The round that asked.
        round: Round,
        /// Which part of the answer, from 0.
        part: u32,
        /// How many there are.
        parts: u32,
        /// The newest cut of each life that the node keeps copies of; the same in every part.
        cuts: Vec<NewestCut>,
        /// What the node knows.
        claims: Vec<Claim>,
    },
    /// Coordinator -> node: what to do. Repeated until it is answered.
    Verdict {
        /// Which round.
        round: Round,
        /// Which part, from 0.
        part: u32,
        /// How many there are.
        parts: u32,
        /// What to do.
        orders: Vec<Order>,
    },
    /// Node -> coordinator: the whole verdict is carried out. Repeated until the round is closed.
    Carried {
        /// Which round.
        round: Round,
    },
    /// Coordinator -> node: everybody has carried it out. Standby copies of the dead are of no use any more. Said again to
    /// who says `Carried` again.
    Closed {
        /// Which round.
        round: Round,
        /// Whose; nobody's when it is said again.
        dead: Vec<Peer>,
    },
}

impl RecoveryMessage {
    /// The round that it is about.
    #[must_use]
    pub const fn round(&self) -> Round {
        match self {
            Self::Fence { round, .. }
            | Self::Claims { round, .. }
            | Self::Verdict { round, .. }
            | Self::Carried { round }
            | Self::Closed { round, .. } => *round,
        }
    }
}
