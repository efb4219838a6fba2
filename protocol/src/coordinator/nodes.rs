//! Nodes as the coordinator sees them: registration, heartbeats, leases, and the cells dealt to them.

use std::sync::Arc;

use super::{Coordinator, CoordinatorEvent, CoordinatorOutput, LiveProcess, NodeStatus, TimerKey};
use crate::cell_map::{CellMap, NodeEntry};
use crate::id::{Incarnation, NodeId, Peer};
use crate::limits::NODES_MAX;
use crate::plan;
use crate::time::Time;
use crate::wire::{Load, Message};

/// Where a node is reached.
#[derive(Debug)]
pub(super) struct Addresses {
    pub(super) mesh_addr: String,
    pub(super) client_addr: String,
    pub(super) server_name: String,
}

/// One registered node.
#[derive(Debug)]
pub(super) struct NodeRecord {
    pub(super) entry: NodeEntry,
    pub(super) alive: bool,
    process: u64,
    /// Whether a link to this very process is up.
    linked: bool,
    /// Whether the runtime was told that no other process may say hello as this node.
    guarded: bool,
    last_heard: Time,
    load: Load,
}

impl NodeRecord {
    pub(super) fn peer(&self) -> Peer {
        self.entry.peer
    }

    /// Whether another process that calls itself this node is to be refused.
    const fn stands(&self) -> bool {
        self.alive && self.linked
    }

    fn live_process(&self) -> LiveProcess {
        LiveProcess { process: self.process, peer: self.peer(), mesh_addr: self.entry.mesh_addr.clone() }
    }

    pub(super) fn status(&self, map: &CellMap, now: Time) -> NodeStatus {
        let Peer { node, incarnation } = self.entry.peer;
        NodeStatus {
            node,
            incarnation,
            alive: self.alive,
            linked: self.linked,
            last_heard_us: u64::try_from(now.since(self.last_heard).as_micros()).unwrap_or(u64::MAX),
            mesh_addr: self.entry.mesh_addr.clone(),
            client_addr: self.entry.client_addr.clone(),
            cells: map.cells_of(node).count(),
            entities: self.load.entities,
            players: self.load.players,
            ghosts: self.load.ghosts,
            clients: self.load.clients,
            handoffs_in: self.load.handoffs_in,
        }
    }
}

impl Coordinator {
    /// The link to a node is down: another process may take its place.
    pub(super) fn on_link_down(&mut self, node: NodeId) {
        if let Some(record) = self.nodes.get_mut(&node) {
            record.linked = false;
            self.tell_standing(node);
        }
    }

    /// Tells the runtime who may say hello as this node, if that has changed.
    fn tell_standing(&mut self, node: NodeId) {
        let Some(record) = self.nodes.get_mut(&node) else {
            return;
        };
        let stands = record.stands();
        if core::mem::replace(&mut record.guarded, stands) != stands {
            let live = stands.then(|| record.live_process());
            self.outputs.push_back(CoordinatorOutput::Standing { node, live });
        }
    }

    pub(super) fn on_register(&mut self, node: NodeId, process: u64, addresses: Addresses, now: Time) {
        if let Some(known) = self.nodes.get_mut(&node) {
            if known.process == process {
                // The answer was lost: the same life is told the same.
                known.last_heard = now;
                known.linked = true;
                self.tell_standing(node);
                self.welcome(node);
                return;
            }
            // It said hello before the other one had registered.
            let refused = known.live_process().judge(process);
            if let (true, Err(reason)) = (known.stands(), refused) {
                self.send(node, Message::RegisterRefused { reason });
                return;
            }
            let ended = known.peer();
            self.forget_life(ended, now);
        } else if self.nodes.len() >= NODES_MAX {
            let reason = format!("the mesh has {NODES_MAX} nodes already");
            self.send(node, Message::RegisterRefused { reason });
            return;
        }
        self.last_incarnation = Incarnation(self.last_incarnation.0 + 1);
        let peer = Peer { node, incarnation: self.last_incarnation };
        let Addresses { mesh_addr, client_addr, server_name } = addresses;
        let entry = NodeEntry { peer, mesh_addr, client_addr, server_name };
        let load = Load::default();
        let record =
            NodeRecord { entry, alive: true, process, linked: true, guarded: false, last_heard: now, load };
        self.nodes.insert(node, record);
        self.tell_standing(node);
        self.timers.set(TimerKey::Lease(node), now + self.config.lease);
        self.event(CoordinatorEvent::NodeJoined { peer });
        self.deal_cells();
        self.welcome(node);
    }

    fn welcome(&mut self, node: NodeId) {
        let Some(record) = self.nodes.get(&node) else {
            return;
        };
        let world = &self.config.world;
        let message = Message::Registered {
            term: self.term,
            incarnation: record.peer().incarnation,
            grid: world.grid,
            tick_interval_us: u64::try_from(world.tick_interval.as_micros()).unwrap_or(u64::MAX),
            interest_margin_m: world.interest_margin_m,
            map: self.map.to_image(),
        };
        self.send_map(node, message);
    }

    /// Deals the cells to the nodes present, and tells everybody what changed.
    fn deal_cells(&mut self) {
        if self.nodes.len() < self.config.nodes_min {
            return;
        }
        let present: Vec<NodeId> = self.nodes.keys().copied().collect();
        let owners = plan::assign_uniform(&self.grid, &present, &self.config.pinned);
        let entries = self.nodes.iter().map(|(&node, record)| (node, record.entry.clone())).collect();
        let cells_moved =
            owners.iter().filter(|(cell, owner)| self.map.owners().get(*cell) != Some(*owner)).count();
        let version = self.map.version() + 1;
        let Ok(map) = CellMap::with(version, owners, entries) else {
            return;
        };
        let diff = map.diff_from(&self.map);
        self.map = Arc::new(map);
        let term = self.term;
        for node in present {
            self.send_map(node, Message::MapDiff { term, diff: diff.clone() });
        }
        self.event(CoordinatorEvent::MapChanged { version, cells_moved });
    }

    pub(super) fn on_heartbeat(
        &mut self,
        from: NodeId,
        incarnation: Incarnation,
        sent_at: Time,
        map_version: u64,
        load: Load,
        now: Time,
    ) {
        let Some(record) = self.nodes.get_mut(&from).filter(|known| known.peer().incarnation == incarnation)
        else {
            let reason =
                format!("incarnation {incarnation} of node {from} is of the past, or was never granted");
            self.send(from, Message::RegisterRefused { reason });
            return;
        };
        record.last_heard = now;
        record.linked = true;
        record.load = load;
        let returned = !record.alive;
        record.alive = true;
        let peer = record.peer();
        self.tell_standing(from);
        if returned {
            self.timers.set(TimerKey::Lease(from), now + self.config.lease);
            self.event(CoordinatorEvent::LeaseRenewed { peer });
        }
        self.send(from, Message::HeartbeatReply { term: self.term, sent_at, mesh_time: now });
        if map_version < self.map.version() {
            let (term, map) = (self.term, self.map.to_image());
            self.send_map(from, Message::MapWhole { term, map });
        }
    }

    /// Notices a lease that ran out. The node keeps its cells: taking them away needs fencing.
    pub(super) fn on_lease_due(&mut self, node: NodeId, now: Time) {
        let Some(record) = self.nodes.get_mut(&node) else {
            return;
        };
        let expires_at = record.last_heard + self.config.lease;
        if expires_at > now {
            self.timers.set(TimerKey::Lease(node), expires_at);
            return;
        }
        record.alive = false;
        let (peer, last_heard) = (record.peer(), record.last_heard);
        self.tell_standing(node);
        self.outputs.push_back(CoordinatorOutput::Event(CoordinatorEvent::LeaseExpired { peer, last_heard }));
    }
}
