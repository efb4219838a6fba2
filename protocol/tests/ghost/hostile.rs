//! Bytes from outside: any at all, and real ones with damage. Nothing panics, and nothing grows.

use core::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use selvedge_protocol::ghost::{
    BorderInterest, GhostError, GhostReceiver, GhostSender, GhostTable, GhostWireError, NoFloors, Scene,
    SenderSettings, SightRules, TableSettings, is_readable,
};
use selvedge_protocol::time::{Tick, Time};

use crate::crowd::Crowd;
use crate::figures::neighbour;

const INTERVAL: Duration = Duration::from_micros(33_333);

/// What a sender of 200 says in some ticks, with its receiver's acknowledgements: stream, datagrams, acknowledgements.
fn traffic() -> [Vec<Bytes>; 3] {
    let mut crowd = Crowd::new(200, 60.0, 60.0, 1);
    let mut scene = Scene::new(INTERVAL);
    let mut interest = BorderInterest::new(SightRules::within(40.0), neighbour());
    let mut sender = GhostSender::new(1, SenderSettings::default());
    let mut receiver = GhostReceiver::new(1, 1);
    let mut table = table();
    let mut said = [Vec::new(), Vec::new(), Vec::new()];
    for tick in 1..12 {
        crowd.step();
        crowd.bleed(0.1);
        scene.begin(Tick(tick));
        crowd.walkers.iter().for_each(|walker| scene.put(&walker.subject));
        let now = Tick(tick).start(INTERVAL);
        sender.tick(&scene, interest.look(&scene), now);
        while let Some(piece) = sender.poll_stream() {
            receiver.on_stream(&mut table, &NoFloors, &piece, Tick(tick)).unwrap();
            said[0].push(piece);
        }
        while let Some(datagram) = sender.poll_datagram() {
            receiver.on_datagram(&mut table, &datagram, Tick(tick)).unwrap();
            said[1].push(datagram);
        }
        if let Some(ack) = receiver.poll_ack() {
            sender.on_ack(&ack, now).unwrap();
            said[2].push(ack);
        }
    }
    said
}

fn table() -> GhostTable {
    GhostTable::new(TableSettings { interval: INTERVAL, ..TableSettings::default() })
}

/// Gives the bytes to everything that takes bytes.
fn give(bytes: &[u8], receiver: &mut GhostReceiver, sender: &mut GhostSender, table: &mut GhostTable) {
    let _ = is_readable(bytes);
    let _ = receiver.on_datagram(table, bytes, Tick(12));
    let _ = receiver.on_stream(table, &NoFloors, bytes, Tick(12));
    let _ = sender.on_ack(bytes, Time::from_micros(400_000));
    let _ = receiver.poll_ack();
    receiver.tick(table, &NoFloors, Tick(12));
    for ghost in table.shown_at(Time::from_micros(333_333)) {
        assert!(ghost.motion.is_finite() && ghost.rotation.iter().all(|part| part.is_finite()));
        let _ = ghost.state.fields().count();
    }
    table.tick(Tick(13));
    let _ = table.take_events();
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(mut pieces in prop::collection::vec(any::<Vec<u8>>(), 1..8)) {
        let (mut receiver, mut table) = (GhostReceiver::new(1, 1), table());
        let mut sender = GhostSender::new(1, SenderSettings::default());
        for piece in &mut pieces {
            give(piece, &mut receiver, &mut sender, &mut table);
            // As if it had passed the first bytes.
            for kind in 0..4 {
                piece.splice(0..piece.len().min(3), [1, kind, 1]);
                give(piece, &mut receiver, &mut sender, &mut table);
            }
        }
    }

    #[test]
    fn damage_is_taken_or_refused(places in prop::collection::vec((0..10_000_usize, any::<u8>()), 1..40)) {
        let said = traffic();
        let (mut receiver, mut table) = (GhostReceiver::new(1, 1), table());
        let mut sender = GhostSender::new(1, SenderSettings::default());
        for (nth, bytes) in said.iter().flatten().enumerate() {
            let mut bytes = bytes.to_vec();
            if let Some(&(place, with)) = places.get(nth % (places.len() + 3)) {
                let place = place % bytes.len();
                bytes[place] ^= with;
                if with % 7 == 0 {
                    bytes.truncate(place);
                }
            }
            give(&bytes, &mut receiver, &mut sender, &mut table);
        }
    }
}

#[test]
fn each_refusal_says_what_is_wrong() {
    let [stream, datagrams, acks] = traffic();
    let (mut receiver, mut ghosts) = (GhostReceiver::new(1, 1), table());
    let mut sender = GhostSender::new(1, SenderSettings::default());
    let datagram = &datagrams[0];
    let other = Bytes::from([&[9], &datagram[1..]].concat());
    let refused = receiver.on_datagram(&mut ghosts, &other, Tick(12)).unwrap_err();
    assert_eq!(refused, GhostError::Wire(GhostWireError::Version { version: 9 }));
    let refused = receiver.on_datagram(&mut ghosts, &datagram[..datagram.len() - 1], Tick(12)).unwrap_err();
    assert_eq!(refused, GhostError::Wire(GhostWireError::Truncated));
    let refused = receiver.on_datagram(&mut ghosts, &stream[0], Tick(12)).unwrap_err();
    assert_eq!(refused, GhostError::Wire(GhostWireError::Kind { kind: 3 }));
    let mut elsewhere = GhostReceiver::new(1, 2);
    let refused = elsewhere.on_datagram(&mut ghosts, datagram, Tick(12)).unwrap_err();
    assert_eq!(refused, GhostError::Session { got: 1, session: 2 });
    assert_eq!(sender.on_ack(acks.last().unwrap(), Time::ZERO), Err(GhostError::NeverSent));
    receiver.on_stream(&mut ghosts, &NoFloors, &stream[0], Tick(12)).unwrap();
    let again = receiver.on_stream(&mut ghosts, &NoFloors, &stream[0], Tick(12)).unwrap_err();
    assert_eq!(again, GhostError::Wire(GhostWireError::Range { what: "net id" }));
    let mut ahead = GhostReceiver::new(1, 1);
    let refused = ahead.on_stream(&mut ghosts, &NoFloors, &stream[0], Tick(0));
    assert!(refused.is_ok(), "a node may be a little behind");
}
