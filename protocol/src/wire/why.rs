//! Why an entity is where it is: asked from outside, answered by the node that holds it.

use core::fmt;

use rkyv::{Archive, Deserialize, Serialize};

use super::refuse::RefuseReason;
use crate::grid::CellId;
use crate::id::{AuthorityEpoch, EntityId, NodeId, Peer, SessionId, Term};
use crate::time::Tick;

/// What the coordinator and a node say to each other about one entity.
#[derive(Clone, PartialEq, Debug, Archive, Serialize, Deserialize)]
pub enum WhyMessage {
    /// Coordinator -> node: how does this entity stand, and what delays it?
    Ask {
        /// The coordinator's term.
        term: Term,
        /// Echoed in the answer.
        request: u64,
        /// Which entity.
        entity: EntityId,
    },
    /// Node -> coordinator.
    Answer {
        /// As it was in the question.
        request: u64,
        /// What the node knows.
        whereabouts: Whereabouts,
    },
}

/// What a node knows of an entity's whereabouts.
#[derive(Clone, PartialEq, Debug, Archive, Serialize, Deserialize)]
pub enum Whereabouts {
    /// It is held here.
    Here {
        /// How.
        stay: Stay,
        /// What keeps it here or delays it; at most [`DELAYS_MAX`](crate::limits::DELAYS_MAX).
        delays: Vec<Delay>,
    },
    /// It was here, and was handed over.
    Moved {
        /// To whom.
        to: Peer,
    },
    /// It isn't here, and nothing is known of where it went.
    NotHere,
}

/// How a node holds an entity.
#[derive(
    Clone, Copy, PartialEq, Debug, Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize,
)]
pub struct Stay {
    /// The player's session.
    pub session: Option<SessionId>,
    /// At which epoch it is simulated, or is being handed over.
    pub epoch: AuthorityEpoch,
    /// Simulated or frozen.
    pub standing: StayStanding,
    /// The cell that it stands in; none outside the world.
    pub cell: Option<CellId>,
    /// Where it was when the game published it last, in metres.
    pub position_m: [f64; 3],
    /// How it moved then, in metres a second.
    pub velocity_m_per_s: [f32; 3],
    /// The last tick in which the game published it.
    pub tick: Tick,
    /// For how long the node has had it, in microseconds.
    pub held_for_us: u64,
    /// Whether the player's client is connected to this node.
    pub client: bool,
}

/// Simulated or frozen.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize,
)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StayStanding {
    /// The node simulates it.
    Simulated,
    /// It is frozen, in transfer.
    Frozen {
        /// Towards whom.
        to: NodeId,
        /// For how long, in microseconds.
        for_us: u64,
    },
}

/// What keeps an entity where it is, or delays its crossing. `Display` says it in a sentence without a full stop.
#[derive(Clone, PartialEq, Debug, Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Delay {
    /// It stands in a cell of its node, and the forecast sees no other node's cell.
    NoBorderNear {
        /// How far the forecast looks ahead, in microseconds.
        lead_us: u64,
        /// How close a border counts whatever the velocity, in metres.
        margin_m: f64,
    },
    /// It is outside the world, where nobody owns anything.
    OutsideWorld,
    /// Nobody owns the cell that it stands in.
    NoOwner {
        /// Which cell.
        cell: CellId,
    },
    /// It is in another node's cell, but not deep enough.
    WithinHysteresis {
        /// Whose cell.
        to: NodeId,
        /// How deep it must be, in metres.
        hysteresis_m: f64,
    },
    /// The forecast sees a crossing; nobody has been asked yet.
    Foreseen {
        /// To whom.
        to: NodeId,
        /// In how long, in microseconds; 0 if it stands in that node's cell.
        crossing_in_us: u64,
    },
    /// Its preparation is asked for.
    Preparing {
        /// By whom it is to be received.
        to: NodeId,
        /// For how long, in microseconds.
        for_us: u64,
        /// Whose word is awaited.
        awaits: Awaited,
    },
    /// The target is ready, but has no pre-copy yet: a crossing now would take the cold path.
    Copying {
        /// By whom it is to be received.
        to: NodeId,
        /// For how long the target has been ready, in microseconds.
        for_us: u64,
    },
    /// The target is ready and has a pre-copy: it crosses as soon as it is past the border.
    Ready {
        /// By whom it is to be received.
        to: NodeId,
        /// When the forecast sees that, in microseconds; none if it no longer does.
        crossing_in_us: Option<u64>,
    },
    /// It came only just now, and stays for the minimum dwell.
    Dwelling {
        /// For how long still, in microseconds.
        for_us: u64,
    },
    /// A target is left alone for a while after a failure.
    BackedOff {
        /// Which target.
        to: NodeId,
        /// For how long still, in microseconds.
        for_us: u64,
        /// After what.
        after: Setback,
        /// Whether the entity stands in that node's cell by now.
        past_border: bool,
    },
    /// There is no link to the node whose cell it heads for.
    Unlinked {
        /// Which node.
        to: NodeId,
    },
    /// It is frozen and waits for the target's word.
    InTransfer {
        /// By whom it is to be received.
        to: NodeId,
        /// For how long, in microseconds.
        for_us: u64,
        /// Whether the target was asked to cancel, after long silence.
        cancelling: bool,
    },
    /// Its player is leaving the world: it crosses no border any more.
    Leaving,
    /// Durable actions of it are not settled to their end: it can't leave before.
    Bound {
        /// How many.
        actions: u32,
    },
    /// The game has pinned it, or one that goes where it goes.
    Pinned {
        /// Which one.
        entity: EntityId,
        /// Who holds: what the game called the pin.
        name: String,
        /// For how long still, in microseconds.
        for_us: u64,
    },
    /// It rides on another, or on one that does: that one decides where all of them go.
    Follows {
        /// Who decides.
        leader: EntityId,
    },
    /// It takes others along, and one of them is not ready: all cross, or none.
    AwaitsMember {
        /// Who isn't.
        member: EntityId,
        /// By whom they are to be received.
        to: NodeId,
    },
}

/// Whose word a preparation waits for.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Awaited {
    /// The coordinator's.
    Coordinator,
    /// The target's: the coordinator has notified it.
    Target,
    /// The target's: it was asked directly, past a silent coordinator.
    TargetDirectly,
}

/// Why a target is left alone for a while.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize,
)]
#[serde(tag = "kind", content = "reason", rename_all = "snake_case")]
pub enum Setback {
    /// The preparation was refused.
    PrepareRefused(RefuseReason),
    /// The transfer was refused.
    TransferRefused(RefuseReason),
    /// The transfer was cancelled after silence.
    Cancelled,
    /// The target said nothing to a pre-copy.
    Silent,
    /// The target died.
    Died,
    /// One of its group was not ready when they were frozen, or they were too heavy for one message.
    GroupNotReady,
}

/// How long each phase of a handoff took at its source, in microseconds.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize,
)]
pub struct HandoffPhases {
    /// Whether the target had warmed the entity from a pre-copy.
    pub warm: bool,
    /// From the first request to the coordinator's answer, or to `Ready` where that came first.
    pub answer_us: u64,
    /// From the first request to `Ready`.
    pub prepare_us: u64,
    /// From the first pre-copy to the target's word that it has one; none if that never came.
    pub precopy_us: Option<u64>,
    /// From the freeze to `Accepted`.
    pub cutover_us: u64,
}

/// Microseconds as a person reads them.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(us) = *self;
        if us < 10_000_000 { write!(f, "{} ms", us / 1_000) } else { write!(f, "{} s", us / 1_000_000) }
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoBorderNear { lead_us, margin_m } => {
                let lead = Span(lead_us);
                write!(
                    f,
                    "it is not near any border: the forecast sees no other node's cell within {lead} or {margin_m} m"
                )
            }
            Self::OutsideWorld => write!(f, "it is outside the world, where no node owns anything"),
            Self::NoOwner { cell } => write!(f, "it stands in cell {cell}, which no node owns"),
            Self::WithinHysteresis { to, hysteresis_m } => {
                write!(
                    f,
                    "it is past the border to node {to}, but not yet by the {hysteresis_m} m of hysteresis"
                )
            }
            Self::Foreseen { to, crossing_in_us: 0 } => {
                write!(f, "it stands in a cell of node {to}, which has not been asked yet")
            }
            Self::Foreseen { to, crossing_in_us } => {
                let ahead = Span(crossing_in_us);
                write!(
                    f,
                    "the forecast sees a crossing to node {to} in {ahead}, which has not been asked yet"
                )
            }
            Self::Preparing { to, for_us, awaits } => {
                let whom = match awaits {
                    Awaited::Coordinator => "for the coordinator's answer",
                    Awaited::Target => "for that node, which the coordinator has notified",
                    Awaited::TargetDirectly => "for that node, asked directly as the coordinator is silent",
                };
                write!(
                    f,
                    "its crossing to node {to} is being prepared: it has waited {whom} {}",
                    Span(for_us)
                )
            }
            Self::Copying { to, for_us } => {
                let span = Span(for_us);
                write!(
                    f,
                    "node {to} has been ready for it for {span}, but has no pre-copy yet: now it would cross cold"
                )
            }
            Self::Ready { to, crossing_in_us: Some(0) } => {
                write!(
                    f,
                    "node {to} is ready for it and has a pre-copy: it crosses once it is past the border"
                )
            }
            Self::Ready { to, crossing_in_us: Some(us) } => {
                let ahead = Span(us);
                write!(
                    f,
                    "node {to} is ready for it and has a pre-copy: the forecast sees the border in {ahead}"
                )
            }
            Self::Ready { to, crossing_in_us: None } => {
                write!(f, "node {to} is ready for it, but the forecast sees no crossing there any more")
            }
            Self::Dwelling { for_us } => {
                write!(f, "it came just now, and is handed on in {} at the earliest", Span(for_us))
            }
            Self::BackedOff { to, for_us, after, past_border } => {
                let where_it_is = if past_border { "it is past the border to" } else { "it heads for" };
                write!(
                    f,
                    "{where_it_is} node {to}, but {after}; that node is left alone for {} more",
                    Span(for_us)
                )
            }
            Self::Unlinked { to } => write!(f, "there is no link to node {to}, whose cell it heads for"),
            Self::InTransfer { to, for_us, cancelling: false } => {
                write!(f, "it is frozen and has waited for the word of node {to} for {}", Span(for_us))
            }
            Self::InTransfer { to, for_us, cancelling: true } => {
                let span = Span(for_us);
                write!(f, "it is frozen and node {to} has been silent for {span}: it was asked to cancel")
            }
            Self::Leaving => write!(f, "its player is leaving the world: it crosses no border any more"),
            Self::Bound { actions } => {
                write!(f, "{actions} durable actions of it are not settled: it can't leave the world before")
            }
            Self::Pinned { entity, ref name, for_us } => {
                write!(f, "{entity} is pinned for {} more by {name:?}", Span(for_us))
            }
            Self::Follows { leader } => write!(f, "it goes where {leader} goes, which it rides on"),
            Self::AwaitsMember { member, to } => {
                write!(f, "{member} rides on it, and node {to} does not have a pre-copy of that one yet")
            }
        }
    }
}

impl fmt::Display for Setback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrepareRefused(reason) => write!(f, "the preparation was refused ({reason})"),
            Self::TransferRefused(reason) => write!(f, "the transfer was refused ({reason})"),
            Self::Cancelled => write!(f, "the transfer was cancelled after silence"),
            Self::Silent => write!(f, "no answer to a pre-copy came"),
            Self::Died => write!(f, "a life of it has ended"),
            Self::GroupNotReady => {
                write!(f, "one of its group was not ready, or they were too heavy together")
            }
        }
    }
}
