//! Bytes, read from the front, as what programs are made of.

use bytes::Bytes;
use selvedge_protocol::id::{AuthorityEpoch, Incarnation, NodeId, Peer};

/// What is left of a program.
pub struct Tape<'a>(pub &'a [u8]);

impl<'a> Tape<'a> {
    pub fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    pub fn flag(&mut self) -> Option<bool> {
        Some(self.byte()? % 2 == 1)
    }

    /// Less than `end`.
    pub fn below(&mut self, end: u8) -> Option<u8> {
        Some(self.byte()? % end)
    }

    pub fn short(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes([self.byte()?, self.byte()?]))
    }

    /// `length: u16 LE | frame`.
    pub fn frame(&mut self) -> Option<Bytes> {
        let length = usize::from(self.short()?);
        let (frame, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Bytes::copy_from_slice(frame))
    }

    /// `length: u8 | bytes`: what is read from it, or not, moves nothing else.
    pub fn part(&mut self) -> Option<Tape<'a>> {
        let length = usize::from(self.byte()?).min(self.0.len());
        let (part, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(Tape(part))
    }

    /// Small ones as they are, and those at which sums overflow.
    pub fn number(&mut self) -> Option<u64> {
        Some(match self.byte()? {
            250 => u64::from(u16::MAX),
            251 => u64::from(u32::MAX),
            252 => u64::from(u32::MAX) + 1,
            253 => u64::MAX >> 1,
            254 => u64::MAX - 1,
            255 => u64::MAX,
            small => u64::from(small),
        })
    }

    /// The same, of 32 bits.
    pub fn number32(&mut self) -> Option<u32> {
        Some(u32::try_from(self.number()?).unwrap_or(u32::MAX))
    }

    pub fn node(&mut self) -> Option<NodeId> {
        Some(NodeId::from_u128(u128::from(self.below(8)?)))
    }

    pub fn peer(&mut self) -> Option<Peer> {
        Some(Peer { node: self.node()?, incarnation: Incarnation(self.number()?) })
    }

    pub fn epoch(&mut self) -> Option<AuthorityEpoch> {
        Some(AuthorityEpoch { generation: self.number32()?, step: self.number32()? })
    }

    /// At most `most` of something.
    pub fn list<T>(&mut self, most: u8, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        (0..self.below(most + 1)?).map(|_| one(self)).collect()
    }
}
