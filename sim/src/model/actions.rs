//! What may happen next, and what comes of it.

use selvedge_protocol::authority::{Receipt, Standing};
use selvedge_protocol::id::{HandoffId, Peer};

use super::explore::{Mistake, Model};
use super::network::{Envelope, Party, Said};
use super::shared::Shared;
use super::state::{ENTITY, Node, State, peer};

/// One step of the whole mesh.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Action {
    // By itself: what is said is heard in the end, what is due is done.
    Deliver(Shared<Envelope>),
    SendCut(usize),
    /// Any coordinator that still runs.
    Acknowledge {
        coordinator: usize,
        node: usize,
    },
    /// The lease of a node that stopped is waited out.
    Bury(Peer),
    // By the will of the world.
    Freeze {
        from: usize,
        to: usize,
    },
    AskToCancel(usize),
    Refuse {
        node: usize,
        from: Peer,
        id: HandoffId,
    },
    Precopy {
        from: usize,
        to: usize,
    },
    /// A crash; or the lease has run out and the node has stopped by itself, which looks the same to others.
    Stop(usize),
    Rejoin(usize),
    TakeOver,
    ThawOnTimeout(usize),
}

impl State {
    /// What happens by itself, sooner or later.
    pub(super) fn due(&self, mistake: Option<Mistake>, actions: &mut Vec<Action>) {
        actions.extend(self.network.iter().cloned().map(Action::Deliver));
        for (index, node) in self.nodes.iter().enumerate() {
            if !node.up {
                let registered = self.store.lives[index] == node.me;
                let over = self.store.dead.contains(&node.me) || self.store.recovered.contains(&node.me);
                if registered && !over {
                    actions.push(Action::Bury(node.me));
                }
                continue;
            }
            if self.buddy(index).is_some_and(|buddy| !node.cut_is_current(buddy)) {
                actions.push(Action::SendCut(index));
            }
            for coordinator in 0..self.coordinators.len() {
                if self.may_acknowledge(coordinator, node, mistake) {
                    actions.push(Action::Acknowledge { coordinator, node: index });
                }
            }
        }
    }

    /// The coordinator knows, as early as it can, that somebody took what this node gave away.
    fn may_acknowledge(&self, coordinator: usize, node: &Node, mistake: Option<Mistake>) -> bool {
        let office = &self.coordinators[coordinator];
        let open = office.keeper.is_open() && mistake != Some(Mistake::AcknowledgeWhileOpen);
        node.tombstone.is_some_and(|tombstone| {
            let heard = tombstone.reported_in <= office.term || mistake == Some(Mistake::HearOldTerm);
            let lower = mistake == Some(Mistake::HearOldTerm);
            let known = if lower { self.highest } else { self.reported[coordinator] };
            !tombstone.acknowledged && !open && heard && known >= tombstone.id.epoch
        })
    }

    /// What the world may do, as long as it has some left.
    pub(super) fn chances(&self, mistake: Option<Mistake>, actions: &mut Vec<Action>) {
        let left = self.left;
        for (index, node) in self.nodes.iter().enumerate() {
            if !node.up {
                if left.rejoins > 0 && self.store.lives[index] == node.me {
                    actions.push(Action::Rejoin(index));
                }
                continue;
            }
            // The next one is promised to do no harm only once the last is recovered from.
            if left.crashes > 0 && self.is_recovered() {
                actions.push(Action::Stop(index));
            }
            let others = (0..self.nodes.len()).filter(|&other| {
                other != index && !node.participant.fenced().is_fenced(self.nodes[other].me)
            });
            match node.table.standing(ENTITY) {
                Some(Standing::Active(_)) => {
                    for to in others {
                        if left.handoffs > 0 {
                            actions.push(Action::Freeze { from: index, to });
                        }
                        if left.precopies > 0 {
                            actions.push(Action::Precopy { from: index, to });
                        }
                    }
                }
                Some(Standing::Frozen { .. }) => {
                    if left.cancels > 0 {
                        actions.push(Action::AskToCancel(index));
                    }
                    if mistake == Some(Mistake::ThawOnTimeout) {
                        actions.push(Action::ThawOnTimeout(index));
                    }
                }
                None => {}
            }
        }
        if left.refusals > 0 {
            for envelope in self.network.iter() {
                if let (Said::Transfer { id, .. }, Party::Node(to), Party::Node(from)) =
                    (&envelope.said, envelope.to, envelope.from)
                    && let Some(node) = self.running(to)
                    && !self.nodes[node].participant.fenced().is_fenced(from)
                    && self.nodes[node].table.receipt(*id, from) == Receipt::Free
                {
                    actions.push(Action::Refuse { node, from, id: *id });
                }
            }
        }
        if left.takeovers > 0 {
            actions.push(Action::TakeOver);
        }
    }

    /// Takes a step.
    pub(super) fn step(&mut self, action: &Action, model: &Model) {
        match *action {
            Action::Deliver(ref envelope) => match envelope.to {
                Party::Node(to) => {
                    if let Some(index) = self.running(to) {
                        self.deliver_to_node(index, envelope, model.mistake);
                    }
                }
                Party::Coordinator(coordinator) => self.deliver_to_coordinator(coordinator, envelope),
            },
            Action::SendCut(index) => self.send_cut(index),
            Action::Acknowledge { coordinator, node } => {
                if let Some(tombstone) = self.nodes[node].tombstone {
                    let term = self.coordinators[coordinator].term;
                    let to = Party::Node(self.nodes[node].me);
                    let said = Said::Acknowledged { id: tombstone.id, term };
                    self.network.say(Party::Coordinator(coordinator), to, said);
                }
            }
            Action::Bury(life) => self.bury(life),
            Action::Freeze { from, to } => {
                self.left.handoffs -= 1;
                self.freeze(from, to);
            }
            Action::AskToCancel(index) => {
                self.left.cancels -= 1;
                self.ask_to_cancel(index);
            }
            Action::Refuse { node, from, id } => {
                self.left.refusals -= 1;
                self.refuse(node, from, id);
            }
            Action::Precopy { from, to } => {
                self.left.precopies -= 1;
                self.precopy(from, to);
            }
            Action::Stop(index) => {
                self.left.crashes -= 1;
                *self.nodes[index] = Node::down(self.nodes[index].me);
            }
            Action::Rejoin(index) => {
                self.left.rejoins -= 1;
                let life = peer(index, self.nodes[index].me.incarnation.0 + 1);
                *self.nodes[index] = model.node(life);
                self.register(index, life);
            }
            Action::TakeOver => {
                self.left.takeovers -= 1;
                self.take_over(model);
            }
            Action::ThawOnTimeout(index) => {
                if let Some(Standing::Frozen { id, to }) = self.nodes[index].table.standing(ENTITY) {
                    self.on_not_taken(index, to, id);
                }
            }
        }
        for index in 0..self.nodes.len() {
            self.say_carried(index);
        }
        self.forget_unheard(model.mistake);
    }
}
