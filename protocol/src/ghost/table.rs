//! The ghosts of a node, or of a client: one for each entity, whichever link tells of it.
//!
//! An entity that changes hands is told of by one link and then by another, in any order and with a gap between. Its ghost
//! stays: the higher epoch's word counts, and a vanish by one who tells of it no more is nobody's affair. What has vanished
//! is remembered for as long as anybody could be believed who speaks of the time before.

use core::time::Duration;
use std::collections::BTreeMap;

use super::gone::Gone;
use super::quantize::{Facing, Sample};
use super::scene::Subject;
use super::settings::TableSettings;
use super::state::{Changes, Merged};
use super::track::{Ghost, Shown, Track};
use super::wire::{EntityClass, VanishReason};
use crate::authority::AuthorityTable;
use crate::id::{AuthorityEpoch, EntityId};
use crate::limits::{GHOSTS_MAX, TICKS_AHEAD_MAX};
use crate::time::{Tick, Time};

/// Kinds of staleness that are told apart: 0 ticks, 1, 2 and so on.
pub const STALENESS_TICKS: usize = 16;

/// Which entities may be shown as ghosts here.
pub trait Floors {
    /// The lowest epoch at which a ghost of the entity may be shown; none while the entity is held here.
    fn floor(&self, entity: EntityId) -> Option<AuthorityEpoch>;
}

impl Floors for AuthorityTable {
    fn floor(&self, entity: EntityId) -> Option<AuthorityEpoch> {
        self.standing(entity).is_none().then(|| Self::floor(self, entity))
    }
}

/// Everything may be shown: for a client, who holds nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NoFloors;

impl Floors for NoFloors {
    fn floor(&self, _entity: EntityId) -> Option<AuthorityEpoch> {
        Some(AuthorityEpoch::default())
    }
}

/// What a game is told of ghosts; where they are it asks for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GhostEvent {
    /// It came into sight.
    Appeared {
        /// Which entity.
        entity: EntityId,
    },
    /// Its state has changed.
    Changed {
        /// Which entity.
        entity: EntityId,
    },
    /// It went out of sight, or is no more.
    Vanished {
        /// Which entity.
        entity: EntityId,
    },
}

/// A track in the table, for a link that tells of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TrackKey {
    place: u32,
    life: u32,
}

/// What a link says when something appears, or goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling {
    pub(super) link: u32,
    pub(super) entity: EntityId,
    pub(super) epoch: AuthorityEpoch,
    pub(super) class: EntityClass,
    pub(super) tick: u64,
    pub(super) sample: Sample,
    pub(super) vouched: u64,
    /// It says so for the first time. If not, it doesn't take a ghost away from another link that says the same.
    pub(super) fresh: bool,
}

/// All ghosts. See the module's page.
#[derive(Debug)]
pub struct GhostTable {
    settings: TableSettings,
    /// By place, with which of its lives it is.
    ghosts: Vec<(u32, Option<Ghost>)>,
    free: Vec<u32>,
    by_entity: BTreeMap<EntityId, u32>,
    gone: Gone,
    /// The tick that passed last.
    tick: u64,
    events: Vec<GhostEvent>,
    refused: u64,
    /// How many changes the game was told of last.
    changes: usize,
}

impl GhostTable {
    /// Makes an empty table.
    #[must_use]
    pub fn new(settings: TableSettings) -> Self {
        Self {
            settings,
            ghosts: Vec::new(),
            free: Vec::new(),
            by_entity: BTreeMap::new(),
            gone: Gone::default(),
            tick: 0,
            events: Vec::new(),
            refused: 0,
            changes: 0,
        }
    }

    /// Its settings.
    #[must_use]
    pub const fn settings(&self) -> &TableSettings {
        &self.settings
    }

    /// How many ghosts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_entity.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_entity.is_empty()
    }

    /// Ghosts that were refused because there were too many.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// What has happened since this was last asked.
    pub fn take_events(&mut self) -> Vec<GhostEvent> {
        core::mem::take(&mut self.events)
    }

    /// The moment that is shown while mesh time is `now`: earlier by the display lag.
    #[must_use]
    pub fn display_time(&self, now: Time) -> Time {
        now - self.display_lag()
    }

    /// How far behind ghosts are shown.
    #[must_use]
    pub fn display_lag(&self) -> Duration {
        let ticks = u32::try_from(self.settings.display_lag_ticks).unwrap_or(u32::MAX);
        self.settings.interval.saturating_mul(ticks)
    }

    /// Every ghost as it is at a moment of mesh time, in order of id: for the moment that is shown, give
    /// [`display_time`](Self::display_time).
    pub fn shown_at(&self, at: Time) -> impl Iterator<Item = Shown<'_>> {
        let ghosts = self.by_entity.values().filter_map(|&place| self.ghosts.get(place as usize)?.1.as_ref());
        ghosts.map(move |ghost| ghost.shown_at(at, &self.settings))
    }

    /// One ghost as it is at a moment of mesh time.
    #[must_use]
    pub fn ghost_at(&self, entity: EntityId, at: Time) -> Option<Shown<'_>> {
        Some(self.ghost_of(entity)?.shown_at(at, &self.settings))
    }

    /// Ticks since the newest one that the ghost's sender vouches for: DESIGN's `ghost_staleness`, in ticks.
    #[must_use]
    pub fn staleness_ticks(&self, entity: EntityId, now: Tick) -> Option<u64> {
        Some(now.0.saturating_sub(self.ghost_of(entity)?.vouched))
    }

    /// How many ghosts are how stale, as [`staleness_ticks`](Self::staleness_ticks) has it; the last entry is of those that
    /// are staler than all before.
    #[must_use]
    pub fn staleness(&self, now: Tick) -> [u32; STALENESS_TICKS] {
        let mut counts = [0; STALENESS_TICKS];
        for ghost in self.ghosts() {
            let ticks = usize::try_from(now.0.saturating_sub(ghost.vouched)).unwrap_or(usize::MAX);
            if let Some(count) = counts.get_mut(ticks.min(STALENESS_TICKS - 1)) {
                *count += 1;
            }
        }
        counts
    }

    /// Lets a tick pass: what nobody tells of any more vanishes.
    pub fn tick(&mut self, now: Tick) {
        self.tick = self.tick.max(now.0);
        self.gone.tick(self.tick);
        let stale = self.settings.stale_ticks;
        let is_over = |ghost: &&Ghost| {
            ghost.lingers_until.is_some_and(|until| until <= now.0)
                || ghost.vouched.saturating_add(stale) <= now.0
        };
        let over: Vec<EntityId> = self.ghosts().filter(is_over).map(|ghost| ghost.track().entity).collect();
        for entity in over {
            self.vanish(entity);
        }
    }

    /// The entity is held here from now on: its ghost is one no more, and the game, which has the entity itself, hears of
    /// no vanishing. False if there was no ghost.
    pub fn promote(&mut self, entity: EntityId) -> bool {
        self.remove(entity).is_some()
    }

    /// The entity was held here until `tick` and is another's at `epoch`: it goes on as a ghost from where it was, and the
    /// game hears of no appearing. Who holds it must tell of it within `linger_ticks`. If that one has said by now that it
    /// is no more, there is no ghost of it.
    pub fn adopt(&mut self, subject: &Subject, epoch: AuthorityEpoch, tick: Tick) {
        let known = self.ghost_of(subject.entity).is_some_and(|ghost| ghost.track().epoch >= epoch);
        if known || self.gone.outdates(subject.entity, epoch) {
            return;
        }
        let sample = Sample::of(&subject.motion, Facing::of(subject.rotation));
        self.remove(subject.entity);
        let mut track = Track::new(subject.entity, epoch, subject.class, tick.0, sample);
        track.came_moving = false;
        track.state.set(&subject.state, tick.0);
        let mut ghost = Ghost::new(track, tick.0);
        ghost.lingers_until = Some(tick.0.saturating_add(self.settings.linger_ticks));
        self.insert(ghost);
    }

    /// A link is gone: its ghosts linger, as another may tell of them.
    pub fn on_link_lost(&mut self, link: u32, now: Tick) {
        let until = now.0.saturating_add(self.settings.linger_ticks);
        for ghost in self.ghosts_mut().filter(|ghost| ghost.link == Some(link)) {
            ghost.link = None;
            ghost.lingers_until = Some(until);
        }
    }

    /// A link's peer is fenced: whatever it tells of vanishes.
    pub fn on_link_fenced(&mut self, link: u32) {
        let its = self.ghosts().filter(|ghost| ghost.link == Some(link));
        let its: Vec<EntityId> = its.map(|ghost| ghost.track().entity).collect();
        for entity in its {
            self.vanish(entity);
        }
    }

    /// Forgets all ghosts; the game hears that they vanished.
    pub fn clear(&mut self) {
        let all: Vec<EntityId> = self.by_entity.keys().copied().collect();
        for entity in all {
            self.vanish(entity);
        }
        self.gone = Gone::default();
    }

    /// A link tells of an entity. None if somebody tells of it at a higher epoch or did so lately, or if there is no room.
    pub(super) fn tell(&mut self, telling: &Telling, state: &Merged) -> Option<TrackKey> {
        let &Telling { link, entity, epoch, class, tick, sample, vouched, fresh } = telling;
        let Some(&place) = self.by_entity.get(&entity) else {
            if self.gone.outdates(entity, epoch) {
                return None;
            }
            let mut track = Track::new(entity, epoch, class, tick, sample);
            track.state = state.clone();
            let mut ghost = Ghost::new(track, tick.max(vouched));
            ghost.link = Some(link);
            let key = self.insert(ghost)?;
            self.events.push(GhostEvent::Appeared { entity });
            return Some(key);
        };
        let (life, ghost) = self.ghosts.get_mut(place as usize)?;
        let ghost = ghost.as_mut()?;
        let anothers = ghost.link.is_some_and(|teller| teller != link);
        let known = ghost.track().epoch;
        if epoch < known || (epoch == known && anothers && !fresh) {
            return None;
        }
        if epoch > known {
            ghost.track_mut().forget_from(tick);
        }
        ghost.link = Some(link);
        ghost.lingers_until = None;
        ghost.add(tick, sample);
        ghost.vouch(vouched);
        let track = ghost.track_mut();
        (track.epoch, track.class) = (epoch, class);
        if track.state.view() != state.view() {
            track.state_untold = true;
            self.events.push(GhostEvent::Changed { entity });
        }
        track.state = state.clone();
        Some(TrackKey { place, life: *life })
    }

    /// A link's ghost is out of its sight.
    pub(super) fn untell(
        &mut self,
        key: TrackKey,
        link: u32,
        epoch: AuthorityEpoch,
        why: VanishReason,
        now: Tick,
    ) {
        let until = now.0.saturating_add(self.settings.linger_ticks);
        let Some(ghost) = self.told_by(key, link).filter(|ghost| epoch >= ghost.track().epoch) else {
            return;
        };
        let entity = ghost.track().entity;
        match why {
            VanishReason::HandedOver => {
                ghost.link = None;
                ghost.lingers_until = Some(until);
            }
            VanishReason::OutOfSight => self.vanish_at(entity, epoch),
            VanishReason::Ended => {
                self.vanish_at(entity, epoch);
                self.note_end(entity, epoch);
            }
        }
    }

    /// A link says that an entity is no more, of which another tells, or which is held here: who tells of it at that epoch
    /// hasn't heard yet.
    pub(super) fn note_end(&mut self, entity: EntityId, epoch: AuthorityEpoch) {
        self.gone.note(entity, epoch, true, self.forgets_at());
    }

    /// The ghost, while that link tells of it.
    pub(super) fn told_by(&mut self, key: TrackKey, link: u32) -> Option<&mut Ghost> {
        let (life, ghost) = self.ghosts.get_mut(key.place as usize)?;
        ghost.as_mut().filter(|ghost| *life == key.life && ghost.link == Some(link))
    }

    /// A link tells of a change of state.
    pub(super) fn merge(&mut self, key: TrackKey, link: u32, changes: Changes<'_>, tick: u64) {
        let Some(track) = self.told_by(key, link).map(Ghost::track_mut) else {
            return;
        };
        let entity = track.entity;
        if track.state.merge(changes, tick) {
            track.state_untold = true;
            self.events.push(GhostEvent::Changed { entity });
        }
    }

    fn ghosts(&self) -> impl Iterator<Item = &Ghost> {
        self.ghosts.iter().filter_map(|(_, ghost)| ghost.as_ref())
    }

    pub(super) fn ghosts_mut(&mut self) -> impl Iterator<Item = &mut Ghost> {
        self.ghosts.iter_mut().filter_map(|(_, ghost)| ghost.as_mut())
    }

    /// About how many changes there will be: a quarter more than last time.
    pub(super) const fn usual_changes(&self) -> usize {
        self.changes + self.changes / 4
    }

    pub(super) const fn note_changes(&mut self, changes: usize) {
        self.changes = changes;
    }

    /// Which link tells of an entity; none while it is between two authorities.
    #[must_use]
    pub fn teller(&self, entity: EntityId) -> Option<u32> {
        self.ghost_of(entity)?.link
    }

    /// Whether there is a ghost of the entity.
    #[must_use]
    pub fn contains(&self, entity: EntityId) -> bool {
        self.by_entity.contains_key(&entity)
    }

    fn ghost_of(&self, entity: EntityId) -> Option<&Ghost> {
        let &place = self.by_entity.get(&entity)?;
        self.ghosts.get(place as usize)?.1.as_ref()
    }

    pub(super) fn ghost_of_mut(&mut self, entity: EntityId) -> Option<&mut Ghost> {
        let &place = self.by_entity.get(&entity)?;
        self.ghosts.get_mut(place as usize)?.1.as_mut()
    }

    fn insert(&mut self, ghost: Ghost) -> Option<TrackKey> {
        if self.by_entity.len() >= GHOSTS_MAX {
            self.refused += 1;
            return None;
        }
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                let place = u32::try_from(self.ghosts.len()).ok()?;
                self.ghosts.push((0, None));
                place
            }
        };
        self.by_entity.insert(ghost.track().entity, place);
        let (life, entry) = self.ghosts.get_mut(place as usize)?;
        *life = life.wrapping_add(1);
        *entry = Some(ghost);
        Some(TrackKey { place, life: *life })
    }

    fn remove(&mut self, entity: EntityId) -> Option<Ghost> {
        let place = self.by_entity.remove(&entity)?;
        self.free.push(place);
        self.ghosts.get_mut(place as usize)?.1.take()
    }

    fn vanish(&mut self, entity: EntityId) {
        self.vanish_at(entity, AuthorityEpoch::default());
    }

    /// It vanishes, as of an epoch or of its own, whichever is higher.
    fn vanish_at(&mut self, entity: EntityId, epoch: AuthorityEpoch) {
        let Some(ghost) = self.remove(entity) else {
            return;
        };
        self.gone.note(entity, ghost.track().epoch.max(epoch), false, self.forgets_at());
        self.events.push(GhostEvent::Vanished { entity });
    }

    /// What vanishes now is remembered until then: what an authority said before that, by a clock that may have been
    /// ahead, is too old by then to be believed.
    const fn forgets_at(&self) -> u64 {
        self.tick.saturating_add(self.settings.stale_ticks).saturating_add(TICKS_AHEAD_MAX)
    }
}
