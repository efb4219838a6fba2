//! The mesh's port among strangers: who only begins handshakes doesn't keep a node out.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "whatever else arrives fails the test")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{End, World, loopback, raw_client_config};
use selvedge_certs::{Role, Uuid};
use selvedge_transport::{MeshConfig, MeshLimits, Tuning};

/// A target that lets handshakes hang for longer than any test has patience.
fn target(world: &World, limits: MeshLimits) -> End {
    let hang = Duration::from_secs(3600);
    let tuning = Tuning { hello_timeout: hang, idle_timeout: hang, ..Tuning::default() };
    End::open(MeshConfig { tuning, limits, ..world.config(2) })
}

/// First packets of so many connections, all from one socket, whose sender never reads an answer: as if its address weren't
/// its own.
fn silent_initials(world: &World, to: &End, count: usize) -> std::net::UdpSocket {
    let socket = std::net::UdpSocket::bind(loopback()).unwrap();
    let issued = world.issue(Role::Node(Uuid::from_u128(7)));
    let config = raw_client_config(&issued, b"selvedge-mesh/1");
    let mut stranger = quinn_proto::Endpoint::new(Arc::default(), None, true, None);
    let server_name = selvedge_certs::server_name(to.mesh.name().id());
    for _ in 0..count {
        let now = Instant::now();
        let (_, mut connection) = stranger.connect(now, config.clone(), to.address(), &server_name).unwrap();
        let mut packet = Vec::new();
        let transmit = connection.poll_transmit(now, 1, &mut packet).expect("a first packet");
        assert_eq!(transmit.size, packet.len());
        socket.send_to(&packet, to.address()).unwrap();
    }
    socket
}

async fn wait_for(end: &End, condition: impl Fn(&End) -> bool) {
    let waiting = async {
        while !condition(end) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(common::PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("the condition never held: {:?}", end.mesh.stats()));
}

#[tokio::test]
async fn silent_handshakes_in_a_nodes_own_name_do_not_keep_it_out() {
    let world = World::new("silence");
    let mut target = target(&world, MeshLimits::default());
    let _socket = silent_initials(&world, &target, 400);
    wait_for(&target, |target| target.mesh.stats().handshake_retries > 100).await;
    // It has the very address that the strangers gave as theirs.
    let mut honest = world.end(1);
    honest.keep(&target);
    honest.up().await;
    target.up().await;
    assert_eq!(target.mesh.stats().links, 1);
    assert_eq!(honest.mesh.stats().dials_failed, 0, "at the first attempt");
}

#[tokio::test]
async fn an_address_that_lets_its_handshakes_hang_uses_up_its_own_share_only() {
    let world = World::new("share");
    let limits = MeshLimits { handshakes_max: 16, handshakes_per_address_max: 4, ..MeshLimits::default() };
    let mut target = target(&world, limits);
    // They have a certificate and prove their address, and then say no hello.
    let issued = world.issue(Role::Node(Uuid::from_u128(7)));
    let server_name = selvedge_certs::server_name(target.mesh.name().id());
    let endpoint = quinn::Endpoint::client(loopback()).unwrap();
    let config = raw_client_config(&issued, b"selvedge-mesh/1");
    let mut hanging = Vec::new();
    for _ in 0..40 {
        let connecting = endpoint.connect_with(config.clone(), target.address(), &server_name).unwrap();
        hanging.extend(connecting.await);
    }
    assert_eq!(hanging.len(), 4, "its share");
    assert_eq!(target.mesh.stats().handshakes_refused, 36);

    let elsewhere = SocketAddr::from(([127, 0, 0, 2], 0));
    let mut honest = End::open(MeshConfig { bind: elsewhere, ..world.config(1) });
    honest.keep(&target);
    honest.up().await;
    target.up().await;
    assert_eq!(honest.mesh.stats().dials_failed, 0, "at the first attempt");
}
