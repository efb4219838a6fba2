//! The game's side of a node: what it simulates, under which grant, and when an entity must be frozen.
//!
//! The core runs beside the game, on another thread or (in the simulator) behind a delay. The roster is what the game
//! side keeps between two meetings. It turns a [`GameCommand`] into a [`Callback`] for the game, stamps what the game
//! publishes with the grant under which it was made, and decides at the very tick of a crossing that an entity is
//! frozen: the core has armed it before, so no question is asked.
//!
//! Deliberately absent: the game's own state, threads, channels.

mod actions;
mod callback;
mod events;
mod freezing;
mod ghosts;
mod groups;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::action::ActionBook;
use crate::cell_map::CellMap;
use crate::event::Happenings;
use crate::grid::{Grid, Motion, Position};
use crate::group::Attachments;
use crate::id::{AuthorityEpoch, EntityId, HandoffId, InputSeq, NodeId, ReservationId, SessionId};
use crate::node::{
    ArmedTarget, CheckpointCopy, GameCommand, GameReport, LeaveReason, Published, ReleaseReason,
};
use crate::pin::Pins;
use crate::snapshot::{Assembled, CapturedSnapshot};
use crate::standby::CutOrder;
use crate::time::Tick;

pub use actions::Performed;
pub use callback::{Callback, CutEntry, FreezeEntry, FreezeOrder, PublishError};
pub use ghosts::GhostSight;

#[derive(Debug)]
struct Entry {
    grant: AuthorityEpoch,
    session: Option<SessionId>,
    applied: InputSeq,
    armed: Vec<ArmedTarget>,
    /// Joined, restored or admitted, but no tick has simulated it yet.
    fresh: Option<Fresh>,
    actions: ActionBook,
    /// In this tick it is asked again whether senders that have closed nothing still live.
    asks_after: Tick,
    /// From this tick on the entity is this node's.
    since: Tick,
    /// Where it was last published.
    position: Position,
    /// What it published last, if it rides on something: that may cross in a tick in which this one publishes nothing.
    last: Option<Published>,
    pins: Pins,
    /// The player is to leave as soon as no durable action stands against it.
    leaving: Option<LeaveReason>,
}

impl Entry {
    const fn new(grant: AuthorityEpoch, session: Option<SessionId>, since: Tick, position: Position) -> Self {
        Self {
            grant,
            session,
            applied: InputSeq(0),
            armed: Vec::new(),
            fresh: None,
            actions: ActionBook::new(),
            asks_after: since,
            since,
            position,
            last: None,
            pins: Pins::new(),
            leaving: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fresh {
    Restored,
    Admitted,
}

/// What the game simulates, under which grants. See the module's page.
#[derive(Debug)]
pub struct Roster {
    me: NodeId,
    grid: Grid,
    map: Arc<CellMap>,
    hysteresis_m: f64,
    held: BTreeMap<EntityId, Entry>,
    published: Vec<Published>,
    freezing: Vec<freezing::Crossing>,
    groups: Attachments,
    reports: Vec<GameReport>,
    happenings: Happenings,
    /// Events that the game has caused in this tick.
    caused: usize,
    /// A cut that is to be captured after this tick.
    cut: Option<CutOrder>,
    /// What others simulate. Invariant: nothing that is held.
    ghosts: ghosts::Ghosts,
    /// Entities that are this node's only from a later tick on, with every command for them since.
    early: BTreeMap<EntityId, Early>,
    #[cfg(feature = "planted-bugs")]
    bug: Option<crate::config::PlantedBug>,
    /// From which tick on an entity is this node's, if the game that is asked admits it.
    asked: BTreeMap<EntityId, Tick>,
}

#[derive(Debug)]
struct Early {
    first_tick: Tick,
    commands: Vec<GameCommand>,
}

impl Roster {
    /// Makes an empty roster for a registered node.
    #[must_use]
    pub fn new(me: NodeId, grid: Grid, map: Arc<CellMap>, hysteresis_m: f64) -> Self {
        Self {
            me,
            grid,
            map,
            hysteresis_m,
            held: BTreeMap::new(),
            published: Vec::new(),
            freezing: Vec::new(),
            groups: Attachments::new(),
            reports: Vec::new(),
            happenings: Happenings::new(),
            caused: 0,
            cut: None,
            ghosts: BTreeMap::new(),
            early: BTreeMap::new(),
            #[cfg(feature = "planted-bugs")]
            bug: None,
            asked: BTreeMap::new(),
        }
    }

    /// Builds a known bug in, if it is one of a roster's.
    #[cfg(feature = "planted-bugs")]
    pub const fn plant(&mut self, bug: crate::config::PlantedBug) {
        self.bug = Some(bug);
        self.happenings.plant(bug);
    }

    #[cfg(feature = "planted-bugs")]
    fn leaves_riders(&self) -> bool {
        self.bug == Some(crate::config::PlantedBug::LeaveRiders)
    }

    /// A recovery restores at the first step of a generation, and nothing else does.
    #[cfg(feature = "planted-bugs")]
    fn loses_rides(&self, grant: AuthorityEpoch) -> bool {
        self.bug == Some(crate::config::PlantedBug::LoseRides) && grant.generation > 0 && grant.step == 0
    }

    /// Takes a newer cell map.
    pub fn set_map(&mut self, map: Arc<CellMap>) {
        self.map = map;
    }

    /// Whether the entity is simulated here.
    #[must_use]
    pub fn holds(&self, entity: EntityId) -> bool {
        self.held.contains_key(&entity)
    }

    /// The grant under which the entity is simulated here.
    #[must_use]
    pub fn grant(&self, entity: EntityId) -> Option<AuthorityEpoch> {
        self.held.get(&entity).map(|entry| entry.grant)
    }

    /// The player's session of an entity simulated here.
    #[must_use]
    pub fn session(&self, entity: EntityId) -> Option<SessionId> {
        self.held.get(&entity).and_then(|entry| entry.session)
    }

    /// Whether a neighbour has a pre-copy of an entity simulated here: past the border it is handed off at once, warm.
    #[must_use]
    pub fn is_copied_ahead(&self, entity: EntityId) -> bool {
        self.held.get(&entity).is_some_and(|entry| entry.armed.iter().any(|armed| !armed.have.is_empty()))
    }

    /// The last input applied to an entity simulated here.
    #[must_use]
    pub fn applied(&self, entity: EntityId) -> Option<InputSeq> {
        self.held.get(&entity).map(|entry| entry.applied)
    }

    /// Everything simulated here, in order of id.
    pub fn entities(&self) -> impl Iterator<Item = EntityId> + '_ {
        self.held.keys().copied()
    }

    /// Commands that came too early in a former tick and are due in `tick`, in order: [`take`](Self::take) them before
    /// any new one.
    ///
    /// A source and a target run the same tick at the same time, more or less. What the source has simulated up to
    /// tick n, the target may simulate from tick n + 1 on: whatever arrives for it before waits here.
    pub fn begin_tick(&mut self, tick: Tick) -> Vec<GameCommand> {
        let due: Vec<EntityId> = self
            .early
            .iter()
            .filter(|(_, early)| early.first_tick <= tick)
            .map(|(&entity, _)| entity)
            .collect();
        let early =
            due.iter().filter_map(|entity| self.early.remove(entity)).flat_map(|early| early.commands);
        let mut commands: Vec<GameCommand> = early.collect();
        self.age_actions(tick, &mut commands);
        commands
    }

    /// Takes one command of the core; says what the game must do, if anything. `tick` is the one about to run.
    pub fn take(&mut self, command: GameCommand, tick: Tick) -> Option<Callback> {
        let command = self.hold_back(command, tick)?;
        match command {
            GameCommand::Join { entity, grant, session, name, entry, baseline } => {
                if self.holds(entity) {
                    return None;
                }
                self.held.insert(entity, Entry::new(grant, Some(session), tick, entry));
                self.ghosts.remove(&entity);
                Some(Callback::Join { entity, session, name, entry, baseline })
            }
            GameCommand::Leave { entity, grant, why } => {
                let entry = self.held.get_mut(&entity).filter(|entry| entry.grant == grant)?;
                if entry.actions.is_bound() {
                    entry.leaving = Some(why);
                    return None;
                }
                Some(Callback::Leave { entity, session: entry.session, why })
            }
            GameCommand::Capture { entity, reservation, have } => {
                let entry = self.held.get(&entity)?;
                Some(Callback::Capture { entity, session: entry.session, reservation, have })
            }
            GameCommand::Arm { entity, grant, targets } => {
                if let Some(entry) = self.held.get_mut(&entity).filter(|entry| entry.grant == grant) {
                    entry.armed = targets;
                }
                None
            }
            GameCommand::Warm { entity, reservation, snapshot } => {
                if self.holds(entity) {
                    return None;
                }
                Some(Callback::Warm { entity, reservation, snapshot })
            }
            GameCommand::Restore { entity, grant, snapshot, first_tick } => {
                self.hold(entity, grant, &snapshot, Fresh::Restored, first_tick);
                self.tell_actions(entity);
                Some(Callback::Restore { entity, snapshot })
            }
            GameCommand::Admit { id, snapshot, first_tick } => Some(self.ask(id, snapshot, first_tick, tick)),
            GameCommand::Release { entity, grant, why } => {
                match self.held.get(&entity) {
                    Some(entry) if entry.grant > grant => return None,
                    Some(_) => drop(self.let_go(entity)),
                    None => {}
                }
                // What was frozen here is shown on; if it turns out not to be this node's to freeze, it is shown no more.
                if why == ReleaseReason::Void {
                    self.ghosts.remove(&entity);
                }
                Some(Callback::Release { entity, why })
            }
            GameCommand::Input { entity, grant, seq, bytes } => {
                let entry = self.held.get_mut(&entity)?;
                if entry.grant != grant || seq != entry.applied.next() {
                    return None;
                }
                entry.applied = seq;
                Some(Callback::Input { entity, seq, bytes })
            }
            GameCommand::Action(command) => self.take_action(command, tick),
            GameCommand::Event(event) => {
                self.happenings.hear(event, tick);
                None
            }
            GameCommand::Ghosts(changes) => {
                let told = self.take_ghosts(changes);
                (!told.is_empty()).then_some(Callback::Ghosts(told))
            }
            GameCommand::Checkpoint(order) => {
                self.cut = Some(order);
                None
            }
        }
    }

    /// Keeps a command for an entity whose first tick has not come.
    fn hold_back(&mut self, command: GameCommand, tick: Tick) -> Option<GameCommand> {
        let (entity, first_tick) = match &command {
            GameCommand::Restore { entity, first_tick, .. } => (*entity, *first_tick),
            GameCommand::Admit { id, first_tick, .. } => (id.entity, *first_tick),
            GameCommand::Join { entity, .. }
            | GameCommand::Leave { entity, .. }
            | GameCommand::Capture { entity, .. }
            | GameCommand::Arm { entity, .. }
            | GameCommand::Warm { entity, .. }
            | GameCommand::Release { entity, .. }
            | GameCommand::Input { entity, .. } => (*entity, Tick::default()),
            GameCommand::Action(command) => (command.entity(), Tick::default()),
            GameCommand::Ghosts(_) | GameCommand::Event(_) | GameCommand::Checkpoint(_) => {
                return Some(command);
            }
        };
        if let Some(early) = self.early.get_mut(&entity) {
            early.first_tick = early.first_tick.max(first_tick);
            early.commands.push(command);
            return None;
        }
        // Whether the game takes it can be answered before: the source waits for that, with the entity frozen.
        if first_tick <= tick || matches!(command, GameCommand::Admit { .. }) {
            return Some(command);
        }
        self.early.insert(entity, Early { first_tick, commands: vec![command] });
        None
    }

    fn hold(
        &mut self,
        entity: EntityId,
        grant: AuthorityEpoch,
        snapshot: &Assembled,
        fresh: Fresh,
        since: Tick,
    ) {
        let head = snapshot.head();
        let session = head.and_then(|head| head.session);
        let position = head.map(|head| head.position).unwrap_or_default();
        self.happenings.came(entity, since);
        let entry = Entry {
            applied: head.map(|head| head.last_input).unwrap_or_default(),
            fresh: Some(fresh),
            actions: snapshot.actions(),
            ..Entry::new(grant, session, since, position)
        };
        self.held.insert(entity, entry);
        self.ghosts.remove(&entity);
        let attached_to = head.and_then(|head| head.attached_to);
        #[cfg(feature = "planted-bugs")]
        let attached_to = attached_to.filter(|_| !self.loses_rides(grant));
        self.come_attached(entity, attached_to);
    }

    /// The game's answer to [`Callback::Join`]: where the player stands, or none if the game refused.
    pub fn joined(&mut self, entity: EntityId, motion: Option<Motion>, tick: Tick) {
        let accepted = motion.is_some_and(|motion| motion.is_finite());
        if !accepted {
            self.let_go(entity);
        }
        self.reports.push(GameReport::Joined { entity, accepted, motion, tick });
    }

    /// The game's answer to [`Callback::Leave`].
    pub fn left(&mut self, entity: EntityId, snapshot: Option<CapturedSnapshot>, tick: Tick) {
        if let Some(entry) = self.let_go(entity) {
            self.published.retain(|published| published.entity != entity);
            self.reports.push(GameReport::Left { entity, grant: entry.grant, snapshot, tick });
        }
    }

    /// The game's answer to [`Callback::Capture`].
    pub fn captured(&mut self, entity: EntityId, reservation: ReservationId, snapshot: CapturedSnapshot) {
        if let Some(entry) = self.held.get(&entity) {
            self.reports.push(GameReport::Captured { entity, grant: entry.grant, reservation, snapshot });
        }
    }

    /// The game's answer to [`Callback::Warm`].
    pub fn warmed(&mut self, entity: EntityId, reservation: ReservationId, accepted: bool) {
        self.reports.push(GameReport::Warmed { entity, reservation, accepted });
    }

    /// The game's answer to [`Callback::Admit`], in the tick that simulates the entity first or before.
    pub fn admitted(&mut self, id: HandoffId, snapshot: &Assembled, accepted: bool, tick: Tick) {
        let HandoffId { entity, epoch: grant } = id;
        let first_tick = self.asked.remove(&entity).unwrap_or(tick);
        let restores = accepted && first_tick <= tick;
        if restores {
            self.hold(entity, grant, snapshot, Fresh::Admitted, first_tick);
        } else if accepted {
            let restore = GameCommand::Restore { entity, grant, snapshot: snapshot.clone(), first_tick };
            self.early.insert(entity, Early { first_tick, commands: vec![restore] });
        }
        self.reports.push(GameReport::Admitted { id, accepted, tick });
        if restores {
            self.tell_actions(entity);
        }
    }

    /// The game spawned an entity of its own.
    ///
    /// # Errors
    /// If the id is taken or the motion isn't finite.
    pub fn spawn(&mut self, entity: EntityId, motion: Motion, tick: Tick) -> Result<(), PublishError> {
        if self.holds(entity) {
            return Err(PublishError::Exists(entity));
        }
        if !motion.is_finite() {
            return Err(PublishError::NotFinite { entity, motion });
        }
        self.held.insert(entity, Entry::new(AuthorityEpoch::FIRST, None, tick, motion.position));
        self.ghosts.remove(&entity);
        self.reports.push(GameReport::Spawned { entity, motion, tick });
        Ok(())
    }

    /// The game removed an entity of its own.
    ///
    /// # Errors
    /// If it is not simulated here, or a durable action of it or to it isn't settled.
    pub fn despawn(&mut self, entity: EntityId, tick: Tick) -> Result<(), PublishError> {
        if self.held.get(&entity).is_some_and(|entry| entry.actions.is_bound()) {
            return Err(PublishError::Bound(entity));
        }
        let entry = self.let_go(entity).ok_or(PublishError::NotHeld(entity))?;
        self.published.retain(|published| published.entity != entity);
        self.reports.push(GameReport::Despawned { entity, grant: entry.grant, tick });
        Ok(())
    }

    /// A cut is to be captured now, after the step and the freezes of this tick: everything that is simulated here.
    /// Answer with [`Roster::checkpointed`].
    pub fn poll_cut(&mut self) -> Option<(u64, Vec<CutEntry>)> {
        let CutOrder { cut, have } = self.cut.take()?;
        let entries = self.held.iter().map(|(&entity, entry)| {
            let known = have.get(&entity).filter(|(epoch, _)| *epoch == entry.grant);
            CutEntry {
                entity,
                session: entry.session,
                grant: entry.grant,
                applied: entry.applied,
                have: known.map(|(_, versions)| (**versions).clone()).unwrap_or_default(),
            }
        });
        Some((cut, entries.collect()))
    }

    /// The game's answer to [`Roster::poll_cut`]: each entry with its snapshot, or with none where it couldn't be
    /// captured.
    pub fn checkpointed(
        &mut self,
        cut: u64,
        captured: Vec<(CutEntry, Option<CapturedSnapshot>)>,
        tick: Tick,
    ) {
        let copies = captured.into_iter().map(|(entry, snapshot)| {
            let CutEntry { entity, grant, applied, .. } = entry;
            CheckpointCopy { entity, grant, applied, snapshot }
        });
        let copies = copies.collect();
        self.reports.push(GameReport::Checkpoint { cut, tick, copies });
    }

    /// Ends a tick: what was published goes out with it, and what came fresh is confirmed.
    pub fn end_tick(&mut self, tick: Tick) {
        for (&entity, entry) in &mut self.held {
            if entry.fresh.take() == Some(Fresh::Restored) {
                self.reports.push(GameReport::Restored { entity, grant: entry.grant, tick });
            }
        }
        self.caused = 0;
        self.free_orphans(tick);
        let published = core::mem::take(&mut self.published);
        self.reports.push(GameReport::Frame { tick, published });
    }

    /// What the core must be told, in order; call after each answer, so that a freeze goes out at once.
    pub fn drain_reports(&mut self) -> impl Iterator<Item = GameReport> + '_ {
        self.reports.drain(..)
    }
}
