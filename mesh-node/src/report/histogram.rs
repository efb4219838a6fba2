//! HDR histograms as text: what a report carries and a reader merges.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::{Deserialize, Serialize};

/// Largest value told apart: a minute in microseconds. What is larger counts as this.
const VALUE_MAX: u64 = 60_000_000;
/// Values are kept to three digits.
const DIGITS: u8 = 3;

/// A histogram in the HDR V2 encoding, as base64 without padding; empty text is an empty histogram.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HistogramText(String);

/// Text that is no histogram.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a histogram in HDR V2 encoding and base64: {cause}")]
pub struct HistogramError {
    cause: String,
}

impl HistogramText {
    /// Encodes a histogram.
    #[must_use]
    pub fn encode(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let mut bytes = Vec::new();
        match V2Serializer::new().serialize(histogram, &mut bytes) {
            Ok(_) => Self(STANDARD_NO_PAD.encode(bytes)),
            // Into memory it can't fail; a missing histogram is better than a dead node.
            Err(_) => Self::default(),
        }
    }

    /// Reads the histogram.
    ///
    /// # Errors
    /// If the text isn't one.
    pub fn decode(&self) -> Result<Histogram<u64>, HistogramError> {
        if self.0.is_empty() {
            return Ok(empty());
        }
        let bytes = STANDARD_NO_PAD.decode(&self.0).map_err(|e| HistogramError { cause: e.to_string() })?;
        let mut histogram = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|e| HistogramError { cause: format!("{e:?}") })?;
        // It was read with the size that it had: let it take larger values too.
        histogram.auto(true);
        Ok(histogram)
    }

    /// Adds what another histogram counted.
    ///
    /// # Errors
    /// If one of the two can't be read.
    pub fn merge(&mut self, other: &Self) -> Result<(), HistogramError> {
        if other.0.is_empty() {
            return Ok(());
        }
        let mut sum = self.decode()?;
        sum.add(other.decode()?).map_err(|e| HistogramError { cause: e.to_string() })?;
        *self = Self::encode(&sum);
        Ok(())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HistogramText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.decode() {
            Ok(h) => write!(
                f,
                "n={} p50={} p99={} max={}",
                h.len(),
                quantile(&h, 0.5),
                quantile(&h, 0.99),
                h.max()
            ),
            Err(error) => fmt::Display::fmt(&error, f),
        }
    }
}

fn quantile(histogram: &Histogram<u64>, quantile: f64) -> u64 {
    histogram.value_at_quantile(quantile)
}

/// A histogram of the shape that all of a node's have. It is small until it meets large values.
pub(super) fn empty() -> Histogram<u64> {
    match Histogram::new(DIGITS) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("the digits are a constant: {error}"),
    }
}

/// Counts a value, or the largest one that is told apart.
pub(super) fn record(histogram: &mut Histogram<u64>, value: u64) {
    let recorded = histogram.record(value.min(VALUE_MAX));
    debug_assert!(recorded.is_ok(), "a histogram that grows takes every value below its maximum");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[u64]) -> HistogramText {
        let mut histogram = empty();
        values.iter().for_each(|&value| record(&mut histogram, value));
        HistogramText::encode(&histogram)
    }

    #[test]
    fn a_histogram_survives_its_text() {
        let histogram = of(&[0, 1, 250, 250, 1_000_000]).decode().unwrap();
        assert_eq!(histogram.len(), 5);
        assert_eq!(histogram.value_at_quantile(0.5), 250);
    }

    #[test]
    fn merging_adds_the_counts() {
        let mut sum = of(&[]);
        for part in [of(&[5, 6]), of(&[]), of(&[50_000_000])] {
            sum.merge(&part).unwrap();
        }
        let histogram = sum.decode().unwrap();
        assert_eq!(
            (histogram.len(), histogram.min(), histogram.max()),
            (3, 5, histogram.highest_equivalent(50_000_000))
        );
    }

    #[test]
    fn a_value_past_the_largest_is_counted_as_the_largest() {
        let histogram = of(&[u64::MAX]).decode().unwrap();
        assert_eq!(histogram.len(), 1);
        assert!(histogram.max() >= VALUE_MAX);
    }

    #[test]
    fn garbage_is_an_error_and_not_a_panic() {
        for text in ["!", "AAAA", "HISTFAAAAHh42"] {
            assert!(HistogramText(text.to_owned()).decode().is_err(), "{text}");
        }
    }
}
