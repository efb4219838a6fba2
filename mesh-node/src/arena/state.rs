//! What the arena publishes beside an avatar's motion, for its own client.
//!
//! Forty bytes: the format's number (3), then little-endian the ledger's four `u32`, the health as `f32`, how many
//! items the avatar carries and which of them this is as `u8`, and that item's id as `u128`, and
//! whether a ferry carries the avatar as a `u8`, 0 or 1.

use super::Ledger;

/// The length of an encoded state.
pub const AVATAR_STATE_BYTES: usize = 40;

const FORMAT: u8 = 3;
const ITEM_SHOWN_BYTES: usize = 18;

/// What a client learns of its own avatar in each tick.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct AvatarState {
    /// The account of its inputs.
    pub ledger: Ledger,
    /// Its health.
    pub health: f32,
    /// One of its items.
    pub item: ItemShown,
    /// Whether a ferry carries it.
    pub rides: bool,
}

/// One item of an avatar's inventory. Each input makes the next one show, so that whoever plays sees all in turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ItemShown {
    /// How many items the avatar carries, the first 255; with none the rest means nothing.
    pub items: u8,
    /// Which of them this is, from 0 on.
    pub index: u8,
    /// Its id: no other item of the world has it.
    pub id: u128,
}

impl ItemShown {
    fn encode(self) -> [u8; ITEM_SHOWN_BYTES] {
        let mut bytes = [0; ITEM_SHOWN_BYTES];
        bytes[..2].copy_from_slice(&[self.items, self.index]);
        bytes[2..].copy_from_slice(&self.id.to_le_bytes());
        bytes
    }

    fn decode(bytes: [u8; ITEM_SHOWN_BYTES]) -> Option<Self> {
        let (&[items, index], id) = bytes.split_first_chunk()?;
        Some(Self { items, index, id: u128::from_le_bytes(id.try_into().ok()?) })
    }
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
        bytes[17..21].copy_from_slice(&self.health.to_le_bytes());
        bytes[21..39].copy_from_slice(&self.item.encode());
        bytes[39] = u8::from(self.rides);
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
        let (rest, &[rides]) = rest.split_last_chunk().ok_or(AvatarStateError)?;
        let (rest, item) = rest.split_last_chunk().ok_or(AvatarStateError)?;
        let (ledger, health) = rest.split_last_chunk().ok_or(AvatarStateError)?;
        let ledger = Ledger::decode(ledger).ok_or(AvatarStateError)?;
        let item = ItemShown::decode(*item).ok_or(AvatarStateError)?;
        if rides > 1 {
            return Err(AvatarStateError);
        }
        Ok(Self { ledger, health: f32::from_le_bytes(*health), item, rides: rides == 1 })
    }
}

const _: () = assert!(AVATAR_STATE_BYTES <= selvedge_protocol::limits::STATE_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_survives_its_bytes_and_nothing_else_is_one() {
        let ledger = Ledger { last_seq: 9, applied: 8, doubled: 7, skipped: 6 };
        let item = ItemShown { items: 40, index: 39, id: u128::MAX - 1 };
        let state = AvatarState { ledger, health: 97.5, item, rides: true };
        let bytes = state.encode();
        assert_eq!(AvatarState::decode(&bytes), Ok(state));
        for cut in 0..bytes.len() {
            assert_eq!(AvatarState::decode(&bytes[..cut]), Err(AvatarStateError));
        }
    }
}
