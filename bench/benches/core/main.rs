//! What the core's parts cost, without I/O: grid and forecast, codec, snapshot, and a whole handoff, its allocations too, ghosts.
//!
//! `cargo bench -p selvedge-bench --bench core` runs all of them in under a minute; a word behind `--` chooses by name.

mod codec;
mod ghost;
mod grid;
mod handoff;
mod snapshot;

use core::time::Duration;
use std::alloc::System;

use criterion::Criterion;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// The system's allocator, with a counter.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(40)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    grid::bench(&mut criterion);
    codec::bench(&mut criterion);
    snapshot::bench(&mut criterion);
    handoff::bench(&mut criterion);
    handoff::count_allocations(ALLOCATOR);
    ghost::bench(&mut criterion);
    criterion.final_summary();
}
