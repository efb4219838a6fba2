//! What goes between the core and the game side about actions.

use crate::action::{ActionId, ActionNumber, Closing, Outcome, Pending, Request};
use crate::id::{AuthorityEpoch, EntityId};
use crate::time::Tick;

/// What the core wants of the game side about actions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ActionCommand {
    /// Have the game do it, unless it did.
    Perform {
        /// Who is to do it.
        entity: EntityId,
        /// Only under this grant.
        grant: AuthorityEpoch,
        /// What.
        request: Request,
    },
    /// Tell the sender's game what came of it, unless it was told.
    Settle {
        /// Who acted.
        entity: EntityId,
        /// Only under this grant.
        grant: AuthorityEpoch,
        /// Which of its actions.
        number: ActionNumber,
        /// What came of it.
        outcome: Outcome,
    },
    /// Forget a durable action: its sender knows the answer for good.
    Close {
        /// Who remembers it.
        entity: EntityId,
        /// Only under this grant.
        grant: AuthorityEpoch,
        /// Which.
        id: ActionId,
    },
    /// Forget the durable actions that a sender has not closed in time: it is gone for good.
    Forsake {
        /// Who remembers them.
        entity: EntityId,
        /// Only under this grant.
        grant: AuthorityEpoch,
        /// Whose actions.
        from: EntityId,
    },
    /// The receiver has forgotten it: so may the sender.
    Closed {
        /// Who acted.
        entity: EntityId,
        /// Only under this grant.
        grant: AuthorityEpoch,
        /// Which of its actions.
        number: ActionNumber,
    },
}

impl ActionCommand {
    /// Whose it is.
    #[must_use]
    pub const fn entity(&self) -> EntityId {
        match self {
            Self::Perform { entity, .. }
            | Self::Settle { entity, .. }
            | Self::Close { entity, .. }
            | Self::Forsake { entity, .. }
            | Self::Closed { entity, .. } => *entity,
        }
    }

    /// The grant under which it is meant.
    #[must_use]
    pub const fn grant(&self) -> AuthorityEpoch {
        match self {
            Self::Perform { grant, .. }
            | Self::Settle { grant, .. }
            | Self::Close { grant, .. }
            | Self::Forsake { grant, .. }
            | Self::Closed { grant, .. } => *grant,
        }
    }
}

/// What the game side reports about actions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActionReport {
    /// Whose.
    pub entity: EntityId,
    /// Under which grant.
    pub grant: AuthorityEpoch,
    /// What.
    pub news: ActionNews,
}

/// What an entity's book of actions says that it didn't before. All of it is told again where the entity is restored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ActionNews {
    /// The entity acts: carry it.
    Pending {
        /// Which.
        number: ActionNumber,
        /// To whom, what.
        action: Pending,
    },
    /// Its action is settled, and there is nothing left to do.
    Over {
        /// Which.
        number: ActionNumber,
        /// Whether it was durable.
        durable: bool,
        /// What came of it.
        outcome: Outcome,
    },
    /// Its durable action is answered: once that is safe, the receiver is to forget it.
    Closing {
        /// Which.
        number: ActionNumber,
        /// Whose window, since when.
        closing: Closing,
        /// What came of it; none where this is told again.
        outcome: Option<Outcome>,
    },
    /// It did what it was asked, or did it before.
    Performed {
        /// Which.
        id: ActionId,
        /// Whether the answer waits for a safe checkpoint.
        durable: bool,
        /// Whether it was done just now.
        fresh: bool,
        /// In which tick.
        at: Tick,
        /// What came of it.
        outcome: Outcome,
    },
    /// It was asked something that it has not done: too late, settled, or there was no room.
    NotPerformed {
        /// Which.
        id: ActionId,
        /// Whether the sender is to hear that its time is over.
        late: bool,
    },
    /// It has forgotten a durable action, or didn't know it.
    Closed {
        /// Which.
        id: ActionId,
        /// In which tick.
        at: Tick,
    },
    /// It remembers durable actions of another that should long have been closed: does their sender still live?
    Unclosed {
        /// Whose actions.
        from: EntityId,
    },
}
