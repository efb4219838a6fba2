//! What the sender knows of one ghost: what it sent, and what of it has arrived.

use super::super::interest::Sight;
use super::super::quantize::Sample;
use super::super::scene::Actor;
use super::super::state::{FIELDS_MAX, State};
use crate::id::{AuthorityEpoch, EntityId};

/// Samples that both ends remember: a baseline is at most this many numbers old, exclusive.
pub(in super::super) const REMEMBERED: u32 = 8;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub(super) tick: u64,
    pub(super) sample: Sample,
}

/// One entity that the link shows.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) entity: EntityId,
    pub(super) epoch: AuthorityEpoch,
    /// Its place in the scene, and the life there.
    pub(super) place: u32,
    pub(super) life: u32,
    /// Tells this use of the net id from earlier ones.
    pub(super) usage: u32,
    /// The last tick in which it was in sight.
    pub(super) in_sight: u64,
    /// Whether the receiver has it: no samples before.
    pub(super) confirmed: bool,
    /// Must be sent whatever its error: the last sample was lost, or there was none yet.
    pub(super) forced: bool,
    /// What waits longer or errs more comes first.
    pub(super) priority: f64,
    pub(super) distance_m: f64,
    /// The number of the newest sample. It is what the receiver is presumed to show.
    pub(super) number: u32,
    /// The number of the newest sample that has arrived.
    pub(super) baseline: u32,
    pub(super) state_version: u32,
    /// Fields whose newest value isn't known to have arrived.
    pub(super) dirty: u16,
    /// The dirty fields aren't under way: a change is new, or was lost.
    pub(super) state_due: bool,
    /// The newest sample that carried state.
    state_number: u32,
    /// By number modulo [`REMEMBERED`].
    sent: [Sent; REMEMBERED as usize],
    state: State,
    /// For each field the newest sample by the time that it changed: later ones carry the change.
    changed_after: [u32; FIELDS_MAX as usize],
}

impl Slot {
    /// A ghost that appears: what the stream tells is sample 0.
    pub(super) fn new(actor: &Actor, sight: &Sight, usage: u32, first: Sent) -> Self {
        Self {
            entity: actor.subject.entity,
            epoch: actor.subject.epoch,
            place: sight.place,
            life: actor.life,
            usage,
            in_sight: first.tick,
            confirmed: false,
            forced: false,
            priority: 0.0,
            distance_m: sight.distance_m,
            number: 0,
            baseline: 0,
            state_version: actor.state_version,
            dirty: 0,
            state_due: false,
            state_number: 0,
            sent: [first; REMEMBERED as usize],
            state: actor.subject.state,
            changed_after: [0; FIELDS_MAX as usize],
        }
    }

    pub(super) fn newest(&self) -> &Sent {
        &self.sent[(self.number % REMEMBERED) as usize]
    }

    /// The sample that the receiver is sure to have and to remember, and how many numbers the next one is ahead of it.
    pub(super) fn baseline(&self) -> Option<(u8, &Sent)> {
        let back = u8::try_from(self.number + 1 - self.baseline).ok()?;
        if u32::from(back) >= REMEMBERED {
            return None;
        }
        Some((back, &self.sent[(self.baseline % REMEMBERED) as usize]))
    }

    pub(super) const fn state(&self) -> &State {
        &self.state
    }

    /// Notes which fields the game changed.
    pub(super) fn observe_state(&mut self, actor: &Actor) {
        if self.state_version == actor.state_version {
            return;
        }
        self.state_version = actor.state_version;
        let changed = actor.subject.state.changed_from(&self.state);
        self.state = actor.subject.state;
        self.dirty |= changed;
        self.state_due |= changed != 0;
        for (field, after) in self.changed_after.iter_mut().enumerate() {
            if changed & (1 << field) != 0 {
                *after = self.number;
            }
        }
    }

    /// A sample is on its way; with it the dirty fields, if state is due.
    pub(super) fn on_sent(&mut self, sample: Sample, tick: u64) -> Carried {
        self.number += 1;
        self.sent[(self.number % REMEMBERED) as usize] = Sent { tick, sample };
        self.forced = false;
        self.priority = 0.0;
        let fields = if self.state_due { self.dirty } else { 0 };
        if self.state_due {
            self.state_due = false;
            self.state_number = self.number;
        }
        Carried { net: 0, usage: self.usage, number: self.number, fields }
    }

    pub(super) fn on_arrived(&mut self, carried: &Carried) {
        // One that is forgotten is no baseline.
        if carried.number + REMEMBERED > self.number {
            self.baseline = self.baseline.max(carried.number);
        }
        if carried.number == self.number {
            self.forced = false;
        }
        for (field, &after) in self.changed_after.iter().enumerate() {
            if carried.fields & (1 << field) != 0 && after < carried.number {
                self.dirty &= !(1 << field);
            }
        }
        self.state_due &= self.dirty != 0;
    }

    pub(super) fn on_lost(&mut self, carried: &Carried) {
        // What was sent since makes up for an older one.
        if carried.number == self.number {
            self.forced = true;
        }
        if carried.fields != 0 && carried.number == self.state_number && self.dirty != 0 {
            self.state_due = true;
        }
    }
}

/// A sample that a datagram carried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carried {
    pub(super) net: u32,
    pub(super) usage: u32,
    pub(super) number: u32,
    /// The fields of the state that went with it.
    pub(super) fields: u16,
}
