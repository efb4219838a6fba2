//! The game that runs on each node: a few moving bodies behind the real roster.

mod body;
mod callbacks;
mod happen;
mod ride;
mod trade;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use selvedge_protocol::cell_map::CellMap;
use selvedge_protocol::event::EventId;
use selvedge_protocol::ghost::Look;
use selvedge_protocol::grid::{Grid, Motion, Position, Velocity};
use selvedge_protocol::id::{EntityId, NodeId};
use selvedge_protocol::node::{GameCommand, GameReport};
use selvedge_protocol::roster::Roster;
use selvedge_protocol::snapshot::SnapshotWriter;
use selvedge_protocol::time::{Tick, Time};

use crate::dice::Dice;
use crate::scenario::Play;
use crate::stats::Stats;

pub use body::Ledger;
pub(crate) use body::{Action, Body, Kind};
use happen::Marks;
pub(crate) use trade::Purse;

/// What a tick needs to know.
pub(crate) struct TickFrame<'a> {
    /// Which tick.
    pub(crate) tick: Tick,
    /// The node's own clock.
    pub(crate) now: Time,
    /// What the core wants, in order.
    pub(crate) commands: Vec<GameCommand>,
    /// Where to count.
    pub(crate) stats: &'a mut Stats,
}

/// What the game saw of an event.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happening {
    /// It takes effect, and in which tick it does was not yet run.
    Effect { event: EventId, on_time: bool },
    /// It reaches a body, which it may have reached before.
    Reached { event: EventId, entity: EntityId, again: bool },
}

/// Where a game's chances come from. Apart, so that who trades or causes events moves as who doesn't.
pub(crate) struct GameDice {
    pub(crate) moves: Dice,
    pub(crate) trades: Dice,
    pub(crate) events: Dice,
    pub(crate) rides: Dice,
}

/// The game of one node.
pub(crate) struct Game {
    roster: Roster,
    grid: Grid,
    interval: Duration,
    play: Play,
    dice: Dice,
    trade_dice: Dice,
    ride_dice: Dice,
    /// Riders that the game has let off, until the core has taken that.
    got_off: BTreeSet<EntityId>,
    event_dice: Dice,
    bodies: BTreeMap<EntityId, Body>,
    warm: BTreeMap<EntityId, Body>,
    /// Ghosts shown.
    ghosts: BTreeMap<EntityId, (Motion, Look)>,
    last_tick: Option<Tick>,
    /// Nothing moves and nothing is born any more.
    calm: bool,
    npcs_at_start: usize,
    /// Hands over without books.
    bookless: bool,
    reports: Vec<GameReport>,
    /// What the game was given that makes no sense.
    complaints: Vec<(EntityId, String)>,
    happenings: Vec<Happening>,
}

impl Game {
    /// A game without anything in it.
    pub(crate) fn new(
        (me, grid, interval): (NodeId, Grid, Duration),
        map: Arc<CellMap>,
        hysteresis_m: f64,
        play: Play,
        npcs_at_start: usize,
        dice: GameDice,
    ) -> Self {
        Self {
            roster: Roster::new(me, grid, map, hysteresis_m),
            grid,
            interval,
            play,
            dice: dice.moves,
            trade_dice: dice.trades,
            event_dice: dice.events,
            ride_dice: dice.rides,
            got_off: BTreeSet::new(),
            bodies: BTreeMap::new(),
            warm: BTreeMap::new(),
            ghosts: BTreeMap::new(),
            last_tick: None,
            calm: false,
            npcs_at_start,
            bookless: false,
            reports: Vec::new(),
            complaints: Vec::new(),
            happenings: Vec::new(),
        }
    }

    /// Takes a newer cell map.
    pub(crate) fn set_map(&mut self, map: Arc<CellMap>) {
        self.roster.set_map(map);
    }

    /// Builds a known bug in, if it is one of a roster's.
    #[cfg(feature = "planted-bugs")]
    pub(crate) const fn plant(&mut self, bug: selvedge_protocol::config::PlantedBug) {
        self.roster.plant(bug);
    }

    /// From now on entities are handed over without what they remember of their actions.
    pub(crate) const fn lose_books(&mut self) {
        self.bookless = true;
    }

    /// From now on nothing moves.
    pub(crate) const fn calm(&mut self) {
        self.calm = true;
    }

    /// Whether the game simulates this entity.
    pub(crate) fn simulates(&self, entity: EntityId) -> bool {
        self.roster.holds(entity) && self.bodies.contains_key(&entity)
    }

    /// Everything that the game simulates.
    pub(crate) fn entities(&self) -> impl Iterator<Item = EntityId> + '_ {
        self.roster.entities()
    }

    /// How an entity that the game simulates is published.
    pub(crate) fn published(&self, entity: EntityId) -> Option<(Motion, Look)> {
        self.bodies.get(&entity).map(|body| (body.motion, body.look()))
    }

    /// The ghosts that the game shows.
    pub(crate) fn ghosts(&self) -> impl Iterator<Item = (EntityId, &(Motion, Look))> {
        self.ghosts.iter().map(|(&entity, ghost)| (entity, ghost))
    }

    /// What the game was given since the last call that makes no sense.
    pub(crate) fn take_complaints(&mut self) -> Vec<(EntityId, String)> {
        core::mem::take(&mut self.complaints)
    }

    /// What happened since the last call.
    pub(crate) fn take_happenings(&mut self) -> Vec<Happening> {
        core::mem::take(&mut self.happenings)
    }

    /// Where the entity is.
    pub(crate) fn motion(&self, entity: EntityId) -> Option<Motion> {
        self.bodies.get(&entity).map(|body| body.motion)
    }

    /// Runs one tick and says what the core must hear, in order.
    pub(crate) fn tick(&mut self, frame: TickFrame<'_>, start: &[Position]) -> Vec<GameReport> {
        let TickFrame { tick, now, commands, stats } = frame;
        let passed = self.last_tick.map_or(1, |last| tick.0.saturating_sub(last.0));
        let seconds = self.interval.as_secs_f64() * f64::from(u32::try_from(passed).unwrap_or(1).min(5));
        let former = self.last_tick.replace(tick);
        let due = self.roster.begin_tick(tick);
        for command in due.into_iter().chain(commands) {
            self.obey(command, tick, stats);
        }
        self.happen(tick, former, stats);
        if !self.calm {
            self.births_and_deaths(tick, start);
            if self.play.trade > 0.0 {
                self.trade(tick, stats);
            }
            if self.play.ride > 0.0 {
                self.ride(now, stats);
            }
            if self.play.events > 0.0 {
                self.cause(tick, stats);
            }
        }
        for entity in self.bodies.keys().copied().collect::<Vec<_>>() {
            self.step(entity, seconds, stats);
        }
        self.carry();
        for (&entity, body) in &self.bodies {
            // What the roster no longer holds though the game still has it is the game's mistake: the checks will say so.
            let _ = self.roster.publish(entity, body.motion, body.look(), &body.state(), now);
        }
        self.freeze(tick);
        self.checkpoint(tick);
        self.roster.end_tick(tick);
        self.collect();
        core::mem::take(&mut self.reports)
    }

    fn births_and_deaths(&mut self, tick: Tick, start: &[Position]) {
        let due = core::mem::take(&mut self.npcs_at_start);
        let births = due + usize::from(self.dice.chance(self.play.spawn));
        for _ in 0..births {
            let Some(&at) = start.get(self.dice.index(0, start.len().max(1) - 1)) else {
                return;
            };
            let entity = EntityId::from_u128(self.dice.id());
            let motion = Motion { position: at, velocity: self.any_velocity() };
            if self.roster.spawn(entity, motion, tick).is_ok() {
                let mut body = Body::npc(motion);
                self.endow(entity, &mut body);
                self.ghosts.remove(&entity);
                self.bodies.insert(entity, body);
            }
            self.collect();
        }
        if self.dice.chance(self.play.despawn) {
            let npcs: Vec<EntityId> = self
                .bodies
                .iter()
                .filter(|(_, body)| matches!(body.kind, Kind::Npc))
                .map(|(&entity, _)| entity)
                .collect();
            if let Some(&doomed) = npcs.get(self.dice.index(0, npcs.len().max(1) - 1)) {
                self.all_off(doomed);
                if self.roster.despawn(doomed, tick).is_ok() {
                    self.bodies.remove(&doomed);
                }
                self.collect();
            }
        }
    }

    fn step(&mut self, entity: EntityId, seconds: f64, stats: &mut Stats) {
        let turned = self.any_velocity();
        let teleports = !self.calm && self.dice.chance(self.play.teleport);
        let anywhere = if teleports { Some(self.anywhere()) } else { None };
        let Some(body) = self.bodies.get_mut(&entity) else {
            return;
        };
        if self.calm {
            body.motion.velocity = Velocity::default();
            return;
        }
        if matches!(body.kind, Kind::Npc) {
            if self.dice.chance(self.play.turn) {
                body.motion.velocity = turned;
            }
            if self.dice.chance(self.play.inventory) {
                body.rummage();
            }
        }
        if let Some(anywhere) = anywhere {
            stats.teleports += 1;
            body.motion.position = anywhere;
            return;
        }
        let to = body.motion.after(Duration::from_secs_f64(seconds));
        let inside = self.grid.clamp(to);
        body.motion.position = inside;
        // Nobody stands at the world's edge for ever: what meets it turns back.
        let (wanted, got) = (to.to_array(), inside.to_array());
        let velocity = &mut body.motion.velocity;
        for (axis, component) in [&mut velocity.x, &mut velocity.y, &mut velocity.z].into_iter().enumerate() {
            if (wanted[axis] - got[axis]).abs() > 1e-9 {
                *component = -*component;
            }
        }
    }

    fn freeze(&mut self, tick: Tick) {
        while let Some(order) = self.roster.poll_freeze() {
            let group: Vec<EntityId> = order.entries.iter().map(|entry| entry.entity).collect();
            let captured = order.entries.iter().map(|entry| {
                let writer = if self.bookless {
                    SnapshotWriter::new(entry.entity, entry.session, &entry.have)
                } else {
                    self.roster.writer(entry.entity, &entry.have)
                };
                self.bodies.get(&entry.entity).and_then(|body| body.capture(writer))
            });
            let captured = captured.collect();
            if self.roster.frozen(order, captured, tick) {
                for entity in group {
                    if let Some(body) = self.bodies.remove(&entity) {
                        self.ghosts.insert(entity, (body.motion, body.look()));
                    }
                }
            }
        }
        self.collect();
    }

    fn checkpoint(&mut self, tick: Tick) {
        let Some((cut, entries)) = self.roster.poll_cut() else {
            return;
        };
        let captured = entries.into_iter().map(|entry| {
            let body = self.bodies.get(&entry.entity);
            let writer = self.roster.writer(entry.entity, &entry.have);
            let snapshot = body.and_then(|body| body.capture(writer));
            (entry, snapshot)
        });
        let captured = captured.collect();
        self.roster.checkpointed(cut, captured, tick);
    }

    /// Gives a new body something to trade with, where anybody trades.
    fn endow(&self, entity: EntityId, body: &mut Body) {
        if self.play.trade > 0.0 {
            body.purse = Purse::born(entity);
        }
    }

    fn collect(&mut self) {
        self.reports.extend(self.roster.drain_reports());
    }

    fn any_velocity(&mut self) -> Velocity {
        let speed = self.dice.real(0.0, self.play.speed_max_m_s);
        let heading = self.dice.real(0.0, core::f64::consts::TAU);
        let climb = if self.grid.is_flat() { 0.0 } else { self.dice.real(-0.3, 0.3) };
        body::velocity(speed, heading, climb)
    }

    fn anywhere(&mut self) -> Position {
        let config = *self.grid.config();
        let dice = &mut self.dice;
        let at = core::array::from_fn(|axis| {
            config.origin_m[axis] + dice.real(0.0, f64::from(config.cells[axis]) * config.cell_edge_m)
        });
        self.grid.clamp(Position::from_array(at))
    }
}
