//! What can happen next in a run.

use core::time::Duration;

use bytes::Bytes;
use selvedge_protocol::id::{NodeId, Peer, SessionId};
use selvedge_protocol::node::GameReport;
use selvedge_protocol::time::Tick;

use crate::network::LinkId;

/// A process of the mesh, or a player's machine. Nodes and players go by their number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Process {
    /// The coordinator.
    Coordinator,
    /// A node.
    Node(usize),
    /// A player's machine.
    Player(usize),
}

/// One player in one stay: what belongs to an earlier stay is of no more interest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stay {
    pub(crate) player: usize,
    pub(crate) life: u32,
}

/// The number of a client's connection, or of a thief's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ConnId(pub(crate) usize);

/// What can happen.
pub(crate) enum Event {
    /// A node's process starts.
    NodeStarts(usize),
    /// A node's machine asked to be woken.
    NodeTimer(usize),
    /// The coordinator's machine did.
    CoordinatorTimer,
    /// A client's machine did.
    PlayerTimer(usize),
    /// A mesh message arrives.
    Mesh {
        link: LinkId,
        life: u32,
        replay: bool,
        from: Process,
        to: Process,
        sender: Option<Peer>,
        frame: Bytes,
    },
    /// A link comes up.
    LinkRises { link: LinkId, life: u32 },
    /// One end, in that process of its, notices that its link is down.
    LinkLost { link: LinkId, life: u32, end: Process, process: u32 },
    /// A cut ends.
    LinkHeals { link: LinkId },
    /// Something goes wrong somewhere.
    Weather,
    /// A node's game runs a tick.
    Tick { node: usize, process: u32, tick: Tick },
    /// A node's core hears from its game.
    Report { node: usize, process: u32, report: GameReport },
    /// A client's first message reaches the node.
    Hello { conn: ConnId, frame: Bytes },
    /// The client learns that its connection stands.
    Connected(ConnId),
    /// A client's message reaches the node.
    ToNode { conn: ConnId, frame: Bytes },
    /// A node's message reaches the client.
    ToPlayer { conn: ConnId, frame: Bytes },
    /// The node learns that a connection is gone.
    ClosedAtNode(ConnId),
    /// The client learns it.
    ClosedAtPlayer(ConnId),
    /// A question reaches the door.
    DoorAsked { stay: Stay, frame: Bytes },
    /// Its answer reaches the client.
    DoorAnswered { stay: Stay, frame: Bytes },
    /// The client finds that the door can't be reached.
    DoorFailed(Stay),
    /// The authenticator has decided.
    Authenticated { process: u32, request: u64, name: String },
    /// The store has looked.
    Loaded { process: u32, request: u64, name: String },
    /// The store has saved.
    Saved { process: u32, session: SessionId, node: NodeId, name: String, character: Bytes },
    /// What the coordinator wrote is safe.
    DiskSynced { process: u32 },
    /// A player does something.
    PlayerActs(Stay),
    /// A player starts the program, or starts it again.
    PlayerEnters(usize),
    /// Faults and movement stop.
    Calm,
    /// The whole mesh is looked at.
    Inspect,
    /// A process comes to harm, or a set of links does.
    Strike,
    /// A process that ended begins anew.
    Returns(Process),
    /// A link on which nothing passed for too long is given up, if it is still in this life, for so long.
    LinkTimesOut { link: LinkId, life: u32, length: Duration },
}

impl Event {
    /// A number of its kind, for the trace's hash.
    pub(crate) const fn kind(&self) -> u64 {
        match self {
            Self::NodeStarts(_) => 1,
            Self::NodeTimer(_) => 2,
            Self::CoordinatorTimer => 3,
            Self::PlayerTimer(_) => 4,
            Self::Mesh { .. } => 5,
            Self::LinkRises { .. } => 6,
            Self::LinkLost { .. } => 7,
            Self::LinkHeals { .. } => 8,
            Self::Weather => 9,
            Self::Tick { .. } => 10,
            Self::Report { .. } => 11,
            Self::Hello { .. } => 12,
            Self::Connected(_) => 13,
            Self::ToNode { .. } => 14,
            Self::ToPlayer { .. } => 15,
            Self::ClosedAtNode(_) => 16,
            Self::ClosedAtPlayer(_) => 17,
            Self::DoorAsked { .. } => 18,
            Self::DoorAnswered { .. } => 19,
            Self::DoorFailed(_) => 20,
            Self::Authenticated { .. } => 21,
            Self::Loaded { .. } => 22,
            Self::Saved { .. } => 23,
            Self::PlayerActs(_) => 24,
            Self::PlayerEnters(_) => 25,
            Self::Calm => 26,
            Self::Inspect => 27,
            Self::Strike => 28,
            Self::Returns(_) => 29,
            Self::LinkTimesOut { .. } => 30,
            Self::DiskSynced { .. } => 31,
        }
    }
}
