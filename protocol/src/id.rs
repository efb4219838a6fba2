//! Who and what: the identities that messages and states name.

use core::fmt;

use rkyv::{Archive, Deserialize, Serialize};
use serde::{Deserialize as SerdeDeserialize, Serialize as SerdeSerialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize,
            SerdeSerialize, SerdeDeserialize,
        )]
        #[serde(from = "Uuid", into = "Uuid")]
        pub struct $name(u128);

        impl $name {
            /// Makes an id from its 128 bits.
            #[must_use]
            pub const fn from_u128(bits: u128) -> Self {
                Self(bits)
            }

            /// The id's 128 bits.
            #[must_use]
            pub const fn as_u128(self) -> u128 {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid.as_u128())
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                Self::from_u128(id.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&Uuid::from_u128(self.0), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Eight hex digits tell ids apart in a log; `Display` prints all.
                write!(f, "{}:{:08x}", stringify!($name), (self.0 >> 96) ^ (self.0 & 0xffff_ffff))
            }
        }

        impl core::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self::from)
            }
        }
    };
}

uuid_id! {
    /// One mesh-node process, across its restarts.
    NodeId
}
uuid_id! {
    /// Anything simulated: player, NPC, object.
    EntityId
}
uuid_id! {
    /// A player's stay in the world, across connections and nodes.
    SessionId
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Archive, Serialize, Deserialize,
            SerdeSerialize, SerdeDeserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number_id! {
    /// A node's fencing number: granted by the coordinator, grows at each registration.
    Incarnation(u64)
}
number_id! {
    /// The coordinator's fencing number: grows whenever one starts or takes over.
    Term(u64)
}
number_id! {
    /// One client connection of one node, never used again by that process.
    ClientId(u64)
}
number_id! {
    /// The number of a client's input. The first is 1; 0 says "none yet".
    InputSeq(u32)
}

impl InputSeq {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// One life of one node: wherever a message or a state names a peer, it names this.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Archive,
    Serialize,
    Deserialize,
    SerdeSerialize,
    SerdeDeserialize,
)]
pub struct Peer {
    /// Which node.
    pub node: NodeId,
    /// Which of its lives.
    pub incarnation: Incarnation,
}

/// Numbers an entity's authority; ordered by generation, then by step.
///
/// A transfer, done or cancelled, uses up one step; a recovery starts a new generation.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Debug,
    Archive,
    Serialize,
    Deserialize,
    SerdeSerialize,
    SerdeDeserialize,
)]
pub struct AuthorityEpoch {
    /// The recovery round that began this line of authority; 0 before any.
    pub generation: u32,
    /// Transfers tried since.
    pub step: u32,
}

impl AuthorityEpoch {
    /// The epoch of a newly spawned entity.
    pub const FIRST: Self = Self { generation: 0, step: 1 };

    /// The epoch that the next transfer uses up.
    #[must_use]
    pub const fn next_step(self) -> Self {
        Self { generation: self.generation, step: self.step.saturating_add(1) }
    }

    /// The epoch at which a recovery round restores: the first of its generation. No handoff has it.
    #[must_use]
    pub const fn restored_in(generation: u32) -> Self {
        Self { generation, step: 0 }
    }

    /// The highest epoch that is void once everything below this one is. Below the first epoch of a generation there
    /// is no last one, so it stands for itself: no handoff has it.
    #[must_use]
    pub const fn last_before(self) -> Self {
        Self { generation: self.generation, step: self.step.saturating_sub(1) }
    }
}

impl fmt::Display for AuthorityEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.generation, self.step)
    }
}

/// One handoff: an entity and the epoch it would get. The idempotence key of a `Transfer`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Archive, Serialize, Deserialize)]
pub struct HandoffId {
    /// What moves.
    pub entity: EntityId,
    /// The epoch at which the target holds it, if the transfer is accepted.
    pub epoch: AuthorityEpoch,
}

/// One preparation: names a reservation at a target before any epoch is spent on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Archive, Serialize, Deserialize)]
pub struct ReservationId {
    /// What is to move.
    pub entity: EntityId,
    /// Who asks.
    pub source: Peer,
    /// Counts this source's attempts for this entity.
    pub attempt: u32,
}
