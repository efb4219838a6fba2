//! What the coordinator knows of the mesh, asked over HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use selvedge_node::NodeReport;
use selvedge_protocol::coordinator::{CoordinatorStatus, WhyAccount};
use selvedge_protocol::grid::CellId;
use selvedge_protocol::id::{EntityId, NodeId, SessionId};
use serde::{Deserialize, Serialize};

use crate::http::{self, HttpError};

/// Why something isn't known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObserverError {
    /// The coordinator didn't answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It answered with other JSON than expected.
    #[error("{address} answered {path} with unexpected JSON: {cause}; is it of the same version?")]
    Json {
        /// Whom was asked.
        address: SocketAddr,
        /// What was asked.
        path: String,
        /// What is wrong.
        cause: serde_json::Error,
    },
    /// It knows nothing of the entity that was asked about.
    #[error("{cause}")]
    Unknown {
        /// Why not.
        cause: String,
    },
    /// A node's histogram can't be read.
    #[error("the report of node {node} can't be read: {cause}")]
    Report {
        /// Whose.
        node: NodeId,
        /// What is wrong.
        cause: String,
    },
}

/// Who owns which cell.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct CellsView {
    /// The map's version.
    pub version: u64,
    /// The owners.
    pub cells: BTreeMap<CellId, NodeId>,
}

/// An authority's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub struct Epoch {
    /// Grows with each recovery.
    pub generation: u32,
    /// Grows with each transfer.
    pub step: u32,
}

/// How a node holds an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It simulates it.
    Active,
    /// It is handing it over.
    Frozen,
}

/// An entity that a node holds.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub struct HeldView {
    /// Which.
    pub entity: EntityId,
    /// Its session, if it is a player.
    pub session: Option<SessionId>,
    /// At which epoch.
    pub epoch: Epoch,
    /// How.
    pub standing: Standing,
}

/// Who holds what. The nodes answer one after another, so an entity in flight may be seen twice or not at all.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
pub struct CensusView {
    /// What each node holds.
    pub nodes: BTreeMap<NodeId, Vec<HeldView>>,
    /// Nodes that did not answer in time.
    pub missing: Vec<NodeId>,
}

/// Asks one coordinator. Every question is a connection of its own and blocks for at most some seconds.
#[derive(Debug, Clone, Copy)]
pub struct Observer {
    address: SocketAddr,
}

impl Observer {
    /// Asks the coordinator whose HTTP status is at `address`.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// The coordinator at a glance.
    ///
    /// # Errors
    /// [`ObserverError`].
    pub fn status(&self) -> Result<CoordinatorStatus, ObserverError> {
        self.ask("GET", "/status")
    }

    /// The status as the coordinator wrote it.
    ///
    /// # Errors
    /// [`ObserverError`].
    pub fn status_json(&self) -> Result<serde_json::Value, ObserverError> {
        self.ask("GET", "/status")
    }

    /// Who owns which cell.
    ///
    /// # Errors
    /// [`ObserverError`].
    pub fn cells(&self) -> Result<CellsView, ObserverError> {
        self.ask("GET", "/cells")
    }

    /// Who holds what; the coordinator asks each node.
    ///
    /// # Errors
    /// [`ObserverError`].
    pub fn census(&self) -> Result<CensusView, ObserverError> {
        self.ask("POST", "/census")
    }

    /// Each node's latest measurements.
    ///
    /// # Errors
    /// [`ObserverError`].
    pub fn reports(&self) -> Result<BTreeMap<NodeId, NodeReport>, ObserverError> {
        self.ask("GET", "/reports")
    }

    /// The measurements of all nodes together.
    ///
    /// # Errors
    /// [`ObserverError`].
    pub fn report(&self) -> Result<NodeReport, ObserverError> {
        let mut sum = NodeReport::default();
        for (node, report) in self.reports()? {
            sum.merge(&report).map_err(|error| ObserverError::Report { node, cause: error.to_string() })?;
        }
        Ok(sum)
    }

    /// Where one entity is, what delays it, and what became of it lately; the coordinator asks the node that holds it.
    /// `whom`: the entity's id, or the name of its player.
    ///
    /// # Errors
    /// [`ObserverError`]; `Unknown` if no node has told of such an entity.
    pub fn why(&self, whom: &str) -> Result<WhyAccount, ObserverError> {
        let whom = match whom.parse::<EntityId>() {
            Ok(entity) => format!("entity={entity}"),
            Err(_) => format!("player={}", escaped(whom)),
        };
        self.ask("GET", &format!("/why?{whom}")).map_err(|error| {
            if let ObserverError::Http(HttpError::Status { status: 404, body, .. }) = &error
                && let Some(cause) = unknown(body)
            {
                return ObserverError::Unknown { cause };
            }
            error
        })
    }

    fn ask<T: for<'a> Deserialize<'a>>(&self, method: &str, path: &str) -> Result<T, ObserverError> {
        let body = http::ask(self.address, method, path)?;
        serde_json::from_slice(&body).map_err(|cause| ObserverError::Json {
            address: self.address,
            path: path.to_owned(),
            cause,
        })
    }
}

/// The coordinator's words if it doesn't know an entity; none if it means something else.
fn unknown(body: &str) -> Option<String> {
    let problem: serde_json::Value = serde_json::from_str(body).ok()?;
    let cause = problem["cause"].as_str()?;
    (problem["error"] == "unknown_entity").then(|| cause.to_owned())
}

/// As it may stand in an address.
fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_may_be_asked_for() {
        assert_eq!(escaped("ada-7"), "ada-7");
        assert_eq!(escaped("a&b ü"), "a%26b%20%C3%BC");
    }

    #[test]
    fn a_census_is_read_as_the_coordinator_writes_it() {
        let json = r#"{"nodes": {"00000000-0000-0000-0000-000000000007": [
            {"entity": "00000000-0000-0000-0000-000000000001", "session": null,
             "epoch": {"generation": 2, "step": 3}, "standing": "frozen"}]}, "missing": []}"#;
        let census: CensusView = serde_json::from_str(json).unwrap();
        let held = census.nodes[&NodeId::from_u128(7)][0];
        assert_eq!((held.epoch, held.standing), (Epoch { generation: 2, step: 3 }, Standing::Frozen));
    }
}
