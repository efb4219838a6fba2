//! Handoff latency between two node processes, beside raw UDP and bare quinn in the same run.
//!
//! For each row a mesh of its own is started: a coordinator and two nodes, this program again each. Entities without
//! clients hop from one node to the other as soon as they may; the nodes' own reports, taken before and after, say what
//! it cost. Deliberately absent: players and their clients (`load` has them).

mod args;
mod child;
mod cpu;
mod floor;
mod home;
mod kin;
mod rows;
mod spec;
mod trial;
mod world;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

pub(crate) use args::HandoffArgs;
pub(crate) use child::run as run_child;
pub(crate) use kin::CHILD_COMMAND;
use rows::RowPath;
use spec::Floor;
use trial::Trial;

/// Measures every row, prints the table and a verdict.
///
/// # Errors
/// If a process can't be started, doesn't answer, or nothing is handed off.
#[allow(clippy::print_stdout, reason = "the command line speaks on the terminal")]
pub(crate) fn run(args: &HandoffArgs) -> anyhow::Result<ExitCode> {
    let home = home::make()?;
    let trials = trials(args);
    let bar = ProgressBar::new(trials.len() as u64)
        .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}")?);
    let mut rows = Vec::new();
    for trial in trials {
        bar.set_message(trial.to_string());
        let row = trial.run(args, home.path()).with_context(|| trial.to_string())?;
        bar.inc(1);
        rows.push(row);
    }
    bar.finish_and_clear();
    print!("{}", rows::table(&rows));
    for sentence in rows::verdict(&rows) {
        println!("{sentence}");
    }
    if let Some(path) = &args.json {
        let report = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "config": {
                "pin": args.pin,
                "pace": args.pace,
                "tick_hz": args.hz(),
                "mtu": args.mtu,
                "duration_s": args.duration.as_secs_f64(),
            },
            "rows": rows,
        });
        write(path, &(serde_json::to_string_pretty(&report)? + "\n"))?;
    }
    if let Some(dir) = &args.hgrm {
        fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        for row in &rows {
            for (name, text) in row.percentile_files() {
                write(&dir.join(name), &text)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is compared stands next to each other, in time and in the table.
fn trials(args: &HandoffArgs) -> Vec<Trial> {
    let mut trials = Vec::new();
    for &concurrency in &args.concurrency {
        for &snapshot_bytes in &args.snapshot_bytes {
            let mut add = |path| trials.push(Trial { path, snapshot_bytes, concurrency });
            if !args.no_floors && concurrency == 1 {
                add(RowPath::Floor(Floor::Udp));
            }
            if !args.no_floors {
                add(RowPath::Floor(Floor::Quinn));
            }
            args.paths.iter().for_each(|&path| add(RowPath::Hop(path)));
        }
    }
    trials
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
