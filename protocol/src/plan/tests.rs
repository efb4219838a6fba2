//! Properties of the curve and of the plan.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{assign_uniform, hilbert};
use crate::grid::{CellId, Grid, GridConfig};
use crate::id::NodeId;

fn grid(x: u32, y: u32, z: u32) -> Grid {
    Grid::new(GridConfig { cells: [x, y, z], ..GridConfig::default() }).unwrap()
}

fn nodes(count: u128) -> Vec<NodeId> {
    (1..=count).map(|n| NodeId::from_u128(n * 10)).collect()
}

fn apart(a: CellId, b: CellId) -> u32 {
    a.x().abs_diff(b.x()) + a.y().abs_diff(b.y()) + a.z().abs_diff(b.z())
}

proptest! {
    #[test]
    fn the_curve_visits_every_cell_of_any_box_once(x in 1..40u32, y in 1..40u32, z in 1..4u32) {
        let grid = grid(x, y, z);
        let curve = hilbert::curve(&grid);
        let visited: BTreeSet<CellId> = curve.iter().copied().collect();
        prop_assert_eq!(curve.len(), visited.len());
        prop_assert!(grid.cells().eq(visited.into_iter()));
    }

    #[test]
    fn steps_of_the_curve_are_short(x in 1..40u32, y in 1..40u32, z in 1..4u32) {
        let curve = hilbert::curve(&grid(x, y, z));
        let long = curve.windows(2).filter(|pair| apart(pair[0], pair[1]) > 1).count();
        prop_assert!(curve.windows(2).all(|pair| apart(pair[0], pair[1]) <= 2));
        // A diagonal step each layer at most, and only where a side is odd.
        prop_assert!(long <= z as usize, "{} diagonal steps", long);
        prop_assert!(long == 0 || x % 2 == 1 || y % 2 == 1);
    }

    #[test]
    fn a_plan_is_uniform_contiguous_and_complete(
        x in 1..20u32, y in 1..20u32, z in 1..3u32, count in 1..12u128,
    ) {
        let (grid, nodes) = (grid(x, y, z), nodes(count));
        let plan = assign_uniform(&grid, &nodes, &BTreeMap::new());
        prop_assert!(plan.keys().copied().eq(grid.cells()));
        let mut lengths = BTreeMap::new();
        plan.values().for_each(|node| *lengths.entry(*node).or_insert(0u64) += 1);
        let even = grid.cell_count() / nodes.len() as u64;
        for node in &nodes {
            let length = lengths.get(node).copied().unwrap_or(0);
            prop_assert!(length == even || length == even + 1, "{} of {}", length, even);
        }
        let owners: Vec<NodeId> = hilbert::curve(&grid).iter().map(|cell| plan[cell]).collect();
        prop_assert!(owners.is_sorted(), "the runs follow the curve in the order of nodes");
    }

    #[test]
    fn the_order_of_nodes_changes_nothing(count in 1..8u128, seed in any::<prop::sample::Index>()) {
        let (grid, sorted) = (grid(6, 5, 1), nodes(count));
        let mut turned = sorted.clone();
        turned.rotate_left(seed.index(sorted.len()));
        turned.push(turned[0]);
        let none = BTreeMap::new();
        prop_assert_eq!(assign_uniform(&grid, &sorted, &none), assign_uniform(&grid, &turned, &none));
    }

    #[test]
    fn pinned_cells_stay_and_the_rest_is_even(
        pins in prop::collection::btree_map((0..6u32, 0..5u32), 0..6u128, 0..20), count in 1..5u128,
    ) {
        let (grid, nodes) = (grid(6, 5, 1), nodes(count));
        let pinned: BTreeMap<CellId, NodeId> = pins
            .iter()
            .map(|(&(x, y), &n)| (CellId::new(0, x, y, 0).unwrap(), NodeId::from_u128(n * 10)))
            .collect();
        let plan = assign_uniform(&grid, &nodes, &pinned);
        prop_assert!(plan.keys().copied().eq(grid.cells()));
        let kept = |cell: &CellId| pinned.get(cell).filter(|node| nodes.contains(node));
        prop_assert!(plan.iter().all(|(cell, node)| kept(cell).is_none_or(|pin| pin == node)));
        let free = |node: &NodeId| plan.iter().filter(|(cell, n)| *n == node && kept(cell).is_none()).count();
        let (least, most) = (nodes.iter().map(free).min().unwrap(), nodes.iter().map(free).max().unwrap());
        prop_assert!(most - least <= 1, "{} to {}", least, most);
    }

    #[test]
    fn a_join_or_leave_moves_half_the_cells_at_most(
        x in 1..20u32, y in 1..20u32, count in 1..10u128, at in 0..=10u128,
    ) {
        let (grid, before) = (grid(x, y, 1), nodes(count));
        let mut after = before.clone();
        after.push(NodeId::from_u128(at.min(count) * 10 + 5));
        let none = BTreeMap::new();
        let (old, new) = (assign_uniform(&grid, &before, &none), assign_uniform(&grid, &after, &none));
        let moved = old.iter().filter(|(cell, node)| new[cell] != **node).count();
        prop_assert!(moved <= old.len() / 2 + after.len(), "{} of {} moved", moved, old.len());
    }
}

#[test]
fn a_power_of_two_square_has_only_steps_to_neighbours() {
    for side in [1, 2, 4, 8, 16, 32, 64] {
        let curve = hilbert::curve(&grid(side, side, 1));
        assert!(curve.windows(2).all(|pair| apart(pair[0], pair[1]) == 1), "side {side}");
    }
    assert_eq!(hilbert::layer_curve(2, 2), [(0, 0), (0, 1), (1, 1), (1, 0)]);
}

#[test]
fn without_nodes_there_is_no_plan() {
    let pinned = BTreeMap::from([(CellId::new(0, 0, 0, 0).unwrap(), NodeId::from_u128(1))]);
    assert!(assign_uniform(&grid(4, 4, 1), &[], &pinned).is_empty());
}

#[test]
fn more_nodes_than_cells_leaves_some_empty_handed() {
    let plan = assign_uniform(&grid(2, 1, 1), &nodes(5), &BTreeMap::new());
    assert_eq!(plan.len(), 2);
}

#[test]
fn an_empty_rectangle_has_an_empty_curve() {
    assert!(hilbert::layer_curve(0, 7).is_empty());
}
