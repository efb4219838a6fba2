//! Known bugs, each with a bound within which the check must see it.

use selvedge_protocol::config::PlantedBug;

use super::bound::{Bound, LeaseBound};
use super::explore::{Explored, Mistake, Model, run};
use super::lease::LeaseModel;

/// A bug to build in.
#[derive(Debug)]
pub struct Plant {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Whether it takes more than a moment to be seen.
    pub is_deep: bool,
    seed: Seed,
}

#[derive(Debug)]
enum Seed {
    /// In the protocol's machines.
    Machine(PlantedBug, Bound),
    /// In what surrounds them.
    Around(Mistake, Bound),
    /// In the lease machines.
    Lease(PlantedBug, LeaseBound),
}

const ONE: Bound = Bound { handoffs: 1, crashes: 1, ..Bound::NONE };
const TWO: Bound = Bound { handoffs: 2, crashes: 1, ..Bound::NONE };
const TRIED: Bound = Bound { cancels: 1, refusals: 1, ..ONE };

const fn is_deep(bound: Bound) -> bool {
    bound.crashes > 0 && (bound.handoffs > 1 || bound.takeovers > 0)
}

const fn machine(name: &'static str, bug: PlantedBug, bound: Bound) -> Plant {
    Plant { name, is_deep: is_deep(bound), seed: Seed::Machine(bug, bound) }
}

const fn around(name: &'static str, mistake: Mistake, bound: Bound) -> Plant {
    Plant { name, is_deep: is_deep(bound), seed: Seed::Around(mistake, bound) }
}

const fn lease(name: &'static str, bug: PlantedBug, bound: LeaseBound) -> Plant {
    Plant { name, is_deep: false, seed: Seed::Lease(bug, bound) }
}

/// Every bug that the check can see. Tokens that admit twice are the simulator's to catch: there are no clients here. That
/// an older cut brings back what a newer one no longer holds shows only where entities are despawned: a test of the
/// verdict has it.
pub const PLANTS: [Plant; 17] = [
    around("thaw-on-timeout", Mistake::ThawOnTimeout, Bound { crashes: 0, ..ONE }),
    machine("ignore-epochs", PlantedBug::IgnoreEpochs, Bound { crashes: 0, ..ONE }),
    machine("forget-cancel", PlantedBug::ForgetCancel, Bound { crashes: 0, ..TRIED }),
    around("hear-the-fenced", Mistake::HearTheFenced, TRIED),
    around("drop-tombstone", Mistake::DropTombstone, ONE),
    machine("judge-early", PlantedBug::JudgeEarly, ONE),
    machine("ignore-moved", PlantedBug::IgnoreMoved, ONE),
    machine("ignore-verdict-epochs", PlantedBug::IgnoreVerdictEpochs, ONE),
    machine("obey-old-rounds", PlantedBug::ObeyOldRounds, Bound { takeovers: 1, ..ONE }),
    machine("ignore-floors", PlantedBug::IgnoreFloors, TWO),
    machine("discard-nothing", PlantedBug::DiscardNothing, TWO),
    around("acknowledge-while-open", Mistake::AcknowledgeWhileOpen, TWO),
    around("hear-old-term", Mistake::HearOldTerm, Bound { deposed: true, ..TWO }),
    lease("fence-without-margin", PlantedBug::FenceWithoutMargin, LeaseBound::SMALL),
    lease("fence-without-majority", PlantedBug::FenceWithoutMajority, LeaseBound::SMALL),
    lease("count-newest-voters", PlantedBug::CountNewestVoters, LeaseBound::CHANGED),
    lease("keep-voters", PlantedBug::KeepVoters, LeaseBound::MISSED),
];

impl Plant {
    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        PLANTS.iter().find(|plant| plant.name == name)
    }

    /// Explores with the bug built in, until it is seen.
    #[must_use]
    pub fn explore(&self, threads: usize) -> Explored {
        match self.seed {
            Seed::Machine(bug, bound) => {
                let model = Model { bug: Some(bug), ..Model::sound(bound) };
                run(self.name, model, threads)
            }
            Seed::Around(mistake, bound) => {
                let model = Model { mistake: Some(mistake), ..Model::sound(bound) };
                run(self.name, model, threads)
            }
            Seed::Lease(bug, bound) => {
                run(self.name, LeaseModel { bug: Some(bug), ..LeaseModel::sound(bound) }, threads)
            }
        }
    }
}
