//! Which faults come, drawn from a seed.

use std::fmt;
use std::time::Duration;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::args::{ChaosArgs, FaultKind};
use super::proxy::{COORDINATOR, PLAYERS, Place};
use super::wire::Weather;
use crate::local::node_name;

/// How long a dead process stays away: shorter and longer than a lease.
const DOWN_MS: std::ops::Range<u64> = 200..6000;
/// How much longer than the lease a node stands still, or is alone.
const BEYOND_LEASE_MS: std::ops::Range<u64> = 1000..4000;
/// How long two processes don't reach each other.
const PARTED_MS: std::ops::Range<u64> = 1000..6000;
const WEATHER_MS: std::ops::Range<u64> = 5000..10_000;

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// SIGKILL, and a start after a while. Of a node, or of the coordinator.
    Kill { place: Place, down: Duration },
    /// SIGSTOP, and SIGCONT after longer than a lease.
    Pause { node: Place, length: Duration },
    /// Nothing gets from one to the other, nor back if it is not of one way only. One of them may be all players.
    Partition { from: Place, to: Place, one_way: bool, length: Duration },
    /// A node reaches no other process for longer than a lease, nor any player if they are cut off as well.
    Isolation { node: Place, players: bool, length: Duration },
    /// Bad weather everywhere.
    Loss { weather: Weather, length: Duration },
}

impl Fault {
    /// The node whose lease this takes, if it is a node and the core does what it should.
    pub(crate) const fn loses_lease(&self) -> Option<Place> {
        match *self {
            Self::Kill { place, .. } if place != COORDINATOR => Some(place),
            Self::Pause { node, .. } | Self::Isolation { node, .. } => Some(node),
            Self::Kill { .. } | Self::Partition { .. } | Self::Loss { .. } => None,
        }
    }

    /// How long it lasts.
    pub(crate) const fn length(&self) -> Duration {
        match *self {
            Self::Kill { down: length, .. }
            | Self::Pause { length, .. }
            | Self::Partition { length, .. }
            | Self::Isolation { length, .. }
            | Self::Loss { length, .. } => length,
        }
    }

    /// Whether another fault may come while this one lasts.
    pub(crate) const fn may_overlap(&self) -> bool {
        match *self {
            Self::Loss { .. } => true,
            Self::Kill { place, .. } => place == COORDINATOR,
            // A node that the coordinator doesn't hear loses its lease: no second one may be lost meanwhile.
            Self::Partition { from, to, .. } => from != COORDINATOR && to != COORDINATOR,
            Self::Pause { .. } | Self::Isolation { .. } => false,
        }
    }
}

/// The name of a process.
pub(crate) fn place_name(place: Place) -> String {
    match place {
        COORDINATOR => "the coordinator".to_owned(),
        PLAYERS => "the players".to_owned(),
        node => node_name(node),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.length().as_secs_f64();
        match *self {
            Self::Kill { place, .. } => {
                write!(f, "kill {}, start it after {seconds:.1} s", place_name(place))
            }
            Self::Pause { node, .. } => write!(f, "stop {} for {seconds:.1} s", place_name(node)),
            Self::Partition { from, to, one_way, .. } => {
                let (from, to) = (place_name(from), place_name(to));
                let arrow = if one_way { "->" } else { "<->" };
                write!(f, "cut {from} {arrow} {to} for {seconds:.1} s")
            }
            Self::Isolation { node, players, .. } => {
                let all = if players { "all" } else { "all but its players" };
                write!(f, "cut {} off from {all} for {seconds:.1} s", place_name(node))
            }
            Self::Loss { weather, .. } => write!(
                f,
                "lose {:.1} %, delay by {} to {} ms for {seconds:.1} s",
                weather.loss * 100.0,
                weather.delay.as_millis(),
                (weather.delay + weather.jitter).as_millis()
            ),
        }
    }
}

/// An endless list of faults: each round has every kind once, in an order of its own.
#[derive(Debug)]
pub(crate) struct Plan {
    chance: ChaCha8Rng,
    kinds: Vec<FaultKind>,
    round: Vec<FaultKind>,
    nodes: usize,
    lease: Duration,
    /// How long killed processes stay away, if that isn't drawn.
    down: Option<Duration>,
}

impl Plan {
    pub(crate) fn new(seed: u64, args: &ChaosArgs) -> Self {
        let mut kinds = args.faults.clone();
        kinds.sort_unstable();
        kinds.dedup();
        let (nodes, lease, down) = (args.local.nodes, args.lease, args.down);
        Self { chance: ChaCha8Rng::seed_from_u64(seed), kinds, round: Vec::new(), nodes, lease, down }
    }

    fn span(&mut self, millis: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.chance.random_range(millis))
    }

    fn down(&mut self) -> Duration {
        let drawn = self.span(DOWN_MS);
        self.down.unwrap_or(drawn)
    }

    fn node(&mut self) -> Place {
        self.chance.random_range(1..=self.nodes)
    }

    fn draw(&mut self, kind: FaultKind) -> Fault {
        match kind {
            FaultKind::Kill => Fault::Kill { place: self.node(), down: self.down() },
            FaultKind::Coordinator => Fault::Kill { place: COORDINATOR, down: self.down() },
            FaultKind::Pause => {
                Fault::Pause { node: self.node(), length: self.lease + self.span(BEYOND_LEASE_MS) }
            }
            FaultKind::Partition => self.partition(),
            FaultKind::Loss => Fault::Loss {
                weather: Weather {
                    delay: Duration::from_millis(self.chance.random_range(0..15)),
                    jitter: Duration::from_millis(self.chance.random_range(1..10)),
                    loss: self.chance.random_range(0.01..0.05),
                },
                length: self.span(WEATHER_MS),
            },
        }
    }

    fn partition(&mut self) -> Fault {
        let node = self.node();
        // A quarter each: a node alone, a node and the coordinator, a node and its players, two nodes.
        match self.chance.random_range(0..4) {
            0 => {
                let players = self.chance.random_bool(0.5);
                Fault::Isolation { node, players, length: self.lease + self.span(BEYOND_LEASE_MS) }
            }
            1 => self.parted(node, COORDINATOR),
            2 => self.parted(node, PLAYERS),
            _ => {
                let step = self.chance.random_range(1..self.nodes);
                self.parted(node, (node - 1 + step) % self.nodes + 1)
            }
        }
    }

    fn parted(&mut self, one: Place, other: Place) -> Fault {
        let (from, to) = if self.chance.random_bool(0.5) { (one, other) } else { (other, one) };
        Fault::Partition { from, to, one_way: self.chance.random_bool(0.4), length: self.span(PARTED_MS) }
    }
}

impl Iterator for Plan {
    type Item = Fault;

    fn next(&mut self) -> Option<Fault> {
        if self.round.is_empty() {
            self.round.clone_from(&self.kinds);
            self.round.shuffle(&mut self.chance);
        }
        let kind = self.round.pop()?;
        Some(self.draw(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(3);
    const ALL: [FaultKind; 5] =
        [FaultKind::Kill, FaultKind::Pause, FaultKind::Partition, FaultKind::Loss, FaultKind::Coordinator];

    fn args(kinds: &[FaultKind]) -> ChaosArgs {
        ChaosArgs { faults: kinds.to_vec(), lease: LEASE, ..ChaosArgs::default() }
    }

    fn plan(seed: u64, kinds: &[FaultKind]) -> Vec<Fault> {
        Plan::new(seed, &args(kinds)).take(2000).collect()
    }

    #[test]
    fn who_is_killed_stays_away_for_as_long_as_was_asked_for_and_nothing_else_changes() {
        let down = Duration::from_secs(30);
        let asked = ChaosArgs { down: Some(down), ..args(&ALL) };
        for (drawn, asked) in plan(4, &ALL).into_iter().zip(Plan::new(4, &asked)) {
            match (drawn, asked) {
                (Fault::Kill { place: before, .. }, Fault::Kill { place, down: length }) => {
                    assert_eq!((place, length), (before, down));
                }
                (drawn, asked) => assert_eq!(drawn, asked),
            }
        }
    }

    #[test]
    fn a_seed_gives_the_same_faults_again_and_another_gives_others() {
        assert_eq!(plan(1, &ALL), plan(1, &ALL));
        assert_ne!(plan(1, &ALL), plan(2, &ALL));
        let backwards: Vec<_> = ALL.into_iter().rev().collect();
        assert_eq!(plan(1, &ALL), plan(1, &backwards), "the order on the command line means nothing");
    }

    #[test]
    fn every_kind_comes_in_each_round_and_no_other() {
        for round in plan(3, &ALL).chunks(ALL.len()) {
            let has = |kind: &dyn Fn(&Fault) -> bool| round.iter().filter(|fault| kind(fault)).count() == 1;
            assert!(has(&|fault| matches!(fault, Fault::Kill { place: COORDINATOR, .. })));
            assert!(has(&|fault| matches!(fault, Fault::Kill { place: 1.., .. })));
            assert!(has(&|fault| matches!(fault, Fault::Pause { .. })));
            assert!(has(&|fault| matches!(fault, Fault::Loss { .. })));
        }
        assert!(plan(3, &[FaultKind::Kill]).iter().all(|fault| fault.loses_lease().is_some()));
        assert_eq!(plan(3, &[]), []);
    }

    #[test]
    fn places_are_there_pairs_are_two_and_leases_get_lost() {
        let mut pairs = std::collections::BTreeSet::new();
        for fault in plan(5, &ALL) {
            match fault {
                Fault::Kill { place, .. } => assert!(place <= 4),
                Fault::Pause { node, length } | Fault::Isolation { node, length, .. } => {
                    assert!((1..=4).contains(&node) && length > LEASE, "{fault}");
                }
                Fault::Partition { from, to, .. } => {
                    let there = |place| place <= 4 || place == PLAYERS;
                    assert!(from != to && there(from) && there(to), "{fault}");
                    pairs.insert((from, to));
                }
                Fault::Loss { weather, .. } => assert!((0.01..0.05).contains(&weather.loss)),
            }
        }
        assert_eq!(pairs.len(), 6 * 5 - 2, "all pairs but door and players, in both directions: {pairs:?}");
    }
}
