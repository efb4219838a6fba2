//! Ghosts without end: a crowd that is another one each time, and sessions that begin one after the other.

use std::time::Duration;

use bytes::Bytes;
use selvedge_protocol::ghost::{
    BorderInterest, EntityClass, Outlet, Region, Scene, SenderSettings, SightRules, State, Subject,
    VanishReason,
};
use selvedge_protocol::grid::{Bounds, Motion, Position, Velocity};
use selvedge_protocol::id::{AuthorityEpoch, EntityId};
use selvedge_protocol::time::{Tick, Time};

/// Entities that come, and go again, with each message.
const NEWCOMERS: u128 = 32;
/// Messages of one session. What is never acknowledged is never moved, but there is no end of what appears.
const SESSION_MESSAGES: u32 = 256;

pub(super) struct Crowd {
    scene: Scene,
    interest: BorderInterest,
    outlet: Outlet,
    messages: u32,
    first: u128,
}

impl Crowd {
    pub(super) fn new() -> Self {
        let (min, max) = (Position::new(-1e6, -1e6, -1e6), Position::new(1e6, 1e6, 1e6));
        Self {
            scene: Scene::new(super::rogue::TICK),
            interest: BorderInterest::new(
                SightRules::within(1e6),
                Region::of_boxes(vec![Bounds { min, max }]),
            ),
            outlet: Outlet::new(1, SenderSettings::default()),
            messages: 0,
            first: 1 << 100,
        }
    }

    /// The next bytes of the flood.
    pub(super) fn next(&mut self, tick: Tick, elapsed: Duration) -> Vec<Bytes> {
        self.messages += 1;
        if self.messages.is_multiple_of(SESSION_MESSAGES) {
            self.outlet = Outlet::new(1 + self.messages / SESSION_MESSAGES, SenderSettings::default());
        }
        self.scene.begin(tick);
        for old in self.first..self.first + NEWCOMERS {
            self.scene.remove(EntityId::from_u128(old), VanishReason::Ended, AuthorityEpoch::FIRST);
        }
        self.first += NEWCOMERS;
        for new in self.first..self.first + NEWCOMERS {
            self.scene.put(&Subject {
                entity: EntityId::from_u128(new),
                epoch: AuthorityEpoch::FIRST,
                class: EntityClass::default(),
                owned: true,
                motion: Motion {
                    position: Position::new(65.0, 30.0, 0.0),
                    velocity: Velocity::new(1.0, 0.0, 0.0),
                },
                rotation: [0.0, 0.0, 0.0, 1.0],
                state: State::new(),
            });
        }
        let sights = self.interest.look(&self.scene);
        self.outlet.tick(&self.scene, sights, Time::ZERO + elapsed, || u32::MAX);
        std::iter::from_fn(|| self.outlet.poll()).collect()
    }
}
