//! What is to become of each entity once every live node has answered: a pure function of the answers.
//!
//! One entity at a time: is it alive by the claim of the highest epoch? If not, the best copy goes on at the epoch of
//! this round. A frozen source is one more claim, so transfers in doubt need no case of their own.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{AuthorityEpoch, EntityId, Peer, SessionId};
use crate::wire::{Captured, Claim, ClaimKind, NewestCut, Order, Round};

#[cfg(feature = "planted-bugs")]
use crate::config::PlantedBug;

/// Everything that one live node answered.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Answer {
    /// The newest cut of each life that it keeps copies of.
    pub cuts: Vec<NewestCut>,
    /// What it knows.
    pub claims: Vec<Claim>,
}

/// An entity that goes on from a copy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Restored {
    /// Which entity.
    pub entity: EntityId,
    /// Its session, if any claim named one.
    pub session: Option<SessionId>,
    /// Who holds it from now on.
    pub holder: Peer,
    /// At which epoch.
    pub epoch: AuthorityEpoch,
    /// From when the copy is.
    pub contents: Captured,
}

/// What a round decided.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Verdict {
    /// What each live node is to do; every one is named, most with nothing to do.
    pub orders: BTreeMap<Peer, Vec<Order>>,
    /// What goes on from a copy.
    pub restored: Vec<Restored>,
    /// What was last with a dead node, and of which no copy is left.
    pub lost: Vec<EntityId>,
}

/// Decides about every entity that any answer names. `answers` must hold every live node's, and theirs alone.
#[must_use]
pub fn verdict(round: Round, dead: &BTreeSet<Peer>, answers: &BTreeMap<Peer, Answer>) -> Verdict {
    Case::new(round, dead, answers).judge()
}

/// The same with a known bug in it.
#[cfg(feature = "planted-bugs")]
pub(super) fn flawed(
    round: Round,
    dead: &BTreeSet<Peer>,
    answers: &BTreeMap<Peer, Answer>,
    bug: Option<PlantedBug>,
) -> Verdict {
    Case { bug, ..Case::new(round, dead, answers) }.judge()
}

/// One claim and who makes it.
#[derive(Clone, Copy, Debug)]
struct Statement<'a> {
    by: Peer,
    claim: &'a Claim,
}

/// What is the same for every entity of a round.
#[derive(Debug)]
struct Case<'a> {
    epoch: AuthorityEpoch,
    dead: &'a BTreeSet<Peer>,
    answers: &'a BTreeMap<Peer, Answer>,
    /// Of each dead life, the newest cut that anybody has.
    newest: BTreeMap<Peer, NewestCut>,
    #[cfg(feature = "planted-bugs")]
    bug: Option<PlantedBug>,
}

/// What the claim of the highest epoch says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Last {
    /// A live node has it, is about to get it, or has ended it.
    Alive(AuthorityEpoch),
    /// Only the dead had it.
    WithTheDead,
    /// Nobody says where it was: a floor that outlived its entity.
    Unknown,
}

impl<'a> Case<'a> {
    fn new(round: Round, dead: &'a BTreeSet<Peer>, answers: &'a BTreeMap<Peer, Answer>) -> Self {
        let mut newest: BTreeMap<Peer, NewestCut> = BTreeMap::new();
        let cuts = answers.values().flat_map(|answer| &answer.cuts).filter(|cut| dead.contains(&cut.of));
        for cut in cuts {
            let known = newest.entry(cut.of).or_insert(*cut);
            if cut.cut > known.cut {
                *known = *cut;
            }
        }
        Self {
            epoch: AuthorityEpoch::restored_in(round.number),
            dead,
            answers,
            newest,
            #[cfg(feature = "planted-bugs")]
            bug: None,
        }
    }

    fn judge(&self) -> Verdict {
        let mut said: BTreeMap<EntityId, Vec<Statement<'_>>> = BTreeMap::new();
        for (&by, answer) in self.answers {
            for claim in &answer.claims {
                said.entry(claim.entity).or_default().push(Statement { by, claim });
            }
        }
        let orders = self.answers.keys().map(|&node| (node, Vec::new())).collect();
        let mut verdict = Verdict { orders, restored: Vec::new(), lost: Vec::new() };
        for (entity, statements) in said {
            self.decide(entity, &statements, &mut verdict);
        }
        verdict
    }

    fn decide(&self, entity: EntityId, said: &[Statement<'_>], verdict: &mut Verdict) {
        let copies: Vec<Statement<'_>> = said.iter().copied().filter(|it| self.is_copy(*it, said)).collect();
        match self.last(said, &copies) {
            Last::Unknown => {}
            Last::Alive(highest) => self.discard_below(entity, highest, said, verdict),
            Last::WithTheDead => match self.best(&copies) {
                Some(best) => self.restore(entity, best, said, verdict),
                None => verdict.lost.push(entity),
            },
        }
    }

    /// Who had it last. At equal epochs a holder's own word beats another's that it gave it away, and any word beats
    /// what a copy only proves.
    fn last(&self, said: &[Statement<'_>], copies: &[Statement<'_>]) -> Last {
        let words = said.iter().filter_map(|it| {
            let (rank, alive) = match it.claim.kind {
                ClaimKind::Active => (4, true),
                ClaimKind::Ended => (4, true),
                ClaimKind::Frozen { to } => (3, self.points_at_live(*it, to, said)?),
                #[cfg(feature = "planted-bugs")]
                ClaimKind::Moved { .. } if self.bug == Some(PlantedBug::IgnoreMoved) => return None,
                ClaimKind::Moved { to } => (2, self.points_at_live(*it, to, said)?),
                ClaimKind::Warm { .. } | ClaimKind::Standby { .. } | ClaimKind::Known => return None,
            };
            Some((it.claim.epoch, rank, alive))
        });
        let proofs = copies.iter().filter_map(|it| Some((it.claim.contents?.epoch, 1, false)));
        #[cfg(feature = "planted-bugs")]
        let proofs = proofs.map(|(epoch, rank, alive)| match self.bug {
            Some(PlantedBug::IgnoreFloors) => (AuthorityEpoch::default(), rank, alive),
            Some(_) | None => (epoch, rank, alive),
        });
        #[cfg_attr(not(feature = "planted-bugs"), allow(unused_mut, reason = "a bug takes the first one"))]
        let mut all = words.chain(proofs);
        #[cfg(feature = "planted-bugs")]
        if self.bug == Some(PlantedBug::IgnoreVerdictEpochs) {
            return match all.next() {
                None => Last::Unknown,
                Some((highest, _, true)) => Last::Alive(highest),
                Some((_, _, false)) => Last::WithTheDead,
            };
        }
        match all.max() {
            None => Last::Unknown,
            Some((highest, _, true)) => Last::Alive(highest),
            Some((_, _, false)) => Last::WithTheDead,
        }
    }

    /// Where a frozen copy or a tombstone points: at a live node, at the dead, or (none) at a live node that has had it
    /// since, so that the claim says nothing which that node doesn't say itself.
    fn points_at_live(&self, it: Statement<'_>, to: Peer, said: &[Statement<'_>]) -> Option<bool> {
        if !self.answers.contains_key(&to) {
            return Some(false);
        }
        let floor = said.iter().filter(|other| other.by == to).map(|other| other.claim.floor).max();
        (floor.unwrap_or_default() < it.claim.epoch).then_some(true)
    }

    /// Whether the entity could go on from this claim's contents.
    ///
    /// What one live node keeps of another counts for nothing: that one keeps the same or newer itself. And what a dead
    /// node's newest cut no longer holds must not come back out of an older copy of the same node's.
    fn is_copy(&self, it: Statement<'_>, said: &[Statement<'_>]) -> bool {
        let Some(contents) = it.claim.contents else {
            return false;
        };
        match it.claim.kind {
            ClaimKind::Frozen { .. } | ClaimKind::Moved { .. } => true,
            #[cfg(feature = "planted-bugs")]
            ClaimKind::Standby { of, .. } if self.bug == Some(PlantedBug::RestoreOldest) => {
                self.dead.contains(&of)
            }
            ClaimKind::Standby { of, cut } => {
                self.dead.contains(&of) && self.newest.get(&of).is_none_or(|newest| cut >= newest.cut)
            }
            ClaimKind::Warm { from } => {
                let cut_without_it = |newest: &NewestCut| {
                    newest.tick > contents.tick
                        && !said
                            .iter()
                            .any(|other| other.claim.kind == ClaimKind::Standby { of: from, cut: newest.cut })
                };
                self.dead.contains(&from) && !self.newest.get(&from).is_some_and(cut_without_it)
            }
            ClaimKind::Active | ClaimKind::Ended | ClaimKind::Known => false,
        }
    }

    fn best<'s>(&self, copies: &[Statement<'s>]) -> Option<Statement<'s>> {
        #[cfg(feature = "planted-bugs")]
        if self.bug == Some(PlantedBug::IgnoreVerdictEpochs) {
            return copies.iter().max_by_key(|it| it.claim.contents.map(|contents| contents.tick)).copied();
        }
        #[cfg(feature = "planted-bugs")]
        if self.bug == Some(PlantedBug::RestoreOldest) {
            return copies.iter().min_by(|a, b| better(a, b)).copied();
        }
        copies.iter().max_by(|a, b| better(a, b)).copied()
    }

    /// Alive: whoever is still frozen towards the dead would wait for ever.
    fn discard_below(
        &self,
        entity: EntityId,
        highest: AuthorityEpoch,
        said: &[Statement<'_>],
        verdict: &mut Verdict,
    ) {
        #[cfg(feature = "planted-bugs")]
        if self.bug == Some(PlantedBug::DiscardNothing) {
            return;
        }
        for it in said {
            if let ClaimKind::Frozen { to } = it.claim.kind
                && !self.answers.contains_key(&to)
                && it.claim.epoch < highest
                && let Some(orders) = verdict.orders.get_mut(&it.by)
            {
                orders.push(Order::Discard { entity, below: highest });
            }
        }
    }

    fn restore(&self, entity: EntityId, best: Statement<'_>, said: &[Statement<'_>], verdict: &mut Verdict) {
        let Some(contents) = best.claim.contents else {
            return;
        };
        let (holder, kind, epoch) = (best.by, best.claim.kind, self.epoch);
        let superseded: BTreeSet<Peer> = said
            .iter()
            .filter(|it| match it.claim.kind {
                ClaimKind::Active | ClaimKind::Frozen { .. } | ClaimKind::Moved { .. } => true,
                ClaimKind::Ended | ClaimKind::Known | ClaimKind::Warm { .. } | ClaimKind::Standby { .. } => {
                    false
                }
            })
            .map(|it| it.by)
            .filter(|&by| by != holder)
            .collect();
        for by in superseded {
            if let Some(orders) = verdict.orders.get_mut(&by) {
                orders.push(Order::Discard { entity, below: epoch });
            }
        }
        if let Some(orders) = verdict.orders.get_mut(&holder) {
            orders.push(Order::Restore { entity, epoch, kind, contents });
        }
        let named = best.claim.session;
        let session = named.or_else(|| said.iter().find_map(|it| it.claim.session));
        verdict.restored.push(Restored { entity, session, holder, epoch, contents });
    }
}

/// The newer contents; of the same, what a source froze, then kept, then a checkpoint; then the lower id.
fn better(a: &Statement<'_>, b: &Statement<'_>) -> core::cmp::Ordering {
    let rank = |it: &Statement<'_>| match it.claim.kind {
        ClaimKind::Frozen { .. } => 3,
        ClaimKind::Moved { .. } => 2,
        ClaimKind::Standby { .. } => 1,
        ClaimKind::Warm { .. } | ClaimKind::Active | ClaimKind::Ended | ClaimKind::Known => 0,
    };
    let key = |it: &Statement<'_>| (it.claim.contents, rank(it));
    key(a).cmp(&key(b)).then_with(|| b.by.cmp(&a.by))
}

#[cfg(test)]
mod tests;
