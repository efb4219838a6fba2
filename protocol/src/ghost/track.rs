//! One ghost over time: what was told of it, and so where it is at any moment.
//!
//! Between two samples the sender vouched for what the first one leads to, up to one tick before the second: so that is
//! what is shown, and the step to the second is taken within that one tick. Beyond the newest sample it is foreseen, as
//! far as the sender vouches and a little further; then it stands still. Who has just come into sight was on their way
//! before: until the moment that is shown reaches their first sample, they are shown on the way to it.

use super::change::{GhostChange, Look};
use super::motion::{Prediction, predict};
use super::quantize::{Facing, Sample};
use super::settings::TableSettings;
use super::state::{Merged, StateView};
use super::wire::EntityClass;
use crate::grid::{Motion, Position, Velocity};
use crate::id::{AuthorityEpoch, EntityId};
use crate::time::{Tick, Time};

/// Samples that a ghost remembers: more than come in any display lag.
const SAMPLES: usize = 8;
/// A step longer than this, in metres, is a teleport: it isn't drawn out.
const TELEPORT_M: f64 = 8.0;

/// A ghost at one moment, as a game sees it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Shown<'a> {
    /// Which entity.
    pub entity: EntityId,
    /// At which epoch its authority is, as far as is known.
    pub epoch: AuthorityEpoch,
    /// What kind of thing it is.
    pub class: EntityClass,
    /// Where it is and how it moves.
    pub motion: Motion,
    /// How it is turned: a quaternion x, y, z, w.
    pub rotation: [f32; 4],
    /// What its game says of it beside: the newest, not that of the moment.
    pub state: StateView<'a>,
    /// The newest tick that its sender vouches for.
    pub vouched: Tick,
}

/// What a game was told of a ghost's place.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Told {
    motion: Motion,
    facing: Facing,
    /// As a quaternion.
    rotation: [f32; 4],
}

/// A ghost: what every tick looks at stands side by side with the other ghosts', and the rest, touched where something has
/// come of it, behind a pointer.
#[derive(Debug)]
pub(super) struct Ghost {
    /// Which link tells of it; none while it is between two authorities.
    pub(super) link: Option<u32>,
    /// The newest tick that its sender vouches for.
    pub(super) vouched: u64,
    /// Vanishes at this tick unless somebody tells of it.
    pub(super) lingers_until: Option<u64>,
    /// The game knows all of it until something comes.
    quiet: bool,
    track: Box<Track>,
}

impl Ghost {
    pub(super) fn new(track: Track, vouched: u64) -> Self {
        Self { link: None, vouched, lingers_until: None, quiet: false, track: Box::new(track) }
    }

    pub(super) fn track(&self) -> &Track {
        &self.track
    }

    /// To change it. What its game has to hear of that is found out at the next tick.
    pub(super) fn track_mut(&mut self) -> &mut Track {
        self.quiet = false;
        &mut self.track
    }

    pub(super) fn vouch(&mut self, tick: u64) {
        self.vouched = self.vouched.max(tick);
    }

    /// Takes a sample, in its place by tick.
    pub(super) fn add(&mut self, tick: u64, sample: Sample) {
        self.vouch(tick);
        self.track_mut().add(tick, sample);
    }

    pub(super) fn shown_at(&self, at: Time, settings: &TableSettings) -> Shown<'_> {
        self.track.shown_at(at, self.vouched, settings)
    }

    /// What its game must hear to have it as it is at a moment; moments must not go back.
    pub(super) fn take_changes(
        &mut self,
        at: Time,
        settings: &TableSettings,
        changes: &mut Vec<GhostChange>,
    ) {
        if self.quiet {
            return;
        }
        self.track.take_changes(at, self.vouched, settings, changes);
        self.quiet = self.track.rests;
    }
}

/// What was told of one ghost.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) entity: EntityId,
    pub(super) epoch: AuthorityEpoch,
    pub(super) class: EntityClass,
    pub(super) state: Merged,
    /// Where its game was last told that it is; none before it was told at all.
    pub(super) told: Option<Told>,
    /// That is where it stays until the next sample.
    rests: bool,
    /// Whether the game has yet to hear of a change of state.
    pub(super) state_untold: bool,
    /// Whether it was elsewhere, and moved, before its first sample: not if it was this node's own until then.
    pub(super) came_moving: bool,
    /// Ascending by tick; the first `len`.
    samples: [(u64, Sample); SAMPLES],
    len: usize,
}

impl Track {
    pub(super) fn new(
        entity: EntityId,
        epoch: AuthorityEpoch,
        class: EntityClass,
        tick: u64,
        sample: Sample,
    ) -> Self {
        Self {
            entity,
            epoch,
            class,
            state: Merged::default(),
            told: None,
            rests: false,
            state_untold: false,
            came_moving: true,
            samples: [(tick, sample); SAMPLES],
            len: 1,
        }
    }

    fn add(&mut self, tick: u64, sample: Sample) {
        self.rests = false;
        let mut place = self.len;
        while place > 0 && self.samples[place - 1].0 >= tick {
            place -= 1;
        }
        if place < self.len && self.samples[place].0 == tick {
            self.samples[place].1 = sample;
            return;
        }
        if self.len < SAMPLES {
            self.samples.copy_within(place..self.len, place + 1);
            self.len += 1;
        } else if place == 0 {
            return;
        } else {
            place -= 1;
            self.samples.copy_within(1..=place, 0);
        }
        self.samples[place] = (tick, sample);
    }

    /// Another authority tells of it, from `tick` on: what an earlier one whose clock was ahead said of later ticks is void.
    pub(super) fn forget_from(&mut self, tick: u64) {
        self.len = self.samples[..self.len].partition_point(|(of, _)| *of < tick);
        self.rests = false;
    }

    fn take_changes(
        &mut self,
        at: Time,
        vouched: u64,
        settings: &TableSettings,
        changes: &mut Vec<GhostChange>,
    ) {
        let told = self.told;
        let now = self.tell_at(at, vouched, settings);
        let (entity, tick) = (self.entity, Tick(vouched));
        let Told { motion, rotation, .. } = now;
        if told.is_none() {
            let look = Look { rotation, class: self.class, state: self.state.view().to_state() };
            changes.push(GhostChange::Appeared { entity, motion, look, tick });
        } else {
            if told != Some(now) {
                changes.push(GhostChange::Moved { entity, motion, rotation, tick });
            }
            if self.state_untold {
                changes.push(GhostChange::Changed { entity, state: self.state.view().to_state() });
            }
        }
        self.told = Some(now);
        self.state_untold = false;
    }

    /// Where the game is to take it to be from now on.
    fn tell_at(&mut self, at: Time, vouched: u64, settings: &TableSettings) -> Told {
        let Prediction { position, velocity, facing } = self.at(at, vouched, settings);
        let motion = Motion { position: Position::from_array(position), velocity: narrow(velocity) };
        let rotation = match &self.told {
            Some(told) if told.facing == facing => told.rotation,
            Some(_) | None => facing.rotation(),
        };
        let (tick, newest) = self.samples[self.len - 1];
        self.rests = newest.is_at_rest() && Tick(tick).start(settings.interval) <= at;
        Told { motion, facing, rotation }
    }

    fn shown_at(&self, at: Time, vouched: u64, settings: &TableSettings) -> Shown<'_> {
        let Prediction { position, velocity, facing } = self.at(at, vouched, settings);
        Shown {
            entity: self.entity,
            epoch: self.epoch,
            class: self.class,
            motion: Motion { position: Position::from_array(position), velocity: narrow(velocity) },
            rotation: facing.rotation(),
            state: self.state.view(),
            vouched: Tick(vouched),
        }
    }

    fn at(&self, at: Time, vouched: u64, settings: &TableSettings) -> Prediction {
        let interval_us = Tick(1).start(settings.interval).as_micros();
        let start_us = |tick: u64| tick.saturating_mul(interval_us);
        let limit_us = start_us(vouched.saturating_add(settings.foresight_ticks));
        let at_us = at.as_micros().min(limit_us);
        let samples = &self.samples[..self.len];
        // It is among the newest.
        let after = samples.iter().rposition(|(tick, _)| start_us(*tick) <= at_us).map_or(0, |last| last + 1);
        let (from_tick, from) = &samples[after.saturating_sub(1)];
        let from_us = start_us(*from_tick);
        if after == 0 {
            let lag_us = start_us(settings.display_lag_ticks.saturating_add(1));
            let ahead_us = if self.came_moving { (from_us - at_us).min(lag_us) } else { 0 };
            return predict(from, -seconds(0, ahead_us));
        }
        let shown = predict(from, seconds(from_us, at_us));
        let Some((next_tick, next)) = samples.get(after) else {
            return shown;
        };
        let next_us = start_us(*next_tick);
        if next_us - at_us >= interval_us {
            return shown;
        }
        let part = 1.0 - seconds(at_us, next_us) / seconds(0, interval_us);
        step(&shown, &predict(from, seconds(from_us, next_us)), &predict(next, 0.0), part)
    }
}

/// The way to the next sample: `part` of the difference between what was foreseen for its time and what it says.
fn step(shown: &Prediction, foreseen: &Prediction, next: &Prediction, part: f64) -> Prediction {
    let off: [f64; 3] = core::array::from_fn(|axis| next.position[axis] - foreseen.position[axis]);
    if off.iter().map(|m| m * m).sum::<f64>() > TELEPORT_M * TELEPORT_M {
        return *shown;
    }
    Prediction {
        position: core::array::from_fn(|axis| shown.position[axis] + off[axis] * part),
        velocity: core::array::from_fn(|axis| {
            shown.velocity[axis] + (next.velocity[axis] - foreseen.velocity[axis]) * part
        }),
        // Facings are off by their small bound alone, or the turn is a sudden one anyway.
        facing: if part < 0.5 { shown.facing } else { next.facing },
    }
}

#[allow(clippy::cast_precision_loss, reason = "a span of some ticks")]
fn seconds(from_us: u64, to_us: u64) -> f64 {
    to_us.saturating_sub(from_us) as f64 / 1e6
}

#[allow(clippy::cast_possible_truncation, reason = "a velocity is f32")]
const fn narrow([x, y, z]: [f64; 3]) -> Velocity {
    Velocity::new(x as f32, y as f32, z as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: TableSettings = TableSettings {
        interval: core::time::Duration::from_millis(100),
        display_lag_ticks: 2,
        foresight_ticks: 5,
        stale_ticks: 60,
        linger_ticks: 30,
    };

    fn sample(x: f64, speed: f32) -> Sample {
        let motion =
            Motion { position: Position::new(x, 0.0, 0.0), velocity: Velocity::new(speed, 0.0, 0.0) };
        Sample::of(&motion, crate::ghost::quantize::Facing::default())
    }

    fn ghost(samples: &[(u64, Sample)]) -> Ghost {
        let (tick, first) = samples[0];
        let track =
            Track::new(EntityId::from_u128(1), AuthorityEpoch::FIRST, EntityClass::default(), tick, first);
        let mut ghost = Ghost::new(track, tick);
        samples.iter().for_each(|&(tick, sample)| ghost.add(tick, sample));
        ghost
    }

    fn x_at(ghost: &Ghost, millis: u64) -> f64 {
        ghost.shown_at(Time::from_micros(millis * 1_000), &SETTINGS).motion.position.x
    }

    #[test]
    fn between_samples_the_first_one_holds_until_a_tick_before_the_second() {
        let ghost = ghost(&[(10, sample(0.0, 10.0)), (14, sample(6.0, 0.0))]);
        assert!((x_at(&ghost, 1_300) - 3.0).abs() < 1e-9);
        // Half a tick before the second: half of the 2 m that it is ahead.
        assert!((x_at(&ghost, 1_350) - (3.5 + 1.0)).abs() < 1e-9);
        assert!((x_at(&ghost, 1_400) - 6.0).abs() < 1e-9);
        assert!((x_at(&ghost, 1_900) - 6.0).abs() < 1e-9);
    }

    #[test]
    fn who_has_just_come_is_shown_on_the_way_to_where_they_were_first_seen() {
        let mut ghost = ghost(&[(10, sample(0.0, 10.0))]);
        assert!((x_at(&ghost, 900) + 1.0).abs() < 1e-9);
        assert!((x_at(&ghost, 800) + 2.0).abs() < 1e-9);
        assert!((x_at(&ghost, 100) + 3.0).abs() < 1e-9, "no further than ghosts lag behind, and a tick");
        // What was this node's own until then stood before everybody's eyes.
        ghost.track_mut().came_moving = false;
        assert_eq!(x_at(&ghost, 900), 0.0);
    }

    #[test]
    fn nothing_is_foreseen_far_beyond_what_is_vouched_for() {
        let mut ghost = ghost(&[(10, sample(0.0, 10.0))]);
        assert!((x_at(&ghost, 9_000) - 5.0).abs() < 1e-9);
        ghost.vouch(40);
        assert!((x_at(&ghost, 9_000) - 35.0).abs() < 1e-9);
    }

    #[test]
    fn samples_fall_into_their_places_whatever_their_order() {
        let mut ticks: Vec<u64> = (0..12).map(|n| n * 7 % 12).collect();
        ticks.push(3);
        let samples: Vec<_> = ticks.iter().map(|&tick| (tick, sample(tick as f64, 0.0))).collect();
        let ghost = ghost(&samples);
        let track = ghost.track();
        assert_eq!(track.len, SAMPLES);
        assert!(track.samples.is_sorted_by_key(|(tick, _)| *tick), "{:?}", track.samples);
        assert_eq!(track.samples[SAMPLES - 1].0, 11);
    }

    #[test]
    fn a_teleport_is_not_drawn_out() {
        let ghost = ghost(&[(10, sample(0.0, 0.0)), (11, sample(500.0, 0.0))]);
        assert_eq!(x_at(&ghost, 1_090), 0.0);
        assert_eq!(x_at(&ghost, 1_100), 500.0);
    }

    #[test]
    fn the_game_hears_no_more_of_what_rests_until_something_comes() {
        let at = |tick: u64| Time::from_micros(tick * 100_000);
        let hear = |ghost: &mut Ghost, tick| {
            let mut changes = Vec::new();
            ghost.take_changes(at(tick), &SETTINGS, &mut changes);
            changes
        };
        let mut ghost = ghost(&[(10, sample(0.0, 0.0))]);
        assert!(matches!(hear(&mut ghost, 10)[..], [GhostChange::Appeared { .. }]));
        assert_eq!(hear(&mut ghost, 11), []);
        ghost.vouch(12);
        assert!(ghost.quiet, "that it still stands there is no news");
        ghost.add(13, sample(1.0, 0.0));
        assert!(matches!(hear(&mut ghost, 13)[..], [GhostChange::Moved { .. }]));
        ghost.track_mut().state_untold = true;
        assert!(matches!(hear(&mut ghost, 14)[..], [GhostChange::Changed { .. }]));
        ghost.track_mut().told = None;
        assert!(matches!(hear(&mut ghost, 15)[..], [GhostChange::Appeared { .. }]));
    }
}
