//! The receiving half of a link: reads control messages, streams and datagrams, and delivers them.
//!
//! Whatever waits, waits unread: for the consumer, for the memory in which a message is put together, for a free
//! reader. Then the peer's window runs out, and its queues say so to its sender.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use quinn::{ReadError, ReadExactError, RecvStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::close::CloseCode;
use crate::frame::{FrameError, FrameReader, HEADER_BYTES};
use crate::lane::Lane;
use crate::limits::{ASSEMBLY_BULK_BYTES_MAX, ASSEMBLY_MESSAGES_MAX, ASSEMBLY_URGENT_BYTES_MAX};
use crate::mesh::endpoint::MeshShared;
use crate::mesh::event::LinkEvent;
use crate::mesh::link::LinkShared;
use crate::share::Share;

/// Bytes that one permit of an assembly budget stands for.
const PERMIT_BYTES: usize = 1024;

/// One link's receiving half.
#[derive(Clone)]
pub(crate) struct Receiver {
    mesh: Arc<MeshShared>,
    link: Arc<LinkShared>,
    urgent_budget: Arc<Semaphore>,
    bulk_budget: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    shares: Arc<Shares>,
}

/// This link's shares of the channel to the consumer: what floods one of them waits there alone.
#[derive(Default)]
struct Shares {
    urgent: Share,
    bulk: Share,
    datagrams: Share,
}

/// Why a message couldn't be read off its stream.
#[derive(Debug, thiserror::Error)]
enum MessageError {
    #[error("a stream for the unknown lane {0}")]
    UnknownLane(u8),
    #[error("a message of {bytes} bytes on the lane {lane}, where {bytes_max} are allowed")]
    Oversized { lane: Lane, bytes: usize, bytes_max: usize },
    #[error("a message that {0}")]
    WrongLength(&'static str),
    #[error("the peer gave the message up")]
    Abandoned,
    #[error("the connection is lost")]
    Lost,
}

impl Receiver {
    pub(crate) fn new(mesh: Arc<MeshShared>, link: Arc<LinkShared>) -> Self {
        let budget = |bytes: usize| Arc::new(Semaphore::new(bytes / PERMIT_BYTES));
        Self {
            mesh,
            link,
            urgent_budget: budget(ASSEMBLY_URGENT_BYTES_MAX),
            bulk_budget: budget(ASSEMBLY_BULK_BYTES_MAX),
            readers: Arc::new(Semaphore::new(ASSEMBLY_MESSAGES_MAX)),
            shares: Arc::default(),
        }
    }

    /// Delivers control messages in order, until the connection is lost.
    pub(crate) async fn read_control(self, mut frames: FrameReader) {
        loop {
            match frames.next().await {
                Ok(Some(payload)) => self.deliver(Lane::Control, payload).await,
                Ok(None) => return self.violated(CloseCode::Malformed, "the control stream was ended"),
                Err(FrameError::Oversized { bytes, bytes_max }) => {
                    let error = MessageError::Oversized { lane: Lane::Control, bytes, bytes_max };
                    return self.violated(CloseCode::Oversized, &error.to_string());
                }
                Err(error @ FrameError::Truncated) => {
                    return self.violated(CloseCode::Malformed, &error.to_string());
                }
                Err(FrameError::Read(ReadError::Reset(_))) => {
                    return self.violated(CloseCode::Malformed, "the control stream was reset");
                }
                Err(FrameError::Read(_)) => return,
            }
        }
    }

    /// Accepts streams and reads a message off each, until the connection is lost.
    pub(crate) async fn read_streams(self, tasks: TaskTracker) {
        loop {
            let Ok(reader) = self.readers.clone().acquire_owned().await else { return };
            let Ok(stream) = self.link.connection.accept_uni().await else { return };
            let receiver = self.clone();
            let mut reading: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
                receiver.read_stream(stream).await;
                drop(reader);
            });
            // Most messages are here with their stream: read on the spot, without a task of their own.
            let done =
                std::future::poll_fn(|context| Poll::Ready(reading.as_mut().poll(context).is_ready())).await;
            if !done {
                tasks.spawn(reading);
            }
        }
    }

    /// Delivers datagrams, until the connection is lost.
    pub(crate) async fn read_datagrams(self) {
        while let Ok(payload) = self.link.connection.read_datagram().await {
            self.link.datagrams_received.increment();
            let bytes = payload.len();
            let event = LinkEvent::Datagram { peer: self.link.peer.clone(), payload };
            if self.mesh.inbox.deliver_within(&self.shares.datagrams, event, bytes).await.is_err() {
                return;
            }
        }
    }

    async fn read_stream(&self, mut stream: RecvStream) {
        match self.read_message(&mut stream).await {
            Ok((lane, payload, budget)) => {
                self.deliver(lane, payload).await;
                drop(budget);
            }
            Err(error @ MessageError::Oversized { .. }) => {
                self.violated(CloseCode::Oversized, &error.to_string());
            }
            Err(error @ (MessageError::UnknownLane(_) | MessageError::WrongLength(_))) => {
                self.violated(CloseCode::Malformed, &error.to_string());
            }
            Err(MessageError::Abandoned) => self.link.abandoned.increment(),
            Err(MessageError::Lost) => {}
        }
    }

    async fn read_message(
        &self,
        stream: &mut RecvStream,
    ) -> Result<(Lane, Bytes, OwnedSemaphorePermit), MessageError> {
        let mut header = [0; HEADER_BYTES];
        read_exactly(stream, &mut header).await?;
        let [lane, length @ ..] = header;
        let lane = Lane::from_stream_byte(lane).ok_or(MessageError::UnknownLane(lane))?;
        let bytes = u32::from_le_bytes(length) as usize;
        let bytes_max = self.link.limits().lane(lane).message_bytes_max;
        if bytes > bytes_max {
            return Err(MessageError::Oversized { lane, bytes, bytes_max });
        }
        let budget = if lane.is_bulk() { &self.bulk_budget } else { &self.urgent_budget };
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let permit = budget.clone().acquire_many_owned(permits).await.map_err(|_| MessageError::Lost)?;

        let mut payload = vec![0; bytes];
        read_exactly(stream, &mut payload).await?;
        match stream.read_chunk(1, true).await {
            Ok(None) => Ok((lane, payload.into(), permit)),
            Ok(Some(_)) => Err(MessageError::WrongLength("goes on after its end")),
            Err(error) => Err(error.into()),
        }
    }

    async fn deliver(&self, lane: Lane, payload: Bytes) {
        let bytes = payload.len();
        let received = &self.link.received[lane.index()];
        received.messages.increment();
        received.bytes.add(bytes);
        tracing::trace!(peer = %self.link.peer, %lane, bytes, "message received");
        let event = LinkEvent::Message { peer: self.link.peer.clone(), lane, payload };
        // Fails only when the endpoint closes or nobody listens: then the messages have no reader anyway.
        let share = if lane.is_bulk() { &self.shares.bulk } else { &self.shares.urgent };
        let _ = self.mesh.inbox.deliver_within(share, event, bytes).await;
    }

    fn violated(&self, code: CloseCode, what: &str) {
        match code {
            CloseCode::Oversized => self.mesh.counters.oversized.increment(),
            CloseCode::Shutdown
            | CloseCode::Dropped
            | CloseCode::Superseded
            | CloseCode::Duplicate
            | CloseCode::Refused
            | CloseCode::HelloTimeout
            | CloseCode::Malformed
            | CloseCode::TooFast
            | CloseCode::FirstMessageTimeout => self.mesh.counters.malformed.increment(),
        }
        tracing::warn!(peer = %self.link.peer, what, "peer broke the protocol, closing its link");
        self.link.close(code, what);
    }
}

async fn read_exactly(stream: &mut RecvStream, into: &mut [u8]) -> Result<(), MessageError> {
    stream.read_exact(into).await.map_err(|error| match error {
        ReadExactError::FinishedEarly(_) => MessageError::WrongLength("ends before its end"),
        ReadExactError::ReadError(error) => error.into(),
    })
}

impl From<ReadError> for MessageError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(_) => MessageError::Abandoned,
            ReadError::ConnectionLost(_)
            | ReadError::ClosedStream
            | ReadError::IllegalOrderedRead
            | ReadError::ZeroRttRejected => MessageError::Lost,
        }
    }
}
