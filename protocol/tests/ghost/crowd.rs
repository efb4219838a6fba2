//! Entities of mixed motion, in steps as games make them: a quarter each stand, run, turn and jump. Or all are restless.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use selvedge_protocol::ghost::{EntityClass, State, Subject, Value};
use selvedge_protocol::grid::{Motion, Position, Velocity};
use selvedge_protocol::id::{AuthorityEpoch, EntityId};

pub(crate) const DT: f64 = 1.0 / 30.0;
const GRAVITY: f64 = 9.81;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Habit {
    Stand,
    Run,
    Turn(f64),
    Jump,
    /// Nothing that it does can be foreseen.
    Restless,
}

#[derive(Clone, Debug)]
pub(crate) struct Walker {
    pub(crate) subject: Subject,
    habit: Habit,
    heading: f64,
    speed: f64,
    climb: f64,
}

pub(crate) struct Crowd {
    pub(crate) walkers: Vec<Walker>,
    chance: ChaCha8Rng,
    /// Where they stay: x from `-depth_m` to -0.5, y from 0 to `width_m`.
    depth_m: f64,
    width_m: f64,
}

impl Crowd {
    pub(crate) fn new(count: u128, depth_m: f64, width_m: f64, seed: u64) -> Self {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let walkers = (0..count).map(|id| walker(id, &mut chance, depth_m, width_m)).collect();
        Self { walkers, chance, depth_m, width_m }
    }

    /// As [`new`](Self::new), but nobody ever goes on as before.
    pub(crate) fn restless(count: u128, depth_m: f64, width_m: f64, seed: u64) -> Self {
        let mut crowd = Self::new(count, depth_m, width_m, seed);
        for walker in &mut crowd.walkers {
            walker.habit = Habit::Restless;
            walker.speed = 5.0;
        }
        crowd
    }

    /// One tick of all.
    pub(crate) fn step(&mut self) {
        for walker in &mut self.walkers {
            walker.step(&mut self.chance);
            walker.turn_back(self.depth_m, self.width_m);
        }
    }

    /// Each changes its health now and then.
    pub(crate) fn bleed(&mut self, chance_of_change: f64) {
        for walker in &mut self.walkers {
            if self.chance.random_bool(chance_of_change) {
                let health = self.chance.random_range(0..100_u64);
                walker.subject.state.set(1, Value::Unsigned(health)).unwrap();
            }
        }
    }
}

fn walker(id: u128, chance: &mut ChaCha8Rng, depth_m: f64, width_m: f64) -> Walker {
    let position = Position::new(-chance.random_range(0.5..depth_m), chance.random_range(0.0..width_m), 0.0);
    let habit = match id % 4 {
        0 => Habit::Stand,
        1 => Habit::Run,
        2 => Habit::Turn(chance.random_range(0.3..1.5) * if id % 8 < 4 { 1.0 } else { -1.0 }),
        _ => Habit::Jump,
    };
    let mut state = State::new();
    state.set(1, Value::Unsigned(100)).unwrap();
    state.set(2, Value::Unsigned((id % 2) as u64)).unwrap();
    let subject = Subject {
        entity: EntityId::from_u128(id * 7_919 + 1),
        epoch: AuthorityEpoch::FIRST,
        class: EntityClass::default(),
        owned: true,
        motion: Motion { position, velocity: Velocity::default() },
        rotation: [0.0, 0.0, 0.0, 1.0],
        state,
    };
    let speed = if habit == Habit::Stand { 0.0 } else { chance.random_range(3.0..7.0) };
    let heading = chance.random_range(0.0..core::f64::consts::TAU);
    Walker { subject, habit, heading, speed, climb: 0.0 }
}

impl Walker {
    fn step(&mut self, chance: &mut ChaCha8Rng) {
        match self.habit {
            Habit::Stand => {}
            // A new heading and another speed about every second.
            Habit::Run => {
                if chance.random_bool(DT) {
                    self.heading += chance.random_range(-2.0..2.0);
                    self.speed = chance.random_range(3.0..7.0);
                }
            }
            // Another turn about every two seconds.
            Habit::Turn(rate) => {
                self.heading += rate * DT;
                if chance.random_bool(DT / 2.0) {
                    self.habit = Habit::Turn(chance.random_range(-1.5..1.5));
                }
            }
            Habit::Jump => {
                let grounded = self.subject.motion.position.z <= 0.0;
                if grounded && chance.random_bool(DT / 0.5) {
                    self.climb = 4.5;
                    self.heading += chance.random_range(-0.5..0.5);
                }
            }
            Habit::Restless => self.heading += chance.random_range(-1.5..1.5),
        }
        let Motion { mut position, .. } = self.subject.motion;
        if position.z > 0.0 || self.climb > 0.0 {
            self.climb -= GRAVITY * DT;
        }
        let (x, y) = (self.speed * self.heading.cos(), self.speed * self.heading.sin());
        position.x += x * DT;
        position.y += y * DT;
        position.z += self.climb * DT;
        if position.z <= 0.0 {
            position.z = 0.0;
            self.climb = 0.0;
        }
        let velocity = Velocity::new(x as f32, y as f32, self.climb as f32);
        self.subject.motion = Motion { position, velocity };
        let half = self.heading / 2.0;
        self.subject.rotation = [0.0, 0.0, half.sin() as f32, half.cos() as f32];
    }

    /// Those at an edge head inwards.
    fn turn_back(&mut self, depth_m: f64, width_m: f64) {
        let Position { x, y, .. } = self.subject.motion.position;
        let (dx, dy) = (self.heading.cos(), self.heading.sin());
        if (x > -0.5 && dx > 0.0) || (x < -depth_m && dx < 0.0) {
            self.heading = core::f64::consts::PI - self.heading;
        }
        if (y > width_m && dy > 0.0) || (y < 0.0 && dy < 0.0) {
            self.heading = -self.heading;
        }
    }
}
