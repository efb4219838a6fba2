//! Every limit of the crate, named in one place, with what happens when it is reached.

use std::fmt::Debug;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::admission::AdmissionLimits;
use crate::error::BindError;
use crate::lane::Lane;
use crate::tuning::Tuning;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Bytes of urgent messages (cutover, action) that are being put together on one link; more wait unread.
pub(crate) const ASSEMBLY_URGENT_BYTES_MAX: usize = 8 * MIB;
/// Bytes of bulk messages (precopy, checkpoint) that are being put together on one link; more wait unread.
pub(crate) const ASSEMBLY_BULK_BYTES_MAX: usize = 32 * MIB;
/// Messages with a stream of their own that are being read at once on one link; more wait unread.
pub(crate) const ASSEMBLY_MESSAGES_MAX: usize = 1024;
/// How long the lower name lets an incoming connection wait for its own dial before it takes the incoming one.
pub(crate) const SIMULTANEOUS_DIAL_WAIT: Duration = Duration::from_millis(250);
/// A link that lived shorter than this counts as a failed attempt for the back-off.
pub(crate) const STABLE_LINK: Duration = Duration::from_secs(5);
/// Largest frame of the hello exchange, in bytes.
pub(crate) const HELLO_FRAME_BYTES_MAX: usize = crate::HELLO_PAYLOAD_BYTES_MAX + KIB;
/// How long an endpoint waits at its end for peers to hear of it.
pub(crate) const CLOSE_WAIT: Duration = Duration::from_millis(500);

/// The most that a setting may ask for of countable things, and of bytes. More is a slip of the pen, and far past them the
/// channels and the kernel count no further.
pub(crate) const COUNT_LIMIT: usize = 1 << 20;
pub(crate) const BYTES_LIMIT: usize = i32::MAX as usize;
/// The longest time that a setting may ask for.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(24 * 3600);

const _: () = assert!(SIMULTANEOUS_DIAL_WAIT.as_millis() * 4 < STABLE_LINK.as_millis());

/// Checks settings against what there may be at most.
pub(crate) fn at_most<T: Copy + PartialOrd + Debug>(
    settings: &[(&'static str, T)],
    max: T,
) -> Result<(), BindError> {
    let Some((setting, value)) = settings.iter().copied().find(|(_, value)| *value > max) else {
        return Ok(());
    };
    Err(BindError::Setting { setting, cause: format!("{value:?} is too much: choose at most {max:?}") })
}

/// Limits of one lane of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneLimits {
    /// Largest message, in bytes. Sending more fails; receiving more closes the link.
    pub message_bytes_max: usize,
    /// Most messages that wait to be sent. One more fails with `QueueFull`.
    pub queue_messages_max: usize,
    /// Most bytes that wait to be sent. More fail with `QueueFull`.
    pub queue_bytes_max: usize,
    /// Most messages handed to QUIC and not yet acknowledged; more stay in the queue. Bulk lanes only. Too
    /// small (under 16) waits for delayed acknowledgements; too big takes streams from cutovers.
    pub in_flight_messages_max: usize,
    /// Most bytes handed to QUIC and not yet acknowledged; more stay in the queue. Bulk lanes only. Too big
    /// uses up the connection's window, and a cutover has to wait.
    pub in_flight_bytes_max: usize,
}

/// Limits of a mesh endpoint and its links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeshLimits {
    /// Default: messages of 1 MiB, 8192 of them and 16 MiB waiting.
    pub control: LaneLimits,
    /// Default: messages of 2 MiB, 1024 of them and 32 MiB waiting.
    pub cutover: LaneLimits,
    /// Default: messages of 64 KiB, 4096 of them and 8 MiB waiting.
    pub action: LaneLimits,
    /// Default: messages of 2 MiB, 1024 of them and 64 MiB waiting, 256 of them and 8 MiB in flight.
    pub precopy: LaneLimits,
    /// Default: messages of 16 MiB, 256 of them and 64 MiB waiting, 64 of them and 16 MiB in flight.
    pub checkpoint: LaneLimits,
    /// Bytes of bulk (precopy and checkpoint) that a link sends a second. Default 50 MB; 0: as fast as it goes. More and
    /// cutovers wait behind bulk in buffers where no priority reaches; less and entities wait longer to be copied ahead.
    pub bulk_bytes_per_s: u64,
    /// Bytes of datagrams that a link sends a second, 200 more counted for each. Default 20 MB; 0: as fast as it goes. They go
    /// before bulk and count against its rate, up to half of it. More and cutovers wait behind datagrams, which QUIC sends
    /// before all else; less and they wait longer to be sent, and are refused sooner.
    pub datagram_bytes_per_s: u64,
    /// Events that wait for the consumer. Default 4096. When full, nothing more is read from any link. One link may have an
    /// eighth of them in urgent messages, an eighth in bulk and an eighth in datagrams; then it waits alone.
    pub events_max: usize,
    /// Bytes of messages that wait for the consumer. Default 64 MiB. When full, nothing more is read from any link. Of one
    /// link an eighth of each kind, as for events.
    pub events_bytes_max: usize,
    /// Incoming handshakes at once, until they are links. Default 256. More are refused and counted; the peers try again. When
    /// half of them are under way, an address must first prove that it is real (QUIC retry).
    pub handshakes_max: usize,
    /// Incoming handshakes at once from one IP address. Default 64: the nodes of one machine share it. More are refused; from
    /// half of it on, the address must first prove that it is real. Too many for `handshakes_max` and a few addresses keep
    /// all others out.
    pub handshakes_per_address_max: usize,
    /// Incoming handshakes begun a second. Default 1000. More are refused; above half of it, an address must first prove that
    /// it is real. One IP address may begin a quarter of them. Each costs the mesh's thread a signature.
    pub handshakes_per_second_max: u32,
}

impl Default for MeshLimits {
    fn default() -> Self {
        let lane = |message_bytes_max, queue_messages_max, queue_bytes_max| LaneLimits {
            message_bytes_max,
            queue_messages_max,
            queue_bytes_max,
            in_flight_messages_max: 256,
            in_flight_bytes_max: 8 * MIB,
        };
        Self {
            control: lane(MIB, 8192, 16 * MIB),
            cutover: lane(2 * MIB, 1024, 32 * MIB),
            action: lane(64 * KIB, 4096, 8 * MIB),
            precopy: lane(2 * MIB, 1024, 64 * MIB),
            checkpoint: LaneLimits {
                in_flight_messages_max: 64,
                in_flight_bytes_max: 16 * MIB,
                ..lane(16 * MIB, 256, 64 * MIB)
            },
            bulk_bytes_per_s: 50_000_000,
            datagram_bytes_per_s: 20_000_000,
            events_max: 4096,
            events_bytes_max: 64 * MIB,
            handshakes_max: 256,
            handshakes_per_address_max: 64,
            handshakes_per_second_max: 1000,
        }
    }
}

impl MeshLimits {
    /// The limits of one lane.
    pub fn lane(&self, lane: Lane) -> &LaneLimits {
        match lane {
            Lane::Control => &self.control,
            Lane::Cutover => &self.cutover,
            Lane::Action => &self.action,
            Lane::Precopy => &self.precopy,
            Lane::Checkpoint => &self.checkpoint,
        }
    }

    pub(crate) fn admission(&self) -> AdmissionLimits {
        AdmissionLimits {
            places_max: self.handshakes_max,
            per_address_max: self.handshakes_per_address_max,
            per_second_max: self.handshakes_per_second_max,
            half_for_proven: true,
        }
    }

    /// Checks the limits, and that bulk leaves room for cutovers.
    pub(crate) fn check(&self, tuning: &Tuning) -> Result<(), BindError> {
        let wrong = |setting, cause: String| Err(BindError::Setting { setting, cause });
        for lane in Lane::ALL {
            let limits = self.lane(lane);
            let assembly = if lane.is_bulk() { ASSEMBLY_BULK_BYTES_MAX } else { ASSEMBLY_URGENT_BYTES_MAX };
            if limits.message_bytes_max == 0 || limits.message_bytes_max > assembly {
                return wrong("message_bytes_max", format!("{lane}: choose 1 to {assembly}"));
            }
            if limits.queue_bytes_max < limits.message_bytes_max || limits.queue_messages_max == 0 {
                return wrong("queue_bytes_max", format!("{lane}: the queue must hold one largest message"));
            }
            at_most(
                &[
                    ("queue_bytes_max", limits.queue_bytes_max),
                    ("in_flight_bytes_max", limits.in_flight_bytes_max),
                ],
                BYTES_LIMIT,
            )?;
            at_most(
                &[
                    ("queue_messages_max", limits.queue_messages_max),
                    ("in_flight_messages_max", limits.in_flight_messages_max),
                ],
                COUNT_LIMIT,
            )?;
            if lane.is_bulk() && (limits.in_flight_messages_max == 0 || limits.in_flight_bytes_max == 0) {
                return wrong("in_flight_bytes_max", format!("{lane}: nothing could ever be sent"));
            }
        }
        if self.events_max == 0 || self.events_bytes_max == 0 {
            return wrong("events_max", "events_max and events_bytes_max must be above 0".into());
        }
        if self.handshakes_max == 0
            || self.handshakes_per_address_max == 0
            || self.handshakes_per_second_max == 0
        {
            return wrong("handshakes_max", "each limit of the handshakes must be above 0".into());
        }
        at_most(
            &[
                ("events_max", self.events_max),
                ("handshakes_max", self.handshakes_max),
                ("handshakes_per_address_max", self.handshakes_per_address_max),
            ],
            COUNT_LIMIT,
        )?;
        at_most(&[("events_bytes_max", self.events_bytes_max)], BYTES_LIMIT)?;
        let bulk_bytes = self.precopy.in_flight_bytes_max + self.checkpoint.in_flight_bytes_max;
        if bulk_bytes as u64 * 2 > u64::from(tuning.connection_window_bytes) {
            return wrong(
                "in_flight_bytes_max",
                "bulk in flight must fit twice into connection_window_bytes".into(),
            );
        }
        let bulk_messages = self.precopy.in_flight_messages_max + self.checkpoint.in_flight_messages_max;
        if bulk_messages as u64 * 2 > u64::from(tuning.streams_max) {
            return wrong("in_flight_messages_max", "bulk in flight must fit twice into streams_max".into());
        }
        Ok(())
    }
}

/// Limits of the client port. Whoever breaks one of a connection's own loses that connection and no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientLimits {
    /// Connections at once, those still in their handshake included. Default 4096. More are refused.
    pub connections_max: usize,
    /// Connections at once from one IP address. Default 64: players behind one router share it. More are refused.
    pub connections_per_address_max: usize,
    /// Handshakes begun a second. Default 200. More are refused; above half of it, an address must first
    /// prove that it is real (QUIC retry). One IP address may begin a quarter of them.
    pub handshakes_per_second_max: u32,
    /// Time from a connection's first packet to its first message. Default 5 s. Too short loses players on bad lines.
    #[serde(with = "humantime_serde")]
    pub first_message_timeout: Duration,
    /// Largest message, either way, in bytes. Default 64 KiB.
    pub message_bytes_max: usize,
    /// Messages a second from one client. Default 200; a burst of two seconds' worth passes.
    pub messages_per_second_max: u32,
    /// Datagrams a second from one client. Default 240; a burst of two seconds' worth passes.
    pub datagrams_per_second_max: u32,
    /// Messages that wait to be sent to one client. Default 1024. One more fails with `QueueFull`.
    pub queue_messages_max: usize,
    /// Bytes that wait to be sent to one client. Default 1 MiB. More fail with `QueueFull`.
    pub queue_bytes_max: usize,
    /// Events that wait for the consumer. Default 8192. When full, nothing more is read from any client.
    pub events_max: usize,
    /// Bytes of messages that wait for the consumer. Default 16 MiB. When full, nothing more is read from any client.
    pub events_bytes_max: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            connections_per_address_max: 64,
            handshakes_per_second_max: 200,
            first_message_timeout: Duration::from_secs(5),
            message_bytes_max: 64 * KIB,
            messages_per_second_max: 200,
            datagrams_per_second_max: 240,
            queue_messages_max: 1024,
            queue_bytes_max: MIB,
            events_max: 8192,
            events_bytes_max: 16 * MIB,
        }
    }
}

impl ClientLimits {
    pub(crate) fn admission(&self) -> AdmissionLimits {
        AdmissionLimits {
            places_max: self.connections_max,
            per_address_max: self.connections_per_address_max,
            per_second_max: self.handshakes_per_second_max,
            // A place is a player's as long as they play, so a full port's are held by real ones.
            half_for_proven: false,
        }
    }

    pub(crate) fn check(&self) -> Result<(), BindError> {
        let wrong = |setting, cause: &str| Err(BindError::Setting { setting, cause: cause.to_owned() });
        if self.message_bytes_max == 0 || self.queue_bytes_max < self.message_bytes_max {
            return wrong("queue_bytes_max", "the queue must hold one largest message");
        }
        let counts = [
            self.connections_max,
            self.connections_per_address_max,
            self.queue_messages_max,
            self.events_max,
            self.events_bytes_max,
        ];
        let rates =
            [self.handshakes_per_second_max, self.messages_per_second_max, self.datagrams_per_second_max];
        if counts.contains(&0) || rates.contains(&0) || self.first_message_timeout.is_zero() {
            return wrong("limits", "every limit of the client port must be above 0");
        }
        at_most(
            &[
                ("connections_max", self.connections_max),
                ("connections_per_address_max", self.connections_per_address_max),
                ("queue_messages_max", self.queue_messages_max),
                ("events_max", self.events_max),
            ],
            COUNT_LIMIT,
        )?;
        at_most(
            &[
                ("message_bytes_max", self.message_bytes_max),
                ("queue_bytes_max", self.queue_bytes_max),
                ("events_bytes_max", self.events_bytes_max),
            ],
            BYTES_LIMIT,
        )?;
        at_most(&[("first_message_timeout", self.first_message_timeout)], TIME_LIMIT)
    }
}
