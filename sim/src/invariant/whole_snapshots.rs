//! What reaches a game is whole: hot state and components of one moment, inputs only for what is there.

use super::{Fact, Invariant, Step, Violation};

/// Listens to what the games complain of. See the module's page.
#[derive(Clone, Copy, Debug)]
pub struct WholeSnapshots;

impl Invariant for WholeSnapshots {
    fn observe(&mut self, step: &Step<'_>) -> Result<(), Violation> {
        let complaint = step.facts.iter().find_map(|fact| match fact {
            Fact::GameComplained { node, entity, what } => Some((node, entity, what)),
            Fact::Standing { .. }
            | Fact::Published { .. }
            | Fact::Born { .. }
            | Fact::Gone { .. }
            | Fact::PlayerBegan { .. }
            | Fact::Ended { .. }
            | Fact::StoodStill { .. }
            | Fact::Stirred { .. }
            | Fact::Acted { .. }
            | Fact::Renumbered { .. }
            | Fact::LifeOver { .. }
            | Fact::LeaseOutlived { .. }
            | Fact::CutSafe { .. }
            | Fact::Restored { .. }
            | Fact::Client { .. }
            | Fact::CoordinatorSawViolation { .. }
            | Fact::AdmissionAsked { .. }
            | Fact::TokenGranted { .. }
            | Fact::TokenShown { .. }
            | Fact::Action { .. }
            | Fact::Admitted { .. }
            | Fact::Attached { .. }
            | Fact::Runs { .. }
            | Fact::Event(_)
            | Fact::GhostsShown { .. }
            | Fact::Inspected(_) => None,
        });
        match complaint {
            None => Ok(()),
            Some((node, entity, what)) => Err(Violation {
                invariant: "whole snapshots",
                what: format!("the game of node {node} was given, for {entity}: {what}"),
                entity: Some(*entity),
                player: None,
            }),
        }
    }
}
