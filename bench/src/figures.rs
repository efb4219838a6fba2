//! The few figures of a histogram that people read.

use anyhow::Context;
use hdrhistogram::Histogram;
use selvedge_node::HistogramText;
use serde::{Deserialize, Serialize};

/// What a histogram says, in the unit that its name carries. All 0 if nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// How many values were measured.
    pub count: u64,
    /// Half of the values are at most this.
    pub p50: f64,
    /// 99 of 100 values are at most this.
    pub p99: f64,
    /// 999 of 1000 values are at most this.
    pub p999: f64,
    /// The largest value.
    pub max: f64,
}

/// The figures of a histogram, its values divided by `unit`.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "values are below 2^53")]
pub fn figures(histogram: &Histogram<u64>, unit: f64) -> Figures {
    if histogram.is_empty() {
        return Figures::default();
    }
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / unit;
    Figures {
        count: histogram.len(),
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        max: histogram.max() as f64 / unit,
    }
}

/// The figures in milliseconds of a histogram of microseconds.
#[must_use]
pub fn milliseconds(histogram: &Histogram<u64>) -> Figures {
    figures(histogram, 1000.0)
}

/// A histogram that takes every value.
pub(crate) fn empty() -> Histogram<u64> {
    match Histogram::new(3) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("the digits are a constant: {error}"),
    }
}

/// What a counter counted between two looks.
pub(crate) fn grown(before: u64, after: u64) -> anyhow::Result<u64> {
    after.checked_sub(before).context("a node's counter has shrunk: its process was started anew")
}

/// What a histogram counted between two looks.
pub(crate) fn difference(before: &HistogramText, after: &HistogramText) -> anyhow::Result<Histogram<u64>> {
    let mut difference = after.decode()?;
    difference
        .subtract(before.decode()?)
        .context("a node's histogram has shrunk: its process was started anew")?;
    Ok(difference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_become_milliseconds_and_nothing_becomes_zero() {
        let mut histogram = Histogram::new(3).unwrap();
        assert_eq!(milliseconds(&histogram), Figures::default());
        for us in [500, 1000, 1500] {
            histogram.record(us).unwrap();
        }
        let figures = milliseconds(&histogram);
        assert_eq!((figures.count, figures.p50), (3, 1.0));
        assert!((figures.max - 1.5).abs() < 0.01);
    }
}
