//! The sending side of a link's datagrams.
//!
//! QUIC puts datagrams before streams into each packet, so all that it has of them goes before a cutover. It gets
//! little at once, at a pace that leaves both ends most of their time; the rest waits here. A datagram on an idle link
//! goes from the sender itself, without a wake-up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quinn::{Connection, SendDatagramError};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::counter::Counter;
use crate::datagram;
use crate::error::SendError;
use crate::mesh::pace::Pace;

/// Bytes that go at once.
const PIECE_BYTES: usize = 16 * 1024;
/// What a datagram costs beside its bytes, in time and in memory.
const EXTRA_BYTES: usize = 200;

#[derive(Debug)]
pub(crate) struct DatagramQueue {
    pace: Pace,
    /// Datagrams go before bulk and count against its rate.
    bulk: Arc<Pace>,
    bytes_max: usize,
    state: Mutex<State>,
    wake: Notify,
    pub(crate) overflows: Counter,
    pub(crate) sent: Counter,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Bytes>,
    /// What they cost, with those that were taken off for their turn.
    waiting_bytes: usize,
    closed: bool,
}

impl DatagramQueue {
    /// A rate of 0 is none.
    pub(crate) fn new(bytes_per_s: u64, bulk: Arc<Pace>, bytes_max: usize) -> Self {
        Self {
            pace: Pace::new(bytes_per_s),
            bulk,
            bytes_max,
            state: Mutex::default(),
            wake: Notify::new(),
            overflows: Counter::default(),
            sent: Counter::default(),
        }
    }

    /// Takes a datagram, unless too many wait: none that was taken is pushed out. Never waits.
    pub(crate) fn send(&self, connection: &Connection, payload: Bytes) -> Result<(), SendError> {
        let bytes_max = connection.max_datagram_size().unwrap_or(0);
        if payload.len() > bytes_max {
            return Err(SendError::TooLarge { bytes: payload.len(), bytes_max });
        }
        let cost = cost(&payload);
        let mut state = self.lock();
        if state.closed {
            return Err(SendError::Closed);
        }
        let now = Instant::now();
        if state.waiting_bytes == 0 && self.pace.try_turn(cost, now) {
            match datagram::send(connection, payload.clone()) {
                Ok(()) => {
                    self.charge_bulk(cost, now);
                    self.sent.increment();
                    return Ok(());
                }
                Err(SendError::QueueFull) => {}
                Err(error @ (SendError::TooLarge { .. } | SendError::Closed)) => return Err(error),
            }
        }
        if state.waiting_bytes > 0 && state.waiting_bytes + cost > self.bytes_max {
            self.overflows.increment();
            return Err(SendError::QueueFull);
        }
        self.sent.increment();
        state.waiting_bytes += cost;
        state.waiting.push_back(payload);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Sends what waits, until the queue is closed.
    pub(crate) async fn run(&self, connection: Connection) {
        while let Some(piece) = self.next_piece().await {
            let cost = piece.iter().map(cost).sum();
            self.pace.turn(cost).await;
            self.charge_bulk(cost, Instant::now());
            for payload in piece {
                match connection.send_datagram_wait(payload).await {
                    // One that fitted the path when it was taken, and doesn't now, is lost.
                    Ok(()) | Err(SendDatagramError::TooLarge) => {}
                    Err(
                        SendDatagramError::UnsupportedByPeer
                        | SendDatagramError::Disabled
                        | SendDatagramError::ConnectionLost(_),
                    ) => return self.close(),
                }
            }
            let mut state = self.lock();
            state.waiting_bytes = state.waiting_bytes.saturating_sub(cost);
        }
    }

    fn charge_bulk(&self, cost: usize, now: Instant) {
        if let (Some(own), Some(bulk)) = (self.pace.bytes_per_s(), self.bulk.bytes_per_s()) {
            self.bulk.charge(bulk_gives_way(cost, own, bulk), now);
        }
    }

    /// What goes at the next turn, or nothing once the queue is closed.
    async fn next_piece(&self) -> Option<Vec<Bytes>> {
        loop {
            {
                let mut state = self.lock();
                if state.closed {
                    return None;
                }
                if !state.waiting.is_empty() {
                    return Some(take_piece(&mut state.waiting));
                }
            }
            self.wake.notified().await;
        }
    }

    /// Takes no more datagrams and forgets those that wait.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting.clear();
        drop(state);
        self.wake.notify_one();
    }

    /// Datagrams that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The oldest, as many as go at once; at least one.
fn take_piece(waiting: &mut VecDeque<Bytes>) -> Vec<Bytes> {
    let mut bytes = 0;
    let fits = |payload: &&Bytes| {
        bytes += cost(payload);
        bytes <= PIECE_BYTES
    };
    let count = waiting.iter().take_while(fits).count().max(1);
    waiting.drain(..count).collect()
}

fn cost(payload: &Bytes) -> usize {
    payload.len() + EXTRA_BYTES
}

/// The bytes that bulk gives up for those of datagrams, at these rates: as many, but never more than half of its rate.
fn bulk_gives_way(cost: usize, own_per_s: u64, bulk_per_s: u64) -> usize {
    let most = cost as u128 * u128::from(bulk_per_s) / (u128::from(own_per_s) * 2).max(1);
    usize::try_from(most).unwrap_or(usize::MAX).min(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(sizes: &[usize]) -> VecDeque<Bytes> {
        sizes.iter().map(|&bytes| Bytes::from(vec![0; bytes])).collect()
    }

    fn taken(sizes: &[usize]) -> Vec<usize> {
        take_piece(&mut waiting(sizes)).iter().map(Bytes::len).collect()
    }

    #[test]
    fn a_piece_is_the_oldest_that_fit_and_at_least_one() {
        let half = PIECE_BYTES / 2 - EXTRA_BYTES;
        assert_eq!(taken(&[half, half, 1]), [half, half]);
        assert_eq!(taken(&[1, half, half, 1]), [1, half], "none goes before an older one");
        assert_eq!(taken(&[PIECE_BYTES * 2, 1]), [PIECE_BYTES * 2]);
        assert_eq!(taken(&[3, 2, 1]), [3, 2, 1]);
        assert!(taken(&[0; 10_000]).len() <= PIECE_BYTES / EXTRA_BYTES, "empty ones cost something");
    }

    #[test]
    fn bulk_gives_way_to_datagrams_but_keeps_half_of_its_rate() {
        assert_eq!(bulk_gives_way(1000, 20, 50), 1000);
        assert_eq!(bulk_gives_way(1000, 25, 50), 1000);
        assert_eq!(bulk_gives_way(1000, 100, 50), 250);
        assert_eq!(bulk_gives_way(usize::MAX, 1, u64::MAX), usize::MAX);
    }
}
