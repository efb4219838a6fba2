//! Explores a bound in full, and says what was found.

use core::fmt;
use core::time::Duration;
use std::time::Instant;

#[cfg(feature = "planted-bugs")]
use selvedge_protocol::config::PlantedBug;
use selvedge_protocol::id::Peer;
use selvedge_protocol::recovery::RoundKeeper;
use selvedge_protocol::wire::Round;
use stateright::{Checker, HasDiscoveries, Property};

use super::actions::Action;
use super::bound::{Bound, LeaseBound};
use super::lease::LeaseModel;
use super::properties;
use super::state::{Node, State};

/// A mistake in what surrounds the protocol's machines: rules that `Node` and `Coordinator` hold, and the model for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(
    not(feature = "planted-bugs"),
    allow(dead_code, reason = "mistakes are made by planted bugs alone")
)]
pub(super) enum Mistake {
    /// A frozen source goes on when the target stays silent.
    ThawOnTimeout,
    /// What a fenced life says is heard.
    HearTheFenced,
    /// The word of a coordinator of an older term counts.
    HearOldTerm,
    /// A source keeps nothing of what it gave away.
    DropTombstone,
    /// The coordinator acknowledges changes of authority while a round is open.
    AcknowledgeWhileOpen,
}

/// The mesh of one bound, and what is planted in it.
#[derive(Clone)]
pub(super) struct Model {
    pub(super) bound: Bound,
    pub(super) mistake: Option<Mistake>,
    #[cfg(feature = "planted-bugs")]
    pub(super) bug: Option<PlantedBug>,
}

impl Model {
    pub(super) fn sound(bound: Bound) -> Self {
        Self {
            bound,
            mistake: None,
            #[cfg(feature = "planted-bugs")]
            bug: None,
        }
    }

    /// A new life of a node.
    #[cfg_attr(not(feature = "planted-bugs"), allow(clippy::unused_self, reason = "a bug may be planted"))]
    pub(super) fn node(&self, me: Peer) -> Node {
        #[cfg(feature = "planted-bugs")]
        if let Some(bug) = self.bug {
            let mut node = Node::new(me);
            node.table.plant(bug);
            node.participant.plant(bug);
            return node;
        }
        Node::new(me)
    }

    /// A new coordinator's keeper.
    #[cfg_attr(not(feature = "planted-bugs"), allow(clippy::unused_self, reason = "a bug may be planted"))]
    pub(super) fn keeper(&self, last: Round) -> RoundKeeper {
        let retry = Duration::from_secs(1);
        #[cfg(feature = "planted-bugs")]
        if let Some(bug) = self.bug {
            let mut keeper = RoundKeeper::new(last, retry);
            keeper.plant(bug);
            return keeper;
        }
        RoundKeeper::new(last, retry)
    }
}

impl stateright::Model for Model {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.due(self.mistake, actions);
        state.chances(self.mistake, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        next.step(&action, self);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

/// What an exploration found.
#[derive(Clone, Debug)]
pub struct Explored {
    /// The bound's name.
    pub bound: &'static str,
    /// Different states.
    pub states: usize,
    /// Steps of the longest shortest history.
    pub depth: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// The property that does not hold, and a shortest history that breaks it.
    pub violation: Option<Violation>,
}

/// A property that does not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub property: &'static str,
    /// What happens, step by step.
    pub steps: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} does not hold after {} steps:", self.property, self.steps.len())?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:>4}. {step}", number + 1)?;
        }
        Ok(())
    }
}

/// Explores handoffs and recovery within a bound, on so many threads.
#[must_use]
pub fn explore(bound: &Bound, threads: usize) -> Explored {
    run(bound.name, Model::sound(*bound), threads)
}

/// Explores a lease within a bound, on so many threads.
#[must_use]
pub fn explore_lease(bound: &LeaseBound, threads: usize) -> Explored {
    run(bound.name, LeaseModel::sound(*bound), threads)
}

pub(super) fn run<M>(name: &'static str, model: M, threads: usize) -> Explored
where
    M: stateright::Model + Send + Sync + 'static,
    M::State: std::hash::Hash + fmt::Debug + PartialEq + Clone + Send + Sync + 'static,
    M::Action: fmt::Debug + PartialEq + Clone + Send + Sync + 'static,
{
    let started = Instant::now();
    let checker =
        model.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let elapsed = started.elapsed();
    let violation =
        checker.discoveries().into_iter().min_by_key(|(property, _)| *property).map(|(property, path)| {
            Violation {
                property,
                steps: path.into_actions().iter().map(|action| format!("{action:?}")).collect(),
            }
        });
    Explored {
        bound: name,
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        elapsed,
        violation,
    }
}
