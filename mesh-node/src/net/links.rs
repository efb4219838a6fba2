//! The links to the coordinator and the other nodes: whom to keep, and how to send.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use selvedge_certs::{Role, WorldName};
use selvedge_protocol::cell_map::CellMap;
use selvedge_protocol::id::{NodeId, Peer};
use selvedge_protocol::node::{Destination, Sender};
use selvedge_protocol::wire::{Lane, Message, encode_mesh};
use selvedge_transport::{Lane as LinkLane, Link, MeshEndpoint, PeerName, SendError};
use tracing::{debug, error, trace, warn};

/// A link that is up to a node, in the life that its hello named.
#[derive(Debug)]
struct NodeLink {
    peer: Peer,
    link: Link,
}

/// All links of this node.
#[derive(Debug)]
pub(super) struct Links {
    world: WorldName,
    me: NodeId,
    coordinator: Option<Link>,
    nodes: BTreeMap<NodeId, NodeLink>,
    /// Whom the endpoint was told to keep a link to, and where.
    kept: BTreeMap<NodeId, SocketAddr>,
}

impl Links {
    pub(super) const fn new(world: WorldName, me: NodeId) -> Self {
        Self { world, me, coordinator: None, nodes: BTreeMap::new(), kept: BTreeMap::new() }
    }

    pub(super) fn coordinator_up(&mut self, link: Link) {
        self.coordinator = Some(link);
    }

    pub(super) fn coordinator_down(&mut self) {
        self.coordinator = None;
    }

    pub(super) fn node_up(&mut self, peer: Peer, link: Link) {
        self.nodes.insert(peer.node, NodeLink { peer, link });
    }

    /// Forgets the link; says whether it was up.
    pub(super) fn node_down(&mut self, node: NodeId) -> bool {
        self.nodes.remove(&node).is_some()
    }

    /// As whom the core knows the sender of a message. None if the link isn't up.
    pub(super) fn sender(&self, from: &PeerName) -> Option<Sender> {
        match from.role() {
            Role::Coordinator(_) => self.coordinator.as_ref().map(|_| Sender::Coordinator),
            Role::Node(id) => self.nodes.get(&NodeId::from(*id)).map(|node| Sender::Node(node.peer)),
            Role::Server(_) => None,
        }
    }

    /// Ends the connection to a peer that misbehaved. A peer that is kept is dialled again.
    pub(super) fn close(&self, peer: &PeerName, reason: &str) {
        let link = match peer.role() {
            Role::Coordinator(_) => self.coordinator.as_ref(),
            Role::Node(id) => self.nodes.get(&NodeId::from(*id)).map(|node| &node.link),
            Role::Server(_) => None,
        };
        if let Some(link) = link {
            link.close(reason);
        }
    }

    /// Ends the connection to a life that is over.
    pub(super) fn shun(&self, peer: Peer) {
        if let Some(node) =
            self.nodes.get(&peer.node).filter(|node| node.peer.incarnation <= peer.incarnation)
        {
            node.link.close("your life is over: register anew");
        }
    }

    /// Ends the connections to all other nodes, so that they hear this node's new hello.
    pub(super) fn close_nodes(&self, reason: &str) {
        self.nodes.values().for_each(|node| node.link.close(reason));
    }

    /// Keeps a link to every other node of the map, and drops those to nodes that are gone from it.
    pub(super) fn follow(&mut self, map: &CellMap, endpoint: &MeshEndpoint) {
        let gone: Vec<NodeId> = self.kept.keys().copied().filter(|&node| map.node(node).is_none()).collect();
        for node in gone {
            self.kept.remove(&node);
            endpoint.drop_link(&self.name(node));
            debug!(%node, "link dropped: the node is gone from the map");
        }
        for (&node, entry) in map.nodes().iter().filter(|(node, _)| **node != self.me) {
            let Ok(address) = entry.mesh_addr.parse() else {
                warn!(%node, address = entry.mesh_addr, "the map has no usable address for the node");
                continue;
            };
            if self.kept.insert(node, address) != Some(address) {
                endpoint.keep_link(self.name(node), address);
            }
        }
    }

    /// Sends, if there is a link. Says whether the message was taken; the core repeats what matters.
    pub(super) fn send(&self, to: Destination, lane: Lane, message: &Message, blob: Bytes) -> bool {
        let link = match to {
            Destination::Coordinator => self.coordinator.as_ref(),
            Destination::Node(node) => self.nodes.get(&node).map(|node| &node.link),
        };
        let Some(link) = link else {
            trace!(?to, ?lane, "not sent: no link");
            return false;
        };
        let sent = match link_lane(lane) {
            Some(lane) => link.send(lane, encode_mesh(message), blob),
            // What goes as a datagram is a blob alone.
            None => link.send_datagram(blob),
        };
        match sent {
            Ok(()) => true,
            Err(cause @ (SendError::QueueFull | SendError::Closed)) => {
                debug!(?to, ?lane, %cause, "not sent");
                false
            }
            Err(cause @ SendError::TooLarge { .. }) => {
                error!(?to, ?lane, %cause, "not sent: a message of ours is past the limit");
                false
            }
        }
    }

    fn name(&self, node: NodeId) -> PeerName {
        PeerName::node(&self.world, node.as_u128().to_be_bytes())
    }
}

/// The transport's lane; none for datagrams.
const fn link_lane(lane: Lane) -> Option<LinkLane> {
    match lane {
        Lane::Control => Some(LinkLane::Control),
        Lane::Cutover => Some(LinkLane::Cutover),
        Lane::Action => Some(LinkLane::Action),
        Lane::Precopy => Some(LinkLane::Precopy),
        Lane::Checkpoint => Some(LinkLane::Checkpoint),
        Lane::Datagram => None,
    }
}
