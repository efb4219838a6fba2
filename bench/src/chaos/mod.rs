//! Real faults on real processes: a mesh with bots on it whose processes are killed, stopped, cut off and started
//! again, and the judgement of what became of everybody and everything.
//!
//! Which faults come is drawn from a seed ([`plan`]); what the network does between the processes is the work of a
//! proxy ([`proxy`]) and takes no privileges. The same seed gives the same faults, not the same run.
//!
//! Deliberately absent: full disks, clocks that run wrong: the simulator has those
//! that it can.

mod aftermath;
mod args;
mod child;
mod home;
mod inflict;
mod judge;
mod mesh;
mod phase;
mod plan;
pub(crate) mod proxy;
mod report;
mod run;
mod watch;
pub(crate) mod wire;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, bail};

pub(crate) use args::ChaosArgs;
pub(crate) use child::{CHILD_COMMAND, Spec as ChildSpec, run as run_child};
use report::Report;

use crate::local::{Signals, log_to};

/// Runs as often as asked, and prints the report.
///
/// # Errors
/// If an argument is wrong, a mesh can't be started, or a fault can't be inflicted.
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "the command line speaks on the terminal")]
pub(crate) fn run(args: &ChaosArgs) -> anyhow::Result<ExitCode> {
    if let Err(cause) = args.check() {
        bail!("{cause}");
    }
    let local = &args.local;
    if let Some(dir) = &local.keep_dir {
        // Beside the runs' folders; without such a folder nobody hears the bots.
        fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        log_to(&dir.join("bots.log"), &local.log)?;
    }
    let signals = Signals::watch()?;
    let mut outcomes = Vec::new();
    for number in 0..args.runs {
        if signals.asked() {
            break;
        }
        let seed = args.seed.wrapping_add(u64::from(number));
        let dir = local.keep_dir.as_ref().map(|dir| dir.join(format!("seed-{seed}")));
        let outcome = run::run(args, seed, dir.as_deref(), &signals, &|text| eprintln!("{text}"))
            .with_context(|| format!("the run with seed {seed} could not be carried out"));
        let Some(outcome) = outcome? else { break };
        for problem in &outcome.problems {
            eprintln!("seed {seed}: {problem}");
        }
        outcomes.push(outcome);
    }
    if outcomes.is_empty() {
        eprintln!("interrupted before all players were in: everything ended, nothing to report");
        return Ok(ExitCode::SUCCESS);
    }
    let report = Report::new(args, &outcomes, signals.asked());
    println!("{}", report.table());
    if let Some(path) = &local.json {
        let json = serde_json::to_string_pretty(&report.json())?;
        fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if report.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
