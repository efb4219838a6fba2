//! What the arena publishes beside an avatar's motion, for its own client.
//!
//! Twenty-one bytes: the format's number (1), then little-endian the ledger's four `u32` and the health as `f32`.

use super::Ledger;

/// The length of an encoded state.
pub const AVATAR_STATE_BYTES: usize = 21;

const FORMAT: u8 = 1;

/// What a client learns of its own avatar in each tick.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct AvatarState {
    /// The account of its inputs.
    pub ledger: Ledger,
    /// Its health.
    pub health: f32,
}

/// Bytes that are no state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an avatar's state of format {FORMAT}")]
pub struct AvatarStateError;

impl AvatarState {
    /// The bytes to publish.
    #[must_use]
    pub fn encode(&self) -> [u8; AVATAR_STATE_BYTES] {
        let mut bytes = [0; AVATAR_STATE_BYTES];
        bytes[0] = FORMAT;
        bytes[1..17].copy_from_slice(&self.ledger.encode());
        bytes[17..].copy_from_slice(&self.health.to_le_bytes());
        bytes
    }

    /// Reads what a node published.
    ///
    /// # Errors
    /// If the bytes are no state.
    pub fn decode(bytes: &[u8]) -> Result<Self, AvatarStateError> {
        let (&[FORMAT], rest) = bytes.split_first_chunk().ok_or(AvatarStateError)? else {
            return Err(AvatarStateError);
        };
        let (ledger, health) = rest.split_last_chunk().ok_or(AvatarStateError)?;
        let ledger = Ledger::decode(ledger).ok_or(AvatarStateError)?;
        Ok(Self { ledger, health: f32::from_le_bytes(*health) })
    }
}

const _: () = assert!(AVATAR_STATE_BYTES <= selvedge_protocol::limits::STATE_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_survives_its_bytes_and_nothing_else_is_one() {
        let ledger = Ledger { last_seq: 9, applied: 8, doubled: 7, skipped: 6 };
        let state = AvatarState { ledger, health: 97.5 };
        let bytes = state.encode();
        assert_eq!(AvatarState::decode(&bytes), Ok(state));
        for cut in 0..bytes.len() {
            assert_eq!(AvatarState::decode(&bytes[..cut]), Err(AvatarStateError));
        }
    }
}
