//! What hostile clients and a hostile node cost everybody else: a mesh of real processes, players who watch, and one
//! attack after the other, each beside the quiet times of the same run.
//!
//! The attackers are a process of its own with the lowest priority: they stand for machines elsewhere, and must not take
//! the cores by themselves. What they make the mesh's processes do counts.
//!
//! Deliberately absent: floods that fill the line. No program can do anything about those.

mod args;
mod attack;
mod attacker;
mod home;
mod measure;
mod report;
mod run;
mod witness;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, bail};

pub(crate) use args::FloodArgs;
pub(crate) use attacker::{CHILD_COMMAND, run_child};

/// Runs every attack, and prints the report.
///
/// # Errors
/// If an argument is wrong, or the mesh can't be started.
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "the command line speaks on the terminal")]
pub(crate) fn run(args: &FloodArgs) -> anyhow::Result<ExitCode> {
    if let Err(cause) = args.check() {
        bail!("{cause}");
    }
    let report = run::run(args, &|text| eprintln!("{text}"))?;
    println!("{}", report.table());
    for broken in report.broken() {
        println!("{broken}");
    }
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&report)?;
        fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if report.broken().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
