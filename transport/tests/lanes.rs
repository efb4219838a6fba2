//! Messages and datagrams arrive as they were sent, on every lane.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "whatever else arrives fails the test")]

mod common;

use bytes::Bytes;
use common::{World, linked};
use selvedge_transport::{Lane, LinkEvent, SendError};

#[tokio::test]
async fn every_lane_joins_head_and_blob_into_one_payload() {
    let world = World::new("lanes");
    let (_a, to_b, mut b, _) = linked(&world, world.config(1), world.config(2)).await;
    for lane in Lane::ALL {
        for (head, blob) in [(0, 0), (1, 0), (0, 1), (100, 900), (3000, 5), (10, 60_000)] {
            let (head, blob) = (Bytes::from(vec![1; head]), Bytes::from(vec![2; blob]));
            to_b.send(lane, head.clone(), blob.clone()).unwrap();
            assert_eq!(b.message().await, (lane, [head, blob].concat().into()));
        }
    }
    let stats = to_b.stats();
    assert_eq!(stats.cutover.sent, 6);
    assert_eq!(stats.cutover.queued_messages, 0);
}

#[tokio::test]
async fn the_largest_messages_arrive_and_one_byte_more_is_refused() {
    let world = World::new("lanes");
    let (_a, to_b, mut b, to_a) = linked(&world, world.config(1), world.config(2)).await;
    let limits = world.config(1).limits;
    for lane in Lane::ALL {
        let bytes_max = limits.lane(lane).message_bytes_max;
        let blob = Bytes::from((0..=250u8).cycle().take(bytes_max).collect::<Vec<_>>());
        to_b.send(lane, Bytes::new(), blob.clone()).unwrap();
        let (arrived_on, payload) = b.message().await;
        assert!(arrived_on == lane && payload == blob, "{lane} changed the message");
        let error = to_b.send(lane, Bytes::from_static(b"x"), blob).unwrap_err();
        assert_eq!(error, SendError::TooLarge { bytes: bytes_max + 1, bytes_max });
    }
    assert_eq!(to_a.stats().precopy.received_bytes, limits.precopy.message_bytes_max as u64);
}

#[tokio::test]
async fn the_control_lane_keeps_its_order_and_all_lanes_lose_nothing() {
    let world = World::new("lanes");
    let (_a, to_b, mut b, _) = linked(&world, world.config(1), world.config(2)).await;
    const ROUNDS: u32 = 500;
    for number in 0..ROUNDS {
        for lane in Lane::ALL {
            let blob = Bytes::from(vec![0; (number as usize * 37) % 4000]);
            loop {
                match to_b.send(lane, Bytes::copy_from_slice(&number.to_le_bytes()), blob.clone()) {
                    Ok(()) => break,
                    Err(SendError::QueueFull) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
    let mut seen = [(); 5].map(|()| Vec::new());
    for _ in 0..ROUNDS * 5 {
        let (lane, payload) = b.message().await;
        let number = u32::from_le_bytes(payload[..4].try_into().unwrap());
        seen[Lane::ALL.iter().position(|l| *l == lane).unwrap()].push(number);
    }
    assert!(seen[0].is_sorted(), "control messages overtook each other");
    for numbers in &mut seen {
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(0..ROUNDS));
    }
}

#[tokio::test]
async fn a_datagram_arrives_and_one_that_fits_no_packet_is_refused() {
    let world = World::new("lanes");
    let (_a, to_b, mut b, _) = linked(&world, world.config(1), world.config(2)).await;
    // Sent again until one arrives: datagrams may be lost.
    let payload = loop {
        to_b.send_datagram(Bytes::from_static(b"moved")).unwrap();
        let wait = std::time::Duration::from_millis(200);
        if let Ok(Some(event)) = tokio::time::timeout(wait, b.events.recv()).await {
            match event {
                LinkEvent::Datagram { payload, .. } => break payload,
                other => panic!("expected a datagram, got {other:?}"),
            }
        }
    };
    assert_eq!(payload, "moved");
    let error = to_b.send_datagram(Bytes::from(vec![0; 60_000])).unwrap_err();
    assert!(
        matches!(error, SendError::TooLarge { bytes: 60_000, bytes_max } if bytes_max >= 1000),
        "{error:?}"
    );
}

#[tokio::test]
async fn jumbo_packets_are_found_on_loopback() {
    let world = World::new("lanes");
    let (_a, to_b, mut b, _) = linked(&world, world.config(1), world.config(2)).await;
    let found = async {
        while to_b.stats().mtu_bytes < 6000 {
            to_b.send(Lane::Precopy, Bytes::new(), Bytes::from(vec![0; 100_000])).unwrap();
            b.message().await;
        }
    };
    tokio::time::timeout(common::PATIENCE, found).await.expect("the path's MTU was not found");
}
