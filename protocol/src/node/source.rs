//! An entity on its way out, up to the freeze: forecast, prepare, pre-copy, arm. Steps 1 to 6 of a crossing.

use core::time::Duration;

use super::{GameCommand, Held, Node, NodeEvent, TimerKey};
use crate::grid::{CellId, Motion};
use crate::handoff::source::{Candidate, Prepared, Preparing, Source, Stage, Steps};
use crate::id::{AuthorityEpoch, EntityId, Peer, ReservationId};
use crate::limits::CANDIDATES_MAX;
use crate::snapshot::{CapturedSnapshot, ComponentVersions, SnapshotArchive};
use crate::time::Time;
use crate::token::Token;
use crate::wire::{Invitation, Lane, Message, PrepareRequest, RefuseReason, ServerMessage, Setback};

/// A silent target is given up after this many refreshes of the pre-copy, ...
const SILENT_REFRESHES: u32 = 8;
/// ... and not before this: a copy may wait long behind others.
const SILENCE_MIN: Duration = Duration::from_secs(1);
/// An unanswered pre-copy is sent anew after this part of the silence for which a target is given up.
const SILENCE_PARTS: u32 = 4;

/// A crossing that the forecast sees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) target: Peer,
    from_cell: CellId,
    to_cell: CellId,
    pub(super) crossing_in: Duration,
}

impl Node {
    /// Looks ahead from the newest motion of the entity, or of what it rides on; prepares where it may cross, gives up where it
    /// won't.
    pub(super) fn consider_crossing(&mut self, entity: EntityId, now: Time) {
        let Some(held) = self.held.get(&entity) else {
            return;
        };
        if held.source.transferring.is_some() || held.leaving.is_some() {
            return;
        }
        let candidates = !held.source.candidates.is_empty();
        let Some(motion) = self.leading_motion(entity) else {
            return;
        };
        let wanted = self.wanted_targets(&motion);
        if wanted.is_empty() && !candidates {
            return;
        }
        for crossing in wanted {
            let Some(held) = self.held.get_mut(&entity) else {
                return;
            };
            let known = held.source.candidates.iter_mut().find(|known| known.target == crossing.target);
            if let Some(candidate) = known {
                candidate.wanted_at = now;
            } else if held.source.may_prepare(crossing.target.node, now) {
                self.prepare(entity, crossing, now);
            }
        }
        self.schedule_source(entity);
    }

    /// Other owners of the cells ahead, the nearest in time first; at most three.
    pub(super) fn wanted_targets(&self, motion: &Motion) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = Vec::new();
        let (Some(me), Some(grid)) = (self.me(), self.grid()) else {
            return wanted;
        };
        let config = &self.setup.config;
        let level = self.map.deepest_level();
        // Outside the world nobody owns anything: the entity stays where it is.
        let Ok(forecast) =
            grid.forecast_at_level(level, motion, config.prepare_lead, config.prepare_margin_m)
        else {
            return wanted;
        };
        let current = core::iter::once((forecast.current, Duration::ZERO));
        let ahead = forecast
            .crossings
            .iter()
            .map(|crossing| (crossing.cell, crossing.time_to_boundary.unwrap_or(config.prepare_lead)));
        for (to_cell, crossing_in) in current.chain(ahead) {
            let Some(owner) = self.map.owner_of(to_cell).filter(|&owner| owner != me.node) else {
                continue;
            };
            let Some(entry) = self.map.node(owner) else {
                continue;
            };
            if wanted.iter().all(|known| known.target != entry.peer) && wanted.len() < CANDIDATES_MAX {
                wanted.push(Wanted { target: entry.peer, from_cell: forecast.current, to_cell, crossing_in });
            }
        }
        wanted
    }

    fn prepare(&mut self, entity: EntityId, crossing: Wanted, now: Time) {
        let Some(me) = self.me() else {
            return;
        };
        let direct = !self.membership.coordinator_linked;
        let pause =
            if direct { self.setup.config.prepare_retry } else { self.setup.config.coordinator_patience };
        let Some(held) = self.held.get_mut(&entity) else {
            return;
        };
        let reservation = ReservationId { entity, source: me, attempt: held.source.next_attempt() };
        held.source.candidates.push(Candidate {
            reservation,
            target: crossing.target,
            from_cell: crossing.from_cell,
            to_cell: crossing.to_cell,
            crossing_in: crossing.crossing_in,
            asked_at: now,
            wanted_at: now,
            stage: Stage::Preparing(Preparing { direct, notified_at: None, repeat_at: now + pause }),
        });
        // The coordinator must know that this node holds the entity before it is asked to move it on.
        self.flush_directory(now);
        self.ask(reservation, direct);
    }

    /// Step 1, or 3b where the coordinator is silent.
    fn ask(&mut self, reservation: ReservationId, direct: bool) {
        let Some(held) = self.held.get(&reservation.entity) else {
            return;
        };
        let Some(candidate) = held.source.candidates.iter().find(|known| known.reservation == reservation)
        else {
            return;
        };
        let target = candidate.target;
        let request = PrepareRequest {
            reservation,
            session: held.session,
            from_cell: candidate.from_cell,
            to_cell: candidate.to_cell,
            crossing_in_us: u64::try_from(candidate.crossing_in.as_micros()).unwrap_or(u64::MAX),
            size_hint_bytes: u32::try_from(held.source.captured.body_bytes()).unwrap_or(u32::MAX),
            schema: self.setup.config.schema_max,
            asked_at: self.clock.mesh_time(candidate.asked_at),
        };
        if direct {
            self.send(target.node, Lane::Control, Message::PrepareDirect(request));
        } else {
            self.tell_coordinator(Message::PrepareRequest(request));
        }
    }

    pub(super) fn schedule_source(&mut self, entity: EntityId) {
        let keep = self.setup.config.candidate_keep;
        let due = self.held.get(&entity).and_then(|held| held.source.due_at(keep));
        match due {
            Some(at) => self.timers.set(TimerKey::Source(entity), at),
            None => self.timers.cancel(TimerKey::Source(entity)),
        }
    }

    pub(super) fn on_source_due(&mut self, entity: EntityId, now: Time) {
        self.repeat_transfer(entity, now);
        let keep = self.setup.config.candidate_keep;
        let Some(held) = self.held.get(&entity) else {
            return;
        };
        if held.source.transferring.is_some() {
            self.schedule_source(entity);
            return;
        }
        let due: Vec<ReservationId> = held
            .source
            .candidates
            .iter()
            .filter(|candidate| candidate.due_at(keep) <= now)
            .map(|candidate| candidate.reservation)
            .collect();
        for reservation in due {
            self.on_candidate_due(reservation, now);
        }
        self.schedule_source(entity);
    }

    fn on_candidate_due(&mut self, reservation: ReservationId, now: Time) {
        let config = &self.setup.config;
        let (keep, retry, refresh) = (config.candidate_keep, config.prepare_retry, config.precopy_refresh);
        let Some(held) = self.held.get_mut(&reservation.entity) else {
            return;
        };
        let Some(candidate) = held.source.candidate(reservation) else {
            return;
        };
        if candidate.wanted_at + keep <= now {
            self.drop_candidate(reservation);
            return;
        }
        match &mut candidate.stage {
            Stage::Preparing(preparing) => {
                preparing.direct = true;
                preparing.repeat_at = now + retry;
                self.ask(reservation, true);
            }
            Stage::Prepared(prepared) => {
                let silence_max = (refresh * SILENT_REFRESHES).max(SILENCE_MIN);
                let silent = now.since(prepared.heard_at) >= silence_max;
                // More copies on a way that is slow would only make it slower.
                let waits = prepared
                    .copying_since
                    .is_some_and(|since| now.since(since) < silence_max / SILENCE_PARTS);
                prepared.refresh_at = now + refresh;
                if silent {
                    let target = candidate.target;
                    let backoff = self.setup.config.backoff;
                    held.source.back_off(target.node, Setback::Silent, backoff, now);
                    self.drop_candidate(reservation);
                } else if !waits {
                    self.capture_for(reservation, now);
                }
            }
        }
    }

    /// Asks the game for what the target does not have yet.
    fn capture_for(&mut self, reservation: ReservationId, now: Time) {
        let Some(held) = self.held.get_mut(&reservation.entity) else {
            return;
        };
        let Some(candidate) = held.source.candidate(reservation) else {
            return;
        };
        if let Stage::Prepared(prepared) = &mut candidate.stage {
            prepared.copying_since = Some(now);
            let have = prepared.have.clone().unwrap_or_default();
            self.command(GameCommand::Capture { entity: reservation.entity, reservation, have });
        }
    }

    /// Gives a candidate up and tells its target.
    fn drop_candidate(&mut self, reservation: ReservationId) {
        let Some(held) = self.held.get_mut(&reservation.entity) else {
            return;
        };
        if let Some(candidate) = held.source.remove(reservation) {
            self.send(candidate.target.node, Lane::Control, Message::CancelPrepare { reservation });
            self.arm(reservation.entity);
        }
    }

    /// Tells the targets of all candidates but one that the entity won't come.
    pub(super) fn cancel_candidates(&mut self, source: &Source, except: Option<ReservationId>) {
        for candidate in &source.candidates {
            if Some(candidate.reservation) != except {
                let cancel = Message::CancelPrepare { reservation: candidate.reservation };
                self.send(candidate.target.node, Lane::Control, cancel);
            }
        }
    }

    /// Step 3: the coordinator has notified the target.
    pub(super) fn on_notified(&mut self, reservation: ReservationId, target: Peer, now: Time) {
        let retry = self.setup.config.prepare_retry;
        let Some(candidate) = self.candidate(reservation).filter(|candidate| candidate.target == target)
        else {
            return;
        };
        if let Stage::Preparing(preparing) = &mut candidate.stage
            && !preparing.direct
        {
            preparing.notified_at.get_or_insert(now);
            preparing.repeat_at = now + retry;
            self.schedule_source(reservation.entity);
        }
    }

    /// Step 3: the coordinator has refused.
    pub(super) fn on_prepare_refused(&mut self, reservation: ReservationId, reason: RefuseReason, now: Time) {
        let unprepared =
            self.candidate(reservation).is_some_and(|known| matches!(known.stage, Stage::Preparing(_)));
        if unprepared {
            self.refused(reservation, reason, now);
        }
    }

    /// Step 4b: the target has refused.
    pub(super) fn on_refuse(
        &mut self,
        peer: Peer,
        reservation: ReservationId,
        reason: RefuseReason,
        now: Time,
    ) {
        if self.candidate(reservation).is_some_and(|candidate| candidate.target == peer) {
            self.refused(reservation, reason, now);
        }
    }

    fn refused(&mut self, reservation: ReservationId, reason: RefuseReason, now: Time) {
        let backoff = self.setup.config.backoff;
        let Some(held) = self.held.get_mut(&reservation.entity) else {
            return;
        };
        if held.source.transferring.as_ref().is_some_and(|transfer| transfer.reservation == reservation) {
            // The transfer is out: its own answer decides.
            return;
        }
        if let Some(candidate) = held.source.remove(reservation) {
            let after = Setback::PrepareRefused(reason);
            held.source.back_off(candidate.target.node, after, backoff, now);
            self.arm(reservation.entity);
            self.schedule_source(reservation.entity);
            self.event(NodeEvent::PrepareRefused { reservation, reason });
        }
    }

    /// Step 4: the target has reserved.
    pub(super) fn on_ready(
        &mut self,
        peer: Peer,
        reservation: ReservationId,
        token: Option<Token>,
        now: Time,
    ) {
        let refresh_at = now + self.setup.config.precopy_refresh;
        let Some(candidate) = self.candidate(reservation).filter(|candidate| candidate.target == peer) else {
            // Given up in the meantime: the target need not wait.
            if Some(reservation.source) == self.me() {
                self.send(peer.node, Lane::Control, Message::CancelPrepare { reservation });
            }
            return;
        };
        let answered_at = match &candidate.stage {
            Stage::Prepared(_) => return,
            Stage::Preparing(preparing) => preparing.notified_at.unwrap_or(now),
        };
        let steps = Steps {
            asked_at: candidate.asked_at,
            answered_at,
            ready_at: now,
            copy_sent_at: None,
            copied_at: None,
        };
        candidate.stage =
            Stage::Prepared(Prepared { steps, have: None, heard_at: now, refresh_at, copying_since: None });
        self.preconnect(reservation.entity, peer, token);
        self.capture_for(reservation, now);
        self.arm(reservation.entity);
        self.schedule_source(reservation.entity);
    }

    /// Step 5: tells the client to connect ahead.
    fn preconnect(&mut self, entity: EntityId, target: Peer, token: Option<Token>) {
        let client = self.held.get(&entity).and_then(|held| held.client);
        if let (Some(client), Some(token)) = (client, token)
            && let Some(invitation) = self.invitation(target, token)
        {
            self.tell_client(client, ServerMessage::Preconnect { invitation });
        }
    }

    pub(super) fn invitation(&self, node: Peer, token: Token) -> Option<Invitation> {
        let entry = self.map.node(node.node)?;
        Some(Invitation { addr: entry.client_addr.clone(), server_name: entry.server_name.clone(), token })
    }

    /// Step 6: the game has captured a pre-copy.
    pub(super) fn on_captured(
        &mut self,
        entity: EntityId,
        grant: AuthorityEpoch,
        reservation: ReservationId,
        snapshot: &CapturedSnapshot,
        now: Time,
    ) {
        if !self.authority.holds(entity, grant) {
            return;
        }
        let Some(held) = self.held.get_mut(&entity) else {
            return;
        };
        let Some(candidate) = held.source.candidate(reservation) else {
            return;
        };
        let target = candidate.target;
        if let Stage::Prepared(prepared) = &mut candidate.stage {
            prepared.steps.copy_sent_at.get_or_insert(now);
        }
        // What can't be kept here could not be thawed from: it isn't sent either.
        let kept = SnapshotArchive::validate(snapshot.bytes.clone())
            .and_then(|archive| held.source.captured.apply(archive));
        if kept.is_ok() {
            let message = Message::Precopy { reservation };
            self.send_with(target.node, Lane::Precopy, message, snapshot.bytes.clone());
        }
    }

    /// Step 6b: the target has the pre-copy, or can't use it.
    pub(super) fn on_warmed_by_target(
        &mut self,
        peer: Peer,
        reservation: ReservationId,
        versions: ComponentVersions,
        refused: Option<RefuseReason>,
        now: Time,
    ) {
        let Some(candidate) = self.candidate(reservation).filter(|candidate| candidate.target == peer) else {
            return;
        };
        let Stage::Prepared(prepared) = &mut candidate.stage else {
            return;
        };
        prepared.heard_at = now;
        prepared.copying_since = None;
        match refused {
            None => {
                prepared.steps.copied_at.get_or_insert(now);
                prepared.have = Some(versions);
                self.arm(reservation.entity);
            }
            Some(RefuseReason::StalePrecopy) => {
                prepared.have = None;
                self.arm(reservation.entity);
                self.capture_for(reservation, now);
            }
            Some(reason) => {
                self.refused(reservation, reason, now);
                self.send(peer.node, Lane::Control, Message::CancelPrepare { reservation });
            }
        }
    }

    fn candidate(&mut self, reservation: ReservationId) -> Option<&mut Candidate> {
        self.held.get_mut(&reservation.entity).and_then(|held: &mut Held| held.source.candidate(reservation))
    }
}
