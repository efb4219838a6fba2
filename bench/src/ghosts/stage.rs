//! Who is to be seen: a crowd of mixed motion along the border. Where each of them is at a tick is known to everybody, so
//! that whoever shows a ghost can say how far off it is.

use std::time::Duration;

use selvedge_node::{EntityId, Look, Motion, Position, State, Tick, Value, Velocity};

/// The edge of a cell in metres. The world is two cells, and the border is here; with more neighbours than one it is four
/// cells, which meet here along x and y.
pub(crate) const CELL_EDGE_M: f64 = 2_000.0;
/// How far across the border everybody is seen, in metres; and across the corner.
pub(crate) const MARGIN_M: f64 = 112.0;
pub(crate) const CORNER_MARGIN_M: f64 = 160.0;
/// How near to the border the nearest and the farthest are, in metres.
const NEAREST_M: f64 = 5.0;
const FARTHEST_M: f64 = 105.0;
/// Out of sight: from here on nobody is seen across the border.
const AWAY_M: f64 = 500.0;
/// Ids of the crowd begin here.
const FIRST: u128 = 1 << 64;
/// Motions begin anew after so many ticks: their phases are small numbers.
const PERIOD_TICKS: u64 = 90_000;
const GRAVITY: f64 = 9.81;

/// A crowd.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) entities: usize,
    pub(crate) interval: Duration,
    /// Whether it is near enough to be seen.
    pub(crate) near: bool,
    /// Whether it stands in a corner, for several to see.
    pub(crate) corner: bool,
}

/// On which side of the border the crowd stands, along x and y.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quarter {
    pub(crate) left: bool,
    pub(crate) below: bool,
}

impl Quarter {
    /// Where something stands, if that is not on the border itself.
    pub(crate) fn of(position: Position) -> Self {
        Self { left: position.x < CELL_EDGE_M, below: position.y < CELL_EDGE_M }
    }
}

#[allow(clippy::cast_precision_loss, reason = "places and phases are small numbers")]
impl Crowd {
    pub(crate) fn ids(&self) -> impl Iterator<Item = EntityId> + use<> {
        (0..self.entities as u128).map(|number| EntityId::from_u128(FIRST + number))
    }

    fn number(&self, entity: EntityId) -> Option<usize> {
        usize::try_from(entity.as_u128().checked_sub(FIRST)?).ok().filter(|number| *number < self.entities)
    }

    /// How far from the border along x an entity's place is, in metres.
    fn distance_m(&self, entity: EntityId) -> Option<f64> {
        let number = self.number(entity)?;
        let share = number as f64 / self.entities.max(2) as f64;
        let away_m = if self.near { 0.0 } else { AWAY_M };
        Some(NEAREST_M + (FARTHEST_M - NEAREST_M) * share + away_m)
    }

    /// Where an entity is at the end of a tick, and how it moves.
    pub(crate) fn at(&self, entity: EntityId, tick: Tick, quarter: Quarter) -> Option<Motion> {
        let (number, distance_m) = (self.number(entity)?, self.distance_m(entity)?);
        let x = if quarter.left { CELL_EDGE_M - distance_m } else { CELL_EDGE_M + distance_m };
        let y = if self.corner {
            // Nobody leaves the quarter on the way to and fro.
            let away_m = 20.0 + (number * 37 % 86) as f64;
            if quarter.below { CELL_EDGE_M - away_m } else { CELL_EDGE_M + away_m }
        } else {
            50.0 + (number % 380) as f64 * 5.0
        };
        let ticks = (tick.0 + number as u64 * 97) % PERIOD_TICKS;
        let seconds = ticks as f64 * self.interval.as_secs_f64();
        let (position, velocity) = match number % 4 {
            0 => ([x, y, 0.0], [0.0; 3]),
            1 => {
                let (along, speed) = to_and_fro(seconds, 0.6 + (number % 7) as f64 * 0.3, 5.0);
                ([x, y + along, 0.0], [0.0, speed, 0.0])
            }
            2 => {
                // To and fro on an arc.
                let (radius, rate) = (2.0, 1.5);
                let (angle, rate) = to_and_fro(seconds, 1.0 + (number % 5) as f64 * 0.4, rate);
                let (sin, cos) = angle.sin_cos();
                let speed = radius * rate;
                ([x + radius * cos, y + radius * sin, 0.0], [-speed * sin, speed * cos, 0.0])
            }
            _ => {
                let (along, speed) = to_and_fro(seconds, 1.7, 3.0);
                let (height, climb) = jump(seconds % 1.5, 5.0);
                ([x, y + along, height], [0.0, speed, climb])
            }
        };
        let [vx, vy, vz] = velocity.map(narrow);
        Some(Motion { position: Position::from_array(position), velocity: Velocity::new(vx, vy, vz) })
    }

    /// How it looks: it faces where it goes, and has a health that falls now and then.
    pub(crate) fn look(&self, entity: EntityId, tick: Tick, motion: &Motion) -> Look {
        let hurt = self.number(entity).map_or(0, |number| (tick.0 + number as u64 * 31) / 300);
        let mut state = State::new();
        // Two small fields always fit.
        let _ = state.set(0, Value::Unsigned(100 - hurt % 100));
        let _ = state.set(1, Value::Flag(motion.velocity.z > 0.0));
        let yaw = f64::from(motion.velocity.y).atan2(f64::from(motion.velocity.x));
        Look::facing(yaw).with_state(state)
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a velocity is f32")]
const fn narrow(speed: f64) -> f32 {
    speed as f32
}

/// Along a line and back, so many seconds each way.
fn to_and_fro(seconds: f64, way_s: f64, speed: f64) -> (f64, f64) {
    let phase = seconds % (2.0 * way_s);
    if phase < way_s { (speed * phase, speed) } else { (speed * (2.0 * way_s - phase), -speed) }
}

fn jump(seconds: f64, speed: f64) -> (f64, f64) {
    if seconds < 2.0 * speed / GRAVITY {
        (speed * seconds - 0.5 * GRAVITY * seconds * seconds, speed - GRAVITY * seconds)
    } else {
        (0.0, 0.0)
    }
}
