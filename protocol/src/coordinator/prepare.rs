//! Step 2 of a crossing: checks what a source asks for, and notifies the target.

use bytes::Bytes;

use super::Coordinator;
use crate::id::{NodeId, Peer};
use crate::wire::{Message, PrepareOutcome, PrepareRequest, RefuseReason};

impl Coordinator {
    pub(super) fn on_prepare_request(&mut self, from: NodeId, request: PrepareRequest) {
        let reservation = request.reservation;
        if reservation.source.node != from {
            let what =
                format!("it prepared {} in the name of node {}", reservation.entity, reservation.source.node);
            self.misbehaved(from, what);
        }
        let outcome = match self.target_of(from, &request) {
            Ok(target) => {
                self.prepares_notified += 1;
                let session = request.session.and_then(|session| self.sessions.get(&session));
                let baseline =
                    session.map_or_else(Bytes::new, |session| session.baseline.clone().unwrap_or_default());
                let term = self.term;
                self.send_with(target.node, Message::PrepareToReceive { term, request }, baseline);
                PrepareOutcome::Notified { target }
            }
            Err(reason) => {
                self.prepares_refused += 1;
                PrepareOutcome::Refused(reason)
            }
        };
        self.send(from, Message::PrepareReply { term: self.term, reservation, outcome });
    }

    fn target_of(&self, from: NodeId, request: &PrepareRequest) -> Result<Peer, RefuseReason> {
        let source = request.reservation.source;
        let registered = self.nodes.get(&from).is_some_and(|record| record.peer() == source);
        if source.node != from || !registered {
            return Err(RefuseReason::UnknownSource);
        }
        match self.directory.holder(request.reservation.entity) {
            // Who holds an entity may hand it on from wherever it stands, also from a cell that was just dealt anew.
            Some(holder) if holder == source => {}
            Some(_) => return Err(RefuseReason::NotYours),
            None if self.map.owner_of(request.from_cell) == Some(from) => {}
            // This coordinator has just started and may not have heard of the entity yet.
            None if !self.directory.is_whole() => {}
            None => return Err(RefuseReason::NotYourCell),
        }
        let owner = self.map.owner_of(request.to_cell).ok_or(RefuseReason::NoOwner)?;
        if owner == from {
            return Err(RefuseReason::SameNode);
        }
        let target = self.nodes.get(&owner).ok_or(RefuseReason::NoOwner)?;
        if target.alive { Ok(target.peer()) } else { Err(RefuseReason::TargetLost) }
    }
}
