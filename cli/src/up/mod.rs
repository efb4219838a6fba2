//! `selvedge up`: a whole mesh of real processes on this machine, bots that play on it, and a verdict.

mod args;
mod live;
mod mesh;
mod play;
mod report;
mod words;

use std::fs;
use std::process::ExitCode;

use anyhow::Context;
use selvedge_bench::Bots;
use selvedge_bench::local::{Folder, Signals, log_to};

pub(crate) use args::UpArgs;
use mesh::Mesh;
use play::Play;
use report::{Evidence, Report};

use crate::out;

/// The world's name.
const WORLD: &str = "up";

/// Starts, plays, judges, ends.
pub(crate) fn run(args: &UpArgs) -> anyhow::Result<ExitCode> {
    let signals = Signals::watch()?;
    let local = &args.local;
    let folder = Folder::make(WORLD, local.nodes, local.keep_dir.as_deref())?;
    log_to(&folder.log("bots"), &local.log)?;
    out::say(&format!(
        "starting a coordinator and {} nodes; configuration and logs are in {}",
        local.nodes,
        folder.dir().display()
    ));
    let Some(mut mesh) = Mesh::start(args, folder, &signals)? else {
        out::say("interrupted before the mesh was up: everything ended, nothing to report");
        return Ok(ExitCode::SUCCESS);
    };
    out::say(&format!(
        "the mesh is up: {} cells on {} nodes, {} NPCs; selvedge status --http {}",
        local.cells[0] * local.cells[1],
        local.nodes,
        local.npcs,
        mesh.addresses.http
    ));
    let flags = mesh.folder.measure_flags(local, mesh.addresses.http, mesh.addresses.door);
    out::say(&format!("its handoffs are measured by: selvedge bench handoff {flags}"));
    let bots = Bots::start(&mesh.folder.bots(local, args.seed, mesh.addresses.door, mesh.observer)?)?;
    let mut play = Play::new(args, &mut mesh, &bots, &signals);
    play.run();
    let settled = play.settle();
    let bots = bots.logout_all(if signals.asked_again() { play::IMPATIENCE } else { play::LOGOUT_PATIENCE });
    let mut errors = settled.errors;
    errors.extend(mesh.processes.stop());
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
    if let Some(path) = &local.json {
        let json = serde_json::to_string_pretty(&report)?;
        fs::write(path, json + "\n")
            .with_context(|| format!("cannot write the report to {}", path.display()))?;
    }
    Ok(if report.good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
