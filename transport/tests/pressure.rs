//! What happens when more is sent than goes: nothing blocks, nothing grows, and the urgent goes first.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "whatever else arrives fails the test")]

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{World, linked};
use selvedge_transport::{Lane, LaneLimits, LinkEvent, MeshConfig, MeshLimits, SendError, Tuning};

const MIB: usize = 1024 * 1024;

fn with_limits(world: &World, number: u128, limits: MeshLimits) -> MeshConfig {
    MeshConfig { limits, ..world.config(number) }
}

#[tokio::test]
async fn a_full_queue_says_so_is_counted_and_what_was_taken_arrives() {
    let world = World::new("overflow");
    let defaults = MeshLimits::default();
    let precopy = LaneLimits { queue_messages_max: 10, ..defaults.precopy };
    let limits = MeshLimits { precopy, ..defaults };
    let (_a, to_b, mut b, _) = linked(&world, with_limits(&world, 1, limits), world.config(2)).await;
    // Without an await nothing is taken off the queue.
    let results: Vec<_> =
        (0..13).map(|_| to_b.send(Lane::Precopy, Bytes::new(), Bytes::from(vec![0; 1000]))).collect();
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 10);
    assert_eq!(results.last(), Some(&Err(SendError::QueueFull)));
    let stats = to_b.stats().precopy;
    assert_eq!((stats.overflows, stats.sent, stats.queued_messages, stats.queued_bytes), (3, 10, 10, 10_000));
    for _ in 0..10 {
        b.message().await;
    }
    assert_eq!(to_b.stats().precopy.queued_bytes, 0);
}

#[tokio::test]
async fn a_consumer_that_does_not_read_stops_the_senders_and_loses_nothing() {
    let world = World::new("slow");
    let limits = MeshLimits { events_max: 16, events_bytes_max: 4 * MIB, ..MeshLimits::default() };
    let (_a, to_b, mut b, to_a) = linked(&world, world.config(1), with_limits(&world, 2, limits)).await;
    let mut taken = 0u32;
    let mut idle = 0;
    // Until nothing has been taken for a while.
    while idle < 20 {
        match to_b.send(
            Lane::Precopy,
            Bytes::copy_from_slice(&taken.to_le_bytes()),
            Bytes::from(vec![7; MIB]),
        ) {
            Ok(()) => {
                taken += 1;
                idle = 0;
            }
            Err(SendError::QueueFull) => {
                idle += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{error}"),
        }
        assert!(taken < 1000, "the sender was never stopped");
    }
    let received = to_a.stats().precopy.received_bytes;
    // The channel's 4 MiB and what is being put together: 32 MiB of bulk at most.
    assert!(received <= 36 * MIB as u64, "{received} bytes piled up at the receiver");
    let mut numbers: Vec<u32> = Vec::new();
    for _ in 0..taken {
        let (_, payload) = b.message().await;
        numbers.push(u32::from_le_bytes(payload[..4].try_into().unwrap()));
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..taken));
}

#[tokio::test]
async fn a_link_that_floods_leaves_the_others_their_place_in_the_channel() {
    let world = World::new("crowd");
    const EVENTS: usize = 64;
    let limits = MeshLimits { events_max: EVENTS, ..MeshLimits::default() };
    let (_a, from_flooder, mut b, to_flooder) =
        linked(&world, world.config(1), with_limits(&world, 2, limits)).await;
    let mut honest = world.end(3);
    honest.keep(&b);
    let (from_honest, _) = honest.up().await;
    let (to_honest, _) = b.up().await;
    let flood = || {
        let _ = from_flooder.send(Lane::Control, Bytes::from_static(b"flood"), Bytes::new());
        let _ = from_flooder.send(Lane::Checkpoint, Bytes::from_static(b"flood"), Bytes::new());
        let _ = from_flooder.send_datagram(Bytes::from_static(b"flood"));
    };
    (0..1000).for_each(|_| flood());
    // What has been read off the link waits for the consumer, who reads nothing.
    let (mut before, mut same) = (0, 0);
    while same < 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let stats = to_flooder.stats();
        let received = stats.control.received + stats.checkpoint.received + stats.datagrams_received;
        same = if received > 0 && received == before { same + 1 } else { 0 };
        before = received;
    }
    from_honest.send(Lane::Cutover, Bytes::from_static(b"honest"), Bytes::new()).unwrap();
    while to_honest.stats().cutover.received == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut flooded = 0;
    loop {
        match b.event().await {
            LinkEvent::Message { payload, .. } if payload == "honest" => break,
            LinkEvent::Message { .. } | LinkEvent::Datagram { .. } => flooded += 1,
            other => panic!("unexpected {other:?}"),
        }
    }
    // An eighth of each kind was there before it; a flooder's next one may slip in when the first is taken.
    assert!(flooded <= 3 * EVENTS / 8 + 8, "{flooded} messages of the flooder's went first");
}

#[tokio::test]
async fn control_messages_wait_in_a_bounded_queue_when_nobody_reads() {
    let world = World::new("slow");
    let limits = MeshLimits { events_max: 4, events_bytes_max: MIB, ..MeshLimits::default() };
    let tuning = Tuning { stream_window_bytes: 64 * 1024, ..Tuning::default() };
    let slow = MeshConfig { tuning, ..with_limits(&world, 2, limits) };
    let (_a, to_b, mut b, _) = linked(&world, world.config(1), slow).await;
    let mut taken = 0u32;
    loop {
        match to_b.send(
            Lane::Control,
            Bytes::copy_from_slice(&taken.to_le_bytes()),
            Bytes::from(vec![7; 10_000]),
        ) {
            Ok(()) => taken += 1,
            Err(SendError::QueueFull) => break,
            Err(error) => panic!("{error}"),
        }
        assert!(taken < 10_000, "the queue has no end");
    }
    assert!(to_b.stats().control.overflows == 1 && to_b.stats().control.queued_messages > 0);
    for number in 0..taken {
        let (_, payload) = b.message().await;
        assert_eq!(payload[..4], number.to_le_bytes());
    }
}

#[tokio::test]
async fn cutovers_overtake_bulk_that_was_sent_before_them() {
    let world = World::new("overtake");
    // A start as on a slow path, so that the bulk takes many round trips.
    let tuning = Tuning { initial_window_bytes: 30_000, ..Tuning::default() };
    // Without a pace of its own the bulk takes whatever there is.
    let limits = MeshLimits { bulk_bytes_per_s: 0, ..MeshLimits::default() };
    let slow_start = MeshConfig { tuning, ..with_limits(&world, 1, limits) };
    let (_a, to_b, mut b, _) = linked(&world, slow_start, world.config(2)).await;
    const BULK: usize = 24;
    for _ in 0..BULK {
        to_b.send(Lane::Precopy, Bytes::new(), Bytes::from(vec![1; 2 * MIB])).unwrap();
    }
    to_b.send(Lane::Checkpoint, Bytes::new(), Bytes::from(vec![1; 16 * MIB])).unwrap();
    // Let the bulk get under way.
    while to_b.stats().bytes_sent < 200_000 {
        tokio::task::yield_now().await;
    }
    for _ in 0..10 {
        to_b.send(Lane::Cutover, Bytes::new(), Bytes::from(vec![2; 4000])).unwrap();
    }
    let mut bulk_before_last_cutover = 0;
    let mut cutovers = 0;
    let mut bulk = 0;
    while cutovers + bulk < 10 + BULK + 1 {
        match b.message().await.0 {
            Lane::Cutover => {
                cutovers += 1;
                bulk_before_last_cutover = bulk;
            }
            Lane::Precopy | Lane::Checkpoint => bulk += 1,
            other => panic!("unexpected {other}"),
        }
    }
    assert!(bulk_before_last_cutover <= 6, "{bulk_before_last_cutover} of {BULK} bulk messages went first");
}

#[tokio::test]
async fn bulk_keeps_its_pace_and_lets_small_messages_pass() {
    let world = World::new("paced");
    const RATE: u64 = 4_000_000;
    let limits = MeshLimits { bulk_bytes_per_s: RATE, ..MeshLimits::default() };
    let (_a, to_b, mut b, _) = linked(&world, with_limits(&world, 1, limits), world.config(2)).await;
    let begun = Instant::now();
    for _ in 0..2 {
        to_b.send(Lane::Precopy, Bytes::from_static(b"big"), Bytes::from(vec![1; MIB])).unwrap();
    }
    to_b.send(Lane::Precopy, Bytes::from_static(b"small"), Bytes::new()).unwrap();
    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(b.message().await.1.len());
    }
    assert!(order[0] < 100 && order[1..].iter().all(|&bytes| bytes > MIB), "{order:?}");
    // It can only be slower than its rate: timers are late, never early.
    let least = Duration::from_secs_f64((2 * MIB) as f64 * 0.95 / RATE as f64);
    assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn sending_works_from_a_thread_without_a_runtime() {
    let world = World::new("threads");
    let (_a, to_b, mut b, _) = linked(&world, world.config(1), world.config(2)).await;
    let sender = std::thread::spawn(move || {
        for lane in Lane::ALL {
            to_b.send(lane, Bytes::from_static(b"from the game's thread"), Bytes::new()).unwrap();
        }
    });
    for _ in Lane::ALL {
        assert_eq!(b.message().await.1, "from the game's thread");
    }
    sender.join().unwrap();
}

#[tokio::test]
async fn closing_an_endpoint_does_not_wait_for_its_consumer() {
    let world = World::new("closing");
    let limits = MeshLimits { events_max: 1, ..MeshLimits::default() };
    let (_a, to_b, b, to_a) = linked(&world, world.config(1), with_limits(&world, 2, limits)).await;
    for _ in 0..100 {
        to_b.send(Lane::Control, Bytes::from_static(b"unread"), Bytes::new()).unwrap();
    }
    while to_a.stats().control.received < 2 {
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(common::PATIENCE, b.mesh.close("done")).await.expect("closing hangs");
}
