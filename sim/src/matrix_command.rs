//! `matrix`: every message that matters, every process killed and every link cut, before and after it.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, ensure};
use selvedge_sim::matrix::{self, Case, End, Moment, Row};
use serde_json::{Value, json};

use super::{bar, show};

/// Plays the rows whose name holds the filter, and prints them.
pub(super) fn run(filter: &str, jobs: Option<usize>, json: Option<&Path>) -> anyhow::Result<ExitCode> {
    let cases: Vec<Case> =
        matrix::cases().into_iter().filter(|case| case.to_string().contains(filter)).collect();
    ensure!(!cases.is_empty(), "no row's name holds {filter:?}");
    let jobs = jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let started = Instant::now();
    let bar = bar(cases.len() as u64, "rows")?;
    let rows = matrix::play_all(&cases, jobs, &|_| bar.inc(1));
    bar.finish_and_clear();
    for row in &rows {
        show(&line(row));
    }
    let bad = rows.iter().filter(|row| !row.end.is_good()).count();
    for row in &rows {
        if let End::Broken { what, story } = &row.end {
            show(&format!("\n{}: {what}", row.case));
            story.iter().for_each(|line| show(&format!("    {line}")));
            show(&format!(
                "  reproduce: cargo run -p selvedge-sim --release -- matrix {:?}",
                row.case.to_string()
            ));
        }
    }
    let elapsed = started.elapsed();
    show(&format!("{} rows in {:.1} s, {bad} bad.", rows.len(), elapsed.as_secs_f64()));
    if let Some(path) = json {
        let value = json!({
            "elapsed_s": elapsed.as_secs_f64(),
            "bad": bad,
            "rows": rows.iter().map(row_json).collect::<Vec<_>>(),
        });
        std::fs::write(path, serde_json::to_string_pretty(&value)?)
            .with_context(|| format!("{} could not be written", path.display()))?;
    }
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

const fn moment(row: &Row) -> &'static str {
    match row.case.moment {
        Moment::Before => "before",
        Moment::After => "after",
    }
}

fn line(row: &Row) -> String {
    let head = format!("{:<17} {:<6} {:<26}", row.case.message(), moment(row), row.case.blow.name());
    match &row.end {
        End::Whole { holder, epoch, recovered, restored, inputs } => {
            let recovered = if *recovered { "recovered" } else { "-" };
            format!(
                "{head} ok   held by {holder:<7} epoch {epoch:<7} {recovered:<9} {restored:>3} restored  \
                 {inputs:>3} inputs, 0 lost, 0 doubled"
            )
        }
        End::Unreached => format!("{head} BAD  the message never came"),
        End::Broken { what, .. } => format!("{head} BAD  {what}"),
    }
}

fn row_json(row: &Row) -> Value {
    let head = json!({ "message": row.case.message(), "moment": moment(row), "harm": row.case.blow.name() });
    let end = match &row.end {
        End::Whole { holder, epoch, recovered, restored, inputs } => json!({
            "good": true, "holder": holder, "epoch": epoch, "recovered": recovered, "restored": restored,
            "inputs": inputs, "inputs_lost": 0, "inputs_doubled": 0,
        }),
        End::Unreached => json!({ "good": false, "seen": "the message never came" }),
        End::Broken { what, story } => json!({ "good": false, "seen": what, "messages": story }),
    };
    json!({ "row": head, "end": end })
}
