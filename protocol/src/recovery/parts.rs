//! Long lists in parts: split for the wire, and joined again whatever order they come in.

use std::collections::BTreeMap;

use crate::limits::{CLAIMS_PER_MESSAGE, RECOVERY_PARTS_MAX};

/// Cuts a list into parts of at most [`CLAIMS_PER_MESSAGE`]. An empty list is one empty part: silence says nothing.
#[must_use]
pub fn split<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    items.chunks(CLAIMS_PER_MESSAGE).map(<[T]>::to_vec).collect()
}

/// What became of a part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offered {
    /// It was the last that was missing.
    Complete,
    /// More are missing.
    Waiting,
    /// It was there already.
    Duplicate,
    /// Its numbers can't be, or are not those of the parts before it.
    Malformed,
}

/// Collects the parts of one list. Who mixes two lists is the caller's to prevent: one joiner for each.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Joiner<T> {
    /// How many there are; 0 while none has come.
    parts: u32,
    received: BTreeMap<u32, Vec<T>>,
}

impl<T> Default for Joiner<T> {
    fn default() -> Self {
        Self { parts: 0, received: BTreeMap::new() }
    }
}

impl<T> Joiner<T> {
    /// Takes part number `part` of `parts`.
    pub fn offer(&mut self, part: u32, parts: u32, items: Vec<T>) -> Offered {
        let possible = part < parts && parts <= RECOVERY_PARTS_MAX && items.len() <= CLAIMS_PER_MESSAGE;
        if !possible || (self.parts != 0 && self.parts != parts) {
            return Offered::Malformed;
        }
        if self.received.contains_key(&part) {
            return Offered::Duplicate;
        }
        self.parts = parts;
        self.received.insert(part, items);
        if self.is_complete() { Offered::Complete } else { Offered::Waiting }
    }

    /// Whether every part is here.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.parts != 0 && self.received.len() == self.parts as usize
    }

    /// What is here so far, in the order of the parts.
    pub fn items(&self) -> impl Iterator<Item = &T> {
        self.received.values().flatten()
    }

    /// Everything, in the order of the parts.
    #[must_use]
    pub fn into_items(self) -> Vec<T> {
        self.received.into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_in_any_order_and_doubled_make_the_list_again() {
        let list: Vec<usize> = (0..2 * CLAIMS_PER_MESSAGE + 5).collect();
        let parts = split(&list);
        assert_eq!(parts.len(), 3);
        let mut joiner = Joiner::default();
        assert_eq!(joiner.offer(2, 3, parts[2].clone()), Offered::Waiting);
        assert_eq!(joiner.offer(0, 3, parts[0].clone()), Offered::Waiting);
        assert_eq!(joiner.offer(2, 3, parts[2].clone()), Offered::Duplicate);
        assert_eq!(joiner.offer(1, 3, parts[1].clone()), Offered::Complete);
        assert_eq!(joiner.offer(1, 3, parts[1].clone()), Offered::Duplicate, "it completes once");
        assert_eq!(joiner.into_items(), list);
    }

    #[test]
    fn an_empty_list_is_one_part() {
        let mut joiner = Joiner::<u32>::default();
        assert!(!joiner.is_complete(), "nothing has come");
        assert_eq!(joiner.offer(0, 1, split(&[]).remove(0)), Offered::Complete);
        assert!(joiner.into_items().is_empty());
    }

    #[test]
    fn impossible_part_numbers_change_nothing() {
        let mut joiner = Joiner::default();
        for (part, parts) in [(0, 0), (1, 1), (3, 2), (0, RECOVERY_PARTS_MAX + 1), (u32::MAX, u32::MAX)] {
            assert_eq!(joiner.offer(part, parts, vec![1]), Offered::Malformed, "{part} of {parts}");
        }
        assert_eq!(joiner.offer(0, 2, vec![1]), Offered::Waiting);
        assert_eq!(joiner.offer(1, 3, vec![2]), Offered::Malformed, "another number of parts than before");
        assert_eq!(joiner.offer(1, 2, vec![3; CLAIMS_PER_MESSAGE + 1]), Offered::Malformed, "too long");
        assert_eq!(joiner.offer(1, 2, vec![3]), Offered::Complete);
        assert_eq!(joiner.into_items(), [1, 3]);
    }
}
