//! The state of the modelled mesh: nodes, coordinators, what the store knows, what was said, what was observed.

use std::collections::BTreeMap;

use selvedge_protocol::authority::AuthorityTable;
use selvedge_protocol::id::{AuthorityEpoch, EntityId, HandoffId, Incarnation, NodeId, Peer};
use selvedge_protocol::recovery::Participant;
use selvedge_protocol::wire::{Captured, NewestCut};

use super::coordinator::{Coordinator, Store};
use super::explore::Model;
use super::network::Network;
use super::shared::Shared;

/// The one entity.
pub(super) const ENTITY: EntityId = EntityId::from_u128(1);

/// The node at this place, in this life.
pub(super) fn peer(index: usize, life: u64) -> Peer {
    Peer { node: NodeId::from_u128(index as u128 + 1), incarnation: Incarnation(life) }
}

/// The place of a node.
pub(super) fn index_of(peer: Peer) -> usize {
    usize::try_from(peer.node.as_u128()).unwrap_or(usize::MAX).saturating_sub(1)
}

/// What a source keeps of an entity that it gave away.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Tombstone {
    pub(super) id: HandoffId,
    pub(super) to: Peer,
    /// What it sent, until the target's own checkpoint is safe.
    pub(super) kept: Option<Captured>,
    /// The coordinator knows who has it.
    pub(super) acknowledged: bool,
    /// The highest term that the node had heard of when it first reported the change.
    pub(super) reported_in: u64,
}

/// The last cut that a node sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct SentCut {
    pub(super) to: Peer,
    pub(super) number: u64,
    pub(super) contents: Option<Captured>,
    pub(super) safe: bool,
}

/// One node, in its present life.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Node {
    pub(super) me: Peer,
    /// Whether it runs under a valid lease. One that doesn't says and hears nothing until it comes back.
    pub(super) up: bool,
    pub(super) table: AuthorityTable,
    pub(super) participant: Participant,
    /// The contents of the frozen copy.
    pub(super) frozen: Option<Captured>,
    pub(super) tombstone: Option<Tombstone>,
    /// The handoff that brought the entity, until its source has been told that it is safe here.
    pub(super) arrived: Option<(HandoffId, Peer)>,
    /// A copy sent ahead, and by whom.
    pub(super) warm: Option<(Peer, Captured)>,
    /// The newest cut of each life that sends its cuts here.
    pub(super) copies: BTreeMap<Peer, (NewestCut, Option<Captured>)>,
    pub(super) cut: Option<SentCut>,
    /// Carried out, but what it holds since is not safe.
    pub(super) owes_carried: Option<usize>,
}

impl Node {
    pub(super) fn new(me: Peer) -> Self {
        Self {
            me,
            up: true,
            table: AuthorityTable::new(),
            participant: Participant::default(),
            frozen: None,
            tombstone: None,
            arrived: None,
            warm: None,
            copies: BTreeMap::new(),
            cut: None,
            owes_carried: None,
        }
    }

    /// What is left of a node that crashed, or that its lease told to stop.
    pub(super) fn down(me: Peer) -> Self {
        Self { up: false, ..Self::new(me) }
    }
}

/// What may still happen by the will of the world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Left {
    pub(super) handoffs: u8,
    pub(super) cancels: u8,
    pub(super) refusals: u8,
    pub(super) precopies: u8,
    pub(super) crashes: u8,
    pub(super) rejoins: u8,
    pub(super) takeovers: u8,
}

/// What went wrong at a transition, to be found in the state after it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Broken {
    /// Somebody became active at an epoch that is not above all before.
    EpochWentBack,
    /// An entity went on from contents older than what its holder had been told is safe.
    OlderThanAcknowledged,
    /// A node was told to restore what it doesn't have.
    NoSuchCopy,
}

/// One state of the whole mesh.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct State {
    pub(super) nodes: Vec<Shared<Node>>,
    /// The last one is in office. Those before it may still run, and don't know.
    pub(super) coordinators: Vec<Shared<Coordinator>>,
    pub(super) store: Shared<Store>,
    pub(super) network: Network,
    pub(super) left: Left,
    /// The highest epoch that was ever active.
    pub(super) highest: AuthorityEpoch,
    /// The highest that each coordinator may have heard of: from nodes that had seen no higher term than its own.
    pub(super) reported: Vec<AuthorityEpoch>,
    /// The newest contents of which a holder was told that they are safe.
    pub(super) durable: Captured,
    pub(super) broken: Option<Broken>,
}

impl State {
    pub(super) fn first(model: &Model) -> Self {
        let bound = &model.bound;
        let mut nodes: Vec<Node> = (0..bound.nodes).map(|index| model.node(peer(index, 1))).collect();
        // The spawn is acknowledged: its first checkpoint is safe with the next node.
        let contents = Captured { epoch: AuthorityEpoch::FIRST, tick: selvedge_protocol::time::Tick(1) };
        let (holder, buddy) = (peer(0, 1), peer(1, 1));
        nodes[0].table.spawn(ENTITY);
        nodes[0].cut = Some(SentCut { to: buddy, number: 1, contents: Some(contents), safe: true });
        let cut = NewestCut { of: holder, cut: 1, tick: contents.tick };
        nodes[1].copies.insert(holder, (cut, Some(contents)));
        let store = Shared::new(Store::new(bound.nodes));
        Self {
            coordinators: (1..=1 + u64::from(bound.deposed))
                .map(|term| Shared::new(Coordinator::from_store(&store, term, model)))
                .collect(),
            nodes: nodes.into_iter().map(Shared::new).collect(),
            store,
            network: Network::default(),
            left: Left {
                handoffs: bound.handoffs,
                cancels: bound.cancels,
                refusals: bound.refusals,
                precopies: bound.precopies,
                crashes: bound.crashes,
                rejoins: bound.rejoins,
                takeovers: bound.takeovers,
            },
            highest: AuthorityEpoch::FIRST,
            reported: vec![AuthorityEpoch::FIRST; 1 + usize::from(bound.deposed)],
            durable: contents,
            broken: None,
        }
    }

    /// The node that this life is of, if it is its present one and runs.
    pub(super) fn running(&self, life: Peer) -> Option<usize> {
        let index = index_of(life);
        self.nodes.get(index).filter(|node| node.up && node.me == life).map(|_| index)
    }

    pub(super) fn break_once(&mut self, broken: Broken) {
        self.broken = self.broken.or(Some(broken));
    }

    /// That node is active at this epoch from now on, and reports it.
    pub(super) fn activated(&mut self, index: usize, epoch: AuthorityEpoch) {
        let seen = self.nodes[index].participant.round().term.0;
        for (coordinator, reported) in self.coordinators.iter().zip(&mut self.reported) {
            if coordinator.term >= seen {
                *reported = epoch.max(*reported);
            }
        }
        if epoch <= self.highest {
            self.break_once(Broken::EpochWentBack);
        }
        self.highest = self.highest.max(epoch);
    }
}
