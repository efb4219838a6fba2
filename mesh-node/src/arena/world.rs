//! The plain and who is on it: the arena's side of the embedding.

use std::collections::BTreeMap;

use selvedge_protocol::event::Area;
use selvedge_protocol::ghost::{GhostChange, Look, State, Value};
use selvedge_protocol::grid::{CellId, Grid, Motion, Position, Velocity};
use selvedge_protocol::id::EntityId;
use selvedge_protocol::node::{LeaveReason, ReleaseReason};
use selvedge_protocol::snapshot::{SnapshotError, SnapshotView, SnapshotWriter};
use tracing::{debug, error, info};

use super::avatar::{Avatar, Chance, Item};
use super::deed::{Deed, DeedInput, HIT, SHOUT_REACH_M, nearest};
use super::ferry::setting_out;
use super::kit::Kit;
use super::{ArenaConfig, AvatarState, MoveInput};
use crate::world::{Player, Refused, World};
use crate::{Action, ActionNumber, Answer, Durability, Frame, Owned, Reply, Target};

/// How likely an NPC is to turn in a tick.
const TURN_CHANCE: f64 = 0.01;
/// Where an avatar's health stands in what others see of it.
const HEALTH_FIELD: u8 = 0;
/// How far from the world's edge avatars turn, in metres: its upper faces don't belong to it.
const EDGE_M: f64 = 0.5;

/// The sample world on one node.
#[derive(Debug)]
pub struct Arena {
    config: ArenaConfig,
    kit: Kit,
    chance: Chance,
    pub(super) here: BTreeMap<EntityId, Avatar>,
    warmed: BTreeMap<EntityId, Avatar>,
    npcs_spawned: bool,
    bad_inputs: u64,
    /// What players want to do to whoever is nearest, in this tick.
    wishes: Vec<(EntityId, DeedInput)>,
    /// Shots that have struck, and whether they have heard what came of it.
    pub(super) struck: BTreeMap<EntityId, bool>,
}

impl Arena {
    /// Makes the arena of one node.
    ///
    /// # Errors
    /// If no snapshot of the size asked for can be made.
    pub fn new(config: ArenaConfig) -> Result<Self, SnapshotError> {
        let kit = Kit::weighing(config.snapshot_bytes)?;
        let seed = if config.seed == 0 { rand::random() } else { config.seed };
        Ok(Self {
            config,
            kit,
            chance: Chance::new(seed),
            here: BTreeMap::new(),
            warmed: BTreeMap::new(),
            npcs_spawned: false,
            bad_inputs: 0,
            wishes: Vec::new(),
            struck: BTreeMap::new(),
        })
    }

    /// How many avatars this node simulates.
    #[must_use]
    pub fn population(&self) -> usize {
        self.here.len()
    }

    /// Inputs that were no inputs; they count as applied and change nothing.
    #[must_use]
    pub const fn bad_inputs(&self) -> u64 {
        self.bad_inputs
    }

    /// Where an avatar that this node simulates stands, and the account of its inputs.
    #[must_use]
    pub fn avatar(&self, entity: EntityId) -> Option<(Motion, AvatarState)> {
        self.here.get(&entity).map(|avatar| (avatar.motion, state_of(avatar)))
    }

    /// One step of the simulation: everybody walks and is published.
    pub fn step(&mut self, frame: &mut Frame<'_>) {
        self.spawn_npcs(frame);
        for (entity, wish) in std::mem::take(&mut self.wishes) {
            match wish {
                DeedInput::Give => self.offer(frame, entity, Deed::Take),
                DeedInput::Trade => self.offer(frame, entity, Deed::Swap),
                DeedInput::Hit => self.hit(frame, entity),
                DeedInput::Shout => self.shout(frame, entity),
                DeedInput::Board => self.board(frame, entity),
                DeedInput::Fire => self.fire(frame, entity),
            }
        }
        let (min, max) = edges(frame.grid());
        let dt = frame.interval();
        for (&entity, avatar) in &mut self.here {
            let Some(owned) = frame.owned_by(entity) else { continue };
            let player = frame.session(owned).is_some();
            if !player && !avatar.is_ferry() && !avatar.is_shot() && avatar.chance.fraction() < TURN_CHANCE {
                avatar.motion.velocity = heading(&mut avatar.chance, self.config.npc_speed_mps);
            }
            let walls = avatar.walk(dt, min, max);
            meet_walls(&mut avatar.motion.velocity, walls, player);
            avatar.age(dt);
        }
        self.carry(frame);
        self.land_shots(frame);
        for (&entity, avatar) in &self.here {
            if let Some(owned) = frame.owned_by(entity) {
                publish(frame, owned, avatar);
            }
        }
    }

    /// Who is nearest to an avatar, here or behind the border.
    fn nearest(&self, frame: &Frame<'_>, entity: EntityId, at: Position) -> Option<Target> {
        let here = self.here.iter().filter_map(|(&other, avatar)| {
            Some((other, avatar.motion.position, Target::from(frame.owned_by(other)?)))
        });
        let there = frame.ghosts().map(|(ghost, sight)| (ghost.id(), sight.motion.position, ghost.into()));
        nearest(entity, at, here.chain(there))
    }

    fn hit(&mut self, frame: &mut Frame<'_>, entity: EntityId) {
        let (Some(owned), Some(avatar)) = (frame.owned_by(entity), self.here.get(&entity)) else { return };
        let Some(target) = self.nearest(frame, entity, avatar.motion.position) else { return };
        if let Err(cause) = frame.action(owned, target, &Deed::Suffer.encode(), Durability::Plain) {
            debug!(?entity, %cause, "no hit");
        }
    }

    /// Gives an item to whoever is nearest: as a gift, or for one of theirs.
    fn offer(&mut self, frame: &mut Frame<'_>, entity: EntityId, deed: fn(Item) -> Deed) {
        let (Some(owned), Some(avatar)) = (frame.owned_by(entity), self.here.get(&entity)) else { return };
        let Some(item) = avatar.item_to_give() else { return };
        let Some(target) = self.nearest(frame, entity, avatar.motion.position) else { return };
        match frame.action(owned, target, &deed(item).encode(), Durability::Durable) {
            Ok(number) => {
                if let Some(avatar) = self.here.get_mut(&entity) {
                    avatar.give(item, number);
                }
            }
            Err(cause) => debug!(?entity, %cause, "nothing given"),
        }
    }

    fn shout(&self, frame: &mut Frame<'_>, entity: EntityId) {
        let Some(avatar) = self.here.get(&entity) else { return };
        let area = Area::Sphere { centre: avatar.motion.position, radius_m: SHOUT_REACH_M };
        if let Err(cause) = frame.event(area, b"hey") {
            debug!(?entity, %cause, "no shout");
        }
    }

    fn spawn_npcs(&mut self, frame: &mut Frame<'_>) {
        if self.npcs_spawned {
            return;
        }
        let cells: Vec<CellId> = frame.map().cells_of(frame.node()).collect();
        if cells.is_empty() {
            return;
        }
        self.npcs_spawned = true;
        for (number, &cell) in (0..self.config.npcs).zip(cells.iter().cycle()) {
            let motion = self.place_in(frame.grid(), cell);
            self.spawn(frame, &format!("npc {number}"), motion);
        }
        for (number, &cell) in (0..self.config.ferries).zip(cells.iter().cycle()) {
            let (name, motion) = setting_out(number, frame.grid(), cell, self.config.ferry_speed_mps);
            self.spawn(frame, &name, motion);
        }
        info!(npcs = self.config.npcs, cells = cells.len(), "NPCs spawned");
    }

    pub(super) fn spawn(&mut self, frame: &mut Frame<'_>, name: &str, motion: Motion) {
        match frame.spawn(motion) {
            Ok(owned) => {
                let avatar = Avatar::new(name, motion, self.kit, self.chance.draw());
                self.here.insert(owned.id(), avatar);
            }
            Err(cause) => error!(%cause, name, "NPC not spawned"),
        }
    }

    fn place_in(&mut self, grid: &Grid, cell: CellId) -> Motion {
        let bounds = grid.bounds(cell);
        let mut between = |low: f64, high: f64| low + (high - low) * self.chance.fraction();
        let position = Position::new(
            between(bounds.min.x, bounds.max.x),
            between(bounds.min.y, bounds.max.y),
            if grid.is_flat() { 0.0 } else { between(bounds.min.z, bounds.max.z) },
        );
        let velocity = heading(&mut self.chance, self.config.npc_speed_mps);
        Motion { position: grid.clamp(position), velocity }
    }
}

impl World for Arena {
    fn capture(&self, entity: EntityId, out: &mut SnapshotWriter) {
        if let Some(avatar) = self.here.get(&entity) {
            avatar.capture(out);
        }
    }

    fn warm(&mut self, entity: EntityId, snapshot: &SnapshotView<'_>) -> Result<(), Refused> {
        let updated = match self.warmed.get_mut(&entity) {
            Some(avatar) => avatar.update(snapshot),
            None => Avatar::restore(snapshot).map(|avatar| drop(self.warmed.insert(entity, avatar))),
        };
        updated.map_err(|cause| Refused::new(cause.to_string()))
    }

    fn restore(&mut self, entity: EntityId, snapshot: &SnapshotView<'_>) {
        let updated = match self.warmed.remove(&entity) {
            Some(mut avatar) => avatar.update(snapshot).map(|()| avatar),
            None => Avatar::restore(snapshot),
        };
        match updated {
            Ok(avatar) => drop(self.here.insert(entity, avatar)),
            // It was warmed with components of the same shape, so this is a mistake of this very code.
            Err(cause) => error!(?entity, %cause, "an avatar could not be restored"),
        }
    }

    fn release(&mut self, entity: EntityId, why: ReleaseReason) {
        match why {
            ReleaseReason::NotComing => drop(self.warmed.remove(&entity)),
            ReleaseReason::Frozen | ReleaseReason::Void => {
                self.here.remove(&entity);
                self.struck.remove(&entity);
            }
        }
    }

    fn join(&mut self, player: Player<'_>) -> Result<Motion, Refused> {
        let motion = Motion { position: player.entry(), velocity: Velocity::default() };
        let mut avatar = match player.baseline() {
            Some(baseline) => {
                let mut avatar =
                    Avatar::restore(&baseline).map_err(|cause| Refused::new(cause.to_string()))?;
                avatar.begin_stay(player.name(), motion);
                avatar
            }
            None => Avatar::new(player.name(), motion, self.kit, self.chance.draw()),
        };
        avatar.player = true;
        self.here.insert(player.entity(), avatar);
        debug!(entity = ?player.entity(), name = player.name(), "player joined");
        Ok(motion)
    }

    fn leave(&mut self, entity: EntityId, why: LeaveReason) {
        self.here.remove(&entity);
        debug!(?entity, ?why, "player left");
    }

    fn input(&mut self, entity: EntityId, seq: u32, bytes: &[u8]) {
        let Some(avatar) = self.here.get_mut(&entity) else { return };
        avatar.has_changed();
        if !avatar.ledger.enter(seq) {
            return;
        }
        if let Some(wish) = DeedInput::decode(bytes) {
            self.wishes.push((entity, wish));
            return;
        }
        let Ok(wish) = MoveInput::decode(bytes) else {
            self.bad_inputs += 1;
            return;
        };
        let [x, y] = wish.velocity(self.config.player_speed_mps);
        avatar.motion.velocity = velocity(x, y);
    }

    fn action(&mut self, action: Action<'_>) -> Reply {
        let Some(avatar) = self.here.get_mut(&action.to()) else { return Reply::refused(&[][..]) };
        let done = match Deed::decode(action.bytes()) {
            Some(Deed::Take(item)) => avatar.take(item),
            Some(Deed::Swap(item)) => {
                return match avatar.swap(item) {
                    Some(in_return) => Reply::done(in_return.encode().to_vec()),
                    None => Reply::refused(&[][..]),
                };
            }
            Some(Deed::Suffer) => {
                avatar.suffer(HIT);
                true
            }
            None => false,
        };
        if done { Reply::done(&[][..]) } else { Reply::refused(&[][..]) }
    }

    fn answer(&mut self, entity: EntityId, number: ActionNumber, answer: Answer<'_>) {
        if let Some(answered) = self.struck.get_mut(&entity) {
            *answered = true;
        } else if let Some(avatar) = self.here.get_mut(&entity) {
            let (taken, in_return) = match answer {
                Answer::Done(bytes) => (true, Item::read(bytes)),
                Answer::Refused(_) | Answer::Failed(_) => (false, None),
            };
            avatar.given(number, taken, in_return);
        }
    }

    fn ghost(&mut self, _change: GhostChange) {
        // Nobody in the arena looks at anybody: clients see ghosts without its help.
    }
}

fn publish(frame: &mut Frame<'_>, owned: Owned, avatar: &Avatar) {
    let Velocity { x, y, .. } = avatar.motion.velocity;
    let mut state = State::new();
    // One small field always fits.
    if !avatar.is_shot() {
        let _ = state.set(HEALTH_FIELD, Value::Real(avatar.health));
    }
    let look = Look::facing(f64::from(y).atan2(f64::from(x))).with_state(state);
    let own = AvatarState { rides: frame.attached_to(owned).is_some(), ..state_of(avatar) };
    if let Err(cause) = frame.publish(owned, avatar.motion, look, &own.encode()) {
        error!(%cause, "avatar not published");
    }
}

fn state_of(avatar: &Avatar) -> AvatarState {
    let item = avatar.item_shown();
    AvatarState { ledger: avatar.ledger, health: avatar.health, item, rides: false }
}

/// The box in which avatars walk.
fn edges(grid: &Grid) -> (Position, Position) {
    let config = grid.config();
    let [x, y, z] = config.origin_m;
    let [width, depth, _] = config.cells.map(|cells| f64::from(cells) * config.cell_edge_m);
    (Position::new(x, y, z), Position::new(x + width - EDGE_M, y + depth - EDGE_M, z))
}

/// At a wall a player stops and an NPC turns back.
fn meet_walls(velocity: &mut Velocity, [at_x, at_y]: [bool; 2], player: bool) {
    let bounce = if player { 0.0 } else { -1.0 };
    if at_x {
        velocity.x *= bounce;
    }
    if at_y {
        velocity.y *= bounce;
    }
}

fn heading(chance: &mut Chance, speed_mps: f64) -> Velocity {
    let angle = chance.fraction() * core::f64::consts::TAU;
    velocity(angle.cos() * speed_mps, angle.sin() * speed_mps)
}

#[allow(clippy::cast_possible_truncation, reason = "speeds are small, and a velocity is f32")]
const fn velocity(x: f64, y: f64) -> Velocity {
    Velocity::new(x as f32, y as f32, 0.0)
}
