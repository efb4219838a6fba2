//! What a node has to show, tick by tick: one place that every link and every client's connection looks at.
//!
//! Quantizing, and estimating how something turns and falls, happen once here, whoever sees it. Deliberately absent: who
//! sees what ([`interest`](super::interest)), and what of it is sent ([`GhostSender`](super::GhostSender)).

use core::time::Duration;
use std::collections::BTreeMap;

use super::motion::CurveEstimate;
use super::quantize::{Facing, Sample};
use super::state::State;
use super::wire::{EntityClass, VanishReason};
use crate::grid::Motion;
use crate::id::{AuthorityEpoch, EntityId};
use crate::time::Tick;

/// What is published of an entity in one tick.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Subject {
    /// Which entity.
    pub entity: EntityId,
    /// At which epoch its authority published this.
    pub epoch: AuthorityEpoch,
    /// What kind of thing it is.
    pub class: EntityClass,
    /// Whether this node holds it. Ghosts are shown to clients, never to nodes.
    pub owned: bool,
    /// Where it is and how it moves.
    pub motion: Motion,
    /// How it is turned: a quaternion x, y, z, w.
    pub rotation: [f32; 4],
    /// What the game says of it beside.
    pub state: State,
}

/// An entity in the scene, and how it seems to move.
#[derive(Clone, Debug)]
pub(super) struct Actor {
    pub(super) subject: Subject,
    /// Quantized, with its curve: what is sent, if anything is.
    pub(super) sample: Sample,
    curve: CurveEstimate,
    /// When it was last published.
    pub(super) tick: Tick,
    /// Grows whenever its state changes.
    pub(super) state_version: u32,
    /// Changes whenever the place in the scene gets another entity.
    pub(super) life: u32,
}

/// Everything that a node has to show.
///
/// Each tick: [`begin`](Self::begin), [`put`](Self::put) for all that was published, in any order (in ascending order of
/// id it is quicker), [`remove`](Self::remove) for what is gone.
#[derive(Clone, Debug)]
pub struct Scene {
    interval_s: f64,
    tick: Tick,
    /// Actors keep their place while they are in the scene.
    actors: Vec<Option<Actor>>,
    free: Vec<u32>,
    lives: u32,
    /// Where each entity is, ascending by id.
    order: Vec<(EntityId, u32)>,
    /// Where the next entity is expected in `order`.
    cursor: usize,
    /// What was taken out before this tick's publications, and since.
    departed: BTreeMap<EntityId, Departure>,
    departing: BTreeMap<EntityId, Departure>,
}

/// How an entity left the scene.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Departure {
    pub(super) why: VanishReason,
    pub(super) epoch: AuthorityEpoch,
}

impl Scene {
    /// Makes an empty scene for ticks of this length.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            interval_s: interval.as_secs_f64().max(1e-6),
            tick: Tick::default(),
            actors: Vec::new(),
            free: Vec::new(),
            lives: 0,
            order: Vec::new(),
            cursor: 0,
            departed: BTreeMap::new(),
            departing: BTreeMap::new(),
        }
    }

    /// A tick's publications follow.
    pub fn begin(&mut self, tick: Tick) {
        self.tick = self.tick.max(tick);
        self.cursor = 0;
        self.departed = core::mem::take(&mut self.departing);
    }

    /// The tick that it shows.
    #[must_use]
    pub const fn tick(&self) -> Tick {
        self.tick
    }

    pub(super) const fn interval_s(&self) -> f64 {
        self.interval_s
    }

    /// How many entities there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Takes in what was published of an entity in this tick. What isn't finite is left as it was.
    pub fn put(&mut self, subject: &Subject) {
        if !subject.motion.is_finite() {
            return;
        }
        match self.find(subject.entity) {
            Ok(nth) => {
                self.cursor = nth + 1;
                let (tick, interval_s) = (self.tick, self.interval_s);
                let place = self.order.get(nth).map(|(_, place)| *place);
                if let Some(actor) = place.and_then(|place| self.actor_mut(place)) {
                    actor.update(subject, tick, interval_s);
                }
            }
            Err(nth) => {
                self.cursor = nth + 1;
                let place = self.add(subject);
                self.order.insert(nth, (subject.entity, place));
            }
        }
    }

    /// Takes an entity out, and says why to whom it was shown: `epoch` is the one at which its authority ended here.
    /// True if it was there.
    pub fn remove(&mut self, entity: EntityId, why: VanishReason, epoch: AuthorityEpoch) -> bool {
        let Ok(nth) = self.find(entity) else {
            return false;
        };
        let (_, place) = self.order.remove(nth);
        if let Some(actor) = self.actors.get_mut(place as usize) {
            *actor = None;
            self.free.push(place);
        }
        self.departing.insert(entity, Departure { why, epoch });
        true
    }

    /// How an entity left, if it did so since the last tick's publications.
    pub(super) fn departure(&self, entity: EntityId) -> Option<Departure> {
        self.departing.get(&entity).or_else(|| self.departed.get(&entity)).copied()
    }

    /// Where in the scene an entity is.
    pub(super) fn place_of(&self, entity: EntityId) -> Option<u32> {
        let nth = self.find(entity).ok()?;
        self.order.get(nth).map(|(_, place)| *place)
    }

    pub(super) fn actor(&self, place: u32) -> Option<&Actor> {
        self.actors.get(place as usize)?.as_ref()
    }

    /// Every place, taken or not, in order.
    pub(super) fn slots(&self) -> &[Option<Actor>] {
        &self.actors
    }

    /// One more than the highest place that was ever taken.
    pub(super) const fn places(&self) -> usize {
        self.actors.len()
    }

    fn actor_mut(&mut self, place: u32) -> Option<&mut Actor> {
        self.actors.get_mut(place as usize)?.as_mut()
    }

    /// Where an entity stands in `order`, or should.
    fn find(&self, entity: EntityId) -> Result<usize, usize> {
        if self.order.get(self.cursor).is_some_and(|(here, _)| *here == entity) {
            return Ok(self.cursor);
        }
        self.order.binary_search_by_key(&entity, |(here, _)| *here)
    }

    fn add(&mut self, subject: &Subject) -> u32 {
        self.lives = self.lives.wrapping_add(1);
        let actor = Actor {
            subject: *subject,
            sample: Sample::of(&subject.motion, Facing::of(subject.rotation)),
            curve: CurveEstimate::default(),
            tick: self.tick,
            state_version: 0,
            life: self.lives,
        };
        if let Some(place) = self.free.pop()
            && let Some(free) = self.actors.get_mut(place as usize)
        {
            *free = Some(actor);
            return place;
        }
        self.actors.push(Some(actor));
        u32::try_from(self.actors.len() - 1).unwrap_or(u32::MAX)
    }
}

impl Actor {
    fn update(&mut self, subject: &Subject, tick: Tick, interval_s: f64) {
        let before = self.subject.motion;
        let turned = self.subject.rotation != subject.rotation;
        let ticks = tick.0.saturating_sub(self.tick.0);
        let facing = if turned { Facing::of(subject.rotation) } else { self.sample.facing };
        self.sample = Sample::of(&subject.motion, facing);
        // Over a gap, as when the game missed a tick, nothing can be said of its curve.
        if ticks == 1 {
            self.curve.observe(&before, &subject.motion, interval_s);
            self.curve.bend(&mut self.sample, &before, &subject.motion, interval_s);
        } else if ticks > 1 {
            self.curve = CurveEstimate::default();
        }
        if self.subject.state != subject.state {
            self.state_version = self.state_version.wrapping_add(1);
        }
        self.subject = *subject;
        self.tick = tick;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::grid::{Position, Velocity};

    pub(crate) fn subject(id: u128, x: f64) -> Subject {
        Subject {
            entity: EntityId::from_u128(id),
            epoch: AuthorityEpoch::FIRST,
            class: EntityClass::default(),
            owned: true,
            motion: Motion { position: Position::new(x, 0.0, 0.0), velocity: Velocity::default() },
            rotation: [0.0, 0.0, 0.0, 1.0],
            state: State::default(),
        }
    }

    #[test]
    fn actors_keep_their_places_whatever_comes_and_goes() {
        let mut scene = Scene::new(Duration::from_millis(33));
        scene.begin(Tick(1));
        for id in [5, 1, 9, 3] {
            scene.put(&subject(id, id as f64));
        }
        let place = |scene: &Scene, id| {
            let is_it = |actor: &Actor| actor.subject.entity == EntityId::from_u128(id);
            scene.slots().iter().position(|actor| actor.as_ref().is_some_and(is_it)).unwrap()
        };
        let (one, nine) = (place(&scene, 1), place(&scene, 9));
        let mut remove =
            |id| scene.remove(EntityId::from_u128(id), VanishReason::Ended, AuthorityEpoch::FIRST);
        assert!(remove(5));
        assert!(!remove(5));
        scene.begin(Tick(2));
        for id in [1, 3, 4, 9] {
            scene.put(&subject(id, -1.0));
        }
        assert_eq!((place(&scene, 1), place(&scene, 9)), (one, nine));
        assert_eq!((scene.len(), scene.places()), (4, 4));
        assert!(scene.slots().iter().flatten().all(|actor| actor.subject.motion.position.x < 0.0));
    }

    #[test]
    fn what_is_not_a_place_is_not_taken() {
        let mut scene = Scene::new(Duration::from_millis(33));
        scene.begin(Tick(1));
        scene.put(&subject(1, 2.0));
        scene.put(&subject(1, f64::NAN));
        scene.put(&subject(2, f64::INFINITY));
        assert_eq!(scene.len(), 1);
        assert_eq!(scene.actor(0).unwrap().subject.motion.position.x, 2.0);
    }
}
