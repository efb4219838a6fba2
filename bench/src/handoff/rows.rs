//! The rows of the result: as figures, as JSON, as percentile files.

use std::fmt::{self, Write};
use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;
use selvedge_node::HistogramText;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::args::HopPath;
use super::cpu::Spent;
use super::difference::{Difference, OfPath};
use super::players::PlayersSeen;
use super::restless::Load;
use super::spec::Floor;
use crate::figures::{difference, empty};
use crate::{Figures, figures};

/// Nanoseconds in a microsecond: the floors count in those.
const NS: f64 = 1000.0;
/// The thread of a node that owns the core and the links.
pub(crate) const MESH_THREAD: &str = "selvedge-mesh";

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowPath {
    Hop(HopPath),
    Floor(Floor),
}

impl RowPath {
    pub(super) const fn name(self) -> &'static str {
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

/// What the players of a row saw.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) client_gap_us: Histogram<u64>,
    pub(super) switches: u64,
    pub(super) prepared_switches: u64,
    pub(super) unseen: u64,
    pub(super) connections_lost: u64,
    /// To the end.
    pub(super) inputs_lost: u64,
    pub(super) inputs_doubled: u64,
    pub(super) authority_violations: u64,
}

impl Seen {
    /// What was seen between two looks, and what was wrong in the end.
    pub(super) fn between(
        before: &PlayersSeen,
        after: &PlayersSeen,
        end: &PlayersSeen,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            client_gap_us: difference(&before.client_gap_us, &after.client_gap_us)
                .context("the players' account")?,
            switches: after.switches - before.switches,
            prepared_switches: after.prepared_switches - before.prepared_switches,
            unseen: after.unseen - before.unseen,
            connections_lost: after.lost_connections - before.lost_connections,
            inputs_lost: end.inputs_lost,
            inputs_doubled: end.inputs_doubled,
            authority_violations: end.authority_violations,
        })
    }

    /// Adds what others saw in another turn.
    fn add(&mut self, other: Self) -> anyhow::Result<()> {
        self.client_gap_us.add(other.client_gap_us)?;
        self.switches += other.switches;
        self.prepared_switches += other.prepared_switches;
        self.unseen += other.unseen;
        self.connections_lost += other.connections_lost;
        self.inputs_lost += other.inputs_lost;
        self.inputs_doubled += other.inputs_doubled;
        self.authority_violations += other.authority_violations;
        Ok(())
    }

    /// Whether nothing was lost, doubled or in two hands.
    pub(super) const fn is_good(&self) -> bool {
        self.inputs_lost == 0 && self.inputs_doubled == 0 && self.authority_violations == 0
    }

    pub(super) fn as_json(&self) -> Value {
        json!({
            "client_gap_us": figures(&self.client_gap_us, 1.0),
            "switches": { "all": self.switches, "prepared": self.prepared_switches,
                "with_unseen_ticks": self.unseen },
            "connections_lost": self.connections_lost,
            "inputs": { "lost": self.inputs_lost, "doubled": self.inputs_doubled },
            "authority_violations": self.authority_violations,
        })
    }
}

/// One row.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) path: RowPath,
    /// None where only the mesh knows.
    pub(super) snapshot_bytes: Option<usize>,
    pub(super) concurrency: usize,
    /// `cutover` in microseconds, or the round trip in nanoseconds.
    pub(super) latency: Histogram<u64>,
    pub(super) prepare_us: Histogram<u64>,
    pub(super) ready_us: Histogram<u64>,
    pub(super) precopy_us: Histogram<u64>,
    pub(super) attach_us: Histogram<u64>,
    pub(super) callbacks_us: Histogram<u64>,
    pub(super) missed_ticks: Histogram<u64>,
    /// Handoffs that were taken over and simulated, or requests answered.
    pub(super) completed: u64,
    pub(super) warm: u64,
    pub(super) cold: u64,
    pub(super) aborted: u64,
    pub(super) refused: u64,
    pub(super) ticks: u64,
    pub(super) ticks_skipped: u64,
    /// Whether ticks were to keep mesh time: one left out is then one missed.
    pub(super) paced: bool,
    pub(super) repeated: u64,
    /// Handoffs before the measurement began.
    pub(super) warm_up: u64,
    /// Of both nodes, by thread.
    pub(super) cpu_s: Spent,
    /// CPU seconds that processes took which have nothing to do with it. None where nobody could look.
    pub(super) others_cpu_s: Option<f64>,
    pub(super) players: Option<Seen>,
    /// What ran beside it.
    pub(super) load: Load,
    /// How long each entity stayed on a node, in a row that is there to be compared with one that is as seldom.
    pub(super) dwell: Option<Duration>,
    pub(super) elapsed: Duration,
}

impl Row {
    pub(super) fn new(path: RowPath, snapshot_bytes: Option<usize>, concurrency: usize) -> Self {
        Self {
            path,
            snapshot_bytes,
            concurrency,
            latency: empty(),
            prepare_us: empty(),
            ready_us: empty(),
            precopy_us: empty(),
            attach_us: empty(),
            callbacks_us: empty(),
            missed_ticks: empty(),
            completed: 0,
            warm: 0,
            cold: 0,
            aborted: 0,
            refused: 0,
            ticks: 0,
            ticks_skipped: 0,
            paced: false,
            repeated: 0,
            warm_up: 0,
            cpu_s: Spent::new(),
            others_cpu_s: None,
            players: None,
            load: Load::default(),
            dwell: None,
            elapsed: Duration::ZERO,
        }
    }

    /// Takes all that was measured: every entity of the mesh was this row's.
    pub(super) fn take_all(&mut self, measured: Difference, elapsed: Duration) -> anyhow::Result<()> {
        (self.warm, self.cold) = (measured.warm.handoffs, measured.cold.handoffs);
        self.take_path(measured.warm)?;
        self.take_path(measured.cold)?;
        self.precopy_us = measured.precopy_us;
        self.attach_us = measured.attach_us;
        self.callbacks_us = measured.callbacks_us;
        self.missed_ticks = measured.missed_ticks;
        self.completed = measured.taken_over;
        (self.aborted, self.refused) = (measured.aborted, measured.refused);
        (self.ticks, self.ticks_skipped) = (measured.ticks, measured.ticks_skipped);
        self.elapsed = elapsed;
        Ok(())
    }

    /// Adds what was measured of the same in another turn.
    pub(super) fn add(&mut self, other: Self) -> anyhow::Result<()> {
        let pairs = [
            (&mut self.latency, other.latency),
            (&mut self.prepare_us, other.prepare_us),
            (&mut self.ready_us, other.ready_us),
            (&mut self.precopy_us, other.precopy_us),
            (&mut self.attach_us, other.attach_us),
            (&mut self.callbacks_us, other.callbacks_us),
            (&mut self.missed_ticks, other.missed_ticks),
        ];
        for (sum, part) in pairs {
            sum.add(part)?;
        }
        self.completed += other.completed;
        self.warm += other.warm;
        self.cold += other.cold;
        self.aborted += other.aborted;
        self.refused += other.refused;
        self.ticks += other.ticks;
        self.ticks_skipped += other.ticks_skipped;
        self.repeated += other.repeated;
        self.warm_up += other.warm_up;
        for (thread, seconds) in other.cpu_s {
            *self.cpu_s.entry(thread).or_default() += seconds;
        }
        self.others_cpu_s = self.others_cpu_s.zip(other.others_cpu_s).map(|(sum, part)| sum + part);
        match (&mut self.players, other.players) {
            (Some(sum), Some(part)) => sum.add(part)?,
            (players, part) => *players = players.take().or(part),
        }
        self.load.copied.copies += other.load.copied.copies;
        self.load.copied.bytes += other.load.copied.bytes;
        self.load.elapsed += other.load.elapsed;
        self.elapsed += other.elapsed;
        Ok(())
    }

    /// Takes what was measured apart for a path.
    pub(super) fn take_path(&mut self, measured: OfPath) -> anyhow::Result<()> {
        self.completed += measured.handoffs;
        self.latency.add(measured.cutover_us)?;
        self.prepare_us.add(measured.answer_us)?;
        self.ready_us.add(measured.ready_us)?;
        Ok(())
    }

    /// Takes a floor's round trips.
    pub(super) fn take_trips(&mut self, rtt_ns: &HistogramText, elapsed: Duration) -> anyhow::Result<()> {
        self.latency = rtt_ns.decode()?;
        self.completed = self.latency.len();
        self.elapsed = elapsed;
        Ok(())
    }

    pub(super) const fn is_hop(&self) -> bool {
        matches!(self.path, RowPath::Hop(_))
    }

    /// In microseconds.
    pub(super) fn latency(&self) -> Figures {
        figures(&self.latency, if self.is_hop() { 1.0 } else { NS })
    }

    #[allow(clippy::cast_precision_loss, reason = "counts are below 2^53")]
    pub(super) fn per_second(&self) -> f64 {
        self.completed as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// How many cores were busy with something else, on average.
    pub(super) fn others_cores(&self) -> Option<f64> {
        Some((self.others_cpu_s? / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)).max(0.0))
    }

    /// CPU seconds of 1,000 handoffs: of the threads whose name begins so. None where nobody could look.
    #[allow(clippy::cast_precision_loss, reason = "counts are below 2^53")]
    pub(super) fn cpu_per_1000(&self, thread: &str) -> Option<f64> {
        if self.cpu_s.is_empty() || self.completed == 0 {
            return None;
        }
        let threads = self.cpu_s.iter().filter(|(name, _)| name.starts_with(thread));
        Some(threads.map(|(_, seconds)| seconds).sum::<f64>() * 1000.0 / self.completed as f64)
    }

    /// The phases in their order, with their names in reports, in microseconds. What a row doesn't have is empty.
    pub(super) fn phases(&self) -> [(&'static str, &Histogram<u64>); 6] {
        [
            ("prepare_us", &self.prepare_us),
            ("ready_us", &self.ready_us),
            ("precopy_us", &self.precopy_us),
            ("cutover_us", &self.latency),
            ("attach_us", &self.attach_us),
            ("world_callbacks_us", &self.callbacks_us),
        ]
    }

    fn as_json(&self) -> Value {
        let mut row = Map::new();
        let mut put = |key: &str, value: Value| drop(row.insert(key.to_owned(), value));
        put("path", json!(self.path.name()));
        put("snapshot_bytes", json!(self.snapshot_bytes));
        put("concurrency", json!(self.concurrency));
        put("elapsed_s", json!(self.elapsed.as_secs_f64()));
        // A hop's counts microseconds, a floor's nanoseconds.
        let unit = if self.is_hop() { "us" } else { "ns" };
        put("histogram", json!({ "unit": unit, "hdr_v2": HistogramText::encode(&self.latency) }));
        match self.path {
            RowPath::Floor(_) => {
                put("rtt_us", json!(self.latency()));
                put("requests_per_s", json!(self.per_second()));
                // Every row has these keys, so that whoever reads rows need not ask which kind one is.
                put("handoffs_per_s", Value::Null);
                put("phases", json!({}));
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
                    "aborted": self.aborted, "prepares_refused": self.refused, "in_warm_up": self.warm_up }),
                );
                put("ticks", json!({ "run": self.ticks, "skipped": self.ticks_skipped }));
                put(
                    "cpu_s_per_1000_handoffs",
                    json!({
                        "all": self.cpu_per_1000(""),
                        "mesh_threads": self.cpu_per_1000(MESH_THREAD),
                    }),
                );
                put("others_cores", json!(self.others_cores()));
                put("restless", if self.load.entities > 0 { self.load.as_json() } else { Value::Null });
                if let Some(dwell) = self.dwell {
                    put("dwell_s", json!(dwell.as_secs_f64()));
                }
                if let Some(seen) = &self.players {
                    put("players", seen.as_json());
                }
            }
        }
        Value::Object(row)
    }

    /// Names and contents of the percentile files of this row, as HdrHistogram's plotters read them.
    pub(super) fn percentile_files(&self) -> Vec<(String, String)> {
        let bytes = self.snapshot_bytes.map_or_else(|| "mesh".to_owned(), |bytes| bytes.to_string());
        let mut stem = format!("{}-{bytes}-x{}", self.path, self.concurrency);
        if self.load.entities > 0 {
            let _ = write!(stem, "-restless-{}", self.load.entities);
        }
        if self.dwell.is_some() {
            stem.push_str("-seldom");
        }
        if !self.is_hop() {
            return vec![(format!("{stem}-rtt_us.hgrm"), percentiles(&self.latency, NS))];
        }
        let file = |(name, histogram)| (format!("{stem}-{name}.hgrm"), percentiles(histogram, 1.0));
        let measured = self.phases().into_iter().filter(|(_, histogram)| !histogram.is_empty());
        let gap = self.players.as_ref().map(|seen| ("client_gap_us", &seen.client_gap_us));
        measured.chain(gap).map(file).collect()
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_json().serialize(serializer)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_says_what_it_measured_in_microseconds() {
        let mut rtt_ns = empty();
        rtt_ns.record(20_000).unwrap();
        let mut row = Row::new(RowPath::Floor(Floor::Udp), Some(1024), 1);
        row.take_trips(&HistogramText::encode(&rtt_ns), Duration::from_secs(2)).unwrap();
        let json = row.as_json();
        assert_eq!(json["path"], "udp");
        assert!((json["rtt_us"]["p50"].as_f64().unwrap() - 20.0).abs() < 0.1);
        assert_eq!(json["requests_per_s"], 0.5);
        assert_eq!(json.get("handoffs_per_s"), Some(&Value::Null), "nothing is handed off");
        assert_eq!(json["phases"], json!({}));
        assert_eq!(json["histogram"]["unit"], "ns");
        let text: HistogramText = serde_json::from_value(json["histogram"]["hdr_v2"].clone()).unwrap();
        assert_eq!(text.decode().unwrap(), rtt_ns);
    }

    #[test]
    fn a_row_takes_both_paths_and_names_every_phase() {
        let mut measured = Difference::default();
        measured.warm.handoffs = 2;
        measured.warm.cutover_us.record_n(100, 2).unwrap();
        measured.cold.handoffs = 1;
        measured.cold.cutover_us.record(900).unwrap();
        measured.taken_over = 3;
        measured.precopy_us.record(50).unwrap();
        let mut row = Row::new(RowPath::Hop(HopPath::Warm), Some(4096), 1);
        row.take_all(measured, Duration::from_secs(3)).unwrap();
        let json = row.as_json();
        assert_eq!(
            (json["cutover_us"]["count"].as_u64(), json["handoffs_per_s"].as_f64()),
            (Some(3), Some(1.0))
        );
        assert_eq!(json["phases"]["precopy_us"]["count"], 1);
        assert_eq!(json["phases"]["attach_us"]["count"], 0);

        let mut turn = Row::new(row.path, row.snapshot_bytes, row.concurrency);
        (turn.completed, turn.elapsed) = (5, Duration::from_secs(1));
        turn.latency.record_n(50, 5).unwrap();
        row.add(turn).unwrap();
        let json = row.as_json();
        assert_eq!(
            (json["cutover_us"]["count"].as_u64(), json["handoffs_per_s"].as_f64()),
            (Some(8), Some(2.0))
        );
        assert_eq!(json["handoffs"]["cold"], 1);
        assert_eq!(json["cpu_s_per_1000_handoffs"]["all"], Value::Null);
        let files: Vec<_> = row.percentile_files().into_iter().map(|(name, _)| name).collect();
        assert_eq!(files, ["warm-4096-x1-precopy_us.hgrm", "warm-4096-x1-cutover_us.hgrm"]);
    }
}
