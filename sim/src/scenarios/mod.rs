//! The nastiest interleavings that we could think of, scripted: one idea a file, in the words of `stage.rs`.
//!
//! A seed finds what nobody thought of; a scenario shows what somebody did think of, every time, and says that it came
//! to pass. Each runs on the simulator's own engine, under every invariant, to the end: faults over, all settled.

mod cancel_crosses_accept;
mod coordinator_away;
mod corner;
mod late_transfer_after_cancel;
mod link_drops;
mod logout;
mod map_changes;
mod old_transfer;
mod recrossing;
mod reservation_expires;
mod stage;
mod teleport_back;
mod twin_connection;

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::bail;

use crate::run::panic_message;

/// A scripted run. Its name states the behaviour that it shows.
#[derive(Clone, Copy, Debug)]
pub struct NamedScenario {
    /// What it shows.
    pub name: &'static str,
    script: fn() -> anyhow::Result<()>,
}

impl NamedScenario {
    /// Plays it.
    ///
    /// # Errors
    /// If an invariant broke, or what it is about never came to pass.
    pub fn run(&self) -> anyhow::Result<()> {
        match catch_unwind(AssertUnwindSafe(self.script)) {
            Ok(result) => result,
            Err(panic) => bail!("a machine panicked: {}", panic_message(&*panic)),
        }
    }
}

/// Lists the scenarios, and makes each a test.
macro_rules! scenarios {
    ($($name:ident: $script:path,)+) => {
        /// Every scenario.
        pub const ALL: &[NamedScenario] =
            &[$(NamedScenario { name: stringify!($name), script: $script }),+];

        #[cfg(test)]
        mod tests {
            $(
                #[test]
                fn $name() {
                    super::play(stringify!($name));
                }
            )+
        }
    };
}

scenarios! {
    a_player_who_crosses_on_before_their_client_attached_is_followed: recrossing::run,
    a_dance_about_a_corner_of_four_nodes_ends_with_one_holder: corner::run,
    a_cancel_that_crosses_the_acceptance_changes_nothing: cancel_crosses_accept::run,
    a_transfer_that_comes_after_its_cancel_is_rejected: late_transfer_after_cancel::run,
    a_player_who_teleports_back_at_once_is_back: teleport_back::run,
    a_player_who_logs_out_in_transfer_leaves_from_the_target: logout::and_the_transfer_succeeds,
    a_player_who_logs_out_in_a_cancelled_transfer_leaves_from_the_source: logout::and_the_transfer_is_cancelled,
    a_link_that_drops_between_precopy_and_transfer_costs_only_time: link_drops::run,
    a_second_connection_with_the_same_token_is_refused: twin_connection::second_comes_late,
    a_client_whose_token_was_used_before_it_came_attaches_with_the_second: twin_connection::second_comes_first,
    a_client_that_lost_its_parked_connection_attaches_with_the_second_token: twin_connection::parked_connection_is_lost,
    a_late_duplicate_of_an_old_transfer_changes_nothing: old_transfer::run,
    a_reservation_that_expires_while_the_source_is_frozen_is_made_anew: reservation_expires::run,
    crossings_go_on_without_the_coordinator_and_its_lagging_directory_catches_up: coordinator_away::run,
    cells_dealt_anew_during_a_transfer_move_the_player_on: map_changes::run,
}

#[cfg(test)]
fn play(name: &str) {
    let scenario = ALL.iter().find(|scenario| scenario.name == name).expect("it is listed");
    if let Err(error) = scenario.run() {
        panic!("{name}: {error:#}");
    }
}
