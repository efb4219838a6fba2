//! Leases as the coordinator keeps them: suspicion, promises, the end of a life, and who witnesses whom.

use core::time::Duration;

use super::{Coordinator, CoordinatorEvent, TimerKey};
use crate::config::CoordinatorConfig;
use crate::id::{NodeId, Peer};
use crate::lease::{Warden, WardenAction, WardenSettings};
use crate::time::Time;
use crate::wire::{Assignment, LeaseMessage, Message};

/// A coordinator's warden, as it is set.
#[cfg_attr(not(feature = "planted-bugs"), allow(unused_mut, reason = "a bug may be planted"))]
pub(super) fn warden(config: &CoordinatorConfig) -> Warden {
    let mut warden = Warden::new(WardenSettings {
        lease: config.lease,
        margin: config.lease_margin,
        suspect_after: config.suspect_after,
        retry: config.retry,
    });
    #[cfg(feature = "planted-bugs")]
    if let Some(bug) = config.planted_bug {
        warden.plant(bug);
    }
    warden
}

impl Coordinator {
    pub(super) fn on_lease_message(&mut self, from: NodeId, message: LeaseMessage, now: Time) {
        match message {
            LeaseMessage::Assigned { incarnation, version, heard } => {
                let peer = Peer { node: from, incarnation };
                let open_before = self.warden.sets_of(peer).count();
                self.warden.assigned(peer, version, heard);
                // A set that a restarted coordinator took for open would have to be voted down like the others.
                if self.warden.sets_of(peer).count() < open_before {
                    let open: Vec<_> = self.warden.sets_of(peer).cloned().collect();
                    self.change_life(peer, |life| life.assignments = open);
                }
            }
            LeaseMessage::Promised { by, of, answered_ago_us } => {
                let voter = Peer { node: from, incarnation: by };
                let ago = answered_ago_us.map(Duration::from_micros);
                self.warden.promised(voter, of, ago, now);
            }
            LeaseMessage::Renew { .. }
            | LeaseMessage::Renewed { .. }
            | LeaseMessage::Assign { .. }
            | LeaseMessage::AskPromise { .. }
            | LeaseMessage::Fenced { .. } => {
                self.misbehaved(
                    from,
                    "it sent a message about leases that is not for a coordinator".to_owned(),
                );
            }
        }
        self.on_leases_due(now);
    }

    pub(super) fn peer(&self, node: NodeId) -> Option<Peer> {
        self.nodes.get(&node).map(super::nodes::NodeRecord::peer)
    }

    /// Lets the leases' time pass.
    pub(super) fn on_leases_due(&mut self, now: Time) {
        for action in self.warden.handle_due(now) {
            match action {
                WardenAction::Suspected { of } => {
                    let last_heard = self.nodes.get(&of.node).map_or(now, |record| record.last_heard());
                    self.on_not_alive(of.node);
                    self.event(CoordinatorEvent::Suspected { peer: of, last_heard });
                }
                WardenAction::AskPromise { voter, of } => {
                    let ask = LeaseMessage::AskPromise { term: self.term, of };
                    self.send(voter.node, Message::Lease(ask));
                }
                WardenAction::Assign { to, assignment } => {
                    let open: Vec<Assignment> = self.warden.sets_of(to).cloned().collect();
                    self.change_life(to, |life| life.assignments = open);
                    let (term, incarnation) = (self.term, to.incarnation);
                    let assign = LeaseMessage::Assign { term, incarnation, assignment };
                    self.send(to.node, Message::Lease(assign));
                }
                WardenAction::Over { of } => self.on_life_over(of, now),
            }
        }
        match self.warden.next_due() {
            Some(due) => self.timers.set(TimerKey::Leases, due.max(now)),
            None => self.timers.cancel(TimerKey::Leases),
        }
    }

    /// A life is over. Its cells go to those who live.
    fn on_life_over(&mut self, of: Peer, now: Time) {
        self.change_life(of, |life| life.over = true);
        self.event(CoordinatorEvent::LifeOver { peer: of });
        self.say_fenced(of);
        if self.peer(of.node) == Some(of) {
            self.on_not_alive(of.node);
            self.nodes.remove(&of.node);
            self.deal_cells();
        }
        self.rounds.bury(of);
        self.pursue_round(now);
    }

    /// Tells a life that it is over; it may hear it or not.
    pub(super) fn say_fenced(&mut self, of: Peer) {
        let fenced = LeaseMessage::Fenced { term: self.term, incarnation: of.incarnation };
        self.send(of.node, Message::Lease(fenced));
    }
}
