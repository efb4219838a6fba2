//! Shots: small fast things that hit the first one in their way, here or behind the border.

use selvedge_protocol::grid::{Motion, Position, Velocity};
use selvedge_protocol::id::EntityId;
use tracing::debug;

use super::Arena;
use super::avatar::Avatar;
use super::deed::Deed;
use crate::{Durability, Frame, Target};

/// What a shot's name begins with; who fired it follows.
const NAME: &str = "shot ";
const SPEED_MPS: f64 = 90.0;
/// How long one flies, in ticks.
const TICKS: u64 = 60;
/// How close it must come, in metres.
const NEAR_M: f64 = 1.0;
/// How far one aims, in metres.
const AIM_M: f64 = 100.0;

impl Avatar {
    /// Who fired it, if it is a shot.
    fn fired_by(&self) -> Option<&str> {
        self.name().strip_prefix(NAME).filter(|_| !self.player)
    }

    /// Whether it is a shot: nobody turns it.
    pub(super) fn is_shot(&self) -> bool {
        self.fired_by().is_some()
    }
}

impl Arena {
    /// A player fires at whoever is nearest.
    pub(super) fn fire(&mut self, frame: &mut Frame<'_>, by: EntityId) {
        let Some(at) = self.here.get(&by).map(|avatar| avatar.motion.position) else { return };
        let targets = self.in_sight(frame, &by.to_string());
        let apart = targets.iter().map(|(to, _)| (to.distance(at), *to));
        let aim = apart.filter(|(apart, _)| *apart <= AIM_M).min_by(|(a, _), (b, _)| a.total_cmp(b));
        let Some((apart, to)) = aim else { return };
        #[allow(clippy::cast_possible_truncation, reason = "speeds are small, and a velocity is f32")]
        let towards = |from: f64, to: f64| ((to - from) / apart.max(NEAR_M) * SPEED_MPS) as f32;
        let velocity = Velocity::new(towards(at.x, to.x), towards(at.y, to.y), 0.0);
        self.spawn(frame, &format!("{NAME}{by}"), Motion { position: at, velocity });
    }

    /// Whom a shot that this one fired may hit: everybody who is no shot, with where they are.
    fn in_sight(&self, frame: &Frame<'_>, by: &str) -> Vec<(Position, Target)> {
        let here = self.here.iter().filter(|(id, avatar)| !avatar.is_shot() && id.to_string() != by);
        let here =
            here.filter_map(|(&id, avatar)| Some((avatar.motion.position, frame.owned_by(id)?.into())));
        let there = frame.ghosts().filter(|(ghost, sight)| {
            // Shots look like nobody: they have no health to show.
            sight.look.state.view().fields().next().is_some() && ghost.id().to_string() != by
        });
        here.chain(there.map(|(ghost, sight)| (sight.motion.position, ghost.into()))).collect()
    }

    /// Lets shots hit, and ends those that have.
    pub(super) fn land_shots(&mut self, frame: &mut Frame<'_>) {
        let shots: Vec<(EntityId, String, Position, u64)> = self
            .here
            .iter()
            .filter_map(|(&id, shot)| {
                Some((id, shot.fired_by()?.to_owned(), shot.motion.position, shot.ticks_lived()))
            })
            .collect();
        let reach = SPEED_MPS * frame.interval().as_secs_f64() / 2.0 + NEAR_M;
        for (id, by, at, lived) in shots {
            let Some(owned) = frame.owned_by(id) else { continue };
            let target = self.in_sight(frame, &by).into_iter().find(|(to, _)| to.distance(at) <= reach);
            let flies_on = match (target, self.struck.get(&id)) {
                (_, Some(answered)) => !answered,
                (None, None) => lived < TICKS,
                (Some((_, target)), None) => {
                    let struck = frame.action(owned, target, &Deed::Suffer.encode(), Durability::Plain);
                    if let Err(cause) = &struck {
                        debug!(shot = ?id, %cause, "missed");
                    }
                    if let Some(shot) = self.here.get_mut(&id) {
                        shot.motion.velocity = Velocity::default();
                    }
                    self.struck.insert(id, false);
                    struck.is_ok()
                }
            };
            if !flies_on && frame.despawn(owned).is_ok() {
                self.here.remove(&id);
                self.struck.remove(&id);
            }
        }
    }
}
