//! What the game reports, and what it says of its own: frames, spawns, despawns.

use super::{GameCommand, GameReport, Held, Node, Published, ReleaseReason, TimerKey, cutover};
use crate::ghost::VanishReason;
use crate::grid::Motion;
use crate::id::{AuthorityEpoch, EntityId};
use crate::inputs::InputQueue;
use crate::time::{Tick, Time};

impl Node {
    pub(super) fn on_game(&mut self, report: GameReport, now: Time) {
        match report {
            GameReport::Frame { tick, published } => self.on_frame(tick, published, now),
            GameReport::Spawned { entity, motion, tick } => self.on_spawned(entity, motion, tick, now),
            GameReport::Joined { entity, accepted, motion, tick } => {
                self.on_joined(entity, motion.filter(|_| accepted), tick, now);
            }
            GameReport::Despawned { entity, grant, tick } => self.on_despawned(entity, grant, tick, now),
            GameReport::Left { entity, grant, snapshot, tick } => {
                self.on_left(entity, grant, snapshot, tick, now)
            }
            GameReport::Captured { entity, grant, reservation, snapshot } => {
                self.on_captured(entity, grant, reservation, &snapshot, now);
            }
            GameReport::Frozen { target, group, tick, frozen_at } => {
                self.on_frozen(cutover::Freeze { target, group, tick, frozen_at }, now);
            }
            GameReport::Attached { entity, grant, to } => self.on_attached(entity, grant, to),
            GameReport::Pinned { entity, grant, pins } => self.on_pinned(entity, grant, pins),
            GameReport::Warmed { entity, reservation, accepted } => {
                self.on_warmed_by_game(entity, reservation, accepted);
            }
            GameReport::Admitted { id, accepted, tick } => self.on_admitted(id, accepted, tick, now),
            GameReport::Restored { entity, grant, tick } => self.on_restored(entity, grant, tick, now),
            GameReport::Action(report) => self.on_action_report(report, now),
            GameReport::Event { area, bytes, tick } => self.on_event_caused(area, bytes, tick),
            GameReport::Checkpoint { cut, tick, copies } => self.on_checkpoint(cut, tick, copies, now),
        }
    }

    /// A tick is done: everything that was published under a standing grant counts.
    fn on_frame(&mut self, tick: Tick, published: Vec<Published>, now: Time) {
        self.last_frame = self.last_frame.max(tick);
        self.events.next_tick();
        let mut fresh = Vec::with_capacity(published.len());
        for Published { entity, grant, motion, look, applied, own } in published {
            if !self.authority.holds(entity, grant) {
                continue;
            }
            let Some(held) = self.held.get_mut(&entity) else {
                continue;
            };
            (held.motion, held.look, held.own) = (motion, look, own);
            (held.last_tick, held.published) = (tick, Some((tick, grant)));
            held.inputs.confirm(applied);
            fresh.push(entity);
        }
        self.measure_checkpoint_age(tick);
        // Before it is shown: what is about to be a neighbour's need not appear there.
        for entity in fresh {
            self.consider_crossing(entity, now);
        }
        self.replicate(tick, now);
    }

    fn on_spawned(&mut self, entity: EntityId, motion: Motion, tick: Tick, now: Time) {
        if self.me().is_none()
            || self.held.len() >= self.setup.config.entities_max
            || !self.authority.spawn(entity)
        {
            let why = ReleaseReason::Void;
            self.command(GameCommand::Release { entity, grant: AuthorityEpoch::FIRST, why });
            return;
        }
        let inputs = InputQueue::new(crate::id::InputSeq::default());
        self.held.insert(entity, Held::new(None, motion, inputs, tick, now));
        self.promote_ghost(entity);
        self.record_spawn(entity, tick, now);
        self.hurry_checkpoint(now);
    }

    fn on_despawned(&mut self, entity: EntityId, grant: AuthorityEpoch, tick: Tick, now: Time) {
        let Some(end) = self.authority.despawn(entity, grant) else {
            return;
        };
        let Some(held) = self.let_go(entity) else {
            return;
        };
        self.forget_held(entity, &held, crate::wire::ByeReason::Gone);
        self.remember_end(entity, end);
        self.forget_shown(entity, VanishReason::Ended, end);
        self.record_despawn(entity, held.session, end, tick, now);
    }

    /// Ends what hangs on an entity that was held: candidates, timers, its client.
    pub(super) fn forget_held(&mut self, entity: EntityId, held: &Held, bye: crate::wire::ByeReason) {
        self.cancel_candidates(&held.source, None);
        self.timers.cancel(TimerKey::Source(entity));
        self.timers.cancel(TimerKey::Linger(entity));
        if let Some(client) = held.client {
            self.dismiss(client, bye);
        }
    }
}
