//! What each lane of a link costs, between two processes with real certificates over loopback.
//!
//! Each lane alone, then all together, then a paced cutover on a quiet link and under each load, in turns. All on one
//! link, so that what is compared has the same path and the same congestion window.
//!
//! Deliberately absent: handoffs of real nodes, which `bench handoff` measures.

mod answer;
mod ask;
mod pace;
mod rows;
mod spec;
mod verdict;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::handoff::kin::Kin;
use crate::handoff::spec::{Opened, Spec};
use crate::handoff::{Pin, home, parse_period};
use rows::Row;
pub(crate) use spec::LanesSpec;
use spec::{LanesAsk, Seen, Stretch, Via};

const PATIENCE: Duration = Duration::from_secs(60);
/// A paced cutover each so often.
const EVERY: Duration = Duration::from_millis(2);
const IN_FLIGHT: usize = 32;
/// Nanoseconds in a microsecond.
const NS: f64 = 1000.0;

/// From the dial to `Up`, in nanoseconds.
struct SetUps {
    cold: Histogram<u64>,
    resumed: Histogram<u64>,
}

/// How the lanes are measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct TransportArgs {
    /// Lanes that are measured alone and together; the cutover under load is always measured
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LANES",
        default_values_t = Via::ALL)]
    lanes: Vec<Via>,
    /// Length of each measurement
    #[arg(long, default_value = "2s", value_parser = parse_period, value_name = "DURATION")]
    duration: Duration,
    /// Time before each measurement
    #[arg(long, default_value = "300ms", value_parser = humantime::parse_duration, value_name = "DURATION")]
    warm_up: Duration,
    /// Turns of the cutover on the quiet link and under each load, each half as long as the other measurements: more of
    /// them tell a load from what else the machine does
    #[arg(long, default_value_t = 8, value_parser = parse_turns, value_name = "N")]
    turns: usize,
    /// Where the two processes run
    #[arg(long, value_enum, default_value = "split")]
    pin: Pin,
    /// Largest UDP payload of the links: 6500 is what they find between processes of one machine, 1452 fits Ethernet
    #[arg(long, default_value_t = 6500, value_parser = clap::value_parser!(u16).range(1200..=9000), value_name = "BYTES")]
    mtu: u16,
    /// Megabytes of bulk that a link sends a second; 0: as fast as it goes [default: as the product]
    #[arg(long, value_name = "MB")]
    bulk_mb_per_s: Option<u32>,
    /// Megabytes of datagrams that a link sends a second; 0: as fast as it goes [default: as the product]
    #[arg(long, value_name = "MB")]
    datagram_mb_per_s: Option<u32>,
    /// Links that are set up and closed, one after the other
    #[arg(long, default_value_t = 50, value_name = "N")]
    set_ups: usize,
    /// File to write the figures to, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Folder for percentile files
    #[arg(long, value_name = "DIR")]
    hgrm: Option<PathBuf>,
}

/// Is one of the two processes.
///
/// # Errors
/// If the link ends or an end of it can't be opened.
pub(crate) fn run_child(spec: &LanesSpec) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match &spec.ask {
            None => answer::answer(spec).await,
            Some(ask) => ask::ask(spec, ask).await,
        }
    })
}

/// Measures, and prints the table and a verdict. Exit code 1: something has no figures.
///
/// # Errors
/// If a process can't be started or the link ends.
#[allow(clippy::print_stdout, reason = "the command line speaks on the terminal")]
pub(crate) fn run(args: &TransportArgs) -> anyhow::Result<ExitCode> {
    let home = home::make()?;
    let [answering, asking] = args.pin.sides();
    let spec = |core, resume, ask| {
        Spec::Lanes(LanesSpec {
            dir: home.path().to_owned(),
            core,
            mtu: args.mtu,
            bulk_mb_per_s: args.bulk_mb_per_s,
            datagram_mb_per_s: args.datagram_mb_per_s,
            resume,
            ask,
        })
    };
    let pair = |resume, stretches: &[Stretch]| -> anyhow::Result<[Kin; 2]> {
        let answerer = Kin::start("the answering process", &spec(answering, resume, None))?;
        let Opened { address } = answerer.hear(PATIENCE)?;
        let ask = LanesAsk {
            address,
            set_ups: args.set_ups,
            warm_up: args.warm_up,
            duration: args.duration,
            stretches: stretches.to_vec(),
        };
        let asker = Kin::start("the asking process", &spec(asking, resume, Some(ask)))?;
        Ok([answerer, asker])
    };
    let resumed = {
        let [_answerer, asker] = pair(true, &[])?;
        asker.hear::<Seen>(PATIENCE)?.rtt_ns.decode()?
    };
    let stretches = stretches(&args.lanes, args.turns);
    let [_answerer, asker] = pair(false, &stretches)?;
    let patience = PATIENCE + args.duration * 4 + args.warm_up;
    let bar = ProgressBar::new(stretches.len() as u64)
        .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len}  {elapsed}  {msg}")?);
    let set_ups = SetUps { cold: asker.hear::<Seen>(patience)?.rtt_ns.decode()?, resumed };
    let mut rows: Vec<Row> = Vec::new();
    for stretch in stretches {
        bar.set_message(format!("{} {}", stretch.part, stretch.via.name()));
        let seen = asker.hear(patience)?;
        bar.inc(1);
        match rows.iter_mut().find(|row| row.stretch == stretch) {
            Some(row) => row.add(&seen)?,
            None => rows.push(Row::new(stretch, &seen)?),
        }
    }
    bar.finish_and_clear();
    let doubts = verdict::doubts(&rows);
    print!("{}", rows::table(&rows));
    for sentence in verdict::sentences(&rows, &set_ups).iter().chain(&doubts) {
        println!("{sentence}");
    }
    if let Some(path) = &args.json {
        let report = report(args, &set_ups, &rows, &doubts);
        fs::write(path, serde_json::to_string_pretty(&report)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(dir) = &args.hgrm {
        rows::write_percentiles(&rows, dir)?;
    }
    Ok(if rows.iter().any(Row::is_empty) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn report(args: &TransportArgs, set_ups: &SetUps, rows: &[Row], doubts: &[String]) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "config": { "pin": args.pin, "mtu": args.mtu, "bulk_mb_per_s": args.bulk_mb_per_s, "datagram_mb_per_s": args.datagram_mb_per_s, "turns": args.turns, "lanes": args.lanes,
            "duration_s": args.duration.as_secs_f64(), "warm_up_s": args.warm_up.as_secs_f64() },
        "set_up_us": { "cold": crate::figures(&set_ups.cold, NS), "resumed": crate::figures(&set_ups.resumed, NS) },
        "rows": rows.iter().map(Row::as_json).collect::<Vec<_>>(),
        "cutover_p99_ratios": verdict::judge(rows)
            .into_iter()
            .map(|judged| (judged.load, judged.p99_ratio))
            .collect::<BTreeMap<_, _>>(),
        "cutover_under_load": verdict::judge(rows),
        "doubts": doubts,
    })
}

fn parse_turns(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(turns @ 1..=1_000) => Ok(turns),
        Ok(_) | Err(_) => Err(format!("{text} is no number of turns: choose 1 to 1000")),
    }
}

/// What is measured, in order.
fn stretches(lanes: &[Via], turns: usize) -> Vec<Stretch> {
    let mut all = Vec::new();
    for &via in lanes {
        for in_flight in [1, IN_FLIGHT] {
            let (part, load_name) = ("alone".to_owned(), "quiet".to_owned());
            all.push(Stretch { part, load_name, via, in_flight, every: None, loads: Vec::new() });
        }
    }
    for &via in lanes {
        let loads: Vec<_> = lanes.iter().copied().filter(|&other| other != via).collect();
        let (part, load_name) = ("together".to_owned(), "others".to_owned());
        all.push(Stretch { part, load_name, via, in_flight: 1, every: None, loads });
    }
    let loads: [(&str, &[Via]); 5] = [
        ("quiet", &[]),
        ("precopy", &[Via::Precopy]),
        ("checkpoint", &[Via::Checkpoint]),
        ("datagram", &[Via::Datagram]),
        ("all", &[Via::Precopy, Via::Checkpoint, Via::Datagram]),
    ];
    for _ in 0..turns {
        all.extend(loads.map(|(load_name, loads)| Stretch {
            part: "paced".to_owned(),
            load_name: load_name.to_owned(),
            via: Via::Cutover,
            in_flight: 0,
            every: Some(EVERY),
            loads: loads.to_vec(),
        }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_load_has_its_turns_beside_a_quiet_link() {
        let all = stretches(&[Via::Action], 8);
        assert_eq!(all.len(), 3 + 5 * 8);
        let quiet = all.iter().filter(|stretch| stretch.part == "paced" && stretch.loads.is_empty());
        assert_eq!(quiet.count(), 8);
    }
}
