//! What is logged of incoming connections that didn't become links: enough to see who and why, and not a line for each
//! packet that somebody sends.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use quinn::Connection;

use crate::bucket::Bucket;
use crate::mesh::handshake::{HandshakeError, certified_peer};

/// Warnings a second, of each kind.
const PER_SECOND: u32 = 1;
/// Warnings that may come at once: as many as the first look at a wrongly set up mesh needs.
const AT_ONCE: u32 = 16;

/// Strangers have a budget of their own, so that they can't hide what goes wrong with a peer.
#[derive(Debug)]
pub(crate) struct FailureLog {
    strangers: Mutex<Budget>,
    peers: Mutex<Budget>,
}

#[derive(Debug)]
struct Budget {
    bucket: Bucket,
    /// Failures since the last warning that weren't logged.
    unlogged: u64,
}

impl FailureLog {
    pub(crate) fn new(now: Instant) -> Self {
        let budget = || Mutex::new(Budget::new(now));
        Self { strangers: budget(), peers: budget() }
    }

    /// Logs a failure with its cause and its offender: by its certificate, if it has shown a good one, and by its address.
    pub(crate) fn warn(&self, remote: SocketAddr, connection: Option<&Connection>, error: &HandshakeError) {
        let peer = connection.and_then(|connection| certified_peer(connection).ok());
        let budget = if peer.is_some() { &self.peers } else { &self.strangers };
        let passed = budget.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        let peer = peer.as_ref().map(tracing::field::display);
        match passed {
            Some(unlogged) => {
                tracing::warn!(%remote, peer, reason = %error, unlogged, "incoming connection did not become a link");
            }
            None => {
                tracing::debug!(%remote, peer, reason = %error, "incoming connection did not become a link");
            }
        }
    }
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self { bucket: Bucket::new(PER_SECOND, f64::from(AT_ONCE), now), unlogged: 0 }
    }

    /// Whether a failure may be logged; if so, how many weren't since the last one that was.
    fn take(&mut self, now: Instant) -> Option<u64> {
        if self.bucket.take(now) {
            return Some(std::mem::take(&mut self.unlogged));
        }
        self.unlogged += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_of_failures_leaves_few_lines_and_the_next_one_counts_the_rest() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let logged = (0..1000).filter(|_| budget.take(start).is_some()).count();
        assert_eq!(logged, AT_ONCE as usize);
        assert_eq!(budget.take(start + Duration::from_secs(1)), Some(1000 - u64::from(AT_ONCE)));
        assert_eq!(budget.take(start + Duration::from_secs(2)), Some(0));
    }
}
