//! The coordinator's end and return, and what it must have had kept before it says something.

use selvedge_protocol::coordinator::{Coordinator, CoordinatorInput, Record};
use selvedge_protocol::id::{NodeId, Peer};
use selvedge_protocol::node::Input;
use selvedge_protocol::wire::{LeaseMessage, Message, RecoveryMessage};

use super::Mesh;

impl Mesh {
    /// The coordinator's process is gone, and with it all that was not persisted.
    pub fn stop_coordinator(&mut self) {
        self.coordinator_linked = false;
        for host in &mut self.hosts {
            host.node.handle(Input::CoordinatorDown, self.now);
        }
        self.settle();
    }

    /// Another one goes on from what was persisted. No node has spoken to it yet.
    pub fn restore_coordinator(&mut self) {
        let (config, image) = (self.config.clone(), self.image.clone());
        self.coordinator = Coordinator::restored(config, image, self.now, [8; 32]).unwrap();
        self.settle();
    }

    /// The nodes reach it.
    pub fn link_coordinator(&mut self) {
        self.coordinator_linked = true;
        for index in 0..self.hosts.len() {
            let node = self.hosts[index].id;
            self.coordinator.handle(CoordinatorInput::LinkUp { node }, self.now);
            self.hosts[index].node.handle(Input::CoordinatorUp, self.now);
        }
        self.settle();
    }

    /// Whatever a node is told that must outlive the coordinator was put out to be kept before.
    pub(super) fn check_kept(&self, to: NodeId, message: &Message) {
        let kept = |is: &dyn Fn(Record) -> bool| self.image.records().any(is);
        let good = match message {
            Message::Registered { term, incarnation, map, .. } => {
                let peer = Peer { node: to, incarnation: *incarnation };
                let granted = kept(&|record| matches!(record, Record::Life(life) if life.peer == peer));
                let dealt =
                    kept(&|record| matches!(record, Record::Map(kept) if kept.version >= map.version));
                granted && (dealt || map.version == 0) && self.image.term() >= *term
            }
            Message::HeartbeatReply { mesh_time: Some(told), .. } => {
                kept(&|record| matches!(record, Record::MeshTime(mark) if mark > *told))
            }
            Message::MapDiff { diff, .. } => {
                kept(&|record| matches!(record, Record::Map(kept) if kept.version >= diff.to))
            }
            Message::Admit { session, .. } => {
                kept(&|record| matches!(record, Record::Session(kept) if kept.session == *session))
            }
            Message::SaveAck { session, .. } => {
                !kept(&|record| matches!(record, Record::Session(kept) if kept.session == *session))
            }
            Message::Lease(LeaseMessage::Assign { assignment, .. }) => kept(
                &|record| matches!(record, Record::Life(life) if life.peer.node == to && life.assignments.contains(assignment)),
            ),
            Message::Recovery(RecoveryMessage::Fence { round, dead }) => {
                let over = |peer: &Peer| {
                    kept(&|record| matches!(record, Record::Life(life) if life.peer == *peer && life.over))
                };
                kept(&|record| record == Record::Round(round.number)) && dead.iter().all(over)
            }
            _ => true,
        };
        assert!(good, "told {to} before it was kept: {message:?}");
    }
}
