//! What a player's client sends: where to walk, and how fast.
//!
//! Thirteen bytes: the format's number (1), then three little-endian `f32`: direction x, direction y, speed in metres a
//! second. The direction's length doesn't matter, unless it is zero: then the player stands.

/// The length of an encoded input.
pub const MOVE_INPUT_BYTES: usize = 13;

const FORMAT: u8 = 1;

/// A player's wish to walk.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct MoveInput {
    /// Where to, as a vector of any length; zero to stand.
    pub direction: [f32; 2],
    /// How fast, in metres a second. More than the arena allows counts as what it allows.
    pub speed_mps: f32,
}

/// Bytes that are no input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MoveInputError {
    /// Too short, too long, or of another format.
    #[error("not a move input of format {FORMAT}")]
    Malformed,
    /// A number is infinite, NaN, or the speed negative.
    #[error("a move input with an impossible number")]
    OutOfRange,
}

impl MoveInput {
    /// The bytes to send.
    #[must_use]
    pub fn encode(&self) -> [u8; MOVE_INPUT_BYTES] {
        let mut bytes = [0; MOVE_INPUT_BYTES];
        bytes[0] = FORMAT;
        for (index, number) in [self.direction[0], self.direction[1], self.speed_mps].into_iter().enumerate()
        {
            bytes[1 + 4 * index..5 + 4 * index].copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Reads what a client sent.
    ///
    /// # Errors
    /// If the bytes are no input, or its numbers are impossible.
    pub fn decode(bytes: &[u8]) -> Result<Self, MoveInputError> {
        let bytes: &[u8; MOVE_INPUT_BYTES] = bytes.try_into().map_err(|_| MoveInputError::Malformed)?;
        let [FORMAT, x0, x1, x2, x3, y0, y1, y2, y3, s0, s1, s2, s3] = *bytes else {
            return Err(MoveInputError::Malformed);
        };
        let direction = [f32::from_le_bytes([x0, x1, x2, x3]), f32::from_le_bytes([y0, y1, y2, y3])];
        let speed_mps = f32::from_le_bytes([s0, s1, s2, s3]);
        let possible =
            direction.iter().all(|part| part.is_finite()) && speed_mps.is_finite() && speed_mps >= 0.0;
        if possible { Ok(Self { direction, speed_mps }) } else { Err(MoveInputError::OutOfRange) }
    }

    /// The velocity that is meant, at most `speed_max_mps` fast, in metres a second.
    #[must_use]
    pub fn velocity(&self, speed_max_mps: f64) -> [f64; 2] {
        let [x, y] = self.direction.map(f64::from);
        let length = x.hypot(y);
        if length == 0.0 {
            return [0.0, 0.0];
        }
        let speed = f64::from(self.speed_mps).min(speed_max_mps);
        [x / length * speed, y / length * speed]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_survives_its_bytes() {
        let input = MoveInput { direction: [0.5, -2.0], speed_mps: 7.25 };
        assert_eq!(MoveInput::decode(&input.encode()), Ok(input));
    }

    #[test]
    fn what_is_no_input_is_refused() {
        let good = MoveInput { direction: [1.0, 0.0], speed_mps: 1.0 }.encode();
        assert_eq!(MoveInput::decode(&good[..12]), Err(MoveInputError::Malformed));
        assert_eq!(MoveInput::decode(&[good.as_slice(), &[0]].concat()), Err(MoveInputError::Malformed));
        let mut other = good;
        other[0] = 2;
        assert_eq!(MoveInput::decode(&other), Err(MoveInputError::Malformed));
        for speed_mps in [f32::NAN, f32::INFINITY, -1.0] {
            let bad = MoveInput { direction: [1.0, 0.0], speed_mps }.encode();
            assert_eq!(MoveInput::decode(&bad), Err(MoveInputError::OutOfRange));
        }
    }

    #[test]
    fn nobody_walks_faster_than_allowed_in_whatever_direction() {
        let input = MoveInput { direction: [1e30, 1e30], speed_mps: 1e30 };
        let [x, y] = input.velocity(12.0);
        assert!((x.hypot(y) - 12.0).abs() < 1e-9);
        assert_eq!(MoveInput { direction: [0.0, 0.0], speed_mps: 5.0 }.velocity(12.0), [0.0, 0.0]);
    }
}
