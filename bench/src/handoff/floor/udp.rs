//! Raw UDP: the kernel cuts one send into packets (GSO) and puts packets together for one receive (GRO), and nothing
//! else is done. What is lost is asked again, whole.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::ensure;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::SockRef;

use super::super::child::say;
use super::super::spec::{Ask, FloorAnswer, Opened};
use super::{ANSWER_BYTES, PATIENCE, Trips};

const BUFFER_BYTES: usize = 4 << 20;
/// As much as one receive can bring.
const RECEIVE_BYTES: usize = 64 << 10;
/// As much as one send can carry, in bytes and in packets.
const SEND_BYTES_MAX: usize = 64_000;
const SEGMENTS_MAX: usize = 64;
/// First comes whose packet it is: see [`Head`].
const HEAD_BYTES: usize = 24;
/// How often is looked for requests that were lost.
const LOOK: Duration = Duration::from_millis(20);

struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    buffer: Vec<u8>,
}

impl Socket {
    fn open() -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let reference = SockRef::from(&socket);
        reference.set_send_buffer_size(BUFFER_BYTES)?;
        reference.set_recv_buffer_size(BUFFER_BYTES)?;
        let state = UdpSocketState::new((&socket).into())?;
        // That made it non-blocking; here nothing else is to be done meanwhile.
        socket.set_nonblocking(false)?;
        Ok(Self { socket, state, buffer: vec![0; RECEIVE_BYTES] })
    }

    /// Receives what one call brings: packets of `stride` bytes, one after the other.
    fn receive(&mut self) -> io::Result<RecvMeta> {
        let mut meta = [RecvMeta::default()];
        self.state.recv((&self.socket).into(), &mut [IoSliceMut::new(&mut self.buffer)], &mut meta)?;
        Ok(meta[0])
    }

    fn send(&self, to: SocketAddr, bytes: &[u8], segment: usize) -> io::Result<()> {
        let one =
            (SEND_BYTES_MAX / segment).min(self.state.max_gso_segments()).clamp(1, SEGMENTS_MAX) * segment;
        for contents in bytes.chunks(one) {
            let segment_size = (contents.len() > segment).then_some(segment);
            let transmit = Transmit { destination: to, ecn: None, contents, segment_size, src_ip: None };
            self.state.try_send((&self.socket).into(), &transmit)?;
        }
        Ok(())
    }
}

/// Answers each request once all of it is there, until the process is ended.
pub(super) fn answer() -> anyhow::Result<()> {
    let mut socket = Socket::open()?;
    say(&Opened { address: socket.socket.local_addr()? })?;
    answer_on(&mut socket)
}

fn answer_on(socket: &mut Socket) -> anyhow::Result<()> {
    // The request that each slot is at, and how much of it is missing.
    let mut slots: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let (mut whole, mut answers): (Vec<Head>, Vec<u8>) = (Vec::new(), Vec::new());
    loop {
        let meta = socket.receive()?;
        for packet in socket.buffer[..meta.len].chunks(meta.stride.max(1)) {
            let Some(head) = Head::read(packet) else { continue };
            let slot = slots.entry(head.slot).or_default();
            if slot.0 != head.number {
                *slot = (head.number, head.bytes);
            }
            slot.1 = slot.1.saturating_sub(packet.len() as u64);
            if slot.1 == 0 {
                whole.push(head);
            }
        }
        answers.resize(answers.len().max(whole.len() * ANSWER_BYTES), 0);
        for (bytes, head) in answers.chunks_exact_mut(ANSWER_BYTES).zip(&whole) {
            head.write(bytes);
        }
        socket.send(meta.addr, &answers[..whole.len() * ANSWER_BYTES], ANSWER_BYTES)?;
        whole.clear();
    }
}

/// What stands at the beginning of each packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    /// Of the request; another one each time that it is sent.
    number: u64,
    /// Whose request it is: each slot has one at a time.
    slot: u64,
    /// Bytes of the whole request.
    bytes: u64,
}

impl Head {
    fn read(packet: &[u8]) -> Option<Self> {
        let ([number, slot, bytes], _) = packet.as_chunks::<8>().0.split_first_chunk()?;
        let [number, slot, bytes] = [number, slot, bytes].map(|word| u64::from_le_bytes(*word));
        Some(Self { number, slot, bytes })
    }

    fn write(self, packet: &mut [u8]) {
        for (word, number) in packet.chunks_exact_mut(8).zip([self.number, self.slot, self.bytes]) {
            word.copy_from_slice(&number.to_le_bytes());
        }
    }
}

/// One request after the other.
#[derive(Debug, Clone, Copy)]
struct Slot {
    /// When its request was due: from here it counts, also while it waits for room.
    began: Instant,
    /// The number under which it is out, and when it was sent; none while it waits.
    out: Option<(u64, Instant)>,
}

/// The asking side. Of all requests together no more is out than the answering side's socket can hold: a real protocol
/// would see to that, too.
struct Asker<'a> {
    ask: &'a Ask,
    /// Bytes of each packet: all alike, so that the packets of many requests can be one send.
    segment: usize,
    request_bytes: usize,
    socket: Socket,
    trips: Trips,
    /// Room for all requests that can be sent at once.
    requests: Vec<u8>,
    slots: Vec<Slot>,
    /// Slots whose request is due and not out, the longest first.
    waiting: VecDeque<usize>,
    /// When the idle slots' next requests are due, and who is idle, if requests keep ticks.
    tick: Option<Instant>,
    idle: Vec<usize>,
    number: u64,
    out: usize,
    out_max: usize,
    looked: Instant,
}

/// Asks, so many requests at a time.
pub(super) fn ask(ask: &Ask, mtu: u16) -> anyhow::Result<FloorAnswer> {
    ensure!(ask.bytes >= HEAD_BYTES, "a request has at least {HEAD_BYTES} bytes");
    let socket = Socket::open()?;
    socket.socket.set_read_timeout(Some(PATIENCE))?;
    // Linux counts a packet's whole memory against the buffer, and says the double of what was asked for.
    let room = SockRef::from(&socket.socket).recv_buffer_size()? / 4;
    let packets = ask.bytes.div_ceil(usize::from(mtu));
    let segment = ask.bytes.div_ceil(packets);
    let request_bytes = segment * packets;
    let out_max = (room / request_bytes).clamp(1, ask.concurrency);
    let began = Instant::now();
    let all = (0..ask.concurrency).collect::<Vec<_>>();
    let mut asker = Asker {
        ask,
        segment,
        request_bytes,
        socket,
        trips: Trips::new(ask)?,
        requests: vec![0; request_bytes * out_max],
        slots: vec![Slot { began, out: None }; ask.concurrency],
        waiting: if ask.every.is_some() { VecDeque::new() } else { all.iter().copied().collect() },
        tick: ask.every.map(|every| began + every),
        idle: if ask.every.is_some() { all } else { Vec::new() },
        number: 0,
        out: 0,
        out_max,
        looked: began,
    };
    asker.run()?;
    Ok(asker.trips.answer())
}

impl Asker<'_> {
    fn run(&mut self) -> anyhow::Result<()> {
        loop {
            self.begin_tick();
            self.send_waiting()?;
            if self.out == 0 {
                // Nobody will answer: wait for the tick.
                if let Some(tick) = self.tick {
                    std::thread::sleep(tick.saturating_duration_since(Instant::now()));
                }
                continue;
            }
            if !self.receive()? {
                return Ok(());
            }
            self.repeat_late();
        }
    }

    /// At the tick every slot without a request gets one.
    fn begin_tick(&mut self) {
        let (Some(tick), Some(every)) = (self.tick, self.ask.every) else { return };
        let now = Instant::now();
        if now < tick {
            return;
        }
        self.tick = Some((tick + every).max(now));
        for slot in self.idle.drain(..) {
            self.slots[slot].began = now;
            self.waiting.push_back(slot);
        }
    }

    fn send_waiting(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        let many = self.waiting.len().min(self.out_max - self.out);
        for (request, slot) in
            self.requests.chunks_exact_mut(self.request_bytes).zip(self.waiting.drain(..many))
        {
            self.number += 1;
            let head = Head { number: self.number, slot: slot as u64, bytes: self.request_bytes as u64 };
            request.chunks_exact_mut(self.segment).for_each(|packet| head.write(&mut packet[..HEAD_BYTES]));
            self.slots[slot].out = Some((self.number, now));
        }
        self.out += many;
        let bytes = &self.requests[..many * self.request_bytes];
        Ok(self.socket.send(self.ask.address, bytes, self.segment)?)
    }

    /// Takes the answers that one receive brings; says whether to go on.
    fn receive(&mut self) -> anyhow::Result<bool> {
        let wait = self.tick.map_or(PATIENCE, |tick| {
            tick.saturating_duration_since(Instant::now()).clamp(Duration::from_micros(1), PATIENCE)
        });
        if self.ask.every.is_some() {
            self.socket.socket.set_read_timeout(Some(wait))?;
        }
        let meta = match self.socket.receive() {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let mut goes_on = true;
        for packet in self.socket.buffer[..meta.len].chunks(meta.stride.max(1)) {
            let Some(head) = Head::read(packet) else { continue };
            let Some(index) = usize::try_from(head.slot).ok().filter(|&index| index < self.slots.len())
            else {
                continue;
            };
            let slot = &mut self.slots[index];
            if slot.out.is_none_or(|(number, _)| number != head.number) {
                continue;
            }
            goes_on &= self.trips.count(slot.began);
            *slot = Slot { began: Instant::now(), out: None };
            self.out -= 1;
            if self.ask.every.is_some() {
                self.idle.push(index);
            } else {
                self.waiting.push_back(index);
            }
        }
        Ok(goes_on)
    }

    /// What was lost is asked again, whole.
    fn repeat_late(&mut self) {
        let now = Instant::now();
        if self.out == 0 || now < self.looked + LOOK {
            return;
        }
        self.looked = now;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.out.is_some_and(|(_, sent)| now >= sent + PATIENCE) {
                slot.out = None;
                self.out -= 1;
                self.trips.repeated += 1;
                self.waiting.push_front(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_survives_its_packet_and_a_short_packet_has_none() {
        let head = Head { number: 7, slot: 3, bytes: 4096 };
        let mut packet = [0; HEAD_BYTES];
        head.write(&mut packet);
        assert_eq!(Head::read(&packet), Some(head));
        assert_eq!(Head::read(&packet[..HEAD_BYTES - 1]), None);
    }

    #[test]
    fn many_requests_at_once_are_each_answered() {
        let (mut answering, asking) = (Socket::open().unwrap(), Instant::now());
        let address = answering.socket.local_addr().unwrap();
        std::thread::spawn(move || answer_on(&mut answering));
        for every in [None, Some(Duration::from_millis(2))] {
            let (warm_up, duration) = (Duration::ZERO, Duration::from_millis(100));
            let ask_for = Ask { address, bytes: 5000, concurrency: 16, every, warm_up, duration };
            let answer = ask(&ask_for, 1452).unwrap();
            assert!(answer.rtt_ns.decode().unwrap().len() >= 32, "{:?}", answer.rtt_ns);
        }
        assert!(asking.elapsed() >= Duration::from_millis(200));
    }
}
