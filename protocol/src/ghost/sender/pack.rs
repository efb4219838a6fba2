//! Who gets a sample in this tick, and in which datagram.
//!
//! Samples are made in the order of impatience until the budget is spent; then they are laid out by net id, a section for
//! each lane. Every lane that is in use has a section in every tick, as that is what vouches; but where all of them would
//! take more than half of the budget, those without samples take turns.

use bytes::Bytes;

use super::super::delta::{Delta, STATE};
use super::super::motion::predict_sample;
use super::super::quantize::{POSITION_UNITS_PER_M, SHIFT_MAX, Sample};
use super::super::scene::Scene;
use super::super::settings::{DATAGRAM_LAYOUT_BYTES, SenderSettings};
use super::super::wire::{
    self, HEAD_BYTES_MAX, LANE_IDS, NEED_MAX, SECTION_BYTES_MAX, SampleHead, Section, UpdateHead,
};
use super::slot::Carried;
use super::{GhostSender, Packet, seconds_between};
use crate::time::Time;

/// Part of its bound that rounding a position may take.
const ROUNDING_PART: f64 = 0.25;
/// Part of its bound that a facing may be off and still not be sent along.
const FACING_PART: f64 = 0.5;

/// One tick's packing; kept for its room.
#[derive(Debug, Default)]
pub(super) struct Packing {
    /// Who needs a sample, and how impatiently.
    pub(super) candidates: Vec<(f64, u32)>,
    /// Samples, end to end.
    bytes: Vec<u8>,
    bodies: Vec<Body>,
    /// Where samples without a baseline start from, in whole metres; set by the first of the tick.
    origin_m: Option<[i64; 3]>,
}

#[derive(Clone, Copy, Debug)]
struct Body {
    start: usize,
    end: usize,
    carried: Carried,
}

impl Packing {
    pub(super) fn begin(&mut self) {
        self.candidates.clear();
        self.bytes.clear();
        self.bodies.clear();
        self.origin_m = None;
    }
}

/// A datagram that is being filled.
struct Filling {
    bytes: Vec<u8>,
    packet: Packet,
    next_lane: u32,
}

impl GhostSender {
    /// Makes this tick's datagrams.
    pub(super) fn pack(&mut self, scene: &Scene, tick: u64, budget_bytes: usize, now: Time) {
        if self.lanes.iter().all(|lane| lane.used == 0) {
            return;
        }
        self.make_samples(scene, tick, budget_bytes);
        self.packing.bodies.sort_unstable_by_key(|body| body.carried.net);
        self.lay_out(tick, now);
    }

    fn make_samples(&mut self, scene: &Scene, tick: u64, budget_bytes: usize) {
        // What the datagrams take, at most; a datagram's rest may stay empty.
        let room = self.settings.datagram_bytes_max - HEAD_BYTES_MAX - SECTION_BYTES_MAX;
        let datagrams = budget_bytes / room + 1;
        let mut left = budget_bytes.saturating_sub(datagrams * DATAGRAM_LAYOUT_BYTES);
        left = left.saturating_sub(self.give_turns(left / 2));
        let mut candidates = core::mem::take(&mut self.packing.candidates);
        candidates.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut sent = 0;
        for &(_, net) in &candidates {
            let lane = (net / LANE_IDS) as usize;
            let has_turn = self.lanes.get(lane).is_some_and(|lane| lane.has_turn);
            let section = if has_turn { 0 } else { SECTION_BYTES_MAX };
            // One at least, however small the budget.
            let room = if sent == 0 { usize::MAX } else { left.saturating_sub(section) };
            let Some(len) = self.make_sample(scene, tick, net, room) else {
                break;
            };
            left = left.saturating_sub(len + section);
            sent += 1;
            if let Some(lane) = self.lanes.get_mut(lane) {
                lane.has_turn = true;
            }
        }
        self.stats.samples += sent as u64;
        self.stats.deferred += (candidates.len() - sent) as u64;
        self.packing.candidates = candidates;
    }

    /// Lets the lanes in use have their sections: all of them if `bytes` take them, else as many as that, one at least, in
    /// turn. Returns what they take.
    fn give_turns(&mut self, bytes: usize) -> usize {
        let used = self.lanes.iter().filter(|lane| lane.used > 0).count();
        let turns = used.min((bytes / SECTION_BYTES_MAX).max(1));
        self.lanes.iter_mut().for_each(|lane| lane.has_turn = turns == used);
        let mut given = if turns == used { turns } else { 0 };
        while given < turns {
            self.last_turn = (self.last_turn + 1) % self.lanes.len();
            if let Some(lane) = self.lanes.get_mut(self.last_turn).filter(|lane| lane.used > 0) {
                lane.has_turn = true;
                given += 1;
            }
        }
        turns * SECTION_BYTES_MAX
    }

    /// Makes a ghost's sample if it fits into `left` bytes; returns how long it is.
    fn make_sample(&mut self, scene: &Scene, tick: u64, net: u32, left: usize) -> Option<usize> {
        let slot = self.slots.get_mut(net as usize)?.as_mut()?;
        let actor = scene.actor(slot.place)?;
        let (back, foreseen) = match slot.baseline() {
            Some((back, sent)) => (back, predict_sample(&sent.sample, seconds_between(sent.tick, scene))),
            None => {
                let origin_m = self.packing.origin_m.get_or_insert_with(|| whole_metres(&actor.sample));
                (0, at_rest(*origin_m))
            }
        };
        let delta = delta_within(&self.settings, slot.distance_m, &foreseen, &actor.sample);
        let fields = if slot.state_due { slot.dirty } else { 0 };
        let head = SampleHead {
            place: place_of(net),
            number: u8::try_from((slot.number + 1) % super::REMEMBERED).unwrap_or(0),
            back,
            mask: delta.mask | if fields == 0 { 0 } else { STATE },
            shift: delta.shift,
        };
        let start = self.packing.bytes.len();
        head.put(&mut self.packing.bytes);
        delta.put(&mut self.packing.bytes);
        if fields != 0 {
            slot.state().put_changes(&mut self.packing.bytes, fields);
        }
        let end = self.packing.bytes.len();
        if end - start > left {
            self.packing.bytes.truncate(start);
            return None;
        }
        // The receiver has what the delta makes of it, not what was.
        let shown = delta.onto(&foreseen)?;
        self.stats.keyframes += u64::from(back == 0);
        let carried = Carried { net, ..slot.on_sent(shown, tick) };
        self.packing.bodies.push(Body { start, end, carried });
        if let Some(lane) = self.lanes.get_mut((net / LANE_IDS) as usize) {
            lane.exceptions &= !(1 << (net % LANE_IDS));
        }
        Some(end - start)
    }

    fn lay_out(&mut self, tick: u64, now: Time) {
        let bodies = core::mem::take(&mut self.packing.bodies);
        let mut rest = bodies.as_slice();
        let mut filling = None;
        for lane in 0..u32::try_from(self.lanes.len()).unwrap_or(u32::MAX) {
            if self.lanes.get(lane as usize).is_none_or(|lane| lane.used == 0 || !lane.has_turn) {
                continue;
            }
            let count = rest.partition_point(|body| body.carried.net / LANE_IDS <= lane);
            let (of_lane, others) = rest.split_at(count);
            rest = others;
            self.lay_out_lane(lane, of_lane, &mut filling, tick, now);
        }
        if let Some(last) = filling {
            self.launch(last, tick, now);
        }
        self.packing.bodies = bodies;
    }

    /// Puts a lane's samples into one section, or into one in each of several datagrams.
    fn lay_out_lane(
        &mut self,
        lane: u32,
        mut bodies: &[Body],
        filling: &mut Option<Filling>,
        tick: u64,
        now: Time,
    ) {
        loop {
            let mut open = filling.take().unwrap_or_else(|| self.open(tick));
            let room = self.settings.datagram_bytes_max.saturating_sub(open.bytes.len());
            let mut left = room.saturating_sub(SECTION_BYTES_MAX);
            let fits = |body: &&Body| {
                let fits = body.end - body.start <= left;
                left = left.saturating_sub(body.end - body.start);
                fits
            };
            let fitting = bodies.iter().take_while(fits).count();
            let nothing = if bodies.is_empty() { room < SECTION_BYTES_MAX } else { fitting == 0 };
            // An empty datagram takes a section and the longest sample.
            if nothing && open.next_lane > 0 {
                self.launch(open, tick, now);
                continue;
            }
            let (fitting, later) = bodies.split_at(fitting.max(usize::from(nothing && !bodies.is_empty())));
            self.put_section(&mut open, lane, fitting, later);
            bodies = later;
            if bodies.is_empty() {
                *filling = Some(open);
                return;
            }
            // No lane twice in one datagram.
            self.launch(open, tick, now);
        }
    }

    fn open(&mut self, tick: u64) -> Filling {
        let packet = self.flight.open();
        let mut bytes = Vec::with_capacity(self.settings.datagram_bytes_max);
        let head = UpdateHead {
            session: self.session,
            seq: packet.seq,
            unresolved: self.flight.unresolved(),
            tick,
            origin_m: self.packing.origin_m,
        };
        head.put(&mut bytes);
        Filling { bytes, packet, next_lane: 0 }
    }

    fn put_section(&mut self, filling: &mut Filling, lane: u32, bodies: &[Body], later: &[Body]) {
        let Some(lane_state) = self.lanes.get_mut(lane as usize) else {
            return;
        };
        if !bodies.is_empty() {
            lane_state.revision = lane_state.revision.wrapping_add(1);
            lane_state.flight.push_back((lane_state.revision, filling.packet.seq));
            filling.packet.sections.push((lane, lane_state.revision));
        }
        let oldest = lane_state.flight.front().map(|(revision, _)| *revision);
        let need = oldest.map_or(0, |oldest| lane_state.revision.wrapping_sub(oldest).saturating_add(1));
        let waiting = later.iter().fold(0, |bits, body| bits | 1 << (body.carried.net % LANE_IDS));
        let (need, exceptions) = match u8::try_from(need).ok().filter(|need| *need <= NEED_MAX) {
            Some(need) => (need, lane_state.exceptions | waiting),
            // Too much is under way to say what is needed.
            None => (0, u64::MAX),
        };
        let section = Section { lane, revision: lane_state.revision, need, exceptions, samples: 0..0 };
        let count = u8::try_from(bodies.len()).unwrap_or(u8::MAX);
        wire::put_section(&mut filling.bytes, u64::from(lane - filling.next_lane), &section, count);
        filling.next_lane = lane + 1;
        for body in bodies {
            filling.bytes.extend_from_slice(self.packing.bytes.get(body.start..body.end).unwrap_or_default());
            filling.packet.samples.push(body.carried);
        }
    }

    fn launch(&mut self, filling: Filling, tick: u64, now: Time) {
        let Filling { bytes, packet, .. } = filling;
        self.stats.datagrams += 1;
        self.stats.datagram_bytes += bytes.len() as u64;
        self.out_datagrams.push_back(Bytes::from(bytes));
        if let Some(forgotten) = self.flight.launch(packet, tick, now) {
            super::resolve(&mut self.slots, &mut self.lanes, &mut self.stats, &forgotten, super::Fate::Lost);
        }
    }
}

/// From what is foreseen to what is, as coarse as the bounds at a distance allow.
fn delta_within(settings: &SenderSettings, distance_m: f64, foreseen: &Sample, is: &Sample) -> Delta {
    let facing_slack_rad = settings.facing.at(distance_m) * FACING_PART;
    Delta::between(foreseen, is, shift_for(settings.position.at(distance_m)), facing_slack_rad)
}

/// Writes the fields of a sample as a datagram carries them, without its head and its entity's state: only what differs from
/// where `baseline` leads to in `seconds`, as coarse as the bounds at `distance_m` allow. For who wants to know what a
/// ghost's movement costs without a link to send it over.
pub fn put_delta(
    settings: &SenderSettings,
    distance_m: f64,
    (baseline, seconds): (&Sample, f64),
    is: &Sample,
    out: &mut Vec<u8>,
) {
    delta_within(settings, distance_m, &predict_sample(baseline, seconds), is).put(out);
}

/// A net id's place in its lane.
#[allow(clippy::cast_possible_truncation, reason = "below 64")]
const fn place_of(net: u32) -> u8 {
    (net % LANE_IDS) as u8
}

#[allow(clippy::cast_possible_truncation, reason = "256")]
const UNITS: i64 = POSITION_UNITS_PER_M as i64;

fn whole_metres(sample: &Sample) -> [i64; 3] {
    sample.position.map(|units| units / UNITS)
}

/// What a sample without a baseline is against.
pub(in super::super) fn at_rest(origin_m: [i64; 3]) -> Sample {
    Sample { position: origin_m.map(|metres| metres * UNITS), ..Sample::default() }
}

/// How coarse a position may be where errors up to `bound_m` are allowed.
fn shift_for(bound_m: f64) -> u8 {
    // Half a unit on each of three axes.
    let worst_m = 0.5 * 3.0_f64.sqrt() / POSITION_UNITS_PER_M;
    let fits = |shift: &u8| worst_m * f64::from(1_u32 << shift) <= bound_m * ROUNDING_PART;
    (1..=SHIFT_MAX).take_while(fits).last().unwrap_or(0)
}
