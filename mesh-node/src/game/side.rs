//! Turns the core's commands into the game's callbacks, and what the game does into reports.

use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_protocol::action::Request;
use selvedge_protocol::cell_map::CellMap;
use selvedge_protocol::grid::Motion;
use selvedge_protocol::id::{EntityId, InputSeq, ReservationId};
use selvedge_protocol::limits::ANSWER_BYTES_MAX;
use selvedge_protocol::node::{GameCommand, GameReport, Registration, ReleaseReason};
use selvedge_protocol::roster::{Callback, FreezeOrder, Performed, Roster};
use selvedge_protocol::snapshot::{Assembled, CapturedSnapshot, ComponentVersions, SnapshotWriter};
use selvedge_protocol::time::Tick;
use tracing::{debug, error, info, warn};

use crate::action::{Action, Answer, Event};
use crate::clock::{Clock, whole_micros};
use crate::frame::Frame;
use crate::world::{Player, Refused, World};

/// The share of a tick that pre-copies may take; those that don't fit are captured in the next one.
const PRECOPY_SHARE: u32 = 4;

/// A pre-copy that was asked for.
#[derive(Debug)]
struct Precopy {
    entity: EntityId,
    reservation: ReservationId,
    have: ComponentVersions,
}

/// What the game's thread keeps between two ticks.
#[derive(Debug)]
pub(crate) struct GameSide {
    registration: Registration,
    map: Arc<CellMap>,
    roster: Roster,
    precopies: Vec<Precopy>,
    schema: u32,
    /// How long each callback of this tick took.
    callbacks_us: Vec<u64>,
    captures_failed: u64,
    events_reached: u64,
}

impl GameSide {
    /// The side of a node that has just registered; `schema` is the one that its game writes.
    pub(crate) fn new(registration: Registration, map: Arc<CellMap>, hysteresis_m: f64, schema: u32) -> Self {
        let roster = Roster::new(registration.me.node, registration.grid, Arc::clone(&map), hysteresis_m);
        Self {
            registration,
            map,
            roster,
            precopies: Vec::new(),
            schema,
            callbacks_us: Vec::new(),
            captures_failed: 0,
            events_reached: 0,
        }
    }

    /// A new life of the same node: what it held is released by commands of its own.
    pub(crate) fn set_registration(&mut self, registration: Registration) {
        self.registration = registration;
    }

    pub(crate) fn set_map(&mut self, map: Arc<CellMap>) {
        self.roster.set_map(Arc::clone(&map));
        self.map = map;
    }

    pub(crate) const fn interval(&self) -> Duration {
        self.registration.tick_interval
    }

    /// How long each callback took since this was last asked, in microseconds.
    pub(crate) fn take_callback_times(&mut self) -> impl Iterator<Item = u64> + '_ {
        self.callbacks_us.drain(..)
    }

    /// Captures that the game got wrong since this was last asked.
    pub(crate) const fn take_captures_failed(&mut self) -> u64 {
        std::mem::replace(&mut self.captures_failed, 0)
    }

    /// Entities that events have reached since the last call.
    pub(crate) const fn take_events_reached(&mut self) -> u64 {
        std::mem::replace(&mut self.events_reached, 0)
    }

    /// What the core must be told by now.
    pub(crate) fn drain_reports(&mut self) -> impl Iterator<Item = GameReport> + '_ {
        self.roster.drain_reports()
    }

    /// The frame to hand to the game's step.
    pub(crate) fn frame<'a>(&'a mut self, tick: Tick, clock: &'a Clock) -> Frame<'a> {
        Frame {
            roster: &mut self.roster,
            clock,
            grid: &self.registration.grid,
            map: &self.map,
            me: self.registration.me.node,
            tick,
            interval: self.registration.tick_interval,
        }
    }

    /// Begins a tick: carries out what came too early for the ticks before.
    pub(crate) fn begin_tick(&mut self, world: &mut dyn World, tick: Tick) {
        for command in self.roster.begin_tick(tick) {
            self.carry_out(world, command, tick);
        }
    }

    /// Carries out one command of the core before the tick's step.
    pub(crate) fn carry_out(&mut self, world: &mut dyn World, command: GameCommand, tick: Tick) {
        let Some(callback) = self.roster.take(command, tick) else { return };
        match callback {
            Callback::Join { entity, session, name, entry, baseline } => {
                let baseline = baseline.as_ref().and_then(|assembled| assembled.view().ok());
                let player = Player { entity, session, name: &name, entry, baseline };
                let motion = self.join(world, player);
                self.roster.joined(entity, motion, tick);
            }
            Callback::Leave { entity, session, why } => {
                let applied = self.roster.applied(entity).unwrap_or_default();
                let writer = SnapshotWriter::new(entity, session, &ComponentVersions::new());
                let snapshot = self.capture(world, writer, applied);
                self.timed(|| world.leave(entity, why));
                self.roster.left(entity, snapshot, tick);
            }
            Callback::Capture { entity, session: _, reservation, have } => {
                self.precopies.push(Precopy { entity, reservation, have });
            }
            Callback::Warm { entity, reservation, snapshot } => {
                let accepted = self.warm(world, entity, &snapshot);
                self.roster.warmed(entity, reservation, accepted);
            }
            Callback::Admit { id, snapshot, restores } => {
                let accepted = self.warm(world, id.entity, &snapshot);
                if accepted && restores {
                    self.restore(world, id.entity, &snapshot);
                }
                self.roster.admitted(id, &snapshot, accepted, tick);
            }
            Callback::Restore { entity, snapshot } => self.restore(world, entity, &snapshot),
            Callback::Release { entity, why } => self.timed(|| world.release(entity, why)),
            Callback::Input { entity, seq, bytes } => self.timed(|| world.input(entity, seq.0, &bytes)),
            Callback::Perform { entity, request } => {
                let Request { id, durable, ref bytes, .. } = request;
                let action = Action { from: id.from, to: entity, durable, bytes };
                let reply = self.timed(|| world.action(action));
                if reply.bytes.len() > ANSWER_BYTES_MAX {
                    warn!(
                        ?entity,
                        bytes = reply.bytes.len(),
                        "the game's answer to an action is too long; it is cut"
                    );
                }
                let answer = if reply.done { Performed::Done } else { Performed::Refused };
                self.roster.performed(entity, &request, answer(&reply.bytes), tick);
            }
            Callback::Settled { entity, number, outcome } => {
                self.timed(|| world.answer(entity, number, Answer::of(&outcome)));
            }
            Callback::Ghosts(changes) => {
                self.timed(|| changes.into_iter().for_each(|change| world.ghost(change)));
            }
        }
    }

    /// Tells the game what happens in this tick: after its commands, before its step.
    pub(crate) fn tell_events(&mut self, world: &mut dyn World, tick: Tick) {
        while let Some((event, reached)) = self.roster.poll_event(tick) {
            self.events_reached += reached.len() as u64;
            let event = Event { area: event.area, bytes: &event.bytes, reached: &reached };
            self.timed(|| world.event(event));
        }
    }

    /// Captures the next entity or group that was frozen by what the game just published. Send the reports, tell the game
    /// with [`release_frozen`](Self::release_frozen), and call it again until there is none.
    pub(crate) fn freeze_next(&mut self, world: &dyn World, tick: Tick) -> Option<Vec<EntityId>> {
        while let Some(order) = self.roster.poll_freeze() {
            let group: Vec<EntityId> = order.entries.iter().map(|entry| entry.entity).collect();
            if self.freeze(world, order, tick) {
                debug!(?group, tick = tick.0, "frozen");
                return Some(group);
            }
        }
        None
    }

    /// Whether they are frozen now.
    fn freeze(&mut self, world: &dyn World, order: FreezeOrder, tick: Tick) -> bool {
        let captured = order.entries.iter().map(|entry| {
            let writer = self.roster.writer(entry.entity, &entry.have);
            self.capture(world, writer, entry.applied)
        });
        let captured = captured.collect();
        self.roster.frozen(order, captured, tick)
    }

    /// Tells the game to forget what was frozen; the report is on the way by now.
    pub(crate) fn release_frozen(&mut self, world: &mut dyn World, group: Vec<EntityId>) {
        for entity in group {
            self.timed(|| world.release(entity, ReleaseReason::Frozen));
        }
    }

    /// Captures the pre-copies that were asked for, within their share of the tick.
    pub(crate) fn capture_precopies(&mut self, world: &dyn World) {
        let (began, budget) = (Instant::now(), self.interval() / PRECOPY_SHARE);
        let mut waiting = std::mem::take(&mut self.precopies).into_iter();
        for Precopy { entity, reservation, have } in waiting.by_ref() {
            let Some(applied) = self.roster.applied(entity) else { continue };
            let writer = self.roster.writer(entity, &have);
            if let Some(snapshot) = self.capture(world, writer, applied) {
                self.roster.captured(entity, reservation, snapshot);
            }
            if began.elapsed() > budget {
                break;
            }
        }
        self.precopies = waiting.collect();
    }

    /// Captures the checkpoint that was asked for, if one was: all that is simulated, after this one tick. Says how long
    /// that took.
    pub(crate) fn capture_checkpoint(&mut self, world: &dyn World, tick: Tick) -> Option<Duration> {
        let (cut, entries) = self.roster.poll_cut()?;
        let began = Instant::now();
        let captured = entries.into_iter().map(|entry| {
            let writer = self.roster.writer(entry.entity, &entry.have);
            let snapshot = self.capture(world, writer, entry.applied);
            (entry, snapshot)
        });
        let captured = captured.collect();
        self.roster.checkpointed(cut, captured, tick);
        Some(began.elapsed())
    }

    /// Closes the tick.
    pub(crate) fn end_tick(&mut self, tick: Tick) {
        self.roster.end_tick(tick);
    }

    fn join(&mut self, world: &mut dyn World, player: Player<'_>) -> Option<Motion> {
        match self.timed(|| world.join(player)) {
            Ok(motion) if motion.is_finite() => Some(motion),
            Ok(motion) => {
                error!(entity = ?player.entity, ?motion, "the game put a player at an impossible place");
                self.timed(|| world.release(player.entity, ReleaseReason::NotComing));
                None
            }
            Err(refused) => {
                info!(entity = ?player.entity, name = player.name, reason = refused.reason(), "player refused by the game");
                None
            }
        }
    }

    fn warm(&mut self, world: &mut dyn World, entity: EntityId, snapshot: &Assembled) -> bool {
        let warmed = match snapshot.view() {
            Ok(view) => self.timed(|| world.warm(entity, &view)),
            Err(cause) => Err(Refused::new(cause.to_string())),
        };
        if let Err(refused) = &warmed {
            info!(?entity, reason = refused.reason(), "entity refused by the game");
        }
        warmed.is_ok()
    }

    fn restore(&mut self, world: &mut dyn World, entity: EntityId, snapshot: &Assembled) {
        match snapshot.view() {
            Ok(view) => self.timed(|| world.restore(entity, &view)),
            Err(cause) => error!(?entity, %cause, "the core gave an empty snapshot to restore"),
        }
    }

    fn capture(
        &mut self,
        world: &dyn World,
        mut writer: SnapshotWriter,
        applied: InputSeq,
    ) -> Option<CapturedSnapshot> {
        let entity = writer.entity();
        writer.schema(self.schema);
        self.timed(|| world.capture(entity, &mut writer));
        match writer.finish(applied) {
            Ok(snapshot) => Some(snapshot),
            Err(cause) => {
                self.captures_failed += 1;
                warn!(?entity, %cause, "the game's capture can't be used; the entity stays here");
                None
            }
        }
    }

    fn timed<R>(&mut self, callback: impl FnOnce() -> R) -> R {
        let began = Instant::now();
        let answer = callback();
        self.callbacks_us.push(whole_micros(began.elapsed()));
        answer
    }
}
