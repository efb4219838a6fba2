//! What can go wrong with certificates, said so that an operator knows which file to look at and what to do.

use std::io;
use std::path::PathBuf;

use crate::name::{NameError, RoleKind, WorldName};

/// Why an authority or an identity couldn't be made, stored or loaded.
///
/// `origin` fields name the file, or say that the PEM text was given in memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertsError {
    /// A name isn't well formed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The file isn't there.
    #[error("{what} {path} does not exist: {remedy}", path = path.display())]
    Missing {
        /// What the file should hold.
        what: &'static str,
        /// Where it was looked for.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// The file couldn't be read.
    #[error("cannot read {what} {path}: {source}; check its owner and permissions", path = path.display())]
    Read {
        /// What the file holds.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file couldn't be written.
    #[error("cannot write {path}: {source}; check the folder's owner, permissions and free space", path = path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is there already and overwriting wasn't asked for.
    #[error("{path} already exists: choose another folder, or ask for it to be replaced", path = path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The text isn't PEM, or holds nothing of the expected kind.
    #[error("{origin} holds no usable {what}: {cause}; issue it again")]
    Malformed {
        /// What was expected.
        what: &'static str,
        /// Where.
        origin: String,
        /// What is wrong.
        cause: String,
    },
    /// The key belongs to another certificate.
    #[error(
        "the private key {key} does not belong to the certificate {certificate}: use the two files of one issue"
    )]
    KeyMismatch {
        /// Where the certificate came from.
        certificate: String,
        /// Where the key came from.
        key: String,
    },
    /// The certificate's time is over.
    #[error("the certificate {origin} expired at {not_after}: issue a new one (selvedge certs issue)")]
    Expired {
        /// Where it came from.
        origin: String,
        /// When it expired, UTC.
        not_after: String,
    },
    /// The certificate's time has not begun.
    #[error("the certificate {origin} is not valid before {not_before}: check this machine's clock")]
    NotYetValid {
        /// Where it came from.
        origin: String,
        /// When it begins, UTC.
        not_before: String,
    },
    /// The certificate was not issued by the CA that was given.
    #[error(
        "the certificate {origin} was not issued by the CA {ca}: use the ca.pem of the world that issued it ({cause})"
    )]
    NotIssuedByAuthority {
        /// Where it came from.
        origin: String,
        /// Where the CA's certificate came from.
        ca: String,
        /// What the check said.
        cause: String,
    },
    /// The identity is of another world.
    #[error(
        "the certificate {origin} is for the world {found}, but the world {expected} is needed: issue one from that world's CA"
    )]
    WrongWorld {
        /// Where it came from.
        origin: String,
        /// The world it is for.
        found: WorldName,
        /// The world that was needed.
        expected: WorldName,
    },
    /// The identity has another role.
    #[error(
        "the certificate {origin} is for the role {found}, but the role {expected} is needed: issue one with that role"
    )]
    WrongRole {
        /// Where it came from.
        origin: String,
        /// The role it is for.
        found: RoleKind,
        /// The role that was needed.
        expected: RoleKind,
    },
    /// The asked validity is outside what can be issued.
    #[error("validity of {asked_s} s is not possible: {cause}")]
    Validity {
        /// The validity asked for, in seconds.
        asked_s: u64,
        /// Why not.
        cause: String,
    },
    /// An extra subject name can't stand in a certificate.
    #[error("{name:?} is not a DNS name that a certificate can carry")]
    SubjectName {
        /// The name as given.
        name: String,
    },
    /// A key couldn't be made or a certificate couldn't be signed.
    #[error("cannot make the {what}: {cause}")]
    Crypto {
        /// What was being made.
        what: &'static str,
        /// What the library said.
        cause: String,
    },
}
