//! The smallest game worth embedding: boats sail to and fro past a lighthouse, and across the borders of the nodes.
//!
//! Run it against a coordinator: `cargo run -p selvedge-node --example lighthouse -- --config node.toml --ticks 300`.

use std::collections::BTreeMap;
use std::f32::consts::TAU;
use std::time::Duration;

use clap::Parser;
use selvedge_node::config::{self, NodeArgs};
use selvedge_node::{
    EntityId, Frame, GhostChange, Leave, Look, MeshNode, MeshNodeBuilder, Motion, Player, Position, Refused,
    Release, SnapshotView, SnapshotWriter, State, Value, Velocity, World,
};

const BOATS: u32 = 5;
const SPEED_MPS: f32 = 8.0;

/// A boat: how it moves, and how often it has seen the light.
#[derive(Clone, Copy, Debug, Default)]
struct Boat {
    motion: Motion,
    flashes: u64,
}

impl Boat {
    /// Its bow is where it goes, and whoever sees it sees how often it has seen the light.
    fn look(&self) -> Look {
        let Velocity { x, y, .. } = self.motion.velocity;
        let mut state = State::new();
        // One number always fits.
        let _ = state.set(0, Value::Unsigned(self.flashes));
        Look::facing(f64::from(y.atan2(x))).with_state(state)
    }
}

/// The sea around one lighthouse. The light turns by mesh time, so that every node sees it alike.
#[derive(Debug, Default)]
pub struct Sea {
    boats: BTreeMap<EntityId, Boat>,
    launched: bool,
}

impl Sea {
    fn step(&mut self, frame: &mut Frame<'_>) {
        self.launch(frame);
        let grid = *frame.grid();
        let dark = frame.tick().0 % 30 != 0;
        for (&id, boat) in &mut self.boats {
            let Some(owned) = frame.owned_by(id) else { continue };
            let ahead = boat.motion.after(frame.interval());
            boat.motion.position = grid.clamp(ahead);
            if boat.motion.position != ahead {
                let Velocity { x, y, z } = boat.motion.velocity;
                boat.motion.velocity = Velocity::new(-x, -y, z);
            }
            boat.flashes += u64::from(!dark);
            if let Err(cause) = frame.publish(owned, boat.motion, boat.look(), &boat.flashes.to_le_bytes()) {
                tracing::error!(%cause, "a boat is lost in the fog");
            }
        }
    }

    /// Once, in the middle of a cell of this node.
    fn launch(&mut self, frame: &mut Frame<'_>) {
        let Some(cell) = frame.map().cells_of(frame.node()).next().filter(|_| !self.launched) else { return };
        self.launched = true;
        let bounds = frame.grid().bounds(cell);
        let (x, y) = ((bounds.min.x + bounds.max.x) / 2.0, (bounds.min.y + bounds.max.y) / 2.0);
        for course in 0..BOATS {
            let angle = TAU * course as f32 / BOATS as f32;
            let velocity = Velocity::new(SPEED_MPS * angle.cos(), SPEED_MPS * angle.sin(), 0.0);
            let motion = Motion { position: Position::new(x, y, 0.0), velocity };
            if let Ok(owned) = frame.spawn(motion) {
                self.boats.insert(owned.id(), Boat { motion, flashes: 0 });
            }
        }
    }

    fn read(snapshot: &SnapshotView<'_>) -> Result<Boat, Refused> {
        let log = snapshot.component("log").and_then(|(_, log)| log.try_into().ok());
        let flashes = u64::from_le_bytes(log.ok_or(Refused::new("a boat without a log"))?);
        Ok(Boat { motion: snapshot.motion(), flashes })
    }
}

impl World for Sea {
    fn capture(&self, entity: EntityId, out: &mut SnapshotWriter) {
        let boat = self.boats.get(&entity).copied().unwrap_or_default();
        out.motion(boat.motion);
        out.component("log", boat.flashes, &boat.flashes.to_le_bytes());
    }

    fn warm(&mut self, _: EntityId, snapshot: &SnapshotView<'_>) -> Result<(), Refused> {
        Self::read(snapshot).map(drop)
    }

    fn restore(&mut self, entity: EntityId, snapshot: &SnapshotView<'_>) {
        if let Ok(boat) = Self::read(snapshot) {
            self.boats.insert(entity, boat);
        }
    }

    fn release(&mut self, entity: EntityId, _: Release) {
        self.boats.remove(&entity);
    }

    fn join(&mut self, _: Player<'_>) -> Result<Motion, Refused> {
        Err(Refused::new("these boats sail without a crew"))
    }

    fn leave(&mut self, _: EntityId, _: Leave) {}

    fn input(&mut self, _: EntityId, _: u32, _: &[u8]) {}

    fn ghost(&mut self, _: GhostChange) {}
}

/// Sails for so many ticks on a node that `builder` describes; says how many boats are here at the end.
///
/// # Errors
/// If the node can't start, isn't registered within ten seconds, or stops.
pub fn sail(builder: MeshNodeBuilder, ticks: u64) -> anyhow::Result<usize> {
    let mut sea = Sea::default();
    let mut node = builder.start()?;
    node.wait_ready(Duration::from_secs(10))?;
    for _ in 0..ticks {
        node.tick(&mut sea, Sea::step)?;
    }
    node.stop();
    Ok(sea.boats.len())
}

/// Boats on a sea without borders.
#[derive(Parser, Debug)]
struct Cli {
    #[command(flatten)]
    node: NodeArgs,
    /// End after so many ticks.
    #[arg(long, default_value_t = 300)]
    ticks: u64,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let loaded = config::load(&cli.node)?;
    tracing_subscriber::fmt().with_env_filter(loaded.log).init();
    let builder = MeshNode::builder()
        .config(loaded.config)
        .identity(loaded.identity)
        .client_identity(loaded.client_identity);
    let boats = sail(builder, cli.ticks)?;
    tracing::info!(boats, "home again");
    Ok(())
}
