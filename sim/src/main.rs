//! Runs seeds and says what they explored, or what they broke and how to see it again.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program speaks to its terminal"
)]

mod matrix_command;
mod model_command;

use core::time::Duration;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use selvedge_sim::scenarios;
use selvedge_sim::{
    Batch, BatchOutcome, Failure, FaultKind, FaultSet, Profile, SimOptions, Stats, Watcher, run_batch,
    run_seed,
};
use serde_json::{Value, json};

/// Runs whole meshes on virtual time over a hostile network, and checks every invariant after every step.
#[derive(Parser, Debug)]
#[command(name = "selvedge-sim", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Run this one seed alone and print its trace hash.
    #[arg(long, conflicts_with_all = ["seeds", "first_seed", "jobs"])]
    seed: Option<u64>,
    /// Threads; by default one for each core.
    #[arg(long)]
    jobs: Option<usize>,
    /// Go on after a seed that broke an invariant, and say at the end which broke what.
    #[arg(long, conflicts_with = "seed")]
    keep_going: bool,
    /// Run every seed under this profile (calm, lossy, nasty, faults) instead of the one that it draws.
    #[arg(long, value_parser = parse_profile)]
    profile: Option<Profile>,
    /// With --profile faults: what comes to harm, of crash, pause, partition, drift, coordinator, client, or all.
    #[arg(long, value_parser = parse_faults, default_value_t = FaultSet::ALL)]
    faults: FaultSet,
    /// Write what was found to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// With --seed: print every delivered message; twice: ghosts, states, inputs and heartbeats, too.
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Plays the named, scripted scenarios instead of seeds, and says of each whether it holds.
    Scenarios {
        /// Only those whose name holds this.
        filter: Option<String>,
    },
    /// Plays one crossing over and over: for each message that matters, kills each process and cuts each link just
    /// before and just after it. Fails if a row does not end with one holder and nothing lost.
    Matrix {
        /// Only rows whose name holds this, as `kill source before Transfer`.
        filter: Option<String>,
        /// Threads; by default one for each core.
        #[arg(long)]
        jobs: Option<usize>,
        /// Write the rows to this file, as JSON.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Explores handoffs, leases and recovery in full within bounds: every order of events, losses, repeats, one crash at
    /// any point. Fails if a property does not hold, and shows a shortest history that breaks it.
    Model {
        /// Only bounds whose name holds this.
        filter: Option<String>,
        /// How far.
        #[arg(long, value_enum, default_value_t = model_command::Extent::Small)]
        bound: model_command::Extent,
        /// Build a known bug in, and show how it is seen; `all` for every one. Needs `--features planted-bugs`.
        #[arg(long)]
        plant: Option<String>,
        /// Threads; by default one for each core.
        #[arg(long)]
        jobs: Option<usize>,
    },
}

fn parse_profile(name: &str) -> Result<Profile, String> {
    Profile::named(name).ok_or_else(|| format!("{name:?} is none of calm, lossy, nasty, faults"))
}

fn parse_faults(names: &str) -> Result<FaultSet, String> {
    FaultSet::named(names).ok_or_else(|| {
        let known = FaultKind::ALL.map(FaultKind::name).join(", ");
        format!("{names:?} is not a list of some of {known}, or all")
    })
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    match &arguments.command {
        Some(Command::Scenarios { filter }) => return play_scenarios(filter.as_deref().unwrap_or_default()),
        Some(Command::Matrix { filter, jobs, json }) => {
            return matrix_command::run(filter.as_deref().unwrap_or_default(), *jobs, json.as_deref());
        }
        Some(Command::Model { filter, bound, plant, jobs }) => {
            let filter = filter.as_deref().unwrap_or_default();
            return model_command::run(*bound, filter, plant.as_deref(), *jobs);
        }
        None => {}
    }
    let watcher = (arguments.verbose > 0).then_some(Watcher { show, chatter: arguments.verbose > 1 });
    let options =
        SimOptions { profile: arguments.profile, faults: arguments.faults, watcher, ..SimOptions::default() };
    let started = Instant::now();
    let found = match arguments.seed {
        Some(seed) => {
            let outcome = run_seed(seed, &options)?;
            show(&format!(
                "seed {seed}, profile {}: trace hash {:016x}",
                outcome.profile.name(),
                outcome.trace_hash
            ));
            BatchOutcome { stats: outcome.stats, failure: outcome.failure, ..BatchOutcome::default() }
        }
        None => run_many(&arguments, options)?,
    };
    let elapsed = started.elapsed();
    print_stats(&found.stats, elapsed);
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&to_json(&found, elapsed))?;
        std::fs::write(path, text).with_context(|| format!("{} could not be written", path.display()))?;
    }
    for (invariant, seeds) in &found.broken {
        show(&format!("{:>14}  seeds broke {invariant}: {:?}", seeds.len(), &seeds[..seeds.len().min(10)]));
    }
    match found.failure {
        None => Ok(ExitCode::SUCCESS),
        Some(failure) => {
            show(&format!("\n{failure}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn play_scenarios(filter: &str) -> anyhow::Result<ExitCode> {
    let (mut played, mut broken) = (0, 0);
    for scenario in scenarios::ALL.iter().filter(|scenario| scenario.name.contains(filter)) {
        played += 1;
        match scenario.run() {
            Ok(()) => show(&format!("holds   {}", scenario.name)),
            Err(error) => {
                broken += 1;
                show(&format!("BROKEN  {}\n{error:#}", scenario.name));
            }
        }
    }
    anyhow::ensure!(played > 0, "no scenario's name holds {filter:?}");
    show(&format!("{played} scenarios, {broken} broken."));
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints a line; that nobody reads on (`| head`) is no reason to fail.
fn show(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn run_many(arguments: &Arguments, options: SimOptions) -> anyhow::Result<BatchOutcome> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = arguments.jobs.unwrap_or(cores);
    let Arguments { first_seed, seeds, keep_going, .. } = *arguments;
    let batch = Batch { first_seed, seeds, jobs, keep_going, options };
    let bar = bar(batch.seeds, "seeds")?;
    let found = run_batch(&batch, &|_| bar.inc(1))?;
    bar.finish_and_clear();
    Ok(found)
}

/// Shows how far the work is, if anybody looks.
fn bar(length: u64, of: &str) -> anyhow::Result<ProgressBar> {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(length), target);
    let template = format!("{{bar:40}} {{pos}}/{{len}} {of}, {{per_sec}}, {{eta}} left");
    bar.set_style(ProgressStyle::with_template(&template)?);
    Ok(bar)
}

#[allow(clippy::cast_precision_loss, reason = "rates are shown to a person")]
fn print_stats(stats: &Stats, elapsed: Duration) {
    let seconds = elapsed.as_secs_f64().max(1e-9);
    for (_, what, count) in stats.named() {
        show(&format!("{count:>14}  {what}"));
    }
    show(&format!("{:>14.2}  Virtual hours.", stats.virtual_us as f64 / 3.6e9));
    show(&format!("{:>14.1}  Seeds a second.", stats.seeds as f64 / seconds));
    show(&format!("{:>14.0}  Steps a second.", stats.steps as f64 / seconds));
}

fn to_json(found: &BatchOutcome, elapsed: Duration) -> Value {
    let counts: serde_json::Map<String, Value> =
        found.stats.named().into_iter().map(|(name, _, count)| (name.to_owned(), json!(count))).collect();
    json!({
        "elapsed_s": elapsed.as_secs_f64(),
        "stats": counts,
        "failure": found.failure.as_ref().map(failure_json),
    })
}

fn failure_json(failure: &Failure) -> Value {
    json!({
        "seed": failure.seed,
        "step": failure.step,
        "virtual_us": failure.at.as_micros(),
        "invariant": failure.violation.invariant,
        "seen": failure.violation.what,
        "messages": failure.messages,
        "reproduce": failure.command,
    })
}
