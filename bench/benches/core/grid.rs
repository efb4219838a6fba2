//! Where a position is, who owns it, and which borders a motion is about to cross.

use core::hint::black_box;
use core::time::Duration;
use std::collections::BTreeMap;

use criterion::Criterion;
use selvedge_protocol::cell_map::{CellMap, NodeEntry};
use selvedge_protocol::grid::{Grid, GridConfig, Motion, Position, Velocity};
use selvedge_protocol::id::{Incarnation, NodeId, Peer};
use selvedge_protocol::plan;

const LEAD: Duration = Duration::from_millis(500);
const MARGIN_M: f64 = 2.0;

pub(crate) fn bench(criterion: &mut Criterion) {
    let config = GridConfig { origin_m: [0.0; 3], cell_edge_m: 100.0, cells: [32, 32, 1] };
    let grid = Grid::new(config).expect("the grid is valid");
    let nodes: Vec<NodeId> = (1..=16).map(NodeId::from_u128).collect();
    let owners = plan::assign_uniform(&grid, &nodes, &BTreeMap::new());
    let map = CellMap::with(1, owners, nodes.iter().map(|&node| (node, entry(node))).collect())
        .expect("the map is valid");
    let inside = at(1_650.0, 1_650.0, 6.0);
    let border = at(1_698.0, 1_650.0, 6.0);
    let corner = at(1_699.0, 1_699.0, 20.0);

    let mut group = criterion.benchmark_group("grid");
    group.bench_function("cell_at", |bencher| {
        bencher.iter(|| grid.cell_at(black_box(inside.position)));
    });
    group.bench_function("owner_at, 1024 cells", |bencher| {
        bencher.iter(|| map.owner_at(&grid, black_box(inside.position)));
    });
    for (name, motion) in [("inside", inside), ("at a border", border), ("at a corner", corner)] {
        group.bench_function(format!("forecast {name}"), |bencher| {
            bencher.iter(|| grid.forecast(black_box(&motion), LEAD, MARGIN_M));
        });
    }
    group.finish();
}

fn entry(node: NodeId) -> NodeEntry {
    NodeEntry {
        peer: Peer { node, incarnation: Incarnation(1) },
        mesh_addr: String::new(),
        client_addr: String::new(),
        server_name: String::new(),
    }
}

const fn at(x: f64, y: f64, speed: f32) -> Motion {
    Motion { position: Position::new(x, y, 0.0), velocity: Velocity::new(speed, speed, 0.0) }
}
