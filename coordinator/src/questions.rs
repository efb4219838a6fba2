//! What the HTTP side asks the task that owns the machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use selvedge_protocol::cell_map::CellMap;
use selvedge_protocol::coordinator::{CoordinatorStatus, Whom, WhyAccount};
use selvedge_protocol::id::NodeId;
use selvedge_protocol::wire::CensusEntry;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::reports::Reports;

/// Questions that wait for the machine's task. One more is refused.
const WAITING_MAX: usize = 64;
/// How long a question may wait for its answer.
pub(crate) const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// A question and where its answer goes.
#[derive(Debug)]
pub(crate) enum Question {
    Status(oneshot::Sender<CoordinatorStatus>),
    Cells(oneshot::Sender<Arc<CellMap>>),
    Reports(oneshot::Sender<Reports>),
    Census(oneshot::Sender<Census>),
    /// Why an entity is where it is; none if nobody has told of it.
    Why(Whom, oneshot::Sender<Option<Box<WhyAccount>>>),
}

/// Who holds what, by the nodes' own word.
#[derive(Debug)]
pub(crate) struct Census {
    pub(crate) nodes: BTreeMap<NodeId, Vec<CensusEntry>>,
    pub(crate) missing: Vec<NodeId>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("{WAITING_MAX} questions are waiting already; ask again")]
    Busy,
    #[error("the coordinator did not answer within {ANSWER_PATIENCE:?}")]
    Late,
    #[error("the coordinator is shutting down")]
    Gone,
}

/// Asks the machine's task. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Desk(mpsc::Sender<Question>);

impl Desk {
    pub(crate) fn open() -> (Self, mpsc::Receiver<Question>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), receiver)
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<T, Unanswered> {
        let (sender, answer) = oneshot::channel();
        self.0.try_send(question(sender)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unanswered::Busy,
            mpsc::error::TrySendError::Closed(_) => Unanswered::Gone,
        })?;
        match timeout(ANSWER_PATIENCE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Unanswered::Gone),
            Err(_) => Err(Unanswered::Late),
        }
    }
}
