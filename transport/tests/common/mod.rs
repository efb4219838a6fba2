//! What the tests share: a throw-away world, endpoints in it, and a raw peer that can misbehave.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use selvedge_certs::{
    Authority, CA_VALIDITY, IDENTITY_VALIDITY, Identity, IssuedIdentity, Role, SpiffeId, SubjectNames, Uuid,
    WorldName,
};
use selvedge_transport::{
    HelloCheck, Lane, Link, LinkEvent, MeshConfig, MeshEndpoint, MeshLimits, PeerName, Tuning,
};
use tokio::sync::mpsc::Receiver;

/// Long enough for a loaded machine; only ever reached when a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(crate) struct World(pub(crate) Authority);

impl World {
    pub(crate) fn new(name: &str) -> Self {
        Self(Authority::init(WorldName::new(name).unwrap(), CA_VALIDITY).unwrap())
    }

    pub(crate) fn issue(&self, role: Role) -> IssuedIdentity {
        self.0.issue(role, &SubjectNames::default(), IDENTITY_VALIDITY).unwrap()
    }

    pub(crate) fn identity(&self, role: Role) -> Arc<Identity> {
        Arc::new(Identity::from_issued(&self.issue(role)).unwrap())
    }

    /// The node whose UUID is that number: the lower number is the lower name.
    pub(crate) fn node(&self, number: u128) -> PeerName {
        PeerName::node(self.0.world(), number.to_be_bytes())
    }

    pub(crate) fn config(&self, number: u128) -> MeshConfig {
        MeshConfig {
            bind: loopback(),
            identity: self.identity(Role::Node(Uuid::from_u128(number))),
            hello: Bytes::from(format!("hello of {number}")),
            tuning: Tuning { reconnect_max: Duration::from_millis(300), ..Tuning::default() },
            limits: MeshLimits::default(),
        }
    }

    pub(crate) fn end(&self, number: u128) -> End {
        End::open(self.config(number))
    }
}

/// An endpoint and its events.
pub(crate) struct End {
    pub(crate) mesh: MeshEndpoint,
    pub(crate) events: Receiver<LinkEvent>,
}

pub(crate) fn accept_all() -> HelloCheck {
    Arc::new(|_, _| Ok(()))
}

impl End {
    pub(crate) fn open(config: MeshConfig) -> Self {
        Self::open_with(config, accept_all())
    }

    pub(crate) fn open_with(config: MeshConfig, check: HelloCheck) -> Self {
        let (mesh, events) = MeshEndpoint::bind(config, check).unwrap();
        Self { mesh, events }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.mesh.local_addr().unwrap()
    }

    pub(crate) fn keep(&self, other: &End) {
        self.mesh.keep_link(other.mesh.name().clone(), other.address());
    }

    pub(crate) async fn event(&mut self) -> LinkEvent {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("no event").expect("endpoint ended")
    }

    pub(crate) async fn up(&mut self) -> (Link, Bytes) {
        match self.event().await {
            LinkEvent::Up { link, hello, .. } => (link, hello),
            other => panic!("expected Up, got {other:?}"),
        }
    }

    pub(crate) async fn down(&mut self) -> String {
        match self.event().await {
            LinkEvent::Down { reason, .. } => reason,
            other => panic!("expected Down, got {other:?}"),
        }
    }

    pub(crate) async fn message(&mut self) -> (Lane, Bytes) {
        match self.event().await {
            LinkEvent::Message { lane, payload, .. } => (lane, payload),
            other => panic!("expected a message, got {other:?}"),
        }
    }

    pub(crate) async fn dial_failed(&mut self) -> (String, bool) {
        match self.event().await {
            LinkEvent::DialFailed { reason, refused, .. } => (reason, refused),
            other => panic!("expected DialFailed, got {other:?}"),
        }
    }

    /// Asserts that nothing happens for a while.
    pub(crate) async fn quiet(&mut self, wait: Duration) {
        if let Ok(event) = tokio::time::timeout(wait, self.events.recv()).await {
            panic!("expected nothing, got {event:?}");
        }
    }
}

/// Two linked ends, the lower-numbered first, and their links.
pub(crate) async fn linked(world: &World, a: MeshConfig, b: MeshConfig) -> (End, Link, End, Link) {
    let _ = world;
    let (mut a, mut b) = (End::open(a), End::open(b));
    a.keep(&b);
    let (to_b, _) = a.up().await;
    let (to_a, _) = b.up().await;
    (a, to_b, b, to_a)
}

/// A peer made of plain quinn, which says what it likes.
pub(crate) struct RawPeer {
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) connection: quinn::Connection,
    pub(crate) send: quinn::SendStream,
    pub(crate) recv: quinn::RecvStream,
    name: String,
}

impl RawPeer {
    pub(crate) async fn connect(
        issued: &IssuedIdentity,
        to: &PeerName,
        address: SocketAddr,
    ) -> Result<Self, quinn::ConnectionError> {
        let endpoint = quinn::Endpoint::client(loopback()).unwrap();
        let config = raw_client_config(issued, b"selvedge-mesh/1");
        let server_name = selvedge_certs::server_name(to.id());
        let connection = endpoint.connect_with(config, address, &server_name).unwrap().await?;
        let (send, recv) = connection.open_bi().await?;
        Ok(Self { endpoint, connection, send, recv, name: issued.id.to_string() })
    }

    /// A peer with a finished hello.
    pub(crate) async fn linked(issued: &IssuedIdentity, to: &PeerName, address: SocketAddr) -> Self {
        let mut peer = Self::connect(issued, to, address).await.unwrap();
        peer.say_hello(1, 0, 7).await;
        let answer = peer.read_frame().await.unwrap();
        assert!(answer.starts_with(b"SLVG\x01"));
        peer.write_frame(b"SLVG\x02").await;
        peer
    }

    pub(crate) async fn say_hello(&mut self, version: u16, lost: u64, connection: u64) {
        let mut hello = b"SLVG\x01".to_vec();
        hello.extend(version.to_le_bytes());
        hello.extend(version.to_le_bytes());
        hello.extend(99u64.to_le_bytes());
        hello.extend(connection.to_le_bytes());
        hello.extend(lost.to_le_bytes());
        for field in [self.name.as_bytes(), b"raw"] {
            hello.extend(u16::try_from(field.len()).unwrap().to_le_bytes());
            hello.extend(field);
        }
        self.write_frame(&hello).await;
    }

    pub(crate) async fn write_frame(&mut self, frame: &[u8]) {
        let length = u32::try_from(frame.len()).unwrap().to_le_bytes();
        // An error shows in what follows: the other end may have hung up already.
        let _ = self.send.write_all(&[&length, frame].concat()).await;
    }

    pub(crate) async fn read_frame(&mut self) -> Result<Vec<u8>, String> {
        let mut length = [0; 4];
        self.recv.read_exact(&mut length).await.map_err(|_| self.closed_reason())?;
        let mut frame = vec![0; u32::from_le_bytes(length) as usize];
        self.recv.read_exact(&mut frame).await.map_err(|e| e.to_string())?;
        Ok(frame)
    }

    pub(crate) async fn send_stream(&self, bytes: &[u8]) {
        let mut stream = self.connection.open_uni().await.unwrap();
        let _ = stream.write_all(bytes).await;
        let _ = stream.finish();
    }

    /// Why the other end closed.
    pub(crate) async fn closed(&self) -> String {
        tokio::time::timeout(PATIENCE, self.connection.closed()).await.expect("not closed").to_string()
    }

    fn closed_reason(&self) -> String {
        self.connection.close_reason().map(|e| e.to_string()).unwrap_or_default()
    }
}

/// A client configuration that checks nothing but the CA, with a certificate of one's own.
pub(crate) fn raw_client_config(issued: &IssuedIdentity, alpn: &[u8]) -> quinn::ClientConfig {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(issued.ca_pem.as_bytes()).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(issued.chain_pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    quinn::ClientConfig::new(Arc::new(tls))
}

pub(crate) fn spiffe(world: &World, role: Role) -> SpiffeId {
    SpiffeId::new(world.0.world().clone(), role).unwrap()
}
