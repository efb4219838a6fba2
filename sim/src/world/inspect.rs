//! The look at the whole mesh after faults and movement stopped.

use selvedge_protocol::authority::Standing;
use selvedge_protocol::grid::CellId;
use selvedge_protocol::id::EntityId;

use super::World;
use crate::invariant::{Fact, Held, Inspection, PlayerView};

impl World {
    pub(super) fn on_inspect(&mut self) {
        let calm_for = self.now.since(self.quiet_from);
        let alive = || (0..self.nodes.len()).filter(|&node| self.nodes[node].alive);
        let held = alive().flat_map(|node| self.held_by(node)).collect();
        let unheld = alive().flat_map(|node| self.unheld_by(node)).collect();
        let unsettled = alive().flat_map(|node| self.unsettled_at(node)).collect();
        let purses = alive().flat_map(|node| self.purses_at(node)).collect();
        let players = self
            .players
            .iter()
            .enumerate()
            .map(|(player, host)| PlayerView {
                player,
                session: host.session,
                entity: host.entity,
                wants_in: host.wants_in,
                attached: host.machine.is_attached(),
                sent: host.machine.last_input().0,
                unacknowledged: host.machine.unacknowledged(),
            })
            .collect();
        let bound = self.scenario.settle_within;
        let ownerless = self.ownerless();
        let waiting = self.now < self.quiet_from;
        self.facts.push(Fact::Inspected(Inspection {
            calm_for,
            bound,
            held,
            players,
            unheld,
            unsettled,
            purses,
            ownerless,
            waiting,
        }));
    }

    /// Cells of the coordinator's map whose owner is no running node. Before cells are dealt there are none.
    fn ownerless(&self) -> Vec<CellId> {
        let map = self.coordinator.machine.map();
        let runs = |owner| self.nodes.iter().any(|host| host.alive && host.id == owner);
        map.owners().iter().filter(|&(_, &owner)| !runs(owner)).map(|(&cell, _)| cell).collect()
    }

    fn held_by(&self, node: usize) -> Vec<Held> {
        let host = &self.nodes[node];
        let hysteresis_m = self.scenario.node.hysteresis_m;
        let belongs_to = |entity: EntityId| {
            let motion = host.game.as_ref()?.motion(entity)?;
            let owner = host.map.as_ref()?.past_border(&self.grid, host.id, motion.position, hysteresis_m)?;
            self.nodes.iter().position(|other| other.id == owner)
        };
        let held = |(entity, standing): (EntityId, Standing)| Held {
            node,
            entity,
            standing,
            simulated: host.game.as_ref().is_some_and(|game| game.simulates(entity)),
            belongs_to: belongs_to(entity),
        };
        host.machine.authorities().map(held).collect()
    }

    fn unsettled_at(&self, node: usize) -> Vec<(usize, EntityId, usize)> {
        let games = self.nodes[node].game.iter();
        let unsettled = games.flat_map(|game| game.entities().map(|entity| (entity, game.unsettled(entity))));
        unsettled.filter(|(_, count)| *count > 0).map(|(entity, count)| (node, entity, count)).collect()
    }

    fn purses_at(&self, node: usize) -> Vec<(EntityId, Vec<u128>)> {
        let games = self.nodes[node].game.iter();
        let purses = games.flat_map(|game| game.entities().map(|entity| (entity, game.purse(entity))));
        purses.filter_map(|(entity, purse)| Some((entity, purse?.all().collect()))).collect()
    }

    fn unheld_by(&self, node: usize) -> Vec<(usize, EntityId)> {
        let host = &self.nodes[node];
        let held = |entity: &EntityId| host.machine.standing(*entity).is_some();
        let entities = host.game.iter().flat_map(|game| game.entities());
        entities.filter(|entity| !held(entity)).map(|entity| (node, entity)).collect()
    }
}
