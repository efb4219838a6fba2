//! Characters in a file.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::file::{Kind, SealedFile};
use super::{DiskError, Folder};
use crate::authenticator::BoxFuture;
use crate::store::{CharacterStore, StoreError};

const KIND: Kind = Kind { name: "characters", format: 2, loss: "every player begins with a new character" };

/// Keeps characters in a redb file, each save synced before it counts as done.
#[derive(Debug, Clone)]
pub struct RedbStore {
    file: Arc<SealedFile>,
    path: PathBuf,
}

impl RedbStore {
    pub(crate) fn open(folder: &Folder) -> Result<Self, DiskError> {
        let path = KIND.path(folder.path());
        let (file, _) =
            folder.with_reset(&path, KIND.loss, || SealedFile::open(&path, KIND, &folder.world))?;
        Ok(Self { file: Arc::new(file), path })
    }

    /// Runs what waits for the disk on a thread that may wait.
    async fn on_disk<T: Send + 'static>(
        &self,
        visit: impl FnOnce(&SealedFile) -> Result<T, String> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = Arc::clone(&self.file);
        let done = tokio::task::spawn_blocking(move || visit(&file)).await;
        let failed = |cause: String| StoreError { cause: format!("{}: {cause}", self.path.display()) };
        match done {
            Ok(done) => done.map_err(failed),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

impl CharacterStore for RedbStore {
    fn load<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        let name = name.to_owned();
        Box::pin(async move { Ok(self.on_disk(move |file| file.get(&name)).await?.map(Bytes::from)) })
    }

    fn save<'a>(&'a self, name: &'a str, character: Bytes) -> BoxFuture<'a, Result<(), StoreError>> {
        let row = (name.to_owned(), Some(character.to_vec()));
        Box::pin(self.on_disk(move |file| file.put(&[row])))
    }
}
