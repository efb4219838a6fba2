//! The handle that a game holds: starts the network side, and drives the world tick by tick.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_certs::Identity;
use selvedge_protocol::config::NodeConfig;
use selvedge_protocol::id::{NodeId, Peer};
use selvedge_protocol::node::GameReport;
use selvedge_protocol::time::{Tick, Time};
use tokio::sync::mpsc;

use crate::config::MeshNodeConfig;
use crate::frame::Frame;
use crate::game::{Batch, GameSide, NobodyReads, Outbox, Pacer, sleep_sharply};
use crate::net::{Network, StartError};
use crate::report::{NodeReport, TickMeasured};
use crate::shared::Shared;
use crate::world::World;

/// Reports that wait for the mesh thread. When full, they wait on the game's side, and old frames are dropped.
const REPORTS_MAX: usize = 1024;
/// How long a tick of a node that isn't registered waits before it says so: a loop around it doesn't spin.
const NOT_READY_WAIT: Duration = Duration::from_millis(20);

/// Collects what a node needs to start.
#[derive(Debug, Default)]
pub struct MeshNodeBuilder {
    config: Option<MeshNodeConfig>,
    identity: Option<Identity>,
    client_identity: Option<Identity>,
}

impl MeshNodeBuilder {
    /// How it is reached, whom it registers with, how it hands off.
    #[must_use]
    pub fn config(mut self, config: MeshNodeConfig) -> Self {
        self.config = Some(config);
        self
    }

    /// Who it is in the mesh: a node's identity.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// What it shows to clients: a server's identity.
    #[must_use]
    pub fn client_identity(mut self, identity: Identity) -> Self {
        self.client_identity = Some(identity);
        self
    }

    /// Opens both endpoints and begins to register. Returns without waiting for the coordinator.
    ///
    /// # Errors
    /// If something is missing, an identity doesn't fit its use, or an endpoint can't be opened.
    pub fn start(self) -> Result<MeshNode, StartError> {
        let missing = |what, method| StartError::Incomplete { what, method };
        let config = self.config.ok_or_else(|| missing("the configuration", "config"))?;
        let identity = self.identity.ok_or_else(|| missing("the node's identity", "identity"))?;
        let client_identity =
            self.client_identity.ok_or_else(|| missing("the clients' identity", "client_identity"))?;
        let shared = Arc::new(Shared::new());
        let (sender, reports) = mpsc::channel(REPORTS_MAX);
        let (core, pacing) = (config.core.clone(), config.pacing);
        let network = Network::start(config, identity, client_identity, reports, &shared)?;
        Ok(MeshNode {
            shared,
            network,
            core,
            side: None,
            batch: Batch::default(),
            outbox: Outbox::new(sender),
            pacer: Pacer::new(pacing),
        })
    }
}

/// A node of the mesh, as the game holds it. Dropping it stops the node.
#[derive(Debug)]
pub struct MeshNode {
    shared: Arc<Shared>,
    network: Network,
    core: NodeConfig,
    /// None until the node is registered.
    side: Option<GameSide>,
    /// What is read from the mailbox; kept for its room.
    batch: Batch,
    outbox: Outbox,
    pacer: Pacer,
}

/// Why a tick didn't run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TickError {
    /// The coordinator hasn't registered this node yet; the network side goes on trying. Call again, or use
    /// [`MeshNode::wait_ready`].
    #[error("the node is not registered yet{}", refusal(.refused.as_ref()))]
    NotReady {
        /// Why the coordinator refused, if it did.
        refused: Option<String>,
    },
    /// This node's settings don't fit the world that it joined; it has stopped. Correct them and start it again.
    #[error("this node's settings don't fit the world that it joined: {cause}")]
    Unfit {
        /// Which setting, its value, and what it has to fit.
        cause: String,
    },
    /// The node was stopped, or one of its network threads has ended.
    #[error("the node has stopped")]
    Stopped,
}

fn refusal(refused: Option<&String>) -> String {
    refused.map_or_else(String::new, |reason| format!("; the coordinator refused it: {reason}"))
}

/// What happened in one tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TickReport {
    /// Which tick it was.
    pub tick: Tick,
    /// Ticks that were left out before it because the game was not back in time.
    pub skipped: u64,
    /// How long after its start by mesh time it began.
    pub late: Duration,
    /// Commands of the core that were carried out before the step.
    pub commands: usize,
    /// How long the game's step took.
    pub step: Duration,
    /// Entities that were frozen and are on their way to another node.
    pub frozen: usize,
}

impl MeshNode {
    /// Begins to put a node together.
    #[must_use]
    pub fn builder() -> MeshNodeBuilder {
        MeshNodeBuilder::default()
    }

    /// This node's id.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.network.node
    }

    /// This node in its current life; none before it is registered.
    #[must_use]
    pub fn me(&self) -> Option<Peer> {
        self.shared.standing().me
    }

    /// The bound address for other nodes.
    #[must_use]
    pub const fn mesh_addr(&self) -> SocketAddr {
        self.network.mesh_addr
    }

    /// The bound address for clients.
    #[must_use]
    pub const fn client_addr(&self) -> SocketAddr {
        self.network.client_addr
    }

    /// Mesh time, as this node estimates it.
    #[must_use]
    pub fn mesh_time(&self) -> Time {
        self.shared.clock.mesh_now()
    }

    /// What was measured so far. Costs some milliseconds: not for every tick.
    #[must_use]
    pub fn report(&self) -> NodeReport {
        self.shared.report()
    }

    /// Waits until the coordinator has registered this node and mesh time is known, so that `tick` runs.
    ///
    /// # Errors
    /// If that didn't happen in time, or the node has stopped: by itself if its settings don't fit the world.
    pub fn wait_ready(&self, timeout: Duration) -> Result<Peer, TickError> {
        let standing = self.shared.wait_ready(Instant::now() + timeout);
        if self.shared.stop.is_cancelled() {
            return Err(self.why_stopped());
        }
        standing.me.filter(|_| standing.is_ready()).ok_or(TickError::NotReady { refused: standing.refused })
    }

    /// Runs one tick: waits for its start (see [`Pacing`](crate::Pacing)), tells `world` what has come from the mesh,
    /// runs `step`, and sends what came of it. Never waits for the network.
    ///
    /// An entity that `step` published past the border of a prepared neighbour is captured, sent and released before
    /// this returns.
    ///
    /// # Errors
    /// If the node isn't registered yet (the world wasn't called then), or has stopped.
    pub fn tick<W: World>(
        &mut self,
        world: &mut W,
        step: impl FnOnce(&mut W, &mut Frame<'_>),
    ) -> Result<TickReport, TickError> {
        self.refresh()?;
        let Some(side) = &mut self.side else { return Err(TickError::Stopped) };
        let interval = side.interval();
        let start = self.pacer.next(self.shared.clock.mesh_now(), interval);
        let tick = start.tick;
        side.begin_tick(world, tick);
        let commands = self.serve(world, tick, Instant::now() + start.wait)?;
        let late = self.shared.clock.mesh_now().since(tick.start(interval));

        let Some(side) = &mut self.side else { return Err(TickError::Stopped) };
        side.tell_events(world, tick);
        let began = Instant::now();
        step(world, &mut side.frame(tick, &self.shared.clock));
        let step = began.elapsed();

        let mut frozen = 0;
        while let Some(group) = side.freeze_next(world, tick) {
            send(&mut self.outbox, side.drain_reports())?;
            frozen += group.len();
            side.release_frozen(world, group);
        }
        side.capture_precopies(world);
        let checkpoint = side.capture_checkpoint(world, tick);
        side.end_tick(tick);
        send(&mut self.outbox, side.drain_reports())?;

        let overrun = self.shared.clock.mesh_now() > tick.next().start(interval);
        let measured = TickMeasured {
            skipped: start.skipped,
            late,
            step,
            overrun,
            checkpoint,
            captures_failed: side.take_captures_failed(),
            report_overflows: self.outbox.take_overflows(),
            events_reached: side.take_events_reached(),
        };
        self.shared.game_meter().record_tick(measured, side.take_callback_times());
        Ok(TickReport { tick, skipped: start.skipped, late, commands, step, frozen })
    }

    /// Waits until `deadline`, and meanwhile answers other nodes that hand entities over: for an engine that paces itself
    /// ([`Pacing::Free`](crate::Pacing::Free)) and has time left between two ticks. Without it they wait for the next
    /// tick. With [`Pacing::MeshTime`](crate::Pacing::MeshTime) `tick` does that by itself.
    ///
    /// # Errors
    /// If the node isn't registered yet, or has stopped.
    pub fn idle<W: World>(&mut self, world: &mut W, deadline: Instant) -> Result<(), TickError> {
        self.refresh()?;
        let Some(side) = &self.side else { return Err(TickError::Stopped) };
        let left = deadline.saturating_duration_since(Instant::now());
        let tick = self.pacer.upcoming(self.shared.clock.mesh_now() + left, side.interval());
        self.serve(world, tick, deadline).map(drop)
    }

    /// Carries out what comes from the mesh until `deadline`: at once what another node waits for, all of it at the end.
    /// Says how many commands there were.
    fn serve<W: World>(&mut self, world: &mut W, tick: Tick, deadline: Instant) -> Result<usize, TickError> {
        let Some(side) = &mut self.side else { return Err(TickError::Stopped) };
        let mut commands = 0;
        loop {
            let is_due = Instant::now() >= deadline;
            self.shared.mailbox.swap(&mut self.batch);
            if let Some(registration) = self.batch.registration.take() {
                side.set_registration(registration);
            }
            if let Some(map) = self.batch.map.take() {
                side.set_map(map);
            }
            for command in self.batch.drain_commands() {
                commands += 1;
                side.carry_out(world, command, tick);
            }
            send(&mut self.outbox, side.drain_reports())?;
            if is_due {
                return Ok(commands);
            }
            self.shared.mailbox.wait_urgent(deadline.saturating_duration_since(Instant::now()));
        }
    }

    /// Stops the node and waits until its threads have ended. What it simulated is gone with it.
    pub fn stop(mut self) {
        self.shut_down();
    }

    /// Makes the game's side once the node is registered.
    fn refresh(&mut self) -> Result<(), TickError> {
        if self.shared.stop.is_cancelled() {
            return Err(self.why_stopped());
        }
        if self.side.is_some() {
            return Ok(());
        }
        self.wait_ready(NOT_READY_WAIT)?;
        let Some((registration, map)) = self.shared.mailbox.take_registration() else {
            return Err(TickError::NotReady { refused: None });
        };
        sleep_sharply();
        self.side = Some(GameSide::new(registration, map, self.core.hysteresis_m, self.core.schema_max));
        Ok(())
    }

    fn why_stopped(&self) -> TickError {
        self.shared.standing().unfit.map_or(TickError::Stopped, |cause| TickError::Unfit { cause })
    }

    fn shut_down(&mut self) {
        self.shared.stop.cancel();
        self.network.join();
    }
}

impl Drop for MeshNode {
    fn drop(&mut self) {
        self.shut_down();
    }
}

fn send(outbox: &mut Outbox, reports: impl Iterator<Item = GameReport>) -> Result<(), TickError> {
    outbox.flush().map_err(stopped)?;
    for report in reports {
        outbox.send(report).map_err(stopped)?;
    }
    Ok(())
}

const fn stopped(_: NobodyReads) -> TickError {
    TickError::Stopped
}
