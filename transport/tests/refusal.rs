//! Who isn't a peer is refused, and both ends learn why.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "whatever else arrives fails the test")]

mod common;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use common::{End, RawPeer, World};
use selvedge_certs::{Role, SubjectNames, Uuid};
use selvedge_transport::{
    BindError, ClientLimits, ClientPort, ClientPortConfig, Lane, MeshConfig, MeshEndpoint, Tuning,
};

#[tokio::test]
async fn a_peer_of_another_world_is_refused_with_both_worlds_named() {
    let (ours, theirs) = (World::new("ours"), World::new("theirs"));
    let (mut a, b) = (ours.end(1), theirs.end(2));
    a.mesh.keep_link(ours.node(2), b.address());
    let (reason, refused) = a.dial_failed().await;
    assert!(refused && reason.contains("ours") && reason.contains("theirs"), "{reason}");
    // Told once, though it goes on trying.
    a.quiet(Duration::from_millis(500)).await;
    assert!(a.mesh.stats().dials_failed > 1);
    assert_eq!(b.mesh.stats().links, 0);
}

#[tokio::test]
async fn a_world_of_the_same_name_with_another_ca_is_refused() {
    let (ours, theirs) = (World::new("same"), World::new("same"));
    let (mut a, b) = (ours.end(1), theirs.end(2));
    a.mesh.keep_link(ours.node(2), b.address());
    let (reason, refused) = a.dial_failed().await;
    assert!(refused && reason.contains("has the CA been made anew"), "{reason}");
}

#[tokio::test]
async fn a_server_certificate_is_no_ticket_to_the_mesh() {
    let world = World::new("roles");
    let b = world.end(2);
    // A node's EKU on a server's name can't be issued; the role is refused before the EKU is looked at.
    let server = world.issue(Role::Server("edge".into()));
    let reason = refusal_of(&b, &server).await;
    assert!(reason.contains("role server") && reason.contains("only nodes and coordinators"), "{reason}");

    let identity = world.identity(Role::Server("edge".into()));
    let config = MeshConfig { identity, ..world.config(1) };
    let error = MeshEndpoint::bind(config, common::accept_all()).unwrap_err();
    assert!(matches!(error, BindError::Identity(_)), "{error}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_its_holder_told_and_nobody_elses_link_is_touched() {
    let world = World::new("expiry");
    let (mut honest, mut b) = (world.end(3), world.end(2));
    honest.keep(&b);
    let (to_b, _) = honest.up().await;
    b.up().await;
    let hours_ago = |hours: u64| SystemTime::now() - Duration::from_secs(hours * 3600);
    let expired = world
        .0
        .issue_between(Role::Node(Uuid::from_u128(1)), &SubjectNames::default(), hours_ago(2), hours_ago(1))
        .unwrap();
    let reason = refusal_of(&b, &expired).await;
    for word in ["expired", "issue a new one", &expired.id.to_string()] {
        assert!(reason.contains(word), "{word} in {reason}");
    }
    wait_for(|| b.mesh.stats().accepts_failed == 1).await;
    to_b.send(Lane::Control, Bytes::from_static(b"alive"), Bytes::new()).unwrap();
    assert_eq!(b.message().await.1, "alive");
    assert_eq!((b.mesh.stats().links, b.mesh.stats().downs), (1, 0));
    honest.quiet(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn somebody_else_at_the_address_is_refused() {
    let world = World::new("names");
    let (mut a, b) = (world.end(1), world.end(3));
    a.mesh.keep_link(world.node(2), b.address());
    let (reason, refused) = a.dial_failed().await;
    assert!(refused && reason.contains("somebody else answers"), "{reason}");
}

#[tokio::test]
async fn a_node_that_dials_a_clients_port_is_told_that_it_is_none_of_the_meshs() {
    let world = World::new("ports");
    let mut a = world.end(1);
    let config = ClientPortConfig {
        bind: common::loopback(),
        identity: world.identity(Role::Server("edge".into())),
        tuning: Tuning::for_clients(),
        limits: ClientLimits::default(),
    };
    let (port, _events) = ClientPort::bind(config).unwrap();
    a.mesh.keep_link(world.node(2), port.local_addr().unwrap());
    let (reason, refused) = a.dial_failed().await;
    assert!(refused && reason.contains("nodes and players have ports of their own"), "{reason}");
}

#[tokio::test]
async fn the_hello_checks_refusal_reaches_the_dialler_from_either_end() {
    let world = World::new("checks");
    let picky: selvedge_transport::HelloCheck =
        Arc::new(
            |peer, hello| {
                if hello == b"hello of 1" { Err(format!("{peer} is too old: upgrade it")) } else { Ok(()) }
            },
        );
    let mut a = world.end(1);
    let b = End::open_with(world.config(2), picky.clone());
    a.keep(&b);
    let (reason, refused) = a.dial_failed().await;
    assert!(refused && reason.contains("is too old: upgrade it"), "{reason}");
    wait_for(|| b.mesh.stats().hellos_refused > 0).await;

    let mut c = End::open_with(world.config(3), picky);
    c.keep(&a);
    let (reason, refused) = c.dial_failed().await;
    assert!(refused && reason.contains("is too old: upgrade it"), "{reason}");
    assert_eq!(a.mesh.stats().ups, 0);
}

#[tokio::test]
async fn an_endpoint_does_not_link_to_itself() {
    let world = World::new("self");
    let mut a = world.end(1);
    a.mesh.keep_link(a.mesh.name().clone(), a.address());
    let (reason, _) = a.dial_failed().await;
    assert!(reason.contains("back to its own process"), "{reason}");
}

#[tokio::test]
async fn a_newer_transport_version_is_refused_with_advice() {
    let world = World::new("versions");
    let b = world.end(2);
    let issued = world.issue(Role::Node(Uuid::from_u128(1)));
    let mut peer = RawPeer::connect(&issued, b.mesh.name(), b.address()).await.unwrap();
    peer.say_hello(9, 0, 1).await;
    let reason = peer.closed().await;
    assert!(reason.contains("versions 9 to 9") && reason.contains("upgrade the older"), "{reason}");
}

#[tokio::test]
async fn garbage_instead_of_a_hello_is_refused_and_the_endpoint_lives_on() {
    let world = World::new("garbage");
    let mut b = world.end(2);
    let issued = world.issue(Role::Node(Uuid::from_u128(1)));
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"SLVG", b"SLVG\x01\x01\x00\x01\x00", &[0xff; 3000]] {
        let mut peer = RawPeer::connect(&issued, b.mesh.name(), b.address()).await.unwrap();
        peer.write_frame(garbage).await;
        let reason = peer.closed().await;
        assert!(reason.contains("hello"), "{reason}");
    }
    let mut a = world.end(1);
    a.keep(&b);
    a.up().await;
    b.up().await;
}

/// What a peer with that certificate is told.
async fn refusal_of(end: &End, issued: &selvedge_certs::IssuedIdentity) -> String {
    match RawPeer::connect(issued, end.mesh.name(), end.address()).await {
        Ok(peer) => peer.closed().await,
        Err(error) => error.to_string(),
    }
}

async fn wait_for(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(common::PATIENCE, waiting).await.expect("the condition never held");
}
