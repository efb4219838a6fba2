//! The target's part: a reservation, warmed ahead or not, until its `Transfer` comes or it expires.
//!
//! ```text
//! Reserved -> Warm -> Active -> Attached
//!    |          |______ expired or cancelled
//!    |__ Admitting (cold: the game is asked) -> Active
//! ```

use crate::id::{ClientId, HandoffId, ReservationId, SessionId};
use crate::snapshot::Assembled;
use crate::time::{Tick, Time};
use crate::token::Token;
use crate::wire::InputMessage;

/// Room that is kept for an entity which may come.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub(crate) id: ReservationId,
    pub(crate) session: Option<SessionId>,
    pub(crate) token: Option<Token>,
    pub(crate) expires_at: Time,
    /// The client that connected ahead.
    pub(crate) parked: Option<ClientId>,
    /// What was pre-copied so far.
    pub(crate) copied: Assembled,
    pub(crate) stage: Stage,
}

/// How far the target is.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Nothing was given to the game, or it has not answered yet.
    Reserved {
        /// Whether the game was asked to warm it.
        asked: bool,
    },
    /// The game has built it and will take it.
    Warm,
    /// Cold: the whole state is with the game, whose answer decides.
    Admitting(Box<Admission>),
}

/// A `Transfer` whose entity the game is building.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) id: HandoffId,
    pub(crate) state: Assembled,
    pub(crate) last_tick: Tick,
    pub(crate) pending: Vec<InputMessage>,
    pub(crate) asked_at: Time,
}

impl Reservation {
    /// Whether the game knows of the entity and must be told when it doesn't come.
    pub(crate) fn game_knows(&self) -> bool {
        match self.stage {
            Stage::Reserved { asked } => asked,
            Stage::Warm | Stage::Admitting(_) => true,
        }
    }
}
