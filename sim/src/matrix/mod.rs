//! The matrix: for each message that matters, each process killed and each link cut, just before and just after it.
//!
//! Every row plays the same crossing, of one player who walks to and fro over a border, on a mesh of its own, under
//! every invariant. It must end with one holder, and with nothing lost or doubled.

mod case;
mod script;

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

pub use case::{Blow, Case, Moment};

/// How a case ended.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which case.
    pub case: Case,
    /// What came of it.
    pub end: End,
}

/// What came of a case.
#[derive(Clone, Debug)]
pub enum End {
    /// One node holds the player, and nothing is lost.
    Whole {
        /// Which node, as it was called at the start.
        holder: String,
        /// At which epoch.
        epoch: String,
        /// Whether a recovery gave it to that node.
        recovered: bool,
        /// Entities that a recovery restored, in the whole mesh.
        restored: u64,
        /// Inputs that the player made, all of which took effect once.
        inputs: u32,
    },
    /// The message never came.
    Unreached,
    /// An invariant broke.
    Broken {
        /// Which, and how.
        what: String,
        /// What led to it.
        story: Vec<String>,
    },
}

impl End {
    /// Whether it is as it must be.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        matches!(self, Self::Whole { .. })
    }
}

/// Every case, in the order of a crossing and a recovery.
#[must_use]
pub fn cases() -> Vec<Case> {
    case::all()
}

/// Plays one case.
#[must_use]
pub fn play(case: Case) -> Row {
    Row { case, end: script::play(case) }
}

/// Plays many cases on several threads; `progress` hears of each that is done. The rows come in the cases' order.
#[must_use]
pub fn play_all(cases: &[Case], jobs: usize, progress: &(dyn Fn(&Row) + Sync)) -> Vec<Row> {
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::with_capacity(cases.len()));
    let work = || {
        while let Some(&case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let row = play(case);
            progress(&row);
            if let Ok(mut rows) = rows.lock() {
                rows.push(row);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    let mut rows = rows.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    rows.sort_by_key(|row| cases.iter().position(|&case| case == row.case));
    rows
}
