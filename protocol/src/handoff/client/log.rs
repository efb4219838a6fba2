//! The player's inputs, from the last durable one on: what is not applied is sent, what is applied is kept until no
//! recovery can take it back.

use std::collections::VecDeque;

use crate::id::InputSeq;
use crate::limits::{INPUT_WINDOW, INPUTS_KEPT_MAX};
use crate::wire::InputMessage;

/// What a recovery took back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct RollBack {
    /// Inputs that had been applied and are to be applied again.
    pub(super) replayed: u32,
    /// Inputs that had been applied and are not here any more. The numbers of all later ones fall by this.
    pub(super) lost: u32,
}

/// Inputs by number. Invariants: the numbers of `kept` are consecutive and end before `next`; all above `applied` are in it.
#[derive(Debug)]
pub(super) struct InputLog {
    kept: VecDeque<InputMessage>,
    next: InputSeq,
    applied: InputSeq,
    /// Up to here inputs were applied before the last recovery.
    replay_until: InputSeq,
    forgotten: u64,
}

impl InputLog {
    pub(super) const fn new() -> Self {
        Self {
            kept: VecDeque::new(),
            next: InputSeq(1),
            applied: InputSeq(0),
            replay_until: InputSeq(0),
            forgotten: 0,
        }
    }

    /// The number of the last input taken; 0 before the first.
    pub(super) const fn last(&self) -> InputSeq {
        InputSeq(self.next.0 - 1)
    }

    /// Inputs that are not applied.
    pub(super) const fn unapplied(&self) -> usize {
        (self.last().0 - self.applied.0) as usize
    }

    /// Inputs that are applied, or not yet, and could be sent again.
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Inputs that went before they were durable, because too many were kept.
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Whether inputs are under way again that had been applied before a recovery.
    pub(super) fn is_replaying(&self) -> bool {
        self.applied < self.replay_until
    }

    /// Numbers an input and keeps it; false if too many are not applied.
    pub(super) fn take(&mut self, bytes: Vec<u8>) -> bool {
        if self.unapplied() >= INPUT_WINDOW as usize {
            return false;
        }
        self.kept.push_back(InputMessage { seq: self.next, bytes });
        self.next = self.next.next();
        if self.kept.len() > INPUTS_KEPT_MAX {
            // More than a window is kept, so this one was applied.
            self.kept.pop_front();
            self.forgotten += 1;
        }
        true
    }

    /// The authority that is followed says how far it has come.
    pub(super) fn hear(&mut self, applied: InputSeq, durable: InputSeq) {
        if applied > self.last() {
            // Whoever comes back without a memory of its inputs goes on behind what the world has seen.
            self.kept.clear();
            self.next = applied.next();
        }
        self.applied = self.applied.max(applied);
        let durable = durable.min(self.applied);
        while self.kept.front().is_some_and(|input| input.seq <= durable) {
            self.kept.pop_front();
        }
    }

    /// The entity was restored from a copy that includes no input above `applied`.
    pub(super) fn roll_back(&mut self, applied: InputSeq, durable: InputSeq) -> RollBack {
        let before = self.applied;
        if applied >= before {
            self.hear(applied, durable);
            return RollBack::default();
        }
        let taken_back = before.0 - applied.0;
        let oldest = self.kept.front().map_or(self.next, |input| input.seq);
        // Nodes take consecutive numbers only: a gap would shut out every later input.
        let lost = oldest.0.saturating_sub(applied.next().0);
        for input in &mut self.kept {
            input.seq.0 -= lost;
        }
        self.next.0 -= lost;
        self.applied = applied;
        self.replay_until = InputSeq(before.0.max(self.replay_until.0) - lost);
        self.hear(applied, durable);
        RollBack { replayed: taken_back - lost, lost }
    }

    /// What a node would take now, in order: nothing further ahead of the last applied one than its window.
    pub(super) fn sendable(&self) -> impl DoubleEndedIterator<Item = &InputMessage> {
        let oldest = self.kept.len() - self.unapplied();
        self.kept.range(oldest..).take(INPUT_WINDOW as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log with inputs 1 to `last`, each holding its number, of which some are applied and durable.
    fn log(last: u32, applied: u32, durable: u32) -> InputLog {
        let mut log = InputLog::new();
        for seq in 1..=last {
            assert!(log.take(seq.to_le_bytes().to_vec()));
            log.hear(InputSeq(seq.min(applied)), InputSeq(durable));
        }
        log
    }

    fn numbers(log: &InputLog) -> Vec<u32> {
        log.sendable().map(|input| input.seq.0).collect()
    }

    fn contents(log: &InputLog) -> Vec<u32> {
        log.sendable().map(|input| u32::from_le_bytes(input.bytes[..].try_into().unwrap())).collect()
    }

    #[test]
    fn an_applied_input_is_kept_until_it_is_durable() {
        let mut log = log(10, 8, 3);
        assert_eq!((log.kept(), log.unapplied()), (7, 2));
        log.hear(InputSeq(8), InputSeq(8));
        assert_eq!((log.kept(), numbers(&log)), (2, vec![9, 10]));
        log.hear(InputSeq(10), InputSeq(u32::MAX));
        assert_eq!((log.kept(), log.last()), (0, InputSeq(10)), "nothing is durable that is not applied");
    }

    #[test]
    fn what_a_recovery_took_back_is_sent_again_in_order() {
        let mut log = log(10, 8, 3);
        let back = log.roll_back(InputSeq(5), InputSeq(5));
        assert_eq!(back, RollBack { replayed: 3, lost: 0 });
        assert_eq!(numbers(&log), [6, 7, 8, 9, 10]);
        assert!(log.is_replaying());
        log.hear(InputSeq(8), InputSeq(5));
        assert!(!log.is_replaying());
        assert_eq!((numbers(&log), log.kept()), (vec![9, 10], 5));
    }

    #[test]
    fn a_recovery_from_before_the_oldest_kept_input_closes_the_gap_and_says_what_is_lost() {
        let mut log = log(10, 8, 6);
        let back = log.roll_back(InputSeq(3), InputSeq(3));
        assert_eq!(back, RollBack { replayed: 2, lost: 3 });
        assert_eq!(numbers(&log), [4, 5, 6, 7]);
        assert_eq!(contents(&log), [7, 8, 9, 10]);
        assert_eq!(log.last(), InputSeq(7));
        assert!(log.is_replaying());
        log.hear(InputSeq(5), InputSeq(3));
        assert!(!log.is_replaying(), "both that had been applied before are again");
        assert!(log.take(Vec::new()));
        assert_eq!(log.last(), InputSeq(8));
    }

    #[test]
    fn a_copy_that_includes_everything_takes_nothing_back() {
        let mut log = log(10, 8, 3);
        assert_eq!(log.roll_back(InputSeq(9), InputSeq(9)), RollBack::default());
        assert_eq!(numbers(&log), [10]);
    }

    #[test]
    fn whoever_comes_back_without_a_memory_goes_on_behind_what_the_world_has_seen() {
        let mut log = InputLog::new();
        log.hear(InputSeq(100), InputSeq(90));
        assert!(log.take(Vec::new()));
        assert_eq!(numbers(&log), [101]);
        // The world forgets more than this program ever knew.
        log.hear(InputSeq(101), InputSeq(90));
        assert_eq!(log.roll_back(InputSeq(95), InputSeq(95)), RollBack { replayed: 1, lost: 5 });
        assert_eq!(numbers(&log), [96]);
    }

    #[test]
    fn when_too_many_are_kept_the_oldest_go_and_are_counted_and_none_that_is_not_applied() {
        let most = u32::try_from(INPUTS_KEPT_MAX).unwrap();
        let mut log = log(most + 5, most, 0);
        assert_eq!((log.kept(), log.forgotten()), (INPUTS_KEPT_MAX, 5));
        assert_eq!(numbers(&log).len(), 5);
        let back = log.roll_back(InputSeq(0), InputSeq(0));
        assert_eq!(back, RollBack { replayed: most - 5, lost: 5 });
    }

    #[test]
    fn a_replay_is_sent_window_by_window_and_takes_no_new_input_meanwhile() {
        let mut log = log(1_000, 1_000, 0);
        log.roll_back(InputSeq(100), InputSeq(100));
        assert_eq!(numbers(&log), (101..=100 + INPUT_WINDOW).collect::<Vec<_>>());
        assert!(!log.take(Vec::new()));
        log.hear(InputSeq(900), InputSeq(100));
        assert_eq!(numbers(&log), (901..=1_000).collect::<Vec<_>>());
        assert!(log.take(Vec::new()));
    }

    #[test]
    fn a_second_recovery_during_a_replay_starts_it_anew() {
        let mut log = log(10, 8, 2);
        log.roll_back(InputSeq(4), InputSeq(4));
        log.hear(InputSeq(6), InputSeq(4));
        assert_eq!(log.roll_back(InputSeq(4), InputSeq(4)), RollBack { replayed: 2, lost: 0 });
        assert!(log.is_replaying());
        log.hear(InputSeq(8), InputSeq(4));
        assert!(!log.is_replaying());
    }
}
