//! The load test as a program of its own. Everything is in the library: [`selvedge_bench::app`].

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use selvedge_bench::app::{BenchArgs, run};

/// Snapshots of many sizes come and go on three threads: the C library's allocator returns and faults their pages in.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Load tests for a Selvedge mesh
#[derive(Debug, Parser)]
#[command(name = "mesh-bench", version)]
struct Line {
    #[command(flatten)]
    args: BenchArgs,
}

fn main() -> ExitCode {
    run(Line::parse().args)
}
