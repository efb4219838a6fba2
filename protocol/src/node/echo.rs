//! The times that this process put into its questions. An answer brings one of them back; one that brings another was meant
//! for a former process of the same node, whose clock was another.

use std::collections::VecDeque;

use crate::time::Time;

/// Questions remembered: many more than are sent within one lease.
const KEPT: usize = 64;

/// When questions were sent, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Echo {
    sent_at: VecDeque<Time>,
}

impl Echo {
    /// A question goes out.
    pub(super) fn sends(&mut self, now: Time) {
        if self.sent_at.back() == Some(&now) {
            return;
        }
        if self.sent_at.len() == KEPT {
            self.sent_at.pop_front();
        }
        self.sent_at.push_back(now);
    }

    /// Whether this process sent a question then.
    pub(super) fn knows(&self, sent_at: Time) -> bool {
        self.sent_at.contains(&sent_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_lately_comes_back() {
        let mut echo = Echo::default();
        let at = |micros: usize| Time::from_micros(micros as u64);
        for micros in 1..=KEPT + 1 {
            echo.sends(at(micros));
            echo.sends(at(micros));
        }
        assert_eq!((echo.knows(at(0)), echo.knows(at(1)), echo.knows(at(2))), (false, false, true));
        assert!(echo.knows(at(KEPT + 1)) && !echo.knows(at(KEPT + 2)));
    }
}
