//! The sending half of an ordered stream: takes messages without waiting and writes them in order.
//!
//! While nothing waits, the sender itself hands its message to QUIC, which saves a wake-up; otherwise it joins the
//! queue and one task writes. The stream belongs to whoever writes: it is here only while nobody does.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use quinn::SendStream;
use tokio::sync::Notify;

use crate::counter::Counter;
use crate::error::SendError;
use crate::frame::{Pieces, prefixed};

#[derive(Debug)]
pub(crate) struct OrderedWriter {
    state: Mutex<State>,
    wake: Notify,
    messages_max: usize,
    bytes_max: usize,
    overflows: Counter,
    sent: Counter,
    sent_bytes: Counter,
}

#[derive(Debug)]
struct State {
    /// Present while nobody writes.
    idle: Option<SendStream>,
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    closed: bool,
}

#[derive(Debug)]
struct Queued {
    pieces: Pieces,
    bytes: usize,
}

/// What waits, what went and what found no room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OrderedStats {
    pub(crate) queued_messages: usize,
    pub(crate) queued_bytes: usize,
    pub(crate) sent: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) overflows: u64,
}

impl OrderedWriter {
    pub(crate) fn new(stream: SendStream, messages_max: usize, bytes_max: usize) -> Self {
        let state = State { idle: Some(stream), queue: VecDeque::new(), queued_bytes: 0, closed: false };
        Self {
            state: Mutex::new(state),
            wake: Notify::new(),
            messages_max,
            bytes_max,
            overflows: Counter::default(),
            sent: Counter::default(),
            sent_bytes: Counter::default(),
        }
    }

    /// Takes a message, or says why not. Never waits.
    pub(crate) fn send(&self, head: Bytes, blob: Bytes) -> Result<(), SendError> {
        let bytes = head.len() + blob.len();
        let mut state = self.lock();
        if state.closed {
            return Err(SendError::Closed);
        }
        if state.queue.len() >= self.messages_max || state.queued_bytes + bytes > self.bytes_max {
            self.overflows.increment();
            return Err(SendError::QueueFull);
        }
        self.sent.increment();
        self.sent_bytes.add(bytes);
        let mut pieces = prefixed(head, blob);
        if state.queue.is_empty()
            && let Some(stream) = &mut state.idle
        {
            match write_now(stream, &mut pieces) {
                Poll::Ready(Ok(())) => return Ok(()),
                Poll::Ready(Err(_)) => {
                    state.closed = true;
                    return Err(SendError::Closed);
                }
                Poll::Pending => {}
            }
        }
        state.queued_bytes += bytes;
        state.queue.push_back(Queued { pieces, bytes });
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Writes what waits, until the connection is lost or the task is dropped.
    pub(crate) async fn run(&self) {
        loop {
            let Some((mut stream, mut queued)) = self.begin() else {
                if self.lock().closed {
                    return;
                }
                self.wake.notified().await;
                continue;
            };
            let written = write_all(&mut stream, &mut queued.pieces).await;
            let mut state = self.lock();
            state.queued_bytes = state.queued_bytes.saturating_sub(queued.bytes);
            state.closed |= written.is_err();
            state.idle = Some(stream);
        }
    }

    /// Takes the stream and the oldest message, if there is one.
    fn begin(&self) -> Option<(SendStream, Queued)> {
        let mut state = self.lock();
        if state.closed || state.queue.is_empty() {
            return None;
        }
        let stream = state.idle.take()?;
        let queued = state.queue.pop_front()?;
        Some((stream, queued))
    }

    /// Takes no more messages and forgets those that wait.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.queue.clear();
        state.queued_bytes = 0;
        drop(state);
        self.wake.notify_one();
    }

    pub(crate) fn stats(&self) -> OrderedStats {
        let state = self.lock();
        OrderedStats {
            queued_messages: state.queue.len(),
            queued_bytes: state.queued_bytes,
            sent: self.sent.value(),
            sent_bytes: self.sent_bytes.value(),
            overflows: self.overflows.value(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes as much as fits at once. Pending leaves the rest in `pieces`; somebody has to go on with [`write_all`].
pub(crate) fn write_now(stream: &mut SendStream, pieces: &mut Pieces) -> Poll<Result<(), quinn::WriteError>> {
    let mut context = Context::from_waker(Waker::noop());
    let mut writing = std::pin::pin!(write_all(stream, pieces));
    writing.as_mut().poll(&mut context)
}

/// Writes all pieces, the last first. Cancel-safe: what wasn't written stays in `pieces`.
pub(crate) async fn write_all(stream: &mut SendStream, pieces: &mut Pieces) -> Result<(), quinn::WriteError> {
    while let Some(piece) = pieces.last_mut() {
        if piece.is_empty() {
            pieces.pop();
            continue;
        }
        // What was written is cut off the piece's front.
        stream.write_chunks(std::slice::from_mut(piece)).await?;
    }
    Ok(())
}
