//! Whole numbers in as few bytes as they need, and a reader that can't run past its end.
//!
//! LEB128: seven bits a byte, the lowest first; signed numbers zigzag first, so that small ones of either sign are short.

use super::wire::GhostWireError;

/// The longest encoding: 64 bits at seven a byte.
const VARINT_BYTES_MAX: usize = 10;

pub(super) fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_unsigned(out, zigzag(value));
}

/// How many bytes [`put_unsigned`] would write.
pub(super) const fn unsigned_len(value: u64) -> usize {
    let bits = (64 - (value | 1).leading_zeros()) as usize;
    bits.div_ceil(7)
}

#[allow(clippy::cast_sign_loss, reason = "the bits are what is meant")]
const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[allow(clippy::cast_possible_wrap, reason = "the bits are what is meant")]
const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[allow(clippy::cast_possible_truncation, reason = "the lowest eight bits are what is meant")]
const fn low_byte(value: u64) -> u8 {
    (value & 0x7f) as u8
}

/// Reads from the front of a slice; every read past the end is an error, none a panic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, GhostWireError> {
        let (&first, rest) = self.rest.split_first().ok_or(GhostWireError::Truncated)?;
        self.rest = rest;
        Ok(first)
    }

    pub(super) fn slice(&mut self, len: usize) -> Result<&'a [u8], GhostWireError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(GhostWireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], GhostWireError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(GhostWireError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    pub(super) fn unsigned(&mut self) -> Result<u64, GhostWireError> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        for nth in 1..VARINT_BYTES_MAX {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte holds one bit.
            if nth == VARINT_BYTES_MAX - 1 && bits > 1 {
                break;
            }
            value |= bits << (7 * nth);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(GhostWireError::Range { what: "number" })
    }

    #[inline]
    pub(super) fn signed(&mut self) -> Result<i64, GhostWireError> {
        self.unsigned().map(unzigzag)
    }

    /// A number that must not exceed `max`.
    pub(super) fn at_most(&mut self, max: u64, what: &'static str) -> Result<u64, GhostWireError> {
        let value = self.unsigned()?;
        if value > max {
            return Err(GhostWireError::Range { what });
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_is_read(unsigned: u64, signed: i64) {
            let mut out = Vec::new();
            put_unsigned(&mut out, unsigned);
            prop_assert_eq!(out.len(), unsigned_len(unsigned));
            put_signed(&mut out, signed);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.unsigned(), Ok(unsigned));
            prop_assert_eq!(reader.signed(), Ok(signed));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.signed().is_ok() {}
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        let mut reader = Reader::new(&[0xff; 9]);
        assert_eq!(reader.unsigned(), Err(GhostWireError::Truncated));
        let mut bytes = [0xff; 10];
        bytes[9] = 2;
        assert_eq!(Reader::new(&bytes).unsigned(), Err(GhostWireError::Range { what: "number" }));
        bytes[9] = 1;
        assert_eq!(Reader::new(&bytes).unsigned(), Ok(u64::MAX));
    }
}
