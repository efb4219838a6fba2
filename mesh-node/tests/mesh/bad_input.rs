//! Nodes that can't be what they were told to be: each says why, and a running one doesn't notice.

use std::time::{Duration, Instant};

use bytes::Bytes;
use selvedge_certs::{Role, Uuid};
use selvedge_node::arena::{Arena, ArenaConfig};
use selvedge_node::{MeshNode, MeshNodeConfig, StartError, TickError};
use selvedge_protocol::config::NodeConfig;
use selvedge_protocol::wire::{ClientMessage, encode_client};
use selvedge_transport::{ClientDialer, Tuning};

use crate::support::{PATIENCE, World, closed, keep_log, logged};

/// Runs the node's ticks for a while. None of them may fail.
fn run(node: &mut MeshNode, arena: &mut Arena, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        node.tick(arena, Arena::step).expect("the node ticks");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_with_one_certificate_learns_why_it_waits_and_the_first_runs_on() {
    let world = World::new();
    let coordinator = world.coordinator(1).await;
    let mut first = world.node(1, &coordinator).start().expect("the node starts");
    let me = first.wait_ready(PATIENCE).expect("the coordinator registers the node");
    let mut arena = Arena::new(ArenaConfig { npcs: 5, ..ArenaConfig::default() }).expect("avatars");
    run(&mut first, &mut arena, Duration::from_millis(200));

    let second = world.node(1, &coordinator).start().expect("its sockets open");
    let error = second.wait_ready(Duration::from_secs(2)).expect_err("there is one such node already");
    let TickError::NotReady { refused: Some(reason) } = error else { panic!("{error}") };
    for word in ["another process is registered as node", &me.node.to_string(), "an identity of its own"] {
        assert!(reason.contains(word), "{word} in {reason}");
    }
    run(&mut first, &mut arena, Duration::from_secs(1));
    assert_eq!(arena.population(), 5);
    assert_eq!(first.wait_ready(PATIENCE).expect("it is ready as ever"), me);

    // The first stops: the second takes the name over, in a life of its own.
    first.stop();
    let successor = second.wait_ready(PATIENCE).expect("the name is free");
    assert!(successor.node == me.node && successor.incarnation > me.incarnation, "{successor:?}");
    coordinator.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let world = World::new();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = taken.local_addr().expect("an address");
    let coordinator = "127.0.0.1:9".parse().expect("an address");
    let config = MeshNodeConfig::new(coordinator);
    for (config, which) in [
        (MeshNodeConfig { bind_mesh: address, ..config.clone() }, "the mesh"),
        (MeshNodeConfig { bind_clients: address, ..config.clone() }, "clients"),
    ] {
        let error = world.node_with(1, config).start().expect_err("the port is taken");
        assert!(matches!(error, StartError::Bind { .. }), "{error}");
        let text = error.to_string();
        for word in [which, &address.to_string(), "is another process on that port?"] {
            assert!(text.contains(word), "{word} in {text}");
        }
    }
}

#[tokio::test]
async fn each_end_of_a_node_wants_its_own_kind_of_certificate() {
    let world = World::new();
    let config = MeshNodeConfig::new("127.0.0.1:9".parse().expect("an address"));
    let node = || world.identity(Role::Node(Uuid::from_u128(1)));
    let server = || world.identity(Role::Server("node-1".to_owned()));
    let builder = || MeshNode::builder().config(config.clone());
    let error = builder().identity(server()).client_identity(server()).start().expect_err("no node");
    assert!(error.to_string().contains("issue one with the role node"), "{error}");
    let error = builder().identity(node()).client_identity(node()).start().expect_err("no server");
    let text = error.to_string();
    assert!(text.contains("clients") && text.contains("role server"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_talks_nonsense_loses_its_own_connection() {
    let world = World::new();
    let coordinator = world.coordinator(1).await;
    let mut node = world.node(1, &coordinator).start().expect("the node starts");
    node.wait_ready(PATIENCE).expect("the coordinator registers the node");
    let mut arena = Arena::new(ArenaConfig::default()).expect("avatars");
    run(&mut node, &mut arena, Duration::from_millis(100));
    let dialer = ClientDialer::new(world.0.ca_pem(), Tuning::for_clients()).expect("a socket");
    keep_log();
    let logout = encode_client(&ClientMessage::Logout);
    for (first, cause) in [
        (&b"hello?"[..], "wire version 104; this build speaks 1"),
        (&[1, 0xff, 0xff, 0xff, 0xff][..], "the first message can't be read: the frame"),
        (&[9, 0, 0, 0, 0][..], "wire version 9; this build speaks 1"),
        (&[][..], "the frame is cut short: 0 bytes"),
        (&logout[..], "the first message is no hello"),
    ] {
        let name = "server-node-1.aerie.selvedge";
        let dialled = dialer.connect(node.client_addr(), name, Bytes::copy_from_slice(first)).await;
        let (_connection, mut events) = dialled.expect("the port is open to all");
        let reason = closed(&mut events).await;
        assert!(reason.contains(cause), "{first:?}: {cause} in {reason}");
        logged(&["client misbehaved", cause, "remote=127.0.0.1:"]).await;
        run(&mut node, &mut arena, Duration::from_millis(100));
    }
    node.stop();
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn margins_larger_than_the_worlds_cells_stop_the_node_with_both_numbers() {
    let world = World::new();
    let coordinator = world.coordinator(1).await;
    let good = MeshNodeConfig::new(coordinator.addresses().mesh);
    for (name, change) in [
        ("hysteresis_m", (|core: &mut NodeConfig| core.hysteresis_m = 50.0) as fn(&mut NodeConfig)),
        ("prepare_margin_m", |core| core.prepare_margin_m = 50.0),
    ] {
        let mut config = good.clone();
        change(&mut config.core);
        let mut node = world.node_with(1, config).start().expect("by itself it is a good configuration");
        let error = node.wait_ready(PATIENCE).expect_err("its margins don't fit");
        assert!(matches!(error, TickError::Unfit { .. }), "{error}");
        let text = error.to_string();
        for word in
            [&format!("{name} is 50 m"), "a cell's edge is 30 m", "make it smaller or the cells larger"]
        {
            assert!(text.contains(word), "{word} in {text}");
        }
        let mut arena = Arena::new(ArenaConfig::default()).expect("avatars");
        assert_eq!(node.tick(&mut arena, Arena::step), Err(error), "it doesn't run");
        node.stop();
    }
    // Once that is corrected, the very same node is welcome.
    let node = world.node_with(1, good).start().expect("the node starts");
    node.wait_ready(PATIENCE).expect("the coordinator registers the node");
    node.stop();
    coordinator.stop().await;
}
