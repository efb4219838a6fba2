//! A target's debts: the source of each handoff keeps what it gave away until it hears that it is safe here.

use std::collections::BTreeMap;

use core::time::Duration;

use crate::id::{HandoffId, Peer};
use crate::limits::{SETTLED_PER_MESSAGE_MAX, SETTLING_MAX};
use crate::time::Time;

/// Pause before the first repeat; it doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(32);

/// Handoffs that this node received and has not settled with their sources.
#[derive(Debug, Default)]
pub struct Settling {
    waiting: BTreeMap<HandoffId, Peer>,
    safe: BTreeMap<HandoffId, Safe>,
}

#[derive(Debug)]
struct Safe {
    source: Peer,
    due_at: Time,
    pause: Duration,
}

impl Settling {
    /// Nothing was received yet.
    #[must_use]
    pub const fn empty() -> Self {
        Self { waiting: BTreeMap::new(), safe: BTreeMap::new() }
    }

    /// This node took an entity over.
    pub fn received(&mut self, id: HandoffId, source: Peer) {
        if self.waiting.len() >= SETTLING_MAX {
            self.waiting.pop_first();
        }
        self.waiting.insert(id, source);
    }

    /// What waits to be safe.
    pub fn waiting(&self) -> impl Iterator<Item = HandoffId> + '_ {
        self.waiting.keys().copied()
    }

    /// What was taken over is safe here: the source is to hear it.
    pub fn settle(&mut self, id: HandoffId, now: Time) {
        if let Some(source) = self.waiting.remove(&id) {
            if self.safe.len() >= SETTLING_MAX {
                self.safe.pop_first();
            }
            self.safe.insert(id, Safe { source, due_at: now, pause: PAUSE });
        }
    }

    /// The source has heard it.
    pub fn forgotten(&mut self, id: HandoffId, source: Peer) {
        if self.safe.get(&id).is_some_and(|safe| safe.source == source) {
            self.safe.remove(&id);
        }
    }

    /// Sources whose life `is_over` need not hear anything any more.
    pub fn forget_dead(&mut self, is_over: impl Fn(Peer) -> bool) {
        self.waiting.retain(|_, source| !is_over(*source));
        self.safe.retain(|_, safe| !is_over(safe.source));
    }

    /// What is to be said now, and to whom; at most one message's worth for each source.
    pub fn poll_due(&mut self, now: Time) -> BTreeMap<Peer, Vec<HandoffId>> {
        let mut due: BTreeMap<Peer, Vec<HandoffId>> = BTreeMap::new();
        for (&id, safe) in self.safe.iter_mut().filter(|(_, safe)| safe.due_at <= now) {
            let ids = due.entry(safe.source).or_default();
            if ids.len() < SETTLED_PER_MESSAGE_MAX {
                ids.push(id);
                safe.due_at = now + safe.pause;
                safe.pause = (safe.pause * 2).min(PAUSE_MAX);
            }
        }
        due
    }

    /// When something is to be said.
    #[must_use]
    pub fn due_at(&self) -> Option<Time> {
        self.safe.values().map(|safe| safe.due_at).min()
    }
}
