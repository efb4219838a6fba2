//! Which version of each component somebody has.

use rkyv::{Archive, Deserialize, Serialize};

use super::{COMPONENTS_MAX, NAME_BYTES_MAX, SnapshotError};

/// A component's name and version.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub struct ComponentVersion {
    /// The component's name.
    pub name: String,
    /// Its version.
    pub version: u64,
}

/// Component names and versions: what a receiver has, so that a sender can leave it out.
///
/// Archivable as it is. At most [`COMPONENTS_MAX`] entries once checked, so a plain list serves as the map.
#[derive(Clone, PartialEq, Eq, Debug, Default, Archive, Serialize, Deserialize)]
pub struct ComponentVersions {
    /// Ascending by name, if made here; one that came from a peer may not be, and nothing relies on it.
    list: Vec<ComponentVersion>,
}

impl ComponentVersions {
    /// No components: the receiver has nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// The version of the component `name`, if there is one.
    #[must_use]
    pub fn version_of(&self, name: &str) -> Option<u64> {
        self.list.iter().find(|entry| entry.name == name).map(|entry| entry.version)
    }

    /// Adds a component, or changes its version.
    pub fn set(&mut self, name: &str, version: u64) {
        match self.list.iter_mut().find(|entry| entry.name == name) {
            Some(entry) => entry.version = version,
            None => {
                let at = self.list.partition_point(|entry| entry.name.as_str() < name);
                self.list.insert(at, ComponentVersion { name: name.to_owned(), version });
            }
        }
    }

    /// The components, in the order of the list.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.list.iter().map(|entry| (entry.name.as_str(), entry.version))
    }

    /// How many components there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Checks one that came from a peer.
    ///
    /// # Errors
    /// If there are too many entries, or a name is empty, too long or there twice.
    pub fn check(&self) -> Result<(), SnapshotError> {
        if self.list.len() > COMPONENTS_MAX {
            let count = self.list.len();
            return Err(SnapshotError::TooMany { field: "component versions", count, max: COMPONENTS_MAX });
        }
        for (index, ComponentVersion { name, .. }) in self.list.iter().enumerate() {
            if name.is_empty() {
                return Err(SnapshotError::NameEmpty { field: "component name" });
            }
            if name.len() > NAME_BYTES_MAX {
                return Err(SnapshotError::NameTooLong { field: "component name", bytes: name.len() });
            }
            if self.list[..index].iter().any(|earlier| earlier.name == *name) {
                return Err(SnapshotError::DuplicateComponent { name: name.clone() });
            }
        }
        Ok(())
    }
}

impl<N: AsRef<str>> FromIterator<(N, u64)> for ComponentVersions {
    fn from_iter<I: IntoIterator<Item = (N, u64)>>(entries: I) -> Self {
        let mut versions = Self::new();
        for (name, version) in entries {
            versions.set(name.as_ref(), version);
        }
        versions
    }
}
