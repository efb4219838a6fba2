//! What can be set on `selvedge up`.

use std::time::Duration;

use clap::Args;
use selvedge_bench::local::LocalArgs;
use serde::Serialize;

/// Processes that one machine is asked to run at most.
const NODES_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Args, Serialize)]
#[command(after_help = "Examples:
  selvedge up                                        until Ctrl-C, then the report
  selvedge up --duration 60s --json out.json
  selvedge up --nodes 8 --cells 8x8 --players 500 --npcs 1000 --snapshot-bytes 64k --duration 5m
  selvedge up --duration 30s --keep-dir /tmp/mesh --log info,selvedge_node=debug

Exit code 0: every invariant held. 1: one was broken (a player missing, an input lost or doubled, two
authorities, others over a border shown in the wrong place), or a process of the mesh died. 2: wrong usage.")]
pub(crate) struct UpArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) local: LocalArgs,
    /// How long the bots play once all are in the world [default: until Ctrl-C]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    #[serde(skip)]
    pub(crate) duration: Option<Duration>,
    /// Let the bots only walk: nobody gives anything away, hits anybody or shouts
    #[arg(long)]
    pub(crate) peaceful: bool,
    /// Where the bots walk: the same seed gives the same waypoints
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) seed: u64,
}

impl Default for UpArgs {
    fn default() -> Self {
        Self { local: LocalArgs::default(), duration: None, peaceful: false, seed: 1 }
    }
}

impl UpArgs {
    /// Checks what a single value doesn't show.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.local.check(1..=NODES_MAX)
    }
}
