//! What the checks are told of events, and of where everybody stands meanwhile.

use selvedge_protocol::authority::Standing;
use selvedge_protocol::event::{Area, Event};
use selvedge_protocol::grid::Bounds;
use selvedge_protocol::id::{AuthorityEpoch, EntityId};
use selvedge_protocol::node::{Destination, GameCommand, GameReport, Published};
use selvedge_protocol::time::Tick;
use selvedge_protocol::wire::{EventMessage, Message};

use super::World;
use crate::game::Happening;
use crate::invariant::{EventFact, Fact};

impl World {
    /// Whether anything happens in this run.
    fn has_events(&self) -> bool {
        self.scenario.play.events > 0.0
    }

    /// A core says an event to another, or to the coordinator.
    pub(super) fn note_event_sent(&mut self, node: usize, to: Destination, message: &Message) {
        let Message::Event(EventMessage::Happens(event)) = message else {
            return;
        };
        match to {
            Destination::Coordinator => self.note_event_caused(node, event),
            Destination::Node(id) => {
                if let Some(to) = self.nodes.iter().position(|host| host.id == id) {
                    self.facts.push(Fact::Event(EventFact::Sent { event: event.id, to }));
                }
            }
        }
    }

    /// A core tells its game of an event.
    pub(super) fn note_event_command(&mut self, node: usize, command: &GameCommand) {
        let GameCommand::Event(event) = command else {
            return;
        };
        if self.nodes[node].me() == Some(event.id.by) && event.area != Area::World {
            self.note_event_caused(node, event);
        }
    }

    fn note_event_caused(&mut self, node: usize, event: &Event) {
        let event = event.clone();
        let touches = |bounds: Bounds| touches(event.area, bounds);
        let map = self.nodes[node].map.iter().filter(|_| event.area != Area::World);
        let owners =
            map.flat_map(|map| map.owners().iter()).filter(|(cell, _)| touches(self.grid.bounds(**cell)));
        let owners = owners.filter_map(|(_, id)| self.nodes.iter().position(|host| host.id == *id)).collect();
        self.facts.push(Fact::Event(EventFact::Caused { node, event, owners }));
    }

    pub(super) fn note_happenings(&mut self, node: usize, happenings: Vec<Happening>) {
        let fact = |happening| match happening {
            Happening::Effect { event, on_time } => EventFact::Happened { node, event, on_time },
            Happening::Reached { event, entity, again } => EventFact::Reached { node, event, entity, again },
        };
        self.facts.extend(happenings.into_iter().map(fact).map(Fact::Event));
    }

    /// Where those are of whom a core takes a report now.
    pub(super) fn stood(&self, node: usize, report: &GameReport) -> Vec<Fact> {
        if !self.has_events() {
            return Vec::new();
        }
        let machine = &self.nodes[node].machine;
        let holds = |entity: EntityId, grant: AuthorityEpoch| {
            machine.standing(entity) == Some(Standing::Active(grant))
        };
        let stood = |tick: Tick, published: &Published| {
            let &Published { entity, grant: epoch, motion, .. } = published;
            let fact = EventFact::Stood { node, entity, epoch, tick, position: motion.position };
            holds(entity, epoch).then_some(Fact::Event(fact))
        };
        match report {
            GameReport::Frame { tick, published } => {
                published.iter().filter_map(|published| stood(*tick, published)).collect()
            }
            GameReport::Frozen { group, tick, .. } => {
                group.iter().filter_map(|frozen| stood(*tick, &frozen.last)).collect()
            }
            GameReport::Spawned { .. }
            | GameReport::Joined { .. }
            | GameReport::Despawned { .. }
            | GameReport::Left { .. }
            | GameReport::Action(_)
            | GameReport::Event { .. }
            | GameReport::Captured { .. }
            | GameReport::Warmed { .. }
            | GameReport::Admitted { .. }
            | GameReport::Restored { .. }
            | GameReport::Attached { .. }
            | GameReport::Pinned { .. }
            | GameReport::Checkpoint { .. } => Vec::new(),
        }
    }
}

/// Whether an area has a point in common with a cell, worked out apart from how a node does it.
fn touches(area: Area, bounds: Bounds) -> bool {
    match area {
        Area::Sphere { centre, radius_m } => bounds.nearest(centre).distance(centre) <= radius_m,
        Area::Cuboid { min, max } => {
            let (low, high) = (bounds.min.to_array(), bounds.max.to_array());
            let (min, max) = (min.to_array(), max.to_array());
            (0..3).all(|axis| min[axis] <= high[axis] && low[axis] <= max[axis])
        }
        Area::World => true,
    }
}
