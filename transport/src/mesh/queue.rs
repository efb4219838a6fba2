//! The sending side of a lane whose messages have a stream each.
//!
//! Urgent lanes write from the sender itself whenever QUIC takes the message at once, and queue only what it
//! doesn't. Bulk always queues, goes at its own pace, and is metered by what the peer hasn't acknowledged: so it never
//! uses up the streams and the window that a cutover needs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use quinn::{Connection, SendStream};
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

use crate::counter::Counter;
use crate::error::SendError;
use crate::frame::{Pieces, headed};
use crate::lane::Lane;
use crate::limits::LaneLimits;
use crate::mesh::pace::{PIECE_BYTES, Pace};
use crate::ordered::{write_all, write_now};

#[derive(Debug)]
pub(crate) struct LaneQueue {
    lane: Lane,
    limits: LaneLimits,
    /// Bulk has one.
    pace: Option<Arc<Pace>>,
    /// Held by the one big message of bulk that is being written.
    big: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    wake: Notify,
    pub(crate) overflows: Counter,
    pub(crate) sent: Counter,
    pub(crate) sent_bytes: Counter,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Outgoing>,
    waiting_bytes: usize,
    closed: bool,
}

/// A message on its way to QUIC, perhaps with its stream open and half of it written.
#[derive(Debug)]
struct Outgoing {
    stream: Option<SendStream>,
    pieces: Pieces,
    bytes: usize,
}

impl LaneQueue {
    pub(crate) fn new(lane: Lane, limits: LaneLimits, pace: Option<Arc<Pace>>) -> Self {
        Self {
            lane,
            limits,
            pace,
            big: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            wake: Notify::new(),
            overflows: Counter::default(),
            sent: Counter::default(),
            sent_bytes: Counter::default(),
        }
    }

    /// Takes a message whose size was checked. Never waits.
    pub(crate) fn send(&self, connection: &Connection, head: Bytes, blob: Bytes) -> Result<(), SendError> {
        let bytes = head.len() + blob.len();
        let mut state = self.lock();
        if state.closed {
            return Err(SendError::Closed);
        }
        let full = state.waiting.len() >= self.limits.queue_messages_max
            || state.waiting_bytes + bytes > self.limits.queue_bytes_max;
        if full {
            self.overflows.increment();
            return Err(SendError::QueueFull);
        }
        let mut outgoing = Outgoing { stream: None, pieces: headed(self.lane.byte(), head, blob), bytes };
        if self.pace.is_none() && state.waiting.is_empty() && self.send_now(connection, &mut outgoing)? {
            self.count(bytes);
            return Ok(());
        }
        self.count(bytes);
        state.waiting_bytes += bytes;
        state.waiting.push_back(outgoing);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    fn count(&self, bytes: usize) {
        self.sent.increment();
        self.sent_bytes.add(bytes);
    }

    /// Opens a stream and writes, as far as that goes without waiting. Says whether all of it went.
    fn send_now(&self, connection: &Connection, outgoing: &mut Outgoing) -> Result<bool, SendError> {
        let mut context = Context::from_waker(Waker::noop());
        let opening = std::pin::pin!(connection.open_uni());
        let mut stream = match opening.poll(&mut context) {
            Poll::Ready(Ok(stream)) => stream,
            Poll::Ready(Err(_)) => return Err(SendError::Closed),
            Poll::Pending => return Ok(false),
        };
        // Fails only on a stream that has ended, and this one is new.
        let _ = stream.set_priority(self.lane.priority());
        match write_now(&mut stream, &mut outgoing.pieces) {
            Poll::Ready(Ok(())) => {
                let _ = stream.finish();
                Ok(true)
            }
            Poll::Ready(Err(_)) => Err(SendError::Closed),
            Poll::Pending => {
                outgoing.stream = Some(stream);
                Ok(false)
            }
        }
    }

    /// Sends what waits, until the queue is closed. The writers of single messages join `tasks`.
    pub(crate) async fn run(self: Arc<Self>, connection: Connection, tasks: TaskTracker) {
        // In kilobytes and rounded up, so that the permits fit and even empty messages count.
        let window = permits(self.limits.in_flight_bytes_max);
        let bytes_window = Arc::new(Semaphore::new(window));
        let messages_window = Arc::new(Semaphore::new(self.limits.in_flight_messages_max.max(1)));
        while let Some(mut outgoing) = self.next().await {
            let weight = u32::try_from(permits(outgoing.bytes).min(window)).unwrap_or(u32::MAX);
            let Ok(message_permit) = messages_window.clone().acquire_owned().await else { return };
            let Ok(bytes_permit) = bytes_window.clone().acquire_many_owned(weight).await else { return };
            let stream = match outgoing.stream.take() {
                Some(stream) => stream,
                None => match connection.open_uni().await {
                    Ok(stream) => stream,
                    Err(_) => return self.close(),
                },
            };
            let queue = self.clone();
            tasks.spawn(async move {
                queue.write(stream, outgoing).await;
                drop((message_permit, bytes_permit));
            });
        }
    }

    /// Writes one message and, for bulk, waits until the peer has acknowledged it.
    async fn write(&self, mut stream: SendStream, mut outgoing: Outgoing) {
        let _ = stream.set_priority(self.lane.priority());
        let written = match &self.pace {
            None => write_all(&mut stream, &mut outgoing.pieces).await,
            Some(pace) => {
                // Big ones side by side would all arrive late, and at once; what fits between their pieces goes there.
                let is_big = outgoing.bytes > PIECE_BYTES;
                let _turn = if is_big { Some(self.big.lock().await) } else { None };
                write_paced(&mut stream, &mut outgoing.pieces, pace).await
            }
        };
        {
            let mut state = self.lock();
            state.waiting_bytes = state.waiting_bytes.saturating_sub(outgoing.bytes);
        }
        let Ok(()) = written else { return };
        let _ = stream.finish();
        if self.pace.is_some() {
            let _ = stream.stopped().await;
        }
    }

    /// The next message, or nothing once the queue is closed. Its bytes count as waiting until they are written.
    async fn next(&self) -> Option<Outgoing> {
        loop {
            {
                let mut state = self.lock();
                if state.closed {
                    return None;
                }
                if let Some(outgoing) = state.waiting.pop_front() {
                    return Some(outgoing);
                }
            }
            self.wake.notified().await;
        }
    }

    /// Takes no more messages and forgets those that wait.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting.clear();
        state.waiting_bytes = 0;
        drop(state);
        self.wake.notify_one();
    }

    /// Messages and bytes that wait.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let state = self.lock();
        (state.waiting.len(), state.waiting_bytes)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes all pieces, the last first, a little at each turn.
async fn write_paced(
    stream: &mut SendStream,
    pieces: &mut Pieces,
    pace: &Pace,
) -> Result<(), quinn::WriteError> {
    while let Some(piece) = pieces.last_mut() {
        if piece.is_empty() {
            pieces.pop();
            continue;
        }
        let turn = piece.split_to(piece.len().min(PIECE_BYTES));
        pace.turn(turn.len()).await;
        stream.write_chunk(turn).await?;
    }
    Ok(())
}

/// Semaphore permits for so many bytes: one per kilobyte begun, at least one.
fn permits(bytes: usize) -> usize {
    bytes.div_ceil(1024).max(1)
}
