//! One bot's account: what it did, what it was shown, and what of that can't be.

use std::sync::{Mutex, MutexGuard, PoisonError};

use selvedge_client::{ClientEvent, ClientStats};
use selvedge_node::arena::{AvatarState, Ledger};
use selvedge_protocol::grid::Position;
use selvedge_protocol::id::{AuthorityEpoch, EntityId, InputSeq};
use selvedge_protocol::time::Tick;
use selvedge_protocol::wire::ServerMessage;

use super::report::BotAccount;
use super::sight::Watch;

/// Takes a lock whose holder may have panicked: what it guards is numbers only.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One bot's account.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) name: String,
    /// None before the bot was in the world.
    pub(super) entity: Option<EntityId>,
    /// Where it stood last.
    pub(super) at: Option<Position>,
    /// Inputs taken by the client, and the number of the last.
    pub(super) sent: u64,
    pub(super) last_sent: InputSeq,
    /// Inputs that the client didn't take: its window was full.
    pub(super) not_taken: u64,
    /// Whether no input follows any more.
    pub(super) stands: bool,
    /// The entity's own account of its inputs, from the newest state.
    pub(super) ledger: Ledger,
    /// Of the newest state.
    epoch: AuthorityEpoch,
    tick: Tick,
    pub(super) states: u64,
    pub(super) states_reordered: u64,
    pub(super) states_unreadable: u64,
    /// Others whom the player saw at the last look, and at all looks together.
    pub(super) others: u64,
    pub(super) others_shown: u64,
    pub(super) looks: u64,
    pub(super) switches: u64,
    pub(super) prepared_switches: u64,
    /// Switches at which a tick was never shown: the old node's last states, or the new one's first.
    pub(super) switches_unseen: u64,
    pub(super) lost: u64,
    pub(super) silent: u64,
    pub(super) recoveries: u64,
    /// Inputs applied anew after a recovery, and those that a recovery undid for good.
    pub(super) replayed: u64,
    pub(super) undone: u64,
    pub(super) refused_at_door: u64,
    pub(super) last_refusal: Option<String>,
    /// What breaks A1.
    pub(super) two_authorities: u64,
    pub(super) epochs_back: u64,
    pub(super) ticks_back: u64,
    /// Whether the session ended, and whether the bot asked for it.
    pub(super) over: bool,
    pub(super) over_unasked: bool,
    pub(super) logged_out: bool,
    /// What it watches of its own entity.
    pub(super) watch: Watch,
    /// What the client counted, once the bot has ended.
    pub(super) stats: Option<ClientStats>,
}

impl Account {
    pub(super) fn new(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    /// Whether the newest state shows the last input applied, and no input follows.
    pub(super) fn is_drained(&self) -> bool {
        self.stands && self.ledger.last_seq >= self.last_sent.0
    }

    pub(super) fn took_input(&mut self, seq: InputSeq) {
        self.sent += 1;
        self.last_sent = seq;
    }

    /// Enters an event. Gives the gap of a switch, in microseconds.
    pub(super) fn enter(&mut self, event: ClientEvent) -> Option<u64> {
        match event {
            ClientEvent::Entered { entity, .. } => self.entity = Some(entity),
            ClientEvent::State(state) => self.on_state(&state),
            ClientEvent::Switched { epoch, gap, prepared } => {
                self.switches += 1;
                self.prepared_switches += u64::from(prepared);
                self.epochs_back += u64::from(epoch <= self.epoch);
                return Some(u64::try_from(gap.as_micros()).unwrap_or(u64::MAX));
            }
            ClientEvent::InputRefused => {}
            ClientEvent::TwoAuthorities { epoch } => {
                self.two_authorities += 1;
                tracing::error!(bot = self.name, %epoch, "two authorities");
            }
            ClientEvent::Lost => {
                self.lost += 1;
                tracing::warn!(bot = self.name, "every connection lost");
            }
            ClientEvent::Silent => {
                self.silent += 1;
                tracing::warn!(bot = self.name, "no state comes");
            }
            ClientEvent::Recovered { epoch, silent, replayed, lost } => {
                self.recoveries += 1;
                self.replayed += u64::from(replayed);
                self.undone += u64::from(lost);
                self.watch.on_recovered(u64::from(replayed) + u64::from(lost));
                // The numbers of all later inputs fall by what is lost.
                self.last_sent = InputSeq(self.last_sent.0.saturating_sub(lost));
                tracing::info!(bot = self.name, %epoch, ?silent, replayed, lost, "restored by another node");
            }
            ClientEvent::Refused { reason, retry } => {
                self.refused_at_door += 1;
                tracing::debug!(bot = self.name, reason, retry, "refused at the door");
                self.last_refusal = Some(reason);
            }
            ClientEvent::Over { reason } => {
                self.over = true;
                tracing::debug!(bot = self.name, ?reason, "over");
            }
        }
        None
    }

    fn on_state(&mut self, state: &ServerMessage) {
        let ServerMessage::State { epoch, tick, motion, own, .. } = state else {
            return;
        };
        self.states += 1;
        if *epoch < self.epoch {
            self.epochs_back += 1;
            return;
        }
        if *epoch == self.epoch && *tick <= self.tick {
            // Datagrams overtake each other.
            self.states_reordered += 1;
            return;
        }
        if *epoch > self.epoch && *tick <= self.tick {
            // The new authority simulates a tick that the old one has shown already.
            self.ticks_back += 1;
            let (from, to) = (self.tick, *tick);
            tracing::error!(bot = self.name, ?from, ?to, %epoch, "a new authority went back in time");
        }
        let handed_on = *epoch > self.epoch && epoch.generation == self.epoch.generation;
        if handed_on && self.tick > Tick::default() && tick.0 > self.tick.0 + 1 {
            self.switches_unseen += 1;
            let (from, to) = (self.tick.0, tick.0);
            tracing::debug!(bot = self.name, from, to, "ticks not shown at a switch");
        }
        (self.epoch, self.tick) = (*epoch, *tick);
        self.at = Some(motion.position);
        match AvatarState::decode(own) {
            Ok(avatar) => {
                self.watch.on_state(*epoch, &avatar);
                self.ledger = avatar.ledger;
            }
            Err(_) => self.states_unreadable += 1,
        }
    }

    /// Where its entity was in the newest tick shown.
    pub(super) fn step(&self) -> Option<(EntityId, Tick, Position)> {
        Some((self.entity?, self.tick, self.at?))
    }

    /// Enters how many others the player sees.
    pub(super) const fn look(&mut self, others: u64) {
        self.others = others;
        self.others_shown += others;
        self.looks += 1;
    }

    pub(super) fn to_public(&self) -> BotAccount {
        BotAccount {
            name: self.name.clone(),
            entity: self.entity,
            sent: self.sent,
            applied: u64::from(self.ledger.applied),
            doubled: u64::from(self.ledger.doubled),
            skipped: u64::from(self.ledger.skipped),
            drained: self.is_drained(),
            over_unasked: self.over_unasked,
            logged_out: self.logged_out,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use selvedge_protocol::grid::Motion;

    use super::*;

    fn state(step: u32, tick: u64, last_seq: u32) -> ClientEvent {
        state_at(AuthorityEpoch { generation: 0, step }, tick, last_seq)
    }

    fn state_at(epoch: AuthorityEpoch, tick: u64, last_seq: u32) -> ClientEvent {
        let ledger = Ledger { last_seq, applied: last_seq, doubled: 0, skipped: 0 };
        ClientEvent::State(ServerMessage::State {
            entity: EntityId::from_u128(1),
            epoch,
            tick: Tick(tick),
            applied: InputSeq(last_seq),
            durable: InputSeq(last_seq),
            motion: Motion::default(),
            own: AvatarState { ledger, health: 1.0, ..AvatarState::default() }.encode().to_vec(),
        })
    }

    #[test]
    fn a_new_authority_that_shows_an_old_tick_is_seen() {
        let mut account = Account::default();
        for event in [state(1, 10, 1), state(1, 11, 2), state(2, 12, 3)] {
            account.enter(event);
        }
        assert_eq!((account.ticks_back, account.epochs_back), (0, 0));
        account.enter(state(3, 12, 3));
        assert_eq!(account.ticks_back, 1);
        account.enter(state(2, 13, 3));
        assert_eq!(account.epochs_back, 1);
    }

    #[test]
    fn an_input_that_is_undone_and_applied_again_counts_once() {
        let mut account = Account::default();
        for seq in 1..=9 {
            account.took_input(InputSeq(seq));
        }
        account.stands = true;
        account.enter(state(1, 10, 9));
        let restored = AuthorityEpoch { generation: 1, step: 0 };
        let recovered = |lost| ClientEvent::Recovered {
            epoch: restored,
            silent: Duration::from_secs(4),
            replayed: 3,
            lost,
        };
        account.enter(recovered(0));
        account.enter(state_at(restored, 140, 6));
        assert!(!account.is_drained(), "three are under way again");
        account.enter(state_at(restored, 141, 9));
        assert!(account.is_drained());
        let public = account.to_public();
        assert_eq!((public.sent, public.applied, public.lost(), public.doubled_in_all()), (9, 9, 0, 0));
        assert_eq!((account.recoveries, account.replayed, account.epochs_back), (1, 3, 0));
        assert_eq!((account.ticks_back, account.switches_unseen), (0, 0));
    }

    #[test]
    fn an_input_that_is_undone_for_good_is_lost_and_nobody_waits_for_it() {
        let mut account = Account::default();
        for seq in 1..=9 {
            account.took_input(InputSeq(seq));
        }
        account.stands = true;
        account.enter(state(1, 10, 9));
        let restored = AuthorityEpoch { generation: 1, step: 0 };
        let silent = Duration::from_secs(4);
        account.enter(ClientEvent::Recovered { epoch: restored, silent, replayed: 1, lost: 2 });
        account.enter(state_at(restored, 140, 7));
        assert!(account.is_drained());
        assert_eq!((account.to_public().lost(), account.undone), (2, 2));
    }

    #[test]
    fn a_datagram_that_was_overtaken_changes_nothing() {
        let mut account = Account::default();
        account.enter(state(1, 11, 2));
        account.enter(state(1, 10, 1));
        assert_eq!((account.ledger.last_seq, account.states_reordered), (2, 1));
    }

    #[test]
    fn a_bot_is_drained_once_its_last_input_shows_in_its_own_state() {
        let mut account = Account::default();
        account.took_input(InputSeq(1));
        account.took_input(InputSeq(2));
        account.enter(state(1, 10, 2));
        assert!(!account.is_drained(), "more may follow");
        account.stands = true;
        assert!(account.is_drained());
        account.took_input(InputSeq(3));
        assert!(!account.is_drained());
    }
}
