//! Mesh time after a restart: it goes on from what the nodes take it to be, whatever this host's clock says.

use std::collections::{BTreeMap, BTreeSet};

use core::time::Duration;

use crate::id::Peer;
use crate::time::Time;

/// Nodes run on by their own clocks while no coordinator is there. Whoever is further ahead of the middle of all than this
/// is not believed: quartz drifts by some seconds in a day.
const AHEAD_MAX: Duration = Duration::from_secs(3600);
/// Mesh time past this is nobody's: 285 years in microseconds.
const MESH_TIME_MAX: Time = Time::from_micros(1 << 53);

/// What mesh time is, by the coordinator's own clock.
#[derive(Debug, Default)]
pub(super) struct MeshTime {
    offset_us: i64,
    /// Set as long as the nodes are still asked.
    asking: Option<Asking>,
}

#[derive(Debug)]
struct Asking {
    until: Time,
    silent: BTreeSet<Peer>,
    /// How far each is ahead of the coordinator's own clock.
    ahead_us: BTreeMap<Peer, i64>,
}

impl MeshTime {
    /// Waits for the word of these nodes, or until then.
    pub(super) fn ask(&mut self, nodes: impl Iterator<Item = Peer>, until: Time) {
        let silent: BTreeSet<Peer> = nodes.collect();
        self.asking = (!silent.is_empty()).then_some(Asking { until, silent, ahead_us: BTreeMap::new() });
    }

    /// A node says what it takes mesh time to be, if it has an opinion.
    pub(super) fn on_word(&mut self, from: Peer, says: Option<Time>, now: Time) {
        let Some(asking) = &mut self.asking else {
            return;
        };
        if asking.silent.remove(&from)
            && let Some(says) = says.filter(|&says| says <= MESH_TIME_MAX)
        {
            asking.ahead_us.insert(from, difference_us(says, now));
        }
    }

    /// Mesh time; none while the nodes are still asked: whoever has none yet waits, the others have their own estimate.
    pub(super) fn at(&mut self, now: Time) -> Option<Time> {
        if let Some(asking) = self.asking.take_if(|asking| asking.silent.is_empty() || asking.until <= now) {
            self.offset_us = newest_credible(asking.ahead_us.into_values().collect()).unwrap_or(0);
        }
        self.asking.is_none().then(|| now.offset_by(self.offset_us))
    }

    /// Mesh time as far as it is known: for display.
    pub(super) const fn about(&self, now: Time) -> Time {
        now.offset_by(self.offset_us)
    }
}

/// The maximum of those that aren't far ahead of the middle. Where two halves stand against each other the coordinator's
/// own clock (0) decides which is the middle.
fn newest_credible(mut ahead_us: Vec<i64>) -> Option<i64> {
    let opinions = ahead_us.clone();
    if ahead_us.len().is_multiple_of(2) {
        ahead_us.push(0);
    }
    ahead_us.sort_unstable();
    let middle = ahead_us[ahead_us.len() / 2];
    let ahead_max = i64::try_from(AHEAD_MAX.as_micros()).unwrap_or(i64::MAX);
    opinions.into_iter().filter(|ahead| ahead.saturating_sub(middle) <= ahead_max).max()
}

fn difference_us(a: Time, b: Time) -> i64 {
    let (a, b) = (a.as_micros(), b.as_micros());
    let size = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a >= b { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Incarnation, NodeId};

    const START: Time = Time::from_micros(1_000_000_000_000);
    const YEAR_US: i64 = 365 * 24 * 3600 * 1_000_000;

    fn peer(number: u128) -> Peer {
        Peer { node: NodeId::from_u128(number), incarnation: Incarnation(1) }
    }

    /// How far mesh time is ahead of the own clock once these nodes have spoken.
    fn after(words: &[i64]) -> i64 {
        let mut mesh_time = MeshTime::default();
        let peers = (0..).map(peer);
        mesh_time.ask(peers.clone().take(words.len()), START + Duration::from_secs(3));
        for (peer, &ahead_us) in peers.zip(words) {
            assert_eq!(mesh_time.at(START), None, "it is not told before everybody has spoken");
            mesh_time.on_word(peer, Some(START.offset_by(ahead_us)), START);
        }
        difference_us(mesh_time.at(START).unwrap(), START)
    }

    #[test]
    fn it_goes_on_from_the_nodes_maximum_whatever_the_own_clock_says() {
        assert_eq!(after(&[-9_000_000, -9_000_300, -9_000_100]), -9_000_000);
        assert_eq!(after(&[70_000_000]), 70_000_000);
        assert_eq!(after(&[YEAR_US, YEAR_US + 5]), YEAR_US + 5, "the own clock may be the one that is wrong");
    }

    #[test]
    fn who_is_years_ahead_of_the_others_is_not_believed() {
        assert_eq!(after(&[20, 3 * YEAR_US, 10]), 20);
        assert_eq!(after(&[3 * YEAR_US, 10]), 10, "between two the own clock decides");
        assert_eq!(after(&[20, 10, i64::MAX]), 20);
    }

    #[test]
    fn a_node_that_never_speaks_holds_it_up_for_one_lease_only() {
        let mut mesh_time = MeshTime::default();
        let until = START + Duration::from_secs(3);
        mesh_time.ask([peer(1), peer(2)].into_iter(), until);
        mesh_time.on_word(peer(1), Some(START + Duration::from_secs(5)), START);
        assert_eq!(mesh_time.at(until - Duration::from_micros(1)), None);
        assert_eq!(mesh_time.at(until), Some(until + Duration::from_secs(5)));
        mesh_time.on_word(peer(2), Some(until + Duration::from_secs(50)), until);
        assert_eq!(mesh_time.at(until), Some(until + Duration::from_secs(5)), "late words change nothing");
    }

    #[test]
    fn without_nodes_it_is_the_own_clock() {
        let mut mesh_time = MeshTime::default();
        mesh_time.ask(core::iter::empty(), START + Duration::from_secs(3));
        assert_eq!(mesh_time.at(START), Some(START));
    }
}
