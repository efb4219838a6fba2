//! One binary for a whole mesh. Thin: each command calls its crate.
//!
//! | command | does |
//! | --- | --- |
//! | `up`, or none | starts a whole mesh on this machine, lets bots play, and judges |
//! | `node`, `coordinator` | one process of a mesh |
//! | `certs` | the mesh's private CA |
//! | `bench` | bots against a mesh that runs already, and what a handoff costs |
//! | `status` | what a coordinator knows |
//! | `why` | where one entity is, and what delays it |

mod certs;
mod out;
mod status;
mod up;
mod why;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use mimalloc::MiMalloc;
use selvedge_bench::app::BenchArgs;
use selvedge_coordinator::CoordinatorArgs;
use selvedge_node::config::NodeArgs;

/// Snapshots of many sizes come and go on three threads: the C library's allocator returns and faults their pages in.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[derive(Debug, Parser)]
#[command(
    name = "selvedge",
    version,
    about = "A server mesh for seamless game worlds",
    after_help = "Examples:
  selvedge                                     a whole mesh on this machine, until Ctrl-C
  selvedge up --duration 60s --json out.json   the same for a minute, with the figures as JSON
  selvedge status --http 127.0.0.1:7402        what a coordinator knows
  selvedge why bot-17                          where a player is, and what delays them"
)]
struct Line {
    /// Without a command: `up`
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a whole mesh on this machine, let bots play, and judge what they saw
    Up(Box<up::UpArgs>),
    /// Run one node, with the arena as its game
    #[command(after_help = "Examples:
  selvedge node --config node.toml
  selvedge node --cert certs/node.pem --key certs/node.key --ca certs/ca.pem \\
      --client-cert certs/players.pem --client-key certs/players.key \\
      --coordinator 10.0.0.5:7400 --bind-mesh 10.0.0.6:7410 --bind-clients 10.0.0.6:7411
  selvedge node --print-defaults > node.toml")]
    Node(Box<NodeArgs>),
    /// Run the coordinator
    #[command(after_help = "Examples:
  selvedge coordinator --config coordinator.toml
  selvedge coordinator --world aerie --cert certs/coordinator.pem --key certs/coordinator.key \\
      --ca certs/ca.pem --door-cert certs/door.pem --door-key certs/door.key --cells 4,4,1")]
    Coordinator(Box<CoordinatorArgs>),
    /// Make the mesh's private CA, and issue identities
    #[command(subcommand)]
    Certs(certs::CertsCommand),
    /// Let bots play on a mesh that runs already, or measure what a handoff costs
    #[command(after_help = "Examples:
  selvedge bench load --door 127.0.0.1:7401 --door-name server-door.aerie.selvedge --ca certs/ca.pem
  selvedge bench handoff --pin one --concurrency 1")]
    Bench(BenchArgs),
    /// Show what a coordinator knows: nodes, cells, sessions, handoffs
    Status(status::StatusArgs),
    /// Say where one entity is, what pins or delays it, and what became of it lately
    Why(why::WhyArgs),
}

fn main() -> ExitCode {
    let command = Line::parse().command.unwrap_or_else(|| Command::Up(Box::default()));
    let done = match command {
        Command::Up(args) => {
            if let Err(cause) = args.check() {
                Line::command().error(clap::error::ErrorKind::ValueValidation, cause).exit();
            }
            up::run(&args)
        }
        Command::Node(args) => selvedge_node::app::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Coordinator(args) => selvedge_coordinator::app::run(*args).map(|()| ExitCode::SUCCESS),
        Command::Certs(command) => certs::run(command).map(|()| ExitCode::SUCCESS),
        Command::Bench(args) => Ok(selvedge_bench::app::run(args)),
        Command::Status(args) => status::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Why(args) => Ok(why::run(&args)),
    };
    done.unwrap_or_else(|error| {
        out::complain(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Line::command().debug_assert();
    }

    #[test]
    fn the_defaults_without_a_command_are_those_of_up() {
        let Some(Command::Up(up)) = Line::parse_from(["selvedge", "up"]).command else { panic!("not up") };
        assert_eq!(*up, up::UpArgs::default());
    }
}
