//! What is wrong with a configuration: where it stands, what it is, and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use selvedge_certs::CertsError;

/// Where a value was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// On the command line, or by the environment variable that stands for the flag.
    Flag(&'static str),
    /// In a file.
    File(PathBuf),
    /// Nowhere.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag {flag} (or its environment variable)"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("the defaults"),
        }
    }
}

/// Why a node can't be configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read the configuration file {path}: {source}; correct --config, or leave it out to use flags alone", path = path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}: {cause}\ncorrect that line; `mesh-node --print-defaults` shows every key", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Line, key and cause.
        cause: String,
    },
    /// A `--set` is not what it should be.
    #[error(
        "--set {setting}: {cause}\nwrite it as section.key=value; `mesh-node --print-defaults` shows every key"
    )]
    Set {
        /// As it was given.
        setting: String,
        /// Key and cause.
        cause: String,
    },
    /// Something that has no default is missing.
    #[error("{key} is not set: give {flag}, set {env}, or write {key} into the configuration file")]
    Missing {
        /// The key in the file.
        key: &'static str,
        /// The flag.
        flag: &'static str,
        /// The environment variable.
        env: &'static str,
    },
    /// A value can't be used.
    #[error("{key} = {value} in {origin}: {cause}; {remedy}")]
    Value {
        /// The key in the file.
        key: &'static str,
        /// Its value.
        value: String,
        /// Where it was given.
        origin: Origin,
        /// What is wrong with it.
        cause: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The identity can't be used; the message names its file.
    #[error(transparent)]
    Identity(#[from] CertsError),
}
