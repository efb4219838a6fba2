//! Raw UDP: the kernel cuts one send into packets (GSO) and puts packets together for one receive (GRO), and nothing
//! else is done. What is lost is asked again, whole.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Instant;

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
/// First come the number of the request and its size, in each packet.
const HEAD_BYTES: usize = 16;

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
    let (mut request, mut missing) = (0, 0);
    loop {
        let meta = socket.receive()?;
        let mut answer = None;
        for packet in socket.buffer[..meta.len].chunks(meta.stride.max(1)) {
            let (Some(number), Some(bytes)) = (number_at(packet, 0), number_at(packet, 8)) else { continue };
            if number != request {
                (request, missing) = (number, bytes);
            }
            missing = missing.saturating_sub(packet.len() as u64);
            if missing == 0 {
                answer = Some(number);
            }
        }
        if let Some(number) = answer {
            let mut bytes = [0; ANSWER_BYTES];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            socket.send(meta.addr, &bytes, ANSWER_BYTES)?;
        }
    }
}

/// Asks, one request at a time.
pub(super) fn ask(ask: &Ask, mtu: u16) -> anyhow::Result<FloorAnswer> {
    let segment = usize::from(mtu);
    ensure!(ask.bytes >= HEAD_BYTES, "a request has at least {HEAD_BYTES} bytes");
    let mut socket = Socket::open()?;
    socket.socket.set_read_timeout(Some(PATIENCE))?;
    let mut trips = Trips::new(ask)?;
    let mut bytes = vec![0; ask.bytes];
    let mut number = 0_u64;
    loop {
        if let Some(every) = ask.every {
            std::thread::sleep(every);
        }
        let began = Instant::now();
        loop {
            number += 1;
            for packet in bytes.chunks_mut(segment).filter(|packet| packet.len() >= HEAD_BYTES) {
                packet[..8].copy_from_slice(&number.to_le_bytes());
                packet[8..HEAD_BYTES].copy_from_slice(&whole_bytes(ask.bytes, segment).to_le_bytes());
            }
            socket.send(ask.address, &bytes, segment)?;
            if is_answered(&mut socket, number)? {
                break;
            }
            trips.repeated += 1;
        }
        if !trips.count(began) {
            return Ok(trips.answer());
        }
    }
}

/// Bytes of the packets that are long enough to say whose they are.
fn whole_bytes(bytes: usize, segment: usize) -> u64 {
    let rest = bytes % segment;
    (if rest < HEAD_BYTES { bytes - rest } else { bytes }) as u64
}

fn is_answered(socket: &mut Socket, number: u64) -> io::Result<bool> {
    loop {
        match socket.receive() {
            Ok(meta) if number_at(&socket.buffer[..meta.len], 0) == Some(number) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

fn number_at(packet: &[u8], at: usize) -> Option<u64> {
    packet.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}
