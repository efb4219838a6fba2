//! The inputs of one player at one node: applied in consecutive order, whatever order they come in.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::id::InputSeq;
use crate::limits::{INPUT_BYTES_MAX, INPUT_WINDOW};
use crate::wire::InputMessage;

/// What became of an input that came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offer {
    /// It is kept until its turn.
    Taken,
    /// It is here already, or was applied.
    Known,
    /// It is too long or too far ahead: the client repeats it.
    Refused,
}

/// Inputs from the last one that the game has confirmed on.
#[derive(Clone, Debug)]
pub struct InputQueue {
    /// The last input that the game's published state includes.
    confirmed: InputSeq,
    /// The last input given to the game. Invariant: not below `confirmed`.
    delivered: InputSeq,
    /// Everything known above `confirmed`.
    known: BTreeMap<InputSeq, Bytes>,
}

impl InputQueue {
    /// Starts behind the last input that the entity's state includes.
    #[must_use]
    pub const fn new(applied: InputSeq) -> Self {
        Self { confirmed: applied, delivered: applied, known: BTreeMap::new() }
    }

    /// The last input that the game's published state includes.
    #[must_use]
    pub const fn confirmed(&self) -> InputSeq {
        self.confirmed
    }

    /// Takes an input that came in.
    pub fn offer(&mut self, seq: InputSeq, bytes: Bytes) -> Offer {
        if seq <= self.delivered || self.known.contains_key(&seq) {
            return Offer::Known;
        }
        if bytes.len() > INPUT_BYTES_MAX || seq.0 - self.confirmed.0 > INPUT_WINDOW {
            return Offer::Refused;
        }
        self.known.insert(seq, bytes);
        Offer::Taken
    }

    /// The next input for the game, if the one before it was delivered. After the last number there is none.
    pub fn poll_deliver(&mut self) -> Option<(InputSeq, Bytes)> {
        let next = self.delivered.next();
        if next == self.delivered {
            return None;
        }
        let bytes = self.known.get(&next)?.clone();
        self.delivered = next;
        Some((next, bytes))
    }

    /// The game's state includes everything up to `applied`.
    pub fn confirm(&mut self, applied: InputSeq) {
        if applied <= self.confirmed {
            return;
        }
        self.confirmed = applied;
        self.delivered = self.delivered.max(applied);
        self.known = self.known.split_off(&applied.next());
    }

    /// The game stopped at `applied`: what it was given after that counts as not delivered.
    pub fn rewind(&mut self, applied: InputSeq) {
        self.confirm(applied);
        self.delivered = self.confirmed;
    }

    /// Everything known that the game's state does not include, in order.
    #[must_use]
    pub fn pending(&self) -> Vec<InputMessage> {
        self.known.iter().map(|(&seq, bytes)| InputMessage { seq, bytes: bytes.to_vec() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(seq: u32) -> (InputSeq, Bytes) {
        (InputSeq(seq), Bytes::from(seq.to_le_bytes().to_vec()))
    }

    fn offer(queue: &mut InputQueue, seq: u32) -> Offer {
        let (seq, bytes) = input(seq);
        queue.offer(seq, bytes)
    }

    fn delivered(queue: &mut InputQueue) -> Vec<u32> {
        core::iter::from_fn(|| queue.poll_deliver()).map(|(seq, _)| seq.0).collect()
    }

    #[test]
    fn inputs_are_delivered_once_and_in_order_whatever_order_they_come_in() {
        let mut queue = InputQueue::new(InputSeq(10));
        assert_eq!(offer(&mut queue, 12), Offer::Taken);
        assert_eq!(delivered(&mut queue), Vec::<u32>::new());
        assert_eq!(offer(&mut queue, 11), Offer::Taken);
        assert_eq!(offer(&mut queue, 11), Offer::Known);
        assert_eq!(delivered(&mut queue), [11, 12]);
        assert_eq!(offer(&mut queue, 10), Offer::Known);
    }

    #[test]
    fn what_the_game_did_not_apply_before_the_freeze_is_pending_again() {
        let mut queue = InputQueue::new(InputSeq(0));
        for seq in 1..=5 {
            offer(&mut queue, seq);
        }
        assert_eq!(delivered(&mut queue), [1, 2, 3, 4, 5]);
        queue.rewind(InputSeq(3));
        assert_eq!(queue.pending().iter().map(|input| input.seq.0).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(delivered(&mut queue), [4, 5]);
    }

    #[test]
    fn the_last_number_is_delivered_once() {
        let mut queue = InputQueue::new(InputSeq(u32::MAX - 1));
        assert_eq!(offer(&mut queue, u32::MAX), Offer::Taken);
        assert_eq!(queue.poll_deliver().map(|(seq, _)| seq), Some(InputSeq(u32::MAX)));
        assert_eq!(queue.poll_deliver(), None);
        queue.confirm(InputSeq(u32::MAX));
        assert_eq!(offer(&mut queue, u32::MAX), Offer::Known);
    }

    #[test]
    fn the_window_bounds_what_is_kept() {
        let mut queue = InputQueue::new(InputSeq(0));
        assert_eq!(offer(&mut queue, INPUT_WINDOW), Offer::Taken);
        assert_eq!(offer(&mut queue, INPUT_WINDOW + 1), Offer::Refused);
        let long = Bytes::from(vec![0; INPUT_BYTES_MAX + 1]);
        assert_eq!(queue.offer(InputSeq(1), long), Offer::Refused);
    }
}
