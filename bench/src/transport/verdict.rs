//! What the rows say about cutovers under load, and why it should be doubted.

use serde::Serialize;

use super::rows::Row;
use super::{NS, SetUps};
use crate::figures;

/// The most that a load may add to a cutover: its p99 on a quiet link times this.
const RATIO_MAX: f64 = 2.0;
/// Fewer values than this have no p99 worth the name.
const SAMPLES_MIN: u64 = 1000;
/// Where the quiet p99 is more than this above the quiet p50, something else ran on the machine.
const QUIET_SPREAD_MAX: f64 = 6.0;

/// What a load does to a paced cutover.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Judged {
    pub(super) load: String,
    /// Under the load over that on the quiet link, in the same run.
    pub(super) p50_ratio: f64,
    pub(super) p99_ratio: f64,
    /// That of the usual turn's p99.
    pub(super) usual_p99_ratio: f64,
    pub(super) load_mb_per_s: f64,
    pub(super) verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Met,
    NotMet,
    /// The figures don't carry one.
    Doubtful,
}

/// Each load beside the quiet link; none if the quiet link wasn't measured.
pub(super) fn judge(rows: &[Row]) -> Vec<Judged> {
    let (loaded, quiet): (Vec<_>, Vec<_>) = paced(rows).partition(|row| !row.stretch.loads.is_empty());
    let Some(quiet) = quiet.first().filter(|quiet| !quiet.is_empty()) else { return Vec::new() };
    let doubtful = doubt_of(quiet).or_else(|| doubt_of_quiet(quiet)).is_some();
    let base = quiet.rtt_us();
    let judge = |row: &&Row| {
        let rtt = row.rtt_us();
        let p99_ratio = rtt.p99 / base.p99.max(f64::MIN_POSITIVE);
        let usual_p99_ratio = row.usual_p99_us() / quiet.usual_p99_us().max(f64::MIN_POSITIVE);
        let verdict = match (p99_ratio <= RATIO_MAX, usual_p99_ratio <= RATIO_MAX) {
            _ if doubtful || doubt_of(row).is_some() => Verdict::Doubtful,
            (true, true) => Verdict::Met,
            (false, false) => Verdict::NotMet,
            // A few turns stand out: something else ran on the machine in them, or in those of the quiet link.
            (true, false) | (false, true) => Verdict::Doubtful,
        };
        Judged {
            load: row.stretch.load_name.clone(),
            p50_ratio: rtt.p50 / base.p50.max(f64::MIN_POSITIVE),
            p99_ratio,
            usual_p99_ratio,
            load_mb_per_s: row.loads_mb_per_second(),
            verdict,
        }
    };
    loaded.iter().map(judge).collect()
}

fn paced(rows: &[Row]) -> impl Iterator<Item = &Row> {
    rows.iter().filter(|row| row.stretch.every.is_some())
}

pub(super) fn sentences(rows: &[Row], set_ups: &SetUps) -> Vec<String> {
    let mut said = Vec::new();
    if !set_ups.cold.is_empty() {
        let (cold, resumed) = (figures(&set_ups.cold, NS), figures(&set_ups.resumed, NS));
        said.push(format!(
            "a link is up after {:.0} us (p50), {:.0} us (p99), with both certificates checked; with a resumed TLS session \
             after {:.0} and {:.0} us, which is off by default: so every link shows a certificate that is valid now",
            cold.p50, cold.p99, resumed.p50, resumed.p99
        ));
    }
    for Judged { load, p50_ratio, p99_ratio, usual_p99_ratio, load_mb_per_s, verdict } in judge(rows) {
        let word = match verdict {
            Verdict::Met => "met",
            Verdict::NotMet => "NOT MET",
            Verdict::Doubtful => "doubtful",
        };
        said.push(format!(
            "{word}: cutover under {load} ({load_mb_per_s:.0} MB/s): p99 {p99_ratio:.2} x the quiet link's, in the usual \
             turn {usual_p99_ratio:.2} x (bar: {RATIO_MAX} x), p50 {p50_ratio:.2} x"
        ));
    }
    said
}

/// Why the rows should be doubted, in sentences.
pub(super) fn doubts(rows: &[Row]) -> Vec<String> {
    let mut said = Vec::new();
    for row in rows {
        let quiet = row.stretch.every.is_some() && row.stretch.loads.is_empty();
        let doubts = [doubt_of(row), if quiet { doubt_of_quiet(row) } else { None }];
        said.extend(doubts.into_iter().flatten().map(|doubt| format!("doubtful: {}: {doubt}", row.name())));
    }
    said
}

fn doubt_of(row: &Row) -> Option<String> {
    let count = row.rtt_us().count;
    if row.is_empty() {
        return Some("nothing was answered".to_owned());
    }
    if row.not_taken > 0 && row.stretch.every.is_some() {
        return Some(format!("{} messages found a full queue", row.not_taken));
    }
    if count < SAMPLES_MIN && row.stretch.every.is_some() {
        return Some(format!("{count} values: a p99 needs {SAMPLES_MIN}; choose a longer --duration"));
    }
    None
}

fn doubt_of_quiet(row: &Row) -> Option<String> {
    let rtt = row.rtt_us();
    let spread = rtt.p99 / rtt.p50.max(f64::MIN_POSITIVE);
    (spread > QUIET_SPREAD_MAX).then(|| {
        format!(
            "p99 is {spread:.0} x p50 on the quiet link: something else runs on this machine, compare p50"
        )
    })
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::super::spec::{Seen, Stretch, Via};
    use super::super::{EVERY, stretches};
    use super::*;
    use selvedge_node::HistogramText;
    use std::time::Duration;

    fn seen(values_us: &[(u64, u64)]) -> Seen {
        let mut rtt = Histogram::<u64>::new(3).unwrap();
        values_us.iter().for_each(|&(us, count)| rtt.record_n(us * 1000, count).unwrap());
        Seen {
            rtt_ns: HistogramText::encode(&rtt),
            trip_ns: HistogramText::encode(&rtt),
            late_ns: HistogramText::encode(&rtt),
            elapsed: Duration::from_secs(1),
            sent: rtt.len(),
            answered: rtt.len(),
            answered_in_time: rtt.len(),
            not_taken: 0,
            loads: Vec::new(),
        }
    }

    fn row(loads: &[Via], values_us: &[(u64, u64)]) -> Row {
        let seen = seen(values_us);
        let stretch = stretches(&[], 1).into_iter().find(|stretch| stretch.loads == loads).unwrap();
        assert_eq!(stretch, Stretch { every: Some(EVERY), ..stretch.clone() });
        Row::new(stretch, &seen).unwrap()
    }

    fn verdict(quiet: &[(u64, u64)], loaded: &[(u64, u64)]) -> Verdict {
        judge(&[row(&[], quiet), row(&[Via::Precopy], loaded)])[0].verdict
    }

    #[test]
    fn a_p99_of_twice_the_quiet_one_is_within_the_bar_and_more_is_not() {
        assert_eq!(verdict(&[(100, 2000)], &[(199, 2000)]), Verdict::Met);
        assert_eq!(verdict(&[(100, 2000)], &[(100, 1900), (210, 100)]), Verdict::NotMet);
    }

    #[test]
    fn few_values_and_a_noisy_quiet_link_carry_no_verdict() {
        assert_eq!(verdict(&[(100, 2000)], &[(100, 999)]), Verdict::Doubtful);
        assert_eq!(verdict(&[(100, 999)], &[(100, 2000)]), Verdict::Doubtful);
        assert_eq!(verdict(&[(100, 1900), (900, 100)], &[(900, 2000)]), Verdict::Doubtful);
    }

    #[test]
    fn a_turn_that_stands_out_is_doubted_and_no_verdict() {
        let turns = |of: &[&[(u64, u64)]], loads| {
            let mut row = row(loads, of[0]);
            of[1..].iter().for_each(|turn| row.add(&seen(turn)).unwrap());
            row
        };
        let good: &[_] = &[(100, 1000)];
        let spoilt: &[_] = &[(100, 900), (900, 100)];
        let quiet = turns(&[good, good, good], &[]);
        let loaded = turns(&[good, spoilt, good], &[Via::Precopy]);
        assert_eq!((quiet.usual_p99_us() / 10.0).round(), 10.0);
        assert_eq!(judge(&[quiet, loaded])[0].verdict, Verdict::Doubtful);
        let quiet = turns(&[good, good, good], &[]);
        let loaded = turns(&[spoilt, good, spoilt], &[Via::Precopy]);
        assert_eq!(judge(&[quiet, loaded])[0].verdict, Verdict::NotMet);
    }

    #[test]
    fn an_empty_row_is_doubted_and_loads_of_nothing_are_zero() {
        let rows = [row(&[], &[]), row(&[Via::Precopy], &[(100, 2000)])];
        assert!(judge(&rows).is_empty());
        assert!(
            doubts(&rows).iter().any(|doubt| doubt.contains("nothing was answered")),
            "{:?}",
            doubts(&rows)
        );
        assert!(rows[1].loads_mb_per_second().is_sign_positive());
    }
}
