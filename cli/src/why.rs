//! `selvedge why`: where one entity is, what delays it, and what became of it lately.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use selvedge_bench::{Observer, ObserverError, Table};
use selvedge_protocol::coordinator::{Answered, Asked, EpisodeKind, HistoryRow, Listed, WhyAccount};
use selvedge_protocol::id::NodeId;
use selvedge_protocol::wire::{Stay, StayStanding};

use crate::out;

/// Nobody knows the entity, or it is no more.
const UNKNOWN: u8 = 3;
/// Its node gave no answer: what is printed is what the coordinator knows.
const SILENT: u8 = 4;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  selvedge why bot-17
  selvedge why 5f0c1a52-90cb-4f0e-a6a7-0f7b3f6a4c11 --http 10.0.0.5:7402 --json

Exit code: 0 its node has answered; 3 nobody knows such an entity, or it is no more; 4 its node did not answer,
and only what the coordinator knows is shown; 1 anything else, as when no coordinator can be reached.

`selvedge status` shows the nodes; POST /census at the same address lists every entity's id.")]
pub(crate) struct WhyArgs {
    /// The entity's id, or the name of its player
    #[arg(value_name = "ENTITY")]
    whom: String,
    /// The coordinator's HTTP address
    #[arg(long, default_value = "127.0.0.1:7402", value_name = "IP:PORT")]
    http: SocketAddr,
    /// Print what is known as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &WhyArgs) -> ExitCode {
    let account = match Observer::new(args.http).why(&args.whom) {
        Ok(account) => account,
        Err(error @ ObserverError::Unknown { .. }) => {
            out::complain(&error.to_string());
            return ExitCode::from(UNKNOWN);
        }
        Err(error) => {
            out::complain(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    match serde_json::to_string_pretty(&account) {
        Ok(json) if args.json => out::print(&json),
        _ => out::print(&text(&account)),
    }
    ExitCode::from(code(&account))
}

fn code(account: &WhyAccount) -> u8 {
    match (account.stay, account.listed) {
        (Some(_), _) => 0,
        (None, Some(_)) => SILENT,
        (None, None) => UNKNOWN,
    }
}

fn text(account: &WhyAccount) -> String {
    let mut lines = vec![format!("entity {}{}", account.entity, player(account))];
    match (&account.stay, &account.asked) {
        (Some(stay), asked) => lines.extend(told(stay, asked.map(|asked| asked.node))),
        (None, Some(asked)) => lines.extend(untold(account, asked)),
        (None, None) => lines.push(nowhere(account)),
    }
    if account.stay.is_some() {
        lines.push("what delays it:".to_owned());
        lines.extend(account.delays.iter().map(|reason| format!("  - {}", reason.says)));
        if account.delays.is_empty() {
            lines.push("  - nothing".to_owned());
        }
    }
    lines.push(history(&account.history));
    lines.join("\n")
}

fn player(account: &WhyAccount) -> String {
    match (&account.name, account.session) {
        (Some(name), Some(session)) => format!(", player {name:?}, session {session}"),
        (None, Some(session)) => format!(", a player, session {session}"),
        (_, None) => String::new(),
    }
}

/// What the node that holds it said.
fn told(stay: &Stay, node: Option<NodeId>) -> Vec<String> {
    let node = node.map_or_else(|| "a node".to_owned(), |node| format!("node {node}"));
    let cell = stay.cell.map_or_else(|| "outside the world".to_owned(), |cell| format!("in cell {cell}"));
    let ([x, y, z], [vx, vy, vz]) = (stay.position_m, stay.velocity_m_per_s);
    let standing = match stay.standing {
        StayStanding::Simulated => "simulated there".to_owned(),
        StayStanding::Frozen { to, for_us } => format!("frozen towards node {to} for {}", span(for_us)),
    };
    let client = match (stay.session, stay.client) {
        (None, _) => "",
        (Some(_), true) => "; its client is connected to that node",
        (Some(_), false) => "; its client is not connected to that node",
    };
    vec![
        format!(
            "  on {node} for {}, {cell} at ({x:.2}, {y:.2}, {z:.2}) m, moving ({vx:.2}, {vy:.2}, {vz:.2}) m/s",
            span(stay.held_for_us)
        ),
        format!("  epoch {}, {standing}; last tick {}{client}", stay.epoch, stay.tick.0),
    ]
}

/// What is left if the node that should know says nothing.
fn untold(account: &WhyAccount, asked: &Asked) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(Listed { holder, epoch, told_ago_us }) = account.listed {
        let ago = span(told_ago_us);
        lines.push(format!(
            "  the coordinator was told {ago} ago that node {} holds it, epoch {epoch}",
            holder.node
        ));
    }
    let heard = span(asked.last_heard_us);
    lines.push(match asked.answer {
        Answered::NotHere => {
            format!("  node {} says that it doesn't hold it: it is on its way, ask again", asked.node)
        }
        Answered::Told | Answered::Silent if !asked.linked || !asked.alive => {
            let alive = if asked.alive { "" } else { " and its life counts as over" };
            format!(
                "  node {} can't be asked: there is no link to it{alive}; it was heard {heard} ago",
                asked.node
            )
        }
        Answered::Told | Answered::Silent => {
            format!("  node {} did not answer in time; it was heard {heard} ago", asked.node)
        }
    });
    lines
}

fn nowhere(account: &WhyAccount) -> String {
    match account.ended {
        Some(end) => format!("  it is no more: node {} ended it, epoch {}", end.by, end.epoch),
        None if account.directory_whole => "  no node holds it any more".to_owned(),
        None => "  no node has told of it since the coordinator started, and some have not said yet what they hold: ask again".to_owned(),
    }
}

fn history(rows: &[HistoryRow]) -> String {
    if rows.is_empty() {
        return "the coordinator remembers nothing that became of it since it started".to_owned();
    }
    let mut table = Table::new([
        "what became of it",
        "ago",
        "epoch",
        "from",
        "to",
        "path",
        "prepare",
        "answer",
        "precopy",
        "cutover",
        "missed ticks",
    ]);
    let none = || "-".to_owned();
    let node = |node: Option<NodeId>| node.map_or_else(none, |node| node.to_string());
    for HistoryRow { episode, missed_ticks, ago_us } in rows {
        let phase = |phase: Option<u64>| phase.map_or_else(none, milliseconds);
        let phases = episode.phases;
        table.row([
            kind(episode.kind).to_owned(),
            ago_us.map_or_else(none, span),
            episode.epoch.to_string(),
            node(episode.from),
            node(episode.to),
            phases.map_or_else(none, |phases| if phases.warm { "warm" } else { "cold" }.to_owned()),
            phase(phases.map(|phases| phases.prepare_us)),
            phase(phases.map(|phases| phases.answer_us)),
            phase(phases.and_then(|phases| phases.precopy_us)),
            phase(phases.map(|phases| phases.cutover_us)),
            missed_ticks.map_or_else(none, |ticks| ticks.to_string()),
        ]);
    }
    table.to_string().trim_end().to_owned()
}

const fn kind(kind: EpisodeKind) -> &'static str {
    match kind {
        EpisodeKind::Spawned => "spawned",
        EpisodeKind::Handoff => "handoff",
        EpisodeKind::Aborted => "handoff aborted",
        EpisodeKind::Recovered => "recovered",
        EpisodeKind::Despawned => "despawned",
    }
}

fn milliseconds(us: u64) -> String {
    format!("{:.2} ms", Duration::from_micros(us).as_secs_f64() * 1e3)
}

fn span(us: u64) -> String {
    let time = Duration::from_micros(us);
    if time < Duration::from_secs(1) {
        return format!("{} ms", time.as_millis());
    }
    if time < Duration::from_secs(600) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min", time.as_secs() / 60)
    }
}
