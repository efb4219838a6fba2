//! The rows of the result: as a table, in words, as JSON, as percentile files.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Context;
use hdrhistogram::Histogram;
use selvedge_node::HistogramText;
use serde_json::{Map, Value, json};

use super::spec::{Seen, Stretch, Via};
use crate::{Figures, Table, figures};

/// Nanoseconds in a microsecond.
const NS: f64 = 1000.0;
/// The most that pre-copies may add to a cutover: its p99 on a quiet link times this.
const RATIO_MAX: f64 = 2.0;

#[derive(Debug)]
pub(super) struct Row {
    pub(super) stretch: Stretch,
    rtt_ns: Histogram<u64>,
    elapsed_s: f64,
    sent: u64,
    answered: u64,
    not_taken: u64,
    loads: Vec<(Via, u64)>,
}

impl Row {
    pub(super) fn new(stretch: Stretch, seen: &Seen) -> anyhow::Result<Self> {
        let mut row = Self {
            stretch,
            rtt_ns: Histogram::new(3)?,
            elapsed_s: 0.0,
            sent: 0,
            answered: 0,
            not_taken: 0,
            loads: Vec::new(),
        };
        row.add(seen)?;
        Ok(row)
    }

    pub(super) fn add(&mut self, seen: &Seen) -> anyhow::Result<()> {
        self.rtt_ns.add(seen.rtt_ns.decode()?)?;
        self.elapsed_s += seen.elapsed.as_secs_f64();
        self.sent += seen.sent;
        self.answered += seen.answered;
        self.not_taken += seen.not_taken;
        for &(via, count) in &seen.loads {
            match self.loads.iter_mut().find(|(other, _)| *other == via) {
                Some((_, sum)) => *sum += count,
                None => self.loads.push((via, count)),
            }
        }
        Ok(())
    }

    fn rtt_us(&self) -> Figures {
        figures(&self.rtt_ns, NS)
    }

    fn per_second(&self, count: u64) -> f64 {
        as_f64(count) / self.elapsed_s.max(f64::MIN_POSITIVE)
    }

    fn mb_per_second(&self, via: Via, count: u64) -> f64 {
        self.per_second(count) * as_f64(via.bytes() as u64) / 1e6
    }

    fn loads_mb_per_second(&self) -> f64 {
        self.loads.iter().map(|&(via, count)| self.mb_per_second(via, count)).sum()
    }

    /// The share of what was sent that has no answer.
    fn unanswered(&self) -> f64 {
        as_f64(self.sent.saturating_sub(self.answered)) / as_f64(self.sent.max(1))
    }

    fn name(&self) -> String {
        let Stretch { part, load_name, via, in_flight, .. } = &self.stretch;
        format!("{part}-{}-x{in_flight}-{load_name}", via.name())
    }

    pub(super) fn as_json(&self) -> Value {
        let stretch = &self.stretch;
        let loads = self
            .loads
            .iter()
            .map(|&(via, count)| (via.name().to_owned(), json!(self.mb_per_second(via, count))));
        json!({
            "part": stretch.part,
            "lane": stretch.via.name(),
            "bytes": stretch.via.bytes(),
            "in_flight": stretch.every.is_none().then_some(stretch.in_flight),
            "paced_us": stretch.every.map(|every| every.as_secs_f64() * 1e6),
            "load": stretch.load_name,
            "rtt_us": self.rtt_us(),
            "histogram": { "unit": "ns", "hdr_v2": HistogramText::encode(&self.rtt_ns) },
            "messages_per_s": self.per_second(self.answered),
            "mb_per_s": self.mb_per_second(stretch.via, self.answered),
            "sent": self.sent,
            "answered": self.answered,
            "not_taken": self.not_taken,
            "unanswered_share": self.unanswered(),
            "load_mb_per_s": Value::Object(Map::from_iter(loads)),
        })
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts are below 2^53")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

pub(super) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new([
        "measured",
        "lane",
        "bytes",
        "in flight",
        "load",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "max us",
        "1/s",
        "MB/s",
        "unanswered",
        "load MB/s",
    ]);
    for row in rows {
        let (stretch, rtt) = (&row.stretch, row.rtt_us());
        let in_flight =
            stretch.every.map_or(stretch.in_flight.to_string(), |every| format!("each {every:?}"));
        table.row([
            stretch.part.clone(),
            stretch.via.name().to_owned(),
            stretch.via.bytes().to_string(),
            in_flight,
            stretch.load_name.clone(),
            format!("{:.0}", rtt.p50),
            format!("{:.0}", rtt.p99),
            format!("{:.0}", rtt.p999),
            format!("{:.0}", rtt.max),
            format!("{:.0}", row.per_second(row.answered)),
            format!("{:.1}", row.mb_per_second(stretch.via, row.answered)),
            format!("{:.2} %", row.unanswered() * 100.0),
            format!("{:.1}", row.loads_mb_per_second()),
        ]);
    }
    table
}

/// The paced cutover's p99 under each load, in those of the quiet link.
pub(super) fn ratios(rows: &[Row]) -> Vec<(String, f64)> {
    let paced = || rows.iter().filter(|row| row.stretch.part == "paced");
    let Some(quiet) = paced().find(|row| row.stretch.loads.is_empty()).map(|row| row.rtt_us().p99) else {
        return Vec::new();
    };
    let loaded = paced().filter(|row| !row.stretch.loads.is_empty());
    loaded
        .map(|row| (row.stretch.load_name.clone(), row.rtt_us().p99 / quiet.max(f64::MIN_POSITIVE)))
        .collect()
}

pub(super) fn verdict(rows: &[Row], set_up_ns: &Histogram<u64>) -> Vec<String> {
    let set_up = figures(set_up_ns, NS);
    let mut said = vec![format!(
        "a link is up after {:.0} us (p50), {:.0} us (p99), with both certificates checked; sessions are not resumed, \
         so that every connection shows a certificate that is valid now",
        set_up.p50, set_up.p99
    )];
    for (load, ratio) in ratios(rows) {
        let judged = if ratio <= RATIO_MAX { "within" } else { "OVER" };
        said.push(format!("cutover p99 under {load}: {ratio:.2} x the quiet link, {judged} {RATIO_MAX} x"));
    }
    said
}

pub(super) fn write_percentiles(rows: &[Row], dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    for row in rows {
        let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
        let mut total = 0;
        for step in row.rtt_ns.iter_quantiles(5) {
            total += step.count_since_last_iteration();
            let quantile = step.quantile_iterated_to();
            let value = as_f64(step.value_iterated_to()) / NS;
            writeln!(text, "{value:12.3} {quantile:14.12} {total:10} {:14.2}", 1.0 / (1.0 - quantile))?;
        }
        let path = dir.join(row.name() + "-rtt_us.hgrm");
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
