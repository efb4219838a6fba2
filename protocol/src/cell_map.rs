//! Who owns which cell, and how to reach them: a versioned table that each node caches.
//!
//! It travels whole once ([`CellMapImage`]) and then as differences ([`CellMapDiff`]). A split cell stands in the
//! table by its children; what isn't listed belongs to the owner of the nearest ancestor that is. Deliberately
//! absent: how owners are chosen ([`plan`](crate::plan)).

use std::collections::{BTreeMap, BTreeSet};

use rkyv::{Archive, Deserialize, Serialize};

use crate::grid::{CellId, Grid, Position};
use crate::id::{NodeId, Peer};

/// How to reach a node.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub struct NodeEntry {
    /// The node and its current life.
    pub peer: Peer,
    /// Where other nodes reach it, as `ip:port`; the runtime parses it.
    pub mesh_addr: String,
    /// Where clients reach it, as `ip:port`.
    pub client_addr: String,
    /// The name in its client-side certificate.
    pub server_name: String,
}

/// The table: cell to node, and the nodes' addresses.
///
/// Invariants: every owner is listed among the nodes, and every node under its own id.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct CellMap {
    version: u64,
    owners: BTreeMap<CellId, NodeId>,
    nodes: BTreeMap<NodeId, NodeEntry>,
    /// Every proper ancestor of a listed cell: where a search must look further down. Derived from `owners`.
    split: BTreeSet<CellId>,
}

impl CellMap {
    /// A table of these contents.
    ///
    /// # Errors
    /// If an owner isn't listed, or a node is listed under another's id.
    pub fn with(
        version: u64,
        owners: BTreeMap<CellId, NodeId>,
        nodes: BTreeMap<NodeId, NodeEntry>,
    ) -> Result<Self, CellMapError> {
        if let Some((&cell, &node)) = owners.iter().find(|(_, node)| !nodes.contains_key(node)) {
            return Err(CellMapError::OwnerUnlisted { cell, node });
        }
        if let Some((&listed, entry)) = nodes.iter().find(|(node, entry)| entry.peer.node != **node) {
            return Err(CellMapError::NodeMislabelled { listed, node: entry.peer.node });
        }
        let split = ancestors(&owners);
        Ok(Self { version, owners, nodes, split })
    }

    /// The table's version: grows with each change; 0 for the empty one.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The owner of `cell`: its own if listed, else that of its nearest listed ancestor.
    #[must_use]
    pub fn owner_of(&self, cell: CellId) -> Option<NodeId> {
        let mut cell = Some(cell);
        while let Some(here) = cell {
            if let Some(&node) = self.owners.get(&here) {
                return Some(node);
            }
            cell = here.parent();
        }
        None
    }

    /// The deepest listed cell that holds `position`, and its owner. None outside the world or where nobody owns.
    #[must_use]
    pub fn owned_cell_at(&self, grid: &Grid, position: Position) -> Option<(CellId, NodeId)> {
        let mut cell = grid.cell_at(position).ok()?;
        let mut found = self.owners.get(&cell).map(|&node| (cell, node));
        while self.split.contains(&cell) {
            cell =
                grid.cell_at_level(position, cell.level() + 1).ok().filter(|c| c.level() > cell.level())?;
            if let Some(&node) = self.owners.get(&cell) {
                found = Some((cell, node));
            }
        }
        found
    }

    /// The owner of the deepest listed cell that holds `position`. None outside the world or where nobody owns.
    #[must_use]
    pub fn owner_at(&self, grid: &Grid, position: Position) -> Option<NodeId> {
        self.owned_cell_at(grid, position).map(|(_, node)| node)
    }

    /// How to reach `node`.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&NodeEntry> {
        self.nodes.get(&node)
    }

    /// Every listed node, ascending.
    #[must_use]
    pub const fn nodes(&self) -> &BTreeMap<NodeId, NodeEntry> {
        &self.nodes
    }

    /// Every listed cell with its owner, ascending.
    #[must_use]
    pub const fn owners(&self) -> &BTreeMap<CellId, NodeId> {
        &self.owners
    }

    /// The cells listed as `node`'s, ascending. Walks the whole table.
    pub fn cells_of(&self, node: NodeId) -> impl Iterator<Item = CellId> + '_ {
        self.owners.iter().filter(move |(_, owner)| **owner == node).map(|(&cell, _)| cell)
    }

    /// The deepest level of any listed cell: the level for [`Grid::forecast_at_level`]. 0 if nothing is split.
    #[must_use]
    pub fn deepest_level(&self) -> u8 {
        self.owners.last_key_value().map_or(0, |(cell, _)| cell.level())
    }

    /// The node to which `me` should hand an entity at `position`: the owner of its cell, once the entity is past
    /// my border by the hysteresis.
    ///
    /// None if the cell is mine, nobody's or outside the world, or if a cell of mine still meets the cube of
    /// half-edge `hysteresis_m` around the position. Costs one lookup in the common case (the cell is mine).
    #[must_use]
    pub fn past_border(
        &self,
        grid: &Grid,
        me: NodeId,
        position: Position,
        hysteresis_m: f64,
    ) -> Option<NodeId> {
        let owner = self.owner_at(grid, position).filter(|&owner| owner != me)?;
        let mut near_me = false;
        self.visit_owners(grid, position, hysteresis_m, &mut |node| near_me |= node == me);
        (!near_me).then_some(owner)
    }

    /// The other nodes that own a cell meeting the cube of half-edge `margin_m` around `position`, ascending: those
    /// that should see a ghost of what stands there. Deep inside one base cell it costs one lookup, no allocation.
    #[must_use]
    pub fn neighbours_within(
        &self,
        grid: &Grid,
        me: NodeId,
        position: Position,
        margin_m: f64,
    ) -> Vec<NodeId> {
        let mut neighbours = Vec::new();
        self.visit_owners(grid, position, margin_m, &mut |node| {
            if node != me && !neighbours.contains(&node) {
                neighbours.push(node);
            }
        });
        neighbours.sort_unstable();
        neighbours
    }

    /// What turns `older` into this table.
    #[must_use]
    pub fn diff_from(&self, older: &Self) -> CellMapDiff {
        let (owners_set, owners_removed) = map_diff(&older.owners, &self.owners);
        let (nodes_set, nodes_removed) = map_diff(&older.nodes, &self.nodes);
        CellMapDiff {
            from: older.version,
            to: self.version,
            owners_set,
            owners_removed,
            nodes_set,
            nodes_removed,
        }
    }

    /// Brings the table from `diff.from` to `diff.to`. Costs a copy of the table.
    ///
    /// # Errors
    /// If the diff starts at another version, goes back, or leaves the table inconsistent; then nothing changes.
    pub fn apply(&mut self, diff: &CellMapDiff) -> Result<(), DiffError> {
        if diff.from != self.version {
            return Err(DiffError::VersionGap { have: self.version, needs: diff.from });
        }
        if diff.to < diff.from {
            return Err(DiffError::Backwards { from: diff.from, to: diff.to });
        }
        let (mut owners, mut nodes) = (self.owners.clone(), self.nodes.clone());
        for cell in &diff.owners_removed {
            owners.remove(cell);
        }
        for node in &diff.nodes_removed {
            nodes.remove(node);
        }
        owners.extend(diff.owners_set.iter().copied());
        nodes.extend(diff.nodes_set.iter().cloned());
        *self = Self::with(diff.to, owners, nodes)?;
        Ok(())
    }

    /// The table in the form that travels.
    #[must_use]
    pub fn to_image(&self) -> CellMapImage {
        CellMapImage {
            version: self.version,
            owners: self.owners.iter().map(|(&cell, &node)| (cell, node)).collect(),
            nodes: self.nodes.values().cloned().collect(),
        }
    }

    /// The table from the form that travels; of entries for one key the last counts.
    ///
    /// # Errors
    /// If an owner isn't listed.
    pub fn from_image(image: CellMapImage) -> Result<Self, CellMapError> {
        let nodes = image.nodes.into_iter().map(|entry| (entry.peer.node, entry)).collect();
        Self::with(image.version, image.owners.into_iter().collect(), nodes)
    }

    /// Tells `visit` the owner of every listed cell that meets the cube (some more than once).
    fn visit_owners(&self, grid: &Grid, position: Position, radius_m: f64, visit: &mut impl FnMut(NodeId)) {
        for cell in grid.cells_within(position, radius_m) {
            self.visit_cell(grid, cell, None, position, radius_m, visit);
        }
    }

    /// Goes down only where something deeper is listed, so the work is bounded by the table.
    fn visit_cell(
        &self,
        grid: &Grid,
        cell: CellId,
        inherited: Option<NodeId>,
        position: Position,
        radius_m: f64,
        visit: &mut impl FnMut(NodeId),
    ) {
        let owner = self.owners.get(&cell).copied().or(inherited);
        let children = if self.split.contains(&cell) { cell.children() } else { None };
        let Some(children) = children else {
            owner.into_iter().for_each(visit);
            return;
        };
        for child in children {
            if grid.bounds(child).meets_cube(position, radius_m) {
                self.visit_cell(grid, child, owner, position, radius_m, visit);
            }
        }
    }
}

/// What turns one version of the table into another.
#[derive(Clone, PartialEq, Debug, Archive, Serialize, Deserialize)]
pub struct CellMapDiff {
    /// The version that it starts from.
    pub from: u64,
    /// The version that it makes.
    pub to: u64,
    /// Cells with a new owner.
    pub owners_set: Vec<(CellId, NodeId)>,
    /// Cells no longer listed (merged into their parent, or ownerless).
    pub owners_removed: Vec<CellId>,
    /// Nodes that are new or have a new entry.
    pub nodes_set: Vec<(NodeId, NodeEntry)>,
    /// Nodes no longer listed.
    pub nodes_removed: Vec<NodeId>,
}

/// The whole table, in the form that travels.
#[derive(Clone, PartialEq, Debug, Archive, Serialize, Deserialize)]
pub struct CellMapImage {
    /// The table's version.
    pub version: u64,
    /// Every listed cell with its owner.
    pub owners: Vec<(CellId, NodeId)>,
    /// Every listed node; its id is in the entry.
    pub nodes: Vec<NodeEntry>,
}

/// Why contents make no table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CellMapError {
    /// A cell's owner isn't among the nodes.
    #[error("the owner {node} of cell {cell} is not among the nodes")]
    OwnerUnlisted {
        /// The cell.
        cell: CellId,
        /// Its owner.
        node: NodeId,
    },
    /// A node's entry stands under another's id.
    #[error("the entry of node {node} is listed under {listed}")]
    NodeMislabelled {
        /// The id that it stands under.
        listed: NodeId,
        /// The id in the entry.
        node: NodeId,
    },
}

/// Why a diff doesn't apply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DiffError {
    /// The diff starts at another version than the table has. If `needs` is the lower, it is old news.
    #[error("the diff starts at version {needs}, the table is at {have}")]
    VersionGap {
        /// The table's version.
        have: u64,
        /// The version that the diff starts from.
        needs: u64,
    },
    /// The diff ends before it starts.
    #[error("the diff goes back from version {from} to {to}")]
    Backwards {
        /// Where it starts.
        from: u64,
        /// Where it ends.
        to: u64,
    },
    /// What it makes is no table.
    #[error("the diff makes no valid table")]
    Invalid(#[from] CellMapError),
}

/// Every proper ancestor of the cells in `owners`.
fn ancestors(owners: &BTreeMap<CellId, NodeId>) -> BTreeSet<CellId> {
    let mut split = BTreeSet::new();
    // Ascending by level, so walking from the deepest meets what is already there early.
    for (cell, _) in owners.iter().rev().take_while(|(cell, _)| cell.level() > 0) {
        let mut parent = cell.parent();
        while let Some(here) = parent.filter(|&here| split.insert(here)) {
            parent = here.parent();
        }
    }
    split
}

/// What was set and what was removed from `old` to `new`.
fn map_diff<K: Ord + Copy, V: Clone + PartialEq>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
) -> (Vec<(K, V)>, Vec<K>) {
    let set = new.iter().filter(|(key, value)| old.get(key) != Some(value));
    let removed = old.keys().filter(|key| !new.contains_key(key));
    (set.map(|(&key, value)| (key, value.clone())).collect(), removed.copied().collect())
}

#[cfg(test)]
mod tests;
