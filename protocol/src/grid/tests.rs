//! Properties of the grid and of the forecast.

use core::time::Duration;

use proptest::prelude::*;

use super::*;

fn grid_of(origin_m: [f64; 3], cell_edge_m: f64, cells: [u32; 3]) -> Grid {
    Grid::new(GridConfig { origin_m, cell_edge_m, cells }).unwrap()
}

fn cell(x: u32, y: u32) -> CellId {
    CellId::new(0, x, y, 0).unwrap()
}

fn cells_of(forecast: &Forecast) -> Vec<CellId> {
    forecast.crossings.iter().map(|crossing| crossing.cell).collect()
}

fn motion(position: [f64; 2], velocity: [f32; 2]) -> Motion {
    Motion {
        position: Position::new(position[0], position[1], 0.0),
        velocity: Velocity::new(velocity[0], velocity[1], 0.0),
    }
}

prop_compose! {
    fn any_grid()(
        origin_m in prop_oneof![Just([0.0; 3]), prop::array::uniform3(-1e6..1e6f64)],
        cell_edge_m in prop_oneof![0.1..1.0f64, 1.0..500.0f64, Just(1.0 / 3.0), Just(100.0)],
        cells in (1..20u32, 1..20u32, 1..4u32),
    ) -> Grid {
        grid_of(origin_m, cell_edge_m, [cells.0, cells.1, cells.2])
    }
}

/// A position by fractions of the world; 0 and 1 are its borders.
fn inside(grid: &Grid, fractions: [f64; 3]) -> Position {
    let GridConfig { origin_m, cell_edge_m, cells } = *grid.config();
    let at =
        core::array::from_fn(|axis| origin_m[axis] + fractions[axis] * f64::from(cells[axis]) * cell_edge_m);
    grid.clamp(Position::from_array(at))
}

proptest! {
    #[test]
    fn a_position_is_in_exactly_the_cell_whose_bounds_hold_it(
        grid in any_grid(), fractions in prop::array::uniform3(0.0..=1.0f64), level in 0..5u8,
    ) {
        let position = inside(&grid, fractions);
        let found = grid.cell_at_level(position, level).unwrap();
        prop_assert!(grid.contains_cell(found) && grid.bounds(found).contains(position));
        let mut holders = 0;
        for base in grid.cells() {
            holders += usize::from(grid.bounds(base).contains(position));
        }
        prop_assert_eq!(holders, 1);
        let mut base = found;
        while let Some(parent) = base.parent() {
            prop_assert!(grid.bounds(parent).contains(position));
            base = parent;
        }
        prop_assert_eq!(grid.cell_at(position).unwrap(), base);
    }

    #[test]
    fn a_boundary_belongs_to_the_upper_cell(grid in any_grid(), x in 0..20u32, level in 0..4u8) {
        let x = x % grid.count(0, level);
        let named = CellId::new(level, x, 0, 0).unwrap();
        let mut corner = grid.bounds(named).min;
        corner.z = grid.config().origin_m[2];
        prop_assert_eq!(grid.cell_at_level(corner, level).unwrap(), named);
        corner.x = corner.x.next_down();
        let below = grid.cell_at_level(corner, level);
        match x.checked_sub(1) {
            Some(x) => prop_assert_eq!(below.unwrap(), CellId::new(level, x, 0, 0).unwrap()),
            None => prop_assert!(matches!(below, Err(PositionError::OutsideWorld { .. })), "{:?}", below),
        }
    }

    #[test]
    fn bounds_tile_the_world(grid in any_grid()) {
        for cell in grid.cells() {
            let bounds = grid.bounds(cell);
            let next = CellId::new(0, cell.x() + 1, cell.y() + 1, cell.z()).unwrap();
            let beyond = grid.bounds(next).min;
            prop_assert_eq!((bounds.max.x, bounds.max.y), (beyond.x, beyond.y));
            let children = cell.children().unwrap();
            prop_assert_eq!(grid.bounds(children[0]).min, bounds.min);
            prop_assert_eq!(grid.bounds(children[3]).max, bounds.max);
            prop_assert_eq!(grid.bounds(children[0]).max.x, grid.bounds(children[1]).min.x);
            prop_assert_eq!(grid.bounds(children[0]).max.y, grid.bounds(children[2]).min.y);
        }
    }

    #[test]
    fn clamp_is_inside_and_leaves_alone_what_is(
        grid in any_grid(), at in prop::array::uniform3(any::<f64>()), fractions in prop::array::uniform3(0.0..1.0f64),
    ) {
        let clamped = grid.clamp(Position::from_array(at));
        prop_assert!(grid.cell_at(clamped).is_ok(), "{:?}", clamped);
        let position = inside(&grid, fractions);
        prop_assert_eq!(grid.clamp(position), position);
    }

    #[test]
    fn cells_within_are_those_that_meet_the_cube(
        grid in any_grid(), fractions in prop::array::uniform3(-0.3..1.3f64), radius in 0.0..3.0f64,
    ) {
        let GridConfig { origin_m, cell_edge_m, cells } = *grid.config();
        let at = core::array::from_fn(|axis| {
            origin_m[axis] + fractions[axis] * f64::from(cells[axis]) * cell_edge_m
        });
        let (position, radius_m) = (Position::from_array(at), radius * cell_edge_m);
        let found: Vec<CellId> = grid.cells_within(position, radius_m).collect();
        let met: Vec<CellId> =
            grid.cells().filter(|&cell| grid.bounds(cell).meets_cube(position, radius_m)).collect();
        prop_assert!(found.is_sorted());
        prop_assert_eq!(found, met);
    }

    #[test]
    fn moving_for_the_forecast_time_reaches_the_cell(
        grid in any_grid(), fractions in prop::array::uniform3(0.0..1.0f64),
        velocity in prop::array::uniform3(-300.0..300.0f32), level in 0..3u8, seconds in 0.0..5.0f64,
    ) {
        let [x, y, z] = velocity;
        let motion = Motion { position: inside(&grid, fractions), velocity: Velocity::new(x, y, z) };
        let horizon = Duration::from_secs_f64(seconds);
        let forecast = grid.forecast_at_level(level, &motion, horizon, 0.0).unwrap();
        prop_assert_eq!(forecast.current, grid.cell_at_level(motion.position, level).unwrap());
        let mut last = Duration::ZERO;
        for crossing in forecast.crossings.iter().filter(|crossing| crossing.distance_m > 0.0) {
            let time = crossing.time_to_boundary.unwrap();
            prop_assert!(last <= time && time <= horizon);
            last = time;
            let there = motion.after(time);
            // A nanosecond of rounding in the time, a few ulps in the coordinates.
            prop_assert!(grid.distance_to(there, crossing.cell) < 1e-5, "{:?} {:?}", there, crossing);
            prop_assert!(there.distance(motion.position) >= crossing.distance_m - 1e-5);
        }
        // Nothing is missed: where the way is at any time before the list ends is the current cell or a listed one.
        let known = if forecast.crossings.len() < FORECAST_CELLS_MAX { horizon } else { last };
        for step in 0..200u32 {
            let there = motion.after(known * step / 200);
            let Ok(cell) = grid.cell_at_level(there, level) else { break };
            let listed = cell == forecast.current || forecast.crossings.iter().any(|c| c.cell == cell);
            prop_assert!(listed || near_a_corner(&grid, there, cell), "{:?} at {:?} is not forecast", cell, there);
        }
    }

    #[test]
    fn a_forecast_lists_no_cell_twice_and_never_the_current(
        grid in any_grid(), fractions in prop::array::uniform3(0.0..=1.0f64),
        velocity in prop::array::uniform3(-300.0..300.0f32), margin_m in 0.0..1000.0f64, level in 0..3u8,
    ) {
        let [x, y, z] = velocity;
        let motion = Motion { position: inside(&grid, fractions), velocity: Velocity::new(x, y, z) };
        let forecast = grid.forecast_at_level(level, &motion, Duration::from_secs(1), margin_m).unwrap();
        let mut cells = cells_of(&forecast);
        let count = cells.len();
        prop_assert!(count <= FORECAST_CELLS_MAX + FORECAST_MARGIN_CELLS_MAX);
        prop_assert!(!cells.contains(&forecast.current));
        prop_assert!(cells.iter().all(|&cell| grid.contains_cell(cell) && cell.level() == level));
        cells.sort_unstable();
        cells.dedup();
        prop_assert_eq!(cells.len(), count);
    }

    #[test]
    fn no_input_makes_the_forecast_panic_or_run_on(
        grid in any_grid(), at in prop::array::uniform3(any::<f64>()), v in prop::array::uniform3(any::<f32>()),
        horizon_us in any::<u64>(), margin_m in any::<f64>(),
    ) {
        let motion = Motion {
            position: grid.clamp(Position::from_array(at)),
            velocity: Velocity::new(v[0], v[1], v[2]),
        };
        let forecast = grid.forecast(&motion, Duration::from_micros(horizon_us), margin_m);
        prop_assert_eq!(forecast.is_ok(), motion.is_finite());
        let raw = Motion { position: Position::from_array(at), ..motion };
        let _ = grid.forecast(&raw, Duration::MAX, f64::MAX);
    }
}

/// Whether rounding may put `position` into `cell` or into its neighbour.
fn near_a_corner(grid: &Grid, position: Position, cell: CellId) -> bool {
    let bounds = grid.bounds(cell);
    let near = |a: f64, b: f64| (a - b).abs() < 1e-5;
    near(position.x, bounds.min.x)
        || near(position.x, bounds.max.x)
        || near(position.y, bounds.min.y)
        || near(position.y, bounds.max.y)
        || near(position.z, bounds.min.z)
        || near(position.z, bounds.max.z)
}

#[test]
fn a_bad_configuration_is_refused_by_what_is_wrong_with_it() {
    let good = GridConfig::default();
    let refusal = |config| Grid::new(config).unwrap_err();
    assert!(matches!(
        refusal(GridConfig { origin_m: [0.0, f64::NAN, 0.0], ..good }),
        GridError::OriginNotFinite { .. }
    ));
    for cell_edge_m in [f64::NAN, f64::INFINITY] {
        assert!(matches!(refusal(GridConfig { cell_edge_m, ..good }), GridError::CellEdgeNotFinite { .. }));
    }
    for cell_edge_m in [0.0, -100.0, 0.01] {
        assert_eq!(refusal(GridConfig { cell_edge_m, ..good }), GridError::CellEdgeTooSmall { cell_edge_m });
    }
    assert_eq!(refusal(GridConfig { cells: [4, 0, 1], ..good }), GridError::NoCells { cells: [4, 0, 1] });
    for cells in [[1025, 1024, 1], [u32::MAX; 3], [1, 1, 65_537]] {
        assert_eq!(refusal(GridConfig { cells, ..good }), GridError::TooManyCells { cells });
    }
    assert!(matches!(refusal(GridConfig { cell_edge_m: 1e9, ..good }), GridError::TooFar { .. }));
    assert!(Grid::new(GridConfig { cells: [1024, 1024, 1], ..good }).is_ok());
    assert!(Grid::new(GridConfig { cells: [1, 1, 65_536], ..good }).is_ok());
}

#[test]
fn what_is_not_finite_or_outside_is_in_no_cell() {
    let grid = Grid::default();
    for position in [
        Position::new(f64::NAN, 0.0, 0.0),
        Position::new(0.0, f64::INFINITY, 0.0),
        Position::new(0.0, 0.0, f64::NAN),
    ] {
        assert!(matches!(grid.cell_at(position), Err(PositionError::NotFinite { .. })));
        assert!(grid.cells_within(position, 1.0).is_empty());
    }
    for position in
        [Position::new(-1e-9, 0.0, 0.0), Position::new(0.0, 400.0, 0.0), Position::new(f64::MAX, 0.0, 0.0)]
    {
        assert_eq!(grid.cell_at(position), Err(PositionError::OutsideWorld { position }));
    }
    let velocity = Velocity::new(f32::NAN, 0.0, 0.0);
    let moving = Motion { position: Position::new(1.0, 1.0, 0.0), velocity };
    assert!(matches!(
        grid.forecast(&moving, Duration::from_secs(1), 0.0),
        Err(PositionError::VelocityNotFinite { .. })
    ));
}

#[test]
fn a_flat_grid_ignores_altitude() {
    let grid = Grid::default();
    for z in [-1e300, -5.0, 0.0, 1e300] {
        let position = Position::new(150.0, 250.0, z);
        assert_eq!(grid.cell_at(position), Ok(cell(1, 2)));
        assert_eq!(grid.clamp(position), position);
        assert!((grid.distance_to(position, cell(2, 2)) - 50.0).abs() < 1e-12);
    }
    let falling =
        Motion { position: Position::new(150.0, 250.0, 0.0), velocity: Velocity::new(0.0, 0.0, -1000.0) };
    assert!(grid.forecast(&falling, Duration::from_secs(60), 10.0).unwrap().crossings.is_empty());
}

#[test]
fn the_last_coordinate_below_each_boundary_is_in_the_lower_cell() {
    for cell_edge_m in [0.1, 0.3, 1.0 / 3.0, 0.7, 1.1, 100.0] {
        let grid = grid_of([0.0; 3], cell_edge_m, [1000, 1, 1]);
        for x in 1..1000 {
            let below = Position::new(grid.bounds(cell(x, 0)).min.x.next_down(), 0.0, 0.0);
            assert_eq!(grid.cell_at(below), Ok(cell(x - 1, 0)), "edge {cell_edge_m}, cell {x}");
        }
    }
}

#[test]
fn a_cube_that_touches_the_worlds_upper_border_from_outside_meets_nothing() {
    let grid = Grid::default();
    assert!(grid.cells_within(Position::new(410.0, 50.0, 0.0), 10.0).is_empty());
    assert!(grid.cells_within(Position::new(410.0, 50.0, 0.0), 10.1).eq([cell(3, 0)]));
    assert!(grid.cells_within(Position::new(-10.0, 50.0, 0.0), 10.0).eq([cell(0, 0)]));
}

#[test]
fn the_margin_of_a_forecast_is_round() {
    let grid = Grid::default();
    let forecast = grid.forecast(&motion([195.0, 192.0], [0.0, 0.0]), Duration::from_secs(1), 8.5).unwrap();
    assert_eq!(cells_of(&forecast), [cell(2, 1), cell(1, 2)], "the cell across is 9.4 m away");
}

#[test]
fn cells_come_in_order_and_all_of_them() {
    let grid = grid_of([0.0; 3], 10.0, [3, 2, 2]);
    let cells: Vec<CellId> = grid.cells().collect();
    assert_eq!(cells.len() as u64, grid.cell_count());
    assert!(cells.is_sorted());
    assert_eq!(grid.cells_within(Position::new(15.0, 5.0, 5.0), 1.0).single(), CellId::new(0, 1, 0, 0).ok());
    assert_eq!(grid.cells_within(Position::new(10.5, 5.0, 5.0), 1.0).single(), None);
}

#[test]
fn the_forecast_names_the_next_cell_and_the_time() {
    let grid = Grid::default();
    let forecast =
        grid.forecast(&motion([90.0, 50.0], [10.0, 0.0]), Duration::from_millis(1500), 0.0).unwrap();
    assert_eq!(forecast.current, cell(0, 0));
    let [crossing] = forecast.crossings[..] else { panic!("{forecast:?}") };
    assert_eq!(crossing.cell, cell(1, 0));
    assert_eq!(crossing.time_to_boundary, Some(Duration::from_secs(1)));
    assert!((crossing.distance_m - 10.0).abs() < 1e-9);
    let too_short = grid.forecast(&motion([90.0, 50.0], [10.0, 0.0]), Duration::from_millis(999), 0.0);
    assert!(too_short.unwrap().crossings.is_empty());
}

#[test]
fn through_a_corner_both_sides_come_before_the_cell_across() {
    let grid = Grid::default();
    let forecast = grid.forecast(&motion([95.0, 95.0], [5.0, 5.0]), Duration::from_secs(2), 0.0).unwrap();
    assert_eq!(cells_of(&forecast), [cell(1, 0), cell(0, 1), cell(1, 1)]);
    let back = grid.forecast(&motion([105.0, 105.0], [-5.0, -5.0]), Duration::from_secs(2), 0.0).unwrap();
    assert_eq!(cells_of(&back), [cell(0, 1), cell(1, 0), cell(0, 0)]);
    let solid = grid_of([0.0; 3], 100.0, [2, 2, 2]);
    let up = Motion { position: Position::new(95.0, 95.0, 95.0), velocity: Velocity::new(5.0, 5.0, 5.0) };
    assert_eq!(solid.forecast(&up, Duration::from_secs(2), 0.0).unwrap().crossings.len(), 7);
}

#[test]
fn a_corner_on_the_worlds_border_lists_the_side_that_exists() {
    let grid = Grid::default();
    let forecast = grid.forecast(&motion([395.0, 95.0], [5.0, 5.0]), Duration::from_secs(2), 0.0).unwrap();
    assert_eq!(cells_of(&forecast), [cell(3, 1)]);
}

#[test]
fn cells_beside_the_way_follow_by_distance_with_a_time_where_closing() {
    let grid = Grid::default();
    let forecast =
        grid.forecast(&motion([195.0, 192.0], [10.0, 0.0]), Duration::from_millis(100), 20.0).unwrap();
    assert_eq!(cells_of(&forecast), [cell(2, 1), cell(1, 2), cell(2, 2)]);
    assert_eq!(forecast.crossings[0].time_to_boundary, Some(Duration::from_millis(500)));
    assert_eq!(forecast.crossings[1].time_to_boundary, None);
    assert!(forecast.crossings[2].time_to_boundary.unwrap() > Duration::from_millis(500));
    let leaving = grid.forecast(&motion([195.0, 150.0], [-10.0, 0.0]), Duration::from_secs(1), 20.0).unwrap();
    assert_eq!(leaving.crossings.len(), 1);
    assert_eq!(leaving.crossings[0].time_to_boundary, None);
}

#[test]
fn a_huge_velocity_costs_no_more_than_the_list() {
    let grid = grid_of([0.0; 3], 0.1, [1024, 1024, 1]);
    let fast = motion([50.0, 50.0], [f32::MAX, f32::MAX / 3.0]);
    let forecast = grid.forecast(&fast, Duration::MAX, 1e9).unwrap();
    assert!(forecast.crossings.len() <= FORECAST_CELLS_MAX + FORECAST_MARGIN_CELLS_MAX);
}
