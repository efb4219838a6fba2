//! A UDP socket whose runtime wakes for what arrives, and for nothing else.
//!
//! A socket that is watched in both directions reports after every packet sent that there is room again, and one that is
//! read until it says "empty" is read once more than there is something in it. Both stand in the way of a small message. So
//! room is looked for only once a send found none, and a read that had room for more has taken all.

use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{SocketAddr, UdpSocket as Socket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quinn::udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

/// Reads that fail in a row before new arrivals are waited for.
const FAILURES_MAX: usize = 16;
/// How long room is waited for before a send is tried all the same.
const ROOM_MAX: Duration = Duration::from_millis(10);
/// When a socket that can't be watched for room is tried again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct UdpSocket {
    /// Watched for what arrives.
    socket: AsyncFd<Socket>,
    state: UdpSocketState,
    room: Room,
    /// A read failed for good, and it was said.
    failed: AtomicBool,
}

impl UdpSocket {
    /// Within a runtime only. The socket must not block.
    pub(crate) fn new(socket: Socket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self {
            socket: watch(socket, Interest::READABLE)?,
            state,
            room: Room::new(Handle::current(), ROOM_MAX),
            failed: AtomicBool::new(false),
        })
    }
}

impl AsyncUdpSocket for UdpSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller { socket: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let sent = self.state.send(self.socket.get_ref().into(), transmit);
        if sent.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            self.room.found_none();
        }
        sent
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut failures = 0;
        loop {
            let mut readiness = ready!(self.socket.poll_read_ready(context))?;
            match self.state.recv(self.socket.get_ref().into(), buffers, meta) {
                Ok(count) => {
                    // What arrives after this read is reported anew.
                    if count < buffers.len().min(BATCH_SIZE) {
                        readiness.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => readiness.clear_ready(),
                // Told to QUIC it would end the endpoint. Most are told once, and what arrived is behind them.
                Err(error) => {
                    failures += 1;
                    if failures == FAILURES_MAX {
                        if !self.failed.swap(true, Ordering::Relaxed) {
                            tracing::warn!(%error, "cannot read from the UDP socket; said once");
                        }
                        readiness.clear_ready();
                        failures = 0;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

/// Whether a socket takes more, as far as is known.
#[derive(Debug)]
struct Room {
    is_full: AtomicBool,
    /// The same socket, watched for room: there as long as somebody waits for some.
    watched: Mutex<Weak<AsyncFd<OwnedFd>>>,
    /// Where it is watched, whoever waits.
    runtime: Handle,
    /// How long it is waited for before a send is tried all the same.
    patience: Duration,
}

impl Room {
    fn new(runtime: Handle, patience: Duration) -> Self {
        Self { is_full: AtomicBool::new(false), watched: Mutex::default(), runtime, patience }
    }

    fn found_none(&self) {
        self.is_full.store(true, Ordering::Relaxed);
    }

    fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Waits until a send may be tried again.
    async fn wait(&self, socket: impl AsFd) -> io::Result<()> {
        match self.watched(socket) {
            // Seen room is forgotten before the next try: room that comes after it is reported anew.
            Ok(watched) => {
                // Room is reported as it comes up, and not where it has been all along: so it is looked for by the clock, too.
                if let Ok(room) = tokio::time::timeout(self.patience, watched.writable()).await {
                    room?.clear_ready();
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the UDP socket can't be watched for room: too many files open?");
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        self.is_full.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn watched(&self, socket: impl AsFd) -> io::Result<Arc<AsyncFd<OwnedFd>>> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watched) = watched.upgrade() {
            return Ok(watched);
        }
        let _inside = self.runtime.enter();
        let new = Arc::new(watch(socket.as_fd().try_clone_to_owned()?, Interest::WRITABLE)?);
        *watched = Arc::downgrade(&new);
        Ok(new)
    }
}

type Waiting = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// One connection's view of the room.
struct Poller {
    socket: Arc<UdpSocket>,
    waiting: Option<Waiting>,
}

impl UdpPoller for Poller {
    fn poll_writable(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, waiting } = &mut *self;
        if !socket.room.is_full() {
            *waiting = None;
            return Poll::Ready(Ok(()));
        }
        let until_room = waiting.get_or_insert_with(|| {
            let socket = Arc::clone(socket);
            Box::pin(async move { socket.room.wait(socket.socket.get_ref()).await })
        });
        let outcome = ready!(until_room.as_mut().poll(context));
        *waiting = None;
        Poll::Ready(outcome)
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").field("socket", &self.socket).finish_non_exhaustive()
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, for types whose descriptor may change; those here own one"
)]
fn watch<T: AsRawFd>(socket: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(socket, interest)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::Ipv4Addr;
    use std::os::unix::net::UnixDatagram;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn socket() -> Socket {
        let socket = Socket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    /// Datagrams of the next read into so many buffers.
    async fn receive(socket: &UdpSocket, buffers: usize) -> usize {
        let mut bytes = vec![[0; 64]; buffers];
        let mut slices: Vec<_> = bytes.iter_mut().map(|bytes| IoSliceMut::new(bytes)).collect();
        let mut meta = vec![RecvMeta::default(); buffers];
        let count = poll_fn(|context| socket.poll_recv(context, &mut slices, &mut meta)).await.unwrap();
        // The kernel may have put some of one sender's together.
        meta[..count].iter().map(|meta| meta.len / meta.stride.max(1)).sum()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_datagram_wakes_its_reader_however_the_reads_end() {
        const COUNT: usize = 20_000;
        // The kernel drops what doesn't fit the reader's buffer.
        const UNREAD_MAX: usize = 128;
        for buffers in [1, BATCH_SIZE] {
            let (here, there) = (socket(), socket());
            there.connect(here.local_addr().unwrap()).unwrap();
            let here = UdpSocket::new(here).unwrap();
            let taken = Arc::new(AtomicUsize::new(0));
            let reader = Arc::clone(&taken);
            let sender = std::thread::spawn(move || {
                for number in 0..COUNT {
                    while number - taken.load(Ordering::Relaxed) > UNREAD_MAX {
                        std::thread::yield_now();
                    }
                    there.send(&[7]).unwrap();
                    // One by one, so that each must wake the reader, and in bursts of all lengths around a whole batch.
                    if number % 100 < 30 || number % 47 == 0 {
                        std::thread::sleep(Duration::from_micros(20));
                    }
                }
            });
            let reading = async {
                let mut received = 0;
                while received < COUNT {
                    received += receive(&here, buffers).await;
                    reader.store(received, Ordering::Relaxed);
                }
            };
            tokio::time::timeout(PATIENCE, reading).await.expect("a datagram woke nobody");
            sender.join().unwrap();
        }
    }

    #[tokio::test]
    async fn who_found_no_room_waits_until_there_is_some() {
        let (here, there) = UnixDatagram::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        there.set_nonblocking(true).unwrap();
        let room = Room::new(Handle::current(), Duration::from_secs(3600));
        for _ in 0..3 {
            while here.send(&[0; 1024]).is_ok() {}
            room.found_none();
            let wait = tokio::time::timeout(Duration::from_millis(20), room.wait(&here)).await;
            assert!(wait.is_err() && room.is_full(), "there is no room");
            let waiting = async {
                let (one, other, ()) = tokio::join!(room.wait(&here), room.wait(&here), async {
                    tokio::task::yield_now().await;
                    while there.recv(&mut [0; 1024]).is_ok() {}
                });
                one.and(other)
            };
            tokio::time::timeout(PATIENCE, waiting).await.expect("there is room").unwrap();
            assert!(!room.is_full());
        }
        assert!(room.watched.lock().unwrap().upgrade().is_none(), "nobody waits, and it is watched");
    }

    #[tokio::test]
    async fn a_send_is_tried_again_though_nobody_tells_of_room() {
        let (here, _there) = UnixDatagram::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        while here.send(&[0; 1024]).is_ok() {}
        let room = Room::new(Handle::current(), Duration::from_millis(1));
        room.found_none();
        tokio::time::timeout(PATIENCE, room.wait(&here)).await.expect("it waits for ever").unwrap();
        assert!(!room.is_full());
    }

    #[tokio::test]
    async fn a_connection_sends_again_once_there_is_room() {
        let socket = Arc::new(UdpSocket::new(socket()).unwrap());
        let mut poller = Arc::clone(&socket).create_io_poller();
        poll_fn(|context| poller.as_mut().poll_writable(context)).await.unwrap();
        socket.room.found_none();
        let waiting = poll_fn(|context| poller.as_mut().poll_writable(context));
        tokio::time::timeout(PATIENCE, waiting).await.expect("there is room").unwrap();
        assert!(!socket.room.is_full());
    }
}
