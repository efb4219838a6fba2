//! The coordinator's disk: what it writes is safe only once it is synced, and what follows waits for that.

use std::collections::VecDeque;

use selvedge_protocol::coordinator::{CoordinatorImage, CoordinatorOutput};

/// What survives the coordinator, and what it has said that waits for the disk.
#[derive(Default)]
pub(crate) struct Disk {
    /// What is safe.
    image: CoordinatorImage,
    /// From the first record that isn't safe on, in order.
    waiting: VecDeque<CoordinatorOutput>,
    /// How many of these are in the batch that is being synced.
    syncing: Option<usize>,
    /// Whether what follows a record is done before the record is safe: a mistake that the checks must see.
    is_hasty: bool,
}

impl Disk {
    pub(crate) fn new(is_hasty: bool) -> Self {
        Self { is_hasty, ..Self::default() }
    }

    /// What of an output may be done at once: all but records, and what follows a record that isn't safe.
    pub(crate) fn pass(&mut self, output: CoordinatorOutput) -> Option<CoordinatorOutput> {
        let follows = !self.waiting.is_empty() && !self.is_hasty;
        let waits = follows || matches!(output, CoordinatorOutput::Persist(_));
        if !waits {
            return Some(output);
        }
        self.waiting.push_back(output);
        None
    }

    /// Begins to sync all that waits. False if nothing does, or the disk is busy.
    pub(crate) fn begin_sync(&mut self) -> bool {
        if self.waiting.is_empty() || self.syncing.is_some() {
            return false;
        }
        self.syncing = Some(self.waiting.len());
        true
    }

    /// The batch is safe. Returns what may be done now, in order.
    pub(crate) fn end_sync(&mut self) -> Vec<CoordinatorOutput> {
        let batch = self.syncing.take().unwrap_or_default();
        let mut done = Vec::with_capacity(batch);
        for output in self.waiting.drain(..batch) {
            if let CoordinatorOutput::Persist(record) = output {
                self.image.apply(record);
            } else {
                done.push(output);
            }
        }
        done
    }

    /// The process ends: what waits is never done, and the batch that is being synced is safe or not.
    pub(crate) fn lose(&mut self, written: bool) {
        if written {
            self.end_sync();
        }
        self.waiting.clear();
        self.syncing = None;
    }

    /// What a new process finds.
    pub(crate) fn image(&self) -> CoordinatorImage {
        self.image.clone()
    }
}
