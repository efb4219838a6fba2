//! `selvedge status`: what a coordinator knows, as a table or as its own JSON.

use std::net::SocketAddr;

use clap::Args;
use selvedge_bench::{Observer, Table, milliseconds};
use selvedge_protocol::coordinator::CoordinatorStatus;

use crate::out;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  selvedge status
  selvedge status --http 10.0.0.5:7402 --json")]
pub(crate) struct StatusArgs {
    /// The coordinator's HTTP address
    #[arg(long, default_value = "127.0.0.1:7402", value_name = "IP:PORT")]
    http: SocketAddr,
    /// Print the status as the coordinator writes it
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<()> {
    let observer = Observer::new(args.http);
    if args.json {
        out::print(&serde_json::to_string_pretty(&observer.status_json()?)?);
        return Ok(());
    }
    let status = observer.status()?;
    out::print(&nodes(&status).to_string());
    out::print(&summary(&status));
    let report = observer.report()?;
    let counted = &report.counters;
    let cutover = milliseconds(&report.histograms.cutover_us.decode()?);
    out::print(&format!(
        "handoffs: {} done ({} of players; {} warm, {} cold), cutover p50 {:.2} ms, p99 {:.2} ms",
        counted.handoffs_in,
        counted.handoffs_in_players,
        counted.handoffs_out_warm,
        counted.handoffs_out_cold,
        cutover.p50,
        cutover.p99,
    ));
    Ok(())
}

fn nodes(status: &CoordinatorStatus) -> Table {
    let mut table = Table::new([
        "node",
        "alive",
        "cells",
        "players",
        "entities",
        "ghosts",
        "clients",
        "handoffs in",
        "mesh",
    ]);
    for node in &status.nodes {
        table.row([
            node.node.to_string(),
            if node.alive { "yes" } else { "NO" }.to_owned(),
            node.cells.to_string(),
            node.players.to_string(),
            node.entities.to_string(),
            node.ghosts.to_string(),
            node.clients.to_string(),
            node.handoffs_in.to_string(),
            node.mesh_addr.clone(),
        ]);
    }
    table
}

fn summary(status: &CoordinatorStatus) -> String {
    format!(
        "{} cells ({} without owner), map version {}; {} sessions, {} entities known; prepares: {} notified, {} \
         refused; authority violations: {}",
        status.cells,
        status.cells_without_owner,
        status.map_version,
        status.sessions,
        status.entities,
        status.prepares_notified,
        status.prepares_refused,
        status.authority_violations,
    )
}
