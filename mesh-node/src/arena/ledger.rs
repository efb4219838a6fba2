//! An avatar's own account of the inputs that reached it.

/// Which inputs were applied, and what was wrong with their numbers. It travels with the avatar: exactly once means that
/// `doubled` and `skipped` stay 0 however often it is handed off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    /// The number of the last input applied.
    pub last_seq: u32,
    /// Inputs applied.
    pub applied: u32,
    /// Inputs that came although their number had been applied.
    pub doubled: u32,
    /// Numbers that never came before a higher one.
    pub skipped: u32,
}

/// The length of an encoded ledger.
const LEDGER_BYTES: usize = 16;

impl Ledger {
    /// Enters an input; says whether to apply it.
    pub fn enter(&mut self, seq: u32) -> bool {
        if seq <= self.last_seq {
            self.doubled = self.doubled.saturating_add(1);
            return false;
        }
        self.skipped = self.skipped.saturating_add(seq - self.last_seq - 1);
        self.applied = self.applied.saturating_add(1);
        self.last_seq = seq;
        true
    }

    pub(super) fn encode(self) -> [u8; LEDGER_BYTES] {
        let mut bytes = [0; LEDGER_BYTES];
        for (index, number) in
            [self.last_seq, self.applied, self.doubled, self.skipped].into_iter().enumerate()
        {
            bytes[4 * index..4 * index + 4].copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (numbers, []) = bytes.as_chunks::<4>() else { return None };
        let [last_seq, applied, doubled, skipped] = *numbers else { return None };
        let number = u32::from_le_bytes;
        Some(Self {
            last_seq: number(last_seq),
            applied: number(applied),
            doubled: number(doubled),
            skipped: number(skipped),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_sees_what_was_doubled_and_what_was_skipped() {
        let mut ledger = Ledger::default();
        let taken = [1, 2, 2, 5, 3, 6].map(|seq| ledger.enter(seq));
        assert_eq!(taken, [true, true, false, true, false, true]);
        assert_eq!(ledger, Ledger { last_seq: 6, applied: 4, doubled: 2, skipped: 2 });
    }

    #[test]
    fn the_ledger_survives_its_bytes_and_nothing_else_is_one() {
        let ledger = Ledger { last_seq: 6, applied: 4, doubled: 2, skipped: u32::MAX };
        assert_eq!(Ledger::decode(&ledger.encode()), Some(ledger));
        assert_eq!(Ledger::decode(&ledger.encode()[..15]), None);
        assert_eq!(Ledger::decode(&[0; 20]), None);
    }
}
