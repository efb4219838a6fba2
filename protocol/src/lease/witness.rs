//! A voter's memory.

use std::collections::BTreeMap;

use core::time::Duration;

use crate::id::Peer;
use crate::recovery::FencedLives;
use crate::time::Time;

/// Whom a voter has answered, and whom it will answer no more.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Witness {
    /// Answers older than this are forgotten: no lease that they granted can still run.
    forget_after: Duration,
    answered: BTreeMap<Peer, Time>,
    /// The lives that were given up.
    promised: FencedLives,
}

impl Witness {
    /// A voter in a mesh whose leases last `lease` at most.
    #[must_use]
    pub fn new(lease: Duration) -> Self {
        Self { forget_after: lease * 8, answered: BTreeMap::new(), promised: FencedLives::new() }
    }

    /// A renewal has come: whether it is to be answered.
    pub fn renew(&mut self, of: Peer, now: Time) -> bool {
        if self.has_promised(of) {
            return false;
        }
        let forget_after = self.forget_after;
        self.answered.retain(|_, &mut at| now.since(at) < forget_after);
        self.answered.insert(of, now);
        true
    }

    /// Promises never to answer that life again. How long ago it was answered last; none if that is so long ago that no
    /// lease can run from it, or never was.
    pub fn promise(&mut self, of: Peer, now: Time) -> Option<Duration> {
        self.promised.fence(of);
        self.answered.get(&of).map(|&at| now.since(at))
    }

    /// Whether that life was given up.
    #[must_use]
    pub fn has_promised(&self, of: Peer) -> bool {
        self.promised.is_fenced(of)
    }
}
