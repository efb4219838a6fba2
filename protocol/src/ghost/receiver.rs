//! One link's receiving side: turns what comes into ghosts, and says what has come.
//!
//! Deliberately absent: which ghost of an entity counts, if several links tell of it ([`GhostTable`]).

use std::collections::BTreeSet;

use bytes::Bytes;

use super::motion::predict_sample;
use super::quantize::Sample;
use super::sender::{GhostError, REMEMBERED, at_rest};
use super::state::Merged;
use super::table::{Floors, GhostTable, Telling, TrackKey};
use super::window::{Revisions, Window};
use super::wire::{
    self, Ack, Appear, Datagram, EntityClass, GhostWireError, LANE_IDS, Record, SampleIn, Section, Update,
    UpdateHead, VanishReason,
};
use crate::id::{AuthorityEpoch, EntityId};
use crate::limits::TICKS_AHEAD_MAX;
use crate::time::Tick;

/// What a receiver has taken in so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReceiverStats {
    /// Datagrams taken.
    pub datagrams: u64,
    /// Datagrams that came twice, or too late to say.
    pub repeated: u64,
    /// Samples taken.
    pub samples: u64,
    /// Samples of what isn't shown (any more), or whose baseline isn't there.
    pub skipped: u64,
}

/// A net id's entity, whether its ghost is shown or another link's word counts.
#[derive(Debug)]
struct Binding {
    entity: EntityId,
    epoch: AuthorityEpoch,
    class: EntityClass,
    /// Samples in earlier datagrams are of what had the net id before.
    since: u64,
    newest: (u64, Sample),
    /// By number modulo [`REMEMBERED`].
    samples: [Option<(u64, Sample)>; REMEMBERED as usize],
    state: Merged,
}

/// A net id. What every vouching section touches stands side by side with the other ids'.
#[derive(Debug, Default)]
struct Net {
    vouched: u64,
    /// The ghost that is shown by this link's word.
    track: Option<TrackKey>,
    binding: Option<Box<Binding>>,
}

#[derive(Clone, Debug, Default)]
struct Lane {
    revisions: Revisions,
    /// Net ids that have had a sample: those that sections vouch for.
    sampled: u64,
    /// The newest section whose revisions aren't all there.
    pending: Option<(u64, Section)>,
}

/// One link's receiving side. See the module's page.
#[derive(Debug)]
pub struct GhostReceiver {
    link: u32,
    session: u32,
    nets: Vec<Net>,
    lanes: Vec<Lane>,
    window: Window,
    /// How far back the sender wants to know what has come.
    reach: u64,
    records: u64,
    ack_due: bool,
    /// Net ids whose ghosts aren't shown by this link's word.
    muted: BTreeSet<u32>,
    stats: ReceiverStats,
}

impl GhostReceiver {
    /// Makes the receiver of a new link. `link` tells it from the table's others, for as long as the table remembers;
    /// `session` is what the sender at the other end was made with.
    #[must_use]
    pub const fn new(link: u32, session: u32) -> Self {
        Self {
            link,
            session,
            nets: Vec::new(),
            lanes: Vec::new(),
            window: Window::new(),
            reach: 1,
            records: 0,
            ack_due: false,
            muted: BTreeSet::new(),
            stats: ReceiverStats { datagrams: 0, repeated: 0, samples: 0, skipped: 0 },
        }
    }

    /// What it has taken in so far.
    #[must_use]
    pub const fn stats(&self) -> ReceiverStats {
        self.stats
    }

    /// Takes a datagram of the sender. `now` is this node's tick.
    ///
    /// # Errors
    /// If it is malformed, of another session or from the future; then nothing changes.
    pub fn on_datagram(&mut self, table: &mut GhostTable, bytes: &[u8], now: Tick) -> Result<(), GhostError> {
        let Datagram::Update(update) = Datagram::read(bytes)? else {
            return Err(GhostError::Wire(GhostWireError::Kind { kind: bytes.get(1).copied().unwrap_or(0) }));
        };
        let UpdateHead { session, seq, unresolved, tick, .. } = update.head;
        self.check_session(session)?;
        check_tick(tick, now)?;
        if !self.window.take(seq) {
            self.stats.repeated += 1;
            // It was acknowledged, but maybe nobody heard.
            self.ack_due = true;
            return Ok(());
        }
        if self.window.newest() == Some(seq) {
            self.reach = unresolved + 1;
        }
        self.stats.datagrams += 1;
        self.ack_due = true;
        for section in &update.sections {
            self.take_section(table, &update, section);
        }
        Ok(())
    }

    /// Takes a piece of the stream. `now` is this node's tick.
    ///
    /// # Errors
    /// If it is malformed or of another session; or if it contradicts what came before, and then what stood before the
    /// contradiction is done.
    pub fn on_stream(
        &mut self,
        table: &mut GhostTable,
        floors: &impl Floors,
        bytes: &[u8],
        now: Tick,
    ) -> Result<(), GhostError> {
        let (session, records) = wire::read_stream(bytes)?;
        self.check_session(session)?;
        for record in records {
            match record {
                Record::Appear(appear) => self.on_appear(table, floors, &appear, now)?,
                Record::Renew { net, epoch } => self.on_renew(table, net, epoch)?,
                Record::Vanish { net, epoch, why } => {
                    let (entity, track) = self.unbind(net).ok_or(UNKNOWN)?;
                    match track.filter(|&key| table.told_by(key, self.link).is_some()) {
                        Some(key) => table.untell(key, self.link, epoch, why, now),
                        None if why == VanishReason::Ended => table.note_end(entity, epoch),
                        None => {}
                    }
                }
            }
            self.records += 1;
            self.ack_due = true;
        }
        Ok(())
    }

    /// Lets a tick pass: what was told of by a higher authority, or held here, may be this link's to tell of by now.
    pub fn tick(&mut self, table: &mut GhostTable, floors: &impl Floors, now: Tick) {
        let fresh = now.0.saturating_sub(table.settings().stale_ticks);
        let muted = core::mem::take(&mut self.muted);
        for net in muted {
            let Some(Net { vouched, track, binding: Some(binding) }) = self.nets.get_mut(net as usize) else {
                continue;
            };
            if *vouched > fresh || binding.newest.0 > fresh {
                *track =
                    binding.tell(table, floors, Vouched { link: self.link, tick: *vouched, fresh: false });
            }
            if track.is_none() {
                self.muted.insert(net);
            }
        }
    }

    /// Whether something has come since [`poll_ack`](Self::poll_ack) was last asked.
    pub(super) const fn owes_ack(&self) -> bool {
        self.ack_due
    }

    /// What the sender should hear, if anything has come since it was last asked: one datagram. Ask after each burst, or
    /// at least once a tick.
    pub fn poll_ack(&mut self) -> Option<Bytes> {
        if !core::mem::take(&mut self.ack_due) {
            return None;
        }
        let ack = Ack {
            session: self.session,
            newest: self.window.newest().unwrap_or(0),
            stream: self.records,
            mask: self.window.mask(self.reach),
        };
        Some(ack.to_bytes().into())
    }

    const fn check_session(&self, got: u32) -> Result<(), GhostError> {
        if got == self.session { Ok(()) } else { Err(GhostError::Session { got, session: self.session }) }
    }

    fn take_section(&mut self, table: &mut GhostTable, update: &Update<'_>, section: &Section) {
        // Only where something has appeared is there a lane.
        if section.lane as usize >= self.lanes.len() {
            return;
        }
        let samples = update.samples.get(section.samples.clone()).unwrap_or_default();
        for sample in samples {
            self.take_sample(table, update, section.lane, sample);
        }
        let Some(lane) = self.lanes.get_mut(section.lane as usize) else {
            return;
        };
        if !samples.is_empty() {
            lane.revisions.take(section.revision);
            // What was lacking may be there now.
            if let Some((tick, pending)) = lane.pending.take() {
                self.vouch(table, tick, &pending);
            }
        }
        self.vouch(table, update.head.tick, section);
    }

    fn take_sample(&mut self, table: &mut GhostTable, update: &Update<'_>, lane: u32, sample: &SampleIn<'_>) {
        let UpdateHead { seq, tick, origin_m, .. } = update.head;
        let net = lane * LANE_IDS + u32::from(sample.place);
        let interval_s = table.settings().interval.as_secs_f64();
        let taken = self.nets.get_mut(net as usize).and_then(|net| {
            let binding = net.binding.as_mut().filter(|binding| seq >= binding.since)?;
            let shown = binding.take(sample, tick, origin_m, interval_s)?;
            net.vouched = net.vouched.max(tick);
            Some((binding, &mut net.track, shown))
        });
        let Some((binding, track, shown)) = taken else {
            self.stats.skipped += 1;
            return;
        };
        self.stats.samples += 1;
        if let Some(lane) = self.lanes.get_mut(lane as usize) {
            lane.sampled |= 1 << sample.place;
        }
        if let Some(changes) = sample.changes {
            binding.state.merge(changes, tick);
        }
        let Some(key) = track.filter(|&key| table.told_by(key, self.link).is_some()) else {
            *track = None;
            self.muted.insert(net);
            return;
        };
        if let Some(ghost) = table.told_by(key, self.link) {
            ghost.add(tick, shown);
        }
        if let Some(changes) = sample.changes {
            table.merge(key, self.link, changes, tick);
        }
    }

    /// A section vouches for its lane if all is there that it builds upon; else it waits, unless a newer one does.
    fn vouch(&mut self, table: &mut GhostTable, tick: u64, section: &Section) {
        let Some(lane) = self.lanes.get_mut(section.lane as usize) else {
            return;
        };
        if !lane.revisions.has(section.revision, section.need) {
            if lane.pending.as_ref().is_none_or(|(pending, _)| *pending < tick) {
                lane.pending = Some((tick, section.clone()));
            }
            return;
        }
        let mut vouched = lane.sampled & !section.exceptions;
        while vouched != 0 {
            let number = section.lane * LANE_IDS + vouched.trailing_zeros();
            vouched &= vouched - 1;
            // One that isn't bound has had no sample.
            let Some(net) = self.nets.get_mut(number as usize) else {
                continue;
            };
            net.vouched = net.vouched.max(tick);
            match net.track.and_then(|key| table.told_by(key, self.link)) {
                Some(ghost) => ghost.vouch(tick),
                None => {
                    net.track = None;
                    self.muted.insert(number);
                }
            }
        }
    }

    fn on_appear(
        &mut self,
        table: &mut GhostTable,
        floors: &impl Floors,
        appear: &Appear<'_>,
        now: Tick,
    ) -> Result<(), GhostError> {
        check_tick(appear.tick, now)?;
        let sample = appear.delta.onto(&Sample::default()).ok_or(GhostWireError::Range { what: "sample" })?;
        let place = appear.net as usize;
        if self.nets.get(place).is_some_and(|net| net.binding.is_some()) {
            return Err(UNKNOWN.into());
        }
        if self.nets.len() <= place {
            self.nets.resize_with(place + 1, Net::default);
        }
        let lane = (appear.net / LANE_IDS) as usize;
        if self.lanes.len() <= lane {
            self.lanes.resize_with(lane + 1, Lane::default);
        }
        let mut binding = Box::new(Binding {
            entity: appear.entity,
            epoch: appear.epoch,
            class: appear.class,
            since: appear.since,
            newest: (appear.tick, sample),
            samples: [None; REMEMBERED as usize],
            state: Merged::default(),
        });
        binding.samples[0] = Some((appear.tick, sample));
        binding.state.merge(appear.state, appear.tick);
        let vouched = appear.tick;
        // What comes that late would vanish with the tick.
        let is_stale = vouched.saturating_add(table.settings().stale_ticks) <= now.0;
        let telling = Vouched { link: self.link, tick: vouched, fresh: true };
        let track = if is_stale { None } else { binding.tell(table, floors, telling) };
        if track.is_none() {
            self.muted.insert(appear.net);
        }
        if let Some(net) = self.nets.get_mut(place) {
            *net = Net { vouched, track, binding: Some(binding) };
        }
        Ok(())
    }

    fn on_renew(
        &mut self,
        table: &mut GhostTable,
        net: u32,
        epoch: AuthorityEpoch,
    ) -> Result<(), GhostError> {
        let Some(Net { track, binding: Some(binding), .. }) = self.nets.get_mut(net as usize) else {
            return Err(UNKNOWN.into());
        };
        binding.epoch = binding.epoch.max(epoch);
        if let Some(ghost) = track.and_then(|key| table.told_by(key, self.link)) {
            let track = ghost.track_mut();
            track.epoch = track.epoch.max(epoch);
        }
        Ok(())
    }

    /// The net id stands for nothing any more: what it stood for, and the ghost that was shown by that.
    fn unbind(&mut self, net: u32) -> Option<(EntityId, Option<TrackKey>)> {
        let bound = self.nets.get_mut(net as usize)?;
        let entity = bound.binding.as_ref()?.entity;
        let track = core::mem::take(bound).track;
        self.muted.remove(&net);
        if let Some(lane) = self.lanes.get_mut((net / LANE_IDS) as usize) {
            lane.sampled &= !(1 << (net % LANE_IDS));
        }
        Some((entity, track))
    }
}

/// A net id that isn't, or already is, in use.
const UNKNOWN: GhostWireError = GhostWireError::Range { what: "net id" };

const fn check_tick(tick: u64, now: Tick) -> Result<(), GhostError> {
    if tick > now.0.saturating_add(TICKS_AHEAD_MAX) {
        return Err(GhostError::Ahead { tick, now: now.0 });
    }
    Ok(())
}

impl Binding {
    /// Works a sample out and remembers it. None if its baseline isn't there.
    fn take(
        &mut self,
        sample: &SampleIn<'_>,
        tick: u64,
        origin_m: Option<[i64; 3]>,
        interval_s: f64,
    ) -> Option<Sample> {
        let foreseen = if sample.back == 0 {
            at_rest(origin_m?)
        } else {
            let place = u32::from(sample.number).wrapping_sub(u32::from(sample.back)) % REMEMBERED;
            let (from_tick, from) = (*self.samples.get(place as usize)?)?;
            #[allow(clippy::cast_precision_loss, reason = "ticks between two samples are few")]
            let seconds = tick.checked_sub(from_tick)? as f64 * interval_s;
            predict_sample(&from, seconds)
        };
        let shown = sample.delta.onto(&foreseen)?;
        let entry = self.samples.get_mut(usize::from(sample.number))?;
        if entry.is_none_or(|(known, _)| known < tick) {
            *entry = Some((tick, shown));
        }
        if self.newest.0 <= tick {
            self.newest = (tick, shown);
        }
        Some(shown)
    }

    /// Tells the table of this entity, if nobody of a higher epoch does, and if it isn't held here. Returns the ghost that
    /// is shown by that.
    fn tell(&self, table: &mut GhostTable, floors: &impl Floors, vouched: Vouched) -> Option<TrackKey> {
        let (tick, sample) = self.newest;
        let telling = Telling {
            link: vouched.link,
            entity: self.entity,
            epoch: self.epoch,
            class: self.class,
            tick,
            sample,
            vouched: vouched.tick,
            fresh: vouched.fresh,
        };
        let allowed = floors.floor(self.entity).is_some_and(|floor| self.epoch >= floor);
        if allowed { table.tell(&telling, &self.state) } else { None }
    }
}

/// Which link vouches for an entity, as of which tick, and whether for the first time.
#[derive(Clone, Copy, Debug)]
struct Vouched {
    link: u32,
    tick: u64,
    fresh: bool,
}
