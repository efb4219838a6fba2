//! Deals cells to nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::hilbert;
use crate::grid::{CellId, Grid};
use crate::id::NodeId;

/// Deals every base cell of `grid` to one of `nodes`: contiguous runs of the curve, in ascending order of node, their
/// lengths at most one apart.
///
/// A pinned base cell goes to its node if that is among `nodes`, and counts for no run; otherwise it is dealt like
/// the others. Equal inputs give equal plans, whatever the order of `nodes`. No nodes: an empty plan.
///
/// A node that joins N others shifts each run's ends: at most half the cells, plus one for each node, change hands
/// (half if it sorts first or last, a quarter if it sorts in the middle); likewise one that leaves.
#[must_use]
pub fn assign_uniform(
    grid: &Grid,
    nodes: &[NodeId],
    pinned: &BTreeMap<CellId, NodeId>,
) -> BTreeMap<CellId, NodeId> {
    let nodes: BTreeSet<NodeId> = nodes.iter().copied().collect();
    let pin = |cell: &CellId| pinned.get(cell).copied().filter(|node| nodes.contains(node));
    let curve = hilbert::curve(grid);
    let mut plan: BTreeMap<CellId, NodeId> =
        curve.iter().filter_map(|cell| Some((*cell, pin(cell)?))).collect();
    let free: Vec<CellId> = curve.into_iter().filter(|cell| !plan.contains_key(cell)).collect();
    for (index, &node) in nodes.iter().enumerate() {
        let (from, to) = (index * free.len() / nodes.len(), (index + 1) * free.len() / nodes.len());
        plan.extend(free[from..to].iter().map(|&cell| (cell, node)));
    }
    plan
}
