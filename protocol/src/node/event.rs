//! What happened in a node, for those who measure, log or show it.

use core::time::Duration;
use std::borrow::Cow;

use crate::action::Outcome;
use crate::ghost::SenderStats;
use crate::handoff::Path;
use crate::id::{AuthorityEpoch, ClientId, EntityId, HandoffId, Incarnation, Peer, ReservationId};
use crate::token::TokenError;
use crate::wire::RefuseReason;

/// How much was sent of ghosts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct GhostTraffic {
    /// Samples.
    pub samples: u64,
    /// Bytes of datagrams and of the stream, without what QUIC adds.
    pub bytes: u64,
}

impl GhostTraffic {
    /// What was sent between two readings.
    pub(super) const fn between(before: &SenderStats, after: &SenderStats) -> Self {
        let former_bytes = before.datagram_bytes + before.stream_bytes;
        Self {
            samples: after.samples.saturating_sub(before.samples),
            bytes: (after.datagram_bytes + after.stream_bytes).saturating_sub(former_bytes),
        }
    }

    pub(super) const fn add(&mut self, other: Self) {
        self.samples += other.samples;
        self.bytes += other.bytes;
    }
}

/// What is measured, logged or shown. Durations are by the node's own clock unless they say mesh time.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeEvent {
    /// Source: a handoff is complete.
    HandedOver {
        /// Which.
        id: HandoffId,
        /// To whom.
        to: Peer,
        /// Whether it is a player.
        player: bool,
        /// Warm or cold.
        path: Path,
        /// `cutover`: from the freeze to `Accepted`.
        cutover: Duration,
        /// From the first request to `Ready`.
        prepare: Duration,
        /// From the first request to the coordinator's answer, or to `Ready` where that came first.
        answer: Duration,
        /// From the first pre-copy to the target's word that it has one; none if that never came.
        precopy: Option<Duration>,
    },
    /// Source: a handoff was aborted; the entity goes on here.
    Aborted {
        /// Which.
        id: HandoffId,
        /// What the target said; none if it was cancelled after silence.
        reason: Option<RefuseReason>,
    },
    /// Source: a preparation was refused.
    PrepareRefused {
        /// Which.
        reservation: ReservationId,
        /// Why.
        reason: RefuseReason,
    },
    /// Target: the entity runs here.
    TakenOver {
        /// Which.
        id: HandoffId,
        /// From whom.
        from: Peer,
        /// Whether it is a player.
        player: bool,
        /// Ticks in which nobody simulated it.
        missed_ticks: u64,
    },
    /// Target: the player's client arrived.
    Attached {
        /// Which entity.
        entity: EntityId,
        /// Mesh time since the source first asked to prepare.
        handoff_total: Duration,
        /// From the takeover to the arrival; nothing where the client waited here.
        attach: Duration,
    },
    /// A client showed a token that admits nobody.
    TokenRefused {
        /// The connection.
        client: ClientId,
        /// Why it doesn't admit.
        cause: TokenError,
    },
    /// A client sent what it must not.
    ClientMisbehaved {
        /// The connection.
        client: ClientId,
        /// What it did.
        what: &'static str,
    },
    /// A peer claimed what can't be.
    PeerMisbehaved {
        /// Who.
        peer: Peer,
        /// What it did, and with what.
        what: Cow<'static, str>,
    },
    /// The coordinator refused this node.
    RegistrationRefused {
        /// Why.
        reason: String,
    },
    /// An entity of a dead node goes on here from a copy.
    Recovered {
        /// Which.
        entity: EntityId,
        /// At which epoch.
        epoch: AuthorityEpoch,
        /// Whether it is a player.
        player: bool,
    },
    /// The coordinator says that this node is of the past: another process took its id.
    Fenced {
        /// The life that ended.
        incarnation: Incarnation,
    },
    /// A checkpoint is safe at the buddy.
    Checkpointed {
        /// Which cut.
        cut: u64,
        /// How many entities of it were sent; the others hadn't changed.
        sent: usize,
        /// How many bytes of snapshots.
        bytes: u64,
        /// From the order to the buddy's word.
        took: Duration,
        /// What it holds for the first time at this epoch: a spawn among them is acknowledged by it.
        safe: Vec<(EntityId, AuthorityEpoch)>,
    },
    /// A checkpoint was not acknowledged; another one follows.
    CheckpointLost {
        /// Which cut.
        cut: u64,
    },
    /// How old the newest safe checkpoint is, once a tick: what a crash would undo now.
    CheckpointAge {
        /// From its tick to the present one.
        age: Duration,
    },
    /// How stale the ghosts are that the game will see at its next tick, once a tick: how many are how many ticks old.
    GhostsShown {
        /// By ticks, see [`GhostTable::staleness`](crate::ghost::GhostTable::staleness).
        ticks: [u32; crate::ghost::STALENESS_TICKS],
    },
    /// What was sent of ghosts in a tick, to other nodes and to players.
    GhostsSent {
        /// To other nodes.
        to_nodes: GhostTraffic,
        /// To players.
        to_players: GhostTraffic,
    },
    /// Sender's node: what came of an action.
    ActionSettled {
        /// Whether it was a durable one.
        durable: bool,
        /// What came of it.
        outcome: Outcome,
    },
    /// The game caused an event.
    EventCaused,
    /// There is no room for another node's standby copies: its checkpoints are not kept.
    StandbyFull {
        /// Whose.
        of: Peer,
    },
}
