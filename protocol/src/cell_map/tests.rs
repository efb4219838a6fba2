//! Tests of the cell map: look-ups, borders, differences.

use super::*;
use crate::grid::GridConfig;
use crate::id::Incarnation;
use proptest::prelude::*;

fn node(n: u128) -> NodeId {
    NodeId::from_u128(n)
}

fn entry(n: u128) -> NodeEntry {
    NodeEntry {
        peer: Peer { node: node(n), incarnation: Incarnation(1) },
        mesh_addr: format!("10.0.0.{n}:7000"),
        client_addr: format!("10.0.0.{n}:7001"),
        server_name: format!("node-{n}"),
    }
}

fn directory(count: u128) -> BTreeMap<NodeId, NodeEntry> {
    (1..=count).map(|n| (node(n), entry(n))).collect()
}

fn cell(level: u8, x: u32, y: u32) -> CellId {
    CellId::new(level, x, y, 0).unwrap()
}

fn at(x: f64, y: f64) -> Position {
    Position::new(x, y, 0.0)
}

/// Two by one cells of 100 m: node 1 left, node 2 right.
fn pair() -> (Grid, CellMap) {
    let grid = Grid::new(GridConfig { cells: [2, 1, 1], ..GridConfig::default() }).unwrap();
    let owners = BTreeMap::from([(cell(0, 0, 0), node(1)), (cell(0, 1, 0), node(2))]);
    (grid, CellMap::with(1, owners, directory(3)).unwrap())
}

/// The left cell split: its upper right child is node 3's, the others stay with node 1 by inheritance.
fn split_pair() -> (Grid, CellMap) {
    let (grid, map) = pair();
    let mut owners = map.owners().clone();
    owners.insert(cell(1, 1, 1), node(3));
    (grid, CellMap::with(2, owners, directory(3)).unwrap())
}

#[test]
fn an_owner_that_is_not_listed_is_refused() {
    let owners = BTreeMap::from([(cell(0, 0, 0), node(9))]);
    let refused = CellMap::with(1, owners, directory(1));
    assert_eq!(refused, Err(CellMapError::OwnerUnlisted { cell: cell(0, 0, 0), node: node(9) }));
    let mislabelled = BTreeMap::from([(node(1), entry(2))]);
    assert!(matches!(
        CellMap::with(1, BTreeMap::new(), mislabelled),
        Err(CellMapError::NodeMislabelled { .. })
    ));
}

#[test]
fn a_child_that_is_not_listed_belongs_to_its_ancestors_owner() {
    let (grid, map) = split_pair();
    assert_eq!(map.owner_of(cell(1, 1, 1)), Some(node(3)));
    assert_eq!(map.owner_of(cell(1, 0, 1)), Some(node(1)));
    assert_eq!(map.owner_of(cell(3, 7, 7)), Some(node(3)));
    assert_eq!(map.owner_of(cell(0, 0, 5)), None);
    assert_eq!(map.owner_at(&grid, at(75.0, 75.0)), Some(node(3)));
    assert_eq!(map.owner_at(&grid, at(25.0, 75.0)), Some(node(1)));
    assert_eq!(map.owned_cell_at(&grid, at(25.0, 75.0)), Some((cell(0, 0, 0), node(1))));
    assert_eq!(map.owner_at(&grid, at(-1.0, 0.0)), None);
    assert_eq!(map.owner_at(&grid, at(f64::NAN, 0.0)), None);
    assert_eq!(map.deepest_level(), 1);
}

#[test]
fn authority_follows_only_past_the_hysteresis() {
    let (grid, map) = pair();
    let past = |x| map.past_border(&grid, node(1), at(x, 50.0), 2.0);
    assert_eq!(past(99.0), None, "mine");
    assert_eq!(past(101.0), None, "not deep enough");
    assert_eq!(past(102.0 + 1e-9), Some(node(2)));
    assert_eq!(past(250.0), None, "outside the world");
    assert_eq!(past(f64::NAN), None);
    assert_eq!(map.past_border(&grid, node(3), at(1.0, 1.0), 2.0), Some(node(1)), "a node without cells");
}

#[test]
fn hysteresis_holds_at_a_split_cells_inner_border() {
    let (grid, map) = split_pair();
    assert_eq!(map.past_border(&grid, node(1), at(51.0, 75.0), 2.0), None);
    assert_eq!(map.past_border(&grid, node(1), at(53.0, 75.0), 2.0), Some(node(3)));
    assert_eq!(map.past_border(&grid, node(3), at(25.0, 75.0), 2.0), Some(node(1)));
}

#[test]
fn neighbours_are_those_within_the_margin() {
    let (grid, map) = split_pair();
    let near = |x, y| map.neighbours_within(&grid, node(1), at(x, y), 10.0);
    assert_eq!(near(25.0, 25.0), []);
    assert_eq!(near(25.0, 75.0), []);
    assert_eq!(near(45.0, 75.0), [node(3)]);
    assert_eq!(near(95.0, 45.0), [node(2), node(3)]);
    assert_eq!(near(95.0, 25.0), [node(2)]);
    assert_eq!(near(f64::NAN, 25.0), []);
}

#[test]
fn a_diff_over_a_gap_changes_nothing() {
    let (_, mut map) = pair();
    let before = map.clone();
    let diff = CellMapDiff {
        from: 5,
        to: 6,
        owners_set: vec![(cell(0, 0, 0), node(2))],
        owners_removed: vec![],
        nodes_set: vec![],
        nodes_removed: vec![],
    };
    assert_eq!(map.apply(&diff), Err(DiffError::VersionGap { have: 1, needs: 5 }));
    let dangling = CellMapDiff { from: 1, nodes_removed: vec![node(2)], owners_set: vec![], ..diff.clone() };
    assert!(matches!(map.apply(&dangling), Err(DiffError::Invalid(CellMapError::OwnerUnlisted { .. }))));
    assert!(matches!(map.apply(&CellMapDiff { from: 1, to: 0, ..diff }), Err(DiffError::Backwards { .. })));
    assert_eq!(map, before);
}

prop_compose! {
    fn any_map(version: u64)(
        owners in prop::collection::btree_map((0..2u8, 0..6u32, 0..6u32), 1..5u128, 0..20),
        count in 4..6u128,
    ) -> CellMap {
        let owners = owners.into_iter().map(|((level, x, y), n)| (cell(level, x, y), node(n))).collect();
        CellMap::with(version, owners, directory(count)).unwrap()
    }
}

proptest! {
    #[test]
    fn a_diff_turns_the_old_table_into_the_new(old in any_map(3), new in any_map(4)) {
        let diff = new.diff_from(&old);
        let mut patched = old.clone();
        patched.apply(&diff).unwrap();
        prop_assert_eq!(&patched, &new);
        let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&diff).unwrap();
        let read = rkyv::from_bytes::<CellMapDiff, rkyv::rancor::Error>(&bytes).unwrap();
        prop_assert_eq!(read, diff);
    }

    #[test]
    fn an_image_makes_the_same_table(map in any_map(7)) {
        let image = map.to_image();
        let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&image).unwrap();
        let read = rkyv::from_bytes::<CellMapImage, rkyv::rancor::Error>(&bytes).unwrap();
        prop_assert_eq!(CellMap::from_image(read).unwrap(), map);
    }

    #[test]
    fn borders_agree_with_a_search_of_every_leaf(
        map in any_map(1), x in -10.0..310.0f64, y in -10.0..310.0f64, radius_m in 0.0..120.0f64,
    ) {
        // Three by three cells of 100 m; every level-1 cell is a leaf of the search.
        let grid = Grid::new(GridConfig { cells: [3, 3, 1], ..GridConfig::default() }).unwrap();
        let here = at(x, y);
        let leaves = grid.cells().flat_map(|base| base.children().unwrap());
        let near: BTreeSet<NodeId> = leaves
            .filter(|&leaf| grid.bounds(leaf).meets_cube(here, radius_m))
            .filter_map(|leaf| map.owner_of(leaf))
            .collect();
        for me in [node(1), node(2)] {
            let others: Vec<NodeId> = near.iter().copied().filter(|&other| other != me).collect();
            prop_assert_eq!(map.neighbours_within(&grid, me, here, radius_m), others);
            let owner = grid.cell_at_level(here, 1).ok().and_then(|leaf| map.owner_of(leaf));
            let past = owner.filter(|&owner| owner != me && !near.contains(&me));
            prop_assert_eq!(map.past_border(&grid, me, here, radius_m), past);
        }
    }
}
