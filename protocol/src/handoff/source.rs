//! The source's part: candidates being prepared, then one transfer.
//!
//! ```text
//! Idle -> Preparing (asked) -> Prepared (reserved, pre-copied) -> Transferring (frozen) -> Done (tombstone)
//!   ^________|___________________|______________________________|  aborted, with back-off
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use core::time::Duration;

use super::Path;
use crate::grid::CellId;
use crate::id::{AuthorityEpoch, HandoffId, InputSeq, NodeId, Peer, ReservationId};
use crate::limits::CANDIDATES_MAX;
use crate::snapshot::{Assembled, ComponentVersions};
use crate::time::{Tick, Time, micros};
use crate::wire::{HandoffPhases, InputMessage, Setback};

/// A target that may receive the entity.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) reservation: ReservationId,
    pub(crate) target: Peer,
    pub(crate) from_cell: CellId,
    pub(crate) to_cell: CellId,
    pub(crate) crossing_in: Duration,
    pub(crate) asked_at: Time,
    /// The forecast named it last at this time.
    pub(crate) wanted_at: Time,
    pub(crate) stage: Stage,
}

/// How far the preparation is.
#[derive(Debug)]
pub(crate) enum Stage {
    Preparing(Preparing),
    Prepared(Prepared),
}

/// Asked, not answered.
#[derive(Debug)]
pub(crate) struct Preparing {
    /// Whether the target was asked directly, past a silent coordinator.
    pub(crate) direct: bool,
    /// When the coordinator said that the target is told.
    pub(crate) notified_at: Option<Time>,
    pub(crate) repeat_at: Time,
}

/// The target has reserved.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) steps: Steps,
    /// What the target has, by its own word; none before the first pre-copy arrived.
    pub(crate) have: Option<ComponentVersions>,
    pub(crate) heard_at: Time,
    pub(crate) refresh_at: Time,
    /// Since when a pre-copy is on its way that the target has not answered.
    pub(crate) copying_since: Option<Time>,
}

/// When each step of a preparation was done, for the measurements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    pub(crate) asked_at: Time,
    /// The coordinator's answer; the target's, where that came first.
    pub(crate) answered_at: Time,
    pub(crate) ready_at: Time,
    /// The first pre-copy was sent.
    pub(crate) copy_sent_at: Option<Time>,
    /// The target first said that it has one.
    pub(crate) copied_at: Option<Time>,
}

impl Steps {
    /// From the first request to the coordinator's answer, or to the target's where that came first.
    pub(crate) fn answer(&self) -> Duration {
        self.answered_at.since(self.asked_at)
    }

    /// From the first request to `Ready`.
    pub(crate) fn prepare(&self) -> Duration {
        self.ready_at.since(self.asked_at)
    }

    /// From the first pre-copy to the target's word that it has one.
    pub(crate) fn precopy(&self) -> Option<Duration> {
        Some(self.copied_at?.since(self.copy_sent_at?))
    }
}

impl Candidate {
    /// When something about this candidate is due.
    pub(crate) fn due_at(&self, keep: Duration) -> Time {
        let stage = match &self.stage {
            Stage::Preparing(preparing) => preparing.repeat_at,
            Stage::Prepared(prepared) => prepared.refresh_at,
        };
        stage.min(self.wanted_at + keep)
    }
}

/// A pause after a refusal or an abort, for one target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) until: Time,
    /// What happened last.
    pub(crate) after: Setback,
    failures: u32,
}

/// Everything that an entity's source side keeps.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) transferring: Option<Transferring>,
    /// What was captured so far: whole, so that the entity can be thawed from it.
    pub(crate) captured: Assembled,
    backoff: BTreeMap<NodeId, Backoff>,
    attempts: u32,
}

impl Source {
    pub(crate) fn next_attempt(&mut self) -> u32 {
        self.attempts += 1;
        self.attempts
    }

    pub(crate) fn candidate(&mut self, reservation: ReservationId) -> Option<&mut Candidate> {
        self.candidates.iter_mut().find(|candidate| candidate.reservation == reservation)
    }

    pub(crate) fn remove(&mut self, reservation: ReservationId) -> Option<Candidate> {
        let index = self.candidates.iter().position(|candidate| candidate.reservation == reservation)?;
        Some(self.candidates.remove(index))
    }

    /// Whether one more target may be prepared now.
    pub(crate) fn may_prepare(&self, target: NodeId, now: Time) -> bool {
        self.candidates.len() < CANDIDATES_MAX
            && self.backoff.get(&target).is_none_or(|backoff| backoff.until <= now)
    }

    /// Leaves a target alone for a while: twice as long after each failure in a row, up to 16 x.
    pub(crate) fn back_off(&mut self, target: NodeId, after: Setback, pause: Duration, now: Time) {
        self.backoff.retain(|_, backoff| backoff.until + pause * 16 > now);
        let failures = self.backoff.get(&target).map_or(0, |backoff| backoff.failures);
        let until = now + pause * (1 << failures.min(4));
        self.backoff.insert(target, Backoff { until, after, failures: failures + 1 });
    }

    /// The pause that a target is given, or was.
    pub(crate) fn backoff(&self, target: NodeId) -> Option<Backoff> {
        self.backoff.get(&target).copied()
    }

    /// The time before which nothing may be handed to `target`.
    pub(crate) fn not_before(&self, target: NodeId) -> Time {
        self.backoff.get(&target).map_or(Time::ZERO, |backoff| backoff.until)
    }

    /// When something is due. While the entity is frozen its candidates wait for the outcome.
    pub(crate) fn due_at(&self, keep: Duration) -> Option<Time> {
        match &self.transferring {
            Some(transfer) => transfer.leads().then_some(transfer.repeat_at),
            None => self.candidates.iter().map(|candidate| candidate.due_at(keep)).min(),
        }
    }
}

/// Frozen: the `Transfer` is out. It ends by the target's word alone.
#[derive(Debug)]
pub(crate) struct Transferring {
    pub(crate) id: HandoffId,
    pub(crate) to: Peer,
    pub(crate) reservation: ReservationId,
    pub(crate) path: Path,
    pub(crate) frozen_at: Time,
    pub(crate) steps: Steps,
    pub(crate) repeat_at: Time,
    /// The grant under which it was simulated last.
    pub(crate) grant: AuthorityEpoch,
    pub(crate) last_tick: Tick,
    pub(crate) applied: InputSeq,
    /// Everything that goes in the same `Transfer`, who leads it first; empty for what goes alone.
    pub(crate) group: Vec<HandoffId>,
    /// What is sent, and sent again.
    pub(crate) snapshot: Bytes,
    pub(crate) pending: Vec<InputMessage>,
}

impl Transferring {
    /// How long each phase took, for those who look in from outside.
    pub(crate) fn phases(&self, cutover: Duration) -> HandoffPhases {
        HandoffPhases {
            warm: self.path == Path::Warm,
            answer_us: micros(self.steps.answer()),
            prepare_us: micros(self.steps.prepare()),
            precopy_us: self.steps.precopy().map(micros),
            cutover_us: micros(cutover),
        }
    }

    /// Whether it speaks for all that goes in its `Transfer`.
    pub(crate) fn leads(&self) -> bool {
        self.group.first().is_none_or(|&leader| leader == self.id)
    }

    /// Who goes along with the leader.
    pub(crate) fn members(&self) -> &[HandoffId] {
        self.group.get(1..).unwrap_or_default()
    }

    /// Everything that the answer decides about.
    pub(crate) fn all(&self) -> Vec<HandoffId> {
        if self.group.is_empty() { vec![self.id] } else { self.group.clone() }
    }
}
