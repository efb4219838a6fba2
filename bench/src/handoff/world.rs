//! The world that is measured: entities that go to the other node as soon as they may.
//!
//! Each weighs what it is told to, nearly all of it in one component that never changes, as an inventory or an engine's
//! own state hardly does between two crossings. A small hot part changes every tick. A player's keeps the account of the
//! inputs that reached it, as the sample world does, so that bots can check it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_node::arena::{AVATAR_STATE_BYTES, AvatarState};
use selvedge_node::{
    EntityId, Frame, GhostChange, Leave, Look, Motion, Player, Position, Refused, Release, SnapshotView,
    SnapshotWriter, Velocity, World,
};
use selvedge_protocol::grid::GridConfig;

use super::args::HopPath;
use super::restless::{Copied, RestlessOnes};

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
/// Nearer than this a player is shown others: each has a lane of its own, and sees nobody.
pub(crate) const CLIENT_INTEREST_M: f64 = 0.01;
/// Lanes, and how far they are from each other, in metres.
const LANES: u128 = 4096;
const LANE_M: f64 = 0.02;
const HEAVY: &str = "heavy";
const HOT: &str = "hot";
const HOT_BYTES: usize = 48;
const AGE_BYTES: usize = 8;
const _: () = assert!(AGE_BYTES + AVATAR_STATE_BYTES <= HOT_BYTES);

/// One entity.
#[derive(Debug, Clone)]
struct Hopper {
    hot: Hot,
    heavy: Arc<Vec<u8>>,
    /// When this node took it.
    since: Instant,
}

/// What changes all the time.
#[derive(Debug, Clone, Copy)]
struct Hot {
    /// Grows with every change.
    age: u64,
    state: AvatarState,
}

/// The world on one node.
#[derive(Debug)]
pub(crate) struct Hoppers {
    path: HopPath,
    snapshot_bytes: usize,
    to_spawn: usize,
    dwell: Duration,
    /// On which side of the border this node is, once it has a cell.
    left: Option<bool>,
    here: BTreeMap<EntityId, Hopper>,
    warmed: BTreeMap<EntityId, Hopper>,
    restless_to_spawn: usize,
    restless: RestlessOnes,
}

impl Hoppers {
    /// Entities stay for `dwell` before they go on; restless ones stay for ever.
    pub(crate) fn new(
        path: HopPath,
        snapshot_bytes: usize,
        to_spawn: usize,
        dwell: Duration,
        restless_to_spawn: usize,
    ) -> Self {
        let (here, warmed, restless) = (BTreeMap::new(), BTreeMap::new(), RestlessOnes::default());
        Self { path, snapshot_bytes, to_spawn, dwell, left: None, here, warmed, restless_to_spawn, restless }
    }

    /// Pre-copies of restless entities that came here.
    pub(crate) const fn copied(&self) -> Copied {
        self.restless.copied()
    }

    pub(crate) fn population(&self) -> usize {
        self.here.len()
    }

    pub(crate) fn step(&mut self, frame: &mut Frame<'_>) {
        let Some(left) = self.side(frame) else { return };
        self.spawn(frame, left);
        self.step_restless(frame, left);
        let (now, path) = (Instant::now(), self.path);
        for (&entity, hopper) in &mut self.here {
            let Some(owned) = frame.owned_by(entity) else { continue };
            hopper.hot.age += 1;
            let may_go = now.duration_since(hopper.since) >= self.dwell;
            let goes = match path {
                HopPath::Warm => may_go && frame.is_copied_ahead(owned),
                HopPath::Cold => may_go,
            };
            let at = place(path, entity, left != goes);
            let state = hopper.hot.state.encode();
            let shown: &[u8] = if frame.session(owned).is_some() { &state } else { &[] };
            if let Err(cause) = frame.publish(owned, at, Look::default(), shown) {
                tracing::error!(%cause, "not published");
            }
        }
    }

    fn step_restless(&mut self, frame: &mut Frame<'_>, left: bool) {
        self.restless.step();
        for entity in self.restless.entities() {
            let Some(owned) = frame.owned_by(entity) else { continue };
            if let Err(cause) = frame.publish(owned, place(HopPath::Warm, entity, left), Look::default(), &[])
            {
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
        if both_there {
            self.spawn_restless(frame, left);
        }
        while both_there && self.to_spawn > 0 {
            self.to_spawn -= 1;
            let entity = EntityId::from_u128(uuid::Uuid::new_v4().as_u128());
            match frame.spawn_as(entity, place(self.path, entity, left)) {
                Ok(_) => self.insert_new(entity),
                Err(cause) => tracing::error!(%cause, "not spawned"),
            }
        }
    }

    fn spawn_restless(&mut self, frame: &mut Frame<'_>, left: bool) {
        for _ in 0..std::mem::take(&mut self.restless_to_spawn) {
            let entity = EntityId::from_u128(uuid::Uuid::new_v4().as_u128());
            match frame.spawn_as(entity, place(HopPath::Warm, entity, left)) {
                Ok(_) => self.restless.insert(entity),
                Err(cause) => tracing::error!(%cause, "not spawned"),
            }
        }
    }

    fn insert_new(&mut self, entity: EntityId) {
        let weight = self.snapshot_bytes.saturating_sub(HOT_BYTES);
        let heavy = Arc::new((0..weight).map(|n| n.to_le_bytes()[0]).collect());
        let hot = Hot { age: 0, state: AvatarState::default() };
        self.here.insert(entity, Hopper { hot, heavy, since: Instant::now() });
    }
}

/// The world's two cells.
pub(crate) fn grid(cell_edge_m: f64) -> GridConfig {
    GridConfig { origin_m: [0.0; 3], cell_edge_m, cells: [2, 1, 1] }
}

/// Where an entity stands on one side of the border.
#[allow(clippy::cast_precision_loss, reason = "a lane is a small number")]
fn place(path: HopPath, entity: EntityId, left: bool) -> Motion {
    let distance_m = match path {
        HopPath::Warm => NEAR_M,
        HopPath::Cold => FAR_M,
    };
    let x = if left { CELL_EDGE_M - distance_m } else { CELL_EDGE_M + distance_m };
    let y = LANE_M * (1 + entity.as_u128() % LANES) as f64;
    Motion { position: Position::new(x, y, 0.0), velocity: Velocity::default() }
}

impl World for Hoppers {
    fn capture(&self, entity: EntityId, out: &mut SnapshotWriter) {
        let Some(left) = self.left else { return };
        if self.restless.capture(entity, out) {
            out.motion(place(HopPath::Warm, entity, left));
            return;
        }
        let Some(hopper) = self.here.get(&entity) else { return };
        // Only who is on the way to the other side is captured.
        out.motion(place(self.path, entity, !left));
        out.component(HOT, hopper.hot.age, &hopper.hot.encode());
        if out.wants(HEAVY, 1) {
            out.reserve(hopper.heavy.len());
            out.component(HEAVY, 1, &hopper.heavy);
        } else {
            out.component(HEAVY, 1, &[]);
        }
    }

    fn warm(&mut self, entity: EntityId, snapshot: &SnapshotView<'_>) -> Result<(), Refused> {
        if self.restless.warm(entity, snapshot) {
            return Ok(());
        }
        let hopper = read(snapshot).ok_or_else(|| Refused::new("a component is missing"))?;
        self.warmed.insert(entity, hopper);
        Ok(())
    }

    fn restore(&mut self, entity: EntityId, snapshot: &SnapshotView<'_>) {
        let warmed = self.warmed.remove(&entity);
        let hot = snapshot.component(HOT).and_then(|(_, body)| Hot::decode(body));
        // What was built ahead is kept: only the hot part has changed since.
        let hopper = match (warmed, hot) {
            (Some(hopper), Some(hot)) => Some(Hopper { hot, since: Instant::now(), ..hopper }),
            (None, _) | (_, None) => read(snapshot),
        };
        match hopper {
            Some(hopper) => drop(self.here.insert(entity, hopper)),
            None => tracing::error!(?entity, "not restored"),
        }
    }

    fn release(&mut self, entity: EntityId, why: Release) {
        self.restless.forget(entity);
        match why {
            Release::NotComing => drop(self.warmed.remove(&entity)),
            Release::Frozen | Release::Void => drop(self.here.remove(&entity)),
        }
    }

    fn join(&mut self, player: Player<'_>) -> Result<Motion, Refused> {
        self.insert_new(player.entity());
        Ok(place(self.path, player.entity(), player.entry().x < CELL_EDGE_M))
    }

    fn leave(&mut self, entity: EntityId, _why: Leave) {
        self.here.remove(&entity);
    }

    fn input(&mut self, entity: EntityId, seq: u32, _bytes: &[u8]) {
        let Some(hopper) = self.here.get_mut(&entity) else { return };
        hopper.hot.age += 1;
        hopper.hot.state.ledger.enter(seq);
    }

    fn ghost(&mut self, _change: GhostChange) {}
}

fn read(snapshot: &SnapshotView<'_>) -> Option<Hopper> {
    let (_, heavy) = snapshot.component(HEAVY)?;
    let (_, hot) = snapshot.component(HOT)?;
    Some(Hopper { hot: Hot::decode(hot)?, heavy: Arc::new(heavy.to_vec()), since: Instant::now() })
}

impl Hot {
    fn encode(&self) -> [u8; HOT_BYTES] {
        let mut bytes = [0; HOT_BYTES];
        bytes[..AGE_BYTES].copy_from_slice(&self.age.to_le_bytes());
        bytes[AGE_BYTES..AGE_BYTES + AVATAR_STATE_BYTES].copy_from_slice(&self.state.encode());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (age, rest) = bytes.split_first_chunk()?;
        let state = AvatarState::decode(rest.get(..AVATAR_STATE_BYTES)?).ok()?;
        Some(Self { age: u64::from_le_bytes(*age), state })
    }
}
