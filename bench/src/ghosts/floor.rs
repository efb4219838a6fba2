//! What ghosts are compared to, in this process: the full state of everybody in every tick over a link like that of the
//! nodes, and the bytes that ghosts took as bare UDP packets, cut up by the kernel (GSO).

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use selvedge_transport::{Link, LinkEvent, LinkStats, MeshConfig, MeshEndpoint, PeerName};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use crate::handoff::child::{limits, load, tuning};
use crate::handoff::cpu;
use crate::handoff::home::NODES;

/// A record of one entity: its id, its epoch and what it says of itself.
pub(super) const RECORD_BYTES: usize = 100;
/// Records in one datagram: what fits a packet of 1,200 bytes.
const RECORDS: usize = 11;
/// Packets of bare UDP.
const SEGMENT_BYTES: usize = 1_200;
const SEGMENTS_MAX: usize = 32;
const UP_PATIENCE: Duration = Duration::from_secs(10);
/// How long what is still under way may take.
const REST: Duration = Duration::from_millis(300);

/// What one way cost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    /// UDP payload, both ways.
    pub(super) bytes: u64,
    pub(super) send_s: f64,
    pub(super) receive_s: f64,
    /// Of what was sent, what arrived.
    pub(super) arrived: f64,
}

fn spent(thread: &str) -> f64 {
    cpu::spent(std::process::id()).get(thread).copied().unwrap_or(0.0)
}

/// Sends a record of each entity in each tick over a link of the mesh.
pub(super) fn naive(
    dir: &Path,
    mtu: u16,
    entities: usize,
    tick: Duration,
    lasts: Duration,
) -> anyhow::Result<Cost> {
    let (told, address) = std::sync::mpsc::channel();
    let over = Arc::new(AtomicBool::new(false));
    let receiving = {
        let (dir, over) = (dir.to_owned(), Arc::clone(&over));
        thread::Builder::new().name("naive-receive".to_owned()).spawn(move || -> anyhow::Result<_> {
            runtime()?.block_on(async {
                let (mesh, mut events) = open(&dir, NODES[0], mtu)?;
                told.send(mesh.local_addr()?)?;
                let mut arrived = 0_u64;
                while !over.load(Ordering::Relaxed) {
                    match timeout(Duration::from_millis(50), events.recv()).await {
                        Ok(Some(LinkEvent::Datagram { .. })) => arrived += 1,
                        Ok(None) => break,
                        Ok(Some(_)) | Err(_) => {}
                    }
                }
                Ok((arrived, spent("naive-receive")))
            })
        })?
    };
    let address = address.recv_timeout(UP_PATIENCE).context("the naive receiver did not start")?;
    let peer = PeerName::new(load(dir, NODES[0])?.id().clone());
    let sending = {
        let dir = dir.to_owned();
        thread::Builder::new().name("naive-send".to_owned()).spawn(move || -> anyhow::Result<_> {
            runtime()?.block_on(async {
                let (mesh, mut events) = open(&dir, NODES[1], mtu)?;
                mesh.keep_link(peer, address);
                let link = match timeout(UP_PATIENCE, events.recv()).await {
                    Ok(Some(LinkEvent::Up { link, .. })) => link,
                    other => bail!("the naive link did not come up: {other:?}"),
                };
                let (before, began) = (link.stats(), spent("naive-send"));
                let sent = send_records(&link, entities, tick, lasts).await;
                tokio::time::sleep(REST).await;
                Ok((sent, before, link.stats(), spent("naive-send") - began))
            })
        })?
    };
    let (sent, before, after, send_s) = joined(sending.join())?;
    over.store(true, Ordering::Relaxed);
    let (arrived, receive_s) = joined(receiving.join())?;
    let bytes = |stats: &LinkStats| stats.bytes_sent + stats.bytes_received;
    let arrived = share(arrived, sent);
    Ok(Cost { bytes: bytes(&after) - bytes(&before), send_s, receive_s, arrived })
}

async fn send_records(link: &Link, entities: usize, tick: Duration, lasts: Duration) -> u64 {
    let (began, mut due, mut sent, mut ticks) = (Instant::now(), Instant::now(), 0, 0_u8);
    while began.elapsed() < lasts {
        ticks = ticks.wrapping_add(1);
        let mut left = entities;
        while left > 0 {
            let records = left.min(RECORDS);
            left -= records;
            let datagram = Bytes::from(vec![ticks; records * RECORD_BYTES]);
            sent += u64::from(link.send_datagram(datagram).is_ok());
            // The endpoint sends in the same thread.
            if sent % 16 == 0 {
                tokio::task::yield_now().await;
            }
        }
        due += tick;
        tokio::time::sleep_until(due.into()).await;
    }
    sent
}

fn open(dir: &Path, name: &str, mtu: u16) -> anyhow::Result<(MeshEndpoint, Receiver<LinkEvent>)> {
    let config = MeshConfig {
        bind: ([127, 0, 0, 1], 0).into(),
        identity: Arc::new(load(dir, name)?),
        hello: Bytes::new(),
        tuning: tuning(mtu),
        limits: limits(None),
    };
    Ok(MeshEndpoint::bind(config, Arc::new(|_, _| Ok(())))?)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Sends so many bytes in each tick as bare UDP.
pub(super) fn udp(bytes_per_tick: usize, tick: Duration, lasts: Duration) -> anyhow::Result<Cost> {
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket2::SockRef::from(&receiver).set_recv_buffer_size(4 << 20)?;
    let to = receiver.local_addr()?;
    let state = UdpSocketState::new((&receiver).into())?;
    receiver.set_nonblocking(false)?;
    receiver.set_read_timeout(Some(REST * 3))?;
    let receiving =
        thread::Builder::new().name("udp-receive".to_owned()).spawn(move || -> anyhow::Result<_> {
            let (mut buffer, mut received) = (vec![0; 64 << 10], 0_u64);
            loop {
                let mut meta = [RecvMeta::default()];
                let mut slices = [std::io::IoSliceMut::new(&mut buffer)];
                match state.recv((&receiver).into(), &mut slices, &mut meta) {
                    Ok(_) => received += meta[0].len as u64,
                    // Nothing comes any more.
                    Err(_) => return Ok((received, spent("udp-receive"))),
                }
            }
        })?;
    let sending = thread::Builder::new()
        .name("udp-send".to_owned())
        .spawn(move || send_packets(to, bytes_per_tick, tick, lasts))?;
    let (sent, send_s) = joined(sending.join())?;
    let (received, receive_s) = joined(receiving.join())?;
    Ok(Cost { bytes: sent, send_s, receive_s, arrived: share(received, sent) })
}

fn send_packets(
    to: SocketAddr,
    bytes_per_tick: usize,
    tick: Duration,
    lasts: Duration,
) -> anyhow::Result<(u64, f64)> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let state = UdpSocketState::new((&socket).into())?;
    socket.set_nonblocking(false)?;
    let contents = vec![7; bytes_per_tick.max(1)];
    let one = SEGMENT_BYTES * state.max_gso_segments().clamp(1, SEGMENTS_MAX);
    let (began, mut due, mut sent) = (Instant::now(), Instant::now(), 0);
    while began.elapsed() < lasts {
        for contents in contents.chunks(one) {
            let segment_size = (contents.len() > SEGMENT_BYTES).then_some(SEGMENT_BYTES);
            let transmit = Transmit { destination: to, ecn: None, contents, segment_size, src_ip: None };
            state.try_send((&socket).into(), &transmit)?;
            sent += contents.len() as u64;
        }
        due += tick;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok((sent, spent("udp-send")))
}

#[allow(clippy::cast_precision_loss, reason = "counts of a short run")]
fn share(part: u64, whole: u64) -> f64 {
    if whole > 0 { part as f64 / whole as f64 } else { 0.0 }
}

fn joined<T>(ended: thread::Result<anyhow::Result<T>>) -> anyhow::Result<T> {
    ended.map_err(|_| anyhow!("a thread of the comparison panicked"))?
}
