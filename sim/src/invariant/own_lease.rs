//! Nobody simulates past its own lease, by its own clock.

use super::{Fact, Invariant, Step, Violation};

const NAME: &str = "A1 own lease";

/// Listens to who went on after its lease had run out. See the module's page.
#[derive(Clone, Copy, Debug)]
pub struct OwnLease;

impl Invariant for OwnLease {
    fn observe(&mut self, step: &Step<'_>) -> Result<(), Violation> {
        let outlived = step.facts.iter().find_map(|fact| match fact {
            Fact::LeaseOutlived { node, entity, expired_for } => Some((node, entity, expired_for)),
            Fact::Standing { .. }
            | Fact::Published { .. }
            | Fact::Born { .. }
            | Fact::Gone { .. }
            | Fact::Ended { .. }
            | Fact::LifeOver { .. }
            | Fact::StoodStill { .. }
            | Fact::Stirred { .. }
            | Fact::CutSafe { .. }
            | Fact::Restored { .. }
            | Fact::PlayerBegan { .. }
            | Fact::Acted { .. }
            | Fact::Renumbered { .. }
            | Fact::Client { .. }
            | Fact::CoordinatorSawViolation { .. }
            | Fact::AdmissionAsked { .. }
            | Fact::TokenGranted { .. }
            | Fact::TokenShown { .. }
            | Fact::Admitted { .. }
            | Fact::Action { .. }
            | Fact::Attached { .. }
            | Fact::Runs { .. }
            | Fact::Event(_)
            | Fact::GhostsShown { .. }
            | Fact::GameComplained { .. }
            | Fact::Inspected(_) => None,
        });
        outlived.map_or(Ok(()), |(node, entity, expired_for)| {
            let what = format!("node {node} still holds {entity}, {expired_for:?} after its lease ran out");
            Err(Violation { invariant: NAME, what, entity: Some(*entity), player: None })
        })
    }
}
