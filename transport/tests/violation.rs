//! Who breaks the protocol loses its own link and nobody else's.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "whatever else arrives fails the test")]

mod common;

use bytes::Bytes;
use common::{End, RawPeer, World};
use selvedge_certs::{Role, Uuid};
use selvedge_transport::{Lane, Link, LinkEvent};

/// An end with one honest link and one raw peer.
async fn scene() -> (World, End, End, Link, RawPeer) {
    let world = World::new("violation");
    let (mut honest, mut end) = (world.end(1), world.end(2));
    honest.keep(&end);
    let (to_end, _) = honest.up().await;
    end.up().await;
    let raw = world.issue(Role::Node(Uuid::from_u128(7)));
    let raw = RawPeer::linked(&raw, end.mesh.name(), end.address()).await;
    assert_eq!(end.up().await.1, "raw");
    (world, honest, end, to_end, raw)
}

async fn expect_only_the_offender_down(mut end: End, to_end: &Link, raw: &RawPeer, reason: &str) {
    let told = raw.closed().await;
    assert!(told.contains(reason), "the offender was told: {told}");
    match end.event().await {
        LinkEvent::Down { peer, reason: down } => {
            assert!(peer.to_string().ends_with("7") && down.contains(reason), "{peer}: {down}");
        }
        other => panic!("expected Down, got {other:?}"),
    }
    to_end.send(Lane::Control, Bytes::from_static(b"alive"), Bytes::new()).unwrap();
    assert_eq!(end.message().await.1, "alive");
    let stats = end.mesh.stats();
    assert_eq!((stats.links, stats.oversized + stats.malformed), (1, 1));
}

#[tokio::test]
async fn an_oversized_message_is_refused_by_its_header() {
    let (_world, _honest, end, to_end, raw) = scene().await;
    let header = [&[3], &100_000u32.to_le_bytes()[..]].concat();
    raw.send_stream(&header).await;
    let reason = "a message of 100000 bytes on the lane action, where 65536 are allowed";
    expect_only_the_offender_down(end, &to_end, &raw, reason).await;
}

#[tokio::test]
async fn an_oversized_control_message_is_refused() {
    let (_world, _honest, end, to_end, mut raw) = scene().await;
    raw.send.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    expect_only_the_offender_down(end, &to_end, &raw, "on the lane control").await;
}

#[tokio::test]
async fn an_unknown_lane_is_refused() {
    let (_world, _honest, end, to_end, raw) = scene().await;
    raw.send_stream(&[77, 0, 0, 0, 0]).await;
    expect_only_the_offender_down(end, &to_end, &raw, "unknown lane 77").await;
}

#[tokio::test]
async fn a_control_message_on_a_stream_of_its_own_is_refused() {
    let (_world, _honest, end, to_end, raw) = scene().await;
    raw.send_stream(&[1, 0, 0, 0, 0]).await;
    expect_only_the_offender_down(end, &to_end, &raw, "unknown lane 1").await;
}

#[tokio::test]
async fn a_message_shorter_than_announced_is_refused() {
    let (_world, _honest, end, to_end, raw) = scene().await;
    raw.send_stream(&[2, 9, 0, 0, 0, 1, 2, 3]).await;
    expect_only_the_offender_down(end, &to_end, &raw, "ends before its end").await;
}

#[tokio::test]
async fn a_message_longer_than_announced_is_refused() {
    let (_world, _honest, end, to_end, raw) = scene().await;
    raw.send_stream(&[2, 1, 0, 0, 0, 1, 2, 3]).await;
    expect_only_the_offender_down(end, &to_end, &raw, "goes on after its end").await;
}

#[tokio::test]
async fn an_ended_control_stream_is_refused() {
    let (_world, _honest, end, to_end, mut raw) = scene().await;
    raw.send.finish().unwrap();
    expect_only_the_offender_down(end, &to_end, &raw, "control stream was ended").await;
}

#[tokio::test]
async fn a_message_given_up_halfway_is_counted_and_harmless() {
    let (_world, _honest, mut end, to_end, raw) = scene().await;
    let mut stream = raw.connection.open_uni().await.unwrap();
    stream.write_all(&[4, 200, 0, 0, 0, 1, 2]).await.unwrap();
    stream.reset(0u32.into()).unwrap();
    raw.send_stream(&[4, 1, 0, 0, 0, 42]).await;
    assert_eq!(end.message().await.1, [42u8][..]);
    to_end.send(Lane::Control, Bytes::from_static(b"alive"), Bytes::new()).unwrap();
    assert_eq!(end.message().await.1, "alive");
    assert_eq!(end.mesh.stats().links, 2);
}
