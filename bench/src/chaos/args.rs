//! What can be set on `mesh-bench chaos`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use selvedge_node::arena::{SNAPSHOT_BYTES_MAX, SNAPSHOT_BYTES_MIN};
use serde::Serialize;

use crate::app::parse_cells;

/// Processes that one machine is asked to run at most.
const NODES_MAX: usize = 16;
/// The shortest lease that a busy machine's stalls leave to its nodes.
const LEASE_MIN: Duration = Duration::from_millis(500);

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaultKind {
    /// A node's process is killed, and started again
    Kill,
    /// A node's process stands still for longer than its lease
    Pause,
    /// Two processes, or one and all others, can't reach each other
    Partition,
    /// Every datagram between processes takes its time, and some get lost
    Loss,
    /// The coordinator is killed, and started again
    Coordinator,
}

/// Real faults on a mesh of real processes.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub(crate) struct ChaosArgs {
    /// How long faults are inflicted, once all players are in
    #[arg(long, default_value = "120s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    #[serde(skip)]
    pub(crate) duration: Duration,
    /// What is done, in an order that the seed decides
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [FaultKind::Kill, FaultKind::Pause, FaultKind::Partition, FaultKind::Loss, FaultKind::Coordinator], value_name = "KINDS")]
    pub(crate) faults: Vec<FaultKind>,
    /// At most this many faults in a run
    #[arg(long, value_name = "N")]
    pub(crate) faults_max: Option<usize>,
    /// Let partitions of two nodes and bad weather go on while the next fault comes
    #[arg(long)]
    pub(crate) overlap: bool,
    /// How long the mesh is left alone after each recovery, for new standby copies
    #[arg(long, default_value = "4s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    #[serde(skip)]
    pub(crate) spacing: Duration,
    /// What faults there are and when: the same seed gives the same
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) seed: u64,
    /// Repeat with the next seeds, each on a mesh of its own
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) runs: u32,
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
    /// The lease of a node
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    #[serde(skip)]
    pub(crate) lease: Duration,
    /// Size of an avatar's snapshot in bytes, 1024 to 262144
    #[arg(long, default_value_t = 4096, value_name = "BYTES")]
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
    /// File to write the report to, as JSON
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) json: Option<PathBuf>,
    /// Keep configuration, keys and logs in this folder, which must be empty or not there; a folder in it for each run
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub(crate) keep_dir: Option<PathBuf>,
    /// What the processes log
    #[arg(long, default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
}

impl ChaosArgs {
    /// Checks what a single value doesn't show.
    pub(crate) fn check(&self) -> Result<(), String> {
        let [x, y] = self.cells;
        let within = |name: &str, value: String, good: bool, range: String| {
            if good { Ok(()) } else { Err(format!("--{name} {value}: choose {range}")) }
        };
        // A killed node's entities go on at another, and leases need witnesses.
        let nodes = (2..=NODES_MAX).contains(&self.nodes);
        within("nodes", self.nodes.to_string(), nodes, format!("2 to {NODES_MAX}"))?;
        let cells = u64::from(x) * u64::from(y);
        let enough = (self.nodes as u64..=65_536).contains(&cells);
        within("cells", format!("{x}x{y}"), enough, "as many cells as nodes, up to 65536".to_owned())?;
        let hz = (1..=240).contains(&self.tick_hz);
        within("tick-hz", self.tick_hz.to_string(), hz, "1 to 240".to_owned())?;
        let players = (1..=10_000).contains(&self.players);
        within("players", self.players.to_string(), players, "1 to 10000".to_owned())?;
        let npcs = self.npcs <= 100_000;
        within("npcs", self.npcs.to_string(), npcs, "at most 100000".to_owned())?;
        let size = (SNAPSHOT_BYTES_MIN..=SNAPSHOT_BYTES_MAX).contains(&self.snapshot_bytes);
        within("snapshot-bytes", self.snapshot_bytes.to_string(), size, "1024 to 262144".to_owned())?;
        let edge = (10.0..=1e6).contains(&self.cell_edge);
        within("cell-edge", self.cell_edge.to_string(), edge, "10 m or more".to_owned())?;
        let speed = (0.0..=12.0).contains(&self.speed);
        within("speed", self.speed.to_string(), speed, "0 to 12 m/s".to_owned())?;
        let lease = self.lease >= LEASE_MIN;
        within("lease", format!("{:?}", self.lease), lease, format!("{LEASE_MIN:?} or more"))?;
        within("runs", self.runs.to_string(), self.runs > 0, "1 or more".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ChaosArgs,
    }

    #[test]
    fn the_defaults_are_possible_and_nonsense_is_not() {
        let args = Line::parse_from(["chaos"]).args;
        assert_eq!(args.check(), Ok(()));
        for wrong in [
            ChaosArgs { nodes: 1, ..args.clone() },
            ChaosArgs { nodes: 17, ..args.clone() },
            ChaosArgs { players: 0, ..args.clone() },
            ChaosArgs { snapshot_bytes: 100, ..args.clone() },
            ChaosArgs { cell_edge: f64::NAN, ..args.clone() },
            ChaosArgs { lease: Duration::ZERO, ..args.clone() },
            ChaosArgs { runs: 0, ..args.clone() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn kinds_are_given_as_a_list() {
        let args = Line::parse_from(["chaos", "--faults", "kill,coordinator"]).args;
        assert_eq!(args.faults, [FaultKind::Kill, FaultKind::Coordinator]);
    }
}
