//! The coordinator's process, and what outlives it.

use std::collections::BTreeMap;

use selvedge_protocol::coordinator::Coordinator;
use selvedge_protocol::time::Time;

use super::{Disk, HostClock, Standstill};
use crate::event::Stay;

/// The coordinator's process, its door, its authenticator and its store.
pub(crate) struct CoordinatorHost {
    pub(crate) machine: Coordinator,
    /// Counts the coordinator's processes.
    pub(crate) life: u32,
    /// Whether there is a process.
    pub(crate) alive: bool,
    /// The process' own clock.
    pub(crate) clock: HostClock,
    /// Whether the whole process stands still.
    pub(crate) standstill: Standstill,
    pub(crate) wake_at: Option<Time>,
    /// Who asked which question at the door.
    pub(crate) asked: BTreeMap<u64, Stay>,
    pub(crate) questions: u64,
    /// What it remembers.
    pub(crate) disk: Disk,
    /// The characters.
    pub(crate) store: BTreeMap<String, bytes::Bytes>,
}

impl CoordinatorHost {
    pub(crate) fn new(machine: Coordinator, clock: HostClock, disk: Disk) -> Self {
        Self {
            machine,
            life: 0,
            alive: true,
            clock,
            standstill: Standstill::default(),
            wake_at: None,
            asked: BTreeMap::new(),
            questions: 0,
            disk,
            store: BTreeMap::new(),
        }
    }

    /// The process is no more; what it was syncing is written or not. Returns who waits for an answer at its door.
    pub(crate) fn end(&mut self, written: bool) -> Vec<Stay> {
        self.disk.lose(written);
        self.alive = false;
        self.wake_at = None;
        core::mem::take(&mut self.asked).into_values().collect()
    }

    /// A new process.
    pub(crate) fn begin(&mut self, machine: Coordinator, clock: HostClock) {
        (self.machine, self.clock) = (machine, clock);
        self.life += 1;
        self.alive = true;
        self.standstill = Standstill::default();
    }

    /// Mesh time.
    pub(crate) fn clock(&self, now: Time) -> Time {
        self.clock.at(now)
    }

    /// The virtual time of a mesh time.
    pub(crate) fn when(&self, clock: Time) -> Time {
        self.clock.when(clock)
    }
}
