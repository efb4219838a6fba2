//! What this node says of itself to a peer, and what it asks of the peer.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use selvedge_certs::{Role, WorldName};
use selvedge_protocol::id::{NodeId, Peer};
use selvedge_protocol::recovery::FencedLives;
use selvedge_protocol::wire::{Hello, decode_hello, encode_hello};
use selvedge_transport::{HelloCheck, PeerName};

/// What doesn't change about a node's hello.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) world: WorldName,
    /// The number that this process drew.
    pub(super) process: u64,
    pub(super) schema_min: u32,
    pub(super) schema_max: u32,
    pub(super) shunned: Shunned,
}

/// Lives whose hello is refused for ever; shared with the check of hellos.
#[derive(Clone, Debug, Default)]
pub(super) struct Shunned(Arc<Mutex<FencedLives>>);

impl Shunned {
    pub(super) fn insert(&self, peer: Peer) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fence(peer);
    }

    fn contains(&self, peer: Peer) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_fenced(peer)
    }
}

impl Facts {
    /// The hello of this node in the given life; none before it is registered.
    pub(super) fn hello(&self, peer: Option<Peer>) -> Bytes {
        encode_hello(&Hello {
            world: self.world.as_str().to_owned(),
            peer,
            process: self.process,
            term: None,
            schema_min: self.schema_min,
            schema_max: self.schema_max,
        })
    }

    /// Judges the hellos of others.
    pub(super) fn check(self, coordinator: PeerName) -> HelloCheck {
        Arc::new(move |peer, hello| self.judge(&coordinator, peer, hello))
    }

    fn judge(&self, coordinator: &PeerName, from: &PeerName, hello: &[u8]) -> Result<(), String> {
        let hello = decode_hello(&Bytes::copy_from_slice(hello))
            .map_err(|error| format!("your hello can't be read: {error}; run the same version everywhere"))?;
        if hello.world != self.world.as_str() {
            return Err(format!("you are of the world {}, this node is of {}", hello.world, self.world));
        }
        match from.role() {
            Role::Coordinator(_) if from == coordinator => Ok(()),
            Role::Coordinator(_) => Err(format!("this node takes orders from {coordinator} alone")),
            Role::Server(_) => Err("a server has no place in the mesh".to_owned()),
            Role::Node(id) => self.judge_node(NodeId::from(*id), &hello),
        }
    }

    fn judge_node(&self, certified: NodeId, hello: &Hello) -> Result<(), String> {
        match hello.peer {
            None => return Err("you have not registered yet".to_owned()),
            Some(peer) if peer.node != certified => {
                return Err(format!("you say that you are {}, your certificate says {certified}", peer.node));
            }
            Some(peer) if self.shunned.contains(peer) => {
                return Err(format!("your life as incarnation {} is over: register anew", peer.incarnation));
            }
            Some(_) => {}
        }
        if hello.schema_min > self.schema_max || hello.schema_max < self.schema_min {
            return Err(format!(
                "you read snapshot schemas {} to {}, this node {} to {}: update the older one",
                hello.schema_min, hello.schema_max, self.schema_min, self.schema_max
            ));
        }
        Ok(())
    }
}

/// The life that a node's hello names; the check has seen it before.
pub(super) fn life(hello: &Bytes) -> Option<Peer> {
    decode_hello(hello).ok().and_then(|hello| hello.peer)
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::id::Incarnation;

    use super::*;

    fn facts(world: &str, schema_max: u32) -> Facts {
        let (world, shunned) = (WorldName::new(world).unwrap(), Shunned::default());
        Facts { world, process: 77, schema_min: schema_max, schema_max, shunned }
    }

    fn judged(from: &PeerName, hello: &Bytes) -> Result<(), String> {
        let world = WorldName::new("aerie").unwrap();
        let coordinator = PeerName::coordinator(&world, "main").unwrap();
        facts("aerie", 1).check(coordinator)(from, hello)
    }

    fn node(id: u128) -> (PeerName, Peer) {
        let world = WorldName::new("aerie").unwrap();
        let peer = Peer { node: NodeId::from_u128(id), incarnation: Incarnation(3) };
        (PeerName::node(&world, id.to_be_bytes()), peer)
    }

    #[test]
    fn a_registered_node_of_the_same_world_is_welcome() {
        let (name, peer) = node(7);
        let hello = facts("aerie", 1).hello(Some(peer));
        judged(&name, &hello).unwrap();
        assert_eq!(life(&hello), Some(peer));
    }

    #[test]
    fn a_life_that_is_over_is_refused_and_the_next_one_is_welcome() {
        let (name, peer) = node(7);
        let facts = facts("aerie", 1);
        facts.shunned.insert(peer);
        let coordinator = PeerName::coordinator(&facts.world, "main").unwrap();
        let check = facts.clone().check(coordinator);
        assert!(check(&name, &facts.hello(Some(peer))).unwrap_err().contains("register anew"));
        let next = Peer { incarnation: Incarnation(4), ..peer };
        assert_eq!(check(&name, &facts.hello(Some(next))), Ok(()));
    }

    #[test]
    fn who_is_refused_hears_why() {
        let (name, peer) = node(7);
        let (_, other) = node(8);
        for (hello, word) in [
            (facts("aerie", 1).hello(None), "registered"),
            (facts("aerie", 1).hello(Some(other)), "certificate"),
            (facts("eyrie", 1).hello(Some(peer)), "world"),
            (facts("aerie", 2).hello(Some(peer)), "schemas"),
            (Bytes::from_static(b"nonsense"), "version"),
        ] {
            let reason = judged(&name, &hello).unwrap_err();
            assert!(reason.contains(word), "{reason}");
        }
        let world = WorldName::new("aerie").unwrap();
        let stranger = PeerName::coordinator(&world, "usurper").unwrap();
        assert!(judged(&stranger, &facts("aerie", 1).hello(None)).unwrap_err().contains("main"));
    }
}
