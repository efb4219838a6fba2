//! The CA of one world: made once, stored in a private folder, asked for one identity per process.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::CertsError;
use crate::files;
use crate::inspect::Parsed;
use crate::name::{Role, RoleKind, SpiffeId, WorldName, authority_uri, server_name};

/// File name of the CA's certificate in its folder.
pub const CA_CERTIFICATE_FILE: &str = "ca.pem";
/// File name of the CA's private key in its folder.
pub const CA_KEY_FILE: &str = "ca.key";
/// How long a CA is valid unless told otherwise: 10 years.
pub const CA_VALIDITY: Duration = Duration::from_secs(3650 * 24 * 3600);
/// How long an identity is valid unless told otherwise: 90 days.
pub const IDENTITY_VALIDITY: Duration = Duration::from_secs(90 * 24 * 3600);
/// Longest validity that can be asked for: 50 years.
pub const VALIDITY_MAX: Duration = Duration::from_secs(50 * 365 * 24 * 3600);
/// How far back a certificate's validity begins, for clocks that run behind: 5 minutes.
pub const BACKDATE: Duration = Duration::from_secs(5 * 60);

const ISSUE_AGAIN: &str = "make a CA first (selvedge certs init), or name its folder";

/// What to do about a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// Leave it, and fail with [`CertsError::Exists`]. The default.
    #[default]
    Refuse,
    /// Replace it atomically.
    Replace,
}

/// Names besides its own that a server's certificate is valid for. The default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubjectNames {
    /// DNS names under which clients reach the endpoint.
    pub dns: Vec<String>,
    /// Addresses under which clients reach it without a name.
    pub ips: Vec<IpAddr>,
}

/// The CA of one world, with its private key.
pub struct Authority {
    world: WorldName,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key: KeyPair,
    not_after: SystemTime,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("world", &self.world).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes the CA of `world`, valid for `validity` from now ([`CA_VALIDITY`] is the usual choice).
    ///
    /// # Errors
    /// [`CertsError::Validity`] if it is zero or above [`VALIDITY_MAX`]; [`CertsError::Crypto`] if no key can be made.
    pub fn init(world: WorldName, validity: Duration) -> Result<Self, CertsError> {
        let (not_before, not_after) = period(validity)?;
        let key = new_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(&format!("Selvedge CA {world}"));
        params.subject_alt_names = vec![SanType::URI(ia5(&authority_uri(&world))?)];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = not_before;
        params.not_after = not_after;
        let certificate = params.self_signed(&key).map_err(crypto("CA certificate"))?;
        Ok(Self {
            world,
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key,
            not_after: not_after.into(),
        })
    }

    /// Loads the CA that [`Authority::save`] stored in `dir`.
    ///
    /// # Errors
    /// Names the file that is missing, unreadable, malformed, expired or not matching.
    pub fn load(dir: &Path) -> Result<Self, CertsError> {
        let certificate_path = dir.join(CA_CERTIFICATE_FILE);
        let key_path = dir.join(CA_KEY_FILE);
        let origin = certificate_path.display().to_string();
        let certificate_pem = files::read("CA certificate", &certificate_path, ISSUE_AGAIN)?;
        let key_pem = files::read("CA private key", &key_path, ISSUE_AGAIN)?;
        files::warn_if_exposed(&key_path);

        let malformed = |what, origin: String, cause: String| CertsError::Malformed { what, origin, cause };
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|e| malformed("CA certificate", origin.clone(), e.to_string()))?;
        let key = KeyPair::from_pem(&key_pem)
            .map_err(|e| malformed("CA private key", key_path.display().to_string(), e.to_string()))?;
        let parsed = Parsed::of(&certificate, &origin)?;
        let world = parsed.authority_world(&origin)?;
        parsed.check_time(&origin, SystemTime::now())?;
        if parsed.public_key != key.public_key_raw() {
            return Err(CertsError::KeyMismatch { certificate: origin, key: key_path.display().to_string() });
        }
        Ok(Self {
            world,
            certificate,
            certificate_pem: certificate_pem.to_string(),
            key,
            not_after: parsed.not_after,
        })
    }

    /// Stores `ca.pem` and `ca.key` in `dir`, which is made with mode 0700 if it isn't there; the key has mode 0600.
    ///
    /// # Errors
    /// [`CertsError::Exists`] if one of the files is there and `overwrite` says to refuse; [`CertsError::Write`].
    pub fn save(&self, dir: &Path, overwrite: Overwrite) -> Result<(), CertsError> {
        let certificate_path = dir.join(CA_CERTIFICATE_FILE);
        let key_path = dir.join(CA_KEY_FILE);
        files::check_absent(&[&certificate_path, &key_path], overwrite)?;
        files::create_private_folder(dir)?;
        files::write_private(&key_path, &Zeroizing::new(self.key.serialize_pem()))?;
        files::write_public(&certificate_path, &self.certificate_pem)
    }

    /// The world that this CA issues for.
    pub fn world(&self) -> &WorldName {
        &self.world
    }

    /// The CA's certificate as PEM: what every process and every client trusts.
    pub fn ca_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// When the CA expires.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Issues an identity with a new key, valid for `validity` from now ([`IDENTITY_VALIDITY`] is the usual choice).
    ///
    /// Nodes and coordinators get certificates for both ends of a connection, servers for the serving end
    /// alone. `names` come on top of the identity's own DNS name.
    ///
    /// # Errors
    /// [`CertsError::Name`] or [`CertsError::SubjectName`] for a name that isn't usable, [`CertsError::Validity`] if
    /// the identity would outlive its CA, [`CertsError::Crypto`] if the signing fails.
    pub fn issue(
        &self,
        role: Role,
        names: &SubjectNames,
        validity: Duration,
    ) -> Result<IssuedIdentity, CertsError> {
        let (not_before, not_after) = period(validity)?;
        self.issue_for(role, names, not_before, not_after)
    }

    /// Issues an identity with a stated period instead of one that begins now: for tests of expiry, and for
    /// certificates prepared ahead of time. Its beginning isn't backdated.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn issue_between(
        &self,
        role: Role,
        names: &SubjectNames,
        not_before: SystemTime,
        not_after: SystemTime,
    ) -> Result<IssuedIdentity, CertsError> {
        self.issue_for(role, names, not_before.into(), not_after.into())
    }

    fn issue_for(
        &self,
        role: Role,
        names: &SubjectNames,
        not_before: OffsetDateTime,
        not_after: OffsetDateTime,
    ) -> Result<IssuedIdentity, CertsError> {
        if SystemTime::from(not_after) > self.not_after {
            let asked = not_after - OffsetDateTime::now_utc();
            return Err(CertsError::Validity {
                asked_s: asked.whole_seconds().try_into().unwrap_or(0),
                cause: format!("the CA itself expires at {}", OffsetDateTime::from(self.not_after)),
            });
        }
        let id = SpiffeId::new(self.world.clone(), role)?;
        let key = new_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(&server_name(&id));
        params.subject_alt_names = subject_names(&id, names)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match id.role.kind() {
            RoleKind::Node | RoleKind::Coordinator => {
                vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth]
            }
            RoleKind::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        };
        params.use_authority_key_identifier_extension = true;
        params.not_before = not_before;
        params.not_after = not_after;
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &self.key).map_err(crypto("certificate"))?;
        let certificate = params.signed_by(&key, &issuer).map_err(crypto("certificate"))?;
        Ok(IssuedIdentity {
            id,
            chain_pem: certificate.pem(),
            key_pem: Zeroizing::new(key.serialize_pem()),
            ca_pem: self.certificate_pem.clone(),
            not_after: not_after.into(),
        })
    }
}

/// A fresh certificate and its private key, before they are stored or loaded.
#[derive(Clone)]
pub struct IssuedIdentity {
    /// Whose it is.
    pub id: SpiffeId,
    /// The certificate chain, leaf first. The CA's own certificate isn't part of it.
    pub chain_pem: String,
    /// The private key, PKCS#8; wiped from memory when dropped.
    pub key_pem: Zeroizing<String>,
    /// The certificate of the CA that issued it.
    pub ca_pem: String,
    /// When it expires.
    pub not_after: SystemTime,
}

impl fmt::Debug for IssuedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedIdentity").field("id", &self.id).finish_non_exhaustive()
    }
}

impl IssuedIdentity {
    /// Stores `<stem>.pem` and `<stem>.key` (mode 0600) in `dir` and returns the two paths.
    ///
    /// # Errors
    /// [`CertsError::Exists`] if one of the files is there and `overwrite` says to refuse; [`CertsError::Write`].
    pub fn save(
        &self,
        dir: &Path,
        stem: &str,
        overwrite: Overwrite,
    ) -> Result<(PathBuf, PathBuf), CertsError> {
        let chain_path = dir.join(format!("{stem}.pem"));
        let key_path = dir.join(format!("{stem}.key"));
        files::check_absent(&[&chain_path, &key_path], overwrite)?;
        files::create_private_folder(dir)?;
        files::write_private(&key_path, &self.key_pem)?;
        files::write_public(&chain_path, &self.chain_pem)?;
        Ok((chain_path, key_path))
    }
}

fn period(validity: Duration) -> Result<(OffsetDateTime, OffsetDateTime), CertsError> {
    if validity.is_zero() || validity > VALIDITY_MAX {
        return Err(CertsError::Validity {
            asked_s: validity.as_secs(),
            cause: format!("choose more than 0 and at most {} days", VALIDITY_MAX.as_secs() / 86_400),
        });
    }
    let now = OffsetDateTime::now_utc();
    Ok((now - BACKDATE, now + validity))
}

fn subject_names(id: &SpiffeId, names: &SubjectNames) -> Result<Vec<SanType>, CertsError> {
    let mut all = vec![SanType::URI(ia5(&id.to_string())?), SanType::DnsName(ia5(&server_name(id))?)];
    for name in &names.dns {
        rustls_pki_types::DnsName::try_from(name.as_str())
            .map_err(|_| CertsError::SubjectName { name: name.clone() })?;
        all.push(SanType::DnsName(ia5(name)?));
    }
    all.extend(names.ips.iter().copied().map(SanType::IpAddress));
    Ok(all)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name);
    distinguished_name
}

fn new_key() -> Result<KeyPair, CertsError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(crypto("private key"))
}

fn ia5(text: &str) -> Result<Ia5String, CertsError> {
    Ia5String::try_from(text).map_err(|_| CertsError::SubjectName { name: text.to_owned() })
}

fn crypto(what: &'static str) -> impl Fn(rcgen::Error) -> CertsError {
    move |error| CertsError::Crypto { what, cause: error.to_string() }
}
