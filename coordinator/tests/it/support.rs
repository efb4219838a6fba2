//! A world with a real coordinator and fake nodes that speak the mesh protocol over real QUIC, one step at a time.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use selvedge_certs::{
    Authority, CA_VALIDITY, IDENTITY_VALIDITY, Identity, IssuedIdentity, Role, SubjectNames, Uuid, WorldName,
};
use selvedge_client::{ClientEndpoint, ClientSettings};
use selvedge_coordinator::{
    AnyName, Authenticator, CharacterStore, CoordinatorArgs, CoordinatorService, FileConfig, MemoryStore,
    Settings, StartError, StoreArg,
};
use selvedge_protocol::id::{NodeId, Term};
use selvedge_protocol::time::Time;
use selvedge_protocol::wire::{self, Hello, Message};
use selvedge_transport::{
    ClientEvent, ClientLimits, ClientPort, ClientPortConfig, Lane, Link, LinkEvent, MeshConfig, MeshEndpoint,
    MeshLimits, PeerName, Tuning,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Waits for what must come, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, future).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

pub(crate) fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) entry_patience: Option<Duration>,
    pub(crate) lease: Option<Duration>,
}

impl World {
    pub(crate) fn new() -> Self {
        let authority = Authority::init(WorldName::new("aerie").unwrap(), CA_VALIDITY).unwrap();
        Self { authority, entry_patience: None, lease: None }
    }

    pub(crate) fn issue(&self, role: Role) -> IssuedIdentity {
        self.authority.issue(role, &SubjectNames::default(), IDENTITY_VALIDITY).unwrap()
    }

    fn identity(&self, role: Role) -> Identity {
        Identity::from_issued(&self.issue(role)).unwrap()
    }

    /// Starts a coordinator on free ports.
    pub(crate) async fn coordinator(
        &self,
        authenticator: Arc<dyn Authenticator>,
        store: Arc<dyn CharacterStore>,
    ) -> CoordinatorService {
        self.start(CoordinatorArgs::default(), authenticator, store).await.unwrap()
    }

    /// Tries to start one with one of its sockets at a certain address.
    pub(crate) async fn coordinator_at(
        &self,
        setting: &str,
        address: SocketAddr,
    ) -> Result<CoordinatorService, StartError> {
        let at = |name| (setting == name).then_some(address);
        let args = CoordinatorArgs {
            bind_mesh: at("bind_mesh"),
            bind_door: at("bind_door"),
            bind_http: at("bind_http"),
            ..CoordinatorArgs::default()
        };
        self.start(args, Arc::new(AnyName), Arc::new(MemoryStore::default())).await
    }

    async fn start(
        &self,
        args: CoordinatorArgs,
        authenticator: Arc<dyn Authenticator>,
        store: Arc<dyn CharacterStore>,
    ) -> Result<CoordinatorService, StartError> {
        let path = || Some("unused".into());
        let args = CoordinatorArgs {
            world: Some(self.authority.world().clone()),
            cert: path(),
            key: path(),
            ca: path(),
            door_cert: path(),
            door_key: path(),
            bind_mesh: args.bind_mesh.or(Some(anywhere())),
            bind_door: args.bind_door.or(Some(anywhere())),
            bind_http: args.bind_http.or(Some(anywhere())),
            store: args.store.or(Some(StoreArg::None)),
            entry_patience: self.entry_patience,
            lease: self.lease,
            ..args
        };
        let settings = Settings::resolve(args, FileConfig::default(), None).unwrap();
        let identity = self.identity(Role::Coordinator("main".into()));
        let door = self.identity(Role::Server("door".into()));
        CoordinatorService::start(&settings, identity, door, authenticator, Some(store)).await
    }

    /// A fake node with a link to the coordinator; `world` is what its hello says.
    pub(crate) fn node(&self, number: u128, coordinator: &CoordinatorService, world: &str) -> FakeNode {
        self.process(number, 77, coordinator, world)
    }

    /// One process of several that may run as the same node.
    pub(crate) fn process(
        &self,
        number: u128,
        process: u64,
        coordinator: &CoordinatorService,
        world: &str,
    ) -> FakeNode {
        let node = NodeId::from_u128(number);
        let hello =
            Hello { world: world.into(), peer: None, process, term: None, schema_min: 1, schema_max: 1 };
        let config = MeshConfig {
            bind: anywhere(),
            identity: Arc::new(self.identity(Role::Node(Uuid::from_u128(number)))),
            hello: wire::encode_hello(&hello),
            tuning: Tuning::default(),
            limits: MeshLimits::default(),
        };
        let (mesh, links) = MeshEndpoint::bind(config, Arc::new(|_, _| Ok(()))).unwrap();
        let server = self.issue(Role::Server(format!("node-{number}")));
        let (port, clients) = ClientPort::bind(ClientPortConfig {
            bind: anywhere(),
            identity: Arc::new(Identity::from_issued(&server).unwrap()),
            tuning: Tuning::for_clients(),
            limits: ClientLimits::default(),
        })
        .unwrap();
        let name = PeerName::coordinator(self.authority.world(), "main").unwrap();
        mesh.keep_link(name, coordinator.addresses().mesh);
        let server_name = selvedge_certs::server_name(&server.id);
        FakeNode { node, process, mesh, links, link: None, port, clients, server_name }
    }

    pub(crate) fn players(&self, coordinator: &CoordinatorService) -> ClientEndpoint {
        let door = coordinator.addresses().door;
        let name = "server-door.aerie.selvedge";
        ClientEndpoint::new(ClientSettings::new(door, name, self.authority.ca_pem())).unwrap()
    }
}

pub(crate) struct FakeNode {
    pub(crate) node: NodeId,
    process: u64,
    mesh: MeshEndpoint,
    pub(crate) links: mpsc::Receiver<LinkEvent>,
    link: Option<Link>,
    port: ClientPort,
    pub(crate) clients: mpsc::Receiver<ClientEvent>,
    server_name: String,
}

impl FakeNode {
    /// Waits for the link; gives the term in the coordinator's hello.
    pub(crate) async fn linked(&mut self) -> Term {
        loop {
            if let LinkEvent::Up { link, hello, .. } = soon("the link", self.links.recv()).await.unwrap() {
                self.link = Some(link);
                return wire::decode_hello(&hello).unwrap().term.unwrap();
            }
        }
    }

    /// Waits until its dial is refused; gives the reason.
    pub(crate) async fn refusal(&mut self) -> String {
        loop {
            let event = soon("the refusal", self.links.recv()).await.unwrap();
            if let LinkEvent::DialFailed { reason, refused: true, .. } = event {
                return reason;
            }
        }
    }

    /// Ends its link in an orderly way, and dials no more.
    pub(crate) async fn close(self, reason: &str) {
        self.mesh.close(reason).await;
    }

    pub(crate) fn send_raw(&self, lane: Lane, frame: Bytes) {
        self.link.as_ref().unwrap().send(lane, frame, Bytes::new()).unwrap();
    }

    pub(crate) fn send(&self, message: &Message, blob: Bytes) {
        self.link.as_ref().unwrap().send(Lane::Control, wire::encode_mesh(message), blob).unwrap();
    }

    /// Waits for a message that `pick` takes; others are passed over.
    pub(crate) async fn receive<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(Message, Bytes) -> Option<T>,
    ) -> T {
        loop {
            let LinkEvent::Message { payload, .. } = soon(what, self.links.recv()).await.unwrap() else {
                continue;
            };
            let frame = wire::decode_mesh(&payload).unwrap();
            if let Some(picked) = pick(frame.message, frame.blob) {
                return picked;
            }
        }
    }

    pub(crate) fn register(&self) {
        let register = Message::Register {
            node: self.node,
            process: self.process,
            life: 0,
            sent_at: Time::ZERO,
            mesh_addr: self.mesh.local_addr().unwrap().to_string(),
            client_addr: self.port.local_addr().unwrap().to_string(),
            server_name: self.server_name.clone(),
            schema_min: 1,
            schema_max: 1,
        };
        self.send(&register, Bytes::new());
    }
}

/// Asks over HTTP; gives the status code and the body.
pub(crate) async fn http(address: SocketAddr, method: &str, path: &str) -> (u16, serde_json::Value) {
    let mut stream = soon("HTTP", TcpStream::connect(address)).await.unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: c\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("HTTP", stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}")))
}
