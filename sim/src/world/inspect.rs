//! The look at the whole mesh after faults and movement stopped.

use std::collections::BTreeSet;

use selvedge_protocol::authority::Standing;
use selvedge_protocol::ghost::Look;
use selvedge_protocol::grid::{CellId, Motion, Position};
use selvedge_protocol::id::EntityId;

use super::World;
use crate::invariant::{Fact, GhostView, Held, Inspection, PlayerView};

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
        let margin_m = self.scenario.coordinator.world.interest_margin_m;
        let ghosts = alive().flat_map(|node| self.ghosts_at(node)).collect();
        let unseen = alive().flat_map(|node| self.unseen_by(node)).collect();
        let ownerless = self.ownerless();
        let recovering = alive().filter(|&node| self.nodes[node].machine.is_recovering()).collect();
        let waiting = self.now < self.quiet_from;
        self.facts.push(Fact::Inspected(Inspection {
            calm_for,
            bound,
            held,
            players,
            margin_m,
            ghosts,
            unseen,
            unheld,
            unsettled,
            purses,
            ownerless,
            recovering,
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
            let game = host.game.as_ref()?;
            let motion = game.motion(game.leader(entity))?;
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

    fn ghosts_at(&self, node: usize) -> Vec<GhostView> {
        let shown = self.nodes[node].game.iter().flat_map(|game| game.ghosts());
        let view = |(entity, &(motion, look)): (EntityId, &(Motion, Look))| {
            let mut games = self.nodes.iter().filter_map(|host| host.game.as_ref());
            let original = games.find(|game| game.simulates(entity)).and_then(|game| game.published(entity));
            GhostView {
                node,
                entity,
                off_m: original.map(|(is, _)| is.position.distance(motion.position)),
                alike: original.is_some_and(|(_, is)| is.state == look.state),
                away_m: original.map_or(f64::INFINITY, |(is, _)| self.distance_m(node, is.position)),
            }
        };
        shown.map(view).collect()
    }

    /// What others simulate well within the margin of the node's cells, and its game doesn't show.
    fn unseen_by(&self, node: usize) -> Vec<(usize, EntityId)> {
        let Some(game) = &self.nodes[node].game else {
            return Vec::new();
        };
        let near_m = self.scenario.coordinator.world.interest_margin_m * 0.9;
        let shown: BTreeSet<EntityId> = game.ghosts().map(|(entity, _)| entity).collect();
        let others = (0..self.nodes.len()).filter(|&other| other != node && self.nodes[other].alive);
        let simulated = others.filter_map(|other| self.nodes[other].game.as_ref()).flat_map(|game| {
            game.entities().filter_map(|entity| Some((entity, game.published(entity)?.0.position)))
        });
        let unseen = simulated.filter(|&(entity, position)| {
            !game.simulates(entity) && !shown.contains(&entity) && self.distance_m(node, position) <= near_m
        });
        unseen.map(|(entity, _)| (node, entity)).collect()
    }

    /// From a node's cells, by its own map; infinite if it has none.
    fn distance_m(&self, node: usize, position: Position) -> f64 {
        let host = &self.nodes[node];
        let cells = host.map.iter().flat_map(|map| map.cells_of(host.id));
        cells.map(|cell| self.grid.distance_to(position, cell)).fold(f64::INFINITY, f64::min)
    }

    fn unheld_by(&self, node: usize) -> Vec<(usize, EntityId)> {
        let host = &self.nodes[node];
        let held = |entity: &EntityId| host.machine.standing(*entity).is_some();
        let entities = host.game.iter().flat_map(|game| game.entities());
        entities.filter(|entity| !held(entity)).map(|entity| (node, entity)).collect()
    }
}
