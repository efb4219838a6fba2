//! The receiver's half: what was performed, for as long as it may be asked again.
//!
//! A plain action is remembered until its sender says that it is settled, or its deadline has passed: what is asked
//! later is refused as too late. A durable one is remembered until its sender has closed it as well, or
//! is gone for good.

use std::collections::BTreeMap;

use super::{ActionId, ActionNumber, Outcome, Request};
use crate::id::EntityId;
use crate::limits::{ACTION_TICKS_MAX, ACTIONS_REMEMBERED_MAX, SENDERS_REMEMBERED_MAX, UNCLOSED_TICKS};
use crate::time::Tick;

/// What a receiver makes of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Offer {
    /// Perform it, and [`remember`](Window::remember) what came of it in the same tick.
    Fresh,
    /// It was performed: this came of it, in that tick.
    Known {
        /// What.
        outcome: Outcome,
        /// When.
        at: Tick,
    },
    /// Its time was over before it came, and it was never performed.
    Late,
    /// Its sender has settled it, or there is no room for it now: say nothing.
    Ignored,
}

/// What came of an action.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remembered {
    /// Whether it stays until its sender closes it.
    pub durable: bool,
    /// The receiver's tick in which it was performed.
    pub at: Tick,
    /// The last tick in which a repeat of it could be performed.
    pub deadline: Tick,
    /// What came of it.
    pub outcome: Outcome,
}

/// Everything remembered of one sender.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct FromSender {
    /// What it numbered below is settled.
    pub(super) floor: ActionNumber,
    /// Until then something below the floor might still come and not be late.
    pub(super) floor_until: Tick,
    pub(super) answers: BTreeMap<ActionNumber, Remembered>,
}

/// The receiver's half of a book. See the module's page.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Window {
    pub(super) senders: BTreeMap<EntityId, FromSender>,
}

impl Window {
    /// Whether the request is new, in the receiver's tick `tick`.
    pub fn offer(&mut self, request: &Request, tick: Tick) -> Offer {
        let Request { id, low, deadline, .. } = request;
        if let Some(known) = self.senders.get_mut(&id.from) {
            known.raise_floor(*low);
            if let Some(Remembered { outcome, at, .. }) = known.answers.get(&id.number) {
                return Offer::Known { outcome: outcome.clone(), at: *at };
            }
            if id.number < known.floor {
                return Offer::Ignored;
            }
        }
        if tick > *deadline {
            return Offer::Late;
        }
        // Nobody issues such a deadline: it would be remembered for ever.
        if deadline.0 > tick.0.saturating_add(2 * ACTION_TICKS_MAX) {
            return Offer::Ignored;
        }
        self.forget_old(tick);
        let known = self.senders.contains_key(&id.from);
        if self.answers() >= ACTIONS_REMEMBERED_MAX || !known && self.senders.len() >= SENDERS_REMEMBERED_MAX
        {
            return Offer::Ignored;
        }
        Offer::Fresh
    }

    /// What came of a request that was [`Fresh`](Offer::Fresh).
    pub fn remember(&mut self, request: &Request, outcome: Outcome, tick: Tick) {
        let &Request { id, low, deadline, durable, .. } = request;
        let known = self.senders.entry(id.from).or_default();
        known.raise_floor(low);
        known.floor_until = known.floor_until.max(deadline);
        known.answers.insert(id.number, Remembered { durable, at: tick, deadline, outcome });
    }

    /// The sender knows the answer for good: nothing binds the receiver any more. Until its deadline it is remembered all
    /// the same, like a plain one: a repeat of it may still be on its way. Says whether it was bound.
    pub fn close(&mut self, id: ActionId) -> bool {
        let known = self.senders.get_mut(&id.from);
        let remembered = known.and_then(|known| known.answers.get_mut(&id.number));
        remembered.is_some_and(|remembered| core::mem::take(&mut remembered.durable))
    }

    /// Senders that have not closed a durable action, [`UNCLOSED_TICKS`] past its deadline: perhaps they are no more.
    pub fn unclosed(&self, tick: Tick) -> impl Iterator<Item = EntityId> + '_ {
        let late = move |known: &FromSender| known.answers.values().any(|it| it.is_unclosed(tick));
        self.senders.iter().filter(move |(_, known)| late(known)).map(|(&from, _)| from)
    }

    /// The sender is gone for good: what it has not closed by now, nobody will. Says whether anything changed.
    pub fn forsake(&mut self, from: EntityId, tick: Tick) -> bool {
        let Some(known) = self.senders.get_mut(&from) else {
            return false;
        };
        let before = known.answers.len();
        known.answers.retain(|_, remembered| !remembered.is_unclosed(tick));
        before != known.answers.len()
    }

    /// Forgets what can't be asked any more. Says whether anything changed.
    pub fn forget_old(&mut self, tick: Tick) -> bool {
        let before = (self.senders.len(), self.answers());
        for known in self.senders.values_mut() {
            known.answers.retain(|_, remembered| remembered.durable || tick <= remembered.deadline);
        }
        self.senders.retain(|_, known| !known.answers.is_empty() || tick <= known.floor_until);
        before != (self.senders.len(), self.answers())
    }

    /// Whether a durable action is remembered that its sender may still ask about.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.senders.values().any(|known| known.answers.values().any(|remembered| remembered.durable))
    }

    fn answers(&self) -> usize {
        self.senders.values().map(|known| known.answers.len()).sum()
    }
}

impl Remembered {
    fn is_unclosed(&self, tick: Tick) -> bool {
        self.durable && tick.0 > self.deadline.0.saturating_add(UNCLOSED_TICKS)
    }
}

impl FromSender {
    fn raise_floor(&mut self, low: ActionNumber) {
        if low > self.floor {
            self.floor = low;
            self.answers.retain(|&number, remembered| remembered.durable || number >= low);
        }
    }
}
