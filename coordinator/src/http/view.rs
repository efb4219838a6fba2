//! The JSON shapes of the HTTP status, apart from those that the core has already.

use std::collections::BTreeMap;

use selvedge_protocol::cell_map::CellMap;
use selvedge_protocol::coordinator::{CoordinatorStatus, NodeStatus};
use selvedge_protocol::grid::CellId;
use selvedge_protocol::id::{EntityId, NodeId, SessionId};
use selvedge_protocol::wire::{CensusEntry, CensusStanding};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::questions::Census;
use crate::reports::Reports;

/// The cell map.
#[derive(Debug, Serialize)]
pub(super) struct CellsView<'a> {
    version: u64,
    cells: &'a BTreeMap<CellId, NodeId>,
}

impl<'a> CellsView<'a> {
    pub(super) fn of(map: &'a CellMap) -> Self {
        Self { version: map.version(), cells: map.owners() }
    }
}

/// Each node with its latest report.
#[derive(Debug, Serialize)]
pub(super) struct NodesView<'a> {
    nodes: Vec<NodeView<'a>>,
}

#[derive(Debug, Serialize)]
struct NodeView<'a> {
    #[serde(flatten)]
    status: &'a NodeStatus,
    report: Option<&'a RawValue>,
}

impl<'a> NodesView<'a> {
    pub(super) fn of(status: &'a CoordinatorStatus, reports: &'a Reports) -> Self {
        let view = |status: &'a NodeStatus| NodeView {
            status,
            report: reports.get(&status.node).map(|report| &**report),
        };
        Self { nodes: status.nodes.iter().map(view).collect() }
    }
}

/// The latest report of each node.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct ReportsView<'a>(BTreeMap<NodeId, &'a RawValue>);

impl<'a> ReportsView<'a> {
    pub(super) fn of(reports: &'a Reports) -> Self {
        Self(reports.iter().map(|(node, report)| (*node, &**report)).collect())
    }
}

/// Who holds what.
#[derive(Debug, Serialize)]
pub(super) struct CensusView<'a> {
    nodes: BTreeMap<NodeId, Vec<HeldView>>,
    missing: &'a [NodeId],
}

#[derive(Debug, Serialize)]
struct HeldView {
    entity: EntityId,
    session: Option<SessionId>,
    epoch: EpochView,
    standing: &'static str,
}

#[derive(Debug, Serialize)]
struct EpochView {
    generation: u32,
    step: u32,
}

impl<'a> CensusView<'a> {
    pub(super) fn of(census: &'a Census) -> Self {
        let nodes = census.nodes.iter();
        Self {
            nodes: nodes.map(|(node, held)| (*node, held.iter().map(HeldView::of).collect())).collect(),
            missing: &census.missing,
        }
    }
}

impl HeldView {
    fn of(entry: &CensusEntry) -> Self {
        Self {
            entity: entry.entity,
            session: entry.session,
            epoch: EpochView { generation: entry.epoch.generation, step: entry.epoch.step },
            standing: match entry.standing {
                CensusStanding::Active => "active",
                CensusStanding::Frozen => "frozen",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::id::AuthorityEpoch;

    use super::*;

    #[test]
    fn a_census_names_every_node_and_who_is_missing() {
        let entry = CensusEntry {
            entity: EntityId::from_u128(1),
            session: None,
            epoch: AuthorityEpoch { generation: 2, step: 3 },
            standing: CensusStanding::Frozen,
        };
        let nodes = BTreeMap::from([(NodeId::from_u128(7), vec![entry]), (NodeId::from_u128(8), vec![])]);
        let census = Census { nodes, missing: vec![NodeId::from_u128(9)] };
        let json = serde_json::to_value(CensusView::of(&census)).unwrap();
        let uuid = |n: u8| format!("00000000-0000-0000-0000-00000000000{n}");
        assert_eq!(json["nodes"][uuid(7)][0]["epoch"], serde_json::json!({"generation": 2, "step": 3}));
        assert_eq!(json["nodes"][uuid(7)][0]["standing"], "frozen");
        assert_eq!(json["nodes"][uuid(8)], serde_json::json!([]));
        assert_eq!(json["missing"], serde_json::json!([uuid(9)]));
    }
}
