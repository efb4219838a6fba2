//! The mesh's private CA: issues node, coordinator and server identities, and loads them back.
//!
//! One [`Authority`] belongs to one world. It issues an [`IssuedIdentity`] per process; a process loads its
//! own as an [`Identity`]. Who somebody is stands in one place of a certificate: its SPIFFE-style URI
//! ([`SpiffeId`]). Keys are ECDSA P-256, made here and never committed anywhere.
//!
//! Not in here: TLS settings and the check of a peer during a handshake (`selvedge-transport`), the
//! command line (`selvedge certs`), and revocation: identities are short-lived, and a stolen one is
//! answered by a new CA.

mod authority;
mod error;
mod files;
mod identity;
mod inspect;
mod name;

pub use authority::{
    Authority, BACKDATE, CA_CERTIFICATE_FILE, CA_KEY_FILE, CA_VALIDITY, IDENTITY_VALIDITY, IssuedIdentity,
    Overwrite, SubjectNames, VALIDITY_MAX,
};
pub use error::CertsError;
pub use identity::Identity;
pub use inspect::{CertSummary, describe, spiffe_id_of};
pub use uuid::Uuid;

pub use name::{NAME_BYTES_MAX, NameError, Role, RoleKind, SpiffeId, WorldName, server_name};
