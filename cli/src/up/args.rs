//! What can be set on `selvedge up`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use selvedge_bench::app::parse_cells;
use selvedge_node::arena::{SNAPSHOT_BYTES_MAX, SNAPSHOT_BYTES_MIN};
use serde::Serialize;

use crate::size::parse_bytes;

/// Processes that one machine is asked to run at most.
const NODES_MAX: usize = 64;
/// Below this the margins that a node needs around a border don't fit into a cell.
const CELL_EDGE_MIN_M: f64 = 10.0;

#[derive(Debug, Clone, PartialEq, Args, Serialize)]
#[command(after_help = "Examples:
  selvedge up                                        until Ctrl-C, then the report
  selvedge up --duration 60s --json out.json
  selvedge up --nodes 8 --cells 8x8 --players 500 --npcs 1000 --snapshot-bytes 64k --duration 5m
  selvedge up --duration 30s --keep-dir /tmp/mesh --log info,selvedge_node=debug

Exit code 0: every invariant held. 1: one was broken (a player missing, an input lost or doubled, two
authorities), or a process of the mesh died. 2: wrong usage.")]
pub(crate) struct UpArgs {
    /// Node processes
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub(crate) nodes: usize,
    /// Bots that play
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub(crate) players: usize,
    /// NPCs, spread over the nodes
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub(crate) npcs: u32,
    /// Ticks a second; a bot sends an input in each
    #[arg(long, default_value_t = 30, value_name = "HZ")]
    pub(crate) tick_hz: u32,
    /// How long the bots play once all are in the world [default: until Ctrl-C]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    #[serde(skip)]
    pub(crate) duration: Option<Duration>,
    /// Size of an avatar's snapshot: 1k to 256k, as in 1024, 4k, 256KiB
    #[arg(long, default_value = "4k", value_parser = parse_bytes, value_name = "BYTES")]
    pub(crate) snapshot_bytes: usize,
    /// Cells of the world along x and y
    #[arg(long, default_value = "4x4", value_parser = parse_cells, value_name = "XxY")]
    pub(crate) cells: [u32; 2],
    /// Edge of a cell in metres
    #[arg(long, default_value_t = 100.0, value_name = "METRES")]
    pub(crate) cell_edge: f64,
    /// How fast the bots walk, in metres a second
    #[arg(long, default_value_t = 12.0, value_name = "MPS")]
    pub(crate) speed: f64,
    /// Where the bots walk: the same seed gives the same waypoints
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) seed: u64,
    /// File to write the report to, as JSON
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) json: Option<PathBuf>,
    /// Keep configuration, keys and logs in this folder, which must be empty or not there
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub(crate) keep_dir: Option<PathBuf>,
    /// What the processes log, such as 'info,selvedge_node=debug'
    #[arg(long, default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
}

impl Default for UpArgs {
    fn default() -> Self {
        Self {
            nodes: 4,
            players: 200,
            npcs: 200,
            tick_hz: 30,
            duration: None,
            snapshot_bytes: 4096,
            cells: [4, 4],
            cell_edge: 100.0,
            speed: 12.0,
            seed: 1,
            json: None,
            keep_dir: None,
            log: "info".to_owned(),
        }
    }
}

impl UpArgs {
    /// Checks what a single value doesn't show.
    pub(crate) fn check(&self) -> Result<(), String> {
        let [x, y] = self.cells;
        let cells = u64::from(x) * u64::from(y);
        let within = |name: &str, value: String, good: bool, range: String| {
            if good { Ok(()) } else { Err(format!("--{name} {value}: choose {range}")) }
        };
        within(
            "nodes",
            self.nodes.to_string(),
            (1..=NODES_MAX).contains(&self.nodes),
            format!("1 to {NODES_MAX}"),
        )?;
        within("cells", format!("{x}x{y}"), cells <= 65_536, "at most 65536 cells".to_owned())?;
        if cells < self.nodes as u64 {
            return Err(format!("--cells {x}x{y}: {} nodes need at least as many cells", self.nodes));
        }
        within(
            "tick-hz",
            self.tick_hz.to_string(),
            (1..=240).contains(&self.tick_hz),
            "1 to 240".to_owned(),
        )?;
        within("players", self.players.to_string(), self.players <= 10_000, "at most 10000".to_owned())?;
        within("npcs", self.npcs.to_string(), self.npcs <= 100_000, "at most 100000".to_owned())?;
        let sizes = SNAPSHOT_BYTES_MIN..=SNAPSHOT_BYTES_MAX;
        let size = self.snapshot_bytes;
        within("snapshot-bytes", size.to_string(), sizes.contains(&size), "1k to 256k".to_owned())?;
        let edge = self.cell_edge;
        let edges = CELL_EDGE_MIN_M..=1e6;
        within("cell-edge", edge.to_string(), edges.contains(&edge), format!("{CELL_EDGE_MIN_M} m or more"))?;
        within("speed", self.speed.to_string(), (0.0..=12.0).contains(&self.speed), "0 to 12 m/s".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_possible_and_nonsense_is_not() {
        assert_eq!(UpArgs::default().check(), Ok(()));
        for wrong in [
            UpArgs { nodes: 0, ..UpArgs::default() },
            UpArgs { nodes: 17, ..UpArgs::default() },
            UpArgs { tick_hz: 0, ..UpArgs::default() },
            UpArgs { snapshot_bytes: 100, ..UpArgs::default() },
            UpArgs { cell_edge: f64::NAN, ..UpArgs::default() },
            UpArgs { cell_edge: 1.0, ..UpArgs::default() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
