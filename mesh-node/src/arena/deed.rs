//! What avatars do to each other: a hit, an item that changes hands, two that change places, and a shout.
//!
//! An item that is given away is in its giver's escrow until the taker has answered, and the action is durable: it is in
//! one place at any time, whoever dies. So is what a trade gives in return: it leaves its owner as the offer is taken, and
//! travels in the answer. Both change hands, or neither.

use selvedge_protocol::grid::Position;
use selvedge_protocol::id::EntityId;

use super::avatar::Item;

/// How far a hit or a hand reaches, in metres.
pub(super) const REACH_M: f64 = 30.0;
/// What a hit takes away.
pub(super) const HIT: f32 = 5.0;
/// How far a shout is heard, in metres.
pub(super) const SHOUT_REACH_M: f64 = 20.0;
/// With so many items nobody takes another.
pub(super) const ITEMS_MAX: usize = 200;

const TAKE: u8 = 1;
const SUFFER: u8 = 2;
const SWAP: u8 = 3;

/// The length of an encoded wish.
pub const DEED_INPUT_BYTES: usize = 1;

/// What a player wants to do to whoever is nearest: one byte, as an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeedInput {
    /// Give them an item, if they are a player.
    Give,
    /// Give them an item for one of theirs, if they are a player and have one to spare.
    Trade,
    /// Hit them.
    Hit,
    /// Shout: an event for all who are near.
    Shout,
    /// Get on the nearest ferry of the same node, or off the one that carries them.
    Board,
    /// Fire a shot at them: it flies, over borders too, and hits whom it meets.
    Fire,
}

impl DeedInput {
    /// The byte to send.
    #[must_use]
    pub const fn encode(self) -> [u8; DEED_INPUT_BYTES] {
        match self {
            Self::Give => [2],
            Self::Trade => [7],
            Self::Hit => [3],
            Self::Shout => [4],
            Self::Board => [5],
            Self::Fire => [6],
        }
    }

    /// Reads what a client sent; none if it is no wish.
    #[must_use]
    pub const fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [2] => Some(Self::Give),
            [3] => Some(Self::Hit),
            [4] => Some(Self::Shout),
            [5] => Some(Self::Board),
            [6] => Some(Self::Fire),
            [7] => Some(Self::Trade),
            _ => None,
        }
    }
}

/// What one avatar asks of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Deed {
    /// Take this item.
    Take(Item),
    /// Take this item for one of yours, which the answer is to carry.
    Swap(Item),
    /// Suffer a hit.
    Suffer,
}

impl Deed {
    pub(super) fn encode(self) -> Vec<u8> {
        match self {
            Self::Take(item) => [&[TAKE][..], &item.encode()].concat(),
            Self::Swap(item) => [&[SWAP][..], &item.encode()].concat(),
            Self::Suffer => vec![SUFFER],
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&TAKE, item) => Item::read(item).map(Self::Take),
            (&SWAP, item) => Item::read(item).map(Self::Swap),
            (&SUFFER, []) => Some(Self::Suffer),
            _ => None,
        }
    }
}

/// Who of `others` is nearest to `from`, within reach.
pub(super) fn nearest<T>(
    me: EntityId,
    from: Position,
    others: impl Iterator<Item = (EntityId, Position, T)>,
) -> Option<T> {
    let apart = others
        .filter(|(entity, ..)| *entity != me)
        .map(|(_, at, who)| (at.distance_squared(from), who))
        .filter(|(distance, _)| *distance <= REACH_M * REACH_M);
    apart.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, who)| who)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deeds_survive_their_bytes_and_nothing_else_is_one() {
        let item = Item { id: 7, kind: 3, count: 2 };
        for deed in [Deed::Take(item), Deed::Swap(item), Deed::Suffer] {
            let bytes = deed.encode();
            assert_eq!(Deed::decode(&bytes), Some(deed));
            for cut in 0..bytes.len() {
                assert_eq!(Deed::decode(&bytes[..cut]), None);
            }
        }
        let to_one = [DeedInput::Give, DeedInput::Trade, DeedInput::Hit, DeedInput::Fire];
        for wish in to_one.into_iter().chain([DeedInput::Shout, DeedInput::Board]) {
            assert_eq!(DeedInput::decode(&wish.encode()), Some(wish));
        }
        assert_eq!(DeedInput::decode(&[8]), None);
    }

    #[test]
    fn the_nearest_within_reach_is_meant_but_never_oneself() {
        let id = EntityId::from_u128;
        let at = |x| Position::new(x, 0.0, 0.0);
        let others = [(id(1), at(0.0), 'a'), (id(2), at(-4.0), 'b'), (id(3), at(3.0), 'c')];
        assert_eq!(nearest(id(1), at(0.0), others.into_iter()), Some('c'));
        assert_eq!(nearest(id(1), at(REACH_M + 4.0), others.into_iter()), None);
    }
}
