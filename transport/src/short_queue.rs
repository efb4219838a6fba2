//! Congestion control that keeps the queue below QUIC short.
//!
//! Priority orders what QUIC hasn't sent. What it has sent stands in socket buffers and switches in that order, so a
//! cutover waits for all the bulk in front of it. Loss alone bounds that only at the size of the buffers: megabytes, and
//! milliseconds. Here the window also follows the round-trip time: it is what the path holds within its shortest round
//! trip and a small share of queueing, as FAST TCP has it, and never more than loss allows.
//!
//! quinn paces what it sends by timers of a millisecond, and a cutover waits for such a timer like everything else. A
//! window that is a fraction of that needs no pacing: as long as there is room in it, it is called boundless, for which
//! quinn doesn't pace.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics, Cubic, CubicConfig};

/// Packets that may always be under way: enough for a few acknowledgements at a time.
const PACKETS_MIN: u64 = 32;
/// The queue may grow to this part of the shortest round trip, where that is more than it may grow anyway.
const QUEUE_SHARE: u32 = 4;
/// How often the shortest round trip is measured anew, for paths that become longer.
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// Rounds with little under way, in which it is measured.
const PROBE_ROUNDS: u32 = 3;
/// More than any window for which quinn paces.
const BOUNDLESS: u64 = u64::MAX / 2;
/// The shortest round, so that each has several acknowledgements.
const ROUND_MIN: Duration = Duration::from_micros(200);

/// Makes the controllers of an endpoint's connections.
#[derive(Debug, Clone)]
pub(crate) struct ShortQueueConfig {
    losses: Arc<CubicConfig>,
    initial_window: u64,
    queue_max: Duration,
}

impl ShortQueueConfig {
    /// `queue_max` is the time that packets may wait below QUIC.
    pub(crate) fn new(initial_window: u64, queue_max: Duration) -> Self {
        let mut losses = CubicConfig::default();
        losses.initial_window(initial_window);
        Self { losses: Arc::new(losses), initial_window, queue_max }
    }
}

impl ControllerFactory for ShortQueueConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(ShortQueue {
            losses: Cubic::new(self.losses.clone(), now, current_mtu),
            initial_window: self.initial_window,
            queue_max: self.queue_max,
            window: self.initial_window,
            in_flight: 0,
            mtu: u64::from(current_mtu),
            shortest: None,
            round: Round { ends: now, shortest: None, is_full: false },
            probe: Probe::Due(now + PROBE_EVERY),
        })
    }
}

/// Bytes that a connection may have under way.
pub(crate) fn window_bytes(connection: &quinn::Connection) -> u64 {
    connection.congestion_state().metrics().congestion_window
}

/// One connection's controller.
#[derive(Debug, Clone)]
struct ShortQueue {
    losses: Cubic,
    initial_window: u64,
    queue_max: Duration,
    window: u64,
    /// Bytes under way, as far as this is told: exact after each acknowledgement.
    in_flight: u64,
    mtu: u64,
    /// Round trip of the empty path, as far as it is known.
    shortest: Option<Duration>,
    round: Round,
    probe: Probe,
}

/// What is seen between two changes of the window.
#[derive(Debug, Clone)]
struct Round {
    ends: Instant,
    shortest: Option<Duration>,
    /// Whether the window was what held the sender back.
    is_full: bool,
}

#[derive(Debug, Clone)]
enum Probe {
    Due(Instant),
    Runs { rounds_left: u32 },
}

impl ShortQueue {
    fn window_min(&self) -> u64 {
        PACKETS_MIN * self.mtu
    }

    fn real_window(&self) -> u64 {
        let window = match self.probe {
            Probe::Due(_) => self.window,
            Probe::Runs { .. } => self.window_min(),
        };
        window.min(self.losses.window())
    }

    fn see(&mut self, round_trip: Duration, app_limited: bool) {
        self.round.shortest =
            Some(self.round.shortest.map_or(round_trip, |shortest| shortest.min(round_trip)));
        self.round.is_full |= !app_limited;
    }

    fn end_round_if_due(&mut self, now: Instant) {
        if now < self.round.ends {
            return;
        }
        let Some(seen) = self.round.shortest else { return };
        let shortest = self.shortest.map_or(seen, |shortest| shortest.min(seen));
        self.shortest = Some(shortest);
        let probed = matches!(self.probe, Probe::Runs { .. });
        self.probe = match self.probe {
            Probe::Due(due) if now < due => Probe::Due(due),
            Probe::Due(_) => {
                self.shortest = None;
                Probe::Runs { rounds_left: PROBE_ROUNDS }
            }
            Probe::Runs { rounds_left: 0 } => Probe::Due(now + PROBE_EVERY),
            Probe::Runs { rounds_left } => Probe::Runs { rounds_left: rounds_left - 1 },
        };
        let fitting = fitting(self.window, seen, shortest, self.queue_max);
        // A probe's round trips are not those of the window.
        if !probed && (fitting < self.window || self.round.is_full) {
            // Half the way: one round may be a scheduler's whim.
            self.window = u64::midpoint(self.window, fitting)
                .clamp(self.window_min(), self.losses.window().max(self.window_min()));
        }
        self.round = Round { ends: now + seen.max(ROUND_MIN), shortest: None, is_full: false };
    }
}

/// The window with which the round trip would be as long as it may, at most twice as big.
fn fitting(window: u64, seen: Duration, shortest: Duration, queue_max: Duration) -> u64 {
    let aim = shortest + queue_max.max(shortest / QUEUE_SHARE);
    let scaled = u128::from(window) * aim.as_nanos() / seen.as_nanos().max(1);
    u64::try_from(scaled).unwrap_or(u64::MAX).min(window.saturating_mul(2))
}

impl Controller for ShortQueue {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.losses.on_sent(now, bytes, last_packet_number);
        self.in_flight += bytes;
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.losses.on_ack(now, sent, bytes, app_limited, rtt);
        self.see(now.saturating_duration_since(sent), app_limited);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.losses.on_end_acks(now, in_flight, app_limited, largest);
        self.in_flight = in_flight;
        self.end_round_if_due(now);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent: bool, lost_bytes: u64) {
        self.losses.on_congestion_event(now, sent, is_persistent, lost_bytes);
        if is_persistent {
            self.shortest = None;
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.losses.on_mtu_update(new_mtu);
        self.mtu = u64::from(new_mtu);
    }

    fn window(&self) -> u64 {
        let window = self.real_window();
        if self.in_flight < window { BOUNDLESS } else { window }
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.losses.metrics();
        metrics.congestion_window = self.real_window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.initial_window
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u16 = 1200;
    const QUEUE: Duration = Duration::from_micros(100);

    /// A path whose queue grows with whatever is under way beyond what it holds.
    struct Path {
        controller: ShortQueue,
        now: Instant,
        shortest: Duration,
        bytes_per_us: u64,
    }

    impl Path {
        fn new(shortest: Duration, bytes_per_us: u64) -> Self {
            let now = Instant::now();
            let built = Arc::new(ShortQueueConfig::new(1 << 20, QUEUE)).build(now, MTU);
            Self { controller: *built.into_any().downcast().unwrap(), now, shortest, bytes_per_us }
        }

        fn window(&self) -> u64 {
            self.controller.real_window()
        }

        fn round_trip(&self) -> Duration {
            self.shortest.max(Duration::from_micros(self.window() / self.bytes_per_us))
        }

        /// Sends as much as it may for so long; the round trip at the end.
        fn run(&mut self, period: Duration, app_limited: bool) -> Duration {
            let until = self.now + period;
            while self.now < until {
                let round_trip = self.round_trip();
                self.now += round_trip;
                self.controller.see(round_trip, app_limited);
                self.controller.end_round_if_due(self.now);
            }
            self.round_trip()
        }
    }

    #[test]
    fn the_queue_stays_short_and_the_path_stays_full() {
        for (shortest_us, bytes_per_us) in [(80, 500), (80, 2000), (500, 1000), (5000, 100)] {
            let shortest = Duration::from_micros(shortest_us);
            let mut path = Path::new(shortest, bytes_per_us);
            // The first round trips have full queues; what the empty path takes shows when little is under way.
            let round_trip = path.run(PROBE_EVERY + Duration::from_secs(2), false);
            let most = shortest + QUEUE.max(shortest / QUEUE_SHARE);
            assert!(round_trip <= most * 11 / 10, "{shortest:?}: {round_trip:?}");
            assert!(path.window() >= shortest_us * bytes_per_us * 9 / 10, "{shortest:?} at {bytes_per_us}");
        }
    }

    #[test]
    fn a_sender_with_little_to_say_keeps_its_window() {
        let mut path = Path::new(Duration::from_millis(10), 1 << 20);
        let before = path.window();
        path.run(Duration::from_secs(1), true);
        assert_eq!(path.window(), before);
    }

    #[test]
    fn a_path_that_became_longer_is_found_out() {
        let mut path = Path::new(Duration::from_micros(500), 1000);
        path.run(PROBE_EVERY, false);
        path.shortest = Duration::from_millis(5);
        path.run(PROBE_EVERY * 2, false);
        assert!(path.window() > 5000 * 1000 / 5, "{}", path.window());
    }

    #[test]
    fn there_is_no_pacing_while_there_is_room_and_no_room_once_it_is_taken() {
        let mut controller = Path::new(QUEUE, 1000).controller;
        let window = controller.real_window();
        controller.on_sent(Instant::now(), window - 1, 1);
        assert_eq!(controller.window(), BOUNDLESS);
        controller.on_sent(Instant::now(), 1, 2);
        assert_eq!(controller.window(), window);
        controller.on_end_acks(Instant::now(), 0, false, Some(2));
        assert_eq!(controller.window(), BOUNDLESS);
    }

    #[test]
    fn a_path_that_was_never_seen_empty_is_known_after_a_probe() {
        let mut path = Path::new(Duration::from_micros(50), 1);
        path.run(PROBE_EVERY * 3, false);
        let least = PACKETS_MIN * u64::from(MTU);
        assert!((least..least * 2).contains(&path.window()), "{}", path.window());
    }
}
