//! The checks of this workspace: one read-only gate for a laptop and for CI.
//!
//! `cargo xtask ci` runs everything; `cargo xtask fix` is the only one that writes.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks on the terminal")]

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

/// Packages that must not stand in the core's dependency tree: they do I/O or own time.
const IMPURE: [&str; 10] =
    ["tokio", "quinn", "quinn-proto", "mio", "socket2", "rustls", "getrandom", "axum", "async-std", "hyper"];
/// Seeds that CI replays.
const CI_SEEDS: &str = "300";
/// Seeds of which each brings every kind of fault: within two minutes on two cores.
const CI_FAULT_SEEDS: &str = "400";
/// Source files longer than this hold two ideas.
const FILE_LINES_MAX: usize = 500;

#[derive(Parser)]
#[command(about = "The checks of this workspace", arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand, Clone, Copy)]
enum Task {
    /// Run every check; changes nothing.
    Ci,
    /// Format, and apply what clippy can fix by itself.
    Fix,
    /// Check that the core has no I/O in its dependency tree.
    Purity,
}

fn main() -> ExitCode {
    match run(Args::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Ci => ci(),
        Task::Fix => fix(),
        Task::Purity => purity(),
    }
}

fn ci() -> Result<()> {
    let begun = Instant::now();
    step("format", || cargo(&["fmt", "--all", "--check"]))?;
    step("purity of the core", purity)?;
    step("file lengths", file_lengths)?;
    step("clippy", || cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // The README's own test command; doc tests are part of it.
    step("tests", || cargo(&["test", "--workspace"]))?;
    // Without cargo's bench mode each runs once and measures nothing.
    step("benches, once each", || cargo(&["test", "-p", "selvedge-bench", "--benches"]))?;
    step("rustdoc", || {
        let mut command = Command::new(env!("CARGO"));
        command.args(["doc", "--workspace", "--no-deps", "--document-private-items"]);
        command.env("RUSTDOCFLAGS", "-D warnings");
        check(&mut command)
    })?;
    let simulate = ["run", "-p", "selvedge-sim", "--release", "--"];
    step("simulator", || cargo(&[&simulate[..], &["--seeds", CI_SEEDS]].concat()))?;
    step("simulator with every fault", || {
        cargo(&[&simulate[..], &["--profile", "faults", "--seeds", CI_FAULT_SEEDS]].concat())
    })?;
    println!("xtask: all checks passed in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}

fn fix() -> Result<()> {
    cargo(&["clippy", "--workspace", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"])?;
    cargo(&["fmt", "--all"])
}

/// The core must build without anything that does I/O: a bug that needs sockets to show is in the wrong place.
fn purity() -> Result<()> {
    let args =
        ["tree", "-p", "selvedge-protocol", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let output = Command::new(env!("CARGO")).args(args).output().context("cargo tree could not be run")?;
    if !output.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let tree = String::from_utf8_lossy(&output.stdout);
    let impure: Vec<&str> = tree
        .lines()
        .filter(|line| line.split(' ').next().is_some_and(|name| IMPURE.contains(&name)))
        .collect();
    if impure.is_empty() {
        return Ok(());
    }
    bail!("the core depends on what does I/O: {}; move that to another crate", impure.join(", "))
}

fn file_lengths() -> Result<()> {
    let output = Command::new("git").args(["ls-files", "*.rs"]).output().context("git could not be run")?;
    let mut long = Vec::new();
    for file in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(text) = std::fs::read_to_string(file) else {
            continue;
        };
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            long.push(format!("{file} ({lines} lines)"));
        }
    }
    if long.is_empty() {
        return Ok(());
    }
    bail!("past {FILE_LINES_MAX} lines a file holds two ideas: split {}", long.join(", "))
}

fn step(name: &str, check: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("xtask: {name}");
    let begun = Instant::now();
    check().with_context(|| format!("{name} failed"))?;
    println!("xtask: {name} passed in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}

fn cargo(args: &[&str]) -> Result<()> {
    check(Command::new(env!("CARGO")).args(args))
}

fn check(command: &mut Command) -> Result<()> {
    // What is built once needs no notes for the next build: they would take gigabytes.
    command.env("CARGO_INCREMENTAL", "0");
    let status = command.status().with_context(|| format!("{command:?} could not be run"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}
