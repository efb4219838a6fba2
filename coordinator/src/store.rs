//! Where characters are kept while nobody plays them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::authenticator::BoxFuture;

/// Characters that a [`MemoryStore`] keeps by default.
pub const MEMORY_CHARACTERS_MAX: usize = 65_536;
/// Bytes that a [`MemoryStore`] keeps by default: 256 MiB.
pub const MEMORY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Why a character couldn't be loaded or saved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct StoreError {
    /// What went wrong.
    pub cause: String,
}

/// Keeps characters by name, as opaque snapshots.
///
/// Calls for one name come one after the other, in the order in which they were made; calls for different names run
/// at the same time. One that takes longer than [`STORE_PATIENCE`](crate::STORE_PATIENCE) is dropped and counts as failed.
pub trait CharacterStore: fmt::Debug + Send + Sync + 'static {
    /// The character as it was last saved; none if it is not known.
    ///
    /// # Errors
    /// [`StoreError`]; the player is then asked to try again.
    fn load<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>>;

    /// Keeps `character`. Once it returns `Ok`, a later `load` must give it back.
    ///
    /// # Errors
    /// [`StoreError`]; the node keeps the character and asks again.
    fn save<'a>(&'a self, name: &'a str, character: Bytes) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Keeps characters in memory, up to a limit: for development and tests. They are gone when the process ends.
#[derive(Debug)]
pub struct MemoryStore {
    characters_max: usize,
    bytes_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    characters: BTreeMap<String, Bytes>,
    /// Invariant: the sum of the characters' lengths.
    bytes: usize,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(MEMORY_CHARACTERS_MAX, MEMORY_BYTES_MAX)
    }
}

impl MemoryStore {
    /// A store for at most so many characters and bytes; saving past either fails.
    #[must_use]
    pub fn new(characters_max: usize, bytes_max: usize) -> Self {
        Self { characters_max, bytes_max, kept: Mutex::default() }
    }

    fn put(&self, name: &str, character: Bytes) -> Result<(), StoreError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let former = kept.characters.get(name).map(Bytes::len);
        if former.is_none() && kept.characters.len() >= self.characters_max {
            return Err(StoreError {
                cause: format!("the memory holds {} characters already", self.characters_max),
            });
        }
        let bytes = kept.bytes - former.unwrap_or(0) + character.len();
        if bytes > self.bytes_max {
            return Err(StoreError { cause: format!("the memory holds {} bytes already", kept.bytes) });
        }
        kept.bytes = bytes;
        // A slice of a larger buffer would keep all of it.
        kept.characters.insert(name.to_owned(), Bytes::copy_from_slice(&character));
        Ok(())
    }
}

impl CharacterStore for MemoryStore {
    fn load<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let character = kept.characters.get(name).cloned();
        Box::pin(std::future::ready(Ok(character)))
    }

    fn save<'a>(&'a self, name: &'a str, character: Bytes) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(std::future::ready(self.put(name, character)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_saved_character_is_loaded_and_replaced() {
        let store = MemoryStore::default();
        assert_eq!(store.load("ada").await, Ok(None));
        store.save("ada", Bytes::from_static(b"one")).await.unwrap();
        store.save("ada", Bytes::from_static(b"two")).await.unwrap();
        assert_eq!(store.load("ada").await, Ok(Some(Bytes::from_static(b"two"))));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_full_memory_refuses_new_characters_and_keeps_the_old() {
        let store = MemoryStore::new(1, 4);
        store.save("ada", Bytes::from_static(b"1234")).await.unwrap();
        assert!(store.save("bob", Bytes::new()).await.is_err());
        assert!(store.save("ada", Bytes::from_static(b"12345")).await.is_err());
        store.save("ada", Bytes::from_static(b"4321")).await.unwrap();
        assert_eq!(store.load("ada").await, Ok(Some(Bytes::from_static(b"4321"))));
    }
}
