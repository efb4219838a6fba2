//! What a client in the world knows of its entity's authority and of its connections.

use std::collections::BTreeMap;

use super::{ConnectionId, Link};
use crate::id::{AuthorityEpoch, EntityId, SessionId};
use crate::time::{Tick, Time};
use crate::token::Token;
use crate::wire::Invitation;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Dialling,
    Parked,
    Attached,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) invitation: Invitation,
    pub(super) phase: Phase,
    pub(super) prepared: bool,
}

#[derive(Debug)]
pub(super) struct InWorld {
    pub(super) session: SessionId,
    pub(super) secret: Token,
    pub(super) entity: EntityId,
    pub(super) epoch: AuthorityEpoch,
    pub(super) epoch_addr: Option<String>,
    pub(super) current: Option<ConnectionId>,
    /// The connection to the authority before, until the new one has shown a state: the old one's last tick may still be
    /// on its way, overtaken by the new one's `Attached`.
    pub(super) former: Option<ConnectionId>,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    /// The last `Redirect` whose token was not used yet.
    pub(super) redirect: Option<Invitation>,
    pub(super) last_state_at: Option<Time>,
    /// The newest state that was shown.
    pub(super) shown: (AuthorityEpoch, Tick),
    /// Set at a switch until the first state from the new node: the last state from the old one.
    pub(super) switched: Option<(Time, bool)>,
    pub(super) quiet_since: Time,
    pub(super) lost_since: Option<Time>,
    /// Set from the moment that the program was told `Lost` or `Silent` until a state comes.
    pub(super) missing: Option<Link>,
    pub(super) entered: bool,
    pub(super) logout: bool,
}

impl InWorld {
    pub(super) fn link(&self) -> Link {
        let link = if self.current.is_some() { Link::Attached } else { Link::Outside };
        self.missing.unwrap_or(link)
    }

    pub(super) fn new(session: SessionId, secret: Token, entity: EntityId, now: Time) -> Self {
        Self {
            session,
            secret,
            entity,
            epoch: AuthorityEpoch::default(),
            epoch_addr: None,
            current: None,
            former: None,
            connections: BTreeMap::new(),
            redirect: None,
            last_state_at: None,
            shown: (AuthorityEpoch::default(), Tick::default()),
            switched: None,
            quiet_since: now,
            lost_since: None,
            missing: None,
            entered: false,
            logout: false,
        }
    }
}
