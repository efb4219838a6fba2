//! What becomes of what the dead held: the rounds, as the coordinator runs them.

use bytes::Bytes;

use super::{Coordinator, CoordinatorEvent, CoordinatorOutput, Record, TimerKey};
use crate::config::CoordinatorConfig;
use crate::id::{AuthorityEpoch, NodeId, Peer};
use crate::recovery::{ClaimsPart, RoundKeeper, RoundOutput, Taken, Verdict};
use crate::time::Time;
use crate::wire::{Lane, Message, RecoveryMessage, Round};

/// A coordinator's keeper of rounds, as it is set.
#[cfg_attr(not(feature = "planted-bugs"), allow(unused_mut, reason = "a bug may be planted"))]
pub(super) fn keeper(config: &CoordinatorConfig, last: Round) -> RoundKeeper {
    let mut keeper = RoundKeeper::new(last, config.retry);
    #[cfg(feature = "planted-bugs")]
    if let Some(bug) = config.planted_bug {
        keeper.plant(bug);
    }
    keeper
}

impl Coordinator {
    pub(super) fn on_recovery_message(&mut self, from: NodeId, message: RecoveryMessage, now: Time) {
        let Some(peer) = self.peer(from) else {
            return;
        };
        let round = message.round();
        let taken = match message {
            RecoveryMessage::Claims { round, part, parts, cuts, claims } => {
                self.rounds.on_claims(peer, ClaimsPart { round, part, parts, cuts, claims }, now)
            }
            RecoveryMessage::Carried { round } => self.rounds.on_carried(peer, round),
            RecoveryMessage::Fence { .. }
            | RecoveryMessage::Verdict { .. }
            | RecoveryMessage::Closed { .. } => Taken::Malformed,
        };
        match taken {
            Taken::Yes | Taken::Ignored => {}
            Taken::Late => self.say_closed_again(peer, round),
            Taken::Malformed => {
                self.misbehaved(from, "it sent an answer in a recovery round that can't be".to_owned());
            }
        }
        self.pursue_round(now);
    }

    fn say_closed_again(&mut self, to: Peer, round: Round) {
        let round = Round { term: self.term, ..round };
        self.send_in_round(to, RecoveryMessage::Closed { round, dead: Vec::new() });
    }

    pub(super) fn on_round_due(&mut self, now: Time) {
        self.rounds.handle_timeout(now);
        self.pursue_round(now);
    }

    /// Begins the round that is wanted, and does what the open one asks for.
    pub(super) fn pursue_round(&mut self, now: Time) {
        if let Some(above) = self.rounds.wanted_above() {
            let round = Round { term: self.term, number: above.saturating_add(1) };
            let dead: Vec<Peer> = self.rounds.dead().iter().copied().collect();
            dead.into_iter().for_each(|life| self.change_life(life, |life| life.over = true));
            self.persist(Record::Round(round.number));
            self.rounds.begin(round, now);
        }
        while let Some(output) = self.rounds.poll_output() {
            match output {
                RoundOutput::Send { to, message } => self.send_in_round(to, message),
                RoundOutput::Decided(verdict) => self.on_verdict(&verdict, now),
                RoundOutput::Closed { round, dead } => {
                    for life in dead {
                        self.forget_life(life);
                        self.settle_life(life);
                    }
                    self.event(CoordinatorEvent::RoundClosed { round: round.number });
                }
            }
        }
        match self.rounds.due() {
            Some(due) => self.timers.set(TimerKey::Round, due),
            None => self.timers.cancel(TimerKey::Round),
        }
    }

    /// To this life alone: a later one of the same node is asked by itself.
    fn send_in_round(&mut self, to: Peer, message: RecoveryMessage) {
        if self.peer(to.node) != Some(to) {
            return;
        }
        let large = matches!(message, RecoveryMessage::Claims { .. } | RecoveryMessage::Verdict { .. });
        let lane = if large { Lane::Checkpoint } else { Lane::Control };
        let (message, blob) = (Message::Recovery(message), Bytes::new());
        self.outputs.push_back(CoordinatorOutput::Send { to: to.node, lane, message, blob });
    }

    /// Whoever asks for one of these entities finds it where it goes on.
    fn on_verdict(&mut self, verdict: &Verdict, now: Time) {
        for restored in &verdict.restored {
            self.directory.recover(restored.entity, restored.epoch, restored.holder, now);
        }
        let round = self.rounds.round().number;
        if let Some(dead) = self.rounds.dead().first().copied() {
            self.on_lost(&verdict.lost, AuthorityEpoch::restored_in(round), dead.node);
        }
        self.event(CoordinatorEvent::Recovered {
            round,
            dead: self.rounds.dead().iter().copied().collect(),
            restored: verdict.restored.len(),
            lost: verdict.lost.clone(),
        });
    }
}
