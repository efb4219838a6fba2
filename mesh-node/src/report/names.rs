//! The reasons' names in reports: stable, unlike their sentences.

use selvedge_protocol::wire::RefuseReason;

pub(super) const fn refusal(reason: RefuseReason) -> &'static str {
    match reason {
        RefuseReason::NotYourCell => "not_your_cell",
        RefuseReason::NoOwner => "no_owner",
        RefuseReason::SameNode => "same_node",
        RefuseReason::TargetLost => "target_lost",
        RefuseReason::UnknownSource => "unknown_source",
        RefuseReason::NotYours => "not_yours",
        RefuseReason::Overloaded => "overloaded",
        RefuseReason::Draining => "draining",
        RefuseReason::Schema => "schema",
        RefuseReason::NotMyCell => "not_my_cell",
        RefuseReason::NotPrepared => "not_prepared",
        RefuseReason::Burned => "burned",
        RefuseReason::HeldHere => "held_here",
        RefuseReason::BadSnapshot => "bad_snapshot",
        RefuseReason::StalePrecopy => "stale_precopy",
        RefuseReason::Game => "game",
    }
}
