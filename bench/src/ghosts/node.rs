//! One of the two nodes: the one that simulates the crowd, or the one that is shown it and says how true that is.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use hdrhistogram::Histogram;
use selvedge_node::{
    EntityId, Frame, GhostChange, HistogramText, Leave, MeshNode, MeshNodeConfig, Motion, NodeReport, Player,
    Position, Refused, Release, SnapshotView, SnapshotWriter, Tick, TickError, World,
};
use selvedge_protocol::config::NodeConfig;
use selvedge_protocol::ghost::TableSettings;
use serde::{Deserialize, Serialize};

use super::stage::{CELL_EDGE_M, Crowd, Quarter};
use crate::figures::empty;
use crate::handoff::child::{limits, load, questions, say, tuning};
use crate::handoff::home;

/// Up to here a ghost counts as near, and from there on as far, in metres from the border.
const NEAR_M: f64 = 10.0;
const FAR_M: f64 = 95.0;
/// Metres in the unit of errors.
const UNITS_PER_M: f64 = 10_000.0;

/// What a node is told to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GhostNodeSpec {
    pub(crate) dir: PathBuf,
    pub(crate) name: String,
    pub(crate) core: Option<usize>,
    pub(crate) coordinator: SocketAddr,
    pub(crate) bind: SocketAddr,
    pub(crate) advertise: SocketAddr,
    pub(crate) tick: Duration,
    pub(crate) mtu: u16,
    pub(crate) entities: usize,
    pub(crate) near: bool,
    pub(crate) corner: bool,
    /// Whether it simulates them.
    pub(crate) shows: bool,
    pub(crate) log: String,
}

/// What a node says when it is asked. Errors are in tenths of a millimetre, since the last time that it was asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GhostAnswer {
    pub(crate) report: NodeReport,
    pub(crate) simulated: usize,
    pub(crate) shown: usize,
    pub(crate) ticks: u64,
    pub(crate) near: HistogramText,
    pub(crate) far: HistogramText,
}

/// Is that node, until its standard input ends.
pub(crate) fn run(spec: &GhostNodeSpec) -> anyhow::Result<()> {
    let questions = questions()?;
    let config = MeshNodeConfig {
        bind_mesh: spec.bind,
        advertise_mesh: Some(spec.advertise),
        core: NodeConfig {
            prepare_margin_m: 0.2,
            hysteresis_m: 0.1,
            // What checkpoints cost is measured elsewhere.
            checkpoint_period: Duration::from_secs(3600),
            ..NodeConfig::default()
        },
        mesh_tuning: tuning(spec.mtu),
        mesh_limits: limits(None),
        ..MeshNodeConfig::new(spec.coordinator)
    };
    let mut node = MeshNode::builder()
        .config(config)
        .identity(load(&spec.dir, &spec.name)?)
        .client_identity(load(&spec.dir, &home::clients(&spec.name))?)
        .start()?;
    let crowd = Crowd { entities: spec.entities, interval: spec.tick, near: spec.near, corner: spec.corner };
    let mut stage = Stage::new(crowd, spec.shows);
    loop {
        match node.tick(&mut stage, Stage::step) {
            Ok(_) | Err(TickError::NotReady { .. }) => {}
            Err(error @ (TickError::Unfit { .. } | TickError::Stopped)) => return Err(error.into()),
        }
        match questions.try_recv() {
            Ok(()) => say(&stage.answer(node.report()))?,
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => break,
        }
    }
    node.stop();
    Ok(())
}

/// The game.
struct Stage {
    crowd: Crowd,
    shows: bool,
    simulated: usize,
    shown: usize,
    ticks: u64,
    near: Histogram<u64>,
    far: Histogram<u64>,
}

impl Stage {
    fn new(crowd: Crowd, shows: bool) -> Self {
        Self { crowd, shows, simulated: 0, shown: 0, ticks: 0, near: empty(), far: empty() }
    }

    fn answer(&mut self, report: NodeReport) -> GhostAnswer {
        let answer = GhostAnswer {
            report,
            simulated: self.simulated,
            shown: self.shown,
            ticks: self.ticks,
            near: HistogramText::encode(&self.near),
            far: HistogramText::encode(&self.far),
        };
        (self.near, self.far, self.ticks) = (empty(), empty(), 0);
        answer
    }

    fn step(&mut self, frame: &mut Frame<'_>) {
        let Some(cell) = frame.map().cells_of(frame.node()).next() else { return };
        self.ticks += 1;
        if self.shows {
            let min = frame.grid().bounds(cell).min;
            let inside = Position::new(min.x + CELL_EDGE_M / 2.0, min.y + CELL_EDGE_M / 2.0, 0.0);
            self.publish(frame, Quarter::of(inside));
        } else {
            self.judge(frame);
        }
    }

    fn publish(&mut self, frame: &mut Frame<'_>, quarter: Quarter) {
        let tick = frame.tick();
        for entity in self.crowd.ids() {
            let Some(motion) = self.crowd.at(entity, tick, quarter) else { continue };
            let owned = match frame.owned_by(entity) {
                Some(owned) => owned,
                None if self.simulated < self.crowd.entities => match frame.spawn_as(entity, motion) {
                    Ok(owned) => {
                        self.simulated += 1;
                        owned
                    }
                    Err(cause) => {
                        tracing::error!(%cause, "not spawned");
                        continue;
                    }
                },
                None => continue,
            };
            let look = self.crowd.look(entity, tick, &motion);
            if let Err(cause) = frame.publish(owned, motion, look, &[]) {
                tracing::error!(%cause, "not published");
            }
        }
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "distances are positive and small"
    )]
    fn judge(&mut self, frame: &Frame<'_>) {
        let lag_ticks = TableSettings::default().display_lag_ticks;
        let at = Tick(frame.tick().0.saturating_sub(lag_ticks));
        self.shown = 0;
        for (ghost, sight) in frame.ghosts() {
            // Nobody ever crosses: all are on the side on which they are shown.
            let Some(is) = self.crowd.at(ghost.id(), at, Quarter::of(sight.motion.position)) else {
                continue;
            };
            let own = frame.map().cells_of(frame.node());
            let distance_m =
                own.map(|cell| frame.grid().distance_to(is.position, cell)).fold(f64::INFINITY, f64::min);
            self.shown += 1;
            let off = (is.position.distance(sight.motion.position) * UNITS_PER_M).round() as u64;
            // The histograms resize themselves.
            if distance_m <= NEAR_M {
                let _ = self.near.record(off);
            } else if distance_m >= FAR_M {
                let _ = self.far.record(off);
            }
        }
    }
}

/// Errors in metres.
pub(crate) fn metres(units: f64) -> f64 {
    units / UNITS_PER_M
}

impl World for Stage {
    fn capture(&self, _entity: EntityId, out: &mut SnapshotWriter) {
        out.motion(Motion { position: Position::default(), ..Motion::default() });
    }

    fn warm(&mut self, _entity: EntityId, _snapshot: &SnapshotView<'_>) -> Result<(), Refused> {
        Err(Refused::new("nobody crosses here"))
    }

    fn restore(&mut self, _entity: EntityId, _snapshot: &SnapshotView<'_>) {}

    fn release(&mut self, _entity: EntityId, _why: Release) {}

    fn join(&mut self, _player: Player<'_>) -> Result<Motion, Refused> {
        Err(Refused::new("nobody plays here"))
    }

    fn leave(&mut self, _entity: EntityId, _why: Leave) {}

    fn input(&mut self, _entity: EntityId, _seq: u32, _bytes: &[u8]) {}

    fn ghost(&mut self, _change: GhostChange) {}
}
