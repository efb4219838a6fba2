//! One redb file: made whole or not at all, checked when it is opened, every value sealed.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};

use super::DiskError;

const ABOUT: TableDefinition<'_, &str, &str> = TableDefinition::new("about");
const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");
const SEAL_BYTES: usize = 8;

/// What distinguishes one kind of file from another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// The one format that is read: grows when what is written changes its shape.
    pub(super) format: u32,
    /// What it means to begin without it.
    pub(super) loss: &'static str,
}

impl Kind {
    pub(super) fn path(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.redb", self.name))
    }
}

/// A file of sealed values by name.
#[derive(Debug)]
pub(super) struct SealedFile {
    database: Database,
}

impl SealedFile {
    /// A new one on a disk of the test's own.
    #[cfg(test)]
    pub(super) fn on(disk: impl redb::StorageBackend) -> Self {
        Self { database: Database::builder().create_with_backend(disk).unwrap() }
    }

    /// Opens the file and checks it as a whole, or makes it. Says whether it was there.
    pub(super) fn open(path: &Path, kind: Kind, world: &str) -> Result<(Self, bool), DiskError> {
        let failed = |source| DiskError::Path { path: path.to_owned(), source };
        let known = path.try_exists().map_err(failed)?;
        if !known {
            make(path, kind, world)?;
        }
        // What is read is damaged at worst in ways that its reader did not foresee.
        let opened = catch_unwind(AssertUnwindSafe(|| check(path, kind, world)));
        let file =
            opened.unwrap_or_else(|_| Err(damaged(path, kind, "its reader failed on it".to_owned())))?;
        Ok((file, known))
    }

    /// Every name with its value.
    pub(super) fn all(&self) -> Result<Vec<(String, Vec<u8>)>, String> {
        let read = || -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
            let mut all = Vec::new();
            for row in self.database.begin_read()?.open_table(VALUES)?.iter()? {
                let (name, sealed) = row?;
                all.push((name.value().to_owned(), sealed.value().to_owned()));
            }
            Ok(all)
        };
        let sealed = read().map_err(|error| error.to_string())?;
        sealed.into_iter().map(|(name, sealed)| unseal(&name, &sealed).map(|value| (name, value))).collect()
    }

    /// The value of a name, if there is one.
    pub(super) fn get(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let table = self.database.begin_read()?.open_table(VALUES)?;
            Ok(table.get(name)?.map(|sealed| sealed.value().to_owned()))
        };
        let sealed = read().map_err(|error| error.to_string())?;
        sealed.map(|sealed| unseal(name, &sealed)).transpose()
    }

    /// Writes these, removes those without a value, all or none. Durable when it returns.
    pub(super) fn put(&self, rows: &[(String, Option<Vec<u8>>)]) -> Result<(), String> {
        let write = || -> Result<(), redb::Error> {
            let mut transaction = self.database.begin_write()?;
            transaction.set_two_phase_commit(true);
            transaction.set_quick_repair(true);
            {
                let mut table = transaction.open_table(VALUES)?;
                for (name, value) in rows {
                    match value {
                        Some(value) => drop(table.insert(name.as_str(), &*seal(name, value))?),
                        None => drop(table.remove(name.as_str())?),
                    }
                }
            }
            transaction.commit()?;
            Ok(())
        };
        write().map_err(|error| error.to_string())
    }
}

fn damaged(path: &Path, kind: Kind, cause: String) -> DiskError {
    DiskError::Damaged { path: path.to_owned(), cause, loss: kind.loss }
}

/// Makes the file beside its place and puts it there whole, so that a crash leaves no half-made one.
fn make(path: &Path, kind: Kind, world: &str) -> Result<(), DiskError> {
    let failed = |source| DiskError::Path { path: path.to_owned(), source };
    let unmade = path.with_extension("new");
    let made = || -> Result<(), redb::Error> {
        match fs::remove_file(&unmade) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        let transaction_of = Database::create(&unmade)?;
        let transaction = transaction_of.begin_write()?;
        {
            let mut about = transaction.open_table(ABOUT)?;
            about.insert("kind", kind.name)?;
            about.insert("format", kind.format.to_string().as_str())?;
            about.insert("world", world)?;
            transaction.open_table(VALUES)?;
        }
        transaction.commit()?;
        Ok(())
    };
    made().map_err(|error| failed(std::io::Error::other(error)))?;
    fs::rename(&unmade, path).map_err(failed)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Opens a file that is there.
fn check(path: &Path, kind: Kind, world: &str) -> Result<SealedFile, DiskError> {
    let refused = |error: DatabaseError| {
        if matches!(error, DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch) {
            return DiskError::InUse { path: path.to_owned() };
        }
        if let DatabaseError::Storage(StorageError::Io(source)) = error {
            // That is how a file is told off which is too short or begins wrongly.
            if matches!(source.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) {
                return damaged(path, kind, source.to_string());
            }
            return DiskError::Path { path: path.to_owned(), source };
        }
        damaged(path, kind, error.to_string())
    };
    let mut database = Database::open(path).map_err(refused)?;
    // "Repaired" would mean that what was durable is gone.
    if !database.check_integrity().map_err(refused)? {
        return Err(damaged(path, kind, "its checksums are wrong".to_owned()));
    }
    let about = |key: &str| -> Result<Option<String>, redb::Error> {
        let table = database.begin_read()?.open_table(ABOUT)?;
        Ok(table.get(key)?.map(|value| value.value().to_owned()))
    };
    let fact = |key| match about(key) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(damaged(path, kind, format!("it does not say its {key}"))),
        Err(error) => Err(damaged(path, kind, error.to_string())),
    };
    if fact("kind")? != kind.name {
        return Err(damaged(path, kind, format!("it is a file of another kind: {}", fact("kind")?)));
    }
    let format = fact("format")?;
    if format.parse::<u32>().ok() != Some(kind.format) {
        return Err(DiskError::OtherFormat { path: path.to_owned(), format, known: kind.format });
    }
    let holds = fact("world")?;
    if holds != world {
        return Err(DiskError::OtherWorld { path: path.to_owned(), holds, serves: world.to_owned() });
    }
    let file = SealedFile { database };
    file.all().map_err(|cause| damaged(path, kind, cause))?;
    Ok(file)
}

/// The value, behind what shows that it belongs to the name and has not changed.
fn seal(name: &str, value: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(SEAL_BYTES + value.len());
    sealed.extend_from_slice(&fingerprint(name, value).to_le_bytes());
    sealed.extend_from_slice(value);
    sealed
}

fn unseal(name: &str, sealed: &[u8]) -> Result<Vec<u8>, String> {
    let opened = sealed.split_first_chunk::<SEAL_BYTES>();
    match opened.filter(|(seal, value)| u64::from_le_bytes(**seal) == fingerprint(name, value)) {
        Some((_, value)) => Ok(value.to_owned()),
        None => Err(format!("what is kept under {name:?} has changed since it was written")),
    }
}

/// FNV-1a: against damage, not against malice.
fn fingerprint(name: &str, value: &[u8]) -> u64 {
    let bytes = name.bytes().chain([0]).chain(value.iter().copied());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
pub(super) fn rewrite_about(path: &Path, key: &str, value: &str) {
    let database = Database::open(path).expect("the file is good");
    let transaction = database.begin_write().expect("it can be written");
    transaction.open_table(ABOUT).expect("it says what it is").insert(key, value).expect("it can be written");
    transaction.commit().expect("it can be written");
}
