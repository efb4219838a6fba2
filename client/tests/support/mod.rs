//! A world of fakes: a door and nodes that speak the clients' protocol over real QUIC, one step at a time.

#![allow(dead_code, reason = "shared by test files, each of which uses its own part")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use selvedge_certs::{
    Authority, CA_VALIDITY, IDENTITY_VALIDITY, Identity, Role, SpiffeId, SubjectNames, WorldName,
};
use selvedge_client::{Client, ClientConfig, ClientEndpoint, ClientEvent, ClientSettings};
use selvedge_protocol::grid::Motion;
use selvedge_protocol::id::{AuthorityEpoch, EntityId, InputSeq, SessionId};
use selvedge_protocol::time::Tick;
use selvedge_protocol::token::Token;
use selvedge_protocol::wire::{self, ClientMessage, Invitation, ServerMessage, SessionReply, SessionRequest};
use selvedge_transport::{
    ClientConnection, ClientEvent as PortEvent, ClientLimits, ClientPort, ClientPortConfig, Tuning,
};
use tokio::sync::mpsc;

pub(crate) const SESSION: SessionId = SessionId::from_u128(5);
pub(crate) const ENTITY: EntityId = EntityId::from_u128(6);
pub(crate) const SECRET: Token = Token::from_bytes([7; 32]);

/// Waits for what must come, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .unwrap_or_else(|_| panic!("waited too long for {what}"))
}

pub(crate) struct World {
    authority: Authority,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { authority: Authority::init(WorldName::new("aerie").unwrap(), CA_VALIDITY).unwrap() }
    }

    pub(crate) fn server(&self, name: &str) -> Server {
        let role = Role::Server(name.to_owned());
        let id = SpiffeId::new(self.authority.world().clone(), role.clone()).unwrap();
        let issued = self.authority.issue(role, &SubjectNames::default(), IDENTITY_VALIDITY).unwrap();
        let (port, events) = ClientPort::bind(ClientPortConfig {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            identity: Arc::new(Identity::from_issued(&issued).unwrap()),
            tuning: Tuning::for_clients(),
            limits: ClientLimits::default(),
        })
        .unwrap();
        let addr = port.local_addr().unwrap();
        Server { _port: port, events, addr, server_name: selvedge_certs::server_name(&id) }
    }

    pub(crate) fn endpoint(&self, door: &Server) -> ClientEndpoint {
        self.endpoint_with(door, ClientConfig::default())
    }

    pub(crate) fn endpoint_with(&self, door: &Server, machine: ClientConfig) -> ClientEndpoint {
        let settings = ClientSettings::new(door.addr, door.server_name.clone(), self.authority.ca_pem());
        ClientEndpoint::new(ClientSettings { machine, ..settings }).unwrap()
    }
}

/// A door or a node.
pub(crate) struct Server {
    _port: ClientPort,
    events: mpsc::Receiver<PortEvent>,
    pub(crate) addr: SocketAddr,
    pub(crate) server_name: String,
}

impl Server {
    pub(crate) fn invitation(&self, token: u8) -> Invitation {
        Invitation {
            addr: self.addr.to_string(),
            server_name: self.server_name.clone(),
            token: Token::from_bytes([token; 32]),
        }
    }

    async fn next(&mut self, what: &str) -> PortEvent {
        soon(what, self.events.recv()).await.unwrap()
    }

    async fn opened(&mut self, what: &str) -> (ClientConnection, Bytes) {
        loop {
            if let PortEvent::Opened { first, connection, .. } = self.next(what).await {
                return (connection, first);
            }
        }
    }

    /// Waits for a question at the door and lets the player in at `node`.
    pub(crate) async fn answer(&mut self, node: &Server, token: u8) -> SessionRequest {
        self.answer_with(node.invitation(token)).await
    }

    pub(crate) async fn answer_with(&mut self, invitation: Invitation) -> SessionRequest {
        let (connection, first) = self.opened("a question at the door").await;
        let reply = SessionReply::Entered { session: SESSION, secret: SECRET, entity: ENTITY, invitation };
        connection.send(wire::encode_session_reply(&reply)).unwrap();
        wire::decode_session_request(&first).unwrap()
    }

    /// Waits for a question at the door and refuses it.
    pub(crate) async fn refuse(&mut self, retry: bool) {
        let (connection, _) = self.opened("a question at the door").await;
        let reply = SessionReply::Refused { reason: "not today".to_owned(), retry };
        connection.send(wire::encode_session_reply(&reply)).unwrap();
    }

    /// Waits for a client that shows `token`.
    pub(crate) async fn greet(&mut self, token: u8) -> Seat {
        let (connection, first) = self.opened("a client").await;
        let expected = ClientMessage::Hello { token: Token::from_bytes([token; 32]) };
        assert_eq!(wire::decode_client(&first).unwrap(), expected);
        Seat { connection }
    }

    /// Applies inputs in consecutive order, from the one after `applied`, until `last` is applied.
    pub(crate) async fn apply(&mut self, mut applied: u32, last: u32) -> Vec<u8> {
        let mut effects = Vec::new();
        while applied < last {
            let PortEvent::Datagram { payload, .. } = self.next("inputs").await else {
                continue;
            };
            let ClientMessage::Inputs { entity: ENTITY, inputs } = wire::decode_client(&payload).unwrap()
            else {
                panic!("a datagram without inputs");
            };
            for input in inputs {
                if input.seq.0 == applied + 1 {
                    applied += 1;
                    effects.extend_from_slice(&input.bytes);
                }
            }
        }
        effects
    }

    pub(crate) async fn message(&mut self, what: &str) -> ClientMessage {
        loop {
            if let PortEvent::Message { payload, .. } = self.next(what).await {
                return wire::decode_client(&payload).unwrap();
            }
        }
    }

    pub(crate) async fn closed(&mut self) {
        while !matches!(self.next("the end of a connection").await, PortEvent::Closed { .. }) {}
    }
}

/// A client at a node.
pub(crate) struct Seat {
    pub(crate) connection: ClientConnection,
}

impl Seat {
    pub(crate) fn say(&self, message: &ServerMessage) {
        self.connection.send(wire::encode_server(message)).unwrap();
    }

    pub(crate) fn attach(&self, step: u32, applied: u32) {
        self.say(&ServerMessage::Attached {
            entity: ENTITY,
            session: SESSION,
            epoch: epoch(step),
            applied: InputSeq(applied),
            durable: InputSeq(applied),
            tick_interval_us: 33_333,
        });
    }

    pub(crate) fn show(&self, step: u32, tick: u64, applied: u32) {
        self.show_durable(epoch(step), tick, applied, applied);
    }

    pub(crate) fn show_durable(&self, epoch: AuthorityEpoch, tick: u64, applied: u32, durable: u32) {
        let state = ServerMessage::State {
            entity: ENTITY,
            epoch,
            tick: Tick(tick),
            applied: InputSeq(applied),
            durable: InputSeq(durable),
            motion: Motion::default(),
            own: Vec::new(),
        };
        self.connection.send_datagram(wire::encode_server(&state)).unwrap();
    }
}

pub(crate) fn epoch(step: u32) -> AuthorityEpoch {
    AuthorityEpoch { generation: 0, step }
}

/// Reads events until one fits.
pub(crate) async fn wait_for(
    client: &mut Client,
    what: &str,
    mut fits: impl FnMut(&ClientEvent) -> bool,
) -> ClientEvent {
    loop {
        let event = soon(what, client.next_event()).await.unwrap_or_else(|| panic!("over before {what}"));
        if fits(&event) {
            return event;
        }
    }
}

pub(crate) async fn wait_until_entered(client: &mut Client) {
    wait_for(client, "the entry", |event| matches!(event, ClientEvent::Entered { entity: ENTITY, .. })).await;
}

/// Waits for the state of a tick, or a later one.
pub(crate) async fn wait_for_tick(client: &mut Client, at_least: u64) {
    wait_for(
        client,
        "a state",
        |event| matches!(event, ClientEvent::State(ServerMessage::State { tick, .. }) if tick.0 >= at_least),
    )
    .await;
}
