//! Nodes as the coordinator sees them: registration, heartbeats, and the cells dealt to them.

use std::sync::Arc;

use core::time::Duration;

use super::{Coordinator, CoordinatorEvent, CoordinatorOutput, LifeImage, LiveProcess, NodeStatus, Record};
use crate::cell_map::{CellMap, NodeEntry};
use crate::id::{Incarnation, NodeId, Peer, Term};
use crate::limits::{LIVES_MAX, LIVES_OF_NODE_MAX, NODES_MAX};
use crate::plan;
use crate::time::Time;
use crate::wire::{Assignment, Load, Message};

/// Where a node is reached.
#[derive(Debug)]
pub(super) struct Addresses {
    pub(super) mesh_addr: String,
    pub(super) client_addr: String,
    pub(super) server_name: String,
}

/// Which process a node is, and which life of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Process {
    /// The number that the process drew.
    pub(super) number: u64,
    /// Counts its lives: it asks for another when it has lost its lease.
    pub(super) life: u32,
}

/// What a heartbeat says.
#[derive(Debug)]
pub(super) struct Beat {
    pub(super) incarnation: Incarnation,
    pub(super) sent_at: Time,
    pub(super) map_version: u64,
    pub(super) mesh_time: Option<Time>,
    pub(super) reported: Term,
    pub(super) load: Load,
}

/// One registered node.
#[derive(Debug)]
pub(super) struct NodeRecord {
    pub(super) entry: NodeEntry,
    pub(super) alive: bool,
    process: Process,
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

    pub(super) const fn last_heard(&self) -> Time {
        self.last_heard
    }

    /// Whether another process that calls itself this node is to be refused.
    pub(super) const fn stands(&self) -> bool {
        self.alive && self.linked
    }

    fn live_process(&self) -> LiveProcess {
        LiveProcess {
            process: self.process.number,
            peer: self.peer(),
            mesh_addr: self.entry.mesh_addr.clone(),
        }
    }

    /// A life that a former coordinator granted.
    fn restored(life: LifeImage, now: Time) -> Self {
        let LifeImage { peer, process, life, mesh_addr, client_addr, server_name, assignments: _, over: _ } =
            life;
        Self {
            entry: NodeEntry { peer, mesh_addr, client_addr, server_name },
            alive: true,
            process: Process { number: process, life },
            linked: false,
            guarded: false,
            last_heard: now,
            load: Load::default(),
        }
    }

    /// What must be remembered of it.
    fn image(&self) -> LifeImage {
        let NodeEntry { peer, mesh_addr, client_addr, server_name } = self.entry.clone();
        let Process { number: process, life } = self.process;
        let (assignments, over) = (vec![Assignment::default()], false);
        LifeImage { peer, process, life, mesh_addr, client_addr, server_name, assignments, over }
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
    /// Goes on with a life that a former coordinator granted; the newest of a node comes last.
    pub(super) fn restore_node(&mut self, life: LifeImage, now: Time) {
        let peer = life.peer;
        let host = host_of(&life.mesh_addr);
        self.warden.restore(peer, &host, life.assignments.clone(), now);
        if let Some(former) = self.nodes.insert(peer.node, NodeRecord::restored(life, now)) {
            self.warden.superseded(former.peer(), now);
        }
    }

    /// The link to a node is down: another process may take its place.
    pub(super) fn on_link_down(&mut self, node: NodeId) {
        if let Some(record) = self.nodes.get_mut(&node) {
            record.linked = false;
            self.tell_standing(node);
        }
    }

    /// A node is suspected or over: another process may take its place.
    pub(super) fn on_not_alive(&mut self, node: NodeId) {
        if let Some(record) = self.nodes.get_mut(&node) {
            record.alive = false;
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

    pub(super) fn on_register(
        &mut self,
        node: NodeId,
        process: Process,
        addresses: Addresses,
        sent_at: Time,
        now: Time,
    ) {
        if let Some(known) = self.nodes.get_mut(&node) {
            let peer = known.peer();
            if known.process == process {
                if self.warden.heard(peer, now) {
                    // The answer was lost: the same life is told the same.
                    known.last_heard = now;
                    known.alive = true;
                    known.linked = true;
                    self.tell_standing(node);
                    self.welcome(node, sent_at);
                } else {
                    self.say_fenced(peer);
                }
                return;
            }
            if known.process.number == process.number {
                if process.life < known.process.life {
                    return;
                }
                // The same process says that its former life is over.
                self.warden.confessed(peer);
            } else {
                // It said hello before the other one had registered.
                let refused = known.live_process().judge(process.number);
                if let (true, Err(reason)) = (known.stands(), refused) {
                    self.send(node, Message::RegisterRefused { reason });
                    return;
                }
                self.warden.superseded(peer, now);
            }
            // Its place is another's from here on. What it held is dealt with once it is over.
            self.nodes.remove(&node);
            self.on_leases_due(now);
        } else if self.nodes.len() >= NODES_MAX {
            let reason = format!("the mesh has {NODES_MAX} nodes already");
            self.send(node, Message::RegisterRefused { reason });
            return;
        }
        if let Err(reason) = self.may_begin_a_life(node) {
            self.send(node, Message::RegisterRefused { reason });
            return;
        }
        self.last_incarnation = Incarnation(self.last_incarnation.0 + 1);
        let peer = Peer { node, incarnation: self.last_incarnation };
        let Addresses { mesh_addr, client_addr, server_name } = addresses;
        let host = host_of(&mesh_addr);
        let entry = NodeEntry { peer, mesh_addr, client_addr, server_name };
        let load = Load::default();
        let record =
            NodeRecord { entry, alive: true, process, linked: true, guarded: false, last_heard: now, load };
        self.persist(Record::Incarnation(self.last_incarnation));
        self.remember_life(record.image());
        self.nodes.insert(node, record);
        self.warden.admit(peer, &host, now);
        self.rounds.admit(peer);
        self.tell_standing(node);
        self.event(CoordinatorEvent::NodeJoined { peer });
        self.deal_cells();
        self.welcome(node, sent_at);
        self.on_leases_due(now);
        self.pursue_round(now);
    }

    /// Each life is kept until its recovery round is over: a node that begins one after the other has to wait for that.
    fn may_begin_a_life(&self, node: NodeId) -> Result<(), String> {
        let (first, last) = (Incarnation(0), Incarnation(u64::MAX));
        let its =
            self.lives.range(Peer { node, incarnation: first }..=Peer { node, incarnation: last }).count();
        if its < LIVES_OF_NODE_MAX && self.lives.len() < LIVES_MAX {
            return Ok(());
        }
        Err(format!(
            "{its} former lives of this node and {} of all are not settled: it may begin another once the recovery round \
             is over; if that lasts, look for a node that doesn't answer",
            self.lives.len()
        ))
    }

    fn welcome(&mut self, node: NodeId, sent_at: Time) {
        let Some(record) = self.nodes.get(&node) else {
            return;
        };
        let world = &self.config.world;
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let message = Message::Registered {
            term: self.term,
            life: record.process.life,
            sent_at,
            incarnation: record.peer().incarnation,
            lease_us: micros(self.config.lease),
            grid: world.grid,
            tick_interval_us: micros(world.tick_interval),
            interest_margin_m: world.interest_margin_m,
            map: self.map.to_image(),
        };
        self.send_map(node, message);
    }

    /// Deals the cells to the nodes present, and tells everybody what changed.
    pub(super) fn deal_cells(&mut self) {
        let starts = self.map.version() == 0;
        if self.nodes.is_empty() || (starts && self.nodes.len() < self.config.nodes_min) {
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
        self.persist(Record::Map(self.map.to_image()));
        let term = self.term;
        for node in present {
            self.send_map(node, Message::MapDiff { term, diff: diff.clone() });
        }
        self.event(CoordinatorEvent::MapChanged { version, cells_moved });
    }

    pub(super) fn on_heartbeat(&mut self, from: NodeId, beat: Beat, now: Time) {
        let Beat { incarnation, sent_at, map_version, mesh_time, reported, load } = beat;
        let peer = Peer { node: from, incarnation };
        if !self.warden.heard(peer, now) {
            self.say_fenced(peer);
            return;
        }
        let Some(record) = self.nodes.get_mut(&from) else {
            return;
        };
        record.last_heard = now;
        record.alive = true;
        record.linked = true;
        record.load = load;
        self.tell_standing(from);
        if reported == self.term {
            self.directory.on_heard_out(peer);
        }
        self.mesh_time.on_word(from, mesh_time, now);
        let mesh_time = self.mesh_time.at(now);
        if let Some(mark) = mesh_time.and_then(|told| self.mesh_time.raise_mark(told)) {
            self.persist(Record::MeshTime(mark));
        }
        self.send(from, Message::HeartbeatReply { term: self.term, sent_at, mesh_time });
        if map_version < self.map.version() {
            let (term, map) = (self.term, self.map.to_image());
            self.send_map(from, Message::MapWhole { term, map });
        }
    }
}

fn host_of(mesh_addr: &str) -> String {
    mesh_addr.rsplit_once(':').map_or_else(String::new, |(host, _)| host.to_owned())
}
