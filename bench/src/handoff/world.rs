//! The world that is measured: entities that go to the other node as soon as they may.
//!
//! Each weighs what it is told to, nearly all of it in one component that never changes, as an inventory or an engine's
//! own state hardly does between two crossings. A small hot part changes every tick.

use std::collections::BTreeMap;
use std::sync::Arc;

use selvedge_node::{
    EntityId, Frame, GhostChange, Leave, Motion, Player, Position, Refused, Release, SnapshotView,
    SnapshotWriter, Velocity, World,
};

use super::args::HopPath;

/// The edge of a cell in metres. The world is two cells, and the border is here.
pub(crate) const CELL_EDGE_M: f64 = 100.0;
/// How far from the border an entity waits on the warm path, in metres: prepared, because it is this near.
const NEAR_M: f64 = 1.0;
/// How far a teleport goes past the border, in metres: nobody expects it from there.
const FAR_M: f64 = 20.0;
/// Nearer than this the mesh prepares.
pub(crate) const PREPARE_MARGIN_M: f64 = 2.0;
/// So far past the border authority follows.
pub(crate) const HYSTERESIS_M: f64 = 0.5;
/// Nearer than this the other node would be shown every entity: not what is measured here.
pub(crate) const INTEREST_MARGIN_M: f64 = 0.25;
const HEAVY: &str = "heavy";
const HOT: &str = "hot";
const HOT_BYTES: usize = 48;

/// One entity.
#[derive(Debug, Clone)]
struct Hopper {
    age: u64,
    heavy: Arc<Vec<u8>>,
}

/// The world on one node.
#[derive(Debug)]
pub(crate) struct Hoppers {
    path: HopPath,
    snapshot_bytes: usize,
    to_spawn: usize,
    /// On which side of the border this node is, once it has a cell.
    left: Option<bool>,
    here: BTreeMap<EntityId, Hopper>,
    warmed: BTreeMap<EntityId, Hopper>,
}

impl Hoppers {
    pub(crate) const fn new(path: HopPath, snapshot_bytes: usize, to_spawn: usize) -> Self {
        Self { path, snapshot_bytes, to_spawn, left: None, here: BTreeMap::new(), warmed: BTreeMap::new() }
    }

    pub(crate) fn population(&self) -> usize {
        self.here.len()
    }

    pub(crate) fn step(&mut self, frame: &mut Frame<'_>) {
        let Some(left) = self.side(frame) else { return };
        self.spawn(frame, left);
        for (&entity, hopper) in &mut self.here {
            let Some(owned) = frame.owned_by(entity) else { continue };
            hopper.age += 1;
            let at = match self.path {
                HopPath::Warm if frame.is_copied_ahead(owned) => motion(!left, NEAR_M),
                HopPath::Warm => motion(left, NEAR_M),
                HopPath::Cold => motion(!left, FAR_M),
            };
            if let Err(cause) = frame.publish(owned, at, &[]) {
                tracing::error!(%cause, "not published");
            }
        }
    }

    fn side(&mut self, frame: &Frame<'_>) -> Option<bool> {
        if self.left.is_none() {
            let cell = frame.map().cells_of(frame.node()).next()?;
            self.left = Some(frame.grid().bounds(cell).min.x < CELL_EDGE_M / 2.0);
        }
        self.left
    }

    fn spawn(&mut self, frame: &mut Frame<'_>, left: bool) {
        let both_there = frame.map().nodes().len() > 1;
        while both_there && self.to_spawn > 0 {
            self.to_spawn -= 1;
            match frame.spawn(motion(left, NEAR_M)) {
                Ok(owned) => {
                    let weight = self.snapshot_bytes.saturating_sub(HOT_BYTES);
                    let heavy = Arc::new((0..weight).map(|n| n.to_le_bytes()[0]).collect());
                    drop(self.here.insert(owned.id(), Hopper { age: 0, heavy }));
                }
                Err(cause) => tracing::error!(%cause, "not spawned"),
            }
        }
    }
}

fn motion(left: bool, distance_m: f64) -> Motion {
    let x = if left { CELL_EDGE_M - distance_m } else { CELL_EDGE_M + distance_m };
    Motion { position: Position::new(x, CELL_EDGE_M / 2.0, 0.0), velocity: Velocity::default() }
}

impl World for Hoppers {
    fn capture(&self, entity: EntityId, out: &mut SnapshotWriter) {
        let (Some(hopper), Some(left)) = (self.here.get(&entity), self.left) else { return };
        let far = match self.path {
            HopPath::Warm => motion(left, NEAR_M),
            HopPath::Cold => motion(!left, FAR_M),
        };
        out.motion(far);
        let mut hot = [0; HOT_BYTES];
        hot[..8].copy_from_slice(&hopper.age.to_le_bytes());
        out.component(HOT, hopper.age, &hot);
        if out.wants(HEAVY, 1) {
            out.reserve(hopper.heavy.len());
            out.component(HEAVY, 1, &hopper.heavy);
        } else {
            out.component(HEAVY, 1, &[]);
        }
    }

    fn warm(&mut self, entity: EntityId, snapshot: &SnapshotView<'_>) -> Result<(), Refused> {
        let hopper = read(snapshot).ok_or_else(|| Refused::new("a component is missing"))?;
        self.warmed.insert(entity, hopper);
        Ok(())
    }

    fn restore(&mut self, entity: EntityId, snapshot: &SnapshotView<'_>) {
        let warmed = self.warmed.remove(&entity);
        let hot = snapshot.component(HOT).and_then(|(_, body)| age(body));
        // What was built ahead is kept: only the hot part has changed since.
        let hopper = match (warmed, hot) {
            (Some(hopper), Some(age)) => Some(Hopper { age, ..hopper }),
            (None, _) | (_, None) => read(snapshot),
        };
        match hopper {
            Some(hopper) => drop(self.here.insert(entity, hopper)),
            None => tracing::error!(?entity, "not restored"),
        }
    }

    fn release(&mut self, entity: EntityId, why: Release) {
        match why {
            Release::NotComing => drop(self.warmed.remove(&entity)),
            Release::Frozen | Release::Void => drop(self.here.remove(&entity)),
        }
    }

    fn join(&mut self, _player: Player<'_>) -> Result<Motion, Refused> {
        Err(Refused::new("nobody plays here"))
    }

    fn leave(&mut self, _entity: EntityId, _why: Leave) {}

    fn input(&mut self, _entity: EntityId, _seq: u32, _bytes: &[u8]) {}

    fn ghost(&mut self, _change: GhostChange) {}
}

fn read(snapshot: &SnapshotView<'_>) -> Option<Hopper> {
    let (_, heavy) = snapshot.component(HEAVY)?;
    let (_, hot) = snapshot.component(HOT)?;
    Some(Hopper { age: age(hot)?, heavy: Arc::new(heavy.to_vec()) })
}

fn age(hot: &[u8]) -> Option<u64> {
    hot.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}
