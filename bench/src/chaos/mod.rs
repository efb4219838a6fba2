//! Real faults on real processes: a mesh with bots on it whose processes are killed, stopped, cut off and started
//! again, and the judgement of what became of everybody and everything.
//!
//! Which faults come is drawn from a seed ([`plan`]); what the network does between the processes is the work of a
//! proxy ([`proxy`]) and takes no privileges. The same seed gives the same faults, not the same run.
//!
//! Deliberately absent: faults between players and nodes, full disks, clocks that run wrong: the simulator has those
//! that it can.

mod args;
mod child;
mod home;
mod inflict;
mod judge;
mod mesh;
mod plan;
mod process;
mod proxy;
mod report;
mod run;
mod watch;
mod wire;

use std::fs::{self, OpenOptions};
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::{Context, bail};
use tracing_subscriber::EnvFilter;

pub(crate) use args::ChaosArgs;
pub(crate) use child::{CHILD_COMMAND, Spec as ChildSpec, run as run_child};
pub(crate) use process::Process;
use report::Report;

/// Runs as often as asked, and prints the report.
///
/// # Errors
/// If an argument is wrong, a mesh can't be started, or a fault can't be inflicted.
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "the command line speaks on the terminal")]
pub(crate) fn run(args: &ChaosArgs) -> anyhow::Result<ExitCode> {
    if let Err(cause) = args.check() {
        bail!("{cause}");
    }
    log_to_file(args)?;
    let mut outcomes = Vec::new();
    for number in 0..args.runs {
        let seed = args.seed.wrapping_add(u64::from(number));
        let dir = args.keep_dir.as_ref().map(|dir| dir.join(format!("seed-{seed}")));
        let outcome = run::run(args, seed, dir.as_deref(), &|text| eprintln!("{text}"))
            .with_context(|| format!("the run with seed {seed} could not be carried out"))?;
        for problem in &outcome.problems {
            eprintln!("seed {seed}: {problem}");
        }
        outcomes.push(outcome);
    }
    let report = Report::new(args, &outcomes);
    println!("{}", report.table());
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&report.json())?;
        fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if report.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the bots have to say goes to a file beside the runs' folders; without such a folder nobody hears it.
fn log_to_file(args: &ChaosArgs) -> anyhow::Result<()> {
    let Some(dir) = &args.keep_dir else { return Ok(()) };
    let filter = EnvFilter::try_new(&args.log).with_context(|| {
        format!("--log {:?} is no filter; write it like info,selvedge_node=debug", args.log)
    })?;
    fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    let path = dir.join("bots.log");
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .try_init();
    Ok(())
}
