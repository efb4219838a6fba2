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

#[derive(Debug)]
pub(super) struct Row {
    pub(super) stretch: Stretch,
    rtt_ns: Histogram<u64>,
    trip_ns: Histogram<u64>,
    late_ns: Histogram<u64>,
    elapsed_s: f64,
    pub(super) sent: u64,
    pub(super) answered: u64,
    answered_in_time: u64,
    pub(super) not_taken: u64,
    loads: Vec<(Via, u64)>,
    /// The p99 of each turn, in microseconds.
    turn_p99s_us: Vec<f64>,
}

impl Row {
    pub(super) fn new(stretch: Stretch, seen: &Seen) -> anyhow::Result<Self> {
        let mut row = Self {
            stretch,
            rtt_ns: Histogram::new(3)?,
            trip_ns: Histogram::new(3)?,
            late_ns: Histogram::new(3)?,
            elapsed_s: 0.0,
            sent: 0,
            answered: 0,
            answered_in_time: 0,
            not_taken: 0,
            loads: Vec::new(),
            turn_p99s_us: Vec::new(),
        };
        row.add(seen)?;
        Ok(row)
    }

    pub(super) fn add(&mut self, seen: &Seen) -> anyhow::Result<()> {
        let rtt_ns = seen.rtt_ns.decode()?;
        self.turn_p99s_us.push(figures(&rtt_ns, NS).p99);
        self.rtt_ns.add(rtt_ns)?;
        self.trip_ns.add(seen.trip_ns.decode()?)?;
        self.late_ns.add(seen.late_ns.decode()?)?;
        self.elapsed_s += seen.elapsed.as_secs_f64();
        self.sent += seen.sent;
        self.answered += seen.answered;
        self.answered_in_time += seen.answered_in_time;
        self.not_taken += seen.not_taken;
        for &(via, count) in &seen.loads {
            match self.loads.iter_mut().find(|(other, _)| *other == via) {
                Some((_, sum)) => *sum += count,
                None => self.loads.push((via, count)),
            }
        }
        Ok(())
    }

    /// Whether there is nothing to show.
    pub(super) fn is_empty(&self) -> bool {
        self.rtt_ns.is_empty()
    }

    pub(super) fn rtt_us(&self) -> Figures {
        figures(&self.rtt_ns, NS)
    }

    /// The p99 of the usual turn: the middle one, the upper of two. A hiccup of the machine spoils few turns.
    pub(super) fn usual_p99_us(&self) -> f64 {
        let mut sorted = self.turn_p99s_us.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
    }

    pub(super) fn late_us(&self) -> Figures {
        figures(&self.late_ns, NS)
    }

    fn per_second(&self, count: u64) -> f64 {
        as_f64(count) / self.elapsed_s.max(f64::MIN_POSITIVE)
    }

    fn mb_per_second(&self, via: Via, count: u64) -> f64 {
        self.per_second(count) * as_f64(via.bytes() as u64) / 1e6
    }

    pub(super) fn loads_mb_per_second(&self) -> f64 {
        // Not a sum: that of nothing is -0.0.
        self.loads.iter().fold(0.0, |sum, &(via, count)| sum + self.mb_per_second(via, count))
    }

    /// The share of what was sent that has no answer.
    fn unanswered(&self) -> f64 {
        as_f64(self.sent.saturating_sub(self.answered)) / as_f64(self.sent.max(1))
    }

    pub(super) fn name(&self) -> String {
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
            "turn_p99s_us": self.turn_p99s_us,
            "histogram": { "unit": "ns", "hdr_v2": HistogramText::encode(&self.rtt_ns) },
            "rtt_from_send_us": figures(&self.trip_ns, NS),
            "late_us": self.late_us(),
            "elapsed_s": self.elapsed_s,
            "messages_per_s": self.per_second(self.answered_in_time),
            "mb_per_s": self.mb_per_second(stretch.via, self.answered_in_time),
            "sent": self.sent,
            "answered": self.answered,
            "not_taken": self.not_taken,
            "unanswered_share": self.unanswered(),
            "load_mb_per_s": Value::Object(Map::from_iter(loads)),
        })
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts are below 2^53")]
pub(super) fn as_f64(count: u64) -> f64 {
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
        let us = |value: f64| if row.is_empty() { "-".to_owned() } else { format!("{value:.0}") };
        let in_flight =
            stretch.every.map_or(stretch.in_flight.to_string(), |every| format!("each {every:?}"));
        table.row([
            stretch.part.clone(),
            stretch.via.name().to_owned(),
            stretch.via.bytes().to_string(),
            in_flight,
            stretch.load_name.clone(),
            us(rtt.p50),
            us(rtt.p99),
            us(rtt.p999),
            us(rtt.max),
            format!("{:.0}", row.per_second(row.answered_in_time)),
            format!("{:.1}", row.mb_per_second(stretch.via, row.answered_in_time)),
            format!("{:.2} %", row.unanswered() * 100.0),
            format!("{:.1}", row.loads_mb_per_second()),
        ]);
    }
    table
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
