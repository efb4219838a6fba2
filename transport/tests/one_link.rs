//! One link per pair, whoever dials, and a new one after a restart.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "whatever else arrives fails the test")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use common::{End, RawPeer, World, linked};
use selvedge_certs::{Identity, Role, SubjectNames, Uuid};
use selvedge_transport::{Lane, LinkEvent, MeshConfig, MeshEndpoint, Tuning};

const SETTLED: Duration = Duration::from_millis(700);

#[tokio::test]
async fn two_dials_that_cross_give_one_link_that_stays() {
    for round in 0..10 {
        let world = World::new("crossing");
        let (mut a, mut b) = (world.end(1), world.end(2));
        a.keep(&b);
        b.keep(&a);
        let ((to_b, hello_of_b), (to_a, hello_of_a)) = tokio::join!(a.up(), b.up());
        assert_eq!((&hello_of_a[..], &hello_of_b[..]), (&b"hello of 1"[..], &b"hello of 2"[..]));
        to_b.send(Lane::Control, Bytes::from_static(b"to b"), Bytes::new()).unwrap();
        to_a.send(Lane::Cutover, Bytes::from_static(b"to a"), Bytes::new()).unwrap();
        assert_eq!(b.message().await.1, "to b");
        assert_eq!(a.message().await.1, "to a");
        if round == 0 {
            tokio::join!(a.quiet(SETTLED), b.quiet(SETTLED));
        }
        for end in [&a, &b] {
            let stats = end.mesh.stats();
            assert_eq!((stats.links, stats.ups, stats.downs), (1, 1, 0), "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crossing_dials_agree_on_many_threads_too() {
    for round in 0..20 {
        let world = World::new("crossing");
        let (mut a, mut b) = (world.end(1), world.end(2));
        let (b_name, b_address) = (b.mesh.name().clone(), b.address());
        b.keep(&a);
        tokio::time::sleep(Duration::from_micros(round * 150)).await;
        a.mesh.keep_link(b_name, b_address);
        let ((to_b, _), _) = tokio::join!(a.up(), b.up());
        to_b.send(Lane::Control, Bytes::from_static(b"x"), Bytes::new()).unwrap();
        assert_eq!(b.message().await.1, "x");
        assert_eq!((a.mesh.stats().downs, b.mesh.stats().downs), (0, 0), "round {round}");
    }
}

#[tokio::test]
async fn a_peer_that_restarts_on_its_port_is_linked_again() {
    let world = World::new("restart");
    for dialler in [1, 2] {
        let acceptor = 3 - dialler;
        let (mut a, mut b) = (world.end(dialler), world.end(acceptor));
        a.keep(&b);
        a.up().await;
        b.up().await;
        let address = b.address();
        b.mesh.close("updating").await;
        let reason = a.down().await;
        assert!(reason.contains("updating"), "{reason}");
        let hello = Bytes::from_static(b"second life");
        let mut b = End::open(MeshConfig { bind: address, hello, ..world.config(acceptor) });
        let hello = loop {
            match a.event().await {
                LinkEvent::Up { hello, .. } => break hello,
                LinkEvent::DialFailed { refused, .. } => assert!(!refused),
                other => panic!("unexpected {other:?}"),
            }
        };
        assert_eq!(hello, "second life");
        b.up().await;
    }
}

/// How long a peer that ended without a word is missed, if the process in its place has the same key or another one.
async fn missed(world: &World, same_key: bool) -> Duration {
    let keep_alive = Duration::from_millis(100);
    let tuning = Tuning { keep_alive, idle_timeout: Duration::from_secs(3), ..world.config(1).tuning };
    let mut a = End::open(MeshConfig { tuning: tuning.clone(), ..world.config(1) });
    let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let first = MeshConfig { tuning: tuning.clone(), ..world.config(2) };
    let identity = if same_key { first.identity.clone() } else { world.config(2).identity };
    let b = {
        let _inside = process.enter();
        End::open(first)
    };
    a.keep(&b);
    a.up().await;
    let bind = b.address();
    // Its threads have ended before it can say anything.
    tokio::task::spawn_blocking(move || process.shutdown_timeout(Duration::from_secs(10))).await.unwrap();
    drop(b);
    let ended = Instant::now();
    let _again = loop {
        let config =
            MeshConfig { bind, identity: identity.clone(), tuning: tuning.clone(), ..world.config(2) };
        if let Ok(again) = MeshEndpoint::bind(config, common::accept_all()) {
            break again;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    while !matches!(a.event().await, LinkEvent::Up { .. }) {}
    ended.elapsed()
}

#[tokio::test]
async fn a_peer_that_ended_without_a_word_is_missed_only_until_it_is_back() {
    let world = World::new("reset");
    let (same, other) = (missed(&world, true).await, missed(&world, false).await);
    assert!(same * 2 < other, "{same:?} with the same key, {other:?} after the idle time-out");
}

#[tokio::test]
async fn a_restarted_peer_that_dials_replaces_the_link_it_left_behind() {
    let world = World::new("restart");
    for (stays, restarts) in [(1, 2), (2, 1)] {
        let mut a = world.end(stays);
        let b = world.end(restarts);
        b.keep(&a);
        a.up().await;
        // The first life goes on, unheard: the second one has the same name and the same hello.
        let mut again = world.end(restarts);
        again.keep(&a);
        let reason = a.down().await;
        assert!(reason.contains("newer connection"), "{reason}");
        let (to_again, _) = a.up().await;
        let (to_a, _) = again.up().await;
        to_a.send(Lane::Action, Bytes::from_static(b"new"), Bytes::new()).unwrap();
        assert_eq!(a.message().await.1, "new");
        assert!(!to_again.is_closed());
        drop(b);
    }
}

#[tokio::test]
async fn what_arrived_before_a_link_went_down_is_told_before_down() {
    let world = World::new("order");
    let (a, to_b, mut b, _) = linked(&world, world.config(1), world.config(2)).await;
    for number in 0..50u8 {
        to_b.send(Lane::Control, Bytes::copy_from_slice(&[number]), Bytes::new()).unwrap();
    }
    assert_eq!(b.message().await.1, [0u8][..]);
    a.mesh.close("done").await;
    let mut messages = 1;
    let reason = loop {
        match b.event().await {
            LinkEvent::Message { payload, .. } => {
                assert_eq!(payload, [messages][..]);
                messages += 1;
            }
            LinkEvent::Down { reason, .. } => break reason,
            other => panic!("unexpected {other:?}"),
        }
    };
    assert!(reason.contains("done"), "{reason}");
    b.quiet(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn a_dropped_link_stays_down() {
    let world = World::new("drop");
    let (mut a, to_b, mut b, _) = linked(&world, world.config(1), world.config(2)).await;
    a.mesh.drop_link(b.mesh.name());
    assert!(a.down().await.contains("no longer wanted"));
    assert!(b.down().await.contains("no longer wanted"));
    assert!(to_b.send(Lane::Control, Bytes::new(), Bytes::new()).is_err());
    tokio::join!(a.quiet(SETTLED), b.quiet(SETTLED));
}

#[tokio::test]
async fn a_kept_link_comes_back_after_it_broke_and_follows_a_new_address() {
    let world = World::new("back");
    let (mut a, to_b, mut b, _) = linked(&world, world.config(1), world.config(2)).await;
    to_b.close("testing");
    a.down().await;
    b.down().await;
    a.up().await;
    b.up().await;

    let moved = world.end(2);
    b.mesh.close("moving").await;
    a.down().await;
    a.keep(&moved);
    loop {
        match a.event().await {
            LinkEvent::Up { .. } => break,
            LinkEvent::DialFailed { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_new_hello_is_used_from_the_next_handshake_on() {
    let world = World::new("hello");
    let (mut a, to_b, mut b, _) = linked(&world, world.config(1), world.config(2)).await;
    a.mesh.set_hello(Bytes::from_static(b"registered")).unwrap();
    to_b.close("again");
    b.down().await;
    assert_eq!(b.up().await.1, "registered");
    a.down().await;
    assert!(a.mesh.set_hello(Bytes::from(vec![0; 5000])).is_err());
}

#[tokio::test]
async fn a_reloaded_certificate_is_used_and_somebody_elses_is_refused() {
    let world = World::new("reload");
    let (mut a, to_b, mut b, _) = linked(&world, world.config(1), world.config(2)).await;
    a.mesh.reload_identity(&world.identity(Role::Node(Uuid::from_u128(1)))).unwrap();
    to_b.close("again");
    a.down().await;
    b.down().await;
    a.up().await;
    b.up().await;
    let error = a.mesh.reload_identity(&world.identity(Role::Node(Uuid::from_u128(9)))).unwrap_err();
    assert!(error.to_string().contains("restart to change who it is"), "{error}");
}

#[tokio::test]
async fn a_further_dial_of_the_same_process_is_a_duplicate_unless_it_has_lost_the_link() {
    let world = World::new("lost");
    let mut end = world.end(1);
    let issued = world.issue(Role::Node(Uuid::from_u128(7)));
    let (name, address) = (end.mesh.name().clone(), end.address());
    let first = RawPeer::linked(&issued, &name, address).await;
    end.up().await;

    let mut second = RawPeer::connect(&issued, &name, address).await.unwrap();
    second.say_hello(1, 0, 8).await;
    let reason = second.closed().await;
    assert!(reason.contains("another connection to this peer stays"), "{reason}");
    end.quiet(Duration::from_millis(50)).await;

    // The raw peer's first connection has the number 7.
    let mut third = RawPeer::connect(&issued, &name, address).await.unwrap();
    third.say_hello(1, 7, 9).await;
    third.read_frame().await.unwrap();
    assert!(
        first.connection.close_reason().is_none(),
        "the old link goes only when the new one is confirmed"
    );
    third.write_frame(b"SLVG\x02").await;
    assert!(end.down().await.contains("newer connection"));
    end.up().await;
    assert!(first.closed().await.contains("newer connection"));
}

/// Links two ends, waits until the dialling one's certificate has run out, and links them anew.
async fn link_with_a_certificate_that_ran_out(resume_sessions: bool) -> LinkEvent {
    let world = World::new("resumed");
    let begun = SystemTime::now() - Duration::from_secs(60);
    let ends = SystemTime::now() + Duration::from_secs(4);
    let node = Role::Node(Uuid::from_u128(1));
    let issued = world.0.issue_between(node, &SubjectNames::default(), begun, ends).unwrap();
    let tuning = Tuning { resume_sessions, ..Tuning::default() };
    let identity = Arc::new(Identity::from_issued(&issued).unwrap());
    let mut a = End::open(MeshConfig { tuning: tuning.clone(), identity, ..world.config(1) });
    let mut b = End::open(MeshConfig { tuning, ..world.config(2) });
    a.keep(&b);
    let _ = tokio::join!(a.up(), b.up());
    while SystemTime::now() < ends + Duration::from_secs(1) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    a.mesh.drop_link(b.mesh.name());
    tokio::join!(a.down(), b.down());
    a.keep(&b);
    a.event().await
}

#[tokio::test]
async fn a_session_is_resumed_only_where_that_was_asked_for() {
    let (whole, resumed) =
        tokio::join!(link_with_a_certificate_that_ran_out(false), link_with_a_certificate_that_ran_out(true));
    assert!(matches!(whole, LinkEvent::DialFailed { .. }), "{whole:?}");
    assert!(matches!(resumed, LinkEvent::Up { .. }), "{resumed:?}");
}
