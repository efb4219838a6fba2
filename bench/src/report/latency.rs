//! How long something took: the figures that every report has, and the histogram that newer ones have.

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use selvedge_node::HistogramText;
use serde::Deserialize;

use crate::Figures;

/// Steps of a curve for each halving of what is left above it.
const STEPS_PER_HALF: u32 = 8;

/// A histogram as a report carries it.
#[derive(Debug, Deserialize)]
pub(super) struct RawHistogram {
    unit: Unit,
    hdr_v2: HistogramText,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    Us,
    Ns,
}

impl Unit {
    /// How many make a microsecond.
    const fn in_us(self) -> f64 {
        match self {
            Self::Us => 1.0,
            Self::Ns => 1000.0,
        }
    }
}

/// A distribution in microseconds.
#[derive(Debug)]
pub(super) struct Latency {
    figures: Figures,
    /// With what makes a microsecond of its values.
    histogram: Option<(Histogram<u64>, f64)>,
}

impl Latency {
    /// Takes figures in a unit of so many microseconds, and the histogram behind them.
    pub(super) fn new(
        figures: Figures,
        unit_us: f64,
        histogram: Option<RawHistogram>,
    ) -> anyhow::Result<Self> {
        let Figures { count, p50, p99, p999, max } = figures;
        ensure!(
            [p50, p99, p999, max].iter().all(|&value| value >= 0.0 && (value * unit_us).is_finite()),
            "a time is negative or beyond all measure"
        );
        let of = |value: f64| value * unit_us;
        let figures = Figures { count, p50: of(p50), p99: of(p99), p999: of(p999), max: of(max) };
        let histogram = histogram
            .map(|raw| raw.hdr_v2.decode().map(|histogram| (histogram, raw.unit.in_us())))
            .transpose()
            .context("its histogram can't be read")?
            .filter(|(histogram, _)| !histogram.is_empty());
        Ok(Self { figures, histogram })
    }

    pub(super) const fn figures(&self) -> &Figures {
        &self.figures
    }

    pub(super) const fn has_histogram(&self) -> bool {
        self.histogram.is_some()
    }

    /// What the four figures don't say; none without the histogram.
    #[allow(clippy::cast_precision_loss, reason = "values are below 2^53")]
    pub(super) fn quantile(&self, quantile: f64) -> Option<f64> {
        let (histogram, unit) = self.histogram.as_ref()?;
        Some(histogram.value_at_quantile(quantile) as f64 / unit)
    }

    /// Quantiles below 1 and what they are, in microseconds; empty if nothing was measured.
    #[allow(clippy::cast_precision_loss, reason = "values are below 2^53")]
    pub(super) fn curve(&self) -> Vec<(f64, f64)> {
        if let Some((histogram, unit)) = &self.histogram {
            let steps = histogram.iter_quantiles(STEPS_PER_HALF);
            return steps
                .map(|step| (step.quantile_iterated_to(), step.value_iterated_to() as f64 / unit))
                .filter(|&(quantile, _)| quantile < 1.0)
                .collect();
        }
        if self.figures.count == 0 {
            return Vec::new();
        }
        vec![(0.5, self.figures.p50), (0.99, self.figures.p99), (0.999, self.figures.p999)]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Figures with these times.
    pub(in crate::report) fn figures(count: u64, [p50, p99, p999, max]: [f64; 4]) -> Figures {
        Figures { count, p50, p99, p999, max }
    }

    fn raw(unit: &str, values: &[u64]) -> RawHistogram {
        let mut histogram = Histogram::new(3).unwrap();
        values.iter().for_each(|&value| histogram.record(value).unwrap());
        let text = HistogramText::encode(&histogram);
        serde_json::from_value(serde_json::json!({ "unit": unit, "hdr_v2": text })).unwrap()
    }

    #[test]
    fn nanoseconds_of_a_histogram_become_microseconds() {
        let values: Vec<u64> = (1..=1000).map(|n| n * 1000).collect();
        let figures = figures(1000, [500.0, 990.0, 999.0, 1000.0]);
        let latency = Latency::new(figures, 1.0, Some(raw("ns", &values))).unwrap();
        let p90 = latency.quantile(0.9).unwrap();
        assert!((p90 - 900.0).abs() < 2.0, "{p90}");
        let curve = latency.curve();
        assert!(curve.len() > 10 && curve.is_sorted(), "{curve:?}");
    }

    #[test]
    fn without_a_histogram_the_curve_has_the_figures() {
        let latency = Latency::new(figures(9, [1.0, 2.0, 3.0, 4.0]), 1000.0, None).unwrap();
        assert_eq!(latency.curve(), [(0.5, 1000.0), (0.99, 2000.0), (0.999, 3000.0)]);
        assert_eq!(latency.quantile(0.9), None);
    }

    #[test]
    fn nothing_measured_is_no_curve_and_a_negative_time_is_refused() {
        let nothing = Latency::new(Figures::default(), 1.0, Some(raw("us", &[]))).unwrap();
        assert!(nothing.curve().is_empty() && !nothing.has_histogram());
        assert!(Latency::new(figures(1, [-1.0, 2.0, 3.0, 4.0]), 1.0, None).is_err());
    }
}
