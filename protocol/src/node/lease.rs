//! This node's own lease, its part as a witness of others', and how it stops when its life is over.

use core::time::Duration;

use super::{GameCommand, Node, NodeEvent, Output, ReleaseReason, TimerKey};
use crate::authority::AuthorityTable;
use crate::group::Attachments;
use crate::id::{AuthorityEpoch, ClientId, EntityId, Peer};
use crate::lease::{LeaseHolder, Plea, Witness};
use crate::time::Time;
use crate::wire::{Assignment, ByeReason, Lane, LeaseMessage, Message};

/// Renewals within one lease.
const RENEWALS: u32 = 6;

/// Both parts of a node in the leases.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// None while the node isn't registered.
    own: Option<LeaseHolder>,
    /// None until the first registration tells how long leases last.
    witness: Option<Witness>,
    renew_every: Duration,
}

impl Node {
    /// The lease of a new life begins.
    pub(super) fn begin_lease(&mut self, lease: Duration, asked_at: Time, now: Time) {
        self.leases.own = Some(LeaseHolder::granted(lease, asked_at));
        self.leases.witness.get_or_insert_with(|| Witness::new(lease));
        self.leases.renew_every = lease / RENEWALS;
        self.on_renew_due(now);
    }

    /// When this node must have stopped, if nobody witnesses it any more; none if it isn't registered.
    #[must_use]
    pub fn lease_expires_at(&self) -> Option<Time> {
        self.leases.own.as_ref().map(LeaseHolder::expires_at)
    }

    /// Ends this life if its lease has run out. Comes before whatever else there is to do.
    pub(super) fn check_lease(&mut self, now: Time) {
        #[cfg(feature = "planted-bugs")]
        if self.setup.config.has_bug(crate::config::PlantedBug::OutliveLease) {
            return;
        }
        if self.leases.own.as_ref().is_some_and(|own| !own.is_valid(now)) {
            self.lapse(now);
        }
    }

    pub(super) fn on_renew_due(&mut self, now: Time) {
        let Some(own) = &self.leases.own else {
            return;
        };
        let voters: Vec<Peer> = own.voters().filter(|&voter| self.is_linked(voter)).collect();
        self.echo.sends(now);
        for voter in voters {
            let renew = Message::Lease(LeaseMessage::Renew { sent_at: now });
            self.send(voter.node, Lane::Control, renew);
        }
        self.timers.set(TimerKey::Renew, now + self.leases.renew_every);
        self.schedule_lease();
    }

    fn schedule_lease(&mut self) {
        if let Some(own) = &self.leases.own {
            self.timers.set(TimerKey::Lease, own.expires_at());
        }
    }

    pub(super) fn renewed_by_coordinator(&mut self, sent_at: Time, now: Time) {
        if let Some(own) = &mut self.leases.own {
            let before = own.assignment().version;
            own.answered_by_coordinator(sent_at, now);
            self.after_answer(before, now);
        }
    }

    /// What a node says about leases.
    pub(super) fn on_peer_lease(&mut self, peer: Peer, message: LeaseMessage, now: Time) {
        match message {
            LeaseMessage::Renew { sent_at } => {
                let Some(witness) = &mut self.leases.witness else {
                    return;
                };
                if witness.renew(peer, now) {
                    let renewed = Message::Lease(LeaseMessage::Renewed { sent_at });
                    self.send(peer.node, Lane::Control, renewed);
                } else {
                    // The coordinator may have missed it, or have begun anew since, and take this node for its voter.
                    self.say_promised(peer, now);
                }
            }
            LeaseMessage::Renewed { sent_at } => {
                let known = self.echo.knows(sent_at);
                if let Some(own) = self.leases.own.as_mut().filter(|_| known) {
                    let before = own.assignment().version;
                    own.answered_by(peer, sent_at, now);
                    self.after_answer(before, now);
                }
            }
            LeaseMessage::Assign { .. }
            | LeaseMessage::Assigned { .. }
            | LeaseMessage::AskPromise { .. }
            | LeaseMessage::Promised { .. }
            | LeaseMessage::Fenced { .. } => {
                self.misbehaved(peer, "sent a message about leases that only the coordinator's link carries");
            }
        }
    }

    /// What the coordinator says about leases.
    pub(super) fn on_coordinator_lease(&mut self, message: LeaseMessage, now: Time) {
        match message {
            LeaseMessage::Assign { term, incarnation, assignment } => {
                if self.heed(term) && self.me().is_some_and(|me| me.incarnation == incarnation) {
                    self.on_assign(assignment, now);
                }
            }
            LeaseMessage::AskPromise { term, of } => {
                if self.heed(term) {
                    self.say_promised(of, now);
                }
            }
            LeaseMessage::Fenced { term, incarnation } => {
                if self.heed(term) && self.me().is_some_and(|me| me.incarnation == incarnation) {
                    self.lapse(now);
                }
            }
            LeaseMessage::Renew { .. }
            | LeaseMessage::Renewed { .. }
            | LeaseMessage::Assigned { .. }
            | LeaseMessage::Promised { .. } => {}
        }
    }

    /// Promises to answer a life no more, unless that one is lively, and tells the coordinator.
    fn say_promised(&mut self, of: Peer, now: Time) {
        if let Some(me) = self.me().filter(|&me| me != of)
            && let Some(witness) = &mut self.leases.witness
            && let Plea::Promised(ago) = witness.promise(of, now)
        {
            let answered_ago_us = ago.map(|ago| u64::try_from(ago.as_micros()).unwrap_or(u64::MAX));
            let promised = LeaseMessage::Promised { by: me.incarnation, of, answered_ago_us };
            self.tell_coordinator(Message::Lease(promised));
        }
    }

    fn on_assign(&mut self, assignment: Assignment, now: Time) {
        let Some(own) = &mut self.leases.own else {
            return;
        };
        let (before, heard) = (own.assignment().version, own.heard());
        own.assign(assignment, now);
        let is_news = own.heard() > heard;
        if own.assignment().version == before {
            // Also where it is no news: the answer was lost.
            self.say_assigned();
        }
        self.after_answer(before, now);
        if is_news {
            self.on_renew_due(now);
        }
    }

    /// Tells by which voters this node goes.
    fn say_assigned(&mut self) {
        if let (Some(me), Some(own)) = (self.me(), &self.leases.own) {
            let (incarnation, version, heard) = (me.incarnation, own.assignment().version, own.heard());
            let assigned = LeaseMessage::Assigned { incarnation, version, heard };
            self.tell_coordinator(Message::Lease(assigned));
        }
    }

    fn after_answer(&mut self, before: u64, now: Time) {
        let Some(own) = &self.leases.own else {
            return;
        };
        let Assignment { version, buddy, .. } = *own.assignment();
        if version != before {
            self.say_assigned();
            self.set_buddy(buddy, now);
        }
        self.schedule_lease();
    }

    /// This life is over: whatever it holds is another's to simulate from here on. Forgets everything, tells the game and
    /// the clients, and registers anew with empty hands.
    pub(super) fn lapse(&mut self, now: Time) {
        let Some(me) = self.me() else {
            return;
        };
        self.event(NodeEvent::Fenced { incarnation: me.incarnation });
        let newest = AuthorityEpoch { generation: u32::MAX, step: u32::MAX };
        self.groups = Attachments::new();
        let held = core::mem::take(&mut self.held).into_keys();
        let joining = core::mem::take(&mut self.joins).into_keys();
        let known: std::collections::BTreeSet<EntityId> = held.chain(joining).collect();
        for entity in known {
            self.command(GameCommand::Release { entity, grant: newest, why: ReleaseReason::Void });
        }
        self.precopied_bytes.clear();
        for ((entity, _), reservation) in core::mem::take(&mut self.reservations) {
            if reservation.game_knows() {
                let why = ReleaseReason::NotComing;
                self.command(GameCommand::Release { entity, grant: newest, why });
            }
        }
        self.end_ghosts();
        let clients: Vec<ClientId> = core::mem::take(&mut self.clients).into_keys().collect();
        for client in clients {
            self.outputs.push_back(Output::CloseClient { client, reason: ByeReason::NodeLost });
        }
        self.tombstones.clear();
        self.tokens = crate::token::TokenTable::default();
        self.directory = super::directory::Directory::default();
        self.authority = AuthorityTable::new();
        self.links.clear();
        self.timers = crate::timers::Timers::new();
        self.leases.own = None;
        self.rejoin_rounds();
        self.forget_standby();
        self.membership.begin_new_life();
        self.on_membership_due(now);
        self.repeat_saves(now);
    }

    /// Whether a link to this very life is up.
    pub(super) fn is_linked(&self, peer: Peer) -> bool {
        self.links.get(&peer.node) == Some(&peer.incarnation)
    }

    pub(super) fn on_link_down(&mut self, node: crate::id::NodeId) {
        self.links.remove(&node);
        self.on_ghost_link_down(node);
    }

    pub(super) fn on_link_up(&mut self, peer: Peer, now: Time) {
        if self.is_shunned(peer) {
            self.outputs.push_back(Output::Shun { peer });
            return;
        }
        self.links.insert(peer.node, peer.incarnation);
        self.on_ghost_link_up(peer);
        let votes = self.leases.own.as_ref().is_some_and(|own| own.voters().any(|voter| voter == peer));
        if votes {
            self.on_renew_due(now);
        }
    }
}
