//! What the game does when the roster calls it.

use selvedge_protocol::ghost::GhostChange;
use selvedge_protocol::id::EntityId;
use selvedge_protocol::node::{GameCommand, ReleaseReason};
use selvedge_protocol::roster::Callback;
use selvedge_protocol::snapshot::{Assembled, ComponentVersions, SnapshotWriter};
use selvedge_protocol::time::Tick;

use super::{Body, Game};
use crate::stats::Stats;

impl Game {
    /// Takes one command of the core.
    pub(super) fn obey(&mut self, command: GameCommand, tick: Tick, stats: &mut Stats) {
        if let Some(callback) = self.roster.take(command, tick) {
            self.answer(callback, tick, stats);
        }
        self.collect();
    }

    fn answer(&mut self, callback: Callback, tick: Tick, stats: &mut Stats) {
        match callback {
            Callback::Join { entity, session, name, entry, baseline } => {
                if !self.calm && self.dice.chance(self.play.refuse_join) {
                    self.roster.joined(entity, None, tick);
                    return;
                }
                let mut body = Body::player(session, name, self.grid.clamp(entry), baseline.as_ref());
                self.endow(entity, &mut body);
                self.roster.joined(entity, Some(body.motion), tick);
                self.ghosts.remove(&entity);
                self.bodies.insert(entity, body);
            }
            Callback::Leave { entity, session, .. } => {
                self.all_off(entity);
                let body = self.bodies.remove(&entity);
                let writer = SnapshotWriter::new(entity, session, &ComponentVersions::new());
                let snapshot = body.and_then(|body| body.capture(writer));
                self.roster.left(entity, snapshot, tick);
            }
            Callback::Capture { entity, session: _, reservation, have } => {
                let writer = self.roster.writer(entity, &have);
                let captured = self.bodies.get(&entity).and_then(|body| body.capture(writer));
                if let Some(captured) = captured {
                    self.roster.captured(entity, reservation, captured);
                }
            }
            Callback::Warm { entity, reservation, snapshot } => {
                let body = self.arrived(entity, &snapshot).filter(|_| self.is_willing());
                self.roster.warmed(entity, reservation, body.is_some());
                if let Some(body) = body {
                    self.warm.insert(entity, body);
                }
            }
            Callback::Admit { id, snapshot, restores } => {
                let body = self.arrived(id.entity, &snapshot).filter(|_| self.is_willing());
                self.roster.admitted(id, &snapshot, body.is_some(), tick);
                if let Some(body) = body {
                    if !restores {
                        self.warm.insert(id.entity, body);
                        return;
                    }
                    self.ghosts.remove(&id.entity);
                    self.bodies.insert(id.entity, body);
                }
            }
            Callback::Restore { entity, snapshot } => {
                self.warm.remove(&entity);
                self.ghosts.remove(&entity);
                if let Some(body) = self.arrived(entity, &snapshot) {
                    self.bodies.insert(entity, body);
                }
            }
            Callback::Release { entity, why } => {
                self.warm.remove(&entity);
                if why == ReleaseReason::Void {
                    self.ghosts.remove(&entity);
                }
                if !self.roster.holds(entity) {
                    self.bodies.remove(&entity);
                }
            }
            Callback::Input { entity, seq, bytes } => {
                let Some(body) = self.bodies.get_mut(&entity) else {
                    self.complaints.push((entity, format!("input {seq} for a body that isn't there")));
                    return;
                };
                body.input(seq, &bytes);
                body.motion.position = self.grid.clamp(body.motion.position);
                stats.inputs_applied += 1;
            }
            Callback::Perform { entity, request } => self.perform(entity, &request, tick),
            Callback::Settled { entity, number, outcome } => self.settled(entity, number, &outcome),
            Callback::Ghosts(changes) => changes.iter().for_each(|change| self.on_ghost(change)),
        }
    }

    /// A game must never hear of a ghost that it simulates, nor of one out of turn.
    fn on_ghost(&mut self, change: &GhostChange) {
        let entity = change.entity();
        if self.bodies.contains_key(&entity) {
            self.complaints.push((entity, format!("{change:?} beside the body itself")));
        }
        let in_turn = match *change {
            GhostChange::Appeared { motion, look, .. } => {
                self.ghosts.insert(entity, (motion, look)).is_none()
            }
            GhostChange::Vanished { .. } => self.ghosts.remove(&entity).is_some(),
            GhostChange::Moved { motion, rotation, .. } => match self.ghosts.get_mut(&entity) {
                Some((at, look)) => {
                    (*at, look.rotation) = (motion, rotation);
                    true
                }
                None => false,
            },
            GhostChange::Changed { state, .. } => match self.ghosts.get_mut(&entity) {
                Some((_, look)) => {
                    look.state = state;
                    true
                }
                None => false,
            },
        };
        if !in_turn {
            self.complaints.push((entity, format!("{change:?} out of turn")));
        }
    }

    fn arrived(&mut self, entity: EntityId, snapshot: &Assembled) -> Option<Body> {
        let body = Body::arrived(snapshot);
        let wrong = match &body {
            None => Some("a snapshot that can't be read".to_owned()),
            Some(body) => snapshot.view().ok().and_then(|view| body.torn(view.last_input())),
        };
        self.complaints.extend(wrong.map(|what| (entity, what)));
        body
    }

    fn is_willing(&mut self) -> bool {
        self.calm || !self.dice.chance(self.play.refuse_warm)
    }
}
