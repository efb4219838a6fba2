//! Whole numbers for what moves: in which units, and how far off they can be.
//!
//! | what | unit | off by at most | magnitude at most |
//! | --- | --- | --- | --- |
//! | position | 1/256 m | 2.0 mm an axis; 2^shift times that where a sample is sent coarser | 10^9 m |
//! | velocity | 1/128 m/s | 3.9 mm/s an axis | 8,192 m/s |
//! | turn rate | 1/512 rad/s | 1.0 mrad/s | 63 rad/s |
//! | vertical acceleration | 1/64 m/s² | 7.8 mm/s² | 511 m/s² |
//! | facing, upright | 1/32,768 of a turn | 0.1 mrad | |
//! | facing, any | 12 bits for each of the three smallest parts of the quaternion | 1 mrad | |

use crate::grid::{COORDINATE_MAX_M, Motion, Position, Velocity};

/// Units in a metre.
pub const POSITION_UNITS_PER_M: f64 = 256.0;
/// Units in a metre a second.
pub const VELOCITY_UNITS_PER_MPS: f64 = 128.0;
/// Units in a radian a second.
pub const TURN_UNITS_PER_RADPS: f64 = 512.0;
/// Units in a metre a second squared.
pub const CLIMB_UNITS_PER_MPS2: f64 = 64.0;
/// Units in a full turn.
pub const YAW_UNITS: u16 = 1 << 15;

/// The greatest magnitude of a coordinate, in units. What is farther is shown there.
#[allow(clippy::cast_possible_truncation, reason = "2.56e11 fits")]
pub(super) const POSITION_UNITS_MAX: i64 = (COORDINATE_MAX_M * POSITION_UNITS_PER_M) as i64;
/// The greatest magnitude of a velocity component, in units. What is faster is shown as fast as that.
pub(super) const VELOCITY_UNITS_MAX: i32 = 1 << 20;
/// The greatest magnitude of a turn rate or a vertical acceleration, in units.
pub(super) const CURVE_UNITS_MAX: i16 = 32_700;
/// How much coarser than a unit a position may be sent: in units of 2^7.
pub(super) const SHIFT_MAX: u8 = 7;

/// Below this much tilt, in quaternion parts squared (about one degree), something stands upright.
const UPRIGHT_TILT: f32 = 1e-4;
const PART_BITS: u32 = 12;
const PART_MAX: f32 = ((1 << PART_BITS) - 1) as f32;

/// Which way something faces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Facing {
    /// Turned around the vertical alone: 0 to [`YAW_UNITS`], exclusive.
    Upright(u16),
    /// Turned in any way: the index of the greatest part of the quaternion (2 bits), and the other three.
    Any(u64),
}

impl Default for Facing {
    fn default() -> Self {
        Self::Upright(0)
    }
}

impl Facing {
    /// Bits of an arbitrary facing.
    pub(super) const ANY_BITS: u32 = 2 + 3 * PART_BITS;

    /// The nearest to a quaternion x, y, z, w of any length; unturned if it has none.
    #[must_use]
    pub fn of(rotation: [f32; 4]) -> Self {
        let length = rotation.iter().map(|part| part * part).sum::<f32>().sqrt();
        if !length.is_finite() || length < f32::MIN_POSITIVE {
            return Self::default();
        }
        let [x, y, z, w] = rotation.map(|part| part / length);
        if x * x + y * y < UPRIGHT_TILT {
            return Self::upright(2.0 * f64::from(z).atan2(f64::from(w)));
        }
        Self::pack([x, y, z, w])
    }

    /// Upright, turned by so many radians.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "brought into range first")]
    pub fn upright(radians: f64) -> Self {
        let turns = radians / core::f64::consts::TAU;
        if !turns.is_finite() {
            return Self::default();
        }
        let units = ((turns - turns.floor()) * f64::from(YAW_UNITS)).round();
        Self::Upright(units as u16 % YAW_UNITS)
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "brought into range first")]
    fn pack(parts: [f32; 4]) -> Self {
        let mut greatest = 0;
        for (nth, part) in parts.iter().enumerate() {
            if part.abs() > parts[greatest].abs() {
                greatest = nth;
            }
        }
        // A quaternion and its negative are the same turn, so the greatest can be had positive.
        let sign = parts[greatest].signum();
        let mut packed = greatest as u64;
        for part in parts.iter().enumerate().filter(|(nth, _)| *nth != greatest).map(|(_, part)| part * sign)
        {
            let unit = (part * core::f32::consts::FRAC_1_SQRT_2 + 0.5).clamp(0.0, 1.0);
            packed = (packed << PART_BITS) | (unit * PART_MAX).round() as u64;
        }
        Self::Any(packed)
    }

    /// As a quaternion x, y, z, w of length 1.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a quaternion is f32")]
    pub fn rotation(self) -> [f32; 4] {
        match self {
            Self::Upright(units) => {
                let half = f64::from(units) * (core::f64::consts::PI / f64::from(YAW_UNITS));
                [0.0, 0.0, half.sin() as f32, half.cos() as f32]
            }
            Self::Any(packed) => unpack(packed),
        }
    }

    /// The angle between two facings, in radians: 0 to pi.
    #[must_use]
    pub fn angle_to(self, other: Self) -> f64 {
        if let (Self::Upright(a), Self::Upright(b)) = (self, other) {
            let apart = a.abs_diff(b);
            let units = apart.min(YAW_UNITS - apart);
            return f64::from(units) * (core::f64::consts::TAU / f64::from(YAW_UNITS));
        }
        let parts = self.rotation().into_iter().zip(other.rotation());
        let dot: f64 = parts.map(|(a, b)| f64::from(a) * f64::from(b)).sum();
        2.0 * dot.abs().min(1.0).acos()
    }

    /// Whether the bits say what they should.
    pub(super) const fn is_valid(self) -> bool {
        match self {
            Self::Upright(units) => units < YAW_UNITS,
            Self::Any(packed) => packed >> Self::ANY_BITS == 0,
        }
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "twelve and two bits")]
fn unpack(packed: u64) -> [f32; 4] {
    let greatest = (packed >> (3 * PART_BITS)) as usize & 3;
    let mut rotation = [0.0_f32; 4];
    let (mut left, mut rest) = (3 * PART_BITS, 1.0_f32);
    for (_, part) in rotation.iter_mut().enumerate().filter(|(nth, _)| *nth != greatest) {
        left -= PART_BITS;
        let unit = ((packed >> left) & ((1 << PART_BITS) - 1)) as f32 / PART_MAX;
        *part = (unit - 0.5) * core::f32::consts::SQRT_2;
        rest -= *part * *part;
    }
    rotation[greatest] = rest.max(0.0).sqrt();
    let length = rotation.iter().map(|part| part * part).sum::<f32>().sqrt();
    rotation.map(|part| part / length)
}

/// Where something is and how it goes on, in whole numbers: what both ends of a link know of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sample {
    /// Where, in units of [`POSITION_UNITS_PER_M`].
    pub position: [i64; 3],
    /// Where to, in units of [`VELOCITY_UNITS_PER_MPS`].
    pub velocity: [i32; 3],
    /// How fast the velocity turns around the vertical, in units of [`TURN_UNITS_PER_RADPS`].
    pub turn: i16,
    /// How fast the vertical velocity grows, in units of [`CLIMB_UNITS_PER_MPS2`].
    pub climb: i16,
    /// Which way it faces; if upright, it turns as the velocity does.
    pub facing: Facing,
}

impl Sample {
    /// Whether it stays where it is.
    pub(super) const fn is_at_rest(&self) -> bool {
        let [x, y, z] = self.velocity;
        x == 0 && y == 0 && z == 0 && self.turn == 0 && self.climb == 0
    }

    /// The nearest to a motion that goes straight on. What exceeds the ranges is held at their ends.
    #[must_use]
    pub fn of(motion: &Motion, facing: Facing) -> Self {
        Self {
            position: motion.position.to_array().map(position_units),
            velocity: motion.velocity.to_array().map(velocity_units),
            turn: 0,
            climb: 0,
            facing,
        }
    }

    /// The position in metres.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "positions have 38 bits")]
    pub fn position_m(&self) -> Position {
        Position::from_array(self.position.map(|units| units as f64 / POSITION_UNITS_PER_M))
    }

    /// The velocity in metres a second.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "21 bits fit an f32")]
    pub fn velocity_mps(&self) -> Velocity {
        let [x, y, z] = self.velocity.map(|units| (f64::from(units) / VELOCITY_UNITS_PER_MPS) as f32);
        Velocity::new(x, y, z)
    }

    /// Whether every number is within its range.
    pub(super) fn is_valid(&self) -> bool {
        self.position.iter().all(|units| units.unsigned_abs() <= POSITION_UNITS_MAX.unsigned_abs())
            && self.velocity.iter().all(|units| units.unsigned_abs() <= VELOCITY_UNITS_MAX.unsigned_abs())
            && self.turn.unsigned_abs() <= CURVE_UNITS_MAX.unsigned_abs()
            && self.climb.unsigned_abs() <= CURVE_UNITS_MAX.unsigned_abs()
            && self.facing.is_valid()
    }
}

/// Metres in units; what isn't a number is 0.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "clamped first")]
pub(super) fn position_units(metres: f64) -> i64 {
    let max = POSITION_UNITS_MAX as f64;
    (metres * POSITION_UNITS_PER_M).round().clamp(-max, max) as i64
}

/// Metres a second in units; what isn't a number is 0.
#[allow(clippy::cast_possible_truncation, reason = "clamped first")]
pub(super) fn velocity_units(metres_per_s: f64) -> i32 {
    let max = f64::from(VELOCITY_UNITS_MAX);
    (metres_per_s * VELOCITY_UNITS_PER_MPS).round().clamp(-max, max) as i32
}

/// A turn rate or a vertical acceleration in its units.
#[allow(clippy::cast_possible_truncation, reason = "clamped first")]
pub(super) fn curve_units(value: f64, units_per_one: f64) -> i16 {
    let max = f64::from(CURVE_UNITS_MAX);
    (value * units_per_one).round().clamp(-max, max) as i16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn positions_and_velocities_are_off_by_half_a_unit_at_most(
            at in prop::array::uniform3(-1e6..1e6_f64),
            to in prop::array::uniform3(-1_000.0..1_000.0_f32),
        ) {
            let [x, y, z] = to;
            let motion = Motion { position: Position::from_array(at), velocity: Velocity::new(x, y, z) };
            let sample = Sample::of(&motion, Facing::default());
            prop_assert!(sample.is_valid());
            for (shown, is) in sample.position_m().to_array().iter().zip(at) {
                prop_assert!((shown - is).abs() <= 0.5 / POSITION_UNITS_PER_M + 1e-9);
            }
            for (shown, is) in sample.velocity_mps().to_array().iter().zip(motion.velocity.to_array()) {
                prop_assert!((shown - is).abs() <= 0.5 / VELOCITY_UNITS_PER_MPS + 1e-4);
            }
        }

        #[test]
        fn any_turn_is_off_by_two_milliradians_at_most(parts in prop::array::uniform4(-1.0..1.0_f32)) {
            let length = parts.iter().map(|part| part * part).sum::<f32>().sqrt();
            prop_assume!(length > 0.01);
            let is = parts.map(|part| part / length);
            let facing = Facing::of(parts);
            prop_assert!(facing.is_valid());
            let dot: f64 = facing.rotation().iter().zip(is).map(|(a, b)| f64::from(a * b)).sum();
            // Upright takes up to a degree of tilt away.
            let bound = if matches!(facing, Facing::Upright(_)) { 0.021 } else { 0.002 };
            prop_assert!(2.0 * dot.abs().min(1.0).acos() < bound, "off by {}", 2.0 * dot.abs().min(1.0).acos());
        }

        #[test]
        fn yaw_is_off_by_half_a_unit_at_most(yaw in -10.0..10.0_f64) {
            let facing = Facing::upright(yaw);
            prop_assert!(facing.is_valid());
            let Facing::Upright(units) = facing else { unreachable!() };
            let shown = f64::from(units) * core::f64::consts::TAU / f64::from(YAW_UNITS);
            let apart = (shown - yaw).rem_euclid(core::f64::consts::TAU);
            prop_assert!(apart.min(core::f64::consts::TAU - apart) <= 0.0001);
        }
    }

    #[test]
    fn what_is_out_of_range_is_held_at_the_end() {
        let motion = Motion {
            position: Position::new(f64::INFINITY, f64::NAN, -1e300),
            velocity: Velocity::new(f32::INFINITY, f32::NAN, -1e30),
        };
        let sample = Sample::of(&motion, Facing::of([f32::NAN; 4]));
        assert!(sample.is_valid());
        assert_eq!(sample.position, [POSITION_UNITS_MAX, 0, -POSITION_UNITS_MAX]);
        assert_eq!(sample.velocity, [VELOCITY_UNITS_MAX, 0, -VELOCITY_UNITS_MAX]);
        assert_eq!(sample.facing, Facing::Upright(0));
    }

    #[test]
    fn angles_between_facings_go_the_short_way() {
        let (a, b) = (Facing::upright(0.1), Facing::upright(-0.1));
        assert!((a.angle_to(b) - 0.2).abs() < 1e-3);
        let tilted = Facing::of([0.5, 0.0, 0.0, 0.866]);
        assert!((tilted.angle_to(Facing::default()) - core::f64::consts::FRAC_PI_3).abs() < 3e-3);
    }
}
