//! The identity of this process, loaded and checked once, so that TLS has nothing left to complain about.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::ring;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use zeroize::Zeroize;

use crate::CertsError;
use crate::authority::IssuedIdentity;
use crate::files;
use crate::inspect::Parsed;
use crate::name::{RoleKind, SpiffeId, WorldName};

const ISSUE_FIRST: &str = "issue an identity for this process (selvedge certs issue), or correct the path";
const COPY_CA: &str = "copy ca.pem from the folder of the world's CA, or correct the path";

/// A process's certificate chain, private key and the CA that it trusts, all checked against each other.
pub struct Identity {
    id: SpiffeId,
    origin: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("id", &self.id).field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// PEM text and where it came from.
struct Source<'a> {
    origin: String,
    pem: &'a str,
}

impl Identity {
    /// Loads an identity from three PEM files: chain, private key, and the CA's certificate.
    ///
    /// # Errors
    /// Names the file at fault, the cause and the remedy: missing, unreadable, malformed, key of another
    /// certificate, expired, not yet valid, or of another CA.
    pub fn load(cert_path: &Path, key_path: &Path, ca_path: &Path) -> Result<Self, CertsError> {
        let chain = files::read("certificate", cert_path, ISSUE_FIRST)?;
        let key = files::read("private key", key_path, ISSUE_FIRST)?;
        files::warn_if_exposed(key_path);
        let ca = files::read("CA certificate", ca_path, COPY_CA)?;
        let origin = |path: &Path| path.display().to_string();
        Self::check(
            Source { origin: origin(cert_path), pem: &chain },
            Source { origin: origin(key_path), pem: &key },
            Source { origin: origin(ca_path), pem: &ca },
        )
    }

    /// As [`Identity::load`], from PEM text in memory: for tests and for a throw-away CA.
    ///
    /// # Errors
    /// As [`Identity::load`], apart from those about files.
    pub fn from_pem(chain_pem: &str, key_pem: &str, ca_pem: &str) -> Result<Self, CertsError> {
        let in_memory = |pem| Source { origin: "given in memory".to_owned(), pem };
        Self::check(in_memory(chain_pem), in_memory(key_pem), in_memory(ca_pem))
    }

    /// Takes an identity fresh from its CA, without a detour through files.
    ///
    /// # Errors
    /// As [`Identity::from_pem`].
    pub fn from_issued(issued: &IssuedIdentity) -> Result<Self, CertsError> {
        Self::from_pem(&issued.chain_pem, &issued.key_pem, &issued.ca_pem)
    }

    fn check(chain: Source<'_>, key: Source<'_>, ca: Source<'_>) -> Result<Self, CertsError> {
        let certificates = certificates("certificate", &chain)?;
        let [leaf, intermediates @ ..] = certificates.as_slice() else {
            return Err(empty("certificate", &chain));
        };
        let private_key = PrivateKeyDer::from_pem_slice(key.pem.as_bytes()).map_err(|e| {
            CertsError::Malformed { what: "private key", origin: key.origin.clone(), cause: e.to_string() }
        })?;
        let authorities = certificates_of_ca(&ca)?;
        let now = SystemTime::now();
        let parsed = Parsed::of(leaf, &chain.origin)?;
        let id = parsed.spiffe_id(&chain.origin)?;
        parsed.check_time(&chain.origin, now)?;

        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            let parsed = Parsed::of(authority, &ca.origin)?;
            parsed.authority_world(&ca.origin)?;
            parsed.check_time(&ca.origin, now)?;
            roots.add(authority.clone()).map_err(|e| CertsError::Malformed {
                what: "CA certificate",
                origin: ca.origin.clone(),
                cause: e.to_string(),
            })?;
        }
        check_issuer(leaf, intermediates, &roots, now).map_err(|cause| CertsError::NotIssuedByAuthority {
            origin: chain.origin.clone(),
            ca: ca.origin.clone(),
            cause: cause.to_string(),
        })?;
        check_key(&certificates, &private_key, &chain, &key)?;
        Ok(Self {
            id,
            origin: chain.origin,
            not_before: parsed.not_before,
            not_after: parsed.not_after,
            chain: certificates,
            key: private_key,
            roots: Arc::new(roots),
        })
    }

    /// Checks that the identity belongs to `world` and has a role of the given kind.
    ///
    /// # Errors
    /// [`CertsError::WrongWorld`] or [`CertsError::WrongRole`], naming the file.
    pub fn require(&self, world: &WorldName, role: RoleKind) -> Result<(), CertsError> {
        if self.id.world != *world {
            return Err(CertsError::WrongWorld {
                origin: self.origin.clone(),
                found: self.id.world.clone(),
                expected: world.clone(),
            });
        }
        let found = self.id.role.kind();
        if found != role {
            return Err(CertsError::WrongRole { origin: self.origin.clone(), found, expected: role });
        }
        Ok(())
    }

    /// Who this process is.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The certificate's file, or a word saying that it came from memory: for messages.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The certificate chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// A copy of the private key, for a TLS configuration.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    /// The CA certificates that this process trusts.
    pub fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }

    /// When the certificate began to be valid.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// When the certificate expires.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }
}

fn certificates(what: &'static str, source: &Source<'_>) -> Result<Vec<CertificateDer<'static>>, CertsError> {
    CertificateDer::pem_slice_iter(source.pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| CertsError::Malformed { what, origin: source.origin.clone(), cause: e.to_string() })
}

fn certificates_of_ca(ca: &Source<'_>) -> Result<Vec<CertificateDer<'static>>, CertsError> {
    let authorities = certificates("CA certificate", ca)?;
    if authorities.is_empty() { Err(empty("CA certificate", ca)) } else { Ok(authorities) }
}

fn empty(what: &'static str, source: &Source<'_>) -> CertsError {
    CertsError::Malformed {
        what,
        origin: source.origin.clone(),
        cause: "it has no CERTIFICATE section".to_owned(),
    }
}

/// Every role's certificate may serve, so the serving side's check fits all of them.
fn check_issuer(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &RootCertStore,
    now: SystemTime,
) -> Result<(), rustls::Error> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    verify_server_cert_signed_by_trust_anchor(
        &ParsedCertificate::try_from(leaf)?,
        roots,
        intermediates,
        UnixTime::since_unix_epoch(now),
        ring::default_provider().signature_verification_algorithms.all,
    )
}

fn check_key(
    certificates: &[CertificateDer<'static>],
    private_key: &PrivateKeyDer<'static>,
    chain: &Source<'_>,
    key: &Source<'_>,
) -> Result<(), CertsError> {
    let signing = ring::sign::any_supported_type(private_key).map_err(|e| CertsError::Malformed {
        what: "private key",
        origin: key.origin.clone(),
        cause: e.to_string(),
    })?;
    CertifiedKey::new(certificates.to_vec(), signing)
        .keys_match()
        .map_err(|_| CertsError::KeyMismatch { certificate: chain.origin.clone(), key: key.origin.clone() })
}
