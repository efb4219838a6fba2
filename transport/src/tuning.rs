//! The settings of QUIC that were found to matter, and nothing else of quinn's.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::{AckFrequencyConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use serde::{Deserialize, Serialize};

use crate::error::BindError;
use crate::limits::{BYTES_LIMIT, TIME_LIMIT, at_most};

/// Bytes of datagrams that QUIC itself holds on a link, where they are before all else; more wait in the link's own queue.
const DATAGRAM_BUFFER_BYTES: usize = 32 * 1024;
/// Smallest UDP payload that every QUIC path must carry, in bytes.
const MTU_MIN: u16 = 1200;
/// Above this, black-hole detection was seen to do more harm than big packets do good.
const MTU_LIMIT: u16 = 9000;
/// Largest UDP payload that quinn receives by default, in bytes: an Ethernet frame's worth.
const RECEIVE_MTU_DEFAULT: u16 = 1472;

/// How an endpoint uses QUIC. The default is for the private network between nodes;
/// [`Tuning::for_clients`] is for the open internet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tuning {
    /// Largest UDP payload, in bytes, that MTU discovery tries. Default 1452; use 6500 on jumbo networks, on both ends:
    /// messages of 16 KiB and up become twice as fast. Too big is found out and costs only probes, up to 9000.
    pub mtu_max: u16,
    /// The same towards a peer on this very machine (a loopback address), where it is more than `mtu_max`. Default 6500.
    pub mtu_max_loopback: u16,
    /// UDP payload, in bytes, before discovery has run. Default 1200, which every path carries. Too big and
    /// nothing gets through.
    pub mtu_initial: u16,
    /// Bytes that one stream may have unread by the receiver. Default 8 MiB. Too small slows bulk down.
    pub stream_window_bytes: u32,
    /// Bytes that a whole connection may have unread by the receiver, or unacknowledged by it. Default 64 MiB. It is
    /// also what a peer can make this process hold.
    pub connection_window_bytes: u32,
    /// Send and receive buffer asked of the kernel for the UDP socket, in bytes. Default 4 MiB. The kernel may
    /// give less (net.core.rmem_max); too small loses packets in bursts.
    pub socket_buffer_bytes: usize,
    /// Packets after which the receiver acknowledges. Default 10; 0 leaves it to the peer (every second).
    pub ack_frequency_packets: u32,
    /// Silence after which a ping keeps the connection alive. Default 1 s. Must be well under `idle_timeout`.
    #[serde(with = "humantime_serde")]
    pub keep_alive: Duration,
    /// Silence after which the peer counts as gone. Default 6 s. Too short and a stalled process loses its links.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Bytes that may be sent before the path is known. Default 1 MiB: for a private network. Too big floods a slow path.
    pub initial_window_bytes: u32,
    /// Whether a peer that comes back may go on with its former TLS session, which saves both ends the check of the
    /// certificates; both must want it. Default false: every link shows a certificate that is valid now. A certificate that
    /// runs out or is withdrawn meanwhile stays good until the session ends (a day at most).
    pub resume_sessions: bool,
    /// Streams that a peer may have open at once: one per message outside the control lane. Default 1024.
    pub streams_max: u32,
    /// Bytes of datagrams that wait to be sent, on a link 200 more counted for each. Default 1 MiB. When full, `send_datagram`
    /// says so.
    pub datagram_send_buffer_bytes: usize,
    /// Bytes of datagrams that wait to be read. Default 4 MiB. When full, the oldest is lost.
    pub datagram_receive_buffer_bytes: usize,
    /// Time for a hello, from the first packet to its confirmation. Default 5 s.
    #[serde(with = "humantime_serde")]
    pub hello_timeout: Duration,
    /// Pause before the second attempt at a link; doubles from there, with jitter. Default 50 ms.
    #[serde(with = "humantime_serde")]
    pub reconnect_min: Duration,
    /// Longest pause between two attempts at a link. Default 2 s.
    #[serde(with = "humantime_serde")]
    pub reconnect_max: Duration,
    /// Whether the kernel cuts big sends into packets (GSO). Default on; off costs 1.7 to 3 times the time.
    pub segmentation_offload: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        const MIB: u32 = 1024 * 1024;
        Self {
            mtu_max: 1452,
            mtu_max_loopback: 6500,
            mtu_initial: MTU_MIN,
            stream_window_bytes: 8 * MIB,
            connection_window_bytes: 64 * MIB,
            socket_buffer_bytes: 4 * MIB as usize,
            ack_frequency_packets: 10,
            keep_alive: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(6),
            initial_window_bytes: MIB,
            streams_max: 1024,
            datagram_send_buffer_bytes: MIB as usize,
            resume_sessions: false,
            datagram_receive_buffer_bytes: 4 * MIB as usize,
            hello_timeout: Duration::from_secs(5),
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(2),
            segmentation_offload: true,
        }
    }
}

impl Tuning {
    /// For players on the open internet: small windows, a careful start, and 10 s until a silent client is gone.
    pub fn for_clients() -> Self {
        const KIB: u32 = 1024;
        Self {
            stream_window_bytes: 256 * KIB,
            connection_window_bytes: 1024 * KIB,
            keep_alive: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(10),
            initial_window_bytes: 32 * KIB,
            streams_max: 0,
            mtu_max_loopback: MTU_MIN,
            datagram_send_buffer_bytes: 256 * KIB as usize,
            datagram_receive_buffer_bytes: 256 * KIB as usize,
            ..Self::default()
        }
    }

    /// Largest UDP payload, in bytes, that is tried towards this peer.
    pub fn mtu_max_to(&self, peer: IpAddr) -> u16 {
        if is_loopback(peer) { self.mtu_max.max(self.mtu_max_loopback) } else { self.mtu_max }
    }

    pub(crate) fn check(&self) -> Result<(), BindError> {
        let wrong = |setting, cause: String| Err(BindError::Setting { setting, cause });
        for (setting, mtu) in [("mtu_max", self.mtu_max), ("mtu_max_loopback", self.mtu_max_loopback)] {
            if !(MTU_MIN..=MTU_LIMIT).contains(&mtu) {
                return wrong(setting, format!("choose {MTU_MIN} to {MTU_LIMIT}"));
            }
        }
        if !(MTU_MIN..=self.mtu_max).contains(&self.mtu_initial) {
            return wrong("mtu_initial", format!("choose {MTU_MIN} to mtu_max"));
        }
        at_most(
            &[
                ("idle_timeout", self.idle_timeout),
                ("hello_timeout", self.hello_timeout),
                ("reconnect_max", self.reconnect_max),
            ],
            TIME_LIMIT,
        )?;
        at_most(
            &[
                ("socket_buffer_bytes", self.socket_buffer_bytes),
                ("datagram_send_buffer_bytes", self.datagram_send_buffer_bytes),
                ("datagram_receive_buffer_bytes", self.datagram_receive_buffer_bytes),
            ],
            BYTES_LIMIT,
        )?;
        if self.keep_alive.is_zero() || self.keep_alive > self.idle_timeout / 2 {
            return wrong("keep_alive", "choose more than 0 and at most half of idle_timeout".to_owned());
        }
        if self.reconnect_min.is_zero() || self.reconnect_min > self.reconnect_max {
            return wrong("reconnect_min", "choose more than 0 and at most reconnect_max".to_owned());
        }
        if self.stream_window_bytes > self.connection_window_bytes {
            return wrong("stream_window_bytes", "choose at most connection_window_bytes".to_owned());
        }
        Ok(())
    }

    /// The settings of one connection to this peer, for quinn. `uni_streams_max` is 0 where no message has a stream of
    /// its own.
    ///
    /// # Errors
    /// If settings contradict each other.
    pub fn transport(&self, uni_streams_max: u32, peer: IpAddr) -> Result<TransportConfig, BindError> {
        self.check()?;
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(self.mtu_max_to(peer));
        let mut cubic = CubicConfig::default();
        cubic.initial_window(u64::from(self.initial_window_bytes));
        let idle = IdleTimeout::try_from(self.idle_timeout)
            .map_err(|e| BindError::Setting { setting: "idle_timeout", cause: e.to_string() })?;

        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(1))
            .max_concurrent_uni_streams(VarInt::from_u32(uni_streams_max))
            .stream_receive_window(VarInt::from_u32(self.stream_window_bytes))
            .receive_window(VarInt::from_u32(self.connection_window_bytes))
            .send_window(u64::from(self.connection_window_bytes))
            .send_fairness(false)
            .initial_mtu(self.mtu_initial)
            .mtu_discovery_config(Some(discovery))
            .max_idle_timeout(Some(idle))
            .keep_alive_interval(Some(self.keep_alive))
            .datagram_send_buffer_size(self.datagram_send_buffer_bytes)
            .datagram_receive_buffer_size(Some(self.datagram_receive_buffer_bytes))
            .enable_segmentation_offload(self.segmentation_offload)
            .congestion_controller_factory(Arc::new(cubic));
        if self.ack_frequency_packets > 0 {
            let mut frequency = AckFrequencyConfig::default();
            frequency.ack_eliciting_threshold(VarInt::from_u32(self.ack_frequency_packets));
            transport.ack_frequency_config(Some(frequency));
        }
        Ok(transport)
    }

    /// The settings of the endpoint, for quinn. It must be able to receive what the peer's MTU discovery may find.
    ///
    /// # Errors
    /// If `mtu_max` or `mtu_max_loopback` is out of range.
    pub fn endpoint(&self) -> Result<EndpointConfig, BindError> {
        let mtu_max = self.mtu_max.max(self.mtu_max_loopback).max(RECEIVE_MTU_DEFAULT);
        let mut endpoint = EndpointConfig::default();
        endpoint
            .max_udp_payload_size(mtu_max)
            .map_err(|e| BindError::Setting { setting: "mtu_max", cause: e.to_string() })?;
        Ok(endpoint)
    }
}

/// Whether the peer is on this very machine; an IPv4 address may come in IPv6 clothes.
fn is_loopback(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}

/// The settings of an endpoint's connections, by where the peer is.
#[derive(Debug, Clone)]
pub(crate) struct Transports {
    network: Arc<TransportConfig>,
    loopback: Arc<TransportConfig>,
}

impl Transports {
    /// Fails if settings contradict each other.
    pub(crate) fn new(tuning: &Tuning, uni_streams_max: u32) -> Result<Self, BindError> {
        let to = |peer: IpAddr| {
            let mut transport = tuning.transport(uni_streams_max, peer)?;
            transport.datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES);
            Ok::<_, BindError>(Arc::new(transport))
        };
        Ok(Self { network: to(Ipv4Addr::UNSPECIFIED.into())?, loopback: to(Ipv4Addr::LOCALHOST.into())? })
    }

    pub(crate) fn to(&self, peer: IpAddr) -> Arc<TransportConfig> {
        if is_loopback(peer) { self.loopback.clone() } else { self.network.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_pass_their_own_checks() {
        Tuning::default().check().unwrap();
        Tuning::for_clients().check().unwrap();
        assert_eq!(Tuning::default().mtu_max_to(Ipv4Addr::LOCALHOST.into()), 6500);
        assert_eq!(Tuning::default().mtu_max_to(Ipv4Addr::new(10, 0, 0, 1).into()), 1452);
        assert_eq!(Tuning::for_clients().mtu_max_to(Ipv4Addr::LOCALHOST.into()), 1452);
        crate::MeshLimits::default().check(&Tuning::default()).unwrap();
        crate::ClientLimits::default().check().unwrap();
    }

    #[test]
    fn settings_that_do_not_go_together_are_named() {
        let tuning = Tuning { keep_alive: Duration::from_secs(9), ..Tuning::default() };
        assert!(tuning.check().unwrap_err().to_string().contains("keep_alive"));
        let small = Tuning { streams_max: 100, ..Tuning::default() };
        let error = crate::MeshLimits::default().check(&small).unwrap_err();
        assert!(error.to_string().contains("in_flight_messages_max"), "{error}");
    }

    #[test]
    fn absurd_settings_are_named_and_nothing_panics() {
        use crate::limits::{ClientLimits, LaneLimits, MeshLimits};
        let named = |result: Result<(), BindError>, setting: &str| {
            let error = result.expect_err(setting).to_string();
            assert!(error.contains(&format!("setting {setting}:")), "{setting} in {error}");
        };
        let tuning = Tuning::default();
        let for_ever = Duration::MAX;
        named(Tuning { keep_alive: for_ever, ..tuning.clone() }.check(), "keep_alive");
        named(
            Tuning { keep_alive: for_ever, idle_timeout: for_ever, ..tuning.clone() }.check(),
            "idle_timeout",
        );
        named(Tuning { hello_timeout: for_ever, ..tuning.clone() }.check(), "hello_timeout");
        named(Tuning { reconnect_max: for_ever, ..tuning.clone() }.check(), "reconnect_max");
        named(Tuning { socket_buffer_bytes: usize::MAX, ..tuning.clone() }.check(), "socket_buffer_bytes");

        let mesh = MeshLimits::default();
        named(MeshLimits { events_max: usize::MAX, ..mesh.clone() }.check(&tuning), "events_max");
        named(MeshLimits { handshakes_max: usize::MAX, ..mesh.clone() }.check(&tuning), "handshakes_max");
        named(MeshLimits { events_bytes_max: usize::MAX, ..mesh.clone() }.check(&tuning), "events_bytes_max");
        let precopy = LaneLimits { in_flight_bytes_max: usize::MAX, ..mesh.precopy };
        named(MeshLimits { precopy, ..mesh.clone() }.check(&tuning), "in_flight_bytes_max");
        let checkpoint = LaneLimits { in_flight_messages_max: usize::MAX, ..mesh.checkpoint };
        named(MeshLimits { checkpoint, ..mesh }.check(&tuning), "in_flight_messages_max");

        let clients = ClientLimits::default();
        named(ClientLimits { events_max: usize::MAX, ..clients.clone() }.check(), "events_max");
        named(ClientLimits { first_message_timeout: for_ever, ..clients }.check(), "first_message_timeout");
    }

    #[test]
    fn settings_survive_their_text() {
        let tuning = Tuning::for_clients();
        let text = serde_json::to_string(&tuning).unwrap();
        assert_eq!(serde_json::from_str::<Tuning>(&text).unwrap(), tuning);
        assert_eq!(serde_json::from_str::<Tuning>("{}").unwrap(), Tuning::default());
    }
}
