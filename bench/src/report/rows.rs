//! The rows of a report: what was measured, at which size and with how many at once.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::latency::{Latency, RawHistogram};
use crate::Figures;

/// Rows of one file: each may become a line of a plot.
const ROWS_MAX: usize = 1000;
/// Microseconds in a millisecond.
const MS: f64 = 1000.0;
/// The times of a whole run: their name in reports, on the page, and their unit in microseconds.
const WHOLE: [(&str, &str, f64); 6] = [
    ("cutover_us", "cutover", 1.0),
    ("client_gap_ms", "client_gap", MS),
    ("handoff_total_ms", "handoff_total", MS),
    ("prepare_ms", "prepare", MS),
    ("tick_us", "tick", 1.0),
    ("tick_late_us", "tick_late", 1.0),
];

/// What a row is about: rows of two runs with the same key are compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// Entities, players or requests at once. None where they come at a pace of their own.
    pub(super) concurrency: Option<u64>,
    /// Of a snapshot, or of a message. None where only the mesh knows.
    pub(super) snapshot_bytes: Option<u64>,
    pub(super) path: String,
    /// How many rows of the same run stand before it with the same three.
    pub(super) nth: usize,
}

/// What was measured.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: Key,
    pub(super) latency: Latency,
    /// Handoffs, requests or messages a second.
    pub(super) per_s: Option<f64>,
    /// What a lane carried, in millions of bytes a second.
    pub(super) mb_per_s: Option<f64>,
    /// Phases in microseconds, by name.
    pub(super) phases: BTreeMap<String, Figures>,
}

#[derive(Debug, Deserialize)]
struct RawRow {
    path: String,
    snapshot_bytes: Option<u64>,
    concurrency: Option<u64>,
    cutover_us: Option<Figures>,
    rtt_us: Option<Figures>,
    handoffs_per_s: Option<f64>,
    requests_per_s: Option<f64>,
    histogram: Option<RawHistogram>,
    #[serde(default)]
    phases: BTreeMap<String, Figures>,
}

impl RawRow {
    fn checked(self) -> anyhow::Result<Row> {
        let Some(figures) = self.cutover_us.or(self.rtt_us) else {
            bail!("neither \"cutover_us\" nor \"rtt_us\" says how long it took");
        };
        Ok(Row {
            key: Key {
                concurrency: self.concurrency,
                snapshot_bytes: self.snapshot_bytes,
                path: self.path,
                nth: 0,
            },
            latency: Latency::new(figures, 1.0, self.histogram)?,
            per_s: self.handoffs_per_s.or(self.requests_per_s),
            mb_per_s: None,
            phases: self.phases.into_iter().filter(|(_, phase)| phase.count > 0).collect(),
        })
    }
}

/// What a link's lane was measured with.
#[derive(Debug, Deserialize)]
struct RawLane {
    part: String,
    lane: String,
    load: String,
    bytes: Option<u64>,
    in_flight: Option<u64>,
    rtt_us: Figures,
    messages_per_s: Option<f64>,
    mb_per_s: Option<f64>,
    histogram: Option<RawHistogram>,
}

impl RawLane {
    fn checked(self) -> anyhow::Result<Row> {
        Ok(Row {
            key: Key {
                concurrency: self.in_flight,
                snapshot_bytes: self.bytes,
                path: format!("{}, {}, {}", self.lane, self.part, self.load),
                nth: 0,
            },
            latency: Latency::new(self.rtt_us, 1.0, self.histogram)?,
            per_s: self.messages_per_s,
            mb_per_s: self.mb_per_s,
            phases: BTreeMap::new(),
        })
    }
}

/// The rows of handoffs and floors.
pub(super) fn of_paths(report: &Map<String, Value>) -> anyhow::Result<Vec<Row>> {
    let mut rows = measured(report, RawRow::checked)?;
    // At the pace of another row: it must not be taken for one of its own path.
    if let Some(raw) = report.get("seldom").filter(|raw| !raw.is_null()) {
        let mut row = read(raw, RawRow::checked).context("seldom")?;
        row.key.path += ", seldom";
        rows.push(row);
    }
    Ok(rows)
}

/// The rows of a link's lanes.
pub(super) fn of_lanes(report: &Map<String, Value>) -> anyhow::Result<Vec<Row>> {
    measured(report, RawLane::checked)
}

fn measured<'a, Raw: Deserialize<'a>>(
    report: &'a Map<String, Value>,
    checked: fn(Raw) -> anyhow::Result<Row>,
) -> anyhow::Result<Vec<Row>> {
    let Some(raw) = report.get("rows").and_then(Value::as_array) else {
        bail!("its \"rows\" are not a list");
    };
    ensure!(!raw.is_empty(), "it has no row: nothing was measured");
    ensure!(raw.len() <= ROWS_MAX, "it has {} rows, more than the {ROWS_MAX} of a page", raw.len());
    let mut rows: Vec<Row> = Vec::with_capacity(raw.len());
    for (at, raw) in raw.iter().enumerate() {
        let mut row = read(raw, checked).with_context(|| format!("rows[{at}]"))?;
        row.key.nth = rows.iter().filter(|earlier| is_alike(&earlier.key, &row.key)).count();
        rows.push(row);
    }
    Ok(rows)
}

fn read<'a, Raw: Deserialize<'a>>(
    raw: &'a Value,
    checked: fn(Raw) -> anyhow::Result<Row>,
) -> anyhow::Result<Row> {
    checked(Raw::deserialize(raw)?)
}

fn is_alike(one: &Key, other: &Key) -> bool {
    (one.concurrency, one.snapshot_bytes, &one.path) == (other.concurrency, other.snapshot_bytes, &other.path)
}

/// The times of a report of a whole run, a row each.
pub(super) fn of_whole_run(report: &Map<String, Value>) -> anyhow::Result<Vec<Row>> {
    let config = |key: &str| report.get("config")?.get(key)?.as_u64();
    let rows = WHOLE.iter().filter_map(|&(name, path, unit_us)| {
        let figures = Figures::deserialize(report.get(name)?).map_err(anyhow::Error::from);
        let latency = figures.and_then(|figures| Latency::new(figures, unit_us, None));
        let key = Key {
            concurrency: config("players"),
            snapshot_bytes: config("snapshot_bytes"),
            path: path.to_owned(),
            nth: 0,
        };
        let per_s = (path == "cutover").then(|| report.get("handoffs_per_s")?.as_f64()).flatten();
        let row = latency.map(|latency| Row { key, latency, per_s, mb_per_s: None, phases: BTreeMap::new() });
        Some(row.with_context(|| name.to_owned()))
    });
    rows.collect()
}

/// Whether this is a distribution: those are rows, not counts.
pub(super) fn is_figures(value: &Value) -> bool {
    Figures::deserialize(value).is_ok()
}
