//! A lease between the node that holds it, the voters that witness it, and the coordinator that would end it: over a
//! network that loses, doubles and reorders, with clocks that run apart as far as the margin covers, voters that die,
//! and a coordinator that goes on from what it kept.

use core::time::Duration;
use std::collections::BTreeSet;

#[cfg(feature = "planted-bugs")]
use selvedge_protocol::config::PlantedBug;
use selvedge_protocol::id::Peer;
use selvedge_protocol::lease::{LeaseHolder, Plea, Warden, WardenAction, WardenSettings, Witness};
use selvedge_protocol::time::Time;
use selvedge_protocol::wire::Assignment;
use stateright::{Model as _, Property};

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
    Assigned { version: u64, heard: u64 },
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct LeaseState {
    /// True time, and the coordinator's and the voters' clocks.
    now: Time,
    /// Whether the holder's clock has lost its step.
    late: bool,
    holder: LeaseHolder,
    /// Of each node; none once its life is over.
    witnesses: Vec<Option<Witness>>,
    warden: Warden,
    /// The sets of voters that the coordinator has kept, oldest first.
    kept: Vec<Assignment>,
    said: BTreeSet<Said>,
    renewals_left: u8,
    steps_left: u8,
    ends_left: u8,
    restarts_left: u8,
    /// The coordinator has said that the life is over.
    over: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum LeaseAction {
    Hear(Said),
    Renew,
    Suspect,
    /// A voter's life is over.
    End(usize),
    /// The coordinator begins anew.
    Restart,
    Pass {
        holder_loses_it: bool,
    },
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

    /// A new coordinator's, that watches nobody yet.
    #[cfg_attr(
        not(feature = "planted-bugs"),
        allow(clippy::unused_self, unused_mut, reason = "a bug may be planted")
    )]
    fn warden(&self) -> Warden {
        let mut warden = Warden::new(SETTINGS);
        #[cfg(feature = "planted-bugs")]
        if let Some(bug) = self.bug {
            warden.plant(bug);
        }
        warden
    }
}

impl LeaseState {
    /// What the voters are told is heard and answered before the history begins.
    fn settle(&mut self) {
        let me = peer(HOLDER, 1);
        for said in core::mem::take(&mut self.said) {
            if let Said::Assign { version, voters, buddy } = said {
                self.holder.assign(Assignment { version, voters, buddy }, BEGIN);
                let voters: Vec<Peer> = self.holder.voters().collect();
                for voter in voters {
                    if let Some(witness) = &mut self.witnesses[super::state::index_of(voter)] {
                        witness.renew(me, BEGIN);
                    }
                    self.holder.answered_by(voter, BEGIN, BEGIN);
                }
                self.warden.assigned(me, version, version);
            }
        }
        self.watch();
    }

    /// A new coordinator knows of a life that was over, and what was kept of one that was not.
    fn restart(&mut self, warden: Warden) {
        self.warden = warden;
        if !self.over {
            self.warden.restore(peer(HOLDER, 1), "host", self.kept.clone(), self.now);
        }
        for voter in (HOLDER + 1..self.witnesses.len()).filter(|&voter| self.witnesses[voter].is_some()) {
            self.warden.restore(peer(voter, 1), "host", vec![Assignment::default()], self.now);
        }
        self.watch();
    }

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
                        self.kept = self.warden.sets_of(to).cloned().collect();
                        self.said.insert(Said::Assign { version, voters, buddy });
                    } else {
                        self.warden.assigned(to, version, version);
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
                let answers = self.witnesses[voter].as_mut().map(|witness| witness.renew(me, self.now));
                match answers {
                    Some(true) => {
                        self.said.insert(Said::Renewed { by: Voter::Node(voter), sent_at });
                    }
                    Some(false) => self.say_promised(voter),
                    None => {}
                }
            }
            Said::Renewed { by: Voter::Coordinator, sent_at } => {
                self.holder.answered_by_coordinator(sent_at, at)
            }
            Said::Renewed { by: Voter::Node(voter), sent_at } => {
                self.holder.answered_by(peer(voter, 1), sent_at, at);
            }
            Said::AskPromise { to } => self.say_promised(to),
            Said::Promised { by, answered_ago } => {
                self.warden.promised(peer(by, 1), me, answered_ago, self.now);
            }
            Said::Assign { version, ref voters, buddy } => {
                self.holder.assign(Assignment { version, voters: voters.clone(), buddy }, at);
            }
            Said::Assigned { version, heard } => self.warden.assigned(me, version, heard),
        }
        // The holder says which voters it goes by, and may go by next, as soon as it does.
        let (version, heard) = (self.holder.assignment().version, self.holder.heard());
        if heard > 0 {
            self.said.insert(Said::Assigned { version, heard });
        }
        self.watch();
    }

    /// What is promised is said once: it may be heard again and again.
    fn say_promised(&mut self, voter: usize) {
        let again = self.said.iter().any(|said| matches!(said, Said::Promised { by, .. } if *by == voter));
        let plea = self.witnesses[voter].as_mut().map(|witness| witness.promise(peer(HOLDER, 1), self.now));
        if let (Some(Plea::Promised(answered_ago)), false) = (plea, again) {
            self.said.insert(Said::Promised { by: voter, answered_ago });
        }
    }

    fn renew(&mut self) {
        let sent_at = self.holders_now();
        let nodes = self.holder.voters().map(|voter| Voter::Node(super::state::index_of(voter)));
        let to: Vec<Voter> = nodes.chain([Voter::Coordinator]).collect();
        let said = self.said.len();
        self.said.extend(to.into_iter().map(|to| Said::Renew { to, sent_at }));
        // What is said again at the same time is no other renewal.
        self.renewals_left -= u8::from(self.said.len() > said);
    }

    /// What happens by itself.
    fn due(&self, actions: &mut Vec<LeaseAction>) {
        actions.extend(self.said.iter().cloned().map(LeaseAction::Hear));
        if self.renewals_left > 0 && self.holder.is_valid(self.holders_now()) {
            actions.push(LeaseAction::Renew);
        }
    }

    /// Whether who lives on, and is heard, goes by voters who live and would answer it, and will go by no others.
    fn goes_by_the_living(&self, model: &LeaseModel) -> bool {
        let answers = |voter: Peer| {
            let witness = self.witnesses[super::state::index_of(voter)].as_ref();
            witness.is_some_and(|witness| !witness.has_promised(peer(HOLDER, 1)))
        };
        if self.holder.voters().all(answers) || self.renewals_left == 0 {
            return true;
        }
        let lives = self.warden.is_alive(peer(HOLDER, 1)) && self.holder.is_valid(self.holders_now());
        !lives || self.moves_by_itself(model)
    }

    fn moves_by_itself(&self, model: &LeaseModel) -> bool {
        let mut actions = Vec::new();
        self.due(&mut actions);
        actions.into_iter().any(|action| model.next_state(self, action).is_some())
    }
}

impl stateright::Model for LeaseModel {
    type State = LeaseState;
    type Action = LeaseAction;

    fn init_states(&self) -> Vec<LeaseState> {
        let mut warden = self.warden();
        for index in 0..=self.bound.voters {
            warden.admit(peer(index, 1), "host", BEGIN);
        }
        let mut first = LeaseState {
            now: BEGIN,
            late: false,
            holder: LeaseHolder::granted(SETTINGS.lease, BEGIN),
            witnesses: vec![Some(Witness::new(SETTINGS.lease + SETTINGS.margin)); self.bound.voters + 1],
            warden,
            kept: vec![Assignment::default()],
            said: BTreeSet::new(),
            renewals_left: self.bound.renewals,
            steps_left: self.bound.steps,
            ends_left: self.bound.ends,
            restarts_left: self.bound.restarts,
            over: false,
        };
        first.watch();
        if self.bound.assigned {
            first.settle();
        }
        vec![first]
    }

    fn actions(&self, state: &LeaseState, actions: &mut Vec<LeaseAction>) {
        state.due(actions);
        if state.ends_left > 0 {
            let up = (HOLDER + 1..state.witnesses.len()).filter(|&voter| state.witnesses[voter].is_some());
            actions.extend(up.map(LeaseAction::End));
        }
        if state.restarts_left > 0 {
            actions.push(LeaseAction::Restart);
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
            LeaseAction::Renew => next.renew(),
            LeaseAction::End(voter) => {
                next.ends_left -= 1;
                next.witnesses[voter] = None;
                next.warden.confessed(peer(voter, 1));
                next.watch();
            }
            LeaseAction::Restart => {
                next.restarts_left -= 1;
                next.restart(self.warden());
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
        vec![
            Property::always("A1 a life that is over has stopped by itself", |_, state: &LeaseState| {
                !(state.over && state.holder.is_valid(state.holders_now()))
            }),
            Property::always(
                "A4 who lives goes by voters who live and answer",
                |model, state: &LeaseState| state.goes_by_the_living(model),
            ),
        ]
    }
}
