//! What happens around bodies, and the mark that it leaves on them.
//!
//! A mark is part of a body's state: it travels, and a return from a copy undoes it.

use bytes::{Buf, BufMut};
use selvedge_protocol::event::{Area, EventId};
use selvedge_protocol::grid::Position;
use selvedge_protocol::id::{Incarnation, NodeId, Peer};
use selvedge_protocol::time::Tick;

use super::{Game, Happening};
use crate::stats::Stats;

/// A body remembers so many events.
const MARKS_MAX: usize = 64;
/// An event is for the whole world.
const EVERYWHERE: f64 = 0.05;

/// What has reached a body.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Marks {
    /// How many ever did: what changes with each.
    pub(super) version: u64,
    /// The newest last.
    events: Vec<EventId>,
}

impl Marks {
    /// An event reaches the body. Whether it had done so before.
    fn leave(&mut self, event: EventId) -> bool {
        let again = self.events.contains(&event);
        self.version += 1;
        self.events.push(event);
        if self.events.len() > MARKS_MAX {
            self.events.remove(0);
        }
        again
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for EventId { by, number } in &self.events {
            bytes.put_u128_le(by.node.as_u128());
            bytes.put_u64_le(by.incarnation.0);
            bytes.put_u64_le(*number);
        }
        bytes
    }

    pub(super) fn decode(version: u64, mut bytes: &[u8]) -> Option<Self> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            let node = NodeId::from_u128(bytes.try_get_u128_le().ok()?);
            let incarnation = Incarnation(bytes.try_get_u64_le().ok()?);
            let number = bytes.try_get_u64_le().ok()?;
            events.push(EventId { by: Peer { node, incarnation }, number });
        }
        Some(Self { version, events })
    }
}

impl Game {
    /// What is due takes effect. `former` is the tick before this one.
    pub(super) fn happen(&mut self, tick: Tick, former: Option<Tick>, stats: &mut Stats) {
        while let Some((event, reached)) = self.roster.poll_event(tick) {
            let on_time = former.is_some_and(|former| former < event.tick);
            self.happenings.push(Happening::Effect { event: event.id, on_time });
            for entity in reached {
                let Some(body) = self.bodies.get_mut(&entity) else {
                    self.complaints.push((entity, "an event for a body that isn't there".to_owned()));
                    continue;
                };
                stats.events_met += 1;
                let again = body.marks.leave(event.id);
                self.happenings.push(Happening::Reached { event: event.id, entity, again });
            }
        }
    }

    /// Now and then something happens: mostly near somebody, often right at a corner of cells.
    pub(super) fn cause(&mut self, tick: Tick, stats: &mut Stats) {
        if !self.event_dice.chance(self.play.events) {
            return;
        }
        let Some(area) = self.any_area() else {
            return;
        };
        stats.events_caused += u64::from(self.roster.cause(area, b"!", tick).is_ok());
        self.collect();
    }

    fn any_area(&mut self) -> Option<Area> {
        let dice = &mut self.event_dice;
        if dice.chance(EVERYWHERE) {
            return Some(Area::World);
        }
        let edge = self.grid.config().cell_edge_m;
        let nth = dice.index(0, self.bodies.len().max(1) - 1);
        let near = self.bodies.values().nth(nth)?.motion.position;
        let centre =
            if dice.chance(0.5) { self.grid.bounds(self.grid.cell_at(near).ok()?).min } else { near };
        // A flat world's cells have no lowest point.
        let centre = Position { z: if centre.z.is_finite() { centre.z } else { near.z }, ..centre };
        if dice.chance(0.5) {
            return Some(Area::Sphere { centre, radius_m: dice.real(0.0, edge) });
        }
        let mut half = || dice.real(0.0, edge * 0.7);
        let (x, y, z) = (half(), half(), half());
        let min = Position::new(centre.x - x, centre.y - y, centre.z - z);
        let max = Position::new(centre.x + x, centre.y + y, centre.z + z);
        Some(Area::Cuboid { min, max })
    }
}
