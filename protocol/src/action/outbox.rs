//! The sender's half: actions that wait for an answer, and durable ones whose receiver may forget them now.

use std::collections::BTreeMap;

use super::{ActError, ActionNumber, Outcome, Terms};
use crate::id::EntityId;
use crate::limits::{ACTION_BYTES_MAX, ACTION_TICKS_MAX, ACTIONS_PENDING_MAX};
use crate::time::Tick;

/// An action without an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pending {
    /// To whom.
    pub to: EntityId,
    /// Whether no single crash may undo one half of it.
    pub durable: bool,
    /// The sender's tick in which it was issued.
    pub at: Tick,
    /// The last tick of the receiver in which it may be performed.
    pub deadline: Tick,
    /// What the game says.
    pub bytes: Vec<u8>,
}

/// A durable action that is answered, and that its receiver still remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closing {
    /// Whose window it is in.
    pub to: EntityId,
    /// The sender's tick in which it was answered.
    pub at: Tick,
}

/// What an answer leaves to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// Nothing.
    Over,
    /// The receiver is to forget it.
    Closing,
}

/// The sender's half of a book. See the module's page.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Outbox {
    pub(super) issued: u64,
    pub(super) pending: BTreeMap<ActionNumber, Pending>,
    pub(super) closing: BTreeMap<ActionNumber, Closing>,
}

impl Outbox {
    /// Adds an action of `from`, issued in `tick` by an authority of this generation.
    ///
    /// # Errors
    /// If it is too long, or too many are unsettled.
    pub fn issue(
        &mut self,
        from: EntityId,
        generation: u32,
        to: EntityId,
        bytes: &[u8],
        terms: Terms,
        tick: Tick,
    ) -> Result<ActionNumber, ActError> {
        if bytes.len() > ACTION_BYTES_MAX {
            return Err(ActError::TooLong { entity: from, bytes: bytes.len() });
        }
        if self.pending.len() + self.closing.len() >= ACTIONS_PENDING_MAX {
            return Err(ActError::TooMany(from));
        }
        self.issued += 1;
        let number = ActionNumber { generation, count: self.issued };
        let deadline = Tick(tick.0.saturating_add(terms.ticks.clamp(1, ACTION_TICKS_MAX)));
        let pending = Pending { to, durable: terms.durable, at: tick, deadline, bytes: bytes.to_vec() };
        self.pending.insert(number, pending);
        Ok(number)
    }

    /// An answer came, or the word that none will. None if it is no longer waited for.
    pub fn settle(&mut self, number: ActionNumber, outcome: &Outcome, tick: Tick) -> Option<Settled> {
        let pending = self.pending.remove(&number)?;
        match outcome {
            Outcome::Done(_) | Outcome::Refused(_) if pending.durable => {
                self.closing.insert(number, Closing { to: pending.to, at: tick });
                Some(Settled::Closing)
            }
            Outcome::Done(_) | Outcome::Refused(_) | Outcome::Failed(_) => Some(Settled::Over),
        }
    }

    /// The receiver has forgotten it. Says whether that was waited for.
    pub fn closed(&mut self, number: ActionNumber) -> bool {
        self.closing.remove(&number).is_some()
    }

    /// Actions whose time is over by the sender's own tick. Never a durable one: only its receiver can tell.
    pub fn overdue(&self, tick: Tick) -> impl Iterator<Item = ActionNumber> + '_ {
        let overdue = move |pending: &Pending| !pending.durable && pending.deadline < tick;
        self.pending.iter().filter(move |(_, pending)| overdue(pending)).map(|(&number, _)| number)
    }

    /// An action that waits for an answer.
    #[must_use]
    pub fn get(&self, number: ActionNumber) -> Option<&Pending> {
        self.pending.get(&number)
    }

    /// What waits for an answer, in order.
    pub fn pending(&self) -> impl Iterator<Item = (ActionNumber, &Pending)> {
        self.pending.iter().map(|(&number, pending)| (number, pending))
    }

    /// What its receiver is to forget, in order.
    pub fn closing(&self) -> impl Iterator<Item = (ActionNumber, Closing)> + '_ {
        self.closing.iter().map(|(&number, &closing)| (number, closing))
    }

    /// Whether a durable action is not settled to its end.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        !self.closing.is_empty() || self.pending.values().any(|pending| pending.durable)
    }
}
