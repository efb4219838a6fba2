//! What nodes measured between two of their reports.

use anyhow::Context;
use hdrhistogram::Histogram;
use selvedge_node::NodeReport;

use crate::figures::{difference, empty, grown};

/// What was measured apart for each path.
#[derive(Debug)]
pub(super) struct OfPath {
    /// Handoffs completed, as their sources counted them.
    pub(super) handoffs: u64,
    pub(super) cutover_us: Histogram<u64>,
    pub(super) answer_us: Histogram<u64>,
    pub(super) ready_us: Histogram<u64>,
}

/// What nodes measured between two reports of each.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) warm: OfPath,
    pub(super) cold: OfPath,
    /// Of the warm ones.
    pub(super) precopy_us: Histogram<u64>,
    pub(super) attach_us: Histogram<u64>,
    pub(super) callbacks_us: Histogram<u64>,
    pub(super) missed_ticks: Histogram<u64>,
    /// Handoffs completed, as their targets counted them.
    pub(super) taken_over: u64,
    pub(super) aborted: u64,
    pub(super) refused: u64,
    pub(super) ticks: u64,
    pub(super) ticks_skipped: u64,
}

impl Default for OfPath {
    fn default() -> Self {
        Self { handoffs: 0, cutover_us: empty(), answer_us: empty(), ready_us: empty() }
    }
}

impl Default for Difference {
    fn default() -> Self {
        Self {
            warm: OfPath::default(),
            cold: OfPath::default(),
            precopy_us: empty(),
            attach_us: empty(),
            callbacks_us: empty(),
            missed_ticks: empty(),
            taken_over: 0,
            aborted: 0,
            refused: 0,
            ticks: 0,
            ticks_skipped: 0,
        }
    }
}

impl Difference {
    /// Adds what one node has measured between `before` and `after`.
    ///
    /// # Errors
    /// If a histogram can't be read, or the second report is not the later one of the same process.
    pub(super) fn add(&mut self, before: &NodeReport, after: &NodeReport) -> anyhow::Result<()> {
        let (old, new) = (&before.histograms, &after.histograms);
        let cold = difference(&old.cutover_cold_us, &new.cutover_cold_us)?;
        add_rest(&mut self.warm.cutover_us, difference(&old.cutover_us, &new.cutover_us)?, &cold)?;
        self.cold.cutover_us.add(cold)?;
        let cold = difference(&old.answer_cold_us, &new.answer_cold_us)?;
        add_rest(&mut self.warm.answer_us, difference(&old.answer_us, &new.answer_us)?, &cold)?;
        self.cold.answer_us.add(cold)?;
        let cold = difference(&old.ready_cold_us, &new.ready_cold_us)?;
        add_rest(&mut self.warm.ready_us, difference(&old.ready_us, &new.ready_us)?, &cold)?;
        self.cold.ready_us.add(cold)?;
        self.precopy_us.add(difference(&old.precopy_us, &new.precopy_us)?)?;
        self.attach_us.add(difference(&old.attach_us, &new.attach_us)?)?;
        self.callbacks_us.add(difference(&old.world_callbacks_us, &new.world_callbacks_us)?)?;
        self.missed_ticks.add(difference(&old.missed_ticks, &new.missed_ticks)?)?;
        let (old, new) = (&before.counters, &after.counters);
        self.warm.handoffs += grown(old.handoffs_out_warm, new.handoffs_out_warm)?;
        self.cold.handoffs += grown(old.handoffs_out_cold, new.handoffs_out_cold)?;
        self.taken_over += grown(old.handoffs_in, new.handoffs_in)?;
        let sum = |reasons: &std::collections::BTreeMap<String, u64>| reasons.values().sum::<u64>();
        self.aborted += grown(sum(&old.handoffs_aborted), sum(&new.handoffs_aborted))?;
        self.refused += grown(sum(&old.prepares_refused), sum(&new.prepares_refused))?;
        self.ticks += grown(old.ticks_run, new.ticks_run)?;
        self.ticks_skipped += grown(old.ticks_skipped, new.ticks_skipped)?;
        Ok(())
    }
}

/// Adds all but a part.
fn add_rest(sum: &mut Histogram<u64>, mut all: Histogram<u64>, part: &Histogram<u64>) -> anyhow::Result<()> {
    all.subtract(part).context("a node's part is more than its whole")?;
    Ok(sum.add(all)?)
}

#[cfg(test)]
mod tests {
    use selvedge_node::HistogramText;

    use super::*;

    fn text(values: &[u64]) -> HistogramText {
        let mut histogram = empty();
        values.iter().for_each(|&value| histogram.record(value).unwrap());
        HistogramText::encode(&histogram)
    }

    fn report(cutover_us: &[u64], cold_us: &[u64]) -> NodeReport {
        let mut report = NodeReport::default();
        report.histograms.cutover_us = text(cutover_us);
        report.histograms.cutover_cold_us = text(cold_us);
        report.counters.handoffs_out_cold = cold_us.len() as u64;
        report.counters.handoffs_out_warm = (cutover_us.len() - cold_us.len()) as u64;
        report
    }

    #[test]
    fn only_what_came_between_the_reports_counts_and_each_path_by_itself() {
        let mut sum = Difference::default();
        let (before, after) = (report(&[10, 900], &[900]), report(&[10, 900, 20, 30, 700], &[900, 700]));
        sum.add(&before, &after).unwrap();
        sum.add(&NodeReport::default(), &report(&[40], &[])).unwrap();
        assert_eq!((sum.warm.handoffs, sum.warm.cutover_us.len(), sum.warm.cutover_us.max()), (3, 3, 40));
        assert_eq!((sum.cold.handoffs, sum.cold.cutover_us.len(), sum.cold.cutover_us.min()), (1, 1, 700));
    }

    #[test]
    fn a_node_that_was_started_anew_in_between_is_an_error() {
        let error = Difference::default().add(&report(&[10, 20], &[]), &report(&[10], &[])).unwrap_err();
        assert!(error.to_string().contains("started anew"), "{error:#}");
    }
}
