//! What outlives the process: two redb files in one folder, of which each is checked as a whole when it is opened.
//!
//! - `coordinator.redb`: what the machine must remember ([`Ledger`]). Without it nodes and players begin anew.
//! - `characters.redb`: what players come back to ([`RedbStore`]).
//!
//! Every commit is synced, in two phases: a power cut leaves the last commit or the one before it, never half of one. A
//! file that is damaged is refused, not repaired by guessing: what is missing from it could have been granted already.

mod characters;
mod file;
mod ledger;
#[cfg(test)]
mod tests;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use selvedge_certs::WorldName;

pub use characters::RedbStore;
pub(crate) use ledger::Ledger;

const LOCK_FILE: &str = "lock";

/// Why a store can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The folder or a file in it can't be used at all.
    #[error("cannot use the store's {path}: {source}; correct --store or the permissions", path = path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another process has it open.
    #[error(
        "the store {path} is in use: another coordinator runs on it; stop that one, or give this one a folder of its own \
         with --store",
        path = path.display()
    )]
    InUse {
        /// The folder or file.
        path: PathBuf,
    },
    /// The file is torn, or bytes in it have changed.
    #[error(
        "the store's {path} is damaged: {cause}; put a good copy in its place, or start once with --store-reset, which \
         moves it aside and begins without it ({loss})",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        cause: String,
        /// What beginning without it means.
        loss: &'static str,
    },
    /// What is in it can't be true, or doesn't fit the settings.
    #[error(
        "what the store's {path} holds can't be used: {cause}; correct the settings, or, if no node of this mesh runs any \
         more, start once with --store-reset, which moves it aside and begins without it ({loss})",
        path = path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What can't be true.
        cause: String,
        /// What beginning without it means.
        loss: &'static str,
    },
    /// It belongs to another world.
    #[error(
        "the store's {path} is of the world {holds:?}, this coordinator serves {serves:?}; give it a folder of its own with \
         --store",
        path = path.display()
    )]
    OtherWorld {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        holds: String,
        /// Who asks for it.
        serves: String,
    },
    /// Another version made it.
    #[error(
        "the store's {path} has the format {format}, this version reads {known}; run the version that made it, or \
         move the file away and begin anew",
        path = path.display()
    )]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: String,
        /// The one that is known here.
        known: u32,
    },
}

impl DiskError {
    /// Whether moving the file aside is the way out.
    const fn is_remedied_by_reset(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Unusable { .. })
    }
}

/// A folder that this process alone uses.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    world: String,
    /// Whether files that can't be used are moved aside.
    reset: bool,
    /// Locked for as long as this lives.
    _lock: File,
}

impl Folder {
    /// Makes the folder if it isn't there, and locks it.
    pub(crate) fn open(path: &Path, world: &WorldName, reset: bool) -> Result<Self, DiskError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DiskError::Path { path, source }
        };
        fs::create_dir_all(path).map_err(failed(path))?;
        let lock_path = path.join(LOCK_FILE);
        let lock = File::create(&lock_path).map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DiskError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(DiskError::Path { path: lock_path, source }),
        }
        Ok(Self { path: path.to_owned(), world: world.to_string(), reset, _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Tries; if what is there is of no use and that was asked for, moves it aside and tries again.
    fn with_reset<T>(
        &self,
        path: &Path,
        loss: &str,
        mut open: impl FnMut() -> Result<T, DiskError>,
    ) -> Result<T, DiskError> {
        match open() {
            Err(error) if self.reset && error.is_remedied_by_reset() => {
                let aside = move_aside(path)?;
                tracing::warn!(
                    file = %path.display(), moved_to = %aside.display(), cause = %error,
                    "the store's file could not be used and was moved aside: {loss}"
                );
                open()
            }
            opened => opened,
        }
    }
}

/// Gives a file a name that nothing reads.
fn move_aside(path: &Path) -> Result<PathBuf, DiskError> {
    let failed = |source| DiskError::Path { path: path.to_owned(), source };
    for number in 1..=u32::MAX {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".broken-{number}"));
        let aside = PathBuf::from(name);
        if !aside.try_exists().map_err(failed)? {
            fs::rename(path, &aside).map_err(failed)?;
            return Ok(aside);
        }
    }
    Err(failed(io::Error::from(io::ErrorKind::AlreadyExists)))
}
