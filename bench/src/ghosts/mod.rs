//! Ghosts between two node processes: how many bytes and how much CPU time they take, how stale they are and how far off,
//! without loss and with it; beside naive sends and bare UDP in the same run.
//!
//! One node simulates a crowd along the border, the others are shown it; a proxy between them loses what it is told to. The
//! same nodes with the crowd out of sight say what there is to be subtracted: the game's own cost in the core, leases,
//! heartbeats.

mod floor;
mod node;
mod run;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use crate::handoff::home;
use crate::table::Table;

pub(crate) use node::{GhostNodeSpec, run as run_node};
use run::{Measured, Trial};

/// What the figures should be at most, by what the mesh promises for 2,000 entities at 30 Hz.
const BARS: &str = "promised: 12 bytes and an eighth of naive sends; 0.6 and 0.4 CPU seconds a million; error p99 0.05 m near, \
                    0.5 m far; staleness p99 2 ticks, 4 at 5 % loss";

/// What is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct GhostsArgs {
    /// Entities that one node shows to the other
    #[arg(long, default_value_t = 2_000, value_name = "N")]
    entities: usize,
    /// Nodes that they are shown to; with more than one the crowd stands in a corner
    #[arg(long, default_value_t = 1, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=3), value_name = "N")]
    neighbours: usize,
    /// Ticks a second
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(5..=120), value_name = "HZ")]
    tick_hz: u32,
    /// How long each row is measured
    #[arg(long, default_value = "6s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    duration: Duration,
    /// How long it runs before that
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    warm_up: Duration,
    /// Shares of datagrams that get lost, in percent
    #[arg(long, default_value = "0,1,5", value_delimiter = ',', value_name = "PERCENT")]
    loss: Vec<f64>,
    /// Largest UDP payload
    #[arg(long, default_value_t = 1_452, value_name = "BYTES")]
    mtu: u16,
    /// File to write the figures to, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What the nodes log
    #[arg(long, default_value = "error", value_name = "FILTER")]
    log: String,
}

impl GhostsArgs {
    fn tick(&self) -> Duration {
        Duration::from_secs(1) / self.tick_hz
    }
}

/// Measures, prints the table, writes the file.
///
/// # Errors
/// If a process can't be started, doesn't answer, or nothing is shown.
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "the command line speaks on the terminal")]
pub(crate) fn run(args: &GhostsArgs) -> anyhow::Result<ExitCode> {
    let home = home::make()?;
    let trial = |loss: f64, near: bool| Trial { args, dir: home.path(), loss, near }.run();
    eprintln!("the nodes with the crowd out of sight");
    let idle = trial(0.0, false)?;
    let mut rows = Vec::new();
    for &percent in &args.loss {
        eprintln!("ghosts, {percent} % loss");
        rows.push((percent, trial(percent / 100.0, true)?.less(&idle)));
    }
    let best = rows.first().context("nothing to measure: name a share of loss")?.1.clone();
    eprintln!("naive sends and bare UDP");
    let (tick, lasts) = (args.tick(), args.duration);
    let naive = floor::naive(home.path(), args.mtu, args.entities, tick, lasts)?;
    let ticks = lasts.as_secs_f64() * f64::from(args.tick_hz);
    let entity_ticks = ticks * as_f64(args.entities as u64);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes of a tick")]
    let per_tick = (best.bytes_per_entity_tick() * as_f64(args.entities as u64)) as usize;
    let udp = floor::udp(per_tick, tick, lasts)?;
    let naive = Compared::new(&naive, entity_ticks);
    let udp = Compared::new(&udp, entity_ticks);
    print!("{}", table(&rows, &naive, &udp));
    println!("{BARS}");
    if let Some(file) = &args.json {
        let value = as_json(args, &rows, &naive, &udp);
        std::fs::write(file, serde_json::to_string_pretty(&value)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What something that ghosts are compared to took.
#[derive(Debug, Clone, Copy)]
struct Compared {
    bytes: f64,
    send: f64,
    receive: f64,
    arrived: f64,
}

impl Compared {
    fn new(cost: &floor::Cost, entity_ticks: f64) -> Self {
        let millions = entity_ticks / 1e6;
        Self {
            bytes: as_f64(cost.bytes) / entity_ticks,
            send: cost.send_s / millions,
            receive: cost.receive_s / millions,
            arrived: cost.arrived,
        }
    }

    fn as_json(&self) -> Value {
        json!({
            "bytes_per_entity_tick": self.bytes,
            "cpu_s_per_million": { "send": self.send, "receive": self.receive },
            "arrived_share": self.arrived,
        })
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of a short run")]
const fn as_f64(count: u64) -> f64 {
    count as f64
}

fn table(rows: &[(f64, Measured)], naive: &Compared, udp: &Compared) -> Table {
    let mut table = Table::plain();
    let head = [
        "",
        "bytes / entity-tick",
        "CPU s / million: send, receive",
        "error p50 / p99 near, m",
        "far, m",
        "staleness p50 / p99, ticks",
        "of naive",
    ];
    table.row(head.map(str::to_owned));
    for (percent, row) in rows {
        let pair = |[p50, p99]: [f64; 2]| format!("{p50:.3} / {p99:.3}");
        let [p50, p99] = row.staleness();
        table.row([
            format!("ghosts, {percent} % loss"),
            format!("{:.2}", row.bytes_per_entity_tick()),
            format!("{:.3}, {:.3}", row.cpu_per_million().0, row.cpu_per_million().1),
            pair(row.near()),
            pair(row.far()),
            format!("{p50:.0} / {p99:.0}"),
            format!("1/{:.1}", naive.bytes / row.bytes_per_entity_tick()),
        ]);
    }
    for (name, way) in [("naive, 100-byte records", naive), ("bare UDP, the ghosts' bytes", udp)] {
        table.row([
            name.to_owned(),
            format!("{:.2}", way.bytes),
            format!("{:.3}, {:.3}", way.send, way.receive),
            String::new(),
            String::new(),
            String::new(),
            String::new(),
        ]);
    }
    table
}

fn as_json(args: &GhostsArgs, rows: &[(f64, Measured)], naive: &Compared, udp: &Compared) -> Value {
    let row = |measured: &Measured| {
        let (send, receive) = measured.cpu_per_million();
        let pair = |[p50, p99]: [f64; 2]| json!({ "p50": p50, "p99": p99 });
        json!({
            "bytes_per_entity_tick": measured.bytes_per_entity_tick(),
            "bytes_vs_naive": measured.bytes_per_entity_tick() / naive.bytes,
            "cpu_s_per_million": { "send": send, "receive": receive },
            "ghost_error_m": { "near": pair(measured.near()), "far": pair(measured.far()) },
            "ghost_staleness_ticks": pair(measured.staleness()),
            "updates_per_s": measured.updates_per_s(),
            "shown": measured.shown,
        })
    };
    let mut value = json!({
        "kind": "ghosts",
        "entities": args.entities,
        "neighbours": args.neighbours,
        "tick_hz": args.tick_hz,
        "display_lag_ticks": selvedge_protocol::ghost::TableSettings::default().display_lag_ticks,
        "naive": naive.as_json(),
        "udp": udp.as_json(),
        "cpu": crate::handoff::cpu::model(),
    });
    for (percent, measured) in rows {
        let figures = row(measured);
        let Some(all) = value.as_object_mut() else { continue };
        if *percent == 0.0 {
            let figures = figures.as_object().cloned().unwrap_or_default();
            all.extend(figures);
        } else {
            all.insert(format!("loss_{percent}"), figures);
        }
    }
    value
}
