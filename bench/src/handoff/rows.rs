//! The rows of the result: as figures, as a table, as JSON, as percentile files, and in words.

use std::fmt::{self, Write};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::args::HopPath;
use super::cpu::Spent;
use super::spec::Floor;
use crate::{Figures, Table, figures};

/// Nanoseconds in a microsecond: the floors count in those.
const NS: f64 = 1000.0;
/// The thread of a node that owns the core and the links.
const MESH_THREAD: &str = "selvedge-mesh";
/// What is promised: times bare quinn at 1 KiB; the heaviest snapshot against the lightest; cold against bare quinn.
const WARM_RATIO_MAX: f64 = 3.0;
const WEIGHT_RATIO_MAX: f64 = 1.3;
const COLD_RATIO_MAX: f64 = 2.0;
const HANDOFFS_PER_S_MIN: f64 = 10_000.0;

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowPath {
    Hop(HopPath),
    Floor(Floor),
}

impl RowPath {
    const fn name(self) -> &'static str {
        match self {
            Self::Hop(HopPath::Warm) => "warm",
            Self::Hop(HopPath::Cold) => "cold",
            Self::Floor(Floor::Udp) => "udp",
            Self::Floor(Floor::Quinn) => "quinn",
        }
    }
}

impl fmt::Display for RowPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One row.
#[derive(Debug)]
pub(super) struct Row {
    path: RowPath,
    snapshot_bytes: usize,
    concurrency: usize,
    /// `cutover` in microseconds, or the round trip in nanoseconds.
    pub(super) latency: Histogram<u64>,
    pub(super) prepare_us: Histogram<u64>,
    pub(super) callbacks_us: Histogram<u64>,
    pub(super) missed_ticks: Histogram<u64>,
    /// Handoffs that were taken over and simulated, or requests answered.
    pub(super) completed: u64,
    pub(super) warm: u64,
    pub(super) cold: u64,
    pub(super) aborted: u64,
    pub(super) refused: u64,
    pub(super) ticks: u64,
    pub(super) repeated: u64,
    /// Of both nodes, by thread.
    pub(super) cpu_s: Spent,
    elapsed: Duration,
}

impl Row {
    pub(super) fn new(path: RowPath, snapshot_bytes: usize, concurrency: usize) -> Self {
        Self {
            path,
            snapshot_bytes,
            concurrency,
            latency: empty(),
            prepare_us: empty(),
            callbacks_us: empty(),
            missed_ticks: empty(),
            completed: 0,
            warm: 0,
            cold: 0,
            aborted: 0,
            refused: 0,
            ticks: 0,
            repeated: 0,
            cpu_s: Spent::new(),
            elapsed: Duration::ZERO,
        }
    }

    pub(super) fn finish(&mut self, elapsed: Duration) {
        self.elapsed = elapsed;
        if matches!(self.path, RowPath::Floor(_)) {
            self.completed = self.latency.len();
        }
    }

    /// In microseconds.
    fn latency(&self) -> Figures {
        figures(&self.latency, if matches!(self.path, RowPath::Hop(_)) { 1.0 } else { NS })
    }

    #[allow(clippy::cast_precision_loss, reason = "counts are below 2^53")]
    fn per_second(&self) -> f64 {
        self.completed as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// CPU seconds of 1,000 handoffs: of the threads whose name begins so.
    #[allow(clippy::cast_precision_loss, reason = "counts are below 2^53")]
    fn cpu_per_1000(&self, thread: &str) -> f64 {
        let spent: f64 =
            self.cpu_s.iter().filter(|(name, _)| name.starts_with(thread)).map(|(_, seconds)| seconds).sum();
        spent * 1000.0 / self.completed.max(1) as f64
    }

    fn phases(&self) -> [(&'static str, &Histogram<u64>); 3] {
        [
            ("prepare_us", &self.prepare_us),
            ("cutover_us", &self.latency),
            ("world_callbacks_us", &self.callbacks_us),
        ]
    }

    fn as_json(&self) -> Value {
        let mut row = Map::new();
        let mut put = |key: &str, value: Value| drop(row.insert(key.to_owned(), value));
        put("path", json!(self.path.name()));
        put("snapshot_bytes", json!(self.snapshot_bytes));
        put("concurrency", json!(self.concurrency));
        match self.path {
            RowPath::Floor(_) => {
                put("rtt_us", json!(self.latency()));
                put("requests_per_s", json!(self.per_second()));
                put("repeated", json!(self.repeated));
            }
            RowPath::Hop(_) => {
                put("cutover_us", json!(self.latency()));
                put("handoffs_per_s", json!(self.per_second()));
                let phases = self.phases().map(|(name, phase)| (name.to_owned(), json!(figures(phase, 1.0))));
                put("phases", Value::Object(Map::from_iter(phases)));
                put("missed_ticks", json!(figures(&self.missed_ticks, 1.0)));
                put(
                    "handoffs",
                    json!({ "completed": self.completed, "warm": self.warm, "cold": self.cold,
                    "aborted": self.aborted, "prepares_refused": self.refused }),
                );
                put("ticks", json!(self.ticks));
                put(
                    "cpu_s_per_1000_handoffs",
                    json!({
                        "all": self.cpu_per_1000(""),
                        "mesh_threads": self.cpu_per_1000(MESH_THREAD),
                    }),
                );
            }
        }
        Value::Object(row)
    }

    /// Names and contents of the percentile files of this row, as HdrHistogram's plotters read them.
    pub(super) fn percentile_files(&self) -> Vec<(String, String)> {
        let stem = format!("{}-{}-x{}", self.path, self.snapshot_bytes, self.concurrency);
        match self.path {
            RowPath::Floor(_) => vec![(format!("{stem}-rtt_us.hgrm"), percentiles(&self.latency, NS))],
            RowPath::Hop(_) => self
                .phases()
                .map(|(phase, histogram)| (format!("{stem}-{phase}.hgrm"), percentiles(histogram, 1.0)))
                .to_vec(),
        }
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_json().serialize(serializer)
    }
}

fn empty() -> Histogram<u64> {
    match Histogram::new(3) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("the digits are a constant: {error}"),
    }
}

#[allow(clippy::cast_precision_loss, reason = "values are below 2^53")]
fn percentiles(histogram: &Histogram<u64>, unit: f64) -> String {
    let mut text = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n".to_owned();
    for step in histogram.iter_quantiles(5) {
        let quantile = step.quantile_iterated_to();
        let value = step.value_iterated_to() as f64 / unit;
        let count = histogram.count_between(0, step.value_iterated_to());
        let _ = if quantile < 1.0 {
            writeln!(text, "{value:12.3} {quantile:2.12} {count:10} {:14.2}", 1.0 / (1.0 - quantile))
        } else {
            writeln!(text, "{value:12.3} {quantile:2.12} {count:10}")
        };
    }
    let (mean, max) = (histogram.mean() / unit, histogram.max() as f64 / unit);
    let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {:12.3}]", histogram.stdev() / unit);
    let _ = writeln!(text, "#[Max     = {max:12.3}, Total count    = {:12}]", histogram.len());
    text
}

/// All rows for a terminal.
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
        "prepare p50",
        "world p50",
        "missed p99",
        "CPU s/1000",
        "(mesh)",
    ]);
    for row in rows {
        let latency = row.latency();
        let us = |value: f64| format!("{value:.1}");
        let hop = matches!(row.path, RowPath::Hop(_));
        let only_hop = |text: String| if hop { text } else { String::new() };
        table.row([
            row.path.to_string(),
            row.snapshot_bytes.to_string(),
            row.concurrency.to_string(),
            us(latency.p50),
            us(latency.p99),
            us(latency.p999),
            us(latency.max),
            format!("{:.0}", row.per_second()),
            only_hop(us(figures(&row.prepare_us, 1.0).p50)),
            only_hop(us(figures(&row.callbacks_us, 1.0).p50)),
            only_hop(format!("{:.0}", figures(&row.missed_ticks, 1.0).p99)),
            only_hop(format!("{:.3}", row.cpu_per_1000(""))),
            only_hop(format!("{:.3}", row.cpu_per_1000(MESH_THREAD))),
        ]);
    }
    table
}

/// What the rows say, in sentences, as far as they were measured.
pub(super) fn verdict(rows: &[Row]) -> Vec<String> {
    let find = |path, bytes, concurrency| {
        rows.iter().find(|row| {
            row.path == path
                && row.snapshot_bytes == bytes
                && (concurrency == 0 || row.concurrency == concurrency)
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
    let (one, heavy, middle) = (1 << 10, 256 << 10, 16 << 10);
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
    sentences.extend(ratio(
        "cold path against bare quinn, 16 KiB",
        p50(cold, middle),
        p50(quinn, middle),
        COLD_RATIO_MAX,
    ));
    sentences.extend(find(warm, 4 << 10, 64).map(|row| {
        let rate = row.per_second();
        let good = word(rate >= HANDOFFS_PER_S_MIN);
        format!("{good}: {rate:.0} handoffs a second of 64 entities of 4 KiB (bar: {HANDOFFS_PER_S_MIN})")
    }));
    let strays: u64 = rows
        .iter()
        .map(|row| match row.path {
            RowPath::Hop(HopPath::Warm) => row.cold,
            RowPath::Hop(HopPath::Cold) => row.warm,
            RowPath::Floor(_) => 0,
        })
        .sum();
    if strays > 0 {
        sentences.push(format!(
            "{strays} handoffs took the other path than their row says, and are in its figures"
        ));
    }
    let aborted: u64 = rows.iter().map(|row| row.aborted).sum();
    if aborted > 0 {
        sentences.push(format!("{aborted} handoffs were aborted and tried again"));
    }
    sentences
}

const fn word(good: bool) -> &'static str {
    if good { "met" } else { "NOT MET" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_it_measured_in_microseconds() {
        let mut row = Row::new(RowPath::Floor(Floor::Udp), 1024, 1);
        row.latency.record(20_000).unwrap();
        row.finish(Duration::from_secs(2));
        let json = row.as_json();
        assert_eq!(json["path"], "udp");
        assert!((json["rtt_us"]["p50"].as_f64().unwrap() - 20.0).abs() < 0.1);
        assert_eq!(json["requests_per_s"], 0.5);
    }

    #[test]
    fn the_verdict_is_silent_about_what_was_not_measured() {
        assert!(verdict(&[Row::new(RowPath::Hop(HopPath::Cold), 4096, 1)]).is_empty());
    }
}
