//! The mesh thread: the one task that owns the core.
//!
//! It feeds the core what happens and carries out what the core asks for. Whatever is pending is taken in one go, so
//! that the game is woken and the sockets are served once for many events.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use selvedge_certs::{Identity, Role};
use selvedge_protocol::config::{ConfigError, NodeConfig, WorldConfig};
use selvedge_protocol::id::{ClientId, NodeId, Peer};
use selvedge_protocol::node::{
    GameCommand, GameReport, Input, Node, NodeEvent, NodeSetup, Output, Registration,
};
use selvedge_protocol::time::Time;
use selvedge_protocol::wire::{Lane, decode_mesh};
use selvedge_transport::{LinkEvent, MeshConfig, MeshEndpoint, PeerName};
use tokio::sync::mpsc;
use tracing::{debug, error, info, trace, warn};

use super::clients::ClientNews;
use super::connections::{Connections, StateBatch};
use super::hello::{self, Facts};
use super::links::Links;
use super::{StartError, advertised};
use crate::config::MeshNodeConfig;
use crate::shared::Shared;

/// Events of each kind that are taken before the outcome is handed on.
const BATCH_MAX: usize = 256;
/// The longest that the task sleeps: a timer further off is looked at again then.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// Timeouts that the core may have due at one moment; a core that has more makes no progress.
const TIMEOUTS_AT_ONCE_MAX: usize = 1024;

/// What arrives from this process's other threads.
#[derive(Debug)]
pub(super) struct Inboxes {
    pub(super) reports: mpsc::Receiver<GameReport>,
    pub(super) client_news: mpsc::Receiver<ClientNews>,
    pub(super) measured: mpsc::Receiver<Bytes>,
}

/// The core and everything that it speaks through.
pub(super) struct MeshTask {
    node: Node,
    config: NodeConfig,
    endpoint: MeshEndpoint,
    facts: Facts,
    links: Links,
    connections: Connections,
    me: Option<Peer>,
    /// What the game is to be told at the end of this batch.
    commands: Vec<GameCommand>,
    /// A cutover was sent: the sockets come first, before whatever else is pending.
    urgent: bool,
    shared: Arc<Shared>,
}

impl MeshTask {
    /// Opens the mesh endpoint and makes the core. Says where the endpoint is bound.
    pub(super) fn open(
        config: &MeshNodeConfig,
        identity: Identity,
        setup: NodeSetup,
        states: mpsc::Sender<StateBatch>,
        shared: Arc<Shared>,
    ) -> Result<(Self, mpsc::Receiver<LinkEvent>, SocketAddr), StartError> {
        let world = identity.id().world.clone();
        let coordinator = PeerName::coordinator(&world, &config.coordinator_name)?;
        let NodeConfig { schema_min, schema_max, .. } = config.core;
        let facts = Facts {
            world: world.clone(),
            process: setup.process,
            schema_min,
            schema_max,
            shunned: hello::Shunned::default(),
        };
        let mesh = MeshConfig {
            bind: config.bind_mesh,
            identity: Arc::new(identity),
            hello: facts.hello(None),
            tuning: config.mesh_tuning.clone(),
            limits: config.mesh_limits.clone(),
        };
        let bind_failed = |source| StartError::Bind { what: "the mesh", source };
        let (endpoint, events) =
            MeshEndpoint::bind(mesh, facts.clone().check(coordinator.clone())).map_err(bind_failed)?;
        let bound = endpoint.local_addr().map_err(bind_failed)?;
        let mesh_addr = advertised(bound, config.advertise_mesh, "advertise_mesh (mesh.advertise)")?;
        endpoint.keep_link(coordinator, config.coordinator);
        let setup = NodeSetup { mesh_addr: mesh_addr.to_string(), ..setup };
        info!(node = %setup.node, mesh = %mesh_addr, clients = setup.client_addr, "node open");
        let task = Self {
            links: Links::new(world, setup.node),
            config: setup.config.clone(),
            node: Node::new(setup),
            endpoint,
            facts,
            connections: Connections::new(states),
            me: None,
            commands: Vec::new(),
            urgent: false,
            shared,
        };
        Ok((task, events, bound))
    }

    /// Runs until the node stops.
    pub(super) async fn run(mut self, mut links: mpsc::Receiver<LinkEvent>, mut inboxes: Inboxes) {
        let stop = self.shared.stop.clone();
        let mut stopped = pin!(stop.cancelled());
        let mut alarm = pin!(tokio::time::sleep_until(self.next_wake()));
        self.drain();
        loop {
            // One that rings early costs a turn, setting it anew each time costs every turn.
            let wake = self.next_wake();
            if wake < alarm.deadline() || alarm.is_elapsed() {
                alarm.as_mut().reset(wake);
            }
            tokio::select! {
                biased;
                () = &mut stopped => break,
                Some(report) = inboxes.reports.recv() => self.feed(Input::Game(report)),
                Some(event) = links.recv() => self.on_link(event),
                Some(news) = inboxes.client_news.recv() => self.on_client(news),
                Some(json) = inboxes.measured.recv() => self.feed(Input::Report(json)),
                () = &mut alarm => {}
            }
            self.take_pending(&mut links, &mut inboxes);
            self.deliver();
            if std::mem::take(&mut self.urgent) {
                // The tasks that write to the sockets are ready and wait for this one.
                let_others_go_first().await;
            }
            self.let_time_pass();
            self.deliver();
        }
        info!("node closes");
        self.endpoint.close("the node stops").await;
    }

    /// Takes what else is there already, some of each kind in turn, so that none starves another. Stops at a cutover: a
    /// frame of states for fifty clients would hold it up.
    fn take_pending(&mut self, links: &mut mpsc::Receiver<LinkEvent>, inboxes: &mut Inboxes) {
        for _ in 0..BATCH_MAX {
            if self.urgent {
                return;
            }
            let (report, event, news) =
                (inboxes.reports.try_recv(), links.try_recv(), inboxes.client_news.try_recv());
            if report.is_err() && event.is_err() && news.is_err() {
                return;
            }
            if let Ok(report) = report {
                self.feed(Input::Game(report));
            }
            if let Ok(event) = event {
                self.on_link(event);
            }
            if let Ok(news) = news {
                self.on_client(news);
            }
        }
    }

    fn next_wake(&self) -> tokio::time::Instant {
        let now = self.shared.clock.now();
        let due = self.node.poll_timeout().map_or(Time::MAX, |(due, _)| due);
        self.shared.clock.instant(due.min(now + SLEEP_MAX)).into()
    }

    fn let_time_pass(&mut self) {
        for _ in 0..TIMEOUTS_AT_ONCE_MAX {
            let now = self.shared.clock.now();
            match self.node.poll_timeout() {
                Some((due, reason)) if due <= now => {
                    trace!(?reason, "timeout");
                    self.node.handle_timeout(now);
                    self.drain();
                }
                Some(_) | None => return,
            }
        }
        error!("the core's timeouts make no progress");
    }

    fn feed(&mut self, input: Input) {
        self.node.handle(input, self.shared.clock.now());
        self.drain();
    }

    fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up { peer, hello, link } => match peer.role() {
                Role::Coordinator(_) => {
                    info!(%peer, "coordinator reached");
                    self.links.coordinator_up(link);
                    self.feed(Input::CoordinatorUp);
                }
                // The hello check has seen to it that a node names its life, and a server never comes here.
                Role::Node(_) | Role::Server(_) => match hello::life(&hello) {
                    Some(life) => {
                        debug!(%peer, incarnation = life.incarnation.0, "link up");
                        self.links.node_up(life, link);
                        self.feed(Input::LinkUp { peer: life });
                    }
                    None => link.close("your hello names no life"),
                },
            },
            LinkEvent::Down { peer, reason } => self.on_link_down(&peer, &reason),
            LinkEvent::Message { peer, payload, .. } | LinkEvent::Datagram { peer, payload } => {
                self.on_message(&peer, &payload);
            }
            LinkEvent::DialFailed { peer, reason, refused: true } => {
                warn!(%peer, reason, "link refused");
                if matches!(peer.role(), Role::Coordinator(_)) {
                    self.shared.set_refused(reason);
                }
            }
            LinkEvent::DialFailed { peer, reason, refused: false } => info!(%peer, reason, "no link"),
        }
    }

    fn on_link_down(&mut self, peer: &PeerName, reason: &str) {
        match peer.role() {
            Role::Coordinator(_) => {
                warn!(%peer, reason, "coordinator lost");
                self.links.coordinator_down();
                self.feed(Input::CoordinatorDown);
            }
            Role::Node(id) => {
                let node = NodeId::from(*id);
                info!(%peer, reason, "link down");
                if self.links.node_down(node) {
                    self.feed(Input::LinkDown { node });
                }
            }
            Role::Server(_) => {}
        }
    }

    fn on_message(&mut self, peer: &PeerName, payload: &Bytes) {
        let Some(from) = self.links.sender(peer) else { return };
        match decode_mesh(payload) {
            Ok(frame) => self.feed(Input::Message { from, message: frame.message, blob: frame.blob }),
            Err(cause) => {
                warn!(%peer, %cause, bytes = payload.len(), "peer misbehaved: its message can't be read");
                self.shared.mesh_meter().peer_misbehaved();
                self.links.close(peer, &format!("your message can't be read: {cause}"));
            }
        }
    }

    fn on_client(&mut self, news: ClientNews) {
        match news {
            ClientNews::Hello { client, token, connection } => {
                self.connections.insert(client, connection);
                self.feed(Input::ClientHello { client, token });
            }
            ClientNews::Message { client, message } => self.feed(Input::ClientMessage { client, message }),
            ClientNews::Closed { client } => {
                self.connections.remove(client);
                self.feed(Input::ClientClosed { client });
            }
        }
    }

    /// Carries out what the core asks for.
    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Send { to, lane, message, blob } => {
                    self.urgent |= lane == Lane::Cutover;
                    if !self.links.send(to, lane, &message, blob) {
                        self.shared.mesh_meter().send_dropped();
                    }
                }
                Output::Client { client, message } => {
                    if !self.connections.send(client, message) {
                        self.shared.mesh_meter().client_send_dropped();
                    }
                }
                Output::CloseClient { client, reason } => self.connections.part(client, reason),
                Output::Game(command) => self.commands.push(command),
                Output::Registered(registration) => self.on_registered(registration),
                Output::MapChanged(map) => {
                    debug!(version = map.version(), nodes = map.nodes().len(), "cell map");
                    self.links.follow(&map, &self.endpoint);
                    self.shared.mailbox.set_map(map);
                }
                Output::Shun { peer } => {
                    self.facts.shunned.insert(peer);
                    self.links.shun(peer);
                }
                Output::ClockOffset { offset_us } => self.shared.set_clock_offset(offset_us),
                Output::Event(event) => self.on_event(event),
            }
        }
    }

    fn on_registered(&mut self, registration: Registration) {
        let me = registration.me;
        info!(node = %me.node, incarnation = me.incarnation.0, term = registration.term.0, "registered");
        if let Err(cause) = self.check_config(&registration) {
            error!(
                %cause,
                "this node's settings don't fit the world that it joined, so it stops; correct them and start it again"
            );
            self.shared.set_unfit(cause.to_string());
            return;
        }
        if let Err(cause) = self.endpoint.set_hello(self.facts.hello(Some(me))) {
            error!(%cause, "the hello can't be changed");
        }
        if self.me.is_some_and(|before| before != me) {
            self.links.close_nodes("this node has begun a new life");
        }
        self.me = Some(me);
        self.shared.mailbox.set_registration(registration);
        self.shared.set_registered(me);
    }

    /// What could not be checked before the world was known. With margins larger than a cell no handoff would ever be right.
    fn check_config(&self, registration: &Registration) -> Result<(), ConfigError> {
        let world = WorldConfig { grid: *registration.grid.config(), ..WorldConfig::default() };
        self.config.check(&world)?;
        let margin_m = registration.interest_margin_m;
        let client_interest_m = self.config.client_sees_m(margin_m);
        if client_interest_m > margin_m {
            warn!(
                client_interest_m,
                interest_margin_m = margin_m,
                "players see farther than across a border: who is beyond the margin behind one appears late; raise the \
                 coordinator's interest_margin_m, or lower core.client_interest_m"
            );
        }
        Ok(())
    }

    fn on_event(&self, event: NodeEvent) {
        match &event {
            NodeEvent::HandedOver { id, to, path, cutover, .. } => {
                debug!(entity = ?id.entity, epoch = %id.epoch, to = ?to.node, ?path, ?cutover, "handed over");
            }
            NodeEvent::Aborted { id, reason } => {
                info!(entity = ?id.entity, epoch = %id.epoch, ?reason, "handoff aborted");
            }
            NodeEvent::PrepareRefused { reservation, reason } => {
                debug!(entity = ?reservation.entity, attempt = reservation.attempt, %reason, "preparation refused");
            }
            NodeEvent::TakenOver { id, from, missed_ticks, .. } => {
                debug!(entity = ?id.entity, epoch = %id.epoch, from = ?from.node, missed_ticks, "taken over");
            }
            NodeEvent::Attached { entity, handoff_total, attach } => {
                debug!(?entity, ?handoff_total, ?attach, "client attached");
            }
            NodeEvent::TokenRefused { client, cause } => {
                info!(%client, remote = self.remote(*client), %cause, "token refused");
            }
            NodeEvent::ClientMisbehaved { client, what } => {
                info!(%client, remote = self.remote(*client), cause = what, "client misbehaved");
            }
            NodeEvent::Checkpointed { cut, sent, bytes, took, .. } => {
                trace!(cut, sent, bytes, ?took, "checkpoint safe");
            }
            NodeEvent::CheckpointAge { .. }
            | NodeEvent::GhostsShown { .. }
            | NodeEvent::GhostsSent { .. }
            | NodeEvent::EventCaused => {}
            NodeEvent::ActionSettled { durable, outcome } => trace!(durable, ?outcome, "action settled"),
            NodeEvent::CheckpointLost { cut } => info!(cut, "checkpoint not acknowledged"),
            NodeEvent::StandbyFull { of } => {
                warn!(node = %of.node, "no room for this node's standby copies; raise core.standby_bytes_max");
            }
            NodeEvent::PeerMisbehaved { peer, what } => {
                warn!(node = %peer.node, incarnation = peer.incarnation.0, cause = %what, "peer misbehaved");
            }
            NodeEvent::RegistrationRefused { reason } => {
                error!(reason, "registration refused by the coordinator");
                self.shared.set_refused(reason.clone());
            }
            NodeEvent::Recovered { entity, epoch, player } => {
                info!(?entity, %epoch, player, "goes on here from a copy");
            }
            NodeEvent::Fenced { incarnation } => {
                error!(
                    incarnation = incarnation.0,
                    "this life of the node is over: its lease ran out, or the coordinator gave it up; registering anew"
                );
            }
        }
        self.shared.mesh_meter().record(&event);
    }

    /// A client's address, for the log.
    fn remote(&self, client: ClientId) -> Option<tracing::field::DisplayValue<SocketAddr>> {
        self.connections.remote(client).map(tracing::field::display)
    }

    /// Hands the batch's commands to the game, and its states to the clients' thread.
    fn deliver(&mut self) {
        if !self.commands.is_empty() {
            self.shared.mailbox.push(self.commands.drain(..));
        }
        for _ in 0..self.connections.flush_states() {
            self.shared.mesh_meter().client_send_dropped();
        }
    }
}

/// Lets each task that is ready have a turn: a cutover that QUIC took whole is sent in the first. The runtime's own way looks
/// for new events before, which takes longer.
async fn let_others_go_first() {
    let mut had_their_turn = false;
    poll_fn(|context| {
        if std::mem::replace(&mut had_their_turn, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
