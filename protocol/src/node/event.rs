//! What happened in a node, for those who measure, log or show it.

use core::time::Duration;

use crate::handoff::Path;
use crate::id::{AuthorityEpoch, ClientId, EntityId, HandoffId, Incarnation, Peer, ReservationId};
use crate::wire::RefuseReason;

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
    },
    /// A client sent what it must not.
    ClientMisbehaved {
        /// The connection.
        client: ClientId,
    },
    /// A peer claimed what can't be.
    PeerMisbehaved {
        /// Who.
        peer: Peer,
        /// What it did.
        what: &'static str,
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
}
