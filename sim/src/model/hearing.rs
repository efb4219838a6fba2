//! What nobody hears any more: a message whose arrival changes nothing, now or ever after. Forgetting it makes states equal
//! that differ in their past alone, and spares the exploration its delivery.

use selvedge_protocol::authority::{Receipt, Standing};
use selvedge_protocol::id::{HandoffId, Peer};
use selvedge_protocol::recovery::Instruction;
use selvedge_protocol::wire::RecoveryMessage;

use super::explore::Mistake;
use super::network::{Envelope, Party, Said};
use super::state::{ENTITY, Node, State};

impl State {
    pub(super) fn forget_unheard(&mut self, mistake: Option<Mistake>) {
        let mut network = core::mem::take(&mut self.network);
        network.retain(|envelope| self.is_heard(envelope, mistake));
        self.network = network;
    }

    fn is_heard(&self, envelope: &Envelope, mistake: Option<Mistake>) -> bool {
        let to = match envelope.to {
            Party::Coordinator(coordinator) => return self.is_awaited(coordinator, envelope),
            Party::Node(to) => to,
        };
        let Some(index) = self.running(to) else {
            return false;
        };
        let node = &self.nodes[index];
        match (&envelope.said, envelope.from) {
            (Said::Recovery(message), _) => {
                mistake == Some(Mistake::HearOldTerm) || node.hears_round(message)
            }
            (Said::Acknowledged { id, .. }, _) => {
                node.tombstone.is_some_and(|tombstone| tombstone.id == *id && !tombstone.acknowledged)
            }
            (said, Party::Node(from)) => {
                let fenced = node.participant.fenced().is_fenced(from);
                (!fenced || mistake == Some(Mistake::HearTheFenced)) && self.changes(node, from, said)
            }
            (_, Party::Coordinator(_)) => false,
        }
    }

    /// Whether a node's word to another may still change anything there, or have it say what it has not said.
    fn changes(&self, node: &Node, from: Peer, said: &Said) -> bool {
        match *said {
            Said::Transfer { id, .. } | Said::Cancel { id } => {
                node.table.receipt(id, from) == Receipt::Free || self.waits_for(from, id)
            }
            Said::Accepted { id } | Said::NotTaken { id } => self.waits_for(node.me, id),
            Said::Precopy { .. } => true,
            Said::Cut { cut, .. } => node.copies.get(&from).is_none_or(|(known, _)| known.cut < cut.cut),
            Said::CutSafe { cut, contents } => {
                let news = node.cut.is_some_and(|sent| sent.to == from && sent.number == cut && !sent.safe);
                let newer = contents.is_some_and(|contents| {
                    let settles = node.arrived.is_some_and(|(id, _)| contents.epoch >= id.epoch);
                    contents > self.durable || settles
                });
                news || newer
            }
            Said::Settled { id } => {
                let kept = node.tombstone.is_some_and(|stone| stone.id == id && stone.kept.is_some());
                kept || self.waits_for(node.me, id)
            }
            Said::Acknowledged { .. } | Said::Recovery(_) => true,
        }
    }

    /// Whether that life is frozen at this id.
    fn waits_for(&self, source: Peer, id: HandoffId) -> bool {
        let standing = self.running(source).and_then(|index| self.nodes[index].table.standing(ENTITY));
        matches!(standing, Some(Standing::Frozen { id: frozen, .. }) if frozen == id)
    }

    fn is_awaited(&self, coordinator: usize, envelope: &Envelope) -> bool {
        let (Said::Recovery(message), Party::Node(from)) = (&envelope.said, envelope.from) else {
            return false;
        };
        let keeper = &self.coordinators[coordinator].keeper;
        match message {
            RecoveryMessage::Claims { round, .. } | RecoveryMessage::Carried { round } => {
                keeper.round() == *round && keeper.awaited().contains(&from)
            }
            RecoveryMessage::Fence { .. }
            | RecoveryMessage::Verdict { .. }
            | RecoveryMessage::Closed { .. } => false,
        }
    }
}

impl Node {
    fn hears_round(&self, message: &RecoveryMessage) -> bool {
        let known = self.participant.round();
        match message {
            RecoveryMessage::Fence { round, .. } => *round > known,
            RecoveryMessage::Verdict { round, part, parts, orders } => {
                let mut ahead = self.participant.clone();
                let next = ahead.on_verdict(*round, *part, *parts, orders.clone());
                *round > known || matches!(next, Instruction::CarryOut(_))
            }
            RecoveryMessage::Closed { round, .. } => {
                *round > known || (*round == known && self.participant.is_open())
            }
            RecoveryMessage::Claims { .. } | RecoveryMessage::Carried { .. } => false,
        }
    }
}
