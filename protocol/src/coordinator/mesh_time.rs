//! Mesh time after a restart: it goes on from what the nodes take it to be, whatever this host's clock says.

use std::collections::{BTreeMap, BTreeSet};

use core::time::Duration;

use crate::id::NodeId;
use crate::time::Time;

/// Nodes run on by their own clocks while no coordinator is there. Whoever is further ahead of the middle of all than this
/// is not believed: quartz drifts by some seconds in a day.
const AHEAD_MAX: Duration = Duration::from_secs(3600);
/// Mesh time past this is nobody's: 285 years in microseconds.
pub(super) const MESH_TIME_MAX: Time = Time::from_micros(1 << 53);
/// How far the mark is moved ahead each time that mesh time reaches it: so rarely is it written.
const MARK_STEP: Duration = Duration::from_secs(10);

/// What mesh time is, by the coordinator's own clock.
#[derive(Debug, Default)]
pub(super) struct MeshTime {
    offset_us: i64,
    /// Set as long as the nodes are still asked.
    asking: Option<Asking>,
    /// Nodes that a former coordinator knew and that have not spoken to this one yet, whatever life they are in by now.
    silent: BTreeSet<NodeId>,
    /// Mesh time was told to nobody from here on.
    mark: Time,
}

#[derive(Debug)]
struct Asking {
    until: Time,
    /// How far each is ahead of the coordinator's own clock.
    ahead_us: BTreeMap<NodeId, i64>,
}

impl MeshTime {
    /// Waits for the word of these nodes, or until then. If nobody has an opinion it goes on from the mark that a former
    /// coordinator left, or from the own clock if that is past it.
    pub(super) fn ask(&mut self, nodes: impl Iterator<Item = NodeId>, until: Time, mark: Time) {
        self.silent = nodes.collect();
        self.mark = mark;
        self.asking = Some(Asking { until, ahead_us: BTreeMap::new() });
    }

    /// A node says what it takes mesh time to be, if it has an opinion. Only its first word counts: from the answer on it
    /// goes by this coordinator. One that comes late still moves mesh time forward, for a node that were told to go back
    /// would stand still until then. Where nothing is told yet the word of a node whose former lives are all over counts,
    /// too: it runs on by the time that it had.
    pub(super) fn on_word(&mut self, from: NodeId, says: Option<Time>, now: Time) {
        let expected = self.silent.remove(&from);
        let Some(says) = says.filter(|&says| says <= MESH_TIME_MAX) else {
            return;
        };
        let ahead_us = difference_us(says, now);
        match &mut self.asking {
            Some(asking) => _ = asking.ahead_us.entry(from).or_insert(ahead_us),
            None if expected && ahead_us.saturating_sub(self.offset_us) <= ahead_us_max() => {
                self.offset_us = self.offset_us.max(ahead_us);
            }
            None => {}
        }
    }

    /// Mesh time; none while the nodes are still asked: whoever has none yet waits, the others have their own estimate.
    pub(super) fn at(&mut self, now: Time) -> Option<Time> {
        let all_heard = self.silent.is_empty();
        if let Some(asking) = self.asking.take_if(|asking| all_heard || asking.until <= now) {
            // By the own clock, which may be far behind where nothing keeps it while the host is off.
            let own_us = difference_us(self.mark, now).max(0);
            self.offset_us =
                newest_credible(asking.ahead_us.into_values().collect(), own_us).unwrap_or(own_us);
        }
        self.asking.is_none().then(|| now.offset_by(self.offset_us))
    }

    /// Mesh time is about to be told: where the mark is now, if it must be moved and kept first.
    pub(super) fn raise_mark(&mut self, told: Time) -> Option<Time> {
        if told < self.mark {
            return None;
        }
        self.mark = (told + MARK_STEP).min(MESH_TIME_MAX);
        Some(self.mark)
    }

    /// Mesh time as far as it is known: for display.
    pub(super) const fn about(&self, now: Time) -> Time {
        now.offset_by(self.offset_us)
    }
}

fn ahead_us_max() -> i64 {
    i64::try_from(AHEAD_MAX.as_micros()).unwrap_or(i64::MAX)
}

/// The maximum of those that aren't far ahead of the middle. Where two halves stand against each other what the coordinator
/// would take it to be by itself decides which is the middle.
fn newest_credible(mut ahead_us: Vec<i64>, own_us: i64) -> Option<i64> {
    let opinions = ahead_us.clone();
    if ahead_us.len().is_multiple_of(2) {
        ahead_us.push(own_us);
    }
    ahead_us.sort_unstable();
    let middle = ahead_us[ahead_us.len() / 2];
    opinions.into_iter().filter(|ahead| ahead.saturating_sub(middle) <= ahead_us_max()).max()
}

fn difference_us(a: Time, b: Time) -> i64 {
    let (a, b) = (a.as_micros(), b.as_micros());
    let size = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a >= b { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time::from_micros(1_000_000_000_000);
    const YEAR_US: i64 = 365 * 24 * 3600 * 1_000_000;

    const LEASE: Duration = Duration::from_secs(3);

    fn node(number: u128) -> NodeId {
        NodeId::from_u128(number)
    }

    /// How far mesh time is ahead of the own clock once these nodes have spoken.
    fn after(words: &[i64]) -> i64 {
        let mut mesh_time = MeshTime::default();
        let nodes = (0..).map(node);
        mesh_time.ask(nodes.clone().take(words.len()), START + LEASE, Time::ZERO);
        for (node, &ahead_us) in nodes.zip(words) {
            assert_eq!(mesh_time.at(START), None, "it is not told before everybody has spoken");
            mesh_time.on_word(node, Some(START.offset_by(ahead_us)), START);
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
        let until = START + LEASE;
        mesh_time.ask([node(1), node(2)].into_iter(), until, Time::ZERO);
        mesh_time.on_word(node(1), Some(START + Duration::from_secs(5)), START);
        assert_eq!(mesh_time.at(until - Duration::from_micros(1)), None);
        assert_eq!(mesh_time.at(until), Some(until + Duration::from_secs(5)));
    }

    #[test]
    fn a_late_first_word_moves_it_forward_and_never_back() {
        for (late_us, moved_us) in [(7_000_000, 7_000_000), (3_000_000, 5_000_000), (YEAR_US, 5_000_000)] {
            let mut mesh_time = MeshTime::default();
            let until = START + LEASE;
            mesh_time.ask([node(1), node(2)].into_iter(), until, Time::ZERO);
            mesh_time.on_word(node(1), Some(START + Duration::from_secs(5)), START);
            assert_eq!(mesh_time.at(until), Some(until + Duration::from_secs(5)));
            mesh_time.on_word(node(1), Some(until + Duration::from_secs(50)), until);
            assert_eq!(mesh_time.at(until), Some(until + Duration::from_secs(5)), "it was heard before");
            mesh_time.on_word(node(2), Some(until.offset_by(late_us)), until);
            assert_eq!(mesh_time.at(until), Some(until.offset_by(moved_us)));
        }
    }

    #[test]
    fn a_node_that_nobody_expects_is_believed_as_long_as_nothing_is_told() {
        let mut mesh_time = MeshTime::default();
        mesh_time.ask(core::iter::empty(), START + LEASE, Time::ZERO);
        mesh_time.on_word(node(1), Some(START.offset_by(-9_000_000)), START);
        assert_eq!(mesh_time.at(START), Some(START.offset_by(-9_000_000)));
        mesh_time.on_word(node(2), Some(START), START);
        assert_eq!(mesh_time.at(START), Some(START.offset_by(-9_000_000)));
    }

    #[test]
    fn without_nodes_it_is_the_own_clock() {
        let mut mesh_time = MeshTime::default();
        mesh_time.ask(core::iter::empty(), START + LEASE, Time::ZERO);
        assert_eq!(mesh_time.at(START), Some(START));
    }

    #[test]
    fn without_a_word_it_goes_on_from_the_mark_and_no_earlier_than_the_own_clock() {
        for (mark, goes_on) in
            [(START.offset_by(YEAR_US), START.offset_by(YEAR_US)), (START.offset_by(-9), START)]
        {
            let mut mesh_time = MeshTime::default();
            mesh_time.ask([node(1)].into_iter(), START, mark);
            assert_eq!(mesh_time.at(START), Some(goes_on));
        }
    }

    #[test]
    fn it_is_told_below_the_mark_alone() {
        let mut mesh_time = MeshTime::default();
        let mark = mesh_time.raise_mark(START).unwrap();
        assert!(mark > START);
        assert_eq!(mesh_time.raise_mark(mark.offset_by(-1)), None);
        assert!(mesh_time.raise_mark(mark).is_some_and(|next| next > mark));
    }
}
