//! A link on virtual time: datagrams are lost, doubled and late; the stream is late, but ordered and whole.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use selvedge_protocol::ghost::{
    Floors, GhostReceiver, GhostSender, GhostTable, Scene, SenderSettings, Sight, is_ack,
};
use selvedge_protocol::time::{Tick, Time};

/// What may happen to what is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) loss: f64,
    pub(crate) double: f64,
    pub(crate) delay_us: (u64, u64),
}

impl Weather {
    pub(crate) const FAIR: Self = Self { loss: 0.0, double: 0.0, delay_us: (150, 400) };

    pub(crate) const fn lossy(loss: f64) -> Self {
        Self { loss, double: 0.01, delay_us: (200, 1_500) }
    }
}

#[derive(Debug)]
enum Arrival {
    Stream(Bytes),
    Datagram(Bytes),
    AckDue,
}

/// One sender, one receiver, and what lies between.
pub(crate) struct Link {
    pub(crate) sender: GhostSender,
    pub(crate) receiver: GhostReceiver,
    pub(crate) weather: Weather,
    chance: ChaCha8Rng,
    queue: BTreeMap<(u64, u64), Arrival>,
    sent: u64,
    stream_free_at: u64,
    ack_due: bool,
    interval_us: u64,
    /// Payload bytes of datagrams each way, QUIC's share included, and of the stream.
    pub(crate) udp_bytes: u64,
}

impl Link {
    pub(crate) fn new(
        number: u32,
        settings: SenderSettings,
        weather: Weather,
        interval_us: u64,
        seed: u64,
    ) -> Self {
        Self {
            sender: GhostSender::new(number, settings),
            receiver: GhostReceiver::new(number, number),
            weather,
            chance: ChaCha8Rng::seed_from_u64(seed),
            queue: BTreeMap::new(),
            sent: 0,
            stream_free_at: 0,
            ack_due: false,
            interval_us,
            udp_bytes: 0,
        }
    }

    /// The sender's tick.
    pub(crate) fn send(&mut self, scene: &Scene, sights: &[Sight], now: u64) {
        self.sender.tick(scene, sights, Time::from_micros(now));
        while let Some(piece) = self.sender.poll_stream() {
            self.udp_bytes += piece.len() as u64 + 32 * (1 + piece.len() as u64 / 1_200);
            // A lost piece comes a little later, and whatever follows waits for it.
            let late = if self.chance.random_bool(self.weather.loss) { 30_000 } else { 0 };
            let at = (now + self.delay() + late).max(self.stream_free_at);
            self.stream_free_at = at;
            self.push(at, Arrival::Stream(piece));
        }
        while let Some(datagram) = self.sender.poll_datagram() {
            self.udp_bytes += datagram.len() as u64 + 32;
            self.launch(datagram, now);
        }
    }

    fn launch(&mut self, datagram: Bytes, now: u64) {
        if self.chance.random_bool(self.weather.double) {
            let at = now + self.delay();
            self.push(at, Arrival::Datagram(datagram.clone()));
        }
        if !self.chance.random_bool(self.weather.loss) {
            let at = now + self.delay();
            self.push(at, Arrival::Datagram(datagram));
        }
    }

    fn delay(&mut self) -> u64 {
        let (min, max) = self.weather.delay_us;
        self.chance.random_range(min..=max)
    }

    fn push(&mut self, at: u64, arrival: Arrival) {
        self.sent += 1;
        self.queue.insert((at, self.sent), arrival);
    }

    /// Everything that arrives up to a moment.
    pub(crate) fn deliver(&mut self, table: &mut GhostTable, floors: &impl Floors, until: u64) {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until) {
            let (now, _) = *entry.key();
            let tick = Tick(now / self.interval_us);
            match entry.remove() {
                Arrival::Stream(piece) => self.receiver.on_stream(table, floors, &piece, tick).unwrap(),
                Arrival::Datagram(bytes) if is_ack(&bytes) => {
                    self.sender.on_ack(&bytes, Time::from_micros(now)).unwrap();
                    continue;
                }
                Arrival::Datagram(bytes) => self.receiver.on_datagram(table, &bytes, tick).unwrap(),
                Arrival::AckDue => {
                    self.ack_due = false;
                    if let Some(ack) = self.receiver.poll_ack() {
                        self.udp_bytes += ack.len() as u64 + 32;
                        self.launch(ack, now);
                    }
                    continue;
                }
            }
            if !self.ack_due {
                self.ack_due = true;
                self.push(now + 500, Arrival::AckDue);
            }
        }
    }
}
