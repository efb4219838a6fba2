//! The players' port: the first message opens, limits hold, and nobody suffers for another.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "whatever else arrives fails the test")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{PATIENCE, World, loopback};
use selvedge_certs::{Identity, Role, SubjectNames};
use selvedge_transport::{
    ClientConnection, ClientDialer, ClientEvent, ClientLimits, ClientPort, ClientPortConfig, CloseCode,
    ConnectError, DialEvent, SendError, Tuning,
};
use tokio::sync::mpsc::Receiver;

struct Server {
    port: ClientPort,
    events: Receiver<ClientEvent>,
    name: String,
    world: World,
}

impl Server {
    fn open(limits: ClientLimits) -> Self {
        let world = World::new("players");
        let names = SubjectNames { dns: vec!["play.example".into()], ips: vec![[127, 0, 0, 1].into()] };
        let issued =
            world.0.issue(Role::Server("edge".into()), &names, selvedge_certs::IDENTITY_VALIDITY).unwrap();
        let config = ClientPortConfig {
            bind: loopback(),
            identity: Arc::new(Identity::from_issued(&issued).unwrap()),
            tuning: Tuning::for_clients(),
            limits,
        };
        let (port, events) = ClientPort::bind(config).unwrap();
        Self { port, events, name: selvedge_certs::server_name(&issued.id), world }
    }

    fn dialer(&self) -> ClientDialer {
        ClientDialer::new(self.world.0.ca_pem(), Tuning::for_clients()).unwrap()
    }

    async fn connect(
        &self,
        dialer: &ClientDialer,
    ) -> Result<(ClientConnection, Receiver<DialEvent>), ConnectError> {
        let address = self.port.local_addr().unwrap();
        dialer.connect(address, &self.name, Bytes::from_static(b"token")).await
    }

    async fn event(&mut self) -> ClientEvent {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("no event").expect("port ended")
    }

    async fn opened(&mut self) -> (selvedge_transport::ConnectionId, ClientConnection) {
        match self.event().await {
            ClientEvent::Opened { id, first, connection, .. } => {
                assert_eq!(first, "token");
                (id, connection)
            }
            other => panic!("expected Opened, got {other:?}"),
        }
    }

    async fn closed(&mut self) -> (selvedge_transport::ConnectionId, String) {
        loop {
            match self.event().await {
                ClientEvent::Closed { id, reason } => return (id, reason),
                ClientEvent::Message { .. } | ClientEvent::Datagram { .. } => {}
                other @ ClientEvent::Opened { .. } => panic!("expected Closed, got {other:?}"),
            }
        }
    }
}

async fn next(events: &mut Receiver<DialEvent>) -> DialEvent {
    tokio::time::timeout(PATIENCE, events.recv()).await.expect("no event").expect("dialer ended")
}

async fn closed(events: &mut Receiver<DialEvent>) -> (Option<u64>, String) {
    loop {
        if let DialEvent::Closed { code, reason } = next(events).await {
            return (code, reason);
        }
    }
}

#[tokio::test]
async fn the_first_message_opens_and_messages_go_both_ways_in_order() {
    let mut server = Server::open(ClientLimits::default());
    let dialer = server.dialer();
    let (client, mut events) = server.connect(&dialer).await.unwrap();
    let (id, connection) = server.opened().await;
    for number in 0..100u8 {
        client.send(Bytes::copy_from_slice(&[number])).unwrap();
        connection.send(Bytes::from(vec![number; 1000])).unwrap();
    }
    for number in 0..100u8 {
        match server.event().await {
            ClientEvent::Message { id: from, payload } => {
                assert_eq!((from, &payload[..]), (id, &[number][..]))
            }
            other => panic!("unexpected {other:?}"),
        }
        match next(&mut events).await {
            DialEvent::Message(payload) => assert_eq!(payload, vec![number; 1000]),
            other => panic!("unexpected {other:?}"),
        }
    }
    connection.close(300, "the token is not good");
    assert_eq!(
        closed(&mut events).await,
        (Some(300), "closed by the peer: the token is not good".to_owned())
    );
    assert_eq!(server.closed().await, (id, "the token is not good".to_owned()));
    assert_eq!(client.send(Bytes::new()), Err(SendError::Closed));
}

#[tokio::test]
async fn datagrams_go_both_ways() {
    let mut server = Server::open(ClientLimits::default());
    let dialer = server.dialer();
    let (client, mut events) = server.connect(&dialer).await.unwrap();
    let (_, connection) = server.opened().await;
    client.send_datagram(Bytes::from_static(b"up")).unwrap();
    assert!(matches!(server.event().await, ClientEvent::Datagram { payload, .. } if payload == "up"));
    connection.send_datagram(Bytes::from_static(b"down")).unwrap();
    assert!(matches!(next(&mut events).await, DialEvent::Datagram(payload) if payload == "down"));
}

#[tokio::test]
async fn the_server_sends_from_another_thread_and_the_port_runs_on_its_own() {
    let (ready, ports) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            ready.send(Server::open(ClientLimits::default())).unwrap();
            let _ = stopped.await;
        });
    });
    let mut server = ports.recv().unwrap();
    let dialer = server.dialer();
    let (_client, mut events) = server.connect(&dialer).await.unwrap();
    let (_, connection) = server.opened().await;
    connection.send(Bytes::from_static(b"hello from here")).unwrap();
    assert!(matches!(next(&mut events).await, DialEvent::Message(payload) if payload == "hello from here"));
    stop.send(()).unwrap();
    thread.join().unwrap();
}

#[tokio::test]
async fn breaking_a_limit_closes_only_the_offender() {
    let limits =
        ClientLimits { messages_per_second_max: 20, datagrams_per_second_max: 20, ..Default::default() };
    let mut server = Server::open(limits.clone());
    let dialer = server.dialer();
    let (honest, _honest_events) = server.connect(&dialer).await.unwrap();
    let (honest_id, _) = server.opened().await;
    let bigger = ClientLimits { message_bytes_max: 1_000_000, ..limits };
    let rude_dialer = server.dialer().with_limits(bigger).unwrap();
    type Offence = (&'static str, CloseCode, fn(&ClientConnection));
    let offences: [Offence; 3] = [
        ("allowed", CloseCode::Oversized, |client| client.send(Bytes::from(vec![0; 70_000])).unwrap()),
        ("messages a second", CloseCode::TooFast, |client| {
            (0..200).for_each(|_| client.send(Bytes::new()).unwrap());
        }),
        ("datagrams a second", CloseCode::TooFast, |client| {
            (0..200).for_each(|_| client.send_datagram(Bytes::new()).unwrap());
        }),
    ];
    for (reason, code, offend) in offences {
        let (rude, mut events) = server.connect(&rude_dialer).await.unwrap();
        let (rude_id, _) = server.opened().await;
        offend(&rude);
        let (closed_id, why) = server.closed().await;
        assert!(closed_id == rude_id && why.contains(reason), "{why}");
        let (told_code, told) = closed(&mut events).await;
        assert!(told_code == Some(code as u64) && told.contains(reason), "{told}");
    }
    honest.send(Bytes::from_static(b"still here")).unwrap();
    assert!(matches!(server.event().await, ClientEvent::Message { id, .. } if id == honest_id));
    let stats = server.port.stats();
    assert_eq!((stats.oversized, stats.messages_too_fast, stats.datagrams_too_fast), (1, 1, 1));
    assert_eq!((stats.opened, stats.closed, stats.connections), (4, 3, 1));
}

#[tokio::test]
async fn a_client_without_a_first_message_is_closed_and_never_told_of() {
    let limits = ClientLimits { first_message_timeout: Duration::from_millis(200), ..Default::default() };
    let mut server = Server::open(limits);
    let issued = server.world.issue(Role::Server("unused".into()));
    let endpoint = quinn::Endpoint::client(loopback()).unwrap();
    let config = common::raw_client_config(&issued, b"selvedge/1");
    let address = server.port.local_addr().unwrap();
    let silent = endpoint.connect_with(config, address, &server.name).unwrap().await.unwrap();
    let reason = tokio::time::timeout(PATIENCE, silent.closed()).await.unwrap().to_string();
    assert!(reason.contains("first message did not come in time"), "{reason}");
    assert_eq!(server.port.stats().first_message_timeouts, 1);
    assert!(server.events.try_recv().is_err());
}

#[tokio::test]
async fn the_servers_name_and_address_are_checked() {
    let server = Server::open(ClientLimits::default());
    let dialer = server.dialer();
    let address = server.port.local_addr().unwrap();
    for name in [server.name.as_str(), "play.example", "127.0.0.1"] {
        dialer.connect(address, name, Bytes::new()).await.unwrap();
    }
    let error = dialer.connect(address, "elsewhere.example", Bytes::new()).await.unwrap_err().to_string();
    assert!(error.contains("the server name is wrong"), "{error}");
    let error = dialer.connect(address, "not a name", Bytes::new()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Target { .. }), "{error}");

    let stranger = ClientDialer::new(World::new("players").0.ca_pem(), Tuning::for_clients()).unwrap();
    let error = stranger.connect(address, &server.name, Bytes::new()).await.unwrap_err().to_string();
    assert!(error.contains("was not issued by this world's CA"), "{error}");
    assert!(ClientDialer::new("no certificate", Tuning::for_clients()).is_err());
}

#[tokio::test]
async fn a_node_is_no_server_on_either_end() {
    let world = World::new("players");
    let identity = world.identity(Role::Node(selvedge_certs::Uuid::from_u128(1)));
    let config = ClientPortConfig {
        bind: loopback(),
        identity,
        tuning: Tuning::for_clients(),
        limits: ClientLimits::default(),
    };
    let error = ClientPort::bind(config).unwrap_err().to_string();
    assert!(error.contains("role node") && error.contains("role server"), "{error}");

    // A server of somebody's making that shows a node's certificate.
    let node = world.issue(Role::Node(selvedge_certs::Uuid::from_u128(1)));
    let impostor = raw_server(&node);
    let address = impostor.local_addr().unwrap();
    let accepting = tokio::spawn(async move { impostor.accept().await.unwrap().await.map(drop) });
    let dialer = ClientDialer::new(world.0.ca_pem(), Tuning::for_clients()).unwrap();
    let name = selvedge_certs::server_name(&node.id);
    let error = dialer.connect(address, &name, Bytes::new()).await.unwrap_err().to_string();
    assert!(error.contains("has the role node, and clients talk to servers only"), "{error}");
    assert!(accepting.await.unwrap().is_err());
}

#[tokio::test]
async fn a_client_on_the_mesh_port_is_refused() {
    let world = World::new("players");
    let mesh = world.end(1);
    let dialer = ClientDialer::new(world.0.ca_pem(), Tuning::for_clients()).unwrap();
    let name = selvedge_certs::server_name(mesh.mesh.name().id());
    let error = dialer.connect(mesh.address(), &name, Bytes::new()).await.unwrap_err().to_string();
    assert!(error.contains("nodes and players have ports of their own"), "{error}");
    assert_eq!(mesh.mesh.stats().links, 0);
}

#[tokio::test]
async fn a_flood_of_connections_is_bounded_and_leaves_the_others_alone() {
    let limits = ClientLimits { connections_max: 20, handshakes_per_second_max: 1000, ..Default::default() };
    let mut server = Server::open(limits);
    let dialer = Arc::new(server.dialer());
    let (honest, _events) = server.connect(&dialer).await.unwrap();
    let (honest_id, _) = server.opened().await;
    let address = server.port.local_addr().unwrap();
    let attempts: Vec<_> = (0..60)
        .map(|_| {
            let (dialer, name) = (dialer.clone(), server.name.clone());
            tokio::spawn(async move { dialer.connect(address, &name, Bytes::from_static(b"token")).await })
        })
        .collect();
    let mut kept = Vec::new();
    let mut refused = 0u64;
    for attempt in attempts {
        match attempt.await.unwrap() {
            Ok(connected) => kept.push(connected),
            Err(error) => {
                assert!(error.to_string().contains("refused by the peer"), "{error}");
                refused += 1;
            }
        }
    }
    assert_eq!((kept.len(), refused), (19, 41));
    let stats = server.port.stats();
    assert_eq!((stats.connections, stats.refused_connections), (20, 41));
    honest.send(Bytes::from_static(b"still here")).unwrap();
    loop {
        match server.event().await {
            ClientEvent::Message { id, .. } => break assert_eq!(id, honest_id),
            ClientEvent::Opened { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_handshake_budget_asks_for_proof_and_then_refuses() {
    let limits = ClientLimits { handshakes_per_second_max: 6, ..Default::default() };
    let server = Server::open(limits);
    let dialer = server.dialer();
    let mut connected = Vec::new();
    for _ in 0..40 {
        if let Ok(connection) = server.connect(&dialer).await {
            connected.push(connection);
        }
    }
    let stats = server.port.stats();
    assert!(stats.retries > 0 && stats.refused_rate > 0, "{stats:?}");
    assert!(!connected.is_empty() && connected.len() < 40, "{} connected", connected.len());
}

#[tokio::test]
async fn an_address_has_its_own_limit_and_gets_its_places_back() {
    let limits = ClientLimits { connections_per_address_max: 2, ..Default::default() };
    let mut server = Server::open(limits);
    let dialer = server.dialer();
    let (first, _first_events) = server.connect(&dialer).await.unwrap();
    let _second = server.connect(&dialer).await.unwrap();
    assert!(server.connect(&dialer).await.is_err());
    assert_eq!(server.port.stats().refused_address, 1);
    server.opened().await;
    server.opened().await;
    first.close(256, "leaving");
    assert!(server.closed().await.1.contains("leaving"));
    server.connect(&dialer).await.unwrap();
}

#[tokio::test]
async fn a_dropped_receiver_and_a_closed_port_end_their_connections() {
    let mut server = Server::open(ClientLimits::default());
    let dialer = server.dialer();
    let (_client, events) = server.connect(&dialer).await.unwrap();
    server.opened().await;
    drop(events);
    assert!(server.closed().await.1.contains("the client left"));

    let (_client, mut events) = server.connect(&dialer).await.unwrap();
    server.opened().await;
    server.port.close("maintenance").await;
    assert!(closed(&mut events).await.1.contains("maintenance"));
    dialer.close("bye").await;
}

fn raw_server(issued: &selvedge_certs::IssuedIdentity) -> quinn::Endpoint {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = vec![CertificateDer::from_pem_slice(issued.chain_pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    tls.alpn_protocols = vec![b"selvedge/1".to_vec()];
    let tls = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    quinn::Endpoint::server(quinn::ServerConfig::with_crypto(Arc::new(tls)), loopback()).unwrap()
}
