//! The machine's records in a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use selvedge_protocol::coordinator::{CoordinatorImage, Record, RestoreError};
use tokio::task::JoinHandle;

use super::file::{Kind, SealedFile};
use super::{DiskError, Folder, move_aside};

const KIND: Kind = Kind {
    name: "coordinator",
    format: 3,
    loss: "every node that runs is told to begin anew with empty hands, and every player enters anew",
};

/// Keeps the machine's records, one commit at a time; in memory it keeps nothing.
#[derive(Debug)]
pub(crate) struct Ledger {
    kept: Option<Kept>,
    under_way: Option<JoinHandle<Result<(), String>>>,
}

#[derive(Debug)]
struct Kept {
    file: Arc<SealedFile>,
    folder: Folder,
    path: PathBuf,
}

impl Ledger {
    /// A ledger that forgets everything with the process.
    pub(crate) const fn in_memory() -> Self {
        Self { kept: None, under_way: None }
    }

    /// A new one on a disk of the test's own; the folder is only named.
    #[cfg(test)]
    pub(crate) fn on(disk: impl redb::StorageBackend, folder: Folder) -> Self {
        let path = KIND.path(folder.path());
        let kept = Kept { file: Arc::new(SealedFile::on(disk)), folder, path };
        Self { kept: Some(kept), under_way: None }
    }

    /// Opens the file, or makes it, and reads what is in it. Where nothing is remembered the image begins at `floor`.
    pub(crate) fn open(folder: Folder, floor: u64) -> Result<(Self, CoordinatorImage), DiskError> {
        let path = KIND.path(folder.path());
        let (file, image) = folder.with_reset(&path, KIND.loss, || read(&path, &folder.world, floor))?;
        let kept = Kept { file: Arc::new(file), folder, path };
        Ok((Self { kept: Some(kept), under_way: None }, image))
    }

    /// The machine can't go on from what was kept: if that was asked for, moves it aside and begins at `floor`.
    pub(crate) fn begin_again(
        self,
        error: &RestoreError,
        floor: u64,
    ) -> Result<(Self, CoordinatorImage), DiskError> {
        let Some(Kept { file, folder, path }) = self.kept else {
            return Ok((Self::in_memory(), CoordinatorImage::beginning_at(floor)));
        };
        drop(file);
        let unusable = DiskError::Unusable { path: path.clone(), cause: error.to_string(), loss: KIND.loss };
        if !folder.reset {
            return Err(unusable);
        }
        let aside = move_aside(&path)?;
        tracing::warn!(
            file = %path.display(), moved_to = %aside.display(), cause = %unusable,
            "the store's file could not be used and was moved aside: {}", KIND.loss
        );
        Self::open(folder, floor)
    }

    /// Where it is; none if it is in memory.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.kept.as_ref().map(|kept| &*kept.path)
    }

    /// Keeps records and waits for the disk.
    pub(crate) fn commit_now(&self, records: &[Record]) -> Result<(), String> {
        self.kept.as_ref().map_or(Ok(()), |kept| kept.file.put(&rows(records)))
    }

    /// Begins to keep records; [`done`](Self::done) says when they are durable. False if there is nothing to wait for.
    pub(crate) fn begin(&mut self, records: &[Record]) -> bool {
        let Some(kept) = self.kept.as_ref().filter(|_| !records.is_empty()) else {
            return false;
        };
        let (file, rows) = (Arc::clone(&kept.file), rows(records));
        self.under_way = Some(tokio::task::spawn_blocking(move || file.put(&rows)));
        true
    }

    /// Whether records are being kept at the moment.
    pub(crate) const fn is_busy(&self) -> bool {
        self.under_way.is_some()
    }

    /// Waits for the commit under way; for ever if there is none. Can be dropped without losing the outcome.
    pub(crate) async fn done(&mut self) -> Result<(), String> {
        let Some(under_way) = &mut self.under_way else {
            return std::future::pending().await;
        };
        let outcome = under_way.await.unwrap_or_else(|error| Err(error.to_string()));
        self.under_way = None;
        outcome
    }
}

fn rows(records: &[Record]) -> Vec<(String, Option<Vec<u8>>)> {
    records.iter().map(|record| (record.key(), record.value())).collect()
}

fn read(path: &Path, world: &str, floor: u64) -> Result<(SealedFile, CoordinatorImage), DiskError> {
    let damaged = |cause: String| DiskError::Damaged { path: path.to_owned(), cause, loss: KIND.loss };
    let (file, _) = SealedFile::open(path, KIND, world)?;
    let rows = file.all().map_err(damaged)?;
    if rows.is_empty() {
        return Ok((file, CoordinatorImage::beginning_at(floor)));
    }
    let image = CoordinatorImage::from_rows(rows.iter().map(|(key, value)| (&key[..], &value[..])));
    let image = image.map_err(|error| damaged(error.to_string()))?;
    Ok((file, image))
}
