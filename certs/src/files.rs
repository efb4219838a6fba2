//! Reading and writing the few files of a CA: whole, atomically, and private where they hold a key.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use crate::CertsError;
use crate::authority::Overwrite;

/// Largest PEM file that is read, in bytes: a chain or a key is a few kilobytes, the rest is a mistake.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;
const PRIVATE_FOLDER: u32 = 0o700;

/// Reads a PEM file as text.
pub(crate) fn read(
    what: &'static str,
    path: &Path,
    remedy: &'static str,
) -> Result<Zeroizing<String>, CertsError> {
    let failed = |source: io::Error| {
        if source.kind() == io::ErrorKind::NotFound {
            return CertsError::Missing { what, path: path.to_owned(), remedy };
        }
        CertsError::Read { what, path: path.to_owned(), source }
    };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > PEM_BYTES_MAX {
        return Err(CertsError::Malformed {
            what,
            origin: path.display().to_string(),
            cause: format!("{length} bytes are more than the {PEM_BYTES_MAX} that such a file may have"),
        });
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(failed)
}

/// Warns if others than the owner can read a key.
pub(crate) fn warn_if_exposed(path: &Path) {
    let Ok(metadata) = fs::metadata(path) else { return };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{mode:o}"), "private key is readable by others: chmod 600");
    }
}

/// Makes the folder, private to its owner, if it isn't there. One that is there is left as it is.
pub(crate) fn create_private_folder(path: &Path) -> Result<(), CertsError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_FOLDER)
        .create(path)
        .map_err(|source| CertsError::Write { path: path.to_owned(), source })
}

/// Fails if one of the files is there and may not be replaced.
pub(crate) fn check_absent(paths: &[&Path], overwrite: Overwrite) -> Result<(), CertsError> {
    match overwrite {
        Overwrite::Replace => Ok(()),
        Overwrite::Refuse => match paths.iter().find(|path| path.exists()) {
            Some(path) => Err(CertsError::Exists { path: (*path).to_owned() }),
            None => Ok(()),
        },
    }
}

/// Writes a key that only the owner can read.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), CertsError> {
    write(path, text, PRIVATE)
}

/// Writes a certificate that everybody can read.
pub(crate) fn write_public(path: &Path, text: &str) -> Result<(), CertsError> {
    write(path, text, PUBLIC)
}

/// Writes beside the target and renames, so that a reader (a reload) never sees half a file.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertsError> {
    let failed = |source: io::Error| CertsError::Write { path: path.to_owned(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let draft = path.with_file_name(name);
    // A draft left behind by a crash may have other permissions: begin afresh.
    match fs::remove_file(&draft) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed(source)),
        Ok(()) | Err(_) => {}
    }
    let mut file: File =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&draft, path).map_err(failed)
}
