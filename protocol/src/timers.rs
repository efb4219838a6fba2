//! Deadlines by key: at most one for each.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Time;

/// A set of deadlines.
#[derive(Clone, Debug)]
pub(crate) struct Timers<K> {
    by_key: BTreeMap<K, Time>,
    by_time: BTreeSet<(Time, K)>,
}

impl<K: Ord + Copy> Timers<K> {
    pub(crate) const fn new() -> Self {
        Self { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }

    /// Sets the deadline of `key`, in place of the one it had.
    pub(crate) fn set(&mut self, key: K, at: Time) {
        if let Some(former) = self.by_key.insert(key, at) {
            self.by_time.remove(&(former, key));
        }
        self.by_time.insert((at, key));
    }

    /// Sets the deadline of `key` unless it has an earlier one.
    pub(crate) fn set_earlier(&mut self, key: K, at: Time) {
        if self.by_key.get(&key).is_none_or(|&former| at < former) {
            self.set(key, at);
        }
    }

    pub(crate) fn cancel(&mut self, key: K) {
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&(at, key));
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<(Time, K)> {
        self.by_time.first().copied()
    }

    /// Takes the earliest deadline that has come.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<K> {
        let &(at, key) = self.by_time.first()?;
        if at > now {
            return None;
        }
        self.by_time.pop_first();
        self.by_key.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_deadline() {
        let mut timers = Timers::new();
        timers.set('a', Time::from_micros(5));
        timers.set('a', Time::from_micros(9));
        timers.set_earlier('a', Time::from_micros(12));
        timers.set('b', Time::from_micros(7));
        assert_eq!(timers.next(), Some((Time::from_micros(7), 'b')));
        assert_eq!(timers.pop_due(Time::from_micros(8)), Some('b'));
        assert_eq!(timers.pop_due(Time::from_micros(8)), None);
        timers.cancel('a');
        assert_eq!(timers.next(), None);
    }
}
