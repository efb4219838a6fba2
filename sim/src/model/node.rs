//! What a node of the model does: the handlers of `protocol/src/node/`, without the game, over the same machines.

use selvedge_protocol::authority::{CancelAnswer, Receipt, Standing};
use selvedge_protocol::id::{HandoffId, Peer};
use selvedge_protocol::recovery::{ClaimList, Fencing, Instruction};
use selvedge_protocol::time::Tick;
use selvedge_protocol::wire::{Captured, NewestCut, Order, RecoveryMessage};

use super::explore::Mistake;
use super::network::{Envelope, Party, Said};
use super::state::{Broken, ENTITY, Node, SentCut, State, Tombstone};

impl Node {
    /// What a copy made now would hold; none if the entity is not here.
    pub(super) fn contents(&self) -> Option<Captured> {
        match self.table.standing(ENTITY)? {
            Standing::Active(epoch) => Some(Captured { epoch, tick: Tick(self.cuts() + 1) }),
            Standing::Frozen { .. } => self.frozen,
        }
    }

    fn cuts(&self) -> u64 {
        self.cut.map_or(0, |cut| cut.number)
    }

    /// Whether what the last cut said is still so, as far as a restore could tell.
    pub(super) fn cut_is_current(&self, buddy: Peer) -> bool {
        let now = self.contents().map(|contents| contents.epoch);
        match self.cut {
            Some(cut) if cut.to == buddy => cut.contents.map(|contents| contents.epoch) == now,
            Some(_) | None => now.is_none(),
        }
    }

    /// Whether the contents are somewhere here.
    fn has_copy(&self, wanted: Captured) -> bool {
        let kept = self.tombstone.and_then(|tombstone| tombstone.kept);
        let standby = self.copies.values().filter_map(|(_, contents)| *contents);
        let warm = self.warm.map(|(_, contents)| contents);
        self.frozen.into_iter().chain(kept).chain(warm).chain(standby).any(|copy| copy == wanted)
    }
}

impl State {
    fn say(&mut self, from: usize, to: Peer, said: Said) {
        self.network.say(Party::Node(self.nodes[from].me), Party::Node(to), said);
    }

    /// The node that keeps copies for this one: the next that it doesn't know to be dead.
    pub(super) fn buddy(&self, index: usize) -> Option<Peer> {
        let count = self.nodes.len();
        let node = &self.nodes[index];
        (1..count)
            .map(|step| self.nodes[(index + step) % count].me)
            .find(|&other| !node.participant.fenced().is_fenced(other))
    }

    /// Step 7: the holder freezes the entity and sends it on.
    pub(super) fn freeze(&mut self, from: usize, to: usize) {
        let to = self.nodes[to].me;
        let node = &mut self.nodes[from];
        let (Some(grant), Some(contents)) = (node.table.active_epoch(ENTITY), node.contents()) else {
            return;
        };
        if let Some(id) = node.table.freeze(ENTITY, grant, to) {
            node.frozen = Some(contents);
            self.say(from, to, Said::Transfer { id, contents });
        }
    }

    /// The source has waited long enough.
    pub(super) fn ask_to_cancel(&mut self, index: usize) {
        if let Some(Standing::Frozen { id, to }) = self.nodes[index].table.standing(ENTITY) {
            self.say(index, to, Said::Cancel { id });
        }
    }

    /// Step 6: the holder copies the entity ahead.
    pub(super) fn precopy(&mut self, from: usize, to: usize) {
        if let Some(contents) = self.nodes[from].contents() {
            self.say(from, self.nodes[to].me, Said::Precopy { contents });
        }
    }

    /// The node sends its buddy what it holds by now.
    pub(super) fn send_cut(&mut self, index: usize) {
        let Some(to) = self.buddy(index) else {
            return;
        };
        let node = &mut self.nodes[index];
        let contents = node.contents();
        let cut = NewestCut { of: node.me, cut: node.cuts() + 1, tick: Tick(node.cuts() + 1) };
        node.cut = Some(SentCut { to, number: cut.cut, contents, safe: false });
        self.say(index, to, Said::Cut { cut, contents });
    }

    /// A message arrives at the life that it is for.
    pub(super) fn deliver_to_node(&mut self, index: usize, envelope: &Envelope, mistake: Option<Mistake>) {
        let from = match envelope.from {
            Party::Coordinator(coordinator) => {
                self.on_coordinators_word(index, coordinator, &envelope.said, mistake);
                return;
            }
            Party::Node(from) => from,
        };
        if self.nodes[index].participant.fenced().is_fenced(from) && mistake != Some(Mistake::HearTheFenced) {
            return;
        }
        match envelope.said {
            Said::Transfer { id, .. } => self.on_transfer(index, from, id),
            Said::Accepted { id } => self.on_accepted(index, from, id, mistake),
            Said::NotTaken { id } => self.on_not_taken(index, from, id),
            Said::Cancel { id } => match self.nodes[index].table.cancel(id, from) {
                CancelAnswer::Cancelled => self.say(index, from, Said::NotTaken { id }),
                CancelAnswer::Accepted => self.say(index, from, Said::Accepted { id }),
                CancelAnswer::Void => {}
            },
            Said::Precopy { contents } => {
                let node = &mut self.nodes[index];
                if node.table.active_epoch(ENTITY).is_none() && !node.participant.is_open() {
                    node.warm = Some((from, contents));
                }
            }
            Said::Cut { cut, contents } => {
                let copies = &mut self.nodes[index].copies;
                if copies.get(&from).is_none_or(|(known, _)| known.cut < cut.cut) {
                    copies.insert(from, (cut, contents));
                    self.say(index, from, Said::CutSafe { cut: cut.cut, contents });
                }
            }
            Said::CutSafe { cut, contents } => self.on_cut_safe(index, from, cut, contents),
            Said::Settled { id } => self.on_settled(index, from, id),
            Said::Acknowledged { .. } | Said::Recovery(_) => {}
        }
    }

    fn on_transfer(&mut self, index: usize, from: Peer, id: HandoffId) {
        let node = &mut self.nodes[index];
        match node.table.receipt(id, from) {
            Receipt::Free => {
                if !node.table.activate(id, from) {
                    return;
                }
                node.frozen = None;
                node.tombstone = None;
                node.warm = None;
                node.arrived = Some((id, from));
                self.say(index, from, Said::Accepted { id });
                self.activated(index, id.epoch);
            }
            Receipt::Already => self.say(index, from, Said::Accepted { id }),
            Receipt::Burned | Receipt::Conflict => self.refuse(index, from, id),
            Receipt::Void => {}
        }
    }

    /// The target won't have it.
    pub(super) fn refuse(&mut self, index: usize, from: Peer, id: HandoffId) {
        match self.nodes[index].table.cancel(id, from) {
            CancelAnswer::Cancelled => self.say(index, from, Said::NotTaken { id }),
            CancelAnswer::Accepted => self.say(index, from, Said::Accepted { id }),
            CancelAnswer::Void => {}
        }
    }

    fn on_accepted(&mut self, index: usize, from: Peer, id: HandoffId, mistake: Option<Mistake>) {
        let node = &mut self.nodes[index];
        if !node.table.gave_away(id, from) {
            return;
        }
        let kept = node.frozen.take();
        let reported_in = node.participant.round().term.0;
        if mistake != Some(Mistake::DropTombstone) {
            node.tombstone = Some(Tombstone { id, to: from, kept, acknowledged: false, reported_in });
        }
    }

    pub(super) fn on_not_taken(&mut self, index: usize, from: Peer, id: HandoffId) {
        let node = &mut self.nodes[index];
        if node.table.thaw(id, from) {
            node.frozen = None;
            self.activated(index, id.epoch);
        }
    }

    fn on_cut_safe(&mut self, index: usize, from: Peer, cut: u64, contents: Option<Captured>) {
        let node = &mut self.nodes[index];
        if let Some(sent) = node.cut.as_mut().filter(|sent| sent.to == from && sent.number == cut) {
            sent.safe = true;
        }
        if let Some(contents) = contents {
            self.durable = self.durable.max(contents);
        }
        let node = &mut self.nodes[index];
        if let Some((id, source)) = node.arrived
            && contents.is_some_and(|contents| contents.epoch >= id.epoch)
        {
            node.arrived = None;
            self.say(index, source, Said::Settled { id });
        }
    }

    /// What was handed on is safe: then it is so for whoever it came from.
    fn on_settled(&mut self, index: usize, from: Peer, id: HandoffId) {
        let node = &mut self.nodes[index];
        if node.participant.is_open() {
            return;
        }
        let Some(tombstone) = node.tombstone.as_mut().filter(|stone| stone.id == id && stone.to == from)
        else {
            return;
        };
        tombstone.kept = None;
        if let Some((arrived, source)) = node.arrived.take() {
            self.say(index, source, Said::Settled { id: arrived });
        }
        self.nodes[index].forget_tombstone();
    }

    fn on_coordinators_word(
        &mut self,
        index: usize,
        coordinator: usize,
        said: &Said,
        mistake: Option<Mistake>,
    ) {
        let node = &mut self.nodes[index];
        match said {
            Said::Acknowledged { id, term } => {
                let stale = *term < node.participant.round().term.0 && mistake != Some(Mistake::HearOldTerm);
                if stale || node.participant.is_open() {
                    return;
                }
                if let Some(tombstone) = node.tombstone.as_mut().filter(|stone| stone.id == *id) {
                    tombstone.acknowledged = true;
                    node.forget_tombstone();
                }
            }
            Said::Recovery(RecoveryMessage::Fence { round, dead }) => {
                match node.participant.on_fence(*round, dead) {
                    Fencing::Answer { fenced: _, over } => {
                        node.forget_copies(&over);
                        let answer = node.claims();
                        for message in answer {
                            let to = Party::Coordinator(coordinator);
                            self.network.say(Party::Node(self.nodes[index].me), to, Said::Recovery(message));
                        }
                    }
                    Fencing::Repeat(_) | Fencing::Stale => {}
                }
            }
            Said::Recovery(RecoveryMessage::Verdict { round, part, parts, orders }) => {
                match node.participant.on_verdict(*round, *part, *parts, orders.clone()) {
                    Instruction::CarryOut(orders) => {
                        node.owes_carried = Some(coordinator);
                        orders.into_iter().for_each(|order| self.carry_out(index, order));
                    }
                    Instruction::Repeat(_) | Instruction::Nothing | Instruction::Stale => {}
                }
            }
            Said::Recovery(RecoveryMessage::Closed { round, .. }) => {
                let over = node.participant.on_closed(*round);
                node.forget_copies(&over);
            }
            Said::Recovery(RecoveryMessage::Claims { .. } | RecoveryMessage::Carried { .. })
            | Said::Transfer { .. }
            | Said::Accepted { .. }
            | Said::NotTaken { .. }
            | Said::Cancel { .. }
            | Said::Precopy { .. }
            | Said::Cut { .. }
            | Said::CutSafe { .. }
            | Said::Settled { .. } => {}
        }
    }

    fn carry_out(&mut self, index: usize, order: Order) {
        let node = &mut self.nodes[index];
        match order {
            Order::Discard { entity, below } => {
                if let Some(Standing::Frozen { .. }) = node.table.discard(entity, below) {
                    node.frozen = None;
                    node.arrived = None;
                }
                if node.tombstone.is_some_and(|tombstone| tombstone.id.epoch < below) {
                    node.tombstone = None;
                    node.arrived = None;
                }
            }
            Order::Restore { entity, epoch, contents, .. } => {
                let found = node.has_copy(contents);
                if !node.table.restore(entity, epoch) {
                    return;
                }
                node.frozen = None;
                node.tombstone = None;
                node.warm = None;
                node.arrived = None;
                self.activated(index, epoch);
                if !found {
                    self.break_once(Broken::NoSuchCopy);
                }
                if contents < self.durable {
                    self.break_once(Broken::OlderThanAcknowledged);
                }
                // What goes on from here is a history of its own.
                self.durable = self.durable.min(contents);
            }
        }
    }

    /// Says that the verdict is carried out, once what the node holds since is safe.
    pub(super) fn say_carried(&mut self, index: usize) {
        let Some(coordinator) = self.nodes[index].owes_carried else {
            return;
        };
        let buddy = self.buddy(index);
        let node = &mut self.nodes[index];
        let safe = buddy.is_none_or(|buddy| {
            node.cut_is_current(buddy) && node.cut.is_none_or(|cut| cut.safe || cut.to != buddy)
        });
        if !safe {
            return;
        }
        node.owes_carried = None;
        if let Some(message) = node.participant.carried() {
            let me = Party::Node(node.me);
            self.network.say(me, Party::Coordinator(coordinator), Said::Recovery(message));
        }
    }
}

impl Node {
    fn claims(&mut self) -> Vec<RecoveryMessage> {
        let mut list = ClaimList::new(&self.table);
        list.held(ENTITY, None, self.frozen.map(|contents| contents.tick));
        if let Some(Tombstone { id, to, kept, .. }) = self.tombstone {
            list.moved(id, to, None, kept);
        }
        if let Some((from, contents)) = self.warm {
            list.warm(ENTITY, from, None, contents);
        }
        for (&of, (newest, contents)) in &self.copies {
            if let Some(contents) = contents {
                list.standby(ENTITY, of, newest.cut, None, *contents);
            }
        }
        let cuts: Vec<NewestCut> = self.copies.values().map(|(cut, _)| *cut).collect();
        let claims = list.finish();
        self.participant.answer(&cuts, &claims)
    }

    /// These lives are recovered: what is kept of them, or points at them, is of no use any more.
    fn forget_copies(&mut self, over: &[Peer]) {
        for life in over {
            self.copies.remove(life);
            if self.warm.is_some_and(|(from, _)| from == *life) {
                self.warm = None;
            }
            if self.tombstone.is_some_and(|tombstone| tombstone.to == *life) {
                self.tombstone = None;
                self.arrived = None;
            }
            if self.arrived.is_some_and(|(_, from)| from == *life) {
                self.arrived = None;
            }
        }
    }

    /// A tombstone goes when the coordinator knows and nothing is kept with it.
    fn forget_tombstone(&mut self) {
        if self.tombstone.is_some_and(|tombstone| tombstone.acknowledged && tombstone.kept.is_none()) {
            self.tombstone = None;
        }
    }
}
