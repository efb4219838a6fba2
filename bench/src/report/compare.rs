//! Two runs of one kind beside each other, row by row.

use std::collections::BTreeSet;

use super::rows::{Key, Row};
use super::source::Run;
use super::table::Verdict;

/// What is less apart than this share is called the same: runs of one build differ by as much.
pub(super) const SAME_SHARE: f64 = 0.05;

/// Which way is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Good {
    Less,
    More,
}

/// A value in both runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Change {
    pub(super) ratio: f64,
    pub(super) verdict: Verdict,
}

impl Change {
    /// None where one of the two wasn't measured.
    pub(super) fn new(before: Option<f64>, after: Option<f64>, good: Good) -> Option<Self> {
        let ratio = after? / before?;
        if !ratio.is_finite() || ratio <= 0.0 {
            return None;
        }
        let verdict = if (1.0 - SAME_SHARE..=1.0 / (1.0 - SAME_SHARE)).contains(&ratio) {
            Verdict::Same
        } else if (ratio < 1.0) == (good == Good::Less) {
            Verdict::Better
        } else {
            Verdict::Worse
        };
        Some(Self { ratio, verdict })
    }
}

/// What two runs have in common, and what not.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    pub(super) pairs: Vec<(&'a Row, &'a Row)>,
    pub(super) only_before: Vec<&'a Key>,
    pub(super) only_after: Vec<&'a Key>,
    /// Names of what was different around them, and how it was.
    pub(super) conditions: Vec<(&'a str, &'a str, &'a str)>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(before: &'a Run, after: &'a Run) -> Self {
        let alike = |run: &'a Run, key: &Key| run.rows.iter().find(|row| row.key == *key);
        let pairs = before.rows.iter().filter_map(|row| Some((row, alike(after, &row.key)?))).collect();
        let only = |one: &'a Run, other: &'a Run| {
            let rows = one.rows.iter().map(|row| &row.key);
            rows.filter(|key| alike(other, key).is_none()).collect()
        };
        let names: BTreeSet<&String> = before.conditions.keys().chain(after.conditions.keys()).collect();
        let value = |run: &'a Run, name: &str| run.conditions.get(name).map_or("–", String::as_str);
        let conditions =
            names.into_iter().map(|name| (name.as_str(), value(before, name), value(after, name)));
        Self {
            pairs,
            only_before: only(before, after),
            only_after: only(after, before),
            conditions: conditions.filter(|(_, before, after)| before != after).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::{handoff, run};
    use super::*;

    #[test]
    fn less_time_is_better_and_fewer_handoffs_are_worse() {
        let verdict = |before, after, good| Change::new(Some(before), Some(after), good).unwrap().verdict;
        assert_eq!(verdict(100.0, 80.0, Good::Less), Verdict::Better);
        assert_eq!(verdict(100.0, 120.0, Good::Less), Verdict::Worse);
        assert_eq!(verdict(100.0, 80.0, Good::More), Verdict::Worse);
        assert_eq!(verdict(100.0, 120.0, Good::More), Verdict::Better);
        assert_eq!(verdict(100.0, 104.0, Good::Less), Verdict::Same);
    }

    #[test]
    fn what_was_not_measured_is_not_compared() {
        for (before, after) in
            [(Some(0.0), Some(1.0)), (Some(1.0), Some(0.0)), (None, Some(1.0)), (Some(1.0), None)]
        {
            assert_eq!(Change::new(before, after, Good::Less), None);
        }
    }

    #[test]
    fn rows_meet_by_path_size_and_concurrency() {
        let (twice, alone) = (("warm", Some(1024), 1, 80.0, 9.0), ("cold", None, 1, 90.0, 9.0));
        let before = run("a.json", &handoff(&[twice, alone, twice]));
        let mut changed = handoff(&[("warm", Some(1024), 64, 70.0, 9.0), ("warm", Some(1024), 1, 60.0, 9.0)]);
        changed["config"]["pin"] = "split".into();
        let after = run("b.json", &changed);
        let comparison = Comparison::new(&before, &after);
        let p50s: Vec<_> = comparison
            .pairs
            .iter()
            .map(|(before, after)| (before.latency.figures().p50, after.latency.figures().p50))
            .collect();
        assert_eq!(p50s, [(80.0, 60.0)]);
        assert_eq!((comparison.only_before.len(), comparison.only_after.len()), (2, 1));
        assert_eq!(comparison.conditions, [("config.pin", "one", "split")]);
    }
}
