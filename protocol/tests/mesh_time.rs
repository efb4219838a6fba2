//! Mesh time across the coordinator's restarts: it goes on, and never goes back.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]
#![allow(clippy::unwrap_used, reason = "a failed expectation fails the test")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Mesh, node_id};
use selvedge_protocol::coordinator::{Coordinator, CoordinatorInput, CoordinatorOutput};
use selvedge_protocol::id::Term;
use selvedge_protocol::time::Time;
use selvedge_protocol::wire::{Load, Message};

#[test]
fn mesh_time_goes_on_where_the_nodes_are() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    // The next one runs on a host whose clock is an hour and a half behind.
    let now = mesh.now;
    mesh.now += Duration::from_secs(5400);
    let mut coordinator = Coordinator::restored(mesh.config(), mesh.image.clone(), now, [7; 32]).unwrap();
    let mut told = Vec::new();
    for (index, ahead) in [(0, 700), (1, 900), (0, 0)] {
        let message = Message::Heartbeat {
            incarnation: mesh.hosts[index].node.me().unwrap().incarnation,
            sent_at: Time::ZERO,
            map_version: u64::MAX,
            mesh_time: Some(mesh.now + Duration::from_micros(ahead)),
            reported: Term(2),
            load: Load::default(),
        };
        let from = node_id(index);
        coordinator
            .handle(CoordinatorInput::Message { from, incarnation: None, message, blob: Bytes::new() }, now);
        while let Some(output) = coordinator.poll_output() {
            if let CoordinatorOutput::Send { message: Message::HeartbeatReply { mesh_time, .. }, .. } = output
            {
                told.push(mesh_time);
            }
        }
    }
    let goes_on = Some(mesh.now + Duration::from_micros(900));
    assert_eq!(told, [None, goes_on, goes_on], "nobody is told before all were heard");
    let status = coordinator.status(now + Duration::from_secs(1));
    assert_eq!(status.mesh_time_us, (mesh.now + Duration::from_micros(1_000_900)).as_micros());
}

#[test]
fn mesh_time_goes_on_where_the_nodes_are_in_whatever_life() {
    let mut mesh = Mesh::row(1);
    mesh.run(2);
    // The next one runs on a host whose clock is an hour and a half behind, and the node has lost its lease meanwhile.
    let now = mesh.now;
    mesh.now += Duration::from_secs(5400);
    let mut coordinator = Coordinator::restored(mesh.config(), mesh.image.clone(), now, [7; 32]).unwrap();
    let mut say = |message| {
        let from = node_id(0);
        coordinator
            .handle(CoordinatorInput::Message { from, incarnation: None, message, blob: Bytes::new() }, now);
        std::iter::from_fn(|| coordinator.poll_output()).collect::<Vec<_>>()
    };
    let said = say(Message::Register {
        node: node_id(0),
        process: 0,
        life: 1,
        sent_at: Time::ZERO,
        mesh_addr: "10.0.0.0:1".into(),
        client_addr: "10.0.0.0:2".into(),
        server_name: "node-0".into(),
        schema_min: 1,
        schema_max: 1,
    });
    let granted = said.iter().find_map(|output| match output {
        CoordinatorOutput::Send { message: Message::Registered { incarnation, .. }, .. } => {
            Some(*incarnation)
        }
        _ => None,
    });
    let said = say(Message::Heartbeat {
        incarnation: granted.unwrap(),
        sent_at: Time::ZERO,
        map_version: u64::MAX,
        mesh_time: Some(mesh.now),
        reported: Term(2),
        load: Load::default(),
    });
    let told = said.iter().find_map(|output| match output {
        CoordinatorOutput::Send { message: Message::HeartbeatReply { mesh_time, .. }, .. } => {
            Some(*mesh_time)
        }
        _ => None,
    });
    assert_eq!(told, Some(Some(mesh.now)));
}

#[test]
fn a_node_that_has_just_begun_asks_often_until_it_knows_mesh_time_well() {
    let mut mesh = Mesh::row(1);
    let answers = |mesh: &Mesh| {
        let told = mesh.to_nodes.iter().map(|(_, message)| message);
        told.filter(|message| matches!(message, Message::HeartbeatReply { .. })).count()
    };
    mesh.run(10);
    let at_first = answers(&mesh);
    assert!(at_first >= 8, "{at_first} in a third of a second");
    mesh.run(30);
    let later = answers(&mesh) - at_first;
    assert!((2..=6).contains(&later), "{later} in a second");
}

#[test]
fn mesh_time_goes_on_from_what_was_told_if_no_node_is_left() {
    let mut mesh = Mesh::row(1);
    mesh.run(30);
    let told = mesh.coordinator.status(mesh.now).mesh_time_us;
    mesh.stop_coordinator();
    // The host's clock has begun anew.
    let now = Time::from_micros(1);
    let mut coordinator = Coordinator::restored(mesh.config(), mesh.image.clone(), now, [7; 32]).unwrap();
    let later = now + mesh.config().lease;
    let from = node_id(0);
    let message = Message::Heartbeat {
        incarnation: mesh.hosts[0].node.me().unwrap().incarnation,
        sent_at: Time::ZERO,
        map_version: u64::MAX,
        mesh_time: None,
        reported: Term(2),
        load: Load::default(),
    };
    coordinator
        .handle(CoordinatorInput::Message { from, incarnation: None, message, blob: Bytes::new() }, later);
    assert!(coordinator.status(later).mesh_time_us > told);
}
