//! Dead reckoning: where a sample leads if nothing changes it. Both ends compute it alike, to the last bit.
//!
//! Planar motion keeps its speed and turns at a constant rate (an arc; a line where the rate is 0), vertical motion has a
//! constant acceleration (a jump). Only additions, multiplications and divisions of `f64` are used, which IEEE 754 defines
//! to the bit; the sine of the platform's library is not.
//!
//! [`CurveEstimate`] says what rate and acceleration something seems to have, from what its game published.

use super::quantize::{
    CLIMB_UNITS_PER_MPS2, CURVE_UNITS_MAX, Facing, POSITION_UNITS_PER_M, Sample, TURN_UNITS_PER_RADPS,
    VELOCITY_UNITS_PER_MPS, YAW_UNITS, curve_units, position_units, velocity_units,
};
use crate::grid::{Motion, Velocity};

/// A rate or an acceleration counts as constant if it changed by less than this part of itself from tick to tick.
const STEADY_PART: f64 = 0.2;
/// Turn rates below this, in rad/s, are none.
const TURN_MIN_RADPS: f64 = 0.02;
/// Vertical accelerations below this, in m/s², are none.
const CLIMB_MIN_MPS2: f64 = 0.2;
/// Below this planar speed, in m/s, a direction means nothing.
const SPEED_MIN_MPS: f64 = 0.05;

/// Where a sample leads, in metres and metres a second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Prediction {
    /// Metres.
    pub position: [f64; 3],
    /// Metres a second.
    pub velocity: [f64; 3],
    /// Which way it faces by then.
    pub facing: Facing,
}

/// Where `from` leads in `seconds`; back in time if they are negative.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "positions have 38 bits")]
pub fn predict(from: &Sample, seconds: f64) -> Prediction {
    let [x, y, z] = from.position.map(|units| units as f64 / POSITION_UNITS_PER_M);
    let [vx, vy, vz] = from.velocity.map(|units| f64::from(units) / VELOCITY_UNITS_PER_MPS);
    let climb = f64::from(from.climb) / CLIMB_UNITS_PER_MPS2;
    let z = z + (vz + 0.5 * climb * seconds) * seconds;
    let vz = vz + climb * seconds;
    if from.turn == 0 {
        return Prediction {
            position: [x + vx * seconds, y + vy * seconds, z],
            velocity: [vx, vy, vz],
            facing: from.facing,
        };
    }
    // An arc's chord lies half the turn off, and is shorter than the arc by sin(half) / half.
    let angle = f64::from(from.turn) / TURN_UNITS_PER_RADPS * seconds;
    let half = 0.5 * angle;
    let (sin, cos) = sin_cos(half);
    let chord = if half.abs() < 1e-4 { seconds } else { seconds * sin / half };
    let (full_sin, full_cos) = (2.0 * sin * cos, 1.0 - 2.0 * sin * sin);
    Prediction {
        position: [x + (vx * cos - vy * sin) * chord, y + (vx * sin + vy * cos) * chord, z],
        velocity: [vx * full_cos - vy * full_sin, vx * full_sin + vy * full_cos, vz],
        facing: turned(from.facing, angle),
    }
}

/// As [`predict`], in whole numbers again: what a delta is against.
#[must_use]
pub(super) fn predict_sample(from: &Sample, seconds: f64) -> Sample {
    let Prediction { position, velocity, facing } = predict(from, seconds);
    Sample {
        position: position.map(position_units),
        velocity: velocity.map(velocity_units),
        turn: from.turn,
        climb: from.climb,
        facing,
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "brought into range first")]
fn turned(facing: Facing, angle: f64) -> Facing {
    match facing {
        Facing::Upright(units) => {
            let turns = angle / core::f64::consts::TAU;
            let by = ((turns - turns.floor()) * f64::from(YAW_UNITS)).round() as u32;
            Facing::Upright(((u32::from(units) + by) % u32::from(YAW_UNITS)) as u16)
        }
        Facing::Any(_) => facing,
    }
}

/// Sine and cosine, alike on every machine; off by less than 1e-9.
fn sin_cos(angle: f64) -> (f64, f64) {
    let turns = (angle / core::f64::consts::TAU).round();
    // An eighth of the angle is at most 0.4: there the series are short. Three doublings lead back.
    let x = (angle - turns * core::f64::consts::TAU) / 8.0;
    let q = x * x;
    let mut sin = x * (1.0 - q / 6.0 * (1.0 - q / 20.0 * (1.0 - q / 42.0 * (1.0 - q / 72.0))));
    let mut cos = 1.0 - q / 2.0 * (1.0 - q / 12.0 * (1.0 - q / 30.0 * (1.0 - q / 56.0 * (1.0 - q / 90.0))));
    for _ in 0..3 {
        (sin, cos) = (2.0 * sin * cos, 1.0 - 2.0 * sin * sin);
    }
    (sin, cos)
}

/// What something's turn rate and vertical acceleration seem to be.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct CurveEstimate {
    /// The last tick's, whether steady or not.
    turn_radps: f64,
    climb_mps2: f64,
    turn_steady: bool,
    climb_steady: bool,
}

impl CurveEstimate {
    /// Takes in how the motion went on in `seconds`.
    pub(super) fn observe(&mut self, before: &Motion, now: &Motion, seconds: f64) {
        let [ax, ay, az] = before.velocity.to_array();
        let [bx, by, bz] = now.velocity.to_array();
        let fast = |x: f64, y: f64| x * x + y * y > SPEED_MIN_MPS * SPEED_MIN_MPS;
        let turn = if fast(ax, ay) && fast(bx, by) {
            (ax * by - ay * bx).atan2(ax * bx + ay * by) / seconds
        } else {
            0.0
        };
        let climb = (bz - az) / seconds;
        self.turn_steady = is_steady(self.turn_radps, turn, TURN_MIN_RADPS, TURN_UNITS_PER_RADPS);
        self.climb_steady = is_steady(self.climb_mps2, climb, CLIMB_MIN_MPS2, CLIMB_UNITS_PER_MPS2);
        (self.turn_radps, self.climb_mps2) = (turn, climb);
    }

    /// Adds the curve to a sample of `now`, where it is steady.
    ///
    /// Games integrate in steps, and then the velocity that they publish is not quite the slope of the arc through the
    /// positions. That slope is taken instead, from the last two positions, unless it is another motion altogether.
    pub(super) fn bend(&self, sample: &mut Sample, before: &Motion, now: &Motion, seconds: f64) {
        if !self.turn_steady && !self.climb_steady {
            return;
        }
        let turn = if self.turn_steady { self.turn_radps } else { 0.0 };
        let climb = if self.climb_steady { self.climb_mps2 } else { 0.0 };
        sample.turn = curve_units(turn, TURN_UNITS_PER_RADPS);
        sample.climb = curve_units(climb, CLIMB_UNITS_PER_MPS2);
        let (a, b) = (before.position.to_array(), now.position.to_array());
        let [dx, dy, dz]: [f64; 3] = core::array::from_fn(|axis| (b[axis] - a[axis]) / seconds);
        let half = 0.5 * turn * seconds;
        let (sin, cos) = sin_cos(half);
        let stretch = if half.abs() < 1e-4 { 1.0 } else { half / sin };
        let slope =
            [(dx * cos - dy * sin) * stretch, (dx * sin + dy * cos) * stretch, dz + 0.5 * climb * seconds];
        let published = now.velocity.to_array();
        let apart = (0..3).map(|axis| (slope[axis] - published[axis]).abs()).fold(0.0, f64::max);
        if apart <= step_slack(now.velocity, turn, climb, seconds) {
            sample.velocity = slope.map(velocity_units);
        }
    }
}

/// How far the slope may be from the published velocity if they are of one motion: what a step adds, and some noise.
fn step_slack(velocity: Velocity, turn_radps: f64, climb_mps2: f64, seconds: f64) -> f64 {
    let speed = velocity.speed();
    0.75 * (turn_radps.abs() * speed + climb_mps2.abs()) * seconds + 0.02 * speed + 0.01
}

fn is_steady(before: f64, now: f64, min: f64, units: f64) -> bool {
    now.abs() >= min
        && (now - before).abs() <= STEADY_PART * now.abs()
        && now.abs() * units <= f64::from(CURVE_UNITS_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::grid::Position;

    fn sample(velocity: Velocity, turn_radps: f64, climb_mps2: f64) -> Sample {
        let motion = Motion { position: Position::new(3.0, -4.0, 1.0), velocity };
        let mut sample = Sample::of(&motion, Facing::upright(0.3));
        sample.turn = curve_units(turn_radps, TURN_UNITS_PER_RADPS);
        sample.climb = curve_units(climb_mps2, CLIMB_UNITS_PER_MPS2);
        sample
    }

    #[allow(clippy::cast_possible_truncation, reason = "a velocity is f32")]
    const fn narrow(speed: f64) -> f32 {
        speed as f32
    }

    proptest! {
        #[test]
        fn sine_and_cosine_are_those_of_the_library(angle in -1_000.0..1_000.0_f64) {
            let (sin, cos) = sin_cos(angle);
            prop_assert!((sin - angle.sin()).abs() < 1e-9 && (cos - angle.cos()).abs() < 1e-9);
        }

        #[test]
        fn predicting_twice_is_predicting_once(turn in -3.0..3.0_f64, first in 0.0..2.0_f64, then in 0.0..2.0_f64) {
            let from = sample(Velocity::new(5.0, 1.0, 2.0), turn, -9.81);
            let way = predict_sample(&from, first);
            let (twice, once) = (predict(&way, then), predict(&from, first + then));
            for axis in 0..3 {
                // What rounding the velocity half way costs.
                prop_assert!((twice.position[axis] - once.position[axis]).abs() < 0.02 + 0.01 * then);
            }
            prop_assert!(twice.facing.angle_to(once.facing) < 0.002);
        }
    }

    #[test]
    fn a_full_circle_leads_back() {
        let from = sample(Velocity::new(6.0, 0.0, 0.0), 2.0, 0.0);
        let there = predict(&from, core::f64::consts::TAU / (1024.0 / 512.0));
        let start = from.position_m().to_array();
        assert!((0..3).all(|axis| (there.position[axis] - start[axis]).abs() < 1e-6), "{there:?}");
        assert!(there.facing.angle_to(from.facing) < 1e-3);
    }

    #[test]
    fn a_stepwise_jump_is_foreseen_to_the_millimetre() {
        let dt = 1.0 / 30.0;
        let step = |motion: &Motion| {
            let [x, y, z] = motion.velocity.to_array();
            let vz = z - 9.81 * dt;
            let p = motion.position;
            Motion {
                position: Position::new(p.x + x * dt, p.y + y * dt, p.z + vz * dt),
                velocity: Velocity { z: narrow(vz), ..motion.velocity },
            }
        };
        let mut motion = Motion { position: Position::default(), velocity: Velocity::new(2.0, 1.0, 5.0) };
        let mut curve = CurveEstimate::default();
        let mut before = motion;
        for _ in 0..3 {
            before = motion;
            motion = step(&motion);
            curve.observe(&before, &motion, dt);
        }
        let mut from = Sample::of(&motion, Facing::default());
        curve.bend(&mut from, &before, &motion, dt);
        assert_ne!(from.climb, 0);
        for tick in 1..20 {
            motion = step(&motion);
            let foreseen = predict(&from, f64::from(tick) * dt).position;
            let apart = Position::from_array(foreseen).distance(motion.position);
            assert!(apart < 0.012, "off by {apart} m after {tick} ticks");
        }
    }

    #[test]
    fn a_leap_from_one_velocity_to_another_is_no_curve() {
        let standing = Motion::default();
        let running = Motion { velocity: Velocity::new(4.0, 4.0, 5.0), ..Motion::default() };
        let mut curve = CurveEstimate::default();
        curve.observe(&standing, &running, 1.0 / 30.0);
        let mut from = Sample::of(&running, Facing::default());
        curve.bend(&mut from, &standing, &running, 1.0 / 30.0);
        assert_eq!((from.turn, from.climb), (0, 0));
    }

    #[test]
    fn even_absurd_spans_of_time_lead_somewhere() {
        let from = sample(Velocity::new(8_000.0, 8_000.0, 8_000.0), 60.0, 500.0);
        for seconds in [1e18, -1e18, 1e-18] {
            let there = predict_sample(&from, seconds);
            assert!(
                there.position.iter().all(|units| units.abs() <= super::super::quantize::POSITION_UNITS_MAX)
            );
        }
    }
}
