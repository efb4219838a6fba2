//! Who sees what: what is near a neighbour's cells, what is near a player.
//!
//! Each class of entity has a distance at which it comes into sight and a greater one at which it goes out of it, so that
//! what stands at the edge doesn't flicker, nor when it changes hands there: whom another may have shown until now leaves at
//! the greater distance from the first look on. Distances are looked at again only once something has moved far enough for
//! them to matter.

use std::collections::{BTreeMap, BTreeSet};

use super::scene::Scene;
use super::wire::EntityClass;
use crate::cell_map::CellMap;
use crate::grid::{Bounds, CellId, Grid, Position};
use crate::id::{AuthorityEpoch, EntityId, NodeId};

/// Distances are kept to this accuracy, in metres, and to [`SLACK_PART`] of themselves where that is more.
const SLACK_M: f64 = 0.25;
const SLACK_PART: f64 = 0.05;

/// At which distances something comes into sight and goes out of it, in metres.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sighting {
    /// Comes into sight at this distance. Default: 30.
    pub enter_m: f64,
    /// Goes out of sight past this one. Default: 33. Not above `enter_m`: what stands at the edge flickers.
    pub leave_m: f64,
}

impl Default for Sighting {
    fn default() -> Self {
        Self::within(30.0)
    }
}

impl Sighting {
    /// In sight at `enter_m`, out of it a tenth farther.
    #[must_use]
    pub fn within(enter_m: f64) -> Self {
        Self { enter_m, leave_m: enter_m * 1.1 }
    }

    fn reaches(&self, distance_m: f64, shown: bool) -> bool {
        distance_m <= if shown { self.leave_m.max(self.enter_m) } else { self.enter_m }
    }
}

/// The distances of a world: usual ones, and those of classes that are seen from farther or nearer.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SightRules {
    /// For every class that isn't listed.
    pub usual: Sighting,
    /// For single classes.
    pub classes: BTreeMap<EntityClass, Sighting>,
}

impl SightRules {
    /// One distance for all.
    #[must_use]
    pub fn within(enter_m: f64) -> Self {
        Self { usual: Sighting::within(enter_m), classes: BTreeMap::new() }
    }

    fn of(&self, class: EntityClass) -> &Sighting {
        if self.classes.is_empty() {
            return &self.usual;
        }
        self.classes.get(&class).unwrap_or(&self.usual)
    }

    /// The farthest that anything is kept in sight.
    #[must_use]
    pub fn reach_m(&self) -> f64 {
        self.classes.values().chain([&self.usual]).map(|s| s.leave_m.max(s.enter_m)).fold(0.0, f64::max)
    }
}

/// Something in sight.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sight {
    /// Its place in the scene.
    pub(super) place: u32,
    /// How far away it is, in metres: from the neighbour's cells, or from the player.
    pub distance_m: f64,
}

/// The cells of a neighbour, as few boxes.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Region {
    boxes: Vec<Bounds>,
}

impl Region {
    /// The cells of `node`, whatever their level. Walks the whole map: make one whenever the map changes.
    #[must_use]
    pub fn of_node(grid: &Grid, map: &CellMap, node: NodeId) -> Self {
        let mut split = BTreeSet::new();
        for cell in map.owners().keys() {
            let mut parent = cell.parent();
            while let Some(here) = parent.filter(|&here| split.insert(here)) {
                parent = here.parent();
            }
        }
        let mut cells = Vec::new();
        for (&cell, &owner) in map.owners() {
            if split.contains(&cell) {
                unlisted_children(map, &split, cell, owner, node, &mut cells);
            } else if owner == node {
                cells.push(cell);
            }
        }
        Self::of_boxes(cells.into_iter().map(|cell| grid.bounds(cell)).collect())
    }

    /// These boxes, joined where they make a larger one.
    #[must_use]
    pub fn of_boxes(mut boxes: Vec<Bounds>) -> Self {
        for axis in 0..3 {
            boxes = join_along(axis, boxes);
        }
        Self { boxes }
    }

    /// Metres from `position` to the nearest box; infinite if there is none.
    #[must_use]
    pub fn distance_m(&self, position: Position) -> f64 {
        let squared = |bounds: &Bounds| bounds.nearest(position).distance_squared(position);
        self.boxes.iter().map(squared).fold(f64::INFINITY, f64::min).sqrt()
    }
}

/// The children of a listed, split cell that aren't listed themselves belong to its owner.
fn unlisted_children(
    map: &CellMap,
    split: &BTreeSet<CellId>,
    cell: CellId,
    owner: NodeId,
    node: NodeId,
    cells: &mut Vec<CellId>,
) {
    for child in cell.children().into_iter().flatten() {
        if map.owners().contains_key(&child) {
            continue;
        }
        if split.contains(&child) {
            unlisted_children(map, split, child, owner, node, cells);
        } else if owner == node {
            cells.push(child);
        }
    }
}

fn join_along(axis: usize, mut boxes: Vec<Bounds>) -> Vec<Bounds> {
    let others = |bounds: &Bounds| {
        let (min, max) = (bounds.min.to_array(), bounds.max.to_array());
        let (a, b) = ((axis + 1) % 3, (axis + 2) % 3);
        [min[a], max[a], min[b], max[b]]
    };
    boxes.sort_by(|a, b| {
        let by_others = others(a).into_iter().zip(others(b)).map(|(a, b)| a.total_cmp(&b));
        let along = a.min.to_array()[axis].total_cmp(&b.min.to_array()[axis]);
        by_others.chain([along]).find(|order| order.is_ne()).unwrap_or(core::cmp::Ordering::Equal)
    });
    let mut joined: Vec<Bounds> = Vec::with_capacity(boxes.len());
    for next in boxes {
        match joined.last_mut() {
            Some(last)
                if others(last) == others(&next)
                    && last.max.to_array()[axis] >= next.min.to_array()[axis] =>
            {
                let mut max = last.max.to_array();
                max[axis] = max[axis].max(next.max.to_array()[axis]);
                last.max = Position::from_array(max);
            }
            _ => joined.push(next),
        }
    }
    joined
}

/// What a neighbour must see: the owned entities near its cells.
#[derive(Clone, Debug)]
pub struct BorderInterest {
    rules: SightRules,
    reach_m: f64,
    region: Region,
    /// By place in the scene.
    known: Vec<Known>,
    sights: Vec<Sight>,
}

/// What was found when an actor was last looked at.
#[derive(Clone, Copy, Debug)]
struct Known {
    life: u32,
    at: Position,
    /// From `at` to the region.
    distance_m: f64,
    /// The square of how far from `at` the distance holds.
    slack_squared: f64,
    shown: bool,
}

impl Known {
    const NOTHING: Self = Self {
        life: 0,
        at: Position::new(0.0, 0.0, 0.0),
        distance_m: 0.0,
        slack_squared: -1.0,
        shown: false,
    };
}

impl BorderInterest {
    /// Makes one for a neighbour with these cells.
    #[must_use]
    pub fn new(rules: SightRules, region: Region) -> Self {
        let reach_m = rules.reach_m();
        Self { rules, reach_m, region, known: Vec::new(), sights: Vec::new() }
    }

    /// The neighbour has other cells now.
    pub fn set_region(&mut self, region: Region) {
        self.region = region;
        // What is shown stays so while it is near enough; every distance is looked at again.
        self.known.iter_mut().for_each(|known| known.slack_squared = -1.0);
    }

    /// What the neighbour sees of a scene, in the order of places. Call it once a tick.
    pub fn look(&mut self, scene: &Scene) -> &[Sight] {
        self.known.resize(scene.places(), Known::NOTHING);
        self.sights.clear();
        for ((place, actor), known) in (0..).zip(scene.slots()).zip(&mut self.known) {
            let Some(actor) = actor.as_ref().filter(|actor| actor.subject.owned) else {
                *known = Known::NOTHING;
                continue;
            };
            let at = actor.subject.motion.position;
            if known.life != actor.life {
                // Only what was spawned here can't have been shown by another before.
                let shown = actor.subject.epoch > AuthorityEpoch::FIRST;
                *known = Known { life: actor.life, shown, ..Known::NOTHING };
            }
            if at.distance_squared(known.at) > known.slack_squared {
                known.at = at;
                known.distance_m = self.region.distance_m(at);
                let to_sight = known.distance_m - self.reach_m;
                let slack_m = to_sight.max(SLACK_M).max(known.distance_m * SLACK_PART);
                known.slack_squared = slack_m * slack_m;
            }
            known.shown = self.rules.of(actor.subject.class).reaches(known.distance_m, known.shown);
            if known.shown {
                self.sights.push(Sight { place, distance_m: known.distance_m });
            }
        }
        &self.sights
    }
}

/// What a player must see: everything near them, ghosts included.
#[derive(Clone, Debug)]
pub struct ViewInterest {
    rules: SightRules,
    reach_m: f64,
    /// By place in the scene: the life that is shown there.
    shown: Vec<u32>,
    /// Nobody has looked yet.
    is_new: bool,
    sights: Vec<Sight>,
}

impl ViewInterest {
    /// Makes one that sees nothing yet. At its first look everything is in sight that isn't past the distance at which it
    /// leaves, as the player may come from another node where it was.
    #[must_use]
    pub fn new(rules: SightRules) -> Self {
        let reach_m = rules.reach_m();
        Self { rules, reach_m, shown: Vec::new(), is_new: true, sights: Vec::new() }
    }

    /// What is seen of a scene from `centre`, in the order of places; not what stands at `own`'s place, if that is an
    /// entity of the scene. Call it once a tick.
    pub fn look(&mut self, scene: &Scene, centre: Position, own: Option<EntityId>) -> &[Sight] {
        self.shown.resize(scene.places(), 0);
        self.sights.clear();
        let is_new = core::mem::replace(&mut self.is_new, false);
        let reach_squared = self.reach_m * self.reach_m;
        for ((place, actor), shown) in (0..).zip(scene.slots()).zip(&mut self.shown) {
            let Some(actor) = actor else {
                continue;
            };
            let squared = actor.subject.motion.position.distance_squared(centre);
            if squared > reach_squared || Some(actor.subject.entity) == own {
                *shown = 0;
                continue;
            }
            let distance_m = squared.sqrt();
            let was_shown = is_new || *shown == actor.life;
            if self.rules.of(actor.subject.class).reaches(distance_m, was_shown) {
                *shown = actor.life;
                self.sights.push(Sight { place, distance_m });
            } else {
                *shown = 0;
            }
        }
        &self.sights
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::cell_map::NodeEntry;
    use crate::ghost::VanishReason;
    use crate::ghost::scene::tests::subject;
    use crate::ghost::scene::{Scene, Subject};
    use crate::grid::GridConfig;
    use crate::id::{Incarnation, Peer};
    use crate::time::Tick;

    const ME: NodeId = NodeId::from_u128(1);
    const OTHER: NodeId = NodeId::from_u128(2);

    fn map(owners: &[(CellId, NodeId)]) -> CellMap {
        let entry = |node| NodeEntry {
            peer: Peer { node, incarnation: Incarnation(1) },
            mesh_addr: String::new(),
            client_addr: String::new(),
            server_name: String::new(),
        };
        let nodes = [ME, OTHER].map(|node| (node, entry(node)));
        CellMap::with(1, owners.iter().copied().collect(), nodes.into_iter().collect()).unwrap()
    }

    fn at(id: u128, x: f64, y: f64) -> Subject {
        let mut subject = subject(id, x);
        subject.motion.position.y = y;
        subject
    }

    fn seen(sights: &[Sight]) -> Vec<u32> {
        sights.iter().map(|sight| sight.place).collect()
    }

    proptest! {
        /// Whatever moves how, the incremental look shows what a look from scratch would, but for the slack.
        #[test]
        fn distances_are_those_of_the_nearest_cell(
            steps in prop::collection::vec((0.0..400.0_f64, 0.0..400.0_f64, -3.0..3.0_f64, -3.0..3.0_f64), 1..20),
            owned in prop::collection::vec(any::<bool>(), 16),
        ) {
            let grid = Grid::new(GridConfig::default()).unwrap();
            let owners: Vec<_> =
                grid.cells().zip(&owned).map(|(cell, &mine)| (cell, if mine { ME } else { OTHER })).collect();
            let map = map(&owners);
            let region = Region::of_node(&grid, &map, OTHER);
            let mut interest = BorderInterest::new(SightRules::within(20.0), region);
            let mut scene = Scene::new(Duration::from_millis(33));
            for tick in 0..30 {
                scene.begin(Tick(tick));
                for (id, (x, y, vx, vy)) in (1..).zip(&steps) {
                    let t = tick as f64;
                    scene.put(&at(id, x + vx * t, y + vy * t));
                }
                let sights = interest.look(&scene).to_vec();
                for (place, actor) in (0..).zip(scene.slots()) {
                    let position = actor.as_ref().unwrap().subject.motion.position;
                    let cells = map.cells_of(OTHER).map(|cell| grid.distance_to(position, cell));
                    let distance = cells.fold(f64::INFINITY, f64::min);
                    let slack = SLACK_M.max(0.06 * distance);
                    match sights.iter().find(|sight| sight.place == place) {
                        Some(sight) => {
                            prop_assert!((sight.distance_m - distance).abs() <= slack);
                            prop_assert!(distance <= 22.0 + slack);
                        }
                        None => prop_assert!(distance >= 20.0 - slack, "{distance} m away and not seen"),
                    }
                }
            }
        }
    }

    #[test]
    fn what_goes_to_and_fro_at_the_edge_stays_in_sight() {
        let grid = Grid::new(GridConfig { cells: [2, 1, 1], ..GridConfig::default() }).unwrap();
        let cells: Vec<CellId> = grid.cells().collect();
        let map = map(&[(cells[0], ME), (cells[1], OTHER)]);
        let mut interest = BorderInterest::new(SightRules::within(30.0), Region::of_node(&grid, &map, OTHER));
        let mut scene = Scene::new(Duration::from_millis(33));
        let mut seen_at = |x| {
            scene.begin(Tick(1));
            scene.put(&at(1, x, 50.0));
            interest.look(&scene).len()
        };
        assert_eq!(seen_at(68.0), 0);
        assert_eq!(seen_at(70.5), 1);
        assert_eq!(seen_at(68.0), 1, "it is within the distance at which it leaves");
        assert_eq!(seen_at(66.0), 0);
        assert_eq!(seen_at(68.0), 0);
    }

    #[test]
    fn what_another_may_have_shown_until_now_leaves_at_the_distance_at_which_it_leaves() {
        let region = Region::of_boxes(vec![Bounds {
            min: Position::new(0.0, -1e3, -1e3),
            max: Position::new(1e3, 1e3, 1e3),
        }]);
        let mut interest = BorderInterest::new(SightRules::within(30.0), region);
        let mut scene = Scene::new(Duration::from_millis(33));
        let epoch = AuthorityEpoch::FIRST.next_step();
        let mut seen_at = |x, owned| {
            scene.begin(Tick(1));
            scene.put(&at(1, x, 0.0));
            scene.put(&Subject { epoch, owned, ..at(2, x, 0.0) });
            seen(interest.look(&scene))
        };
        assert_eq!(seen_at(-32.0, false), [0_u32; 0]);
        assert_eq!(seen_at(-32.0, true), [1], "it has just come here; the other was always here");
        assert_eq!(seen_at(-34.0, true), [0_u32; 0]);
        assert_eq!(seen_at(-32.0, true), [0_u32; 0]);
    }

    #[test]
    fn what_goes_to_and_fro_at_the_edge_of_a_view_stays_in_sight() {
        let mut view = ViewInterest::new(SightRules::within(30.0));
        let mut scene = Scene::new(Duration::from_millis(33));
        let mut seen_at = |x, centre| {
            scene.begin(Tick(1));
            scene.put(&at(1, x, 0.0));
            view.look(&scene, Position::new(centre, 0.0, 0.0), None).len()
        };
        assert_eq!(seen_at(50.0, 0.0), 0);
        assert_eq!(seen_at(32.0, 0.0), 0);
        assert_eq!(seen_at(29.5, 0.0), 1);
        assert_eq!(seen_at(32.0, 0.0), 1, "it is within the distance at which it leaves");
        assert_eq!(seen_at(29.5, -3.0), 1, "whichever of the two goes");
        assert_eq!(seen_at(34.0, 0.0), 0);
        assert_eq!(seen_at(32.0, 0.0), 0);
        // Another one in its place has to come near on its own.
        assert_eq!(seen_at(20.0, 0.0), 1);
        let mut another = ViewInterest::new(SightRules::within(30.0));
        for (x, seen) in [(32.0, 1), (34.0, 0), (32.0, 0)] {
            assert_eq!(another.look(&scene, Position::new(20.0 - x, 0.0, 0.0), None).len(), seen);
        }
        scene.remove(EntityId::from_u128(1), VanishReason::Ended, AuthorityEpoch::FIRST);
        scene.begin(Tick(2));
        scene.put(&at(2, 32.0, 0.0));
        assert_eq!(view.look(&scene, Position::default(), None).len(), 0);
    }

    #[test]
    fn classes_have_distances_of_their_own_and_ghosts_are_not_for_nodes() {
        let region = Region::of_boxes(vec![Bounds {
            min: Position::new(0.0, -1e3, -1e3),
            max: Position::new(1e3, 1e3, 1e3),
        }]);
        let mut rules = SightRules::within(10.0);
        rules.classes.insert(EntityClass(7), Sighting::within(100.0));
        let mut scene = Scene::new(Duration::from_millis(33));
        scene.begin(Tick(1));
        scene.put(&Subject { class: EntityClass(7), ..at(1, -80.0, 0.0) });
        scene.put(&at(2, -80.0, 0.0));
        scene.put(&at(3, -8.0, 0.0));
        scene.put(&Subject { owned: false, ..at(4, -8.0, 0.0) });
        assert_eq!(seen(BorderInterest::new(rules.clone(), region).look(&scene)), [0, 2]);
        let mut view = ViewInterest::new(rules);
        let centre = Position::new(0.0, 0.0, 0.0);
        assert_eq!(seen(view.look(&scene, centre, None)), [0, 2, 3], "a player sees ghosts as well");
        assert_eq!(seen(view.look(&scene, centre, Some(EntityId::from_u128(3)))), [0, 3]);
    }

    #[test]
    fn a_split_cell_belongs_to_whom_its_parts_are_listed_for() {
        let grid = Grid::new(GridConfig { cells: [2, 1, 1], ..GridConfig::default() }).unwrap();
        let cells: Vec<CellId> = grid.cells().collect();
        let children = cells[1].children().unwrap();
        let map = map(&[(cells[0], ME), (cells[1], OTHER), (children[0], ME)]);
        let near = Position { z: 0.0, ..grid.bounds(children[0]).min };
        assert!(Region::of_node(&grid, &map, ME).distance_m(near) < 1e-9);
        assert!(Region::of_node(&grid, &map, OTHER).distance_m(near) > 49.0);
    }

    #[test]
    fn neighbouring_cells_make_one_box() {
        let grid = Grid::new(GridConfig { cells: [8, 8, 1], ..GridConfig::default() }).unwrap();
        let owners: Vec<_> = grid.cells().map(|cell| (cell, OTHER)).collect();
        assert_eq!(Region::of_node(&grid, &map(&owners), OTHER).boxes.len(), 1);
    }
}
