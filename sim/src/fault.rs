//! What comes to harm besides messages: processes, clocks, whole sets of links. Each kind can be switched on alone.

use core::fmt;
use core::time::Duration;

use crate::dice::Dice;

/// One kind of harm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FaultKind {
    /// A node's process ends at once; it comes back after seconds with an empty memory, or never.
    Crash,
    /// A process stands still for up to ten seconds, and finds all that waited when it goes on.
    Pause,
    /// Sets of directed pairs hear nothing of each other for a while.
    Partition,
    /// Each process' clock runs up to one percent fast or slow.
    Drift,
    /// The coordinator's process ends, loses what it had not synced, and comes back.
    Coordinator,
    /// A player's program ends without a word, and comes back or doesn't.
    Client,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Crash, Self::Pause, Self::Partition, Self::Drift, Self::Coordinator, Self::Client];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::Drift => "drift",
            Self::Coordinator => "coordinator",
            Self::Client => "client",
        }
    }
}

/// A set of kinds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FaultSet(u8);

impl FaultSet {
    /// None.
    pub const NONE: Self = Self(0);
    /// Every kind.
    pub const ALL: Self = Self((1 << FaultKind::ALL.len()) - 1);

    /// This set with one more.
    #[must_use]
    pub const fn with(self, kind: FaultKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// Whether it holds this kind.
    #[must_use]
    pub const fn has(self, kind: FaultKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Reads names divided by commas; `all` stands for all of them.
    #[must_use]
    pub fn named(names: &str) -> Option<Self> {
        names.split(',').map(str::trim).filter(|name| !name.is_empty()).try_fold(Self::NONE, |set, name| {
            if name == "all" {
                return Some(Self::ALL);
            }
            let kind = FaultKind::ALL.into_iter().find(|kind| kind.name() == name)?;
            Some(set.with(kind))
        })
    }
}

impl fmt::Display for FaultSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> =
            FaultKind::ALL.into_iter().filter(|&kind| self.has(kind)).map(FaultKind::name).collect();
        f.write_str(&names.join(","))
    }
}

/// How often harm comes, and how long it lasts. Lengths are in microseconds.
#[derive(Clone, Debug)]
pub struct Harm {
    /// What may happen.
    pub kinds: FaultSet,
    /// Mean time between two strikes in the whole mesh; none: never.
    pub every: Option<Duration>,
    /// How long a process stands still.
    pub pause_us: (u64, u64),
    /// How long a process is away before it begins anew.
    pub down_us: (u64, u64),
    /// A node that crashed never comes back.
    pub never_back: f64,
    /// How long the coordinator is away.
    pub coordinator_down_us: (u64, u64),
    /// How long a partition lasts.
    pub partition_us: (u64, u64),
    /// How fast or slow a clock runs at most, in millionths.
    pub drift_ppm_max: u64,
    /// A crash waits for a message that matters, and comes just before or just after it is delivered.
    pub ambush: f64,
    /// Several nodes may be lost at once: then entities may be, too.
    pub reckless: bool,
}

impl Harm {
    /// Nothing comes to harm.
    pub const NONE: Self = Self {
        kinds: FaultSet::NONE,
        every: None,
        pause_us: (0, 0),
        down_us: (0, 0),
        never_back: 0.0,
        coordinator_down_us: (0, 0),
        partition_us: (0, 0),
        drift_ppm_max: 0,
        ambush: 0.0,
        reckless: false,
    };

    /// Draws how these kinds come.
    pub(crate) fn draw(dice: &mut Dice, kinds: FaultSet) -> Self {
        Self {
            kinds,
            every: Some(dice.millis(1_500, 6_000)),
            pause_us: (100_000, 10_000_000),
            down_us: (200_000, 8_000_000),
            never_back: 0.2,
            coordinator_down_us: (300_000, 8_000_000),
            partition_us: (500_000, 12_000_000),
            drift_ppm_max: 10_000,
            ambush: 0.5,
            reckless: dice.chance(0.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_reads_what_it_shows() {
        let set = FaultSet::NONE.with(FaultKind::Crash).with(FaultKind::Drift);
        assert_eq!(FaultSet::named(&set.to_string()), Some(set));
        assert_eq!(FaultSet::named("all").map(|all| all.to_string()).as_deref(), Some(ALL_NAMES));
        assert_eq!(FaultSet::named("crash,flood"), None);
        assert_eq!(FaultSet::named(""), Some(FaultSet::NONE));
    }

    const ALL_NAMES: &str = "crash,pause,partition,drift,coordinator,client";
}
