//! Handoff latency between two node processes, beside raw UDP and bare quinn in the same run; or on a mesh that runs
//! already.
//!
//! For each row a mesh of its own is started: a coordinator and two nodes, this program again each. Entities, or players
//! with their clients, hop from one node to the other as soon as they may; the nodes' own reports, taken before and
//! after, say what it cost. With `--coordinator` bots do so by walking, on somebody else's mesh.

mod args;
pub(crate) mod child;
pub(crate) mod cpu;
pub(crate) mod difference;
mod elsewhere;
mod floor;
pub(crate) mod home;
pub(crate) mod kin;
mod players;
mod restless;
pub(crate) mod rows;
pub(crate) mod spec;
mod trial;
mod words;
pub(crate) mod world;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use args::{Entities, HopPath};
pub(crate) use args::{HandoffArgs, Pin, parse_period};
pub(crate) use child::run as run_child;
pub(crate) use kin::CHILD_COMMAND;
use rows::{Row, RowPath, Seen};
use spec::Floor;
use trial::Trial;

/// What a row takes beside warm-up and measurement: processes start, register and end.
const START: Duration = Duration::from_millis(700);

/// What was measured, before it is shown.
#[derive(Debug, Default)]
struct Outcome {
    rows: Vec<Row>,
    /// On a mesh that runs already: what isn't measured apart for each path.
    runs: Value,
    notes: Vec<String>,
    doubts: Vec<String>,
}

/// Measures every row, prints the tables and a verdict. Exit code 1: an input of a player was lost or doubled, or two
/// nodes had one of them.
///
/// # Errors
/// If a process can't be started, doesn't answer, or nothing is handed off.
#[allow(clippy::print_stdout, reason = "the command line speaks on the terminal")]
pub(crate) fn run(args: &HandoffArgs) -> anyhow::Result<ExitCode> {
    let mut players = Vec::new();
    let outcome = match args.elsewhere.coordinator {
        None => here(args)?,
        Some(coordinator) => {
            let bar = bar(args.concurrency.len())?;
            let runs = elsewhere::run(args, coordinator, &bar)?;
            bar.finish_and_clear();
            let mut outcome =
                Outcome { runs: runs.iter().map(elsewhere::Run::as_json).collect(), ..Outcome::default() };
            for run in runs {
                outcome.notes.push(run.summary());
                outcome.doubts.extend(run.doubts.iter().map(|doubt| format!("doubtful: {doubt}")));
                outcome.rows.extend(run.rows);
                players.push(run.seen);
            }
            outcome.notes.push(
                "no floors: raw UDP and quinn here would say nothing of the machines over there".to_owned(),
            );
            outcome
        }
    };
    let seen: Vec<&Seen> =
        players.iter().chain(outcome.rows.iter().filter_map(|row| row.players.as_ref())).collect();
    print!("{}", words::table(&outcome.rows));
    if let Some(phases) = words::phases(&outcome.rows) {
        print!("\n{phases}\n");
    }
    let verdict = words::verdict(&outcome.rows).into_iter().chain(words::verdict_of_players(&seen));
    let doubts = words::doubts(&outcome.rows).into_iter().chain(outcome.doubts.iter().cloned());
    for sentence in outcome.notes.iter().cloned().chain(verdict).chain(doubts) {
        println!("{sentence}");
    }
    write_files(args, &outcome)?;
    Ok(if seen.iter().all(|seen| seen.is_good()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Between processes of its own.
#[allow(clippy::print_stderr, reason = "the command line speaks on the terminal")]
fn here(args: &HandoffArgs) -> anyhow::Result<Outcome> {
    let home = home::make()?;
    let (trials, turns) = (trials(args), usize::from(args.turns));
    let each = args.duration() + (args.warm_up + START) * u32::from(args.turns);
    eprintln!("{}", words::estimate(trials.len(), each));
    let bar = bar(trials.len() * turns)?;
    let mut rows: Vec<Row> = Vec::new();
    for turn in 0..turns {
        for (index, trial) in trials.iter().enumerate() {
            bar.set_message(trial.to_string());
            let part = trial.run(args, home.path()).with_context(|| format!("{trial}, turn {}", turn + 1))?;
            match rows.get_mut(index) {
                Some(row) => row.add(part)?,
                None => rows.push(part),
            }
            bar.inc(1);
        }
    }
    for (trial, row) in trials.iter().zip(&rows) {
        trial.check(row).with_context(|| trial.to_string())?;
    }
    bar.finish_and_clear();
    Ok(Outcome { rows, ..Outcome::default() })
}

fn bar(length: usize) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {elapsed}  {msg}")?;
    let bar = ProgressBar::new(length as u64).with_style(style);
    bar.enable_steady_tick(Duration::from_secs(1));
    Ok(bar)
}

fn write_files(args: &HandoffArgs, outcome: &Outcome) -> anyhow::Result<()> {
    if let Some(path) = &args.json {
        write(path, &(serde_json::to_string_pretty(&json_report(args, outcome))? + "\n"))?;
    }
    let Some(dir) = &args.hgrm else { return Ok(()) };
    fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    for row in &outcome.rows {
        for (name, text) in row.percentile_files() {
            write(&dir.join(name), &text)?;
        }
    }
    Ok(())
}

fn json_report(args: &HandoffArgs, outcome: &Outcome) -> Value {
    let (duration_s, warm_up_s) = (args.duration().as_secs_f64(), args.warm_up.as_secs_f64());
    let config = match args.elsewhere.coordinator {
        Some(coordinator) => json!({
            "coordinator": coordinator,
            "entities": "players",
            "concurrency": args.concurrency,
            "duration_s": duration_s,
            "warm_up_s": warm_up_s,
        }),
        None => json!({
            "coordinator": null,
            "entities": args.entities(),
            "snapshot_bytes": args.snapshot_bytes,
            "concurrency": args.concurrency,
            "paths": args.paths,
            "pin": args.pin,
            "pace": args.pace(),
            "tick_hz": args.hz(),
            "dwell_s": args.concurrency.iter().map(|&n| args.dwell(n).as_secs_f64()).collect::<Vec<_>>(),
            "mtu": args.mtu,
            "restless": args.restless,
            "restless_every_s": args.restless_every.as_secs_f64(),
            "turns": args.turns,
            "duration_s": duration_s,
            "warm_up_s": warm_up_s,
        }),
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "machine": {
            "cores": std::thread::available_parallelism().map_or(1, usize::from),
            "os": std::env::consts::OS,
            "arch": std::env::consts::ARCH,
            "cpu": cpu::model(),
        },
        "config": config,
        "rows": outcome.rows.iter().filter(|row| row.dwell.is_none()).collect::<Vec<_>>(),
        "seldom": outcome.rows.iter().find(|row| row.dwell.is_some()),
        "beside_restless": restless::compare(&outcome.rows),
        "runs": outcome.runs,
        "doubts": words::doubts(&outcome.rows).into_iter().chain(outcome.doubts.iter().cloned()).collect::<Vec<_>>(),
    })
}

/// What is compared stands next to each other, in time and in the table.
fn trials(args: &HandoffArgs) -> Vec<Trial> {
    let mut trials = Vec::new();
    for &concurrency in &args.concurrency {
        for &snapshot_bytes in &args.snapshot_bytes {
            let trial = |path, restless| Trial { path, snapshot_bytes, concurrency, restless, dwell: None };
            if !args.no_floors {
                trials.push(trial(RowPath::Floor(Floor::Udp), 0));
                trials.push(trial(RowPath::Floor(Floor::Quinn), 0));
            }
            for &path in &args.paths {
                trials.push(trial(RowPath::Hop(path), 0));
                if args.restless > 0 {
                    trials.push(trial(RowPath::Hop(path), args.restless.into()));
                }
                if (path, snapshot_bytes, concurrency) == (HopPath::Warm, words::HEAVY_BYTES, 1) {
                    trials.extend(seldom(args));
                }
            }
        }
    }
    trials
}

/// The light snapshot at the pace of the heavy one, where both are measured and nothing else sets their pace.
fn seldom(args: &HandoffArgs) -> Option<Trial> {
    let paced = args.dwell.is_some() || args.entities() == Entities::Players || args.restless > 0;
    let both = [words::LIGHT_BYTES, words::HEAVY_BYTES].iter().all(|size| args.snapshot_bytes.contains(size));
    (both && !paced).then_some(())?;
    Some(Trial {
        path: RowPath::Hop(HopPath::Warm),
        snapshot_bytes: words::LIGHT_BYTES,
        concurrency: 1,
        restless: 0,
        dwell: Some(args.copying(words::HEAVY_BYTES - words::LIGHT_BYTES)?),
    })
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
