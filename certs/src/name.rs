//! Who is who: worlds, roles, and the URI and DNS names that carry them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Most bytes in a world's, a coordinator's or a server's name, so that every DNS label made of it fits in 63.
pub const NAME_BYTES_MAX: usize = 40;

const SCHEME: &str = "spiffe://";
const DNS_SUFFIX: &str = "selvedge";

/// A name or an identity that isn't well formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty, too long, or has a character that a DNS label can't carry.
    #[error(
        "{what} name {name:?} is not usable: use 1 to {NAME_BYTES_MAX} of a-z, 0-9 and '-', not beginning or ending with '-'"
    )]
    Label {
        /// What the name is for: `world`, `coordinator` or `server`.
        what: &'static str,
        /// The name as given.
        name: String,
    },
    /// The URI isn't an identity of a Selvedge mesh.
    #[error(
        "{uri:?} is not a mesh identity: expected spiffe://<world>/node/<uuid>, /coordinator/<name> or /server/<name>"
    )]
    Uri {
        /// The URI as given.
        uri: String,
    },
}

fn check_label(what: &'static str, name: &str) -> Result<(), NameError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let well_formed = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if well_formed { Ok(()) } else { Err(NameError::Label { what, name: name.chars().take(80).collect() }) }
}

/// The name of a world: a lowercase DNS label of at most [`NAME_BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorldName(String);

impl WorldName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`NameError::Label`] if a DNS label can't carry it.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        check_label("world", &name)?;
        Ok(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for WorldName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl TryFrom<String> for WorldName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl From<WorldName> for String {
    fn from(name: WorldName) -> String {
        name.0
    }
}

/// The kind of a [`Role`], without who plays it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleKind {
    /// A game-server process.
    Node,
    /// The process that assigns cells.
    Coordinator,
    /// An endpoint that players connect to.
    Server,
}

impl RoleKind {
    /// The word that stands for the kind in identities: `node`, `coordinator` or `server`.
    pub fn as_str(self) -> &'static str {
        match self {
            RoleKind::Node => "node",
            RoleKind::Coordinator => "coordinator",
            RoleKind::Server => "server",
        }
    }
}

impl fmt::Display for RoleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a certificate's holder is in the mesh. Ordered: nodes by UUID, then coordinators, then servers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A game-server process, by its node id.
    Node(Uuid),
    /// A coordinator, by name.
    Coordinator(String),
    /// A client-facing endpoint, by name.
    Server(String),
}

impl Role {
    /// The kind of role.
    pub fn kind(&self) -> RoleKind {
        match self {
            Role::Node(_) => RoleKind::Node,
            Role::Coordinator(_) => RoleKind::Coordinator,
            Role::Server(_) => RoleKind::Server,
        }
    }

    /// Checks the name inside.
    ///
    /// # Errors
    /// [`NameError::Label`] if the coordinator's or server's name can't be a part of a DNS label.
    pub fn check(&self) -> Result<(), NameError> {
        match self {
            Role::Node(_) => Ok(()),
            Role::Coordinator(name) => check_label("coordinator", name),
            Role::Server(name) => check_label("server", name),
        }
    }

    fn name(&self) -> String {
        match self {
            Role::Node(id) => id.to_string(),
            Role::Coordinator(name) | Role::Server(name) => name.clone(),
        }
    }
}

/// A mesh identity: `spiffe://<world>/node/<uuid>`, `/coordinator/<name>` or `/server/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    /// The world that the identity belongs to.
    pub world: WorldName,
    /// What its holder is there.
    pub role: Role,
}

impl SpiffeId {
    /// The identity of `role` in `world`.
    ///
    /// # Errors
    /// [`NameError::Label`] if the role's name isn't well formed.
    pub fn new(world: WorldName, role: Role) -> Result<Self, NameError> {
        role.check()?;
        Ok(Self { world, role })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.world, self.role.kind(), self.role.name())
    }
}

impl FromStr for SpiffeId {
    type Err = NameError;

    fn from_str(uri: &str) -> Result<Self, NameError> {
        let malformed = || NameError::Uri { uri: uri.chars().take(200).collect() };
        let mut parts = uri.strip_prefix(SCHEME).ok_or_else(malformed)?.split('/');
        let (Some(world), Some(kind), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed());
        };
        let role = match kind {
            "node" => {
                let id = Uuid::try_parse(name).map_err(|_| malformed())?;
                // One spelling only, so that two different URIs never mean the same node.
                if id.to_string() != name {
                    return Err(malformed());
                }
                Role::Node(id)
            }
            "coordinator" => Role::Coordinator(name.to_owned()),
            "server" => Role::Server(name.to_owned()),
            _ => return Err(malformed()),
        };
        Self::new(WorldName::new(world)?, role)
    }
}

/// The DNS name that stands in an identity's certificate and that is used as TLS server name to reach it,
/// such as `node-<uuid>.<world>.selvedge`. It is never resolved.
pub fn server_name(id: &SpiffeId) -> String {
    format!("{}-{}.{}.{DNS_SUFFIX}", id.role.kind(), id.role.name(), id.world)
}

/// The URI that marks a CA as that of `world`.
pub(crate) fn authority_uri(world: &WorldName) -> String {
    format!("{SCHEME}{world}")
}

/// The world of a CA's URI.
pub(crate) fn world_of_authority_uri(uri: &str) -> Result<WorldName, NameError> {
    let malformed = || NameError::Uri { uri: uri.chars().take(200).collect() };
    WorldName::new(uri.strip_prefix(SCHEME).ok_or_else(malformed)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_its_text() {
        let world = WorldName::new("aerie-7").unwrap();
        for role in
            [Role::Node(Uuid::from_u128(7)), Role::Coordinator("a".into()), Role::Server("eu-1".into())]
        {
            let id = SpiffeId::new(world.clone(), role).unwrap();
            assert_eq!(id.to_string().parse::<SpiffeId>().unwrap(), id);
        }
    }

    #[test]
    fn names_that_a_dns_label_cannot_carry_are_refused() {
        for name in ["", "Upper", "under_score", "-a", "a-", "a.b", "a b", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(WorldName::new(name).is_err(), "{name:?} was accepted");
        }
    }

    #[test]
    fn foreign_uris_are_refused() {
        for uri in [
            "https://w/node/1",
            "spiffe://w",
            "spiffe://w/node/not-a-uuid",
            "spiffe://w/node/00000000-0000-0000-0000-00000000000A",
            "spiffe://w/king/arthur",
            "spiffe://w/server/a/b",
            "spiffe:///server/a",
        ] {
            assert!(uri.parse::<SpiffeId>().is_err(), "{uri} was accepted");
        }
    }

    #[test]
    fn every_server_name_is_made_of_valid_dns_labels() {
        let world = WorldName::new("w".repeat(NAME_BYTES_MAX)).unwrap();
        let id = SpiffeId::new(world, Role::Coordinator("c".repeat(NAME_BYTES_MAX))).unwrap();
        assert!(server_name(&id).split('.').all(|label| (1..=63).contains(&label.len())));
    }
}
