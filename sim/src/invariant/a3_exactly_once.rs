//! A3: each input of a client takes effect exactly once, in order, whoever simulates its player.
//!
//! Judged by the ledger that the game itself keeps inside the entity: it travels with every handoff. A recovery takes
//! inputs back, and the player's program repeats them. It may have forgotten none but those that were safe: in a cut that
//! a keeper had confirmed.

use std::collections::BTreeMap;

use selvedge_protocol::handoff::client::ClientEvent;
use selvedge_protocol::id::{AuthorityEpoch, EntityId, SessionId};

use super::{Fact, Inspection, Invariant, Ledger, SentCopy, Step, Violation};

const NAME: &str = "A3 exactly once";

/// Compares what players sent with what was applied. See the module's page.
#[derive(Debug, Default)]
pub struct ExactlyOnce {
    /// The digests of each player's inputs since the program started: the first stands for none.
    sent: BTreeMap<Life, Vec<u64>>,
    /// How often each player's program has started.
    starts: BTreeMap<usize, u32>,
    /// Whose inputs each session's are.
    lives: BTreeMap<u128, Life>,
    applied: BTreeMap<u128, (Origin, Ledger)>,
    /// How often each entity was born.
    births: BTreeMap<EntityId, u32>,
    /// The last input of each player that was in a confirmed cut.
    safe: BTreeMap<Life, u32>,
    settled: bool,
}

/// What an entity goes back to no further: which entity it is, of which birth, of which recovery.
type Origin = (EntityId, u32, u32);
/// A player, and which start of the player's program.
type Life = (usize, u32);

impl Invariant for ExactlyOnce {
    fn observe(&mut self, step: &Step<'_>) -> Result<(), Violation> {
        for fact in step.facts {
            match fact {
                Fact::PlayerBegan { player } => {
                    *self.starts.entry(*player).or_default() += 1;
                }
                Fact::Born { entity, .. } => *self.births.entry(*entity).or_default() += 1,
                Fact::Acted { player, seq, digest } => {
                    let sent = self.sent.entry(self.life(*player)).or_insert_with(|| vec![0]);
                    debug_assert_eq!(sent.len(), *seq as usize, "inputs are numbered without gaps");
                    sent.push(*digest);
                }
                Fact::CutSafe { copies, .. } => {
                    for &SentCopy { epoch, inputs, .. } in copies {
                        if let Some((session, last)) = inputs {
                            self.on_safe(session, epoch, last);
                        }
                    }
                }
                Fact::Renumbered { player, applied, lost, digests } => {
                    self.on_lost(*player, *applied, *lost)?;
                    let sent = core::iter::once(0).chain(digests.iter().copied()).collect();
                    self.sent.insert(self.life(*player), sent);
                }
                Fact::Client { player, event: ClientEvent::Entered { session, .. } } => {
                    self.lives.insert(session.as_u128(), self.life(*player));
                }
                Fact::Published { node, entity, epoch, applied, ledger: Some(ledger), .. } => {
                    self.on_ledger(*node, *entity, *epoch, *applied, *ledger)?;
                }
                Fact::Inspected(inspection) => self.on_inspection(inspection)?,
                Fact::Published { ledger: None, .. }
                | Fact::Standing { .. }
                | Fact::LifeOver { .. }
                | Fact::LeaseOutlived { .. }
                | Fact::Restored { .. }
                | Fact::Ended { .. }
                | Fact::StoodStill { .. }
                | Fact::Stirred { .. }
                | Fact::Gone { .. }
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
                | Fact::GameComplained { .. } => {}
            }
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        self.settled
    }
}

impl ExactlyOnce {
    fn life(&self, player: usize) -> Life {
        (player, self.starts.get(&player).copied().unwrap_or_default())
    }

    fn on_ledger(
        &mut self,
        node: usize,
        entity: EntityId,
        epoch: AuthorityEpoch,
        applied: u32,
        ledger: Ledger,
    ) -> Result<(), Violation> {
        let births = self.births.get(&entity).copied().unwrap_or_default();
        let origin = (entity, births, epoch.generation);
        let former = self.applied.insert(ledger.session, (origin, ledger));
        let (former_origin, former) = former.unwrap_or((origin, Ledger::default()));
        if former == ledger {
            return Ok(());
        }
        let broken = |what: String| {
            let what = format!("{entity} at node {node}: {what}");
            Err(Violation { invariant: NAME, what, entity: Some(entity), player: None })
        };
        if ledger.doubled > 0 || ledger.skipped > 0 || ledger.applied != ledger.last_seq {
            return broken(format!("inputs were doubled or skipped: {ledger:?}"));
        }
        if applied != ledger.last_seq {
            return broken(format!("the core says {applied} inputs are applied, the game {ledger:?}"));
        }
        // A recovery goes back to the last checkpoint, or to the beginning of what was never safe, and the client repeats
        // what came after.
        if ledger.last_seq < former.last_seq && origin == former_origin {
            return broken(format!("inputs were undone: {ledger:?} after {former:?}"));
        }
        let sent = self.lives.get(&ledger.session).and_then(|life| self.sent.get(life));
        match sent.and_then(|sent| sent.get(ledger.last_seq as usize)) {
            Some(digest) if *digest == ledger.digest => Ok(()),
            Some(_) => broken(format!("what was applied is not what was sent: {ledger:?}")),
            None if ledger.last_seq == 0 => Ok(()),
            None => broken(format!("an input was applied that nobody sent: {ledger:?}")),
        }
    }

    /// What was sent before a recovery that the session has seen counts inputs that the recovery took back.
    fn on_safe(&mut self, session: SessionId, epoch: AuthorityEpoch, last: u32) {
        let recovered = self.applied.get(&session.as_u128()).map_or(0, |((_, _, generation), _)| *generation);
        if let Some(life) = self.lives.get(&session.as_u128()).filter(|_| epoch.generation >= recovered) {
            let safe = self.safe.entry(*life).or_default();
            *safe = last.max(*safe);
        }
    }

    /// Inputs that a recovery took back and that the program has forgotten, so that nobody repeats them. Those that were
    /// safe may be lost with two nodes at once: that they are not lost otherwise is A2's to see. No others.
    fn on_lost(&mut self, player: usize, applied: u32, lost: u32) -> Result<(), Violation> {
        let safe = self.safe.entry(self.life(player)).or_default();
        let was_safe = core::mem::replace(safe, applied.min(*safe));
        let (first, last) = (applied + 1, applied + lost);
        if last <= was_safe {
            return Ok(());
        }
        let what = format!(
            "player {player} goes on after input {applied} and has forgotten inputs {first} to {last}, of which those up to \
             {was_safe} were safe"
        );
        Err(Violation { invariant: NAME, what, entity: None, player: Some(player) })
    }

    fn on_inspection(&mut self, inspection: &Inspection) -> Result<(), Violation> {
        let late = inspection.players.iter().filter(|player| player.wants_in).find_map(|player| {
            let applied = self.applied_of(player.session?);
            let drained = applied == player.sent && player.unacknowledged == 0;
            (!drained).then_some((player, applied))
        });
        self.settled = late.is_none();
        if let Some((player, applied)) = late
            && inspection.calm_for >= inspection.bound
        {
            let what = format!(
                "{:?} after the last fault player {} has sent {} inputs, {} were applied, {} are unacknowledged",
                inspection.calm_for, player.player, player.sent, applied, player.unacknowledged
            );
            let (entity, player) = (player.entity, Some(player.player));
            return Err(Violation { invariant: NAME, what, entity, player });
        }
        Ok(())
    }

    fn applied_of(&self, session: SessionId) -> u32 {
        self.applied.get(&session.as_u128()).map_or(0, |(_, ledger)| ledger.last_seq)
    }
}
