//! The bytes of ghost replication: updates and acknowledgements (datagrams), appearing and vanishing (the stream).
//!
//! Reading needs nothing but the bytes: whatever they are, it ends with a value whose every number is in range, or with an
//! error. What a value means to a link (is the net id known, is its baseline there) is for
//! [`GhostReceiver`](super::GhostReceiver) to say. docs/PROTOCOL.md has the layouts.

use core::ops::Range;

use super::delta::{CURVE, Delta, FACING, POSITION, STATE, VELOCITY};
use super::quantize::{POSITION_UNITS_MAX, POSITION_UNITS_PER_M};
use super::state::Changes;
use super::varint::{Reader, put_signed, put_unsigned, unsigned_len};
use crate::id::{AuthorityEpoch, EntityId};
use crate::limits::{GHOST_WINDOW, GHOSTS_OF_NODE_MAX};

/// The version of these layouts, in the first byte of each. Bytes of another are refused. The high bit tells them from
/// the frames of messages, whose versions don't have it.
pub const GHOST_WIRE_VERSION: u8 = 1 << 7 | 1;

/// Net ids in a lane: one bit each in a u64.
pub(super) const LANE_IDS: u32 = 64;
/// Net ids of a link, and so lanes: a link shows no more than a node takes of one other.
#[allow(clippy::cast_possible_truncation, reason = "8,192")]
pub(super) const NET_IDS_MAX: u32 = GHOSTS_OF_NODE_MAX as u32;
pub(super) const WINDOW: u64 = GHOST_WINDOW;
/// The farthest back that a lane's section may say that revisions are needed.
pub(super) const NEED_MAX: u8 = 63;
/// The bytes of a section without samples, at most: lane, revision, need, exceptions, count.
pub(super) const SECTION_BYTES_MAX: usize = 3 + 2 + 1 + 8 + 1;
/// The bytes of an update's head, at most: two bytes, four numbers, three coordinates.
pub(super) const HEAD_BYTES_MAX: usize = 2 + 5 + 10 + 2 + 10 + 3 * 6;

const UPDATE: u8 = 0;
const UPDATE_WITH_ORIGIN: u8 = 1;
const ACK: u8 = 2;
const STREAM: u8 = 3;

const EXCEPTIONS: u8 = 1 << 7;
const MASK_BITS: u8 = POSITION | VELOCITY | CURVE | FACING | STATE;
/// The farthest that an origin may be, in whole metres.
#[allow(clippy::cast_possible_truncation, reason = "256")]
const ORIGIN_M_MAX: i64 = POSITION_UNITS_MAX / POSITION_UNITS_PER_M as i64;

/// Why bytes from outside are not ghost replication.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GhostWireError {
    /// They end before they should.
    #[error("the bytes are cut short")]
    Truncated,
    /// Made by another version.
    #[error("the ghost wire version is {version}; this build speaks {GHOST_WIRE_VERSION}")]
    Version {
        /// The version found.
        version: u8,
    },
    /// Something that doesn't belong there.
    #[error("kind {kind} is none that is expected here")]
    Kind {
        /// The kind found.
        kind: u8,
    },
    /// A number that can't be.
    #[error("a {what} is out of range")]
    Range {
        /// Which.
        what: &'static str,
    },
}

/// What stands before an update's sections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct UpdateHead {
    pub(super) session: u32,
    pub(super) seq: u64,
    /// How far back the oldest datagram is whose fate the sender doesn't know: what acknowledgements must reach to.
    pub(super) unresolved: u64,
    pub(super) tick: u64,
    /// Where samples without a baseline start from, in whole metres.
    pub(super) origin_m: Option<[i64; 3]>,
}

impl UpdateHead {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let kind = if self.origin_m.is_some() { UPDATE_WITH_ORIGIN } else { UPDATE };
        out.extend_from_slice(&[GHOST_WIRE_VERSION, kind]);
        put_unsigned(out, u64::from(self.session));
        put_unsigned(out, self.seq);
        put_unsigned(out, self.unresolved);
        put_unsigned(out, self.tick);
        self.origin_m.iter().flatten().for_each(|&metres| put_signed(out, metres));
    }
}

/// What an update says of one lane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Section {
    pub(super) lane: u32,
    /// Counts the sections of this lane that carried samples, this one included.
    pub(super) revision: u16,
    /// The last so many revisions must all have come for this section to vouch.
    pub(super) need: u8,
    /// Net ids that it doesn't vouch for.
    pub(super) exceptions: u64,
    /// Its samples, in the update.
    pub(super) samples: Range<usize>,
}

pub(super) fn put_section(out: &mut Vec<u8>, lane_delta: u64, section: &Section, count: u8) {
    put_unsigned(out, lane_delta);
    out.extend_from_slice(&section.revision.to_le_bytes());
    if section.exceptions == 0 {
        out.push(section.need);
    } else {
        out.push(section.need | EXCEPTIONS);
        out.extend_from_slice(&section.exceptions.to_le_bytes());
    }
    out.push(count);
}

/// How a sample stands to what was sent before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SampleHead {
    /// Its place in its lane.
    pub(super) place: u8,
    /// Its number, modulo 8.
    pub(super) number: u8,
    /// How many numbers back its baseline is; 0: it has none but the origin.
    pub(super) back: u8,
    pub(super) mask: u8,
    pub(super) shift: u8,
}

impl SampleHead {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.place, self.mask | self.number << 5, self.back | self.shift << 3]);
    }
}

/// One sample, as it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SampleIn<'a> {
    pub(super) place: u8,
    pub(super) number: u8,
    pub(super) back: u8,
    pub(super) delta: Delta,
    pub(super) changes: Option<Changes<'a>>,
}

/// An update, read whole.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Update<'a> {
    pub(super) head: UpdateHead,
    pub(super) sections: Vec<Section>,
    pub(super) samples: Vec<SampleIn<'a>>,
}

/// What the receiver says that it has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ack {
    pub(super) session: u32,
    pub(super) newest: u64,
    /// Records of the stream that were taken.
    pub(super) stream: u64,
    /// Bit n: datagram `newest - n` has come.
    pub(super) mask: Vec<u8>,
}

/// A datagram, read whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Datagram<'a> {
    Update(Update<'a>),
    Ack(Ack),
}

impl<'a> Datagram<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, GhostWireError> {
        let mut reader = Reader::new(bytes);
        match kind(&mut reader)? {
            UPDATE => read_update(&mut reader, false).map(Self::Update),
            UPDATE_WITH_ORIGIN => read_update(&mut reader, true).map(Self::Update),
            ACK => read_ack(&mut reader).map(Self::Ack),
            kind => Err(GhostWireError::Kind { kind }),
        }
    }
}

fn kind(reader: &mut Reader<'_>) -> Result<u8, GhostWireError> {
    let version = reader.byte()?;
    if version != GHOST_WIRE_VERSION {
        return Err(GhostWireError::Version { version });
    }
    reader.byte()
}

fn session(reader: &mut Reader<'_>) -> Result<u32, GhostWireError> {
    u32::try_from(reader.unsigned()?).map_err(|_| GhostWireError::Range { what: "session" })
}

fn read_update<'a>(reader: &mut Reader<'a>, with_origin: bool) -> Result<Update<'a>, GhostWireError> {
    let mut head = UpdateHead {
        session: session(reader)?,
        seq: reader.unsigned()?,
        unresolved: reader.at_most(WINDOW, "distance")?,
        tick: reader.unsigned()?,
        origin_m: None,
    };
    if with_origin {
        let mut origin_m = [0; 3];
        for metres in &mut origin_m {
            *metres = reader.signed()?;
            if metres.unsigned_abs() > ORIGIN_M_MAX.unsigned_abs() {
                return Err(GhostWireError::Range { what: "coordinate" });
            }
        }
        head.origin_m = Some(origin_m);
    }
    // A sample takes four bytes or more, a section five.
    let mut update =
        Update { head, sections: Vec::with_capacity(8), samples: Vec::with_capacity(reader.remaining() / 6) };
    let mut next_lane = 0;
    while !reader.is_empty() {
        let lane = reader.at_most(u64::from(NET_IDS_MAX / LANE_IDS), "lane")? + next_lane;
        next_lane = lane + 1;
        let lane = u32::try_from(lane).ok().filter(|lane| *lane < NET_IDS_MAX / LANE_IDS);
        let lane = lane.ok_or(GhostWireError::Range { what: "lane" })?;
        let section = read_section(reader, lane, with_origin, &mut update.samples)?;
        update.sections.push(section);
    }
    Ok(update)
}

fn read_section<'a>(
    reader: &mut Reader<'a>,
    lane: u32,
    with_origin: bool,
    samples: &mut Vec<SampleIn<'a>>,
) -> Result<Section, GhostWireError> {
    let revision = u16::from_le_bytes(reader.array()?);
    let info = reader.byte()?;
    let need = info & !EXCEPTIONS;
    if need > NEED_MAX {
        return Err(GhostWireError::Range { what: "need" });
    }
    let exceptions = if info & EXCEPTIONS == 0 { 0 } else { u64::from_le_bytes(reader.array()?) };
    let count = reader.byte()?;
    let start = samples.len();
    let mut above = None;
    for _ in 0..count {
        let sample = read_sample(reader)?;
        if above >= Some(sample.place) || (sample.back == 0 && !with_origin) {
            return Err(GhostWireError::Range { what: "sample" });
        }
        above = Some(sample.place);
        samples.push(sample);
    }
    Ok(Section { lane, revision, need, exceptions, samples: start..samples.len() })
}

fn read_sample<'a>(reader: &mut Reader<'a>) -> Result<SampleIn<'a>, GhostWireError> {
    let [place, fields, base] = reader.array()?;
    if u32::from(place) >= LANE_IDS || base >> 6 != 0 {
        return Err(GhostWireError::Range { what: "sample" });
    }
    let delta = Delta::read(reader, fields & MASK_BITS & !STATE, base >> 3)?;
    let changes = if fields & STATE == 0 { None } else { Some(Changes::read(reader)?) };
    Ok(SampleIn { place, number: fields >> 5, back: base & 7, delta, changes })
}

impl Ack {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24 + self.mask.len());
        out.extend_from_slice(&[GHOST_WIRE_VERSION, ACK]);
        put_unsigned(&mut out, u64::from(self.session));
        put_unsigned(&mut out, self.newest);
        put_unsigned(&mut out, self.stream);
        out.extend_from_slice(&self.mask);
        out
    }
}

fn read_ack(reader: &mut Reader<'_>) -> Result<Ack, GhostWireError> {
    let (session, newest, stream) = (session(reader)?, reader.unsigned()?, reader.unsigned()?);
    let len = reader.remaining();
    if len as u64 > WINDOW / 8 {
        return Err(GhostWireError::Range { what: "mask" });
    }
    Ok(Ack { session, newest, stream, mask: reader.slice(len)?.to_vec() })
}

/// What kind of thing an entity is, to the rules of interest. The game numbers them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct EntityClass(pub u8);

/// Why a ghost is shown no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VanishReason {
    /// It went out of sight.
    OutOfSight,
    /// The entity is no more.
    Ended,
    /// Its authority is another's by now, who will show it.
    HandedOver,
}

/// What appears, and how it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Appear<'a> {
    pub(super) net: u32,
    pub(super) entity: EntityId,
    pub(super) epoch: AuthorityEpoch,
    pub(super) class: EntityClass,
    /// Samples in earlier datagrams are of what had the net id before.
    pub(super) since: u64,
    pub(super) tick: u64,
    /// Against something at rest at zero.
    pub(super) delta: Delta,
    pub(super) state: Changes<'a>,
}

/// One record of the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Record<'a> {
    Appear(Appear<'a>),
    /// The authority goes on at another epoch, without a handoff that was done.
    Renew {
        net: u32,
        epoch: AuthorityEpoch,
    },
    Vanish {
        net: u32,
        epoch: AuthorityEpoch,
        why: VanishReason,
    },
}

const APPEAR: u8 = 0;
const RENEW: u8 = 1;
const OUT_OF_SIGHT: u8 = 2;
const ENDED: u8 = 3;
const HANDED_OVER: u8 = 4;

/// The front of a piece of the stream. Pieces are numbered, so that a lane that keeps no order will do.
pub(super) fn put_stream_head(out: &mut Vec<u8>, session: u32, piece: u32) {
    out.extend_from_slice(&[GHOST_WIRE_VERSION, STREAM]);
    put_unsigned(out, u64::from(session));
    put_unsigned(out, u64::from(piece));
}

/// How long [`put_stream_head`] is.
pub(super) fn stream_head_len(session: u32, piece: u32) -> usize {
    2 + unsigned_len(u64::from(session)) + unsigned_len(u64::from(piece))
}

/// Everything of an [`Appear`] but its state's fields, which the caller writes behind it.
pub(super) fn put_appear(out: &mut Vec<u8>, appear: &Appear<'_>) {
    out.push(APPEAR);
    put_unsigned(out, u64::from(appear.net));
    out.extend_from_slice(&appear.entity.as_u128().to_le_bytes());
    put_epoch(out, appear.epoch);
    out.push(appear.class.0);
    put_unsigned(out, appear.since);
    put_unsigned(out, appear.tick);
    out.push(appear.delta.mask);
    appear.delta.put(out);
}

pub(super) fn put_renew(out: &mut Vec<u8>, net: u32, epoch: AuthorityEpoch) {
    out.push(RENEW);
    put_unsigned(out, u64::from(net));
    put_epoch(out, epoch);
}

pub(super) fn put_vanish(out: &mut Vec<u8>, net: u32, epoch: AuthorityEpoch, why: VanishReason) {
    out.push(match why {
        VanishReason::OutOfSight => OUT_OF_SIGHT,
        VanishReason::Ended => ENDED,
        VanishReason::HandedOver => HANDED_OVER,
    });
    put_unsigned(out, u64::from(net));
    put_epoch(out, epoch);
}

fn put_epoch(out: &mut Vec<u8>, epoch: AuthorityEpoch) {
    put_unsigned(out, u64::from(epoch.generation));
    put_unsigned(out, u64::from(epoch.step));
}

fn read_epoch(reader: &mut Reader<'_>) -> Result<AuthorityEpoch, GhostWireError> {
    let mut number =
        || u32::try_from(reader.unsigned()?).map_err(|_| GhostWireError::Range { what: "epoch" });
    Ok(AuthorityEpoch { generation: number()?, step: number()? })
}

/// Reads the front of a piece of the stream: its session, and its number.
pub(super) fn read_stream_head(bytes: &[u8]) -> Result<(u32, u32), GhostWireError> {
    stream_head(&mut Reader::new(bytes))
}

fn stream_head(reader: &mut Reader<'_>) -> Result<(u32, u32), GhostWireError> {
    let kind = kind(reader)?;
    if kind != STREAM {
        return Err(GhostWireError::Kind { kind });
    }
    let session = session(reader)?;
    let piece = u32::try_from(reader.unsigned()?).map_err(|_| GhostWireError::Range { what: "piece" })?;
    Ok((session, piece))
}

/// Reads a piece of the stream: its session, and its records.
pub(super) fn read_stream(bytes: &[u8]) -> Result<(u32, Vec<Record<'_>>), GhostWireError> {
    let mut reader = Reader::new(bytes);
    let (session, _) = stream_head(&mut reader)?;
    let mut records = Vec::new();
    while !reader.is_empty() {
        records.push(read_record(&mut reader)?);
    }
    Ok((session, records))
}

fn read_record<'a>(reader: &mut Reader<'a>) -> Result<Record<'a>, GhostWireError> {
    let kind = reader.byte()?;
    let net = reader.at_most(u64::from(NET_IDS_MAX - 1), "net id")?;
    let net = u32::try_from(net).map_err(|_| GhostWireError::Range { what: "net id" })?;
    let why = match kind {
        APPEAR => return read_appear(reader, net).map(Record::Appear),
        RENEW => return Ok(Record::Renew { net, epoch: read_epoch(reader)? }),
        OUT_OF_SIGHT => VanishReason::OutOfSight,
        ENDED => VanishReason::Ended,
        HANDED_OVER => VanishReason::HandedOver,
        kind => return Err(GhostWireError::Kind { kind }),
    };
    Ok(Record::Vanish { net, epoch: read_epoch(reader)?, why })
}

fn read_appear<'a>(reader: &mut Reader<'a>, net: u32) -> Result<Appear<'a>, GhostWireError> {
    let entity = EntityId::from_u128(u128::from_le_bytes(reader.array()?));
    let epoch = read_epoch(reader)?;
    let class = EntityClass(reader.byte()?);
    let (since, tick) = (reader.unsigned()?, reader.unsigned()?);
    let mask = reader.byte()?;
    if mask & !(MASK_BITS & !STATE) != 0 {
        return Err(GhostWireError::Range { what: "sample" });
    }
    let delta = Delta::read(reader, mask, 0)?;
    Ok(Appear { net, entity, epoch, class, since, tick, delta, state: Changes::read(reader)? })
}

/// Whether bytes say that they are an acknowledgement, rather than an update: which side of a link they are for.
#[must_use]
pub fn is_ack(bytes: &[u8]) -> bool {
    bytes.first() == Some(&GHOST_WIRE_VERSION) && bytes.get(1) == Some(&ACK)
}

/// Whether bytes say that they are a piece of the stream: those go reliably, all else in datagrams.
#[must_use]
pub fn is_stream(bytes: &[u8]) -> bool {
    bytes.first() == Some(&GHOST_WIRE_VERSION) && bytes.get(1) == Some(&STREAM)
}

/// Reads bytes as anything that ghost replication sends, and drops it: for fuzzing. False if they are none of it.
#[must_use]
pub fn is_readable(bytes: &[u8]) -> bool {
    Datagram::read(bytes).is_ok() || read_stream(bytes).is_ok()
}
