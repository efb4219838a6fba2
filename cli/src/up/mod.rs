//! `selvedge up`: a whole mesh of real processes on this machine, bots that play on it, and a verdict.

mod args;
mod children;
mod home;
mod live;
mod mesh;
mod play;
mod report;
mod signals;

use std::fs::{self, File};
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::Context;
use selvedge_bench::{Bots, BotsSettings, Manner, Plain};
use selvedge_client::ClientSettings;
use selvedge_protocol::grid::{Grid, GridConfig};
use tracing_subscriber::EnvFilter;

pub(crate) use args::UpArgs;
use home::Home;
use mesh::Mesh;
use play::{ENTRIES_PER_SECOND, Play};
use report::{Evidence, Report};
use signals::Signals;

use crate::out;

/// Starts, plays, judges, ends.
pub(crate) fn run(args: &UpArgs) -> anyhow::Result<ExitCode> {
    let signals = Signals::watch()?;
    let home = Home::make(args)?;
    log_to(&home, &args.log)?;
    out::say(&format!(
        "starting a coordinator and {} nodes; configuration and logs are in {}",
        args.nodes,
        home.dir().display()
    ));
    let Some(mut mesh) = Mesh::start(args, home, &signals)? else {
        out::say("interrupted before the mesh was up: everything ended, nothing to report");
        return Ok(ExitCode::SUCCESS);
    };
    out::say(&format!(
        "the mesh is up: {} cells on {} nodes, {} NPCs; selvedge status --http {}",
        args.cells[0] * args.cells[1],
        args.nodes,
        args.npcs,
        mesh.addresses.http
    ));
    let bots = Bots::start(&bots_settings(args, &mesh)?)?;
    let mut play = Play::new(args, &mut mesh, &bots, &signals);
    play.run();
    let settled = play.settle();
    let bots = bots.logout_all(if signals.asked_again() { play::IMPATIENCE } else { play::LOGOUT_PATIENCE });
    let mut errors = settled.errors;
    errors.extend(mesh.children.stop());
    let report = Report::new(Evidence {
        args,
        bots: &bots,
        nodes: settled.nodes,
        status: settled.status,
        judgement: settled.judgement,
        expected: settled.expected,
        played: settled.played,
        interrupted: signals.asked(),
        errors,
    });
    out::print(&report.table());
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&report)?;
        fs::write(path, json + "\n")
            .with_context(|| format!("cannot write the report to {}", path.display()))?;
    }
    Ok(if report.good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the bots have to say goes to a file: the terminal shows the picture.
fn log_to(home: &Home, filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("--log {filter:?} is no filter; write it like info,selvedge_node=debug"))?;
    let path = home.log("bots");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .try_init();
    Ok(())
}

fn bots_settings(args: &UpArgs, mesh: &Mesh) -> anyhow::Result<BotsSettings> {
    let [x, y] = args.cells;
    let grid =
        Grid::new(GridConfig { cell_edge_m: args.cell_edge, cells: [x, y, 1], ..GridConfig::default() })?;
    let owners = mesh.observer.cells()?.cells;
    let home = &mesh.home;
    Ok(BotsSettings {
        client: ClientSettings::new(mesh.addresses.door, home.door_name.clone(), home.ca_pem.clone()),
        players: args.players,
        tick_hz: args.tick_hz,
        plain: Plain { grid, owners },
        manner: Manner::Roam,
        speed_mps: args.speed,
        entries_per_second: ENTRIES_PER_SECOND,
        seed: args.seed,
        name: "bot".to_owned(),
    })
}
