//! One link's sending side: what the other end is shown, and with how few bytes.
//!
//! Each tick it foresees every ghost as the receiver does, and sends a sample of those that err by more than their bound.
//! It *vouches* for all others, by lane of 64 net ids: "you need no sample, given that you have my last so many revisions of
//! this lane". So a lost datagram is known to both ends: the receiver sees that it lacks a revision, the sender sees no
//! acknowledgement, and sends what was lost as it is by then.
//!
//! Deliberately absent: sockets, and who is in sight ([`interest`](super::interest)).

mod flight;
mod pack;
mod slot;
mod stream;

use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use self::flight::{Fate, Flight, Packet};
use self::slot::Slot;
use super::interest::Sight;
use super::motion::predict;
use super::scene::{Actor, Scene};
use super::settings::{DATAGRAM_BYTES_MIN, SenderSettings};
use super::wire::{self, Ack, Datagram, GhostWireError, LANE_IDS};
use crate::time::Time;

pub(super) use self::pack::at_rest;
pub use self::pack::put_delta;
pub(super) use self::slot::REMEMBERED;

/// Errors count for at most so many times their bound: what errs wildly must not starve the others.
const URGENCY_MAX: f64 = 4.0;

/// What an acknowledgement can be at fault for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GhostError {
    /// The bytes are none that this link sends.
    #[error("not ghost replication: {0}")]
    Wire(#[from] GhostWireError),
    /// They are of another session of the link, which is over: drop them.
    #[error("of session {got}, this is session {session}")]
    Session {
        /// The session found.
        got: u32,
        /// This link's.
        session: u32,
    },
    /// It acknowledges what was never sent.
    #[error("acknowledges what was never sent")]
    NeverSent,
    /// A tick that is farther ahead than any clock's error.
    #[error("of tick {tick}, this is tick {now}")]
    Ahead {
        /// The tick found.
        tick: u64,
        /// This node's.
        now: u64,
    },
}

/// What a sender has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SenderStats {
    /// Datagrams sent.
    pub datagrams: u64,
    /// Their bytes.
    pub datagram_bytes: u64,
    /// Bytes of the stream.
    pub stream_bytes: u64,
    /// Samples sent.
    pub samples: u64,
    /// Samples without a baseline.
    pub keyframes: u64,
    /// Entities in sight, summed over the ticks.
    pub entity_ticks: u64,
    /// Ghosts that needed a sample and had to wait, summed over the ticks.
    pub deferred: u64,
    /// Datagrams given up as lost.
    pub lost: u64,
}

impl SenderStats {
    /// The sum of both.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            datagrams: self.datagrams + other.datagrams,
            datagram_bytes: self.datagram_bytes + other.datagram_bytes,
            stream_bytes: self.stream_bytes + other.stream_bytes,
            samples: self.samples + other.samples,
            keyframes: self.keyframes + other.keyframes,
            entity_ticks: self.entity_ticks + other.entity_ticks,
            deferred: self.deferred + other.deferred,
            lost: self.lost + other.lost,
        }
    }
}

/// 64 net ids that are vouched for together.
#[derive(Debug, Default)]
struct Lane {
    /// Sections with samples so far.
    revision: u16,
    /// Those whose fate isn't known, in order.
    flight: VecDeque<(u16, u64)>,
    /// Net ids in use.
    used: u32,
    /// This tick's: net ids that need a sample that isn't sent yet, or of which nothing can be said.
    exceptions: u64,
    /// This tick's: it has a section.
    has_turn: bool,
}

/// One link's sending side. See the module's page.
#[derive(Debug)]
pub struct GhostSender {
    session: u32,
    settings: SenderSettings,
    /// By net id.
    slots: Vec<Option<Slot>>,
    free: BTreeSet<u32>,
    usages: u32,
    lanes: Vec<Lane>,
    /// The lane that had its turn last, where not all have one in every tick.
    last_turn: usize,
    /// By place in the scene: the net id that shows it.
    shown_as: Vec<u32>,
    flight: Flight,
    stream: Vec<u8>,
    /// Records put on the stream, those that were acknowledged, and the pieces that were cut.
    records: u64,
    acknowledged: u64,
    pieces: u32,
    /// Ghosts whose appearing isn't acknowledged, by the number of its record.
    unconfirmed: VecDeque<(u64, u32, u32)>,
    /// Net ids whose vanishing isn't acknowledged, by the number of its record: the receiver may still show them, so
    /// nobody vouches for them.
    vanishing: VecDeque<(u64, u32)>,
    out_stream: VecDeque<Bytes>,
    out_datagrams: VecDeque<Bytes>,
    packing: pack::Packing,
    stats: SenderStats,
}

const NOT_SHOWN: u32 = u32::MAX;

impl GhostSender {
    /// Makes the sender of a new link. `session` tells it from this pair's earlier ones.
    #[must_use]
    pub fn new(session: u32, settings: SenderSettings) -> Self {
        let datagram_bytes_max = settings.datagram_bytes_max.max(DATAGRAM_BYTES_MIN);
        Self {
            session,
            settings: SenderSettings { datagram_bytes_max, ..settings },
            slots: Vec::new(),
            free: BTreeSet::new(),
            usages: 0,
            lanes: Vec::new(),
            last_turn: 0,
            shown_as: Vec::new(),
            flight: Flight::new(),
            stream: Vec::new(),
            records: 0,
            acknowledged: 0,
            pieces: 0,
            unconfirmed: VecDeque::new(),
            vanishing: VecDeque::new(),
            out_stream: VecDeque::new(),
            out_datagrams: VecDeque::new(),
            packing: pack::Packing::default(),
            stats: SenderStats::default(),
        }
    }

    /// The path takes datagrams of this size now.
    pub fn set_datagram_bytes_max(&mut self, bytes: usize) {
        self.settings.datagram_bytes_max = bytes.max(DATAGRAM_BYTES_MIN);
    }

    /// What may be sent in one tick from now on.
    pub const fn set_budget_bytes(&mut self, bytes: usize) {
        self.settings.budget_bytes = bytes;
    }

    /// What it has done so far.
    #[must_use]
    pub const fn stats(&self) -> SenderStats {
        self.stats
    }

    /// How many ghosts it shows.
    #[must_use]
    pub fn shown(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether it shows what is at a place in the scene.
    pub(super) fn shows(&self, scene: &Scene, place: u32) -> bool {
        let net = self.shown_as.get(place as usize).copied().unwrap_or(NOT_SHOWN);
        let slot = self.slots.get(net as usize).and_then(Option::as_ref);
        slot.zip(scene.actor(place))
            .is_some_and(|(slot, actor)| slot.place == place && slot.life == actor.life)
    }

    /// Records of the stream that the receiver has acknowledged; none if that is all of them.
    pub(super) fn awaited(&self) -> Option<u64> {
        (self.acknowledged < self.records).then_some(self.acknowledged)
    }

    /// The usual time from a datagram to its acknowledgement, once one was measured.
    #[must_use]
    pub const fn round_trip(&self) -> Option<Duration> {
        self.flight.round_trip()
    }

    /// Shows a tick of the scene: what is in sight. Then drain [`poll_stream`](Self::poll_stream) and
    /// [`poll_datagram`](Self::poll_datagram).
    pub fn tick(&mut self, scene: &Scene, sights: &[Sight], now: Time) {
        let tick = scene.tick().0;
        let interval = Duration::from_secs_f64(scene.interval_s());
        let (slots, lanes, stats) = (&mut self.slots, &mut self.lanes, &mut self.stats);
        self.flight.expire(now, interval, |packet, fate| resolve(slots, lanes, stats, packet, fate));
        self.lanes.iter_mut().for_each(|lane| lane.exceptions = 0);
        self.shown_as.resize(scene.places().max(self.shown_as.len()), NOT_SHOWN);
        self.packing.begin();
        self.stats.entity_ticks += sights.len() as u64;

        let mut coming = Vec::new();
        for sight in sights {
            let Some(actor) = scene.actor(sight.place) else {
                continue;
            };
            if !self.look_at(actor, sight, scene) {
                coming.push(*sight);
            }
        }
        self.vanish_unseen(scene, tick);
        for &(_, net) in &self.vanishing {
            except(&mut self.lanes, net);
        }
        let stream_bytes = self.appear(scene, coming, tick);
        let budget_bytes = self.settings.budget_bytes;
        self.pack(scene, tick, budget_bytes.saturating_sub(stream_bytes).max(budget_bytes / 2), now);
    }

    /// The next piece for the ordered, reliable stream.
    pub fn poll_stream(&mut self) -> Option<Bytes> {
        self.out_stream.pop_front()
    }

    /// The next datagram.
    pub fn poll_datagram(&mut self) -> Option<Bytes> {
        self.out_datagrams.pop_front()
    }

    /// Takes the receiver's acknowledgement.
    ///
    /// # Errors
    /// If it is malformed, of another session, or speaks of what was never sent; then nothing changes.
    pub fn on_ack(&mut self, bytes: &[u8], now: Time) -> Result<(), GhostError> {
        let Datagram::Ack(ack) = Datagram::read(bytes)? else {
            return Err(GhostError::Wire(GhostWireError::Kind { kind: bytes.get(1).copied().unwrap_or(0) }));
        };
        self.take_ack(&ack, now)
    }

    fn take_ack(&mut self, ack: &Ack, now: Time) -> Result<(), GhostError> {
        if ack.session != self.session {
            return Err(GhostError::Session { got: ack.session, session: self.session });
        }
        if ack.stream > self.records {
            return Err(GhostError::NeverSent);
        }
        let (slots, lanes, stats) = (&mut self.slots, &mut self.lanes, &mut self.stats);
        // Before the first datagram there is nothing to acknowledge but the stream.
        let heard = ack.mask.is_empty()
            || self.flight.on_ack(ack, now, |packet, fate| resolve(slots, lanes, stats, packet, fate));
        if !heard {
            return Err(GhostError::NeverSent);
        }
        self.acknowledged = self.acknowledged.max(ack.stream);
        while self.vanishing.front().is_some_and(|(record, _)| *record <= ack.stream) {
            self.vanishing.pop_front();
        }
        while let Some(&(record, net, usage)) = self.unconfirmed.front()
            && record <= ack.stream
        {
            self.unconfirmed.pop_front();
            if let Some(slot) = slot_of(&mut self.slots, net, usage) {
                slot.confirmed = true;
                // Only with a first sample does the receiver know from where on it is vouched for.
                slot.forced = true;
            }
        }
        Ok(())
    }

    /// Judges a ghost's error. False if the entity isn't shown yet.
    fn look_at(&mut self, actor: &Actor, sight: &Sight, scene: &Scene) -> bool {
        let tick = scene.tick();
        let Some(net) = self.shown_as.get(sight.place as usize).copied() else {
            return true;
        };
        let Some(slot) = self.slots.get_mut(net as usize).and_then(Option::as_mut) else {
            return false;
        };
        if slot.life != actor.life || slot.place != sight.place {
            return false;
        }
        slot.in_sight = tick.0;
        slot.distance_m = sight.distance_m;
        if slot.epoch != actor.subject.epoch {
            slot.epoch = actor.subject.epoch;
            wire::put_renew(&mut self.stream, net, slot.epoch);
            self.records += 1;
        }
        slot.observe_state(actor);
        // What wasn't published in this tick isn't known, and what hasn't appeared can't be told.
        let known = actor.tick == tick;
        if known && slot.confirmed {
            let urgency = urgency_of(slot, actor, &self.settings, scene);
            if urgency <= 1.0 && !slot.forced && !slot.state_due {
                slot.priority = 0.0;
                return true;
            }
            let rates = &self.settings.rates;
            slot.priority += urgency.clamp(1.0, URGENCY_MAX) * rates.weight(sight.distance_m);
            let waited = tick.0.saturating_sub(slot.newest().tick);
            if slot.forced || slot.state_due || waited >= rates.ticks(sight.distance_m) {
                self.packing.candidates.push((slot.priority, net));
            }
        }
        except(&mut self.lanes, net);
        true
    }
}

/// How many times its bound a ghost errs at the receiver, as far as is known.
fn urgency_of(slot: &Slot, actor: &Actor, settings: &SenderSettings, scene: &Scene) -> f64 {
    let newest = slot.newest();
    let shown = predict(&newest.sample, seconds_between(newest.tick, scene));
    let is = actor.subject.motion.position.to_array();
    let squared: f64 = (0..3).map(|axis| (shown.position[axis] - is[axis]).powi(2)).sum();
    let error = squared.sqrt() / settings.position.at(slot.distance_m);
    if shown.facing == actor.sample.facing {
        return error;
    }
    error.max(shown.facing.angle_to(actor.sample.facing) / settings.facing.at(slot.distance_m))
}

#[allow(clippy::cast_precision_loss, reason = "ticks between two samples are few")]
fn seconds_between(tick: u64, scene: &Scene) -> f64 {
    scene.tick().0.saturating_sub(tick) as f64 * scene.interval_s()
}

/// The tick's section doesn't vouch for this net id.
fn except(lanes: &mut [Lane], net: u32) {
    if let Some(lane) = lanes.get_mut((net / LANE_IDS) as usize) {
        lane.exceptions |= 1 << (net % LANE_IDS);
    }
}

fn slot_of(slots: &mut [Option<Slot>], net: u32, usage: u32) -> Option<&mut Slot> {
    slots.get_mut(net as usize)?.as_mut().filter(|slot| slot.usage == usage)
}

fn resolve(
    slots: &mut [Option<Slot>],
    lanes: &mut [Lane],
    stats: &mut SenderStats,
    packet: &Packet,
    fate: Fate,
) {
    for &(lane, revision) in &packet.sections {
        if let Some(lane) = lanes.get_mut(lane as usize) {
            lane.flight.retain(|entry| *entry != (revision, packet.seq));
        }
    }
    stats.lost += u64::from(fate == Fate::Lost);
    for carried in &packet.samples {
        let Some(slot) = slot_of(slots, carried.net, carried.usage) else {
            continue;
        };
        match fate {
            Fate::Arrived => slot.on_arrived(carried),
            Fate::Lost => slot.on_lost(carried),
        }
    }
}
