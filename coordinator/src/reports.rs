//! The newest measurements of each node, as raw JSON: kept for whoever asks, read by nobody here.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use selvedge_protocol::id::NodeId;
use selvedge_protocol::limits::NODES_MAX;
use serde_json::value::RawValue;

/// Bytes of one report. A longer one is dropped and logged; the one before it stays.
pub const REPORT_BYTES_MAX: usize = 256 * 1024;

/// Reports by node: the newest of each, at most as many as a mesh has nodes.
pub(crate) type Reports = BTreeMap<NodeId, Arc<RawValue>>;

/// Keeps `blob` as the newest report of `node` if it is JSON of a bearable size.
pub(crate) fn keep(reports: &mut Reports, node: NodeId, blob: &Bytes) {
    if blob.len() > REPORT_BYTES_MAX {
        tracing::warn!(%node, bytes = blob.len(), bytes_max = REPORT_BYTES_MAX, "report dropped: too long");
        return;
    }
    if reports.len() >= NODES_MAX && !reports.contains_key(&node) {
        tracing::warn!(%node, nodes_max = NODES_MAX, "report dropped: too many nodes");
        return;
    }
    match serde_json::from_slice::<Box<RawValue>>(blob) {
        Ok(report) => {
            reports.insert(node, report.into());
        }
        Err(error) => tracing::warn!(%node, %error, "report dropped: not JSON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_good_report_is_kept_as_it_came() {
        let mut reports = Reports::new();
        let node = NodeId::from_u128(1);
        keep(&mut reports, node, &Bytes::from_static(b"{\"b\": 1, \"a\": 2}"));
        keep(&mut reports, node, &Bytes::from_static(b"{\"cut"));
        keep(&mut reports, node, &Bytes::from(vec![b' '; REPORT_BYTES_MAX + 1]));
        assert_eq!(reports[&node].get(), "{\"b\": 1, \"a\": 2}");
    }
}
