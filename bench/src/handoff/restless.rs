//! Entities that load a link with pre-copies: they stand before the border, never cross, and change all the time.
//!
//! The mesh prepares whoever is near the border and copies ahead what has changed since, so these keep the pre-copy lane
//! busy for as long as they stand there. What is measured beside them is everybody else's `cutover`.

use std::collections::BTreeMap;
use std::time::Duration;

use selvedge_node::{EntityId, SnapshotView, SnapshotWriter};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::rows::Row;

/// What each of them weighs.
pub(super) const RESTLESS_BYTES: usize = 256 << 10;
/// The most that they may add to others' cutovers: the p99 without them times this.
pub(super) const RATIO_MAX: f64 = 2.0;
/// Where the p99 without them is more than this above the p50, something else ran on the machine.
const QUIET_SPREAD_MAX: f64 = 6.0;
const COMPONENT: &str = "restless";

/// The restless ones of a node's world, and the copies of the other node's.
#[derive(Debug, Default)]
pub(super) struct RestlessOnes {
    here: BTreeMap<EntityId, Vec<u8>>,
    copies: BTreeMap<EntityId, Vec<u8>>,
    /// Grows with every tick: the version of all of them.
    age: u64,
    copied: Copied,
}

/// Pre-copies of restless entities that a game has built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Copied {
    pub(crate) copies: u64,
    pub(crate) bytes: u64,
}

impl RestlessOnes {
    pub(super) fn insert(&mut self, entity: EntityId) {
        self.here.insert(entity, vec![1; RESTLESS_BYTES]);
    }

    pub(super) fn entities(&self) -> Vec<EntityId> {
        self.here.keys().copied().collect()
    }

    /// Changes all of them.
    pub(super) fn step(&mut self) {
        self.age += 1;
        let age = self.age.to_le_bytes();
        for blob in self.here.values_mut() {
            blob.iter_mut().zip(age).for_each(|(byte, new)| *byte = new);
        }
    }

    /// Writes it, if it is one of them.
    pub(super) fn capture(&self, entity: EntityId, out: &mut SnapshotWriter) -> bool {
        let Some(blob) = self.here.get(&entity) else { return false };
        out.reserve(blob.len());
        out.component(COMPONENT, self.age, blob);
        true
    }

    /// Builds it, if it is one of them.
    pub(super) fn warm(&mut self, entity: EntityId, snapshot: &SnapshotView<'_>) -> bool {
        let Some((_, blob)) = snapshot.component(COMPONENT) else { return false };
        self.copied.copies += 1;
        self.copied.bytes += blob.len() as u64;
        let copy = self.copies.entry(entity).or_default();
        copy.clear();
        copy.extend_from_slice(blob);
        true
    }

    pub(super) fn forget(&mut self, entity: EntityId) {
        self.here.remove(&entity);
        self.copies.remove(&entity);
    }

    pub(super) const fn copied(&self) -> Copied {
        self.copied
    }
}

/// The load that a row had beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Load {
    pub(super) entities: usize,
    pub(super) copied: Copied,
    pub(super) elapsed: Duration,
}

impl Load {
    pub(super) fn add(&mut self, before: Copied, after: Copied) {
        self.copied.copies += after.copies.saturating_sub(before.copies);
        self.copied.bytes += after.bytes.saturating_sub(before.bytes);
    }

    #[allow(clippy::cast_precision_loss, reason = "counts are below 2^53")]
    pub(super) fn mb_per_s(&self) -> f64 {
        self.copied.bytes as f64 / 1e6 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    pub(super) fn as_json(&self) -> Value {
        json!({ "entities": self.entities, "bytes_each": RESTLESS_BYTES, "precopies": self.copied.copies,
            "mb_per_s": self.mb_per_s() })
    }
}

/// A row with a load beside the same without.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Compared {
    path: &'static str,
    snapshot_bytes: Option<usize>,
    concurrency: usize,
    restless: usize,
    mb_per_s: f64,
    p50_ratio: f64,
    p99_ratio: f64,
    quiet_spread: f64,
    met: bool,
}

/// Every loaded row beside its quiet one.
pub(super) fn compare(rows: &[Row]) -> Vec<Compared> {
    let compared = rows.iter().filter(|row| row.load.entities > 0).filter_map(|row| {
        let same = |other: &&Row| {
            other.load.entities == 0
                && (other.path, other.snapshot_bytes, other.concurrency)
                    == (row.path, row.snapshot_bytes, row.concurrency)
        };
        let (quiet, loaded) = (rows.iter().find(same)?.latency(), row.latency());
        let p99_ratio = loaded.p99 / quiet.p99.max(f64::MIN_POSITIVE);
        Some(Compared {
            path: row.path.name(),
            snapshot_bytes: row.snapshot_bytes,
            concurrency: row.concurrency,
            restless: row.load.entities,
            mb_per_s: row.load.mb_per_s(),
            p50_ratio: loaded.p50 / quiet.p50.max(f64::MIN_POSITIVE),
            p99_ratio,
            quiet_spread: quiet.p99 / quiet.p50.max(f64::MIN_POSITIVE),
            met: p99_ratio <= RATIO_MAX,
        })
    });
    compared.collect()
}

impl Compared {
    pub(super) fn sentence(&self) -> String {
        let Self { path, concurrency, restless, mb_per_s, p50_ratio, p99_ratio, met, .. } = self;
        let word = if *met { "met" } else { "NOT MET" };
        let bytes = self.snapshot_bytes.unwrap_or_default();
        format!(
            "{word}: cutover ({path}, {bytes} bytes x {concurrency}) beside {restless} restless entities, {mb_per_s:.0} \
             MB/s of pre-copies: p99 {p99_ratio:.2} x that without them (bar: {RATIO_MAX} x), p50 {p50_ratio:.2} x"
        )
    }

    pub(super) fn doubt(&self) -> Option<String> {
        let spread = self.quiet_spread;
        (spread > QUIET_SPREAD_MAX).then(|| {
            format!("doubtful: {}: p99 is {spread:.0} x p50 without restless entities: something else runs on this \
                 machine, compare p50", self.path)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::HopPath;
    use super::super::rows::RowPath;
    use super::*;

    fn row(entities: usize, cutover_us: u64) -> Row {
        let mut row = Row::new(RowPath::Hop(HopPath::Warm), Some(4096), 1);
        row.latency.record_n(cutover_us, 2000).unwrap();
        row.load = Load {
            entities,
            copied: Copied { copies: 8, bytes: 2_000_000 },
            elapsed: Duration::from_secs(1),
        };
        row
    }

    #[test]
    fn a_loaded_row_is_judged_by_its_quiet_one() {
        let within = compare(&[row(0, 100), row(8, 180)]);
        assert!(within.len() == 1 && within[0].met, "{within:?}");
        assert!(within[0].sentence().starts_with("met") && within[0].sentence().contains("2 MB/s"));
        assert!(compare(&[row(0, 100), row(8, 230)])[0].sentence().starts_with("NOT MET"));
        assert!(compare(&[row(8, 230)]).is_empty(), "nothing to compare to");
    }

    #[test]
    fn a_noisy_quiet_row_is_doubted() {
        let mut quiet = row(0, 100);
        quiet.latency.record_n(5000, 200).unwrap();
        let compared = compare(&[quiet, row(8, 230)]);
        assert!(compared[0].doubt().is_some() && compare(&[row(0, 100), row(8, 230)])[0].doubt().is_none());
    }
}
