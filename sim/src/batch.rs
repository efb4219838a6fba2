//! Many seeds on several threads: each run is a value of its own, so they share nothing.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::run::{Failure, Outcome, SimOptions, run_seed};
use crate::stats::Stats;

/// Which seeds to run, and how.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// The first seed.
    pub first_seed: u64,
    /// How many.
    pub seeds: u64,
    /// Threads.
    pub jobs: usize,
    /// Whether to go on after a seed that broke an invariant.
    pub keep_going: bool,
    /// How to run each.
    pub options: SimOptions,
}

/// What a batch found.
#[derive(Debug, Default)]
pub struct BatchOutcome {
    /// What was explored.
    pub stats: Stats,
    /// The first broken seed, by its number, if any broke.
    pub failure: Option<Failure>,
    /// Every broken seed, by the invariant that it broke.
    pub broken: BTreeMap<&'static str, Vec<u64>>,
}

/// Runs seeds until all are done or one breaks an invariant (unless it keeps going); `progress` hears of each one that is done.
///
/// # Errors
/// If a seed draws a configuration that the machines refuse.
pub fn run_batch(batch: &Batch, progress: &(dyn Fn(&Outcome) + Sync)) -> anyhow::Result<BatchOutcome> {
    let next = AtomicU64::new(batch.first_seed);
    let end = batch.first_seed.saturating_add(batch.seeds);
    let stop = AtomicBool::new(false);
    let found = Mutex::new((BatchOutcome::default(), None));
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            let result = run_seed(seed, &batch.options);
            let Ok(mut found) = found.lock() else {
                return;
            };
            match result {
                Ok(outcome) => {
                    progress(&outcome);
                    found.0.stats += outcome.stats;
                    if let Some(failure) = outcome.failure {
                        stop.fetch_or(!batch.keep_going, Ordering::Relaxed);
                        found.0.broken.entry(failure.violation.invariant).or_default().push(failure.seed);
                        let earliest = found.0.failure.as_ref().is_none_or(|known| failure.seed < known.seed);
                        if earliest {
                            found.0.failure = Some(failure);
                        }
                    }
                }
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    found.1 = Some(error);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..batch.jobs.max(1) {
            scope.spawn(work);
        }
    });
    let (outcome, error) = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    match error {
        Some(error) => Err(error),
        None => Ok(outcome),
    }
}
