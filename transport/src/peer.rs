//! The name of the process at a link's other end.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use selvedge_certs::{NameError, Role, SpiffeId, WorldName};
use serde::{Serialize, Serializer};

/// Who a link leads to: a mesh identity that is cheap to clone and to compare.
///
/// Ordered by world, then nodes by UUID before coordinators by name. Where two processes dial each other at
/// once, the connection that the lower one dialled stays.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerName(Arc<SpiffeId>);

impl PeerName {
    /// The name of the process that holds `id`.
    pub fn new(id: SpiffeId) -> Self {
        Self(Arc::new(id))
    }

    /// The name of a node, by the bytes of its UUID.
    pub fn node(world: &WorldName, node: [u8; 16]) -> Self {
        let role = Role::Node(selvedge_certs::Uuid::from_bytes(node));
        Self::new(SpiffeId { world: world.clone(), role })
    }

    /// The name of a coordinator.
    ///
    /// # Errors
    /// [`NameError::Label`] if `name` can't be part of a DNS label.
    pub fn coordinator(world: &WorldName, name: &str) -> Result<Self, NameError> {
        SpiffeId::new(world.clone(), Role::Coordinator(name.to_owned())).map(Self::new)
    }

    /// The identity behind the name.
    pub fn id(&self) -> &SpiffeId {
        &self.0
    }

    /// What the peer is in the mesh.
    pub fn role(&self) -> &Role {
        &self.0.role
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerName({})", self.0)
    }
}

impl FromStr for PeerName {
    type Err = NameError;

    fn from_str(uri: &str) -> Result<Self, NameError> {
        uri.parse().map(Self::new)
    }
}

impl From<SpiffeId> for PeerName {
    fn from(id: SpiffeId) -> Self {
        Self::new(id)
    }
}

impl Serialize for PeerName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
