//! A voter's memory.

use std::collections::BTreeMap;

use core::time::Duration;

use crate::id::Peer;
use crate::recovery::FencedLives;
use crate::time::Time;

/// Who was answered within this part of a lease asks often enough to be taken for alive.
const LIVELY: u32 = 3;

/// What a voter says when it is asked to answer a life no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plea {
    /// Never again. How long ago it was answered last; none if that is so long ago that no lease can run from it, or never
    /// was.
    Promised(Option<Duration>),
    /// It is alive: it asked just now. Nothing is promised.
    Lively,
}

/// Whom a voter has answered, and whom it will answer no more.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Witness {
    /// How long an answer counts at most.
    lease: Duration,
    answered: BTreeMap<Peer, Time>,
    /// The lives that were given up.
    promised: FencedLives,
}

impl Witness {
    /// A voter in a mesh whose leases last `lease` at most.
    #[must_use]
    pub fn new(lease: Duration) -> Self {
        Self { lease, answered: BTreeMap::new(), promised: FencedLives::new() }
    }

    /// A renewal has come: whether it is to be answered.
    pub fn renew(&mut self, of: Peer, now: Time) -> bool {
        if self.has_promised(of) {
            return false;
        }
        // No lease that an older answer granted can still run.
        let forget_after = self.lease * 8;
        self.answered.retain(|_, &mut at| now.since(at) < forget_after);
        self.answered.insert(of, now);
        true
    }

    /// Is asked to answer that life no more. Whoever is cut off from the coordinator alone is not to die of it: a voter that
    /// hears them promises nothing.
    pub fn promise(&mut self, of: Peer, now: Time) -> Plea {
        let ago = self.answered_ago(of, now);
        if !self.has_promised(of) && ago.is_some_and(|ago| ago < self.lease / LIVELY) {
            return Plea::Lively;
        }
        self.promised.fence(of);
        Plea::Promised(ago)
    }

    /// How long ago that life was answered last.
    pub(super) fn answered_ago(&self, of: Peer, now: Time) -> Option<Duration> {
        self.answered.get(&of).map(|&at| now.since(at))
    }

    /// Whether that life was given up.
    #[must_use]
    pub fn has_promised(&self, of: Peer) -> bool {
        self.promised.is_fenced(of)
    }
}
