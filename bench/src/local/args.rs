//! What can be set on a mesh of this machine.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::Args;
use selvedge_node::arena::{SNAPSHOT_BYTES_MAX, SNAPSHOT_BYTES_MIN};
use serde::Serialize;

use crate::app::parse_cells;
use crate::size::parse_bytes;

/// Below this the margins that a node needs around a border don't fit into a cell.
const CELL_EDGE_MIN_M: f64 = 10.0;

/// A mesh of this machine, and the bots on it.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct LocalArgs {
    /// Node processes
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub nodes: usize,
    /// Bots that play
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub players: usize,
    /// NPCs, spread over the nodes
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub npcs: u32,
    /// Ticks a second; a bot sends an input in each
    #[arg(long, default_value_t = 30, value_name = "HZ")]
    pub tick_hz: u32,
    /// Size of an avatar's snapshot: 1k to 256k, as in 1024, 4k, 256KiB
    #[arg(long, default_value = "4k", value_parser = parse_bytes, value_name = "BYTES")]
    pub snapshot_bytes: usize,
    /// Cells of the world along x and y
    #[arg(long, default_value = "4x4", value_parser = parse_cells, value_name = "XxY")]
    pub cells: [u32; 2],
    /// Edge of a cell in metres
    #[arg(long, default_value_t = 100.0, value_name = "METRES")]
    pub cell_edge: f64,
    /// How fast the bots walk, in metres a second
    #[arg(long, default_value_t = 12.0, value_name = "MPS")]
    pub speed: f64,
    /// File to write the report to, as JSON
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub json: Option<PathBuf>,
    /// Keep configuration, keys and logs in this folder, which must be empty or not there
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub keep_dir: Option<PathBuf>,
    /// What the processes log, such as 'info,selvedge_node=debug'
    #[arg(long, default_value = "info", value_name = "FILTER")]
    pub log: String,
}

impl Default for LocalArgs {
    fn default() -> Self {
        Self {
            nodes: 4,
            players: 200,
            npcs: 200,
            tick_hz: 30,
            snapshot_bytes: 4096,
            cells: [4, 4],
            cell_edge: 100.0,
            speed: 12.0,
            json: None,
            keep_dir: None,
            log: "info".to_owned(),
        }
    }
}

impl LocalArgs {
    /// Checks what a single value doesn't show.
    ///
    /// # Errors
    /// Names the first value that is wrong, and what to choose.
    pub fn check(&self, nodes: RangeInclusive<usize>) -> Result<(), String> {
        let [x, y] = self.cells;
        let cells = u64::from(x) * u64::from(y);
        let (fewest, most) = (*nodes.start(), *nodes.end());
        let within = nodes.contains(&self.nodes);
        choose("nodes", self.nodes, within, &format!("{fewest} to {most}"))?;
        choose("cells", format!("{x}x{y}"), cells <= 65_536, "at most 65536 cells")?;
        if cells < self.nodes as u64 {
            return Err(format!("--cells {x}x{y}: {} nodes need at least as many cells", self.nodes));
        }
        choose("tick-hz", self.tick_hz, (1..=240).contains(&self.tick_hz), "1 to 240")?;
        choose("players", self.players, self.players <= 10_000, "at most 10000")?;
        choose("npcs", self.npcs, self.npcs <= 100_000, "at most 100000")?;
        let sizes = SNAPSHOT_BYTES_MIN..=SNAPSHOT_BYTES_MAX;
        let size = self.snapshot_bytes;
        choose("snapshot-bytes", size, sizes.contains(&size), "1k to 256k")?;
        let edge = self.cell_edge;
        let edges = CELL_EDGE_MIN_M..=1e6;
        choose("cell-edge", edge, edges.contains(&edge), &format!("{CELL_EDGE_MIN_M} m or more"))?;
        choose("speed", self.speed, (0.0..=12.0).contains(&self.speed), "0 to 12 m/s")
    }
}

/// Says what to choose if a value is not good.
pub(crate) fn choose(name: &str, value: impl ToString, good: bool, range: &str) -> Result<(), String> {
    if good { Ok(()) } else { Err(format!("--{name} {}: choose {range}", value.to_string())) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        local: LocalArgs,
    }

    #[test]
    fn the_defaults_are_possible_and_nonsense_is_not() {
        let good = LocalArgs::default();
        assert_eq!(Line::parse_from(["line"]).local, good);
        assert_eq!(good.check(1..=16), Ok(()));
        for wrong in [
            LocalArgs { nodes: 0, ..good.clone() },
            LocalArgs { nodes: 17, cells: [5, 5], ..good.clone() },
            LocalArgs { nodes: 5, cells: [2, 2], ..good.clone() },
            LocalArgs { tick_hz: 0, ..good.clone() },
            LocalArgs { players: 10_001, ..good.clone() },
            LocalArgs { npcs: 100_001, ..good.clone() },
            LocalArgs { snapshot_bytes: 100, ..good.clone() },
            LocalArgs { cell_edge: f64::NAN, ..good.clone() },
            LocalArgs { cell_edge: 1.0, ..good.clone() },
            LocalArgs { speed: 13.0, ..good },
        ] {
            assert!(wrong.check(1..=16).is_err(), "{wrong:?}");
        }
    }
}
