//! Sends the node's measurements on their way once a second; encoding them is kept off the mesh thread.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tracing::error;

use crate::shared::Shared;

const PERIOD: Duration = Duration::from_secs(1);

pub(super) async fn run(shared: Arc<Shared>, measurements: mpsc::Sender<Bytes>) {
    let mut due = interval(PERIOD);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !measurements.is_closed() {
        due.tick().await;
        match serde_json::to_vec(&shared.report()) {
            // One that wasn't read yet is newer than none at all; the next one says everything again.
            Ok(json) => drop(measurements.try_send(Bytes::from(json))),
            Err(cause) => error!(%cause, "the report can't be written"),
        }
    }
}
