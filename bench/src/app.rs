//! The command line: `mesh-bench` and `selvedge bench`.

use std::fs;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, Subcommand};
use selvedge_client::ClientSettings;
use selvedge_protocol::grid::{Grid, GridConfig};
use serde_json::json;
use tracing_subscriber::EnvFilter;

use crate::chaos::{self, ChaosArgs};
use crate::flood::{self, FloodArgs};
use crate::ghosts;
use crate::handoff::{self, HandoffArgs};
use crate::report::{self, ReportArgs};
use crate::transport::{self, TransportArgs};
use crate::{Bots, BotsReport, BotsSettings, BotsSnapshot, Manner, Observer, Plain, Table, milliseconds};

/// How long the bots may take to see their last inputs applied.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);
/// How long logging out may take.
const LOGOUT_PATIENCE: Duration = Duration::from_secs(30);
const PROGRESS_PERIOD: Duration = Duration::from_secs(5);
const PROGRESS_PERIOD_TERMINAL: Duration = Duration::from_secs(1);

/// Commands of the load test.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum BenchCommand {
    /// Let bots play on a mesh that runs already
    #[command(after_help = "Examples:
  mesh-bench load --door 127.0.0.1:7401 --door-name server-door.aerie.selvedge --ca certs/ca.pem
  mesh-bench load --door 10.0.0.5:7401 --door-name server-door.aerie.selvedge --ca certs/ca.pem \\
      --http 10.0.0.5:7402 --players 500 --duration 5m --json load.json")]
    Load(LoadArgs),
    /// Measure the handoff between two node processes beside raw UDP and bare quinn, or on a mesh that runs already
    #[command(after_help = "Examples:
  mesh-bench handoff --pin one --concurrency 1
  mesh-bench handoff --pin split --concurrency 64 --snapshot-bytes 4k --path warm --json handoff.json
  mesh-bench handoff --players --snapshot-bytes 4k
  mesh-bench handoff --coordinator 10.0.0.5:7402 --door 10.0.0.5:7401 \\
      --door-name server-door.aerie.selvedge --ca certs/ca.pem --concurrency 64

Placement decides the result: compare latencies with --pin one, throughput with --pin split.
Exit code 0: measured; 1: it couldn't be, or an input of a player was lost or doubled, or two nodes had a player.")]
    Handoff(Box<HandoffArgs>),
    /// Measure what ghosts cost and how true they are, between two node processes, beside naive sends and raw UDP
    #[command(after_help = "Examples:
  mesh-bench ghosts
  mesh-bench ghosts --entities 2000 --tick-hz 30 --loss 0,1,5 --json ghosts.json

Exit code 0: measured; 1: it couldn't be.")]
    Ghosts(ghosts::GhostsArgs),
    /// Measure the lanes of a link between two processes: each alone, all together, and cutover under each load
    #[command(after_help = "Examples:
  mesh-bench transport
  mesh-bench transport --pin split --lanes cutover,precopy --json transport.json --hgrm hgrm/

Placement decides the result: compare only runs with the same --pin.
Exit code 0: measured; 1: it couldn't be.")]
    Transport(TransportArgs),
    /// Show what was measured on one HTML page: plots, exact values, before and after
    #[command(after_help = "Examples:
  mesh-bench report handoff.json
  mesh-bench report before.json after.json --out compared.html --title \"64 at once, before and after\"
  mesh-bench report handoff.json transport.json up.json --out all.html

Reads what mesh-bench handoff, transport and load and selvedge up wrote with --json. Runs of one kind are compared
to the first of their kind, row by row: path, snapshot size, how many at once. The page needs no network.")]
    Report(ReportArgs),
    /// Kill, stop and cut off the processes of a mesh while bots play, and judge what became of everybody
    #[command(after_help = "Examples:
  mesh-bench chaos --duration 120s
  mesh-bench chaos --faults kill --faults-max 1 --runs 10 --json chaos.json
  mesh-bench chaos --faults kill,partition,loss --overlap --seed 7 --keep-dir /tmp/chaos

The same seed gives the same faults, not the same run.
Exit code 0: nobody and nothing was lost, doubled or in two hands. 1: something was, a recovery failed, or the run
could not be carried out. Whether recoveries were quick enough is told and doesn't count.")]
    Chaos(Box<ChaosArgs>),
    /// Attack a mesh with hostile clients and a hostile node while players watch, and say what it costs them
    #[command(after_help = "Examples:
  mesh-bench flood
  mesh-bench flood --attacks connections,players --duration 10s --json flood.json

The attackers run with the lowest priority: they stand for other machines.
Exit code 0: everybody else kept their tick and their latency within the bounds, and memory stayed bounded. 1: not, or
the run could not be carried out.")]
    Flood(FloodArgs),
    /// The attackers' process
    #[command(name = flood::CHILD_COMMAND, hide = true)]
    FloodChild {
        /// Whom to attack, as JSON
        spec: String,
    },
    /// A process of such a mesh
    #[command(name = chaos::CHILD_COMMAND, hide = true)]
    ChaosChild {
        /// What to be, as JSON
        spec: String,
    },
    /// A process of such a measurement
    #[command(name = handoff::CHILD_COMMAND, hide = true)]
    HandoffChild {
        /// What to be, as JSON
        spec: String,
    },
}

/// What bots do on a mesh that runs already.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// Address of the coordinator's door for players
    #[arg(long, value_name = "IP:PORT")]
    door: SocketAddr,
    /// TLS server name of the door, as its certificate says
    #[arg(long, value_name = "NAME")]
    door_name: String,
    /// Certificate of the world's CA (PEM)
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// The coordinator's HTTP status: with it bots know whose cells are whose, and cross borders more often
    #[arg(long, value_name = "IP:PORT")]
    http: Option<SocketAddr>,
    /// Number of players
    #[arg(long, default_value_t = 200, value_name = "N")]
    players: usize,
    /// How long they play, once all have been let in
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    duration: Duration,
    /// Inputs a second of each; the mesh's tick rate
    #[arg(long, default_value_t = 30, value_name = "HZ")]
    tick_hz: u32,
    /// Cells of the world along x and y
    #[arg(long, default_value = "4x4", value_parser = parse_cells, value_name = "XxY")]
    cells: [u32; 2],
    /// Edge of a cell in metres
    #[arg(long, default_value_t = 100.0, value_name = "METRES")]
    cell_edge: f64,
    /// How fast bots walk, in metres a second
    #[arg(long, default_value_t = 12.0, value_name = "MPS")]
    speed: f64,
    /// Players who enter a second
    #[arg(long, default_value_t = 100, value_name = "N")]
    entries: u32,
    /// Where they walk: the same seed gives the same waypoints
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// File to write the figures to, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What is logged
    #[arg(long, default_value = "warn", value_name = "FILTER")]
    log: String,
}

/// Reads `4x4`.
///
/// # Errors
/// Says how to write it.
pub fn parse_cells(text: &str) -> Result<[u32; 2], String> {
    let wrong = || format!("{text:?}: write the cells along x and y, such as 4x4");
    let (x, y) = text.split_once(['x', 'X']).ok_or_else(wrong)?;
    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|&n| n > 0).ok_or_else(wrong);
    Ok([number(x)?, number(y)?])
}

/// Runs a command. Exit code 0: nothing was lost, doubled or in two hands; 1: something was, or it could not be run.
#[must_use]
#[allow(clippy::print_stderr, reason = "the command line speaks on the terminal")]
pub fn run(args: BenchArgs) -> ExitCode {
    let done = match args.command {
        BenchCommand::Load(args) => {
            load(&args).map(|good| if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        BenchCommand::Handoff(args) => handoff::run(&args),
        BenchCommand::Ghosts(args) => ghosts::run(&args),
        BenchCommand::Transport(args) => transport::run(&args),
        BenchCommand::Report(args) => report::run(&args),
        BenchCommand::Chaos(args) => chaos::run(&args),
        BenchCommand::Flood(args) => flood::run(&args),
        BenchCommand::FloodChild { spec } => flood::run_child(&spec).map(|()| ExitCode::SUCCESS),
        BenchCommand::ChaosChild { spec } => chaos::run_child(&spec).map(|()| ExitCode::SUCCESS),
        BenchCommand::HandoffChild { spec } => handoff::run_child(&spec).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("mesh-bench: {error:#}");
        ExitCode::FAILURE
    })
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "the command line speaks on the terminal")]
fn load(args: &LoadArgs) -> anyhow::Result<bool> {
    let filter = EnvFilter::builder().parse_lossy(&args.log);
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .try_init();
    let settings = settings(args)?;
    let bots = Bots::start(&settings)?;
    let undrained = play(args, &bots);
    if let Some(undrained) = &undrained {
        eprintln!("mesh-bench: {undrained}");
    }
    let report = bots.logout_all(LOGOUT_PATIENCE);
    let good = is_good(&report, args.players);
    println!("{}", table(&report));
    println!(
        "{}",
        if good { "good: nothing lost, nothing doubled, nobody in two hands" } else { "NOT GOOD" }
    );
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&json_report(args, &report))?;
        fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(good)
}

fn settings(args: &LoadArgs) -> anyhow::Result<BotsSettings> {
    let ca_pem = fs::read_to_string(&args.ca)
        .with_context(|| format!("cannot read the CA's certificate {}", args.ca.display()))?;
    let [x, y] = args.cells;
    let grid =
        Grid::new(GridConfig { cell_edge_m: args.cell_edge, cells: [x, y, 1], ..GridConfig::default() })?;
    let owners = match args.http {
        Some(address) => Observer::new(address).cells()?.cells,
        None => Default::default(),
    };
    Ok(BotsSettings {
        client: ClientSettings::new(args.door, args.door_name.clone(), ca_pem),
        players: args.players,
        tick_hz: args.tick_hz,
        plain: Plain { grid, owners },
        manner: Manner::Roam,
        speed_mps: args.speed,
        entries_per_second: args.entries,
        seed: args.seed,
        name: format!("load-{}", uuid::Uuid::new_v4().simple()),
    })
}

/// Lets them enter, play, stand still and drain; says if not all was acknowledged.
#[allow(clippy::print_stderr, reason = "the command line speaks on the terminal")]
fn play(args: &LoadArgs, bots: &Bots) -> Option<crate::Undrained> {
    let period = if io::stderr().is_terminal() { PROGRESS_PERIOD_TERMINAL } else { PROGRESS_PERIOD };
    let entering_max = Duration::from_secs(30).max(Duration::from_secs(1) * 2 * entering_s(args));
    let (begun, mut said) = (Instant::now(), Instant::now());
    let mut since = None;
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let look = said.elapsed() >= period;
        if since.is_none() || look {
            let now = bots.snapshot();
            if since.is_none() && (now.entered == args.players || begun.elapsed() > entering_max) {
                since = Some(Instant::now());
            }
            if look {
                said = Instant::now();
                eprintln!("{}", progress(&now));
            }
        }
        if since.is_some_and(|since| since.elapsed() >= args.duration) {
            break;
        }
    }
    bots.stop_inputs();
    bots.drain(DRAIN_PATIENCE).err()
}

fn entering_s(args: &LoadArgs) -> u32 {
    u32::try_from(args.players).unwrap_or(u32::MAX) / args.entries.max(1)
}

fn progress(now: &BotsSnapshot) -> String {
    let gap = milliseconds(&now.client_gap_us);
    format!(
        "{:>5.0} s  players {}/{}  inputs {}  switches {}  gap p99 {:.1} ms  doubled {}  violations {}",
        now.elapsed.as_secs_f64(),
        now.entered,
        now.players,
        now.sent,
        now.switches,
        gap.p99,
        now.doubled,
        now.authority_violations(),
    )
}

fn is_good(report: &BotsReport, players: usize) -> bool {
    let sums = &report.sums;
    sums.entered == players
        && sums.over_unasked == 0
        && sums.lost == 0
        && sums.doubled == 0
        && sums.authority_violations() == 0
}

fn table(report: &BotsReport) -> Table {
    let sums = &report.sums;
    let gap = milliseconds(&sums.client_gap_us);
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("players entered", format!("{} of {}", sums.entered, sums.players));
    row("sessions ended unasked", sums.over_unasked.to_string());
    row("inputs sent / applied", format!("{} / {}", sums.sent, sums.applied));
    row("inputs lost / doubled", format!("{} / {}", sums.lost, sums.doubled));
    row("authority violations", sums.authority_violations().to_string());
    row("switches (prepared)", format!("{} ({})", sums.switches, sums.prepared_switches));
    row("client_gap p50 / p99 / max", format!("{:.2} / {:.2} / {:.2} ms", gap.p50, gap.p99, gap.max));
    row("states a second and player", format!("{:.1}", sums.states_per_second()));
    row("others in sight, mean", format!("{:.1}", sums.others_in_sight()));
    row("connections lost / silent", format!("{} / {}", sums.lost_connections, sums.silent));
    row("recoveries (inputs replayed)", format!("{} ({})", sums.recoveries, sums.replayed));
    table
}

fn json_report(args: &LoadArgs, report: &BotsReport) -> serde_json::Value {
    let sums = &report.sums;
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "config": {
            "players": args.players,
            "duration_s": args.duration.as_secs_f64(),
            "tick_hz": args.tick_hz,
            "seed": args.seed,
        },
        "duration_s": sums.elapsed.as_secs_f64(),
        "players": { "expected": sums.players, "entered": sums.entered, "over_unasked": sums.over_unasked },
        "inputs": {
            "sent": sums.sent,
            "applied": sums.applied,
            "lost": sums.lost,
            "doubled": sums.doubled,
            "skipped": sums.skipped,
            "not_taken": sums.not_taken,
            "replayed": sums.replayed,
            "undone": sums.undone,
        },
        "authority_violations": sums.authority_violations(),
        "switches": { "all": sums.switches, "prepared": sums.prepared_switches },
        "client_gap_ms": milliseconds(&sums.client_gap_us),
        "states": {
            "shown": sums.states,
            "reordered": sums.states_reordered,
            "per_second_and_player": sums.states_per_second(),
            "others_in_sight": sums.others_in_sight(),
        },
        "connections_lost": sums.lost_connections,
        "silent": sums.silent,
        "recoveries": sums.recoveries,
        "refused_at_door": sums.refused_at_door,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_two_numbers_above_zero() {
        assert_eq!(parse_cells("4x4"), Ok([4, 4]));
        assert_eq!(parse_cells("8 x 2"), Ok([8, 2]));
        for text in ["", "4", "x", "4x", "0x4", "4x4x4", "-1x2"] {
            assert!(parse_cells(text).is_err(), "{text}");
        }
    }
}
