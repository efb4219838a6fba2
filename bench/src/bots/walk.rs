//! Where bots go: to points in other nodes' cells, near ones rather than far ones, so that they cross borders often.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use selvedge_node::arena::MoveInput;
use selvedge_protocol::grid::{CellId, Grid, Position};
use selvedge_protocol::id::NodeId;

/// Points that are drawn for one waypoint; the nearest one is taken.
const DRAWS: usize = 24;
/// How often a waypoint is any point of the world instead.
const ANYWHERE_SHARE: f64 = 0.1;
/// How near a waypoint counts as reached, in metres.
const REACHED_M: f64 = 2.0;
/// How far from the world's edge waypoints stay, in metres.
const EDGE_M: f64 = 2.0;

/// How far past a border bots go before they turn round, in metres: further than authority lags behind, and for so
/// long that a node's least dwell is over.
const PAST_BORDER_M: f64 = 4.0;

/// How bots choose where to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Manner {
    /// To points all over the world, near ones in other nodes' cells rather than others.
    #[default]
    Roam,
    /// To and fro over the nearest border, as often as they can.
    Cross,
}

/// The world as bots know it.
#[derive(Debug, Clone)]
pub struct Plain {
    /// The cells.
    pub grid: Grid,
    /// Who owns which; may be empty, then every cell counts as another node's.
    pub owners: BTreeMap<CellId, NodeId>,
}

impl Plain {
    fn any_point(&self, chance: &mut ChaCha8Rng) -> Position {
        let config = self.grid.config();
        let mut along = |axis: usize| {
            let length = f64::from(config.cells[axis]) * config.cell_edge_m;
            let edge = EDGE_M.min(length / 4.0);
            config.origin_m[axis] + chance.random_range(edge..length - edge)
        };
        Position::new(along(0), along(1), config.origin_m[2])
    }

    /// Whether somebody who walks from one to the other comes to another node's cells.
    pub(super) fn is_elsewhere(&self, from: Position, to: Position) -> bool {
        let (Ok(from), Ok(to)) = (self.grid.cell_at(from), self.grid.cell_at(to)) else {
            return false;
        };
        match (self.owners.get(&from), self.owners.get(&to)) {
            (Some(from), Some(to)) => from != to,
            (None, _) | (_, None) => from != to,
        }
    }

    /// The nearest point that lies [`PAST_BORDER_M`], and what counts as reached, deep in another node's cell.
    fn across(&self, from: Position) -> Option<Position> {
        let own = self.owners.get(&self.grid.cell_at(from).ok()?)?;
        let others = self.owners.iter().filter(|(_, owner)| *owner != own);
        let points = others.map(|(&cell, _)| {
            let bounds = self.grid.bounds(cell);
            let along = |at: f64, low: f64, high: f64| {
                let inset = (PAST_BORDER_M + REACHED_M).min((high - low) / 2.0);
                at.max(low + inset).min(high - inset)
            };
            Position::new(
                along(from.x, bounds.min.x, bounds.max.x),
                along(from.y, bounds.min.y, bounds.max.y),
                from.z,
            )
        });
        points.min_by(|a, b| from.distance_squared(*a).total_cmp(&from.distance_squared(*b)))
    }

    fn next_point(&self, manner: Manner, from: Position, chance: &mut ChaCha8Rng) -> Position {
        match manner {
            Manner::Roam => self.waypoint(from, chance),
            Manner::Cross => self.across(from).unwrap_or_else(|| self.waypoint(from, chance)),
        }
    }

    fn waypoint(&self, from: Position, chance: &mut ChaCha8Rng) -> Position {
        if chance.random_bool(ANYWHERE_SHARE) {
            return self.any_point(chance);
        }
        let points = (0..DRAWS).map(|_| self.any_point(chance)).filter(|&to| self.is_elsewhere(from, to));
        points
            .min_by(|a, b| from.distance_squared(*a).total_cmp(&from.distance_squared(*b)))
            .unwrap_or_else(|| self.any_point(chance))
    }
}

/// One bot's way.
#[derive(Debug)]
pub(super) struct Walk {
    chance: ChaCha8Rng,
    manner: Manner,
    to: Option<Position>,
}

impl Walk {
    /// The way number `stream` of `seed`.
    pub(super) fn new(seed: u64, stream: u64, manner: Manner) -> Self {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        chance.set_stream(stream);
        Self { chance, manner, to: None }
    }

    /// What to send when standing at `at`.
    #[allow(clippy::cast_possible_truncation, reason = "a direction and a walking speed fit f32")]
    pub(super) fn input(&mut self, plain: &Plain, at: Position, speed_mps: f64) -> MoveInput {
        let flat = |position: Position| Position::new(position.x, position.y, 0.0);
        let to = match self.to {
            Some(to) if flat(at).distance(flat(to)) > REACHED_M => to,
            Some(_) | None => *self.to.insert(plain.next_point(self.manner, at, &mut self.chance)),
        };
        MoveInput { direction: [(to.x - at.x) as f32, (to.y - at.y) as f32], speed_mps: speed_mps as f32 }
    }
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::grid::GridConfig;

    use super::*;

    /// The left half belongs to one node, the right half to another.
    fn halves() -> Plain {
        let grid = Grid::new(GridConfig { cells: [4, 4, 1], ..GridConfig::default() }).unwrap();
        let owner = |cell: CellId| NodeId::from_u128(if cell.x() < 2 { 1 } else { 2 });
        let owners = grid.cells().map(|cell| (cell, owner(cell))).collect();
        Plain { grid, owners }
    }

    #[test]
    fn bots_cross_the_border_all_the_time_and_never_leave_the_world() {
        let plain = halves();
        let roaming = crossings_in_a_minute(&plain, Manner::Roam);
        assert!(roaming >= 4, "{roaming} crossings in a minute");
        let crossing = crossings_in_a_minute(&plain, Manner::Cross);
        assert!(crossing > 3 * roaming, "{crossing} crossings in a minute, {roaming} of those who roam");
    }

    fn crossings_in_a_minute(plain: &Plain, manner: Manner) -> u32 {
        let mut walk = Walk::new(1, 1, manner);
        let mut at = Position::new(50.0, 50.0, 0.0);
        let mut crossings = 0;
        for _ in 0..30 * 60 {
            let [x, y] = walk.input(plain, at, 12.0).velocity(12.0);
            let next = Position::new(at.x + x / 30.0, at.y + y / 30.0, 0.0);
            crossings += u32::from(plain.is_elsewhere(at, next));
            at = next;
            assert!(plain.grid.cell_at(at).is_ok(), "{at:?}");
        }
        crossings
    }

    #[test]
    fn who_crosses_turns_round_behind_the_border_and_not_before() {
        let plain = halves();
        let across = plain.across(Position::new(150.0, 50.0, 0.0)).unwrap();
        assert_eq!(across, Position::new(200.0 + PAST_BORDER_M + REACHED_M, 50.0, 0.0));
        let alone = Plain {
            owners: plain.owners.keys().map(|&cell| (cell, NodeId::from_u128(1))).collect(),
            ..plain
        };
        assert_eq!(alone.across(Position::new(150.0, 50.0, 0.0)), None);
    }

    #[test]
    fn without_owners_every_other_cell_counts_as_elsewhere() {
        let plain = Plain { owners: BTreeMap::new(), ..halves() };
        assert!(plain.is_elsewhere(Position::new(50.0, 50.0, 0.0), Position::new(150.0, 50.0, 0.0)));
        assert!(!plain.is_elsewhere(Position::new(50.0, 50.0, 0.0), Position::new(60.0, 50.0, 0.0)));
    }
}
