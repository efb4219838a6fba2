//! Where things are and how they move.

use core::time::Duration;

use rkyv::{Archive, Deserialize, Serialize};

/// A point of the world, in metres.
#[derive(Clone, Copy, PartialEq, Debug, Default, Archive, Serialize, Deserialize)]
pub struct Position {
    /// Metres along x.
    pub x: f64,
    /// Metres along y.
    pub y: f64,
    /// Metres along z: the altitude, which a 2D grid ignores.
    pub z: f64,
}

impl Position {
    /// Makes a position from metres.
    #[must_use]
    pub const fn new(x: f64, y: f64, z: f64) -> Self {
        Self { x, y, z }
    }

    /// Whether no coordinate is infinite or not a number.
    #[must_use]
    pub const fn is_finite(&self) -> bool {
        self.x.is_finite() && self.y.is_finite() && self.z.is_finite()
    }

    /// Metres from here to `other`, in a straight line.
    #[must_use]
    pub fn distance(&self, other: Self) -> f64 {
        self.distance_squared(other).sqrt()
    }

    /// The square of the distance: cheaper where distances are only compared.
    #[must_use]
    pub fn distance_squared(&self, other: Self) -> f64 {
        let (x, y, z) = (self.x - other.x, self.y - other.y, self.z - other.z);
        x * x + y * y + z * z
    }

    /// The coordinates as an array: x, y, z.
    #[must_use]
    pub const fn to_array(self) -> [f64; 3] {
        [self.x, self.y, self.z]
    }

    /// A position from an array: x, y, z.
    #[must_use]
    pub const fn from_array([x, y, z]: [f64; 3]) -> Self {
        Self { x, y, z }
    }
}

/// A velocity, in metres a second.
#[derive(Clone, Copy, PartialEq, Debug, Default, Archive, Serialize, Deserialize)]
pub struct Velocity {
    /// Metres a second along x.
    pub x: f32,
    /// Metres a second along y.
    pub y: f32,
    /// Metres a second along z.
    pub z: f32,
}

impl Velocity {
    /// Makes a velocity from metres a second.
    #[must_use]
    pub const fn new(x: f32, y: f32, z: f32) -> Self {
        Self { x, y, z }
    }

    /// Whether no component is infinite or not a number.
    #[must_use]
    pub const fn is_finite(&self) -> bool {
        self.x.is_finite() && self.y.is_finite() && self.z.is_finite()
    }

    /// Metres a second, whatever the direction.
    #[must_use]
    pub fn speed(&self) -> f64 {
        let [x, y, z] = self.to_array();
        (x * x + y * y + z * z).sqrt()
    }

    /// The components as an array of `f64`: x, y, z.
    #[must_use]
    pub fn to_array(self) -> [f64; 3] {
        [f64::from(self.x), f64::from(self.y), f64::from(self.z)]
    }
}

/// A position and the velocity there.
#[derive(Clone, Copy, PartialEq, Debug, Default, Archive, Serialize, Deserialize)]
pub struct Motion {
    /// Where it is.
    pub position: Position,
    /// Where it is going.
    pub velocity: Velocity,
}

impl Motion {
    /// Whether neither the position nor the velocity holds an infinity or a NaN.
    #[must_use]
    pub const fn is_finite(&self) -> bool {
        self.position.is_finite() && self.velocity.is_finite()
    }

    /// Where this motion leads if nothing changes it: position + velocity x `after`.
    #[must_use]
    pub fn after(&self, after: Duration) -> Position {
        let (p, [vx, vy, vz], t) = (self.position, self.velocity.to_array(), after.as_secs_f64());
        Position::new(p.x + vx * t, p.y + vy * t, p.z + vz * t)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_is_euclidean() {
        let here = Position::new(1.0, 2.0, 3.0);
        let there = Position::new(3.0, 5.0, 9.0);
        assert!((here.distance(there) - 7.0).abs() < 1e-12);
        assert!((here.distance_squared(there) - 49.0).abs() < 1e-12);
    }

    #[test]
    fn one_bad_number_makes_a_motion_not_finite() {
        let mut motion = Motion::default();
        assert!(motion.is_finite());
        motion.velocity.z = f32::INFINITY;
        assert!(!motion.is_finite());
        motion = Motion { position: Position::new(f64::NAN, 0.0, 0.0), ..Motion::default() };
        assert!(!motion.is_finite());
    }
}
