//! What must never happen, one file each, and what the checks are told: facts, seen from outside the machines.

mod a1_single_authority;
mod a2_nothing_lost;
mod a3_actions;
mod a3_exactly_once;
mod a4_convergence;
mod a5_tokens;
mod events;
mod ghosts;
mod groups;
mod items_conserved;
mod own_lease;
mod whole_snapshots;

use core::fmt;

use selvedge_protocol::authority::Standing;
use selvedge_protocol::grid::CellId;
use selvedge_protocol::handoff::client::ClientEvent;
use selvedge_protocol::id::{AuthorityEpoch, ClientId, EntityId, Peer, SessionId};
use selvedge_protocol::time::{Tick, Time};
use selvedge_protocol::token::TOKEN_BYTES;
use selvedge_protocol::wire::Captured;

pub use crate::game::Ledger;
pub use a1_single_authority::SingleAuthority;
pub use a2_nothing_lost::NothingLost;
pub use a3_actions::{ActionFact, ActionsOnce};
pub use a3_exactly_once::ExactlyOnce;
pub use a4_convergence::Convergence;
pub use a5_tokens::Tokens;
pub use events::{EventFact, Events};
pub use ghosts::Ghosts;
pub use groups::Groups;
pub use items_conserved::ItemsConserved;
pub use own_lease::OwnLease;
pub use whole_snapshots::WholeSnapshots;

/// One step of a run: what it changed, as seen from outside.
#[derive(Debug)]
pub struct Step<'a> {
    /// Which step.
    pub number: u64,
    /// When, in virtual time.
    pub at: Time,
    /// What it changed, in order.
    pub facts: &'a [Fact],
}

/// The bytes of a token.
pub type TokenBytes = [u8; TOKEN_BYTES];

/// Something that a step changed. Nodes and players go by their number.
#[derive(Clone, Debug)]
pub enum Fact {
    /// How an entity stands at a node's core now.
    Standing {
        /// The node.
        node: usize,
        /// The entity.
        entity: EntityId,
        /// How; none if it doesn't hold it any more.
        standing: Option<Standing>,
    },
    /// A core took what its game published.
    Published {
        /// The node.
        node: usize,
        /// The entity.
        entity: EntityId,
        /// Under which grant.
        epoch: AuthorityEpoch,
        /// In which tick.
        tick: Tick,
        /// What the core says is the last input applied.
        applied: u32,
        /// What the game says of the player's inputs.
        ledger: Option<Ledger>,
    },
    /// An entity was spawned or joined, and its node's core took it.
    Born {
        /// The node.
        node: usize,
        /// The entity.
        entity: EntityId,
    },
    /// An entity left for good, and its node's core took that.
    Gone {
        /// The node.
        node: usize,
        /// The entity.
        entity: EntityId,
    },
    /// A node's process ended: it holds nothing any more, and remembers nothing.
    Ended {
        /// The node.
        node: usize,
    },
    /// A node's life is over, as it says itself or as the coordinator does: what it held is others' to restore, and its
    /// copies are gone.
    LifeOver {
        /// The node.
        node: usize,
    },
    /// A node holds something though its lease has run out by its own clock.
    LeaseOutlived {
        /// The node.
        node: usize,
        /// The entity.
        entity: EntityId,
        /// For how long.
        expired_for: core::time::Duration,
    },
    /// A node heard that a cut of its entities is safe with a keeper.
    CutSafe {
        /// The node.
        node: usize,
        /// The keeper. None if its life has ended since, and its copies with it.
        keeper: Option<usize>,
        /// After which tick it was captured.
        tick: Tick,
        /// What was sent in it; what hadn't changed was not.
        copies: Vec<SentCopy>,
        /// Entities of earlier cuts that are no longer the node's.
        gone: Vec<EntityId>,
    },
    /// Something about an action, as a node's core took it.
    Action {
        /// The node.
        node: usize,
        /// Whose.
        entity: EntityId,
        /// What.
        fact: ActionFact,
    },
    /// A node's core took that an entity was attached to another, or detached.
    Attached {
        /// The node.
        node: usize,
        /// The entity.
        entity: EntityId,
        /// To what; none if it was detached.
        to: Option<EntityId>,
        /// Whether the game itself detached it.
        by_game: bool,
    },
    /// An entity that came to a node runs there.
    Runs {
        /// The node.
        node: usize,
        /// The entity.
        entity: EntityId,
        /// What it is attached to there.
        to: Option<EntityId>,
    },
    /// Something about an event.
    Event(EventFact),
    /// A node restored an entity from a copy.
    Restored {
        /// The entity.
        entity: EntityId,
        /// From when the copy is.
        contents: Captured,
        /// What it rides on by the copy; none if that comes from no cut.
        ride: Option<CopiedRide>,
    },
    /// A node's process stands still: it does nothing until it stirs.
    StoodStill {
        /// The node.
        node: usize,
    },
    /// A node's process that stood still took its first step; how it stands to everything that it holds follows.
    Stirred {
        /// The node.
        node: usize,
    },
    /// A player's machine started anew.
    PlayerBegan {
        /// The player.
        player: usize,
    },
    /// A player's machine took an input.
    Acted {
        /// The player.
        player: usize,
        /// Its number.
        seq: u32,
        /// The digest of all of the player's inputs up to it.
        digest: u64,
    },
    /// A player's entity went on from a copy older than the oldest input that the program still had: what lies between is
    /// lost, and the numbers of all later inputs have fallen.
    Renumbered {
        /// The player.
        player: usize,
        /// The last input in the copy.
        applied: u32,
        /// How many after it are lost.
        lost: u32,
        /// The digests of all inputs that are left, up to each.
        digests: Vec<u64>,
    },
    /// A player's machine said something.
    Client {
        /// The player.
        player: usize,
        /// What; never a `State`.
        event: ClientEvent,
    },
    /// The coordinator saw A1 broken in what the nodes report.
    CoordinatorSawViolation {
        /// The entity.
        entity: EntityId,
        /// What it saw.
        what: String,
    },
    /// A node was asked to let a player in.
    AdmissionAsked {
        /// The node.
        node: usize,
        /// The question.
        request: u64,
        /// For this entity.
        entity: EntityId,
    },
    /// A node gave out a token.
    TokenGranted {
        /// The node.
        node: usize,
        /// The token.
        token: TokenBytes,
        /// What for.
        to: TokenTarget,
        /// Until when, by the node's own clock.
        expires_at: Time,
    },
    /// Somebody showed a token to a node.
    TokenShown {
        /// The node.
        node: usize,
        /// On which connection.
        client: ClientId,
        /// The token.
        token: TokenBytes,
        /// When, by the node's own clock.
        at: Time,
    },
    /// A node let a connection in: parked or attached. It may say so long after the token was shown.
    Admitted {
        /// The node.
        node: usize,
        /// Which connection.
        client: ClientId,
        /// For which entity.
        entity: EntityId,
    },
    /// A game was given something that makes no sense.
    GameComplained {
        /// The node.
        node: usize,
        /// Of which entity.
        entity: EntityId,
        /// What.
        what: String,
    },
    /// What a game shows of others' entities; looked at every second.
    GhostsShown {
        /// The node.
        node: usize,
        /// The ghosts.
        entities: Vec<EntityId>,
        /// Of what its core takes for ghosts, those that it holds itself.
        beside: Vec<EntityId>,
    },
    /// The whole mesh was looked at, after faults and movement stopped.
    Inspected(Inspection),
}

/// An entity in a cut, as it travelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SentCopy {
    /// Which entity.
    pub entity: EntityId,
    /// The epoch of the contents.
    pub epoch: AuthorityEpoch,
    /// A player's session, and the last input in the contents.
    pub inputs: Option<(SessionId, u32)>,
    /// What it rides on.
    pub attached_to: Option<EntityId>,
}

/// What an entity rides on by a standby copy. All copies of one cut are of one tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopiedRide {
    /// Whose cut it is.
    pub of: Peer,
    /// Which cut.
    pub cut: u64,
    /// What the entity rides on.
    pub to: Option<EntityId>,
}

/// What a token is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenTarget {
    /// This entity.
    Entity(EntityId),
    /// The entity that this question named.
    Admission(u64),
}

/// The whole mesh at one moment.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Time since faults and movement stopped.
    pub calm_for: core::time::Duration,
    /// Within which it must have settled.
    pub bound: core::time::Duration,
    /// Everything held anywhere.
    pub held: Vec<Held>,
    /// Every player.
    pub players: Vec<PlayerView>,
    /// Cells whose owner, by the coordinator's map, is no running node.
    pub ownerless: Vec<CellId>,
    /// Nodes that take a recovery round to be open.
    pub recovering: Vec<usize>,
    /// Whether a process is still away that comes back.
    pub waiting: bool,
    /// How far across a border entities are seen, in metres.
    pub margin_m: f64,
    /// What the games show of others' entities.
    pub ghosts: Vec<GhostView>,
    /// Entities that a node's game doesn't show though they are near the node's cells.
    pub unseen: Vec<(usize, EntityId)>,
    /// Entities that a game simulates though its core doesn't hold them.
    pub unheld: Vec<(usize, EntityId)>,
    /// Actions of or to an entity at a node that aren't settled, and how many.
    pub unsettled: Vec<(usize, EntityId, usize)>,
    /// What everybody has that trades.
    pub purses: Vec<(EntityId, Vec<u128>)>,
}

/// An entity at a node.
#[derive(Clone, Debug)]
pub struct Held {
    /// The node.
    pub node: usize,
    /// The entity.
    pub entity: EntityId,
    /// How it stands there.
    pub standing: Standing,
    /// Whether the node's game simulates it.
    pub simulated: bool,
    /// The node that it should be handed to by now, if any.
    pub belongs_to: Option<usize>,
}

/// A ghost at a node, and how it stands to its original.
#[derive(Clone, Debug)]
pub struct GhostView {
    /// The node that shows it.
    pub node: usize,
    /// The entity.
    pub entity: EntityId,
    /// How far it is from its original, in metres; none if nobody simulates that.
    pub off_m: Option<f64>,
    /// Whether it has the original's state.
    pub alike: bool,
    /// How far the original is from the node's cells, in metres.
    pub away_m: f64,
}

/// A player's machine.
#[derive(Clone, Debug)]
pub struct PlayerView {
    /// The player.
    pub player: usize,
    /// The session, once in the world.
    pub session: Option<SessionId>,
    /// The entity played.
    pub entity: Option<EntityId>,
    /// Whether the player wants to be in the world.
    pub wants_in: bool,
    /// Whether a connection to the entity's node stands.
    pub attached: bool,
    /// The number of the last input taken.
    pub sent: u32,
    /// Inputs not acknowledged yet.
    pub unacknowledged: usize,
}

/// A broken invariant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Its name, as in the design: `A1`, `A3`, ...
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
    /// The entity that it is about.
    pub entity: Option<EntityId>,
    /// The player that it is about.
    pub player: Option<usize>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// A check that sees every step.
pub trait Invariant {
    /// Takes one step in.
    ///
    /// # Errors
    /// If the invariant is broken.
    fn observe(&mut self, step: &Step<'_>) -> Result<(), Violation>;

    /// Whether nothing more is to be waited for, once faults have stopped.
    fn is_settled(&self) -> bool {
        true
    }
}

/// Every check there is.
pub(crate) fn all() -> Vec<Box<dyn Invariant + Send>> {
    vec![
        Box::new(SingleAuthority::default()),
        Box::new(OwnLease),
        Box::new(NothingLost::default()),
        Box::new(ExactlyOnce::default()),
        Box::new(ActionsOnce::default()),
        Box::new(ItemsConserved::default()),
        Box::new(Convergence::default()),
        Box::new(Tokens::default()),
        Box::new(WholeSnapshots),
        Box::new(Ghosts::default()),
        Box::new(Groups::default()),
        Box::new(Events::default()),
    ]
}
