//! A link: the sending half of the connection to one peer.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use quinn::{Connection, SendStream};

use crate::close::{self, CloseCode};
use crate::counter::Counter;
use crate::error::SendError;
use crate::lane::Lane;
use crate::limits::MeshLimits;
use crate::mesh::datagrams::DatagramQueue;
use crate::mesh::pace::Pace;
use crate::mesh::queue::LaneQueue;
use crate::mesh::stats::{LaneStats, LinkStats};
use crate::ordered::OrderedWriter;
use crate::peer::PeerName;

/// Sends to one peer. Cheap to clone, usable from any thread; none of its methods blocks or waits.
///
/// A link ends with its connection: after [`LinkEvent::Down`](crate::LinkEvent::Down) every send fails with
/// [`SendError::Closed`], and the next `Up` brings a new link.
#[derive(Clone)]
pub struct Link(pub(crate) Arc<LinkShared>);

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("peer", &self.0.peer).finish_non_exhaustive()
    }
}

/// What the tasks of a link and its handles share.
pub(crate) struct LinkShared {
    pub(crate) peer: PeerName,
    pub(crate) connection: Connection,
    pub(crate) control: OrderedWriter,
    pub(crate) queues: [Arc<LaneQueue>; 4],
    pub(crate) received: [Received; Lane::ALL.len()],
    pub(crate) datagrams_received: Counter,
    pub(crate) abandoned: Counter,
    limits: MeshLimits,
    pub(crate) datagrams: DatagramQueue,
    /// Why this end closed the connection, if it did.
    close_reason: OnceLock<String>,
}

/// What arrived on one lane.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) messages: Counter,
    pub(crate) bytes: Counter,
}

impl LinkShared {
    pub(crate) fn new(
        peer: PeerName,
        connection: Connection,
        control: SendStream,
        limits: &MeshLimits,
        datagram_queue_bytes_max: usize,
    ) -> Self {
        let _ = control.set_priority(Lane::Control.priority());
        let pace = Arc::new(Pace::new(limits.bulk_bytes_per_s));
        let queue = |lane: Lane| {
            let pace = lane.is_bulk().then(|| pace.clone());
            Arc::new(LaneQueue::new(lane, *limits.lane(lane), pace))
        };
        Self {
            peer,
            connection,
            control: OrderedWriter::new(
                control,
                limits.control.queue_messages_max,
                limits.control.queue_bytes_max,
            ),
            queues: [Lane::Cutover, Lane::Action, Lane::Precopy, Lane::Checkpoint].map(queue),
            received: Default::default(),
            datagrams_received: Counter::default(),
            abandoned: Counter::default(),
            limits: limits.clone(),
            datagrams: DatagramQueue::new(limits.datagram_bytes_per_s, pace, datagram_queue_bytes_max),
            close_reason: OnceLock::new(),
        }
    }

    /// Closes the connection; the first reason given is the one that is told.
    pub(crate) fn close(&self, code: CloseCode, reason: &str) {
        let _ = self.close_reason.set(reason.to_owned());
        close::close(&self.connection, code.var_int(), reason);
    }

    /// Why the connection ended, given what QUIC says of it.
    pub(crate) fn end_reason(&self, error: &quinn::ConnectionError) -> String {
        close::end_reason(error, self.close_reason.get())
    }

    /// Takes nothing more for sending.
    pub(crate) fn close_queues(&self) {
        self.control.close();
        for queue in &self.queues {
            queue.close();
        }
        self.datagrams.close();
    }

    pub(crate) fn limits(&self) -> &MeshLimits {
        &self.limits
    }

    /// The queue of a lane whose messages have a stream each.
    fn queue(&self, lane: Lane) -> Option<&Arc<LaneQueue>> {
        self.queues.get(lane.index().checked_sub(1)?)
    }

    fn lane_stats(&self, lane: Lane) -> LaneStats {
        let received = &self.received[lane.index()];
        let (received, received_bytes) = (received.messages.value(), received.bytes.value());
        let Some(queue) = self.queue(lane) else {
            let control = self.control.stats();
            return LaneStats {
                sent: control.sent,
                sent_bytes: control.sent_bytes,
                received,
                received_bytes,
                queued_messages: control.queued_messages as u64,
                queued_bytes: control.queued_bytes as u64,
                overflows: control.overflows,
            };
        };
        let (messages, bytes) = queue.waiting();
        LaneStats {
            sent: queue.sent.value(),
            sent_bytes: queue.sent_bytes.value(),
            received,
            received_bytes,
            queued_messages: messages as u64,
            queued_bytes: bytes as u64,
            overflows: queue.overflows.value(),
        }
    }
}

impl Link {
    /// Who is at the other end.
    pub fn peer(&self) -> &PeerName {
        &self.0.peer
    }

    /// Sends `head` and `blob` as one message. Give a shared blob as `blob`: a big one isn't copied.
    ///
    /// Only [`Lane::Control`] keeps the order of sending. `Ok` means taken, not arrived: a link that goes down
    /// loses what is under way.
    ///
    /// # Errors
    /// [`SendError::QueueFull`] (counted), [`SendError::TooLarge`], [`SendError::Closed`]; nothing was sent then.
    pub fn send(&self, lane: Lane, head: Bytes, blob: Bytes) -> Result<(), SendError> {
        let bytes = head.len() + blob.len();
        let bytes_max = self.0.limits.lane(lane).message_bytes_max;
        if bytes > bytes_max {
            return Err(SendError::TooLarge { bytes, bytes_max });
        }
        match self.0.queue(lane) {
            None => self.0.control.send(head, blob),
            Some(queue) => queue.send(&self.0.connection, head, blob),
        }
    }

    /// Sends a datagram, which may get lost. It goes at once while the link keeps its pace, and waits for its turn otherwise.
    ///
    /// # Errors
    /// [`SendError::QueueFull`] (counted) if too many wait, [`SendError::TooLarge`] if it doesn't fit one
    /// packet, [`SendError::Closed`].
    pub fn send_datagram(&self, payload: Bytes) -> Result<(), SendError> {
        self.0.datagrams.send(&self.0.connection, payload)
    }

    /// Largest datagram that fits now, in bytes; 0 if the peer takes none. It follows the path's MTU, up and down.
    pub fn max_datagram_size(&self) -> usize {
        self.0.connection.max_datagram_size().unwrap_or(0)
    }

    /// Numbers of this link.
    pub fn stats(&self) -> LinkStats {
        let shared = &self.0;
        let connection = shared.connection.stats();
        LinkStats {
            rtt_us: connection.path.rtt.as_micros().try_into().unwrap_or(u64::MAX),
            mtu_bytes: connection.path.current_mtu,
            congestion_window_bytes: connection.path.cwnd,
            sent_packets: connection.path.sent_packets,
            lost_packets: connection.path.lost_packets,
            bytes_sent: connection.udp_tx.bytes,
            bytes_received: connection.udp_rx.bytes,
            datagrams_sent: shared.datagrams.sent.value(),
            datagrams_received: shared.datagrams_received.value(),
            queued_datagrams: shared.datagrams.waiting() as u64,
            datagram_overflows: shared.datagrams.overflows.value(),
            abandoned_messages: shared.abandoned.value(),
            control: shared.lane_stats(Lane::Control),
            cutover: shared.lane_stats(Lane::Cutover),
            action: shared.lane_stats(Lane::Action),
            precopy: shared.lane_stats(Lane::Precopy),
            checkpoint: shared.lane_stats(Lane::Checkpoint),
        }
    }

    /// Closes this connection at once; what waits is lost, and `reason` reaches the peer. If the peer is
    /// still kept ([`MeshEndpoint::keep_link`](crate::MeshEndpoint::keep_link)), either end dials again.
    pub fn close(&self, reason: &str) {
        self.0.close(CloseCode::Dropped, reason);
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.0.connection.close_reason().is_some()
    }
}
