//! Reading certificates: whose they are, how long they hold, and a summary for people.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use crate::CertsError;
use crate::files;
use crate::name::{NameError, RoleKind, SpiffeId, WorldName, world_of_authority_uri};

/// What is read out of a certificate.
pub(crate) struct Parsed {
    pub(crate) public_key: Vec<u8>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    pub(crate) is_ca: bool,
    uris: Vec<String>,
    dns_names: Vec<String>,
    ips: Vec<IpAddr>,
    serial: String,
}

impl Parsed {
    /// Parses a certificate that came from `origin`.
    pub(crate) fn of(certificate: &CertificateDer<'_>, origin: &str) -> Result<Self, CertsError> {
        let malformed =
            |cause: String| CertsError::Malformed { what: "certificate", origin: origin.to_owned(), cause };
        let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|e| malformed(e.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed("there are bytes after its end".to_owned()));
        }
        let mut this = Self {
            public_key: parsed.public_key().subject_public_key.data.to_vec(),
            not_before: system_time(parsed.validity().not_before),
            not_after: system_time(parsed.validity().not_after),
            is_ca: parsed.is_ca(),
            uris: Vec::new(),
            dns_names: Vec::new(),
            ips: Vec::new(),
            serial: parsed.raw_serial_as_string(),
        };
        let names = parsed.subject_alternative_name().map_err(|e| malformed(e.to_string()))?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            this.take_name(name);
        }
        Ok(this)
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "other kinds of subject names mean nothing to the mesh"
    )]
    fn take_name(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
            GeneralName::DNSName(dns) => self.dns_names.push((*dns).to_owned()),
            GeneralName::IPAddress(bytes) => self.ips.extend(ip_of(bytes)),
            _ => {}
        }
    }

    /// The one URI of the certificate: with several, nobody could say who its holder is.
    fn only_uri(&self) -> Result<&str, NameError> {
        match self.uris.as_slice() {
            [uri] => Ok(uri),
            uris => Err(NameError::Uri { uri: uris.join(" ").chars().take(200).collect() }),
        }
    }

    /// Whose certificate it is.
    pub(crate) fn spiffe_id(&self, origin: &str) -> Result<SpiffeId, CertsError> {
        self.only_uri().and_then(str::parse).map_err(|e| CertsError::Malformed {
            what: "mesh identity",
            origin: origin.to_owned(),
            cause: e.to_string(),
        })
    }

    /// Which world's CA it is.
    pub(crate) fn authority_world(&self, origin: &str) -> Result<WorldName, CertsError> {
        let malformed = |cause: String| CertsError::Malformed {
            what: "CA certificate",
            origin: origin.to_owned(),
            cause,
        };
        if !self.is_ca {
            return Err(malformed("it is the certificate of a process, not of a CA".to_owned()));
        }
        self.only_uri().and_then(world_of_authority_uri).map_err(|e| malformed(e.to_string()))
    }

    /// Fails if `now` is outside the certificate's validity.
    pub(crate) fn check_time(&self, origin: &str, now: SystemTime) -> Result<(), CertsError> {
        let origin = origin.to_owned();
        if now < self.not_before {
            return Err(CertsError::NotYetValid { origin, not_before: rfc3339(self.not_before) });
        }
        if now > self.not_after {
            return Err(CertsError::Expired { origin, not_after: rfc3339(self.not_after) });
        }
        Ok(())
    }
}

/// Says whose a peer's certificate is. It doesn't check the signature: TLS does.
///
/// # Errors
/// [`CertsError::Malformed`] if it can't be parsed or carries no single mesh identity.
pub fn spiffe_id_of(certificate: &CertificateDer<'_>) -> Result<SpiffeId, CertsError> {
    const ORIGIN: &str = "the presented certificate";
    Parsed::of(certificate, ORIGIN)?.spiffe_id(ORIGIN)
}

/// A certificate in words, for `selvedge certs show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertSummary {
    /// The identity's URI, or the CA's.
    pub uri: String,
    /// The world, if the URI names one.
    pub world: Option<WorldName>,
    /// The role, or nothing for a CA.
    pub role: Option<RoleKind>,
    /// Whether it is a CA.
    pub is_ca: bool,
    /// DNS names that it is valid for.
    pub dns_names: Vec<String>,
    /// Addresses that it is valid for.
    pub ips: Vec<IpAddr>,
    /// Beginning of its validity, RFC 3339, UTC.
    pub not_before: String,
    /// End of its validity, RFC 3339, UTC.
    pub not_after: String,
    /// Whether it has expired.
    pub expired: bool,
    /// Whole days until it expires, 0 once it has.
    pub days_left: u64,
    /// Serial number, hexadecimal.
    pub serial: String,
}

/// Describes the first certificate of a PEM file, of a CA or of a process, valid or not.
///
/// # Errors
/// Names the file if it is missing, unreadable or holds no certificate.
pub fn describe(path: &Path) -> Result<CertSummary, CertsError> {
    let origin = path.display().to_string();
    let pem = files::read("certificate", path, "check the path")?;
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| CertsError::Malformed {
        what: "certificate",
        origin: origin.clone(),
        cause: e.to_string(),
    })?;
    let parsed = Parsed::of(&certificate, &origin)?;
    let id = parsed.spiffe_id(&origin).ok();
    let world = id.as_ref().map(|id| id.world.clone()).or_else(|| parsed.authority_world(&origin).ok());
    let now = SystemTime::now();
    let left = parsed.not_after.duration_since(now).unwrap_or(Duration::ZERO);
    Ok(CertSummary {
        uri: parsed.uris.join(" "),
        world,
        role: id.map(|id| id.role.kind()),
        is_ca: parsed.is_ca,
        not_before: rfc3339(parsed.not_before),
        not_after: rfc3339(parsed.not_after),
        expired: now > parsed.not_after,
        days_left: left.as_secs() / 86_400,
        dns_names: parsed.dns_names,
        ips: parsed.ips,
        serial: parsed.serial,
    })
}

fn ip_of(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn system_time(time: ASN1Time) -> SystemTime {
    time.to_datetime().into()
}

fn rfc3339(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}
