//! The network between the processes of the mesh: one thread that carries every datagram, late, or not at all.
//!
//! Each process is reached at its front, a socket of the proxy. Who sent a datagram there is known by its source, as
//! every process has an address of its own that it keeps when it is started again. It is passed on from a socket that
//! stands for that sender alone, so that what is answered there finds its way back:
//!
//! ```text
//! A's address -> front of B -> socket for (A, B) -> B's address
//! A's address <- front of B <- socket for (A, B) <- B's address
//! ```
//!
//! Players reach nodes and the door in the same way, at fronts of their own. Their addresses aren't known before, so the
//! socket that stands for one is opened when it first sends something; to partitions they are all one place.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use socket2::SockRef;

use super::wire::{Weather, Wire};

/// The largest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// Datagrams taken from one socket before the others have their turn.
const BATCH: usize = 64;
/// Bursts of a tick wait here, as they would in a switch.
const SOCKET_BYTES: usize = 4 * 1024 * 1024;
/// How soon a change of the conditions is noticed while nothing is sent.
const LOOK: Duration = Duration::from_millis(20);
/// Datagrams under way at most; more are lost.
const UNDER_WAY_MAX: usize = 100_000;
/// Sockets for players' addresses at most, one for each server that they speak to. Bots share few; more are refused.
const GUESTS_MAX: usize = 512;

/// A process: 0 is the coordinator, nodes count from 1.
pub(crate) type Place = usize;
/// The coordinator's place.
pub(crate) const COORDINATOR: Place = 0;
/// The place of everybody who plays.
pub(crate) const PLAYERS: Place = Place::MAX;

/// Where a process is, and where the others think it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) home: SocketAddr,
    pub(crate) front: SocketAddr,
}

/// What became of the datagrams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Carried {
    pub(crate) delivered: u64,
    /// Lost by chance.
    pub(crate) lost: u64,
    /// Lost in a partition.
    pub(crate) cut: u64,
    /// From nobody who is known, or too many at once.
    pub(crate) refused: u64,
    /// Bytes of what was sent from one process of the mesh to another, lost or not.
    pub(crate) mesh_bytes: u64,
}

#[derive(Debug, Default)]
struct Conditions {
    weather: Weather,
    cut: BTreeSet<(Place, Place)>,
    carried: Carried,
}

/// The running proxy. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    conditions: Arc<Mutex<Conditions>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Opens the fronts. The place of a process is its index in `mesh`, and in `doors`, where players reach it.
    ///
    /// # Errors
    /// If a socket can't be opened.
    pub(crate) fn start(mesh: &[Ends], doors: &[Ends], seed: u64) -> anyhow::Result<Self> {
        let (conditions, over) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let carrier = Carrier::open(mesh, doors, seed, Arc::clone(&conditions))?;
        let ended = Arc::clone(&over);
        let thread = thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || carrier.run(&ended))
            .context("cannot start the proxy's thread")?;
        Ok(Self { conditions, over, thread: Some(thread) })
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        lock(&self.conditions).weather = weather;
    }

    /// Lets nothing through from one process to another; the way back is another direction.
    pub(crate) fn cut(&self, from: Place, to: Place) {
        lock(&self.conditions).cut.insert((from, to));
    }

    /// Lets it through again.
    pub(crate) fn mend(&self, from: Place, to: Place) {
        lock(&self.conditions).cut.remove(&(from, to));
    }

    pub(crate) fn carried(&self) -> Carried {
        lock(&self.conditions).carried
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn lock(conditions: &Mutex<Conditions>) -> MutexGuard<'_, Conditions> {
    conditions.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a socket of the proxy is for.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// Others reach this process here.
    Front(Place),
    /// To the second, this socket is the first.
    Stands(Place, Place),
    /// Players reach this process here.
    Door(Place),
    /// To this process, this socket is the player at this address.
    Guest(Place, SocketAddr),
}

/// The way of a datagram: from whom to whom, through which socket to which address.
#[derive(Debug, Clone, Copy)]
struct Way {
    from: Place,
    to: Place,
    socket: usize,
    address: SocketAddr,
}

/// A datagram under way. The earliest is the greatest: that is what a heap gives first.
#[derive(Debug, PartialEq, Eq)]
struct UnderWay {
    due: Instant,
    number: u64,
    socket: usize,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Ord for UnderWay {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}

impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

struct Carrier {
    sockets: Vec<(Part, UdpSocket)>,
    homes: Vec<SocketAddr>,
    places: BTreeMap<SocketAddr, Place>,
    /// The index of the socket that is the front of a place, and of the one that stands for a pair.
    fronts: Vec<usize>,
    stands: BTreeMap<(Place, Place), usize>,
    /// Where players are let in, and the index of the socket that is the front of it.
    doors: Vec<(SocketAddr, usize)>,
    /// The index of the socket that stands for a player at a place.
    guests: BTreeMap<(Place, SocketAddr), usize>,
    wires: BTreeMap<(Place, Place), Wire>,
    under_way: BinaryHeap<UnderWay>,
    number: u64,
    conditions: Arc<Mutex<Conditions>>,
}

impl Carrier {
    fn open(
        mesh: &[Ends],
        doors: &[Ends],
        seed: u64,
        conditions: Arc<Mutex<Conditions>>,
    ) -> anyhow::Result<Self> {
        let mut sockets = Vec::new();
        let mut stands = BTreeMap::new();
        for (place, end) in mesh.iter().enumerate() {
            sockets.push((Part::Front(place), open(end.front)?));
        }
        let fronts = (0..mesh.len()).collect();
        let all = || 0..mesh.len();
        let pairs: Vec<_> =
            all().flat_map(|from| all().map(move |to| (from, to))).filter(|(a, b)| a != b).collect();
        for &(from, to) in &pairs {
            stands.insert((from, to), sockets.len());
            sockets.push((Part::Stands(from, to), open(SocketAddr::new(mesh[to].front.ip(), 0))?));
        }
        let mut entrances = Vec::new();
        for (place, end) in doors.iter().enumerate() {
            entrances.push((end.home, sockets.len()));
            sockets.push((Part::Door(place), open(end.front)?));
        }
        let of_players = (0..doors.len()).flat_map(|place| [(PLAYERS, place), (place, PLAYERS)]);
        let ways = (0..).zip(pairs.into_iter().chain(of_players));
        let wires = ways.map(|(stream, way)| (way, Wire::new(seed, stream))).collect();
        let homes: Vec<SocketAddr> = mesh.iter().map(|end| end.home).collect();
        let places = homes.iter().copied().zip(0..).collect();
        Ok(Self {
            sockets,
            homes,
            places,
            fronts,
            stands,
            doors: entrances,
            guests: BTreeMap::new(),
            wires,
            under_way: BinaryHeap::new(),
            number: 0,
            conditions,
        })
    }

    fn run(mut self, over: &AtomicBool) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        while !over.load(Ordering::Relaxed) {
            for index in self.readable() {
                self.take(index, &mut buffer);
            }
            self.deliver(Instant::now());
        }
    }

    /// Waits until something came, or is due. Milliseconds are the finest that `poll` knows: what is due may be
    /// delivered one later.
    fn readable(&self) -> Vec<usize> {
        let left =
            self.under_way.peek().map_or(LOOK, |next| next.due.saturating_duration_since(Instant::now()));
        let millis = u16::try_from(left.min(LOOK).as_micros().div_ceil(1000)).unwrap_or(0);
        let mut fds: Vec<PollFd<'_>> =
            self.sockets.iter().map(|(_, socket)| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut fds, PollTimeout::from(millis)) {
            Ok(_) => (0..fds.len()).filter(|&index| fds[index].any().unwrap_or(false)).collect(),
            // A signal, or the system has no memory for a moment.
            Err(_) => Vec::new(),
        }
    }

    /// Takes what has come to a socket, up to a batch.
    fn take(&mut self, index: usize, buffer: &mut [u8]) {
        let mut news = Carried::default();
        for _ in 0..BATCH {
            let (length, source) = match self.sockets[index].1.recv_from(buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // Nothing more is there; or the other side isn't, which is no fault of this socket.
                Err(_) => break,
            };
            match self.way(self.sockets[index].0, source) {
                Some(way) => self.admit(way, &buffer[..length], &mut news),
                None => news.refused += 1,
            }
        }
        let carried = &mut lock(&self.conditions).carried;
        carried.lost += news.lost;
        carried.cut += news.cut;
        carried.refused += news.refused;
        carried.mesh_bytes += news.mesh_bytes;
    }

    /// Whose a datagram is and where it goes.
    fn way(&mut self, part: Part, source: SocketAddr) -> Option<Way> {
        let sender = self.places.get(&source).copied();
        match part {
            Part::Front(to) => {
                let from = sender?;
                let socket = *self.stands.get(&(from, to))?;
                Some(Way { from, to, socket, address: *self.homes.get(to)? })
            }
            // What `from` answers to the one for whom this socket stands comes from its front.
            Part::Stands(to, from) if sender == Some(from) => {
                let socket = *self.fronts.get(from)?;
                Some(Way { from, to, socket, address: *self.homes.get(to)? })
            }
            Part::Door(to) => {
                let socket = self.guest(to, source)?;
                Some(Way { from: PLAYERS, to, socket, address: self.doors.get(to)?.0 })
            }
            Part::Guest(from, address) => {
                let &(home, socket) = self.doors.get(from)?;
                (source == home).then_some(Way { from, to: PLAYERS, socket, address })
            }
            Part::Stands(..) => None,
        }
    }

    /// The socket that stands for a player at a place; opened when that player comes first.
    fn guest(&mut self, place: Place, player: SocketAddr) -> Option<usize> {
        if let Some(&known) = self.guests.get(&(place, player)) {
            return Some(known);
        }
        if self.guests.len() >= GUESTS_MAX {
            return None;
        }
        let socket = open(SocketAddr::new(player.ip(), 0)).ok()?;
        let index = self.sockets.len();
        self.sockets.push((Part::Guest(place, player), socket));
        self.guests.insert((place, player), index);
        Some(index)
    }

    fn admit(&mut self, way: Way, bytes: &[u8], news: &mut Carried) {
        let Way { from, to, socket, address } = way;
        if from != PLAYERS && to != PLAYERS {
            news.mesh_bytes += bytes.len() as u64;
        }
        let weather = {
            let conditions = lock(&self.conditions);
            if conditions.cut.contains(&(from, to)) {
                news.cut += 1;
                return;
            }
            conditions.weather
        };
        let Some(wire) = self.wires.get_mut(&(from, to)) else {
            news.refused += 1;
            return;
        };
        if self.under_way.len() >= UNDER_WAY_MAX {
            news.refused += 1;
            return;
        }
        let Some(due) = wire.admit(&weather, Instant::now()) else {
            news.lost += 1;
            return;
        };
        self.number += 1;
        self.under_way.push(UnderWay {
            due,
            number: self.number,
            socket,
            to: address,
            bytes: bytes.to_vec(),
        });
    }

    fn deliver(&mut self, now: Instant) {
        let mut delivered = 0;
        while let Some(next) = self.under_way.peek().filter(|next| next.due <= now) {
            // A full buffer or a process that is dead loses it, as a network would.
            delivered += u64::from(self.sockets[next.socket].1.send_to(&next.bytes, next.to).is_ok());
            self.under_way.pop();
        }
        if delivered > 0 {
            lock(&self.conditions).carried.delivered += delivered;
        }
    }
}

fn open(address: SocketAddr) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind(address).with_context(|| format!("cannot open {address} for the proxy"))?;
    socket.set_nonblocking(true)?;
    // The system may give less; the smaller buffer then loses more in a burst.
    let _ = SockRef::from(&socket).set_recv_buffer_size(SOCKET_BYTES);
    Ok(socket)
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
