//! What all bots have seen, added up.

use std::time::Duration;

use hdrhistogram::Histogram;
use selvedge_client::ClientStats;
use selvedge_protocol::id::EntityId;
use serde::Serialize;

use super::SharedAccount;
use super::account::{Account, lock};
use crate::figures::empty;

/// One bot's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BotAccount {
    /// Its name.
    pub name: String,
    /// Its entity; none if it was never in the world.
    pub entity: Option<EntityId>,
    /// Inputs sent.
    pub sent: u64,
    /// Inputs applied, as counted inside the entity.
    pub applied: u64,
    /// Inputs that reached the entity twice, as counted inside it.
    pub doubled: u64,
    /// Numbers that were left out, as counted inside it.
    pub skipped: u64,
    /// Whether the last input was seen applied.
    pub drained: bool,
    /// Whether the session ended though the bot didn't want it.
    pub over_unasked: bool,
    /// Whether it logged out.
    pub logged_out: bool,
}

impl BotAccount {
    /// Inputs that were sent and never applied.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.applied)
    }

    /// Inputs that took effect, or tried to, more than once.
    #[must_use]
    pub const fn doubled_in_all(&self) -> u64 {
        self.doubled + self.applied.saturating_sub(self.sent)
    }
}

/// What all bots have seen up to a moment.
#[derive(Debug, Clone)]
pub struct BotsSnapshot {
    /// How many bots there are.
    pub players: usize,
    /// Of these, who was in the world at some time.
    pub entered: usize,
    /// Of these, whose session ended without their wish.
    pub over_unasked: usize,
    /// Who has logged out.
    pub logged_out: usize,
    /// How long they have played.
    pub elapsed: Duration,
    /// Inputs sent.
    pub sent: u64,
    /// Inputs applied, as counted inside the entities.
    pub applied: u64,
    /// Inputs sent and not, or not yet, applied.
    pub lost: u64,
    /// Inputs that took effect, or tried to, more than once.
    pub doubled: u64,
    /// Numbers that were left out.
    pub skipped: u64,
    /// Inputs that the client didn't take because too many were unacknowledged.
    pub not_taken: u64,
    /// States shown.
    pub states: u64,
    /// Of these, overtaken by a newer one.
    pub states_reordered: u64,
    /// Of these, not to be read.
    pub states_unreadable: u64,
    /// Others whom the players saw at their last look.
    pub others: u64,
    /// Others whom they saw at all looks together; they look around once a second.
    pub others_shown: u64,
    /// How often they looked.
    pub looks: u64,
    /// Times that another node took over.
    pub switches: u64,
    /// Of these, over a connection that had been prepared.
    pub prepared_switches: u64,
    /// Of these, with a tick between the old node's last state and the new one's first that was never shown.
    pub switches_unseen: u64,
    /// Times that a bot lost every connection.
    pub lost_connections: u64,
    /// Times that a bot's connection stood and no state came.
    pub silent: u64,
    /// Times that another node restored a bot's entity.
    pub recoveries: u64,
    /// Inputs that a recovery undid and that were sent again.
    pub replayed: u64,
    /// Inputs that a recovery undid for good; they count as lost, too.
    pub undone: u64,
    /// Times that the door said no.
    pub refused_at_door: u64,
    /// Why, the last time.
    pub last_refusal: Option<String>,
    /// Times that two nodes claimed one epoch.
    pub two_authorities: u64,
    /// Times that an older authority spoke after a newer one.
    pub epochs_back: u64,
    /// Times that a new authority showed a tick that the old one had shown.
    pub ticks_back: u64,
    /// `client_gap` of every switch, in microseconds.
    pub client_gap_us: Histogram<u64>,
    /// How far from their originals others were shown, in millimetres.
    pub off_mm: Histogram<u64>,
    /// The same, of those within 30 m who stood in another node's cell than the player who saw them.
    pub off_over_border_mm: Histogram<u64>,
}

impl BotsSnapshot {
    pub(super) fn new(players: usize, elapsed: Duration) -> Self {
        Self {
            players,
            entered: 0,
            over_unasked: 0,
            logged_out: 0,
            elapsed,
            sent: 0,
            applied: 0,
            lost: 0,
            doubled: 0,
            skipped: 0,
            not_taken: 0,
            states: 0,
            states_reordered: 0,
            states_unreadable: 0,
            others: 0,
            others_shown: 0,
            looks: 0,
            switches: 0,
            prepared_switches: 0,
            switches_unseen: 0,
            lost_connections: 0,
            silent: 0,
            recoveries: 0,
            replayed: 0,
            undone: 0,
            refused_at_door: 0,
            last_refusal: None,
            two_authorities: 0,
            epochs_back: 0,
            ticks_back: 0,
            client_gap_us: empty(),
            off_mm: empty(),
            off_over_border_mm: empty(),
        }
    }

    pub(super) fn add(&mut self, account: &Account) {
        let public = account.to_public();
        self.entered += usize::from(account.entity.is_some());
        self.over_unasked += usize::from(account.over_unasked);
        self.logged_out += usize::from(account.logged_out);
        self.sent += public.sent;
        self.applied += public.applied;
        self.lost += public.lost();
        self.doubled += public.doubled_in_all();
        self.skipped += public.skipped;
        self.not_taken += account.not_taken;
        self.states += account.states;
        self.states_reordered += account.states_reordered;
        self.states_unreadable += account.states_unreadable;
        self.others += account.others;
        self.others_shown += account.others_shown;
        self.looks += account.looks;
        self.switches += account.switches;
        self.prepared_switches += account.prepared_switches;
        self.switches_unseen += account.switches_unseen;
        self.lost_connections += account.lost;
        self.silent += account.silent;
        self.recoveries += account.recoveries;
        self.replayed += account.replayed;
        self.undone += account.undone;
        self.refused_at_door += account.refused_at_door;
        self.last_refusal = account.last_refusal.clone().or(self.last_refusal.take());
        self.two_authorities += account.two_authorities;
        self.epochs_back += account.epochs_back;
        self.ticks_back += account.ticks_back;
    }

    /// What the bots saw that breaks A1.
    #[must_use]
    pub const fn authority_violations(&self) -> u64 {
        self.two_authorities + self.epochs_back + self.ticks_back
    }

    /// States a second that one player was shown, on average.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn states_per_second(&self) -> f64 {
        let player_seconds = self.elapsed.as_secs_f64() * self.entered as f64;
        if player_seconds > 0.0 { self.states as f64 / player_seconds } else { 0.0 }
    }

    /// How many others a player saw at a look, on average.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a mean for people")]
    pub fn others_in_sight(&self) -> f64 {
        if self.looks > 0 { self.others_shown as f64 / self.looks as f64 } else { 0.0 }
    }
}

/// What all bots have seen in all.
#[derive(Debug, Clone)]
pub struct BotsReport {
    /// The sums.
    pub sums: BotsSnapshot,
    /// Each bot's result.
    pub bots: Vec<BotAccount>,
    /// What the bots' clients counted.
    pub clients: ClientStats,
}

impl BotsReport {
    pub(super) fn new(sums: BotsSnapshot, accounts: &[SharedAccount]) -> Self {
        let mut clients = ClientStats::default();
        let mut bots = Vec::with_capacity(accounts.len());
        for account in accounts {
            let account = lock(account);
            if let Some(stats) = &account.stats {
                clients.add(stats);
            }
            bots.push(account.to_public());
        }
        Self { sums, bots, clients }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_input_of_one_bot_is_not_made_up_for_by_a_doubled_one_of_another() {
        let account = |sent, applied| BotAccount {
            name: String::new(),
            entity: None,
            sent,
            applied,
            doubled: 0,
            skipped: 0,
            drained: true,
            over_unasked: false,
            logged_out: true,
        };
        let (one, other) = (account(10, 9), account(10, 11));
        assert_eq!((one.lost(), other.lost()), (1, 0));
        assert_eq!((one.doubled_in_all(), other.doubled_in_all()), (0, 1));
    }
}
