//! Bodies that ride on others: they board, are carried, and get off; and now and then something is pinned.

use selvedge_protocol::grid::Position;
use selvedge_protocol::id::EntityId;
use selvedge_protocol::time::Time;

use super::Game;
use crate::stats::Stats;

/// Per rider and tick: it gets off.
const GETS_OFF: f64 = 0.01;
/// Of those who could board, so many are pinned instead.
const PINNED: f64 = 0.3;

impl Game {
    /// Somebody boards something, somebody gets off.
    pub(super) fn ride(&mut self, now: Time, stats: &mut Stats) {
        let everybody: Vec<EntityId> = self.bodies.keys().copied().collect();
        for &entity in &everybody {
            if self.roster.attached_to(entity).is_some() {
                if self.ride_dice.chance(GETS_OFF) {
                    self.get_off(entity);
                }
            } else if self.ride_dice.chance(self.play.ride) {
                let to = everybody[self.ride_dice.index(0, everybody.len() - 1)];
                if self.ride_dice.chance(PINNED) {
                    let lasts = self.ride_dice.micros((100_000, 2_000_000));
                    stats.pins += u64::from(self.roster.pin(to, "game", lasts, now).is_ok());
                } else {
                    stats.boardings += u64::from(self.roster.attach(entity, to).is_ok());
                }
            }
        }
        self.collect();
    }

    fn get_off(&mut self, entity: EntityId) {
        if self.roster.detach(entity).is_some() {
            self.got_off.insert(entity);
        }
    }

    /// An entity is about to end: who rides on it gets off.
    pub(super) fn all_off(&mut self, entity: EntityId) {
        let riders: Vec<EntityId> = self.roster.riders(entity).collect();
        riders.into_iter().for_each(|rider| self.get_off(rider));
    }

    /// Whoever rides is where that is which leads its group.
    pub(super) fn carry(&mut self) {
        let riders: Vec<EntityId> = self.roster.attachments().map(|(rider, _)| rider).collect();
        for rider in riders {
            let Some(motion) = self.bodies.get(&self.roster.leader(rider)).map(|body| body.motion) else {
                continue;
            };
            if let Some(body) = self.bodies.get_mut(&rider) {
                body.motion = motion;
                let Position { x, y, z } = motion.position;
                body.motion.position = self.grid.clamp(Position::new(x + 0.5, y, z));
            }
        }
    }

    /// What an entity rides on.
    pub(crate) fn attached_to(&self, entity: EntityId) -> Option<EntityId> {
        self.roster.attached_to(entity)
    }

    /// Who decides where an entity goes.
    pub(crate) fn leader(&self, entity: EntityId) -> EntityId {
        self.roster.leader(entity)
    }

    /// Whether the game itself has let a rider off, since this was last asked.
    pub(crate) fn let_off(&mut self, entity: EntityId) -> bool {
        self.got_off.remove(&entity)
    }
}
