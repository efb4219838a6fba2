//! What changed between what the receiver foresees and what is: only the fields that differ, as small numbers.
//!
//! A delta is against a prediction: that of the last acknowledged sample, or, where there is none that the receiver is sure
//! to have, of something at rest at the datagram's origin.

use super::quantize::{Facing, SHIFT_MAX, Sample};
use super::varint::{Reader, put_signed};
use super::wire::GhostWireError;

/// The position differs.
pub(super) const POSITION: u8 = 1;
/// The velocity differs.
pub(super) const VELOCITY: u8 = 1 << 1;
/// The turn rate or the vertical acceleration differs.
pub(super) const CURVE: u8 = 1 << 2;
/// The facing differs.
pub(super) const FACING: u8 = 1 << 3;
/// The game's state comes behind.
pub(super) const STATE: u8 = 1 << 4;

/// A velocity that is as near as this, in units, is left as foreseen, unless it is none: what stands must not creep.
const VELOCITY_SLACK: u32 = 1;

/// Differences, by field. Only those of the mask mean anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Delta {
    /// [`POSITION`] and so on; never [`STATE`].
    pub(super) mask: u8,
    /// The position's differences are in units of 2^shift.
    pub(super) shift: u8,
    position: [i64; 3],
    velocity: [i32; 3],
    turn: i16,
    climb: i16,
    facing: Facing,
}

impl Delta {
    /// From what is foreseen to what is; a facing that is less than `facing_slack_rad` off stays as foreseen.
    pub(super) fn between(foreseen: &Sample, is: &Sample, shift: u8, facing_slack_rad: f64) -> Self {
        let position: [i64; 3] = core::array::from_fn(|axis| {
            let off = is.position[axis] - foreseen.position[axis];
            // To the nearest multiple.
            (off + ((1 << shift) >> 1)) >> shift
        });
        let velocity: [i32; 3] = core::array::from_fn(|axis| is.velocity[axis] - foreseen.velocity[axis]);
        let mut mask = 0;
        if position != [0; 3] {
            mask |= POSITION;
        }
        let slack = if is.velocity == [0; 3] { 0 } else { VELOCITY_SLACK };
        if velocity.iter().any(|off| off.unsigned_abs() > slack) {
            mask |= VELOCITY;
        }
        if (foreseen.turn, foreseen.climb) != (is.turn, is.climb) {
            mask |= CURVE;
        }
        if foreseen.facing != is.facing && foreseen.facing.angle_to(is.facing) > facing_slack_rad {
            mask |= FACING;
        }
        Self { mask, shift, position, velocity, turn: is.turn, climb: is.climb, facing: is.facing }
    }

    /// What it makes of what was foreseen. None if that is out of range.
    pub(super) fn onto(&self, foreseen: &Sample) -> Option<Sample> {
        let mut sample = *foreseen;
        if self.mask & POSITION != 0 {
            for (at, by) in sample.position.iter_mut().zip(self.position) {
                *at = at.checked_add(by.checked_mul(1 << self.shift)?)?;
            }
        }
        if self.mask & VELOCITY != 0 {
            for (at, by) in sample.velocity.iter_mut().zip(self.velocity) {
                *at = at.checked_add(by)?;
            }
        }
        if self.mask & CURVE != 0 {
            (sample.turn, sample.climb) = (self.turn, self.climb);
        }
        if self.mask & FACING != 0 {
            sample.facing = self.facing;
        }
        sample.is_valid().then_some(sample)
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        if self.mask & POSITION != 0 {
            self.position.iter().for_each(|&off| put_signed(out, off));
        }
        if self.mask & VELOCITY != 0 {
            self.velocity.iter().for_each(|&off| put_signed(out, i64::from(off)));
        }
        if self.mask & CURVE != 0 {
            put_signed(out, i64::from(self.turn));
            put_signed(out, i64::from(self.climb));
        }
        if self.mask & FACING != 0 {
            put_facing(out, self.facing);
        }
    }

    /// Reads the fields of `mask`.
    pub(super) fn read(reader: &mut Reader<'_>, mask: u8, shift: u8) -> Result<Self, GhostWireError> {
        if shift > SHIFT_MAX {
            return Err(GhostWireError::Range { what: "shift" });
        }
        let mut delta = Self { mask, shift, ..Self::default() };
        if mask & POSITION != 0 {
            for off in &mut delta.position {
                *off = reader.signed()?;
            }
        }
        if mask & VELOCITY != 0 {
            for off in &mut delta.velocity {
                let read = reader.signed()?;
                *off = i32::try_from(read).map_err(|_| GhostWireError::Range { what: "velocity" })?;
            }
        }
        if mask & CURVE != 0 {
            let mut curve = || {
                let read = reader.signed()?;
                i16::try_from(read).map_err(|_| GhostWireError::Range { what: "curve" })
            };
            (delta.turn, delta.climb) = (curve()?, curve()?);
        }
        if mask & FACING != 0 {
            delta.facing = read_facing(reader)?;
        }
        Ok(delta)
    }
}

/// Upright: two bytes, the first bit 0. Any: five, the first bit 1. The highest bits first.
fn put_facing(out: &mut Vec<u8>, facing: Facing) {
    match facing {
        Facing::Upright(units) => out.extend_from_slice(&units.to_be_bytes()),
        Facing::Any(packed) => {
            let [_, _, _, bytes @ ..] = (packed | 1 << 39).to_be_bytes();
            out.extend_from_slice(&bytes);
        }
    }
}

fn read_facing(reader: &mut Reader<'_>) -> Result<Facing, GhostWireError> {
    let first = reader.byte()?;
    let facing = if first & 0x80 == 0 {
        Facing::Upright(u16::from_be_bytes([first, reader.byte()?]))
    } else {
        let [b, c, d, e] = reader.array()?;
        Facing::Any(u64::from_be_bytes([0, 0, 0, first & 0x7f, b, c, d, e]))
    };
    if !facing.is_valid() {
        return Err(GhostWireError::Range { what: "facing" });
    }
    Ok(facing)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ghost::quantize::{POSITION_UNITS_MAX, VELOCITY_UNITS_MAX};

    fn samples() -> impl Strategy<Value = Sample> {
        let reach = POSITION_UNITS_MAX - 1_000;
        let facing = prop_oneof![
            (0..1_u16 << 15).prop_map(Facing::Upright),
            (0..1_u64 << Facing::ANY_BITS).prop_map(Facing::Any)
        ];
        (
            prop::array::uniform3(-reach..reach),
            prop::array::uniform3(-VELOCITY_UNITS_MAX..VELOCITY_UNITS_MAX),
            -32_000..32_000_i16,
            -32_000..32_000_i16,
            facing,
        )
            .prop_map(|(position, velocity, turn, climb, facing)| Sample {
                position,
                velocity,
                turn,
                climb,
                facing,
            })
    }

    proptest! {
        #[test]
        fn a_delta_leads_from_the_prediction_to_the_sample(foreseen in samples(), is in samples(), shift in 0..8_u8) {
            let delta = Delta::between(&foreseen, &is, shift, 0.0);
            let mut out = Vec::new();
            delta.put(&mut out);
            let mut reader = Reader::new(&out);
            let read = Delta::read(&mut reader, delta.mask, shift).unwrap();
            prop_assert!(reader.is_empty());
            let shown = read.onto(&foreseen).unwrap();
            prop_assert_eq!(Some(shown), delta.onto(&foreseen));
            for axis in 0..3 {
                prop_assert!((shown.position[axis] - is.position[axis]).abs() <= (1 << shift) / 2);
                prop_assert!((shown.velocity[axis] - is.velocity[axis]).abs() <= 1);
            }
            prop_assert_eq!((shown.turn, shown.climb), (is.turn, is.climb));
            // What is closer than an f32 can tell isn't sent.
            prop_assert!(shown.facing.angle_to(is.facing) < 2e-3);
        }

        #[test]
        fn any_bytes_are_a_delta_or_refused(bytes: Vec<u8>, mask in 0..16_u8, shift: u8, foreseen in samples()) {
            if let Ok(delta) = Delta::read(&mut Reader::new(&bytes), mask, shift) {
                prop_assert!(delta.onto(&foreseen).is_none_or(|sample| sample.is_valid()));
            }
        }
    }

    #[test]
    fn a_small_change_takes_few_bytes() {
        let foreseen =
            Sample { position: [80_000, 90_000, 0], velocity: [700, -600, 0], ..Sample::default() };
        let is = Sample { position: [80_014, 89_990, 0], velocity: [690, -610, 0], ..foreseen };
        let delta = Delta::between(&foreseen, &is, 1, 0.1);
        let mut out = Vec::new();
        delta.put(&mut out);
        assert_eq!((delta.mask, out.len()), (POSITION | VELOCITY, 6));
    }
}
