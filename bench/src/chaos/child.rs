//! A process of the mesh: this program again, told what to be.

use std::path::PathBuf;

use anyhow::Context;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use selvedge_coordinator::CoordinatorArgs;
use selvedge_node::config::NodeArgs;
use serde::{Deserialize, Serialize};

/// The subcommand that makes this program one of them.
pub(crate) const CHILD_COMMAND: &str = "chaos-child";

/// What to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Spec {
    Coordinator {
        config: PathBuf,
    },
    Node {
        config: PathBuf,
        /// Laid over the file, as `section.key=value`.
        set: Vec<String>,
    },
}

impl Spec {
    /// The command line that makes this program be it.
    ///
    /// # Errors
    /// If a path is no text.
    pub(crate) fn command(&self) -> anyhow::Result<Vec<String>> {
        let spec = serde_json::to_string(self)?;
        // In `selvedge` the commands of this crate stand below `bench`.
        let below = std::env::args().nth(1).filter(|first| first == "bench");
        Ok(below.into_iter().chain([CHILD_COMMAND.to_owned(), spec]).collect())
    }
}

/// Is what it is told to be until it is killed, or its standard input ends.
///
/// # Errors
/// If that can't be done.
pub(crate) fn run(spec: &str) -> anyhow::Result<()> {
    // A process that stands still can't see its standard input end.
    set_pdeathsig(Signal::SIGKILL).context("cannot ask to end with the process that started this one")?;
    match serde_json::from_str(spec).context("not what this program tells its own children")? {
        Spec::Coordinator { config } => selvedge_coordinator::app::run(CoordinatorArgs {
            config: Some(config),
            die_with_parent: true,
            ..CoordinatorArgs::default()
        }),
        Spec::Node { config, set } => selvedge_node::app::run(&NodeArgs {
            config: Some(config),
            set,
            die_with_parent: true,
            ..NodeArgs::default()
        }),
    }
}
