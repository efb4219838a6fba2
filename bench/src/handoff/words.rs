//! The rows for a person: two tables, what they say, and what makes them doubtful.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::args::HopPath;
use super::restless;
use super::rows::{MESH_THREAD, Row, RowPath, Seen};
use super::spec::Floor;
use crate::{Table, figures};

/// The snapshots whose cutovers are compared, in bytes.
pub(super) const LIGHT_BYTES: usize = 1 << 10;
pub(super) const HEAVY_BYTES: usize = 256 << 10;
/// What is promised: times bare quinn at 1 KiB; the heaviest snapshot against the lightest; cold against bare quinn.
const WARM_RATIO_MAX: f64 = 3.0;
const WEIGHT_RATIO_MAX: f64 = 1.3;
const COLD_RATIO_MAX: f64 = 2.0;
const HANDOFFS_PER_S_MIN: f64 = 10_000.0;
/// Fewer values than this have no p99 worth the name.
const SAMPLES_MIN: u64 = 1000;
/// Fewer handoffs than this before the measurement, and it has the first ones' page faults in it.
const WARM_UP_MIN: u64 = 100;
/// More left out or aborted than this share, and the figures are of something else.
const SHARE_MAX: f64 = 0.01;
/// Other processes busier than this, in cores, and they are in the figures.
const OTHERS_MAX: f64 = 0.1;

/// Cutover and throughput of all rows.
pub(super) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new([
        "path",
        "bytes",
        "at once",
        "p50 us",
        "p99",
        "p99.9",
        "max",
        "a second",
        "missed p99",
        "gap p50 ms",
        "p99",
        "CPU s/1000",
        "(mesh)",
    ]);
    for row in rows {
        let latency = row.latency();
        let us = |value: f64| format!("{value:.1}");
        let missed = &row.missed_ticks;
        let gap = row.players.as_ref().map(|seen| figures(&seen.client_gap_us, 1000.0));
        let ms = |value: Option<f64>| value.map_or_else(String::new, |ms| format!("{ms:.2}"));
        let cpu =
            |thread| row.cpu_per_1000(thread).map_or_else(String::new, |seconds| format!("{seconds:.3}"));
        table.row([
            path(row),
            bytes(row),
            row.concurrency.to_string(),
            us(latency.p50),
            us(latency.p99),
            us(latency.p999),
            us(latency.max),
            format!("{:.0}", row.per_second()),
            if missed.is_empty() { String::new() } else { format!("{:.0}", figures(missed, 1.0).p99) },
            ms(gap.map(|gap| gap.p50)),
            ms(gap.map(|gap| gap.p99)),
            cpu(""),
            cpu(MESH_THREAD),
        ]);
    }
    table
}

/// Every phase of every handoff, p50 / p99 in microseconds; none without handoffs.
pub(super) fn phases(rows: &[Row]) -> Option<Table> {
    let mut table = Table::new([
        "phases, p50 / p99 us",
        "bytes",
        "at once",
        "prepare",
        "ready",
        "precopy",
        "cutover",
        "attach",
        "world callback",
    ]);
    let mut any = false;
    for row in rows.iter().filter(|row| row.is_hop()) {
        any = true;
        let [prepare, ready, precopy, cutover, attach, callback] = row.phases().map(|(_, phase)| cell(phase));
        let (path, concurrency) = (path(row), row.concurrency.to_string());
        table.row([path, bytes(row), concurrency, prepare, ready, precopy, cutover, attach, callback]);
    }
    any.then_some(table)
}

fn cell(phase: &Histogram<u64>) -> String {
    if phase.is_empty() {
        return "-".to_owned();
    }
    let figures = figures(phase, 1.0);
    format!("{:.0} / {:.0}", figures.p50, figures.p99)
}

fn path(row: &Row) -> String {
    match (row.load.entities, row.dwell) {
        (0, None) => row.path.to_string(),
        (0, Some(_)) => format!("{}, seldom", row.path),
        (restless, _) => format!("{} + {restless} restless", row.path),
    }
}

fn bytes(row: &Row) -> String {
    row.snapshot_bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string())
}

/// What the rows say, in sentences, as far as they were measured.
pub(super) fn verdict(rows: &[Row]) -> Vec<String> {
    let find = |path, bytes, concurrency| {
        rows.iter().find(|row| {
            row.load.entities == 0
                && row.dwell.is_none()
                && row.path == path
                && row.snapshot_bytes == Some(bytes)
                && row.concurrency == concurrency
        })
    };
    let p50 = |path, bytes| find(path, bytes, 1).map(|row| row.latency().p50);
    let (warm, cold) = (RowPath::Hop(HopPath::Warm), RowPath::Hop(HopPath::Cold));
    let quinn = RowPath::Floor(Floor::Quinn);
    let ratio = |what: &str, above: Option<f64>, below: Option<f64>, max: f64| {
        let ratio = above? / below?;
        Some(format!("{}: {what}: {ratio:.2} x (bar: {max} x)", word(ratio <= max)))
    };
    let mut sentences = Vec::new();
    let (one, heavy, middle) = (LIGHT_BYTES, HEAVY_BYTES, 16 << 10);
    sentences.extend(ratio(
        "cutover against a bare quinn round trip of 1 KiB",
        p50(warm, one),
        p50(quinn, one),
        WARM_RATIO_MAX,
    ));
    sentences.extend(ratio(
        "cutover with 256 KiB against 1 KiB",
        p50(warm, heavy),
        p50(warm, one),
        WEIGHT_RATIO_MAX,
    ));
    // A heavy one is copied ahead for milliseconds, and what is seldom done takes longer, whatever it weighs.
    sentences.extend(rows.iter().find_map(|row| Some((row, row.dwell?))).and_then(|(seldom, dwell)| {
        let what = format!("the same against 1 KiB that is as seldom, every {dwell:.1?}");
        ratio(&what, p50(warm, heavy), Some(seldom.latency().p50), WEIGHT_RATIO_MAX)
    }));
    sentences.extend(ratio(
        "cold path, the World's own time aside, against bare quinn, 16 KiB",
        find(cold, middle, 1).map(without_the_world),
        p50(quinn, middle),
        COLD_RATIO_MAX,
    ));
    // Players cross as often as they are told to: their rate is no limit of the mesh.
    sentences.extend(find(warm, 4 << 10, 64).filter(|row| row.players.is_none()).map(|row| {
        let rate = row.per_second();
        let good = word(rate >= HANDOFFS_PER_S_MIN);
        format!("{good}: {rate:.0} handoffs a second of 64 entities of 4 KiB (bar: {HANDOFFS_PER_S_MIN})")
    }));
    sentences.extend(restless::compare(rows).iter().map(restless::Compared::sentence));
    sentences
}

/// The cutover's p50 in microseconds, less the p50 of the World's callbacks: what the game's own code takes is no cost of
/// the mesh. The cold path waits for several callbacks, so this takes off rather too little.
fn without_the_world(row: &Row) -> f64 {
    let callback = if row.callbacks_us.is_empty() { 0.0 } else { figures(&row.callbacks_us, 1.0).p50 };
    (row.latency().p50 - callback).max(0.0)
}

/// Whether every player's input took effect once, in one hand.
pub(super) fn verdict_of_players(seen: &[&Seen]) -> Option<String> {
    let sum = |of: fn(&Seen) -> u64| seen.iter().map(|seen| of(seen)).sum::<u64>();
    let (lost, doubled) = (sum(|seen| seen.inputs_lost), sum(|seen| seen.inputs_doubled));
    let violations = sum(|seen| seen.authority_violations);
    let good = word(seen.iter().all(|seen| seen.is_good()));
    let sentence =
        format!("{good}: inputs of players lost: {lost}, doubled: {doubled}; two authorities: {violations}");
    (!seen.is_empty()).then_some(sentence)
}

const fn word(good: bool) -> &'static str {
    if good { "met" } else { "NOT MET" }
}

/// Why the rows should be doubted, in sentences.
pub(super) fn doubts(rows: &[Row]) -> Vec<String> {
    let mut sentences = Vec::new();
    for row in rows {
        for doubt in doubts_of(row) {
            let bytes = row.snapshot_bytes.map_or_else(String::new, |bytes| format!(", {bytes} bytes"));
            sentences.push(format!("doubtful: {}{bytes} x {}: {doubt}", path(row), row.concurrency));
        }
    }
    sentences.extend(restless::compare(rows).iter().filter_map(restless::Compared::doubt));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 {
        sentences.push("doubtful: one core for all processes: each wait is somebody else's work".to_owned());
    }
    sentences
}

fn doubts_of(row: &Row) -> Vec<String> {
    let mut doubts = Vec::new();
    let values = row.latency.len();
    if values < SAMPLES_MIN {
        doubts
            .push(format!("{values} values: p99 and beyond need {SAMPLES_MIN}; choose a longer --duration"));
    }
    let (RowPath::Hop(path), local) = (row.path, row.snapshot_bytes.is_some()) else { return doubts };
    if local && row.warm_up < WARM_UP_MIN {
        let handoffs = row.warm_up;
        doubts.push(format!(
            "{handoffs} handoffs in the warm-up, of {WARM_UP_MIN} that it takes: choose a longer --warm-up"
        ));
    }
    let stray = match path {
        HopPath::Warm => row.cold,
        HopPath::Cold => row.warm,
    };
    if stray > 0 {
        doubts.push(format!("{stray} handoffs took the other path and are in the figures"));
    }
    if row.aborted > 0 {
        doubts.push(format!("{} handoffs were aborted and tried again", row.aborted));
    }
    if share(row.refused, row.completed) > SHARE_MAX {
        doubts.push(format!("{} preparations were refused and tried again", row.refused));
    }
    if row.paced && share(row.ticks_skipped, row.ticks) > SHARE_MAX {
        let percent = 100.0 * share(row.ticks_skipped, row.ticks);
        doubts.push(format!(
            "{percent:.0} % of the ticks were left out: the machine doesn't keep up; choose a lower --tick-hz"
        ));
    }
    if let Some(cores) = row.others_cores().filter(|&cores| cores > OTHERS_MAX) {
        doubts.push(format!(
            "other processes kept {cores:.2} of the machine's cores busy: stop them and measure again"
        ));
    }
    if let Some(seen) = &row.players {
        let unprepared = seen.switches - seen.prepared_switches;
        if path == HopPath::Warm && share(unprepared, seen.switches) > SHARE_MAX {
            doubts.push(format!(
                "at {unprepared} of {} switches the client was not connected ahead: choose a longer --dwell",
                seen.switches
            ));
        }
        if seen.connections_lost > 0 {
            doubts.push(format!("{} times a player lost every connection", seen.connections_lost));
        }
    }
    doubts
}

/// A part of `part + rest`, from 0 to 1.
#[allow(clippy::cast_precision_loss, reason = "counts are below 2^53")]
fn share(part: u64, rest: u64) -> f64 {
    if part == 0 { 0.0 } else { part as f64 / (part + rest) as f64 }
}

/// What a run is about to take, for a person who waits.
pub(super) fn estimate(rows: usize, each: Duration) -> String {
    let seconds = each.as_secs_f64() * f64::from(u32::try_from(rows).unwrap_or(u32::MAX));
    format!("{rows} rows, about {seconds:.0} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: u64) -> Row {
        let mut row = Row::new(RowPath::Hop(HopPath::Warm), Some(1024), 1);
        row.latency.record_n(100, values).unwrap();
        (row.completed, row.warm, row.warm_up) = (values, values, 1000);
        row
    }

    #[test]
    fn the_verdict_is_silent_about_what_was_not_measured() {
        assert!(verdict(&[Row::new(RowPath::Hop(HopPath::Cold), Some(4096), 1)]).is_empty());
    }

    /// A row of one latency: of a hop in microseconds, of a floor in nanoseconds. Up to 2,047 a histogram is exact.
    fn of(path: RowPath, bytes: usize, latency: u64) -> Row {
        let mut row = Row::new(path, Some(bytes), 1);
        row.latency.record(latency).unwrap();
        row
    }

    fn the_only_sentence(rows: &[Row]) -> String {
        let said = verdict(rows);
        assert_eq!(said.len(), 1, "{said:?}");
        said[0].clone()
    }

    /// What is said where the measure is just on the good side of its bar, at it, and just past it.
    fn assert_bar(about: &str, rows: impl Fn(u64) -> Vec<Row>, [good, at, bad]: [u64; 3]) {
        for (value, word) in [(good, "met: "), (at, "met: "), (bad, "NOT MET: ")] {
            let said = the_only_sentence(&rows(value));
            assert!(said.starts_with(word) && said.contains(about), "{value}: {said}");
        }
    }

    const WARM: RowPath = RowPath::Hop(HopPath::Warm);
    const COLD: RowPath = RowPath::Hop(HopPath::Cold);
    const QUINN: RowPath = RowPath::Floor(Floor::Quinn);

    #[test]
    fn the_cutover_is_held_against_three_bare_round_trips() {
        let rows = |quinn_ns| vec![of(WARM, 1 << 10, 3), of(QUINN, 1 << 10, quinn_ns)];
        assert_bar("(bar: 3 x)", rows, [1001, 1000, 999]);
    }

    #[test]
    fn the_weight_of_a_snapshot_is_held_against_the_lightest() {
        let rows = |heavy_us| vec![of(WARM, 1 << 10, 1000), of(WARM, 256 << 10, heavy_us)];
        assert_bar("(bar: 1.3 x)", rows, [1299, 1300, 1301]);
    }

    #[test]
    fn a_heavy_snapshot_is_held_against_a_light_one_that_is_as_seldom_too() {
        for (heavy_us, light, seldom) in
            [(1300, "NOT MET: ", "met: "), (650, "met: ", "met: "), (1301, "NOT MET: ", "NOT MET: ")]
        {
            let mut rare = of(WARM, 1 << 10, 1000);
            rare.dwell = Some(Duration::from_millis(5));
            let said = verdict(&[of(WARM, 1 << 10, 500), of(WARM, 256 << 10, heavy_us), rare]);
            assert_eq!(said.len(), 2, "{said:?}");
            assert!(said[0].starts_with(light) && said[0].contains("256 KiB against 1 KiB:"), "{said:?}");
            assert!(said[1].starts_with(seldom) && said[1].contains("as seldom, every 5.0ms"), "{said:?}");
        }
    }

    #[test]
    fn the_cold_path_is_held_against_two_bare_round_trips_without_the_worlds_own_time() {
        let rows = |quinn_ns| vec![of(COLD, 16 << 10, 2), of(QUINN, 16 << 10, quinn_ns)];
        assert_bar("(bar: 2 x)", rows, [1001, 1000, 999]);
        let rows = |callback_us| {
            let mut cold = of(COLD, 16 << 10, 100);
            cold.callbacks_us.record_n(callback_us, 9).unwrap();
            cold.callbacks_us.record(2000).unwrap();
            vec![cold, of(QUINN, 16 << 10, 1000)]
        };
        assert_bar("the World's own time aside", rows, [99, 98, 97]);
        let said = the_only_sentence(&rows(500));
        assert!(said.starts_with("met: ") && said.contains(": 0.00 x"), "never below nothing: {said}");
    }

    #[test]
    fn the_rate_is_held_against_ten_thousand_a_second() {
        let rows = |completed| {
            let mut row = Row::new(WARM, Some(4 << 10), 64);
            (row.completed, row.elapsed) = (completed, Duration::from_secs(1));
            vec![row]
        };
        assert_bar("(bar: 10000)", rows, [10_001, 10_000, 9_999]);
    }

    #[test]
    fn a_row_of_many_values_without_faults_is_not_doubted() {
        assert_eq!(doubts_of(&row(SAMPLES_MIN)), Vec::<String>::new());
    }

    #[test]
    fn each_reason_to_doubt_is_named() {
        let said = |change: fn(&mut Row), word: &str| {
            let mut row = row(SAMPLES_MIN);
            change(&mut row);
            let doubts = doubts_of(&row);
            assert!(doubts.len() == 1 && doubts[0].contains(word), "{word}: {doubts:?}");
        };
        said(|row| row.latency = crate::figures::empty(), "0 values");
        said(|row| row.warm_up = 3, "3 handoffs in the warm-up");
        said(|row| row.cold = 2, "2 handoffs took the other path");
        said(|row| row.aborted = 1, "1 handoffs were aborted");
        said(
            |row| (row.others_cpu_s, row.elapsed) = (Some(0.5), Duration::from_secs(2)),
            "other processes kept 0.25",
        );
        said(|row| (row.paced, row.ticks, row.ticks_skipped) = (true, 900, 100), "10 % of the ticks");
    }
}
