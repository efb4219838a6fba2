//! Numbers about links and endpoints, for status pages and metrics. Counters only ever grow.

use serde::Serialize;

use crate::counter::Counter;

/// Numbers of one lane of a link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LaneStats {
    /// Messages taken for sending.
    pub sent: u64,
    /// Bytes of messages taken for sending.
    pub sent_bytes: u64,
    /// Messages received whole.
    pub received: u64,
    /// Bytes of messages received whole.
    pub received_bytes: u64,
    /// Messages that wait to be handed to QUIC.
    pub queued_messages: u64,
    /// Bytes of messages that wait to be handed to QUIC.
    pub queued_bytes: u64,
    /// Messages refused because the queue was full.
    pub overflows: u64,
}

/// Numbers of one link, since it came up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LinkStats {
    /// Estimated round-trip time, in microseconds.
    pub rtt_us: u64,
    /// Largest UDP payload found for the path, in bytes.
    pub mtu_bytes: u16,
    /// Congestion window, in bytes.
    pub congestion_window_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets that had to be taken for lost.
    pub lost_packets: u64,
    /// Bytes sent in UDP payloads.
    pub bytes_sent: u64,
    /// Bytes received in UDP payloads.
    pub bytes_received: u64,
    /// Datagrams taken for sending.
    pub datagrams_sent: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Datagrams that wait to be handed to QUIC.
    pub queued_datagrams: u64,
    /// Datagrams refused because too many were waiting.
    pub datagram_overflows: u64,
    /// Streams that the peer gave up before their message was whole.
    pub abandoned_messages: u64,
    /// The control lane.
    pub control: LaneStats,
    /// The cutover lane.
    pub cutover: LaneStats,
    /// The action lane.
    pub action: LaneStats,
    /// The precopy lane.
    pub precopy: LaneStats,
    /// The checkpoint lane.
    pub checkpoint: LaneStats,
}

/// Numbers of a mesh endpoint, since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MeshStats {
    /// Links that are up now.
    pub links: u64,
    /// Links that came up.
    pub ups: u64,
    /// Links that went down.
    pub downs: u64,
    /// Attempts to dial that failed.
    pub dials_failed: u64,
    /// Incoming connections that failed before they were a link, for whatever reason.
    pub accepts_failed: u64,
    /// Connections given up because the other one of a pair stays.
    pub duplicates: u64,
    /// Peers refused here at their hello.
    pub hellos_refused: u64,
    /// Incoming handshakes refused because too many were under way, in all or from their address, or begun in a second.
    pub handshakes_refused: u64,
    /// Incoming handshakes whose address had to prove first that it is real.
    pub handshake_retries: u64,
    /// Links closed for a message above its limit.
    pub oversized: u64,
    /// Links closed for bytes that no correct peer sends.
    pub malformed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct MeshCounters {
    pub(crate) ups: Counter,
    pub(crate) downs: Counter,
    pub(crate) dials_failed: Counter,
    pub(crate) accepts_failed: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) hellos_refused: Counter,
    pub(crate) handshakes_refused: Counter,
    pub(crate) handshake_retries: Counter,
    pub(crate) oversized: Counter,
    pub(crate) malformed: Counter,
}

impl MeshCounters {
    pub(crate) fn stats(&self, links: usize) -> MeshStats {
        MeshStats {
            links: links as u64,
            ups: self.ups.value(),
            downs: self.downs.value(),
            dials_failed: self.dials_failed.value(),
            accepts_failed: self.accepts_failed.value(),
            duplicates: self.duplicates.value(),
            hellos_refused: self.hellos_refused.value(),
            handshakes_refused: self.handshakes_refused.value(),
            handshake_retries: self.handshake_retries.value(),
            oversized: self.oversized.value(),
            malformed: self.malformed.value(),
        }
    }
}
