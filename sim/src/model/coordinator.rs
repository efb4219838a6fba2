//! The coordinator of the model: its round keeper, and what the store keeps over its death.

use std::collections::BTreeSet;

use selvedge_protocol::id::{Peer, Term};
use selvedge_protocol::recovery::{ClaimsPart, RoundKeeper, RoundOutput};
use selvedge_protocol::time::Time;
use selvedge_protocol::wire::{RecoveryMessage, Round};

use super::explore::Model;
use super::network::{Envelope, Party, Said};
use super::shared::Shared;
use super::state::{State, peer};

/// What outlives every coordinator. Only the one in office writes it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Store {
    pub(super) round: Round,
    /// The newest life of each node that was registered.
    pub(super) lives: Vec<Peer>,
    /// Lives that are over and not yet recovered.
    pub(super) dead: BTreeSet<Peer>,
    /// Lives that were recovered.
    pub(super) recovered: BTreeSet<Peer>,
}

impl Store {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            round: Round::default(),
            lives: (0..nodes).map(|index| peer(index, 1)).collect(),
            dead: BTreeSet::new(),
            recovered: BTreeSet::new(),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Coordinator {
    pub(super) term: u64,
    pub(super) keeper: RoundKeeper,
}

impl Coordinator {
    /// One that starts, or takes over, with what the store knows.
    pub(super) fn from_store(store: &Store, term: u64, model: &Model) -> Self {
        let mut keeper = model.keeper(store.round);
        for &life in &store.lives {
            if !store.dead.contains(&life) && !store.recovered.contains(&life) {
                keeper.join(life);
            }
        }
        for &life in &store.dead {
            keeper.bury(life);
        }
        Self { term, keeper }
    }
}

impl State {
    pub(super) fn in_office(&self) -> usize {
        self.coordinators.len() - 1
    }

    /// The lease of a life has been waited out.
    pub(super) fn bury(&mut self, life: Peer) {
        let office = self.in_office();
        self.coordinators[office].keeper.bury(life);
        self.begin();
    }

    /// A new life is registered.
    pub(super) fn register(&mut self, index: usize, life: Peer) {
        let office = self.in_office();
        self.store.lives[index] = life;
        self.coordinators[office].keeper.join(life);
        self.begin();
    }

    /// Another coordinator takes office. The former one still runs.
    pub(super) fn take_over(&mut self, model: &Model) {
        let term = self.coordinators[self.in_office()].term + 1;
        let coordinator = Coordinator::from_store(&self.store, term, model);
        self.coordinators.push(Shared::new(coordinator));
        // Whoever holds anything reports it anew.
        self.reported.push(self.highest);
        self.begin();
    }

    /// Persists what a wanted round needs, then begins it.
    fn begin(&mut self) {
        let office = self.in_office();
        if self.coordinators[office].keeper.wanted_above().is_none() {
            self.drain(office);
            return;
        }
        let Coordinator { term, keeper } = &mut *self.coordinators[office];
        if let Some(above) = keeper.wanted_above() {
            let round = Round { term: Term(*term), number: above + 1 };
            self.store.round = round;
            self.store.dead = keeper.dead().clone();
            keeper.begin(round, Time::ZERO);
        }
        self.drain(office);
    }

    fn drain(&mut self, coordinator: usize) {
        let in_office = coordinator == self.in_office();
        while let Some(output) = self.coordinators[coordinator].keeper.poll_output() {
            match output {
                RoundOutput::Send { to, message } => {
                    self.network.say(
                        Party::Coordinator(coordinator),
                        Party::Node(to),
                        Said::Recovery(message),
                    );
                }
                RoundOutput::Decided(_) => {}
                RoundOutput::Closed { dead, .. } => {
                    if in_office {
                        self.store.recovered.extend(&dead);
                        self.store.dead.clear();
                    }
                }
            }
        }
    }

    pub(super) fn deliver_to_coordinator(&mut self, coordinator: usize, envelope: &Envelope) {
        let (Party::Node(from), Said::Recovery(message)) = (envelope.from, &envelope.said) else {
            return;
        };
        let Some(office) = self.coordinators.get_mut(coordinator) else {
            return;
        };
        let keeper = &mut office.keeper;
        match message.clone() {
            RecoveryMessage::Claims { round, part, parts, cuts, claims } => {
                keeper.on_claims(from, ClaimsPart { round, part, parts, cuts, claims }, Time::ZERO);
            }
            RecoveryMessage::Carried { round } => {
                keeper.on_carried(from, round);
            }
            RecoveryMessage::Fence { .. }
            | RecoveryMessage::Verdict { .. }
            | RecoveryMessage::Closed { .. } => {}
        }
        self.drain(coordinator);
    }
}
