//! What goes into a `Coordinator` and what comes out of it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Whom, WhyAccount};
use crate::id::{EntityId, Incarnation, NodeId, Peer, SessionId, Term};
use crate::time::Time;
use crate::wire::{CensusEntry, Lane, Message, SessionReply, SessionRequest};

/// What a coordinator is told.
#[derive(Clone, Debug)]
pub enum CoordinatorInput {
    /// A link to a node is up.
    LinkUp {
        /// Which node.
        node: NodeId,
    },
    /// It is down.
    LinkDown {
        /// Which node.
        node: NodeId,
    },
    /// A node said something, decoded and checked.
    Message {
        /// The node that the link proved.
        from: NodeId,
        /// The life it claims in its hello; none before it registered.
        incarnation: Option<Incarnation>,
        /// What.
        message: Message,
        /// And what came with it.
        blob: Bytes,
    },
    /// Somebody at the door asks something.
    Session {
        /// Names the question; the answer carries it.
        request: u64,
        /// What.
        message: SessionRequest,
    },
    /// The authenticator has decided.
    Authenticated {
        /// Which question.
        request: u64,
        /// The character's name to play, or why not.
        verdict: Result<String, String>,
    },
    /// The store has looked.
    CharacterLoaded {
        /// Which question.
        request: u64,
        /// The character as it last left, if it is known; the store's own error otherwise.
        character: Result<Option<Bytes>, String>,
    },
    /// The store has saved, or failed.
    CharacterSaved {
        /// Whose.
        session: SessionId,
        /// From which node.
        node: NodeId,
        /// How it went.
        result: Result<(), String>,
    },
    /// Somebody asks who holds what.
    CensusAsked {
        /// Names the question.
        request: u64,
    },
    /// Somebody asks why an entity is where it is.
    WhyAsked {
        /// Names the question.
        request: u64,
        /// Which entity.
        whom: Whom,
    },
}

/// The process that is a node as long as its lease runs and its link is up. Another one with the same certificate, a
/// copied identity, is refused at its hello: then its link never displaces the first one's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveProcess {
    /// The number that the process drew, as its hello and its registration say.
    pub process: u64,
    /// The node in this life.
    pub peer: Peer,
    /// Where other nodes reach it.
    pub mesh_addr: String,
}

impl LiveProcess {
    /// Whether a process that says hello in this node's name may be linked.
    ///
    /// # Errors
    /// If it is another process; the text tells the operator what to do.
    pub fn judge(&self, process: u64) -> Result<(), String> {
        if process == self.process {
            return Ok(());
        }
        let Peer { node, incarnation } = self.peer;
        Err(format!(
            "another process is registered as node {node} (incarnation {incarnation}, at {}): stop it, or give this \
             one an identity of its own",
            self.mesh_addr
        ))
    }
}

/// What a coordinator wants done, in order.
#[derive(Clone, Debug)]
pub enum CoordinatorOutput {
    /// Keep this: nothing that is put out after it may be done before it is durable. What comes out together may be made
    /// durable together, all or none, and then done.
    Persist(super::Record),
    /// Send a mesh message to a node; dropped if there is no link.
    Send {
        /// To whom.
        to: NodeId,
        /// On which lane.
        lane: Lane,
        /// What.
        message: Message,
        /// And what goes with it.
        blob: Bytes,
    },
    /// Ask the authenticator.
    Authenticate {
        /// Names the question.
        request: u64,
        /// Who says they are here.
        name: String,
        /// What they show.
        credential: Vec<u8>,
    },
    /// Ask the character store.
    LoadCharacter {
        /// Names the question.
        request: u64,
        /// Whose character.
        name: String,
    },
    /// Tell the character store; answered by `CharacterSaved`.
    SaveCharacter {
        /// The session that it was played in.
        session: SessionId,
        /// The node that sent it.
        node: NodeId,
        /// Whose character.
        name: String,
        /// A whole snapshot.
        character: Bytes,
    },
    /// Answer at the door.
    Reply {
        /// Which question.
        request: u64,
        /// The answer.
        reply: SessionReply,
    },
    /// The answer to `CensusAsked`.
    Census {
        /// Which question.
        request: u64,
        /// What each node holds.
        nodes: Vec<(NodeId, Vec<CensusEntry>)>,
        /// Who did not answer in time.
        missing: Vec<NodeId>,
    },
    /// The answer to `WhyAsked`.
    Why {
        /// Which question.
        request: u64,
        /// What is known; none if nobody has ever told of such an entity.
        account: Option<Box<WhyAccount>>,
    },
    /// Who may say hello as this node has changed.
    Standing {
        /// Which node.
        node: NodeId,
        /// The one process that may; none if any with the node's certificate may.
        live: Option<LiveProcess>,
    },
    /// Something happened that is logged or shown.
    Event(CoordinatorEvent),
}

/// What is logged or shown.
#[derive(Clone, Debug, PartialEq)]
pub enum CoordinatorEvent {
    /// A node registered.
    NodeJoined {
        /// In this life.
        peer: Peer,
    },
    /// A node was not heard for too long: its voters are asked to let it go.
    Suspected {
        /// Whose.
        peer: Peer,
        /// When it was heard last, by the coordinator's clock.
        last_heard: Time,
    },
    /// A life is over: it has stopped by itself by now, and nobody hears it any more.
    LifeOver {
        /// Whose.
        peer: Peer,
    },
    /// A recovery round has been decided: everybody alive has answered.
    Recovered {
        /// Its number.
        round: u32,
        /// Whose entities.
        dead: Vec<Peer>,
        /// Entities that go on from a copy.
        restored: usize,
        /// Entities of which no copy is left.
        lost: Vec<EntityId>,
    },
    /// A recovery round is over: everybody has carried its verdict out.
    RoundClosed {
        /// Its number.
        round: u32,
    },
    /// Cells were assigned anew.
    MapChanged {
        /// The new version.
        version: u64,
        /// Cells whose owner changed.
        cells_moved: usize,
    },
    /// Two nodes claimed one authority, or ticks overlap: invariant A1 is broken.
    AuthorityViolation {
        /// Whose.
        entity: EntityId,
        /// What was seen.
        what: String,
    },
    /// A node claimed what can't be.
    NodeMisbehaved {
        /// Which.
        node: NodeId,
        /// What it did.
        what: String,
    },
    /// A character could not be loaded or saved.
    StoreFailed {
        /// What the store said.
        error: String,
    },
}

/// A node as the coordinator sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its id.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Whether its lease runs.
    pub alive: bool,
    /// Whether a link to it is up.
    pub linked: bool,
    /// Microseconds since it was heard last.
    pub last_heard_us: u64,
    /// Where other nodes reach it.
    pub mesh_addr: String,
    /// Where clients reach it.
    pub client_addr: String,
    /// Cells that it owns.
    pub cells: usize,
    /// Entities that it holds, by its own count.
    pub entities: u32,
    /// Of these, players.
    pub players: u32,
    /// Ghosts that it keeps.
    pub ghosts: u32,
    /// Its client connections.
    pub clients: u32,
    /// Handoffs that it received since its start.
    pub handoffs_in: u64,
}

/// The coordinator at a glance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CoordinatorStatus {
    /// Its term.
    pub term: Term,
    /// Mesh time in microseconds.
    pub mesh_time_us: u64,
    /// The cell map's version.
    pub map_version: u64,
    /// Cells of the base grid.
    pub cells: usize,
    /// Of these, without an owner.
    pub cells_without_owner: usize,
    /// The nodes.
    pub nodes: Vec<NodeStatus>,
    /// Sessions that are open.
    pub sessions: usize,
    /// Entities in the directory.
    pub entities: usize,
    /// Whether every node has said what it holds since the coordinator started: until then entities may be missing.
    pub directory_whole: bool,
    /// Preparations notified since the start.
    pub prepares_notified: u64,
    /// Preparations refused since the start.
    pub prepares_refused: u64,
    /// Changes of authority reported since the start.
    pub authority_changes: u64,
    /// Breaches of A1 seen in those reports.
    pub authority_violations: u64,
}
