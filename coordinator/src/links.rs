//! Links to nodes: who may have one, and the way of messages in and out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use selvedge_certs::Role;
use selvedge_protocol::coordinator::{CoordinatorInput, LiveProcess};
use selvedge_protocol::id::{Incarnation, NodeId, Term};
use selvedge_protocol::wire::{self, Hello, Message};
use selvedge_transport::{Lane, Link, LinkEvent, PeerName};

/// The hello that a coordinator sends.
pub(crate) fn own_hello(world: &str, term: Term) -> Bytes {
    wire::encode_hello(&Hello {
        world: world.to_owned(),
        peer: None,
        process: 0,
        term: Some(term),
        schema_min: 0,
        schema_max: u32::MAX,
    })
}

/// Which process is which node, as the machine last said: what the hello check goes by, on the endpoint's tasks.
#[derive(Clone, Default, Debug)]
pub(crate) struct Lives(Arc<Mutex<BTreeMap<NodeId, LiveProcess>>>);

impl Lives {
    pub(crate) fn set(&self, node: NodeId, live: Option<LiveProcess>) {
        let mut lives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match live {
            Some(live) => drop(lives.insert(node, live)),
            None => drop(lives.remove(&node)),
        }
    }

    pub(crate) fn judge(&self, node: NodeId, process: u64) -> Result<(), String> {
        let lives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lives.get(&node).map_or(Ok(()), |live| live.judge(process))
    }
}

/// Whether a peer may be linked, by its certificate and its hello; the error is what both ends log.
pub(crate) fn check_hello(world: &str, lives: &Lives, peer: &PeerName, hello: &[u8]) -> Result<(), String> {
    let Role::Node(certified) = peer.role() else {
        return Err(format!("{peer} is not a node: only nodes register with a coordinator"));
    };
    let hello = Bytes::copy_from_slice(hello);
    let hello = wire::decode_hello(&hello).map_err(|error| format!("the hello can't be read: {error}"))?;
    if hello.world != world {
        return Err(format!("this coordinator serves the world {world:?}, not {:?}", hello.world));
    }
    let claimed = hello.peer.map(|peer| peer.node);
    if claimed.is_some_and(|claimed| claimed != NodeId::from(*certified)) {
        return Err(format!("the certificate is that of node {certified}, the hello names another"));
    }
    lives.judge(NodeId::from(*certified), hello.process)
}

struct Held {
    link: Link,
    incarnation: Option<Incarnation>,
}

/// The links that are up.
#[derive(Default)]
pub(crate) struct Links {
    up: BTreeMap<NodeId, Held>,
}

impl Links {
    /// Takes what a link says. Gives what the machine is to be told; bytes that are no message close the link.
    pub(crate) fn on_event(&mut self, event: LinkEvent) -> Option<CoordinatorInput> {
        match event {
            LinkEvent::Up { peer, hello, link } => {
                let node = node_of(&peer)?;
                let incarnation =
                    wire::decode_hello(&hello).ok().and_then(|hello| hello.peer).map(|peer| peer.incarnation);
                tracing::info!(%node, incarnation = incarnation.map(|life| life.0), "link up");
                self.up.insert(node, Held { link, incarnation });
                Some(CoordinatorInput::LinkUp { node })
            }
            LinkEvent::Down { peer, reason } => {
                let node = node_of(&peer)?;
                tracing::info!(%node, reason, "link down");
                self.up.remove(&node);
                Some(CoordinatorInput::LinkDown { node })
            }
            LinkEvent::Message { peer, lane, payload } => {
                tracing::trace!(%peer, %lane, bytes = payload.len(), "message");
                self.on_payload(node_of(&peer)?, &payload)
            }
            LinkEvent::Datagram { peer, payload } => self.on_payload(node_of(&peer)?, &payload),
            LinkEvent::DialFailed { peer, reason, .. } => {
                // A coordinator dials nobody.
                tracing::debug!(%peer, reason, "dial failed");
                None
            }
        }
    }

    fn on_payload(&mut self, from: NodeId, payload: &Bytes) -> Option<CoordinatorInput> {
        let held = self.up.get(&from)?;
        match wire::decode_mesh(payload) {
            Ok(frame) => Some(CoordinatorInput::Message {
                from,
                incarnation: held.incarnation,
                message: frame.message,
                blob: frame.blob,
            }),
            Err(error) => {
                tracing::warn!(node = %from, %error, "a node sent what is no message: link closed");
                held.link.close(&format!("unreadable message: {error}"));
                None
            }
        }
    }

    /// Sends a message, or drops it if there is no link: the machine repeats what matters.
    pub(crate) fn send(&self, to: NodeId, lane: wire::Lane, message: &Message, blob: Bytes) {
        let Some(held) = self.up.get(&to) else {
            tracing::debug!(node = %to, "no link: message dropped");
            return;
        };
        let head = wire::encode_mesh(message);
        let sent = match transport_lane(lane) {
            Some(lane) => held.link.send(lane, head, blob),
            None => held.link.send_datagram(head),
        };
        if let Err(error) = sent {
            tracing::debug!(node = %to, ?lane, %error, "message not sent");
        }
    }
}

fn node_of(peer: &PeerName) -> Option<NodeId> {
    match peer.role() {
        Role::Node(uuid) => Some(NodeId::from(*uuid)),
        Role::Coordinator(_) | Role::Server(_) => None,
    }
}

/// The transport's lane; none for datagrams.
fn transport_lane(lane: wire::Lane) -> Option<Lane> {
    match lane {
        wire::Lane::Control => Some(Lane::Control),
        wire::Lane::Cutover => Some(Lane::Cutover),
        wire::Lane::Action => Some(Lane::Action),
        wire::Lane::Precopy => Some(Lane::Precopy),
        wire::Lane::Checkpoint => Some(Lane::Checkpoint),
        wire::Lane::Datagram => None,
    }
}

#[cfg(test)]
mod tests {
    use selvedge_certs::WorldName;
    use selvedge_protocol::id::Peer;

    use super::*;

    fn hello(world: &str, node: Option<u128>) -> Bytes {
        let peer = node.map(|node| Peer { node: NodeId::from_u128(node), incarnation: Incarnation(3) });
        let (schema_min, schema_max) = (1, 1);
        let world = world.into();
        wire::encode_hello(&Hello { world, peer, process: 77, term: None, schema_min, schema_max })
    }

    fn judged(peer: &PeerName, hello: &Bytes) -> Result<(), String> {
        check_hello("aerie", &Lives::default(), peer, hello)
    }

    #[test]
    fn only_nodes_of_this_world_under_their_own_name_are_linked() {
        let world = WorldName::new("aerie").unwrap();
        let node = PeerName::node(&world, 7u128.to_be_bytes());
        let coordinator = PeerName::coordinator(&world, "a").unwrap();
        assert_eq!(judged(&node, &hello("aerie", None)), Ok(()));
        assert_eq!(judged(&node, &hello("aerie", Some(7))), Ok(()));
        assert!(judged(&node, &hello("aerie", Some(8))).unwrap_err().contains("another"));
        assert!(judged(&node, &hello("other", None)).unwrap_err().contains("other"));
        assert!(judged(&coordinator, &hello("aerie", None)).unwrap_err().contains("not a node"));
        assert!(judged(&node, &Bytes::new()).is_err());
    }

    #[test]
    fn while_one_process_is_a_node_no_other_is_linked_as_it() {
        let world = WorldName::new("aerie").unwrap();
        let (lives, node) = (Lives::default(), NodeId::from_u128(7));
        let name = PeerName::node(&world, 7u128.to_be_bytes());
        let live = |process| {
            let peer = Peer { node, incarnation: Incarnation(3) };
            LiveProcess { process, peer, mesh_addr: "10.0.0.7:7300".to_owned() }
        };
        lives.set(node, Some(live(76)));
        let reason = check_hello("aerie", &lives, &name, &hello("aerie", None)).unwrap_err();
        assert!(reason.contains("another process") && reason.contains("10.0.0.7:7300"), "{reason}");
        lives.set(node, Some(live(77)));
        assert_eq!(check_hello("aerie", &lives, &name, &hello("aerie", None)), Ok(()));
        lives.set(node, None);
        assert_eq!(check_hello("aerie", &lives, &name, &hello("aerie", None)), Ok(()));
    }
}
