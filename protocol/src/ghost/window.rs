//! What has come: of datagrams, and of a lane's revisions.

use super::wire::WINDOW;

/// The last datagrams that came, so that none is taken twice and the sender can be told.
#[derive(Clone, Debug)]
pub(super) struct Window {
    newest: Option<u64>,
    /// By number modulo [`WINDOW`].
    bits: [u64; (WINDOW / 64) as usize],
}

impl Window {
    pub(super) const fn new() -> Self {
        Self { newest: None, bits: [0; (WINDOW / 64) as usize] }
    }

    /// Notes a datagram. False if it came before, or is too old to say.
    pub(super) fn take(&mut self, seq: u64) -> bool {
        let newest = *self.newest.get_or_insert(seq);
        if seq > newest {
            // What lies between hasn't come, whatever stood there a window ago.
            for missing in (newest + 1..=seq).take(usize::try_from(WINDOW).unwrap_or(usize::MAX)) {
                self.set(missing, false);
            }
            self.newest = Some(seq);
        } else if newest - seq >= WINDOW || self.has(seq) {
            return false;
        }
        self.set(seq, true);
        true
    }

    pub(super) const fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// The last `reach` datagrams, the newest in bit 0, in whole bytes, without trailing zeros.
    pub(super) fn mask(&self, reach: u64) -> Vec<u8> {
        let Some(newest) = self.newest else {
            return Vec::new();
        };
        let bytes = reach.clamp(1, WINDOW).div_ceil(8);
        let mut mask: Vec<u8> = (0..bytes)
            .map(|byte| {
                (0..8).fold(0, |bits, bit| {
                    let has = newest.checked_sub(byte * 8 + bit).is_some_and(|seq| self.has(seq));
                    bits | u8::from(has) << bit
                })
            })
            .collect();
        while mask.last() == Some(&0) {
            mask.pop();
        }
        mask
    }

    fn has(&self, seq: u64) -> bool {
        self.bits.get(Self::word(seq)).is_some_and(|word| word & (1 << (seq % 64)) != 0)
    }

    fn set(&mut self, seq: u64, has: bool) {
        if let Some(word) = self.bits.get_mut(Self::word(seq)) {
            *word = *word & !(1 << (seq % 64)) | u64::from(has) << (seq % 64);
        }
    }

    fn word(seq: u64) -> usize {
        usize::try_from(seq % WINDOW / 64).unwrap_or(0)
    }
}

/// The last 64 revisions of a lane.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Revisions {
    newest: u16,
    /// Bit n: revision `newest - n` has come.
    bits: u64,
}

impl Revisions {
    pub(super) fn take(&mut self, revision: u16) {
        let ahead = revision.wrapping_sub(self.newest);
        // Half the numbers are ahead, half are behind.
        if ahead < 1 << 15 {
            self.bits = self.bits.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
            self.newest = revision;
        } else {
            let behind = self.newest.wrapping_sub(revision);
            self.bits |= 1_u64.checked_shl(u32::from(behind)).unwrap_or(0);
        }
    }

    /// Whether the `need` revisions up to this one have all come.
    pub(super) fn has(&self, revision: u16, need: u8) -> bool {
        if need == 0 {
            return true;
        }
        let behind = u32::from(self.newest.wrapping_sub(revision));
        if behind + u32::from(need) > 64 {
            return false;
        }
        let wanted = (u64::MAX >> (64 - u32::from(need))) << behind;
        self.bits & wanted == wanted
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_window_takes_each_number_once(seqs in prop::collection::vec(0..5_000_u64, 1..200)) {
            let (mut window, mut taken) = (Window::new(), BTreeSet::new());
            for seq in seqs {
                let newest = taken.last().copied().unwrap_or(seq);
                let expected = seq + WINDOW > newest && !taken.contains(&seq);
                prop_assert_eq!(window.take(seq), expected);
                if expected {
                    taken.insert(seq);
                }
            }
            let newest = *taken.last().unwrap();
            let mask = window.mask(WINDOW);
            for back in 0..WINDOW {
                let bit = mask.get(usize::try_from(back / 8).unwrap()).is_some_and(|byte| byte & (1 << (back % 8)) != 0);
                prop_assert_eq!(bit, newest.checked_sub(back).is_some_and(|seq| taken.contains(&seq)));
            }
        }

        #[test]
        fn revisions_are_complete_only_without_a_gap(
            order in Just((1..40_u8).collect::<Vec<_>>()).prop_shuffle(),
            missing in 1..40_u8,
            start: u16,
        ) {
            let mut revisions = Revisions { newest: start, bits: 0 };
            order.iter().filter(|&&n| n != missing).for_each(|&n| revisions.take(start.wrapping_add(u16::from(n))));
            for n in 1..40_u8 {
                for need in 0..n {
                    let gap = n >= missing && n - missing < need;
                    let revision = start.wrapping_add(u16::from(n));
                    prop_assert_eq!(revisions.has(revision, need), !gap);
                }
            }
        }
    }
}
