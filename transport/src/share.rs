//! A sender's share of a channel that others send to as well: one link that floods must not fill it for all.
//!
//! Who has used up their share waits until the consumer has taken some of it. Nobody says when that is, so they look again
//! after a short nap; by then the consumer has not nearly worked off a share.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// What one sender has in the channel.
#[derive(Debug, Default)]
pub(crate) struct Share(Mutex<Sent>);

#[derive(Debug, Default)]
struct Sent {
    /// Number in the channel, counted from its beginning, and size of each event; the oldest first.
    events: VecDeque<(u64, usize)>,
    bytes: usize,
}

impl Share {
    /// Whether an event of so many bytes fits, where so many events have been taken off the channel since its beginning. One
    /// always fits where there is nothing else of this sender's.
    pub(crate) fn has_room(&self, bytes: usize, taken: u64, events_max: usize, bytes_max: usize) -> bool {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((_, bytes)) = sent.events.pop_front_if(|(number, _)| *number < taken) {
            sent.bytes -= bytes;
        }
        sent.events.is_empty() || (sent.events.len() < events_max && sent.bytes + bytes <= bytes_max)
    }

    /// The event with this number is in the channel.
    pub(crate) fn add(&self, number: u64, bytes: usize) {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent.events.push_back((number, bytes));
        sent.bytes += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_bounded_in_events_and_bytes_and_what_was_taken_counts_no_more() {
        let share = Share::default();
        let has_room = |bytes, taken| share.has_room(bytes, taken, 3, 100);
        assert!(has_room(500, 0), "a large one fits where nothing else is");
        share.add(7, 60);
        assert!(has_room(40, 0) && !has_room(41, 0));
        share.add(9, 20);
        share.add(10, 20);
        assert!(!has_room(0, 7), "three are there, and the one with number 7 is the next");
        assert!(has_room(60, 8) && !has_room(61, 8));
        assert!(has_room(500, 11));
    }
}
