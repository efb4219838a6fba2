//! What a node keeps of an entity that it holds.

use bytes::Bytes;

use super::LeaveReason;
use super::actions::Acting;
use crate::ghost::Look;
use crate::grid::Motion;
use crate::handoff::source::Source;
use crate::id::{AuthorityEpoch, ClientId, InputSeq, Peer, SessionId};
use crate::inputs::InputQueue;
use crate::pin::Pin;
use crate::time::{Tick, Time};
use crate::token::Token;

/// An entity that this node holds, active or frozen. How it stands is the authority table's to say.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) session: Option<SessionId>,
    pub(super) motion: Motion,
    pub(super) look: Look,
    /// What its own client alone is told.
    pub(super) own: Bytes,
    /// The tick in which the game published it last, and under which grant; none before it did so here.
    pub(super) published: Option<(Tick, AuthorityEpoch)>,
    /// The last tick in which the game published it.
    pub(super) last_tick: Tick,
    /// When this node took it: the dwell counts from here.
    pub(super) since: Time,
    pub(super) inputs: InputQueue,
    /// The last input that a safe checkpoint of this node covers; 0 where none does yet.
    pub(super) durable: InputSeq,
    pub(super) client: Option<ClientId>,
    /// Set while the player is to leave the world.
    pub(super) leaving: Option<LeaveReason>,
    pub(super) source: Source,
    /// What holds it here, as the game last said.
    pub(super) pins: Vec<Pin>,
    pub(super) acting: Acting,
    /// How it came here, until that is reported.
    pub(super) arrival: Option<Arrival>,
    /// The second token of the handoff that brought it, to repeat in `Accepted`.
    pub(super) accept_token: Option<Token>,
}

/// How an entity came here by a handoff.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) from: Peer,
    pub(super) epoch: AuthorityEpoch,
    pub(super) last_tick: Tick,
    pub(super) asked_at: Time,
    pub(super) simulated: bool,
    pub(super) attached: bool,
}

impl Held {
    pub(super) fn new(
        session: Option<SessionId>,
        motion: Motion,
        inputs: InputQueue,
        tick: Tick,
        now: Time,
    ) -> Self {
        Self {
            session,
            motion,
            look: Look::default(),
            own: Bytes::new(),
            published: None,
            last_tick: tick,
            since: now,
            inputs,
            durable: InputSeq::default(),
            client: None,
            leaving: None,
            source: Source::default(),
            pins: Vec::new(),
            acting: Acting::default(),
            arrival: None,
            accept_token: None,
        }
    }
}
