//! A node of the mesh, with a certificate and a registration, that floods one lane of its link to another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use selvedge_certs::{Identity, Role, WorldName};
use selvedge_protocol::ghost::is_stream;
use selvedge_protocol::grid::CellId;
use selvedge_protocol::id::{
    AuthorityEpoch, EntityId, InputSeq, NodeId, Peer, ReservationId, SessionId, Term,
};
use selvedge_protocol::snapshot::{ComponentVersions, SnapshotWriter};
use selvedge_protocol::time::{Tick, Time};
use selvedge_protocol::wire::{
    CopyHead, Hello, LeaseMessage, Load, Message, PrepareRequest, StandbyMessage, decode_mesh, encode_hello,
    encode_mesh,
};
use selvedge_transport::{
    Lane, Link, LinkEvent, MeshConfig, MeshEndpoint, MeshLimits, PeerName, SendError, Tuning,
};
use tokio::sync::mpsc::Receiver;
use tokio::time::{MissedTickBehavior, interval, timeout_at};

use super::super::args::Attack;
use super::super::attacker::{Deeds, Spec};
use super::super::home::WORLD;
use super::crowd::Crowd;

/// How long the mesh may take to let it in.
const PATIENCE: Duration = Duration::from_secs(20);
const HEARTBEAT: Duration = Duration::from_millis(250);
/// Messages between two looks at what came.
const BATCH: usize = 64;
/// Copies in one part: about 64 KiB of snapshots.
const COPIES: u32 = 60;
const WEIGHT_BYTES: usize = 1000;
pub(super) const TICK: Duration = Duration::from_micros(33_333);

/// The attacking node.
struct Node {
    endpoint: MeshEndpoint,
    events: Receiver<LinkEvent>,
    coordinator: Option<Link>,
    victim: Option<Link>,
    me: Option<Peer>,
    begun: Instant,
    mesh_time: Time,
    crowd: Crowd,
}

/// Registers, links to the victim, and floods it.
pub(super) async fn flood(spec: &Spec) -> anyhow::Result<Deeds> {
    let mut node = Node::open(spec)?;
    let mut beats = interval(HEARTBEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let patience = Instant::now() + PATIENCE;
    while node.victim.is_none() {
        let event = timeout_at(patience.into(), node.events.recv()).await;
        let event = event.context("the mesh didn't take this node in time")?.context("the endpoint ended")?;
        node.on_event(spec, event)?;
    }
    let until = Instant::now() + spec.duration;
    let mut deeds = Deeds { attempts: 1, let_in: 1, ..Deeds::default() };
    let mut number = 0_u64;
    while Instant::now() < until {
        for _ in 0..BATCH {
            number += 1;
            match node.send(spec.attack, number) {
                Ok(bytes) => {
                    deeds.sent += 1;
                    deeds.bytes += bytes as u64;
                }
                Err(SendError::QueueFull) => break,
                Err(SendError::Closed | SendError::TooLarge { .. }) => {
                    deeds.closed += 1;
                    node.victim = None;
                    break;
                }
            }
        }
        tokio::select! {
            biased;
            _ = beats.tick() => node.say_alive(),
            () = tokio::task::yield_now() => {}
        }
        while let Ok(event) = node.events.try_recv() {
            node.on_event(spec, event)?;
        }
        if node.victim.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    Ok(deeds)
}

impl Node {
    fn open(spec: &Spec) -> anyhow::Result<Self> {
        let rogue = spec.rogue.as_ref().context("a node attacks, and has no identity")?;
        let identity = Identity::load(&rogue.cert, &rogue.key, &spec.ca)?;
        let world = WorldName::new(WORLD)?;
        let config = MeshConfig {
            bind: ([127, 0, 0, 1], 0).into(),
            identity: Arc::new(identity),
            hello: hello(None),
            tuning: Tuning::default(),
            limits: MeshLimits::default(),
        };
        let (endpoint, events) = MeshEndpoint::bind(config, Arc::new(|_, _| Ok(())))?;
        endpoint.keep_link(PeerName::coordinator(&world, "main")?, spec.coordinator);
        let (begun, mesh_time) = (Instant::now(), Time::ZERO);
        let (coordinator, victim, me, crowd) = (None, None, None, Crowd::new());
        Ok(Self { endpoint, events, coordinator, victim, me, begun, mesh_time, crowd })
    }

    fn now(&self) -> Time {
        Time::ZERO + self.begun.elapsed()
    }

    fn on_event(&mut self, spec: &Spec, event: LinkEvent) -> anyhow::Result<()> {
        match event {
            LinkEvent::Up { peer, link, .. } => match peer.role() {
                Role::Coordinator(_) => {
                    let register = self.register()?;
                    let _ = link.send(Lane::Control, encode_mesh(&register), Bytes::new());
                    self.coordinator = Some(link);
                }
                Role::Node(id) if NodeId::from(*id) == spec.node => self.victim = Some(link),
                Role::Node(_) | Role::Server(_) => {}
            },
            LinkEvent::Message { peer, payload, .. } => {
                if let Ok(frame) = decode_mesh(&payload) {
                    self.on_message(spec, &peer, frame.message)?;
                }
            }
            LinkEvent::Down { .. } | LinkEvent::Datagram { .. } | LinkEvent::DialFailed { .. } => {}
        }
        Ok(())
    }

    fn register(&self) -> anyhow::Result<Message> {
        let Role::Node(id) = self.endpoint.name().role() else { anyhow::bail!("this is no node's identity") };
        Ok(Message::Register {
            node: NodeId::from(*id),
            process: 1,
            life: 0,
            sent_at: self.now(),
            mesh_addr: self.endpoint.local_addr()?.to_string(),
            client_addr: "127.0.0.1:9".to_owned(),
            server_name: "rogue".to_owned(),
            schema_min: 1,
            schema_max: 1,
        })
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "it ignores most of what a good node must answer")]
    fn on_message(&mut self, spec: &Spec, from: &PeerName, message: Message) -> anyhow::Result<()> {
        match message {
            Message::Registered { incarnation, .. } => {
                let Role::Node(id) = self.endpoint.name().role() else { return Ok(()) };
                let me = Peer { node: NodeId::from(*id), incarnation };
                self.me = Some(me);
                self.endpoint.set_hello(hello(Some(me)))?;
                let world = WorldName::new(WORLD)?;
                let victim = PeerName::node(&world, spec.node.as_u128().to_be_bytes());
                self.endpoint.keep_link(victim, spec.mesh);
            }
            Message::HeartbeatReply { mesh_time: Some(mesh_time), .. } => self.mesh_time = mesh_time,
            // As a voter it does its duty: this is about floods.
            Message::Lease(LeaseMessage::Renew { sent_at }) => {
                let renewed = encode_mesh(&Message::Lease(LeaseMessage::Renewed { sent_at }));
                if let Some(link) = self.endpoint.link(from) {
                    let _ = link.send(Lane::Control, renewed, Bytes::new());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn say_alive(&self) {
        let (Some(me), Some(link)) = (self.me, &self.coordinator) else { return };
        let beat = Message::Heartbeat {
            incarnation: me.incarnation,
            sent_at: self.now(),
            map_version: u64::MAX,
            mesh_time: None,
            reported: Term(u64::MAX),
            load: Load::default(),
        };
        let _ = link.send(Lane::Control, encode_mesh(&beat), Bytes::new());
    }

    /// Sends one message of the flood. Gives its bytes.
    fn send(&mut self, attack: Attack, number: u64) -> Result<usize, SendError> {
        let (Some(me), Some(link)) = (self.me, &self.victim) else { return Err(SendError::QueueFull) };
        let (lane, message, blob) = match attack {
            Attack::Checkpoints => {
                let (message, blob) = part(number);
                (Lane::Checkpoint, message, blob)
            }
            Attack::Ghosts => {
                let mut bytes = 0;
                for piece in self.crowd.next(Tick::at(self.mesh_time, TICK), self.begun.elapsed()) {
                    bytes += piece.len();
                    if is_stream(&piece) {
                        link.send(Lane::Action, Bytes::new(), piece)?;
                    } else {
                        link.send_datagram(piece)?;
                    }
                }
                return Ok(bytes);
            }
            Attack::Control
            | Attack::Connections
            | Attack::Noise
            | Attack::Strangers
            | Attack::Players
            | Attack::Deaf => (Lane::Control, preparation(me, number), Bytes::new()),
        };
        let head = encode_mesh(&message);
        let bytes = head.len() + blob.len();
        link.send(lane, head, blob).map(|()| bytes)
    }
}

fn hello(peer: Option<Peer>) -> Bytes {
    let world = WORLD.to_owned();
    encode_hello(&Hello { world, peer, process: 1, term: None, schema_min: 1, schema_max: 1 })
}

fn preparation(source: Peer, number: u64) -> Message {
    let entity = EntityId::from_u128(u128::from(number) << 64);
    let cell = |x| CellId::new(0, x, 0, 0);
    let (Ok(from_cell), Ok(to_cell)) = (cell(1), cell(0)) else { return Message::Report };
    Message::PrepareDirect(PrepareRequest {
        reservation: ReservationId { entity, source, attempt: 1 },
        session: Some(SessionId::from_u128(u128::from(number))),
        from_cell,
        to_cell,
        crossing_in_us: 0,
        size_hint_bytes: 4096,
        schema: 1,
        asked_at: Time::ZERO,
    })
}

/// One part of a cut that never ends.
fn part(number: u64) -> (Message, Bytes) {
    let (mut copies, mut blob) = (Vec::new(), BytesMut::new());
    for copy in 0..COPIES {
        let entity = EntityId::from_u128(u128::from(number) << 64 | u128::from(copy));
        let mut writer = SnapshotWriter::new(entity, None, &ComponentVersions::new());
        writer.schema(1);
        writer.component("weight", 1, &[7; WEIGHT_BYTES]);
        let Ok(snapshot) = writer.finish(InputSeq(0)) else { continue };
        let bytes = u32::try_from(snapshot.bytes.len()).unwrap_or(u32::MAX);
        copies.push(CopyHead { entity, session: None, epoch: AuthorityEpoch::FIRST, bytes });
        blob.extend_from_slice(&snapshot.bytes);
    }
    let index = u32::try_from(number).unwrap_or(u32::MAX);
    (Message::Standby(StandbyMessage::Part { cut: 1, index, copies }), blob.freeze())
}
