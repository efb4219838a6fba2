//! What can be wrong with the settings, said so that an operator knows where to look and what to do.

use std::io;
use std::path::PathBuf;

use selvedge_protocol::config::ConfigError;

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// The file couldn't be read.
    #[error(
        "cannot read the configuration {path}: {source}; correct --config (SELVEDGE_CONFIG) or the file's permissions",
        path = path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file isn't TOML, or has a key that isn't known, or a value of the wrong kind.
    #[error(
        "the configuration {path} can't be used: {cause}\ncorrect the line, or compare with docs/OPERATIONS.md",
        path = path.display()
    )]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column, key and cause, as TOML's reader puts it.
        cause: String,
    },
    /// A setting without a default is not set.
    #[error("{key} is not set: give {flag} or {env}, or put `{key}` into the configuration file")]
    Missing {
        /// Its key in the file.
        key: &'static str,
        /// Its flag.
        flag: &'static str,
        /// Its environment variable.
        env: &'static str,
    },
    /// A value is out of range, or two don't go together.
    #[error("{key} (set by {origin}): {cause}; {remedy}")]
    Invalid {
        /// Its key in the file.
        key: &'static str,
        /// Where it was set.
        origin: String,
        /// What is wrong with it.
        cause: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The machine refuses the settings for a reason that no key stands for.
    #[error("the settings are refused: {0}; correct the value it names")]
    Machine(#[from] ConfigError),
}
