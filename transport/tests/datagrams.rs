//! Datagrams in plenty: they keep their pace, and nothing waits behind them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "whatever else arrives fails the test")]

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{End, World, linked};
use selvedge_transport::{Lane, Link, LinkEvent, MeshConfig, MeshLimits, SendError, Tuning};

const BYTES: usize = 1000;

/// A datagram with its number at its beginning.
fn numbered(number: u64) -> Bytes {
    let mut bytes = vec![0; BYTES];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes.into()
}

async fn datagram(end: &mut End) -> Bytes {
    match end.event().await {
        LinkEvent::Datagram { payload, .. } => payload,
        other => panic!("expected a datagram, got {other:?}"),
    }
}

#[tokio::test]
async fn a_full_queue_says_so_is_counted_and_nothing_older_is_pushed_out() {
    let world = World::new("datagrams");
    let tuning = Tuning { datagram_send_buffer_bytes: 20_000, ..Tuning::default() };
    let (_a, to_b, mut b, _) =
        linked(&world, MeshConfig { tuning, ..world.config(1) }, world.config(2)).await;
    let mut taken = 0u64;
    let error = loop {
        match to_b.send_datagram(numbered(taken)) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 100, "the queue has no end");
    };
    assert_eq!(error, SendError::QueueFull);
    let stats = to_b.stats();
    assert_eq!((stats.datagrams_sent, stats.datagram_overflows), (taken, 1));
    let too_large = to_b.send_datagram(Bytes::from(vec![0; 60_000])).unwrap_err();
    assert!(
        matches!(too_large, SendError::TooLarge { .. }),
        "a full queue is not what is wrong: {too_large}"
    );
    for number in 0..taken {
        assert_eq!(datagram(&mut b).await[..8], number.to_le_bytes());
    }
    assert_eq!(to_b.stats().queued_datagrams, 0);
}

#[tokio::test]
async fn they_keep_their_pace_and_an_idle_link_takes_one_at_once() {
    let world = World::new("datagrams");
    const RATE: u64 = 1_000_000;
    const COUNT: u64 = 300;
    let limits = MeshLimits { datagram_bytes_per_s: RATE, ..MeshLimits::default() };
    let (_a, to_b, mut b, _) =
        linked(&world, MeshConfig { limits, ..world.config(1) }, world.config(2)).await;
    to_b.send_datagram(numbered(0)).unwrap();
    assert_eq!(to_b.stats().queued_datagrams, 0, "the first one has nothing to wait for");
    let begun = Instant::now();
    (1..=COUNT).for_each(|number| to_b.send_datagram(numbered(number)).unwrap());
    assert!(to_b.stats().queued_datagrams > COUNT * 9 / 10);
    for number in 0..=COUNT {
        assert_eq!(datagram(&mut b).await[..8], number.to_le_bytes(), "on loopback they come in order");
    }
    // It can only be slower than its rate: timers are late, never early.
    let least = Duration::from_secs_f64(COUNT as f64 * BYTES as f64 * 0.9 / RATE as f64);
    assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_cutover_overtakes_those_that_wait() {
    let world = World::new("datagrams");
    // So few that the receiver's socket would hold them all.
    const COUNT: u64 = 120;
    let limits = MeshLimits { datagram_bytes_per_s: 1_000_000, ..MeshLimits::default() };
    let (_a, to_b, mut b, _) =
        linked(&world, MeshConfig { limits, ..world.config(1) }, world.config(2)).await;
    (0..COUNT).for_each(|number| to_b.send_datagram(numbered(number)).unwrap());
    to_b.send(Lane::Cutover, Bytes::new(), Bytes::from(vec![2; 50_000])).unwrap();
    let mut before = 0;
    while let LinkEvent::Datagram { .. } = b.event().await {
        before += 1;
    }
    assert!(before < COUNT / 4, "{before} of {COUNT} went first");
}

/// Sends as many datagrams as are taken, until the bulk has arrived; says how long that took.
async fn bulk_beside(from: &Link, to: &mut End, datagrams: bool) -> Duration {
    let begun = Instant::now();
    from.send(Lane::Precopy, Bytes::new(), Bytes::from(vec![1; 1024 * 1024])).unwrap();
    loop {
        while datagrams && from.send_datagram(numbered(0)).is_ok() {}
        match tokio::time::timeout(Duration::from_millis(1), to.event()).await {
            Ok(LinkEvent::Message { .. }) => return begun.elapsed(),
            Ok(LinkEvent::Datagram { .. }) | Err(_) => {}
            Ok(other) => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn bulk_gives_way_to_them_but_never_stands_still() {
    let world = World::new("datagrams");
    // Alone the bulk takes a quarter of a second.
    let limits =
        MeshLimits { bulk_bytes_per_s: 4_000_000, datagram_bytes_per_s: 8_000_000, ..MeshLimits::default() };
    let (_a, to_b, mut b, _) =
        linked(&world, MeshConfig { limits, ..world.config(1) }, world.config(2)).await;
    let alone = bulk_beside(&to_b, &mut b, false).await;
    let beside = bulk_beside(&to_b, &mut b, true).await;
    assert!(beside > alone * 3 / 2, "{beside:?} beside datagrams, {alone:?} alone");
}
