//! What can be set on `mesh-bench chaos`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::local::{LocalArgs, choose};

/// Longer than anybody waits for a process to come back.
const DOWN_MAX: Duration = Duration::from_secs(600);
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
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) local: LocalArgs,
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
    /// Let what takes no node its lease go on while the next faults come: a dead coordinator, bad weather, partitions of
    /// two nodes or of a node and its players
    #[arg(long)]
    pub(crate) overlap: bool,
    /// How long a killed process stays dead [default: 200ms to 6s, as the seed says]. With it, the time before the
    /// coordinator is killed is measured, too, and compared
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    #[serde(skip)]
    pub(crate) down: Option<Duration>,
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
    /// The lease of a node
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    #[serde(skip)]
    pub(crate) lease: Duration,
}

impl Default for ChaosArgs {
    fn default() -> Self {
        Self {
            local: LocalArgs::default(),
            duration: Duration::from_secs(120),
            faults: vec![
                FaultKind::Kill,
                FaultKind::Pause,
                FaultKind::Partition,
                FaultKind::Loss,
                FaultKind::Coordinator,
            ],
            faults_max: None,
            overlap: false,
            down: None,
            spacing: Duration::from_secs(4),
            seed: 1,
            runs: 1,
            lease: Duration::from_secs(3),
        }
    }
}

impl ChaosArgs {
    /// Checks what a single value doesn't show.
    pub(crate) fn check(&self) -> Result<(), String> {
        // A killed node's entities go on at another, and leases need witnesses.
        self.local.check(2..=NODES_MAX)?;
        choose("players", self.local.players, self.local.players > 0, "1 to 10000")?;
        let lease = humantime::format_duration(self.lease);
        choose("lease", lease, self.lease >= LEASE_MIN, &format!("{LEASE_MIN:?} or more"))?;
        if let Some(down) = self.down {
            choose(
                "down",
                humantime::format_duration(down),
                down <= DOWN_MAX,
                &format!("up to {DOWN_MAX:?}"),
            )?;
        }
        choose("runs", self.runs, self.runs > 0, "1 or more")
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
        assert_eq!(args, ChaosArgs::default());
        assert_eq!(args.check(), Ok(()));
        for wrong in [
            ChaosArgs { local: LocalArgs { nodes: 1, ..args.local.clone() }, ..args.clone() },
            ChaosArgs { local: LocalArgs { players: 0, ..args.local.clone() }, ..args.clone() },
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
