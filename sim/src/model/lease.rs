//! A lease between the node that holds it, the voters that witness it, and the coordinator that would end it: over a
//! network that loses, doubles and reorders, with clocks that run apart as far as the margin covers.

use core::time::Duration;
use std::collections::BTreeSet;

#[cfg(feature = "planted-bugs")]
use selvedge_protocol::config::PlantedBug;
use selvedge_protocol::id::Peer;
use selvedge_protocol::lease::{LeaseHolder, Plea, Warden, WardenAction, WardenSettings, Witness};
use selvedge_protocol::time::Time;
use selvedge_protocol::wire::Assignment;
use stateright::Property;

use super::bound::LeaseBound;
use super::state::peer;

/// One step of time. A lease lasts two; the holder's clock may lose one.
const STEP: Duration = Duration::from_secs(1);
const SETTINGS: WardenSettings = WardenSettings {
    lease: Duration::from_secs(2),
    margin: Duration::from_secs(1),
    // Suspicion is a free event.
    suspect_after: Duration::from_secs(3_600),
    // What was asked stays asked.
    retry: Duration::from_secs(3_600),
};
/// When the history begins: late enough that nothing is before the origin.
const BEGIN: Time = Time::from_micros(1_000_000_000);

/// The first of the nodes holds the lease; the others, and the coordinator, vote.
const HOLDER: usize = 0;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Voter {
    Coordinator,
    Node(usize),
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Said {
    Renew { to: Voter, sent_at: Time },
    Renewed { by: Voter, sent_at: Time },
    AskPromise { to: usize },
    Promised { by: usize, answered_ago: Option<Duration> },
    Assign { version: u64, voters: Vec<Peer>, buddy: Option<Peer> },
    Assigned { version: u64 },
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct LeaseState {
    /// True time, and the coordinator's and the voters' clocks.
    now: Time,
    /// Whether the holder's clock has lost its step.
    late: bool,
    holder: LeaseHolder,
    witnesses: Vec<Witness>,
    warden: Warden,
    said: BTreeSet<Said>,
    renewals_left: u8,
    steps_left: u8,
    /// The coordinator has said that the life is over.
    over: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum LeaseAction {
    Hear(Said),
    Renew,
    Suspect,
    Pass { holder_loses_it: bool },
}

#[derive(Clone)]
pub(super) struct LeaseModel {
    pub(super) bound: LeaseBound,
    #[cfg(feature = "planted-bugs")]
    pub(super) bug: Option<PlantedBug>,
}

impl LeaseModel {
    pub(super) fn sound(bound: LeaseBound) -> Self {
        Self {
            bound,
            #[cfg(feature = "planted-bugs")]
            bug: None,
        }
    }
}

impl LeaseState {
    fn holders_now(&self) -> Time {
        if self.late { self.now - STEP } else { self.now }
    }

    fn watch(&mut self) {
        for action in self.warden.handle_due(self.now) {
            match action {
                WardenAction::AskPromise { voter, of } if of == peer(HOLDER, 1) => {
                    self.said.insert(Said::AskPromise { to: super::state::index_of(voter) });
                }
                WardenAction::Over { of } => self.over |= of == peer(HOLDER, 1),
                WardenAction::Assign { to, assignment } => {
                    let Assignment { version, voters, buddy } = assignment;
                    if to == peer(HOLDER, 1) {
                        self.said.insert(Said::Assign { version, voters, buddy });
                    } else {
                        self.warden.acknowledged(to, version);
                    }
                }
                WardenAction::AskPromise { .. } | WardenAction::Suspected { .. } => {}
            }
        }
    }

    fn hear(&mut self, said: &Said) {
        let me = peer(HOLDER, 1);
        let at = self.holders_now();
        match *said {
            Said::Renew { to: Voter::Coordinator, sent_at } => {
                if self.warden.heard(me, self.now) {
                    self.said.insert(Said::Renewed { by: Voter::Coordinator, sent_at });
                }
            }
            Said::Renew { to: Voter::Node(voter), sent_at } => {
                if self.witnesses[voter].renew(me, self.now) {
                    self.said.insert(Said::Renewed { by: Voter::Node(voter), sent_at });
                }
            }
            Said::Renewed { by: Voter::Coordinator, sent_at } => {
                self.holder.answered_by_coordinator(sent_at, at)
            }
            Said::Renewed { by: Voter::Node(voter), sent_at } => {
                self.holder.answered_by(peer(voter, 1), sent_at, at);
            }
            Said::AskPromise { to } => {
                let again =
                    self.said.iter().any(|said| matches!(said, Said::Promised { by, .. } if *by == to));
                if let (Plea::Promised(answered_ago), false) =
                    (self.witnesses[to].promise(me, self.now), again)
                {
                    self.said.insert(Said::Promised { by: to, answered_ago });
                }
            }
            Said::Promised { by, answered_ago } => {
                self.warden.promised(peer(by, 1), me, answered_ago, self.now);
            }
            Said::Assign { version, ref voters, buddy } => {
                self.holder.assign(Assignment { version, voters: voters.clone(), buddy }, at);
            }
            Said::Assigned { version } => self.warden.acknowledged(me, version),
        }
        // The holder says which voters it goes by, as soon as it does.
        let version = self.holder.assignment().version;
        if version > 0 {
            self.said.insert(Said::Assigned { version });
        }
        self.watch();
    }
}

impl stateright::Model for LeaseModel {
    type State = LeaseState;
    type Action = LeaseAction;

    fn init_states(&self) -> Vec<LeaseState> {
        let mut warden = Warden::new(SETTINGS);
        #[cfg(feature = "planted-bugs")]
        if let Some(bug) = self.bug {
            warden.plant(bug);
        }
        for index in 0..=self.bound.voters {
            warden.admit(peer(index, 1), "host", Assignment::default(), BEGIN);
        }
        let mut first = LeaseState {
            now: BEGIN,
            late: false,
            holder: LeaseHolder::granted(SETTINGS.lease, BEGIN),
            witnesses: vec![Witness::new(SETTINGS.lease + SETTINGS.margin); self.bound.voters + 1],
            warden,
            said: BTreeSet::new(),
            renewals_left: self.bound.renewals,
            steps_left: self.bound.steps,
            over: false,
        };
        first.watch();
        // Some voters are told and heard before the history begins.
        let me = peer(HOLDER, 1);
        for _ in 0..self.bound.assigned {
            let told: Vec<Said> = core::mem::take(&mut first.said).into_iter().collect();
            for said in told {
                if let Said::Assign { version, voters, buddy } = said {
                    first.holder.assign(Assignment { version, voters, buddy }, BEGIN);
                    let voters: Vec<Peer> = first.holder.voters().collect();
                    for voter in voters {
                        first.witnesses[super::state::index_of(voter)].renew(me, BEGIN);
                        first.holder.answered_by(voter, BEGIN, BEGIN);
                    }
                    first.warden.acknowledged(me, version);
                }
            }
            first.watch();
        }
        vec![first]
    }

    fn actions(&self, state: &LeaseState, actions: &mut Vec<LeaseAction>) {
        actions.extend(state.said.iter().cloned().map(LeaseAction::Hear));
        if state.renewals_left > 0 && state.holder.is_valid(state.holders_now()) {
            actions.push(LeaseAction::Renew);
        }
        if state.warden.is_alive(peer(HOLDER, 1)) {
            actions.push(LeaseAction::Suspect);
        }
        if state.steps_left > 0 {
            actions.push(LeaseAction::Pass { holder_loses_it: false });
            if !state.late {
                actions.push(LeaseAction::Pass { holder_loses_it: true });
            }
        }
    }

    fn next_state(&self, state: &LeaseState, action: LeaseAction) -> Option<LeaseState> {
        let mut next = state.clone();
        match action {
            LeaseAction::Hear(said) => next.hear(&said),
            LeaseAction::Renew => {
                next.renewals_left -= 1;
                let sent_at = next.holders_now();
                let nodes = next.holder.voters().map(|voter| Voter::Node(super::state::index_of(voter)));
                let to: Vec<Voter> = nodes.chain([Voter::Coordinator]).collect();
                next.said.extend(to.into_iter().map(|to| Said::Renew { to, sent_at }));
            }
            LeaseAction::Suspect => {
                next.warden.suspect(peer(HOLDER, 1), next.now);
                next.watch();
            }
            LeaseAction::Pass { holder_loses_it } => {
                next.steps_left -= 1;
                next.now += STEP;
                next.late |= holder_loses_it;
                next.watch();
            }
        }
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("A1 a life that is over has stopped by itself", |_, state: &LeaseState| {
            !(state.over && state.holder.is_valid(state.holders_now()))
        })]
    }
}
