//! Whether players see each other where they are: every bot leaves a trail of its own states, and whoever looks at another
//! compares what is shown with that trail, at the very moment of mesh time that is shown.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use selvedge_client::SeenEntity;
use selvedge_protocol::grid::Position;
use selvedge_protocol::id::EntityId;
use selvedge_protocol::time::{Tick, Time};

use super::walk::Plain;

/// Ticks of a trail that are kept: more than anybody lags behind.
const STEPS: usize = 32;
/// Others whom a bot compares at one look.
const OTHERS_MAX: usize = 16;
/// Beyond this nobody is near a border any more, in metres.
const NEAR_BORDER_M: f64 = 30.0;

/// The trails of all bots, and what came of comparing.
#[derive(Debug)]
pub(super) struct Trails {
    interval: Duration,
    plain: Arc<Plain>,
    trails: Mutex<HashMap<EntityId, VecDeque<(Tick, Position)>>>,
    /// In millimetres: of everybody, and of those who are seen over a border.
    off_mm: Mutex<(Histogram<u64>, Histogram<u64>)>,
}

impl Trails {
    pub(super) fn new(interval: Duration, plain: Arc<Plain>) -> Self {
        let off_mm = Mutex::new((crate::figures::empty(), crate::figures::empty()));
        Self { interval, plain, trails: Mutex::default(), off_mm }
    }

    pub(super) fn step(&self, entity: EntityId, tick: Tick, at: Position) {
        let mut trails = self.trails.lock().unwrap_or_else(PoisonError::into_inner);
        let trail = trails.entry(entity).or_default();
        if trail.back().is_none_or(|(last, _)| *last < tick) {
            trail.push_back((tick, at));
        }
        if trail.len() > STEPS {
            trail.pop_front();
        }
    }

    /// Compares what a bot that stands at `from` is shown of others at a moment.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a distance in millimetres")]
    pub(super) fn compare(&self, from: Position, at: Time, seen: &[SeenEntity]) {
        let trails = self.trails.lock().unwrap_or_else(PoisonError::into_inner);
        let mut off_mm = self.off_mm.lock().unwrap_or_else(PoisonError::into_inner);
        for other in seen.iter().take(OTHERS_MAX) {
            let is = trails.get(&other.entity).and_then(|trail| on_trail(trail, at, self.interval));
            let Some(is) = is else { continue };
            let off = (is.distance(other.motion.position) * 1e3).round() as u64;
            // The histograms resize themselves.
            let _ = off_mm.0.record(off);
            if from.distance(is) <= NEAR_BORDER_M && self.plain.is_elsewhere(from, is) {
                let _ = off_mm.1.record(off);
            }
        }
    }

    /// How far off others were shown, in millimetres: everybody, and those over a border.
    pub(super) fn off_mm(&self) -> (Histogram<u64>, Histogram<u64>) {
        self.off_mm.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Where a trail leads at a moment, if it was walked without a gap there.
fn on_trail(trail: &VecDeque<(Tick, Position)>, at: Time, interval: Duration) -> Option<Position> {
    let after = trail.partition_point(|(tick, _)| tick.start(interval) <= at);
    let ((tick, from), (next, to)) = (trail.get(after.checked_sub(1)?)?, trail.get(after)?);
    if next.0 > tick.0 + 1 {
        return None;
    }
    let part = at.since(tick.start(interval)).as_secs_f64() / interval.as_secs_f64();
    let (from, to) = (from.to_array(), to.to_array());
    Some(Position::from_array(std::array::from_fn(|axis| from[axis] + (to[axis] - from[axis]) * part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_is_followed_between_two_ticks_and_not_over_a_gap() {
        let interval = Duration::from_millis(100);
        let trail: VecDeque<_> =
            [1, 2, 5, 6].map(|tick| (Tick(tick), Position::new(tick as f64, 0.0, 0.0))).into();
        let at = |millis: u64| on_trail(&trail, Time::from_micros(millis * 1_000), interval).map(|at| at.x);
        assert_eq!((at(100), at(150), at(550)), (Some(1.0), Some(1.5), Some(5.5)));
        assert_eq!((at(50), at(300), at(650)), (None, None, None));
    }
}
