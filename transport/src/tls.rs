//! TLS 1.3 for both ends, and the check of who the other side is, with a reason that a person can act on.
//!
//! The checks stand inside the handshake, so that a refusal's text reaches the other side too. Sessions aren't
//! resumed unless asked for: every connection shows a certificate that is valid now.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use selvedge_certs::{Identity, RoleKind, SpiffeId, WorldName, spiffe_id_of};

use crate::error::BindError;
use crate::{CLIENT_ALPN, MESH_ALPN};

const TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Both halves of a mesh endpoint's TLS.
#[derive(Clone)]
pub(crate) struct MeshTls {
    pub(crate) server: Arc<QuicServerConfig>,
    pub(crate) client: Arc<QuicClientConfig>,
}

/// TLS for links: both sides show a certificate of this world's CA, as a node or a coordinator. Who may `resume` need not
/// show it again when it comes back.
pub(crate) fn mesh(identity: &Identity, resume: bool) -> Result<MeshTls, BindError> {
    let failed = |cause: String| BindError::Tls { id: identity.id().to_string(), cause };
    let policy = Policy { world: Some(identity.id().world.clone()), end: End::Mesh };
    let clients = WebPkiClientVerifier::builder_with_provider(identity.roots().clone(), provider())
        .build()
        .map_err(|e| failed(e.to_string()))?;
    let servers = server_verifier(identity.roots().clone()).map_err(failed)?;

    let mut server = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(TLS13)
        .map_err(|e| failed(e.to_string()))?
        .with_client_cert_verifier(Arc::new(ClientCheck { inner: clients, policy: policy.clone() }))
        .with_single_cert(identity.chain().to_vec(), identity.key())
        .map_err(|e| failed(e.to_string()))?;
    server.alpn_protocols = vec![MESH_ALPN.to_vec()];
    server.send_tls13_tickets = usize::from(resume);

    let mut client = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(TLS13)
        .map_err(|e| failed(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerCheck { inner: servers, policy }))
        .with_client_auth_cert(identity.chain().to_vec(), identity.key())
        .map_err(|e| failed(e.to_string()))?;
    client.alpn_protocols = vec![MESH_ALPN.to_vec()];
    if !resume {
        client.resumption = Resumption::disabled();
    }

    Ok(MeshTls {
        server: Arc::new(QuicServerConfig::try_from(server).map_err(|e| failed(e.to_string()))?),
        client: Arc::new(QuicClientConfig::try_from(client).map_err(|e| failed(e.to_string()))?),
    })
}

/// TLS for the client port: the server shows its certificate, the client shows none.
pub(crate) fn client_port(identity: &Identity) -> Result<Arc<QuicServerConfig>, BindError> {
    let failed = |cause: String| BindError::Tls { id: identity.id().to_string(), cause };
    let mut server = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(TLS13)
        .map_err(|e| failed(e.to_string()))?
        .with_no_client_auth()
        .with_single_cert(identity.chain().to_vec(), identity.key())
        .map_err(|e| failed(e.to_string()))?;
    server.alpn_protocols = vec![CLIENT_ALPN.to_vec()];
    server.send_tls13_tickets = 0;
    Ok(Arc::new(QuicServerConfig::try_from(server).map_err(|e| failed(e.to_string()))?))
}

/// TLS for a client: the server must be one of the mesh's servers and carry the name that was dialled.
pub(crate) fn client_dialer(roots: RootCertStore) -> Result<Arc<QuicClientConfig>, BindError> {
    let failed = |cause: String| BindError::Tls { id: "client".to_owned(), cause };
    let inner = server_verifier(Arc::new(roots)).map_err(failed)?;
    let policy = Policy { world: None, end: End::Client };
    let mut client = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(TLS13)
        .map_err(|e| failed(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerCheck { inner, policy }))
        .with_no_client_auth();
    client.alpn_protocols = vec![CLIENT_ALPN.to_vec()];
    client.resumption = Resumption::disabled();
    Ok(Arc::new(QuicClientConfig::try_from(client).map_err(|e| failed(e.to_string()))?))
}

fn server_verifier(roots: Arc<RootCertStore>) -> Result<Arc<WebPkiServerVerifier>, String> {
    WebPkiServerVerifier::builder_with_provider(roots, provider()).build().map_err(|e| e.to_string())
}

/// Which end of what is being checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Mesh,
    Client,
}

/// Whom this end talks to.
#[derive(Debug, Clone)]
struct Policy {
    world: Option<WorldName>,
    end: End,
}

impl Policy {
    /// Says who the peer claims to be, if that is somebody to talk to. The signature is checked afterwards.
    fn admit(&self, certificate: &CertificateDer<'_>) -> Result<SpiffeId, rustls::Error> {
        let refuse = |reason: String| Err(rustls::Error::General(reason));
        let id = match spiffe_id_of(certificate) {
            Ok(id) => id,
            Err(error) => return refuse(format!("the certificate carries no mesh identity: {error}")),
        };
        if let Some(world) = &self.world
            && *world != id.world
        {
            return refuse(format!(
                "{id} is of the world {}, this process is of the world {world}: correct the address or the certificates",
                id.world
            ));
        }
        match (self.end, id.role.kind()) {
            (End::Mesh, RoleKind::Node | RoleKind::Coordinator) | (End::Client, RoleKind::Server) => Ok(id),
            (End::Mesh, RoleKind::Server) => refuse(format!(
                "{id} has the role server, and only nodes and coordinators may link: issue a node certificate for it"
            )),
            (End::Client, kind @ (RoleKind::Node | RoleKind::Coordinator)) => refuse(format!(
                "{id} has the role {kind}, and clients talk to servers only: the client port needs a server certificate"
            )),
        }
    }

    /// Adds whose certificate failed the library's check, and what to do about it.
    fn explain(&self, id: &SpiffeId, error: rustls::Error) -> rustls::Error {
        let rustls::Error::InvalidCertificate(cause) = &error else { return error };
        let remedy = remedy(cause);
        rustls::Error::General(format!("the certificate of {id} is refused: {cause}; {remedy}"))
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "all other causes have the same remedy")]
fn remedy(cause: &CertificateError) -> &'static str {
    match cause {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "it was not issued by this world's CA, though it names the world: has the CA been made anew?"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "check the clocks",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "somebody else answers at that address, or the server name is wrong"
        }
        _ => "issue a new one",
    }
}

/// Checks who dialled us.
#[derive(Debug)]
struct ClientCheck {
    inner: Arc<dyn ClientCertVerifier>,
    policy: Policy,
}

impl ClientCertVerifier for ClientCheck {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let id = self.policy.admit(end_entity)?;
        self.inner.verify_client_cert(end_entity, intermediates, now).map_err(|e| self.policy.explain(&id, e))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Checks whom we dialled.
#[derive(Debug)]
struct ServerCheck {
    inner: Arc<WebPkiServerVerifier>,
    policy: Policy,
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let id = self.policy.admit(end_entity)?;
        self.inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|e| self.policy.explain(&id, e))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
