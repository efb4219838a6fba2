//! An entity changes hands from S to T, seen by S, by T and by a third node N: nowhere does it vanish and appear.

use core::time::Duration;

use bytes::Bytes;
use selvedge_protocol::authority::AuthorityTable;
use selvedge_protocol::ghost::{
    BorderInterest, EntityClass, GhostEvent, GhostReceiver, GhostSender, GhostTable, Scene, SenderSettings,
    SightRules, State, Subject, TableSettings, VanishReason,
};
use selvedge_protocol::grid::{Motion, Position, Velocity};
use selvedge_protocol::id::{AuthorityEpoch, EntityId, HandoffId, Incarnation, NodeId, Peer};
use selvedge_protocol::time::{Tick, Time};

use crate::figures::neighbour;

const INTERVAL: Duration = Duration::from_millis(33);
const ENTITY: EntityId = EntityId::from_u128(77);
const SECOND: AuthorityEpoch = AuthorityEpoch { generation: 0, step: 2 };

fn table() -> GhostTable {
    GhostTable::new(TableSettings { interval: INTERVAL, ..TableSettings::default() })
}

fn subject(epoch: AuthorityEpoch, tick: u64, owned: bool) -> Subject {
    let x = -5.0 + 0.033 * 6.0 * tick as f64;
    Subject {
        entity: ENTITY,
        epoch,
        class: EntityClass::default(),
        owned,
        motion: Motion { position: Position::new(x, 0.0, 0.0), velocity: Velocity::new(6.0, 0.0, 0.0) },
        rotation: [0.0, 0.0, 0.0, 1.0],
        state: State::new(),
    }
}

/// A node that shows one entity to others. Every link is clean and instant.
struct Teller {
    scene: Scene,
    interest: BorderInterest,
    sender: GhostSender,
}

impl Teller {
    fn new(session: u32) -> Self {
        Self {
            scene: Scene::new(INTERVAL),
            interest: BorderInterest::new(SightRules::within(500.0), neighbour()),
            sender: GhostSender::new(session, SenderSettings::default()),
        }
    }

    fn tick(&mut self, tick: u64, subject: Option<&Subject>) -> Said {
        self.scene.begin(Tick(tick));
        subject.into_iter().for_each(|subject| self.scene.put(subject));
        let now = Tick(tick).start(INTERVAL);
        self.sender.tick(&self.scene, self.interest.look(&self.scene), now);
        let mut said = Said::default();
        while let Some(piece) = self.sender.poll_stream() {
            said.stream.push(piece);
        }
        while let Some(datagram) = self.sender.poll_datagram() {
            said.datagrams.push(datagram);
        }
        said
    }
}

#[derive(Default)]
struct Said {
    stream: Vec<Bytes>,
    datagrams: Vec<Bytes>,
}

fn hear(
    receiver: &mut GhostReceiver,
    table: &mut GhostTable,
    floors: &AuthorityTable,
    from: &mut GhostSender,
    said: &Said,
    tick: u64,
) {
    for piece in &said.stream {
        receiver.on_stream(table, floors, piece, Tick(tick)).unwrap();
    }
    for datagram in &said.datagrams {
        receiver.on_datagram(table, datagram, Tick(tick)).unwrap();
    }
    if let Some(ack) = receiver.poll_ack() {
        from.on_ack(&ack, Time::from_micros(tick * 33_000)).unwrap();
    }
    receiver.tick(table, floors, Tick(tick));
    table.tick(Tick(tick));
}

/// N hears S until tick 10, T from tick 12 on. `t_first`: T's appearing overtakes S's vanishing.
fn third_node(t_first: bool) {
    let (mut s, mut t) = (Teller::new(1), Teller::new(2));
    let (mut from_s, mut from_t) = (GhostReceiver::new(1, 1), GhostReceiver::new(2, 2));
    let (mut ghosts, floors) = (table(), AuthorityTable::new());
    for tick in 1..=10 {
        let said = s.tick(tick, Some(&subject(AuthorityEpoch::FIRST, tick, true)));
        hear(&mut from_s, &mut ghosts, &floors, &mut s.sender, &said, tick);
    }
    assert_eq!(ghosts.take_events(), [GhostEvent::Appeared { entity: ENTITY }]);
    // S has handed it over: it is S's ghost now.
    let late = s.tick(11, Some(&subject(SECOND, 11, false)));
    assert_eq!(late.stream.len(), 1);
    if !t_first {
        hear(&mut from_s, &mut ghosts, &floors, &mut s.sender, &late, 11);
    }
    let mut xs = Vec::new();
    for tick in 12..=20 {
        let said = t.tick(tick, Some(&subject(SECOND, tick, true)));
        // T's appearing takes four ticks longer than S's vanishing, or comes before it.
        if t_first || tick >= 15 {
            hear(&mut from_t, &mut ghosts, &floors, &mut t.sender, &said, tick);
        } else {
            t.sender = GhostSender::new(2, SenderSettings::default());
            ghosts.tick(Tick(tick));
        }
        if t_first && tick == 16 {
            hear(&mut from_s, &mut ghosts, &floors, &mut s.sender, &late, 16);
        }
        let shown_at = ghosts.display_time(Tick(tick).start(INTERVAL));
        xs.push(ghosts.ghost_at(ENTITY, shown_at).unwrap().motion.position.x);
    }
    assert_eq!(ghosts.take_events(), [], "it neither vanished nor appeared");
    assert_eq!(ghosts.ghost_at(ENTITY, Time::ZERO).unwrap().epoch, SECOND);
    // It went on at its 6 m/s all the while.
    for pair in xs.windows(2) {
        assert!((pair[1] - pair[0] - 0.198).abs() < 0.02, "{xs:?}");
    }
}

#[test]
fn a_third_node_sees_it_pass_if_the_old_authority_speaks_first() {
    third_node(false);
}

#[test]
fn a_third_node_sees_it_pass_if_the_new_authority_speaks_first() {
    third_node(true);
}

#[test]
fn a_late_appear_of_the_old_authority_does_not_win() {
    let (mut s, mut t) = (Teller::new(1), Teller::new(2));
    let (mut from_s, mut from_t) = (GhostReceiver::new(1, 1), GhostReceiver::new(2, 2));
    let (mut ghosts, floors) = (table(), AuthorityTable::new());
    let late = s.tick(5, Some(&subject(AuthorityEpoch::FIRST, 5, true)));
    for tick in 6..9 {
        let said = t.tick(tick, Some(&subject(SECOND, tick, true)));
        hear(&mut from_t, &mut ghosts, &floors, &mut t.sender, &said, tick);
    }
    hear(&mut from_s, &mut ghosts, &floors, &mut s.sender, &late, 9);
    let later = s.tick(10, None);
    hear(&mut from_s, &mut ghosts, &floors, &mut s.sender, &later, 10);
    s.scene.remove(ENTITY, VanishReason::Ended, AuthorityEpoch::FIRST);
    let last = s.tick(11, None);
    assert_eq!(last.stream.len(), 1, "S says that it is no more");
    hear(&mut from_s, &mut ghosts, &floors, &mut s.sender, &last, 11);
    assert_eq!(ghosts.take_events(), [GhostEvent::Appeared { entity: ENTITY }]);
    assert_eq!(ghosts.ghost_at(ENTITY, Time::ZERO).unwrap().epoch, SECOND);
}

#[test]
fn what_an_authority_said_of_ticks_to_come_is_void_when_another_takes_over() {
    let (mut s, mut t) = (Teller::new(1), Teller::new(2));
    let (mut from_s, mut from_t) = (GhostReceiver::new(1, 1), GhostReceiver::new(2, 2));
    let (mut ghosts, floors) = (table(), AuthorityTable::new());
    let said = s.tick(30, Some(&subject(AuthorityEpoch::FIRST, 30, true)));
    hear(&mut from_s, &mut ghosts, &floors, &mut s.sender, &said, 10);
    // S is gone, and T has it from a checkpoint. There it stands, so T has nothing to say of it but once.
    let stands = Motion { velocity: Velocity::default(), ..subject(SECOND, 2, true).motion };
    for tick in 11..50 {
        let said = t.tick(tick, Some(&Subject { motion: stands, ..subject(SECOND, 2, true) }));
        hear(&mut from_t, &mut ghosts, &floors, &mut t.sender, &said, tick);
    }
    let shown = ghosts.ghost_at(ENTITY, Tick(49).start(INTERVAL)).unwrap();
    assert!(shown.motion.position.distance(stands.position) < 0.01, "{shown:?}");
}

#[test]
fn a_ghost_becomes_the_authority_and_the_authority_a_ghost() {
    let (mut s, mut t) = (Teller::new(1), Teller::new(2));
    let mut t_from_s = GhostReceiver::new(1, 1);
    let mut s_from_t = GhostReceiver::new(2, 2);
    let (mut s_ghosts, mut t_ghosts) = (table(), table());
    let (mut s_floors, mut t_floors) = (AuthorityTable::new(), AuthorityTable::new());
    let id = HandoffId { entity: ENTITY, epoch: SECOND };
    let peer = Peer { node: NodeId::from_u128(2), incarnation: Incarnation(1) };
    assert!(s_floors.spawn(ENTITY));
    for tick in 1..=10 {
        let said = s.tick(tick, Some(&subject(AuthorityEpoch::FIRST, tick, true)));
        hear(&mut t_from_s, &mut t_ghosts, &t_floors, &mut s.sender, &said, tick);
    }
    assert_eq!(t_ghosts.take_events(), [GhostEvent::Appeared { entity: ENTITY }]);

    // S freezes at tick 10, T takes over: its ghost is the entity itself now.
    assert_eq!(s_floors.freeze(ENTITY, AuthorityEpoch::FIRST, peer), Some(id));
    assert!(t_floors.activate(id, peer));
    assert!(t_ghosts.promote(ENTITY));
    let said = t.tick(11, Some(&subject(SECOND, 11, true)));
    // T shows it before S has heard that T holds it: S still holds it, frozen.
    hear(&mut s_from_t, &mut s_ghosts, &s_floors, &mut t.sender, &said, 11);
    assert!(s_ghosts.is_empty());
    // What S said before comes late to T, which holds the entity.
    let late = s.tick(11, None);
    hear(&mut t_from_s, &mut t_ghosts, &t_floors, &mut s.sender, &late, 11);
    assert!(t_ghosts.is_empty());

    // S hears of it: the entity goes on as a ghost, from where S left it.
    assert!(s_floors.gave_away(id, peer));
    s_ghosts.adopt(&subject(SECOND, 10, false), SECOND, Tick(10));
    let late = s.tick(12, Some(&subject(SECOND, 12, false)));
    hear(&mut t_from_s, &mut t_ghosts, &t_floors, &mut s.sender, &late, 12);
    let mut xs = Vec::new();
    for tick in 12..=60 {
        let said = t.tick(tick, Some(&subject(SECOND, tick, true)));
        hear(&mut s_from_t, &mut s_ghosts, &s_floors, &mut t.sender, &said, tick);
        let shown_at = s_ghosts.display_time(Tick(tick).start(INTERVAL));
        xs.push(s_ghosts.ghost_at(ENTITY, shown_at).unwrap().motion.position.x);
    }
    assert_eq!(s_ghosts.take_events(), [], "to S's game it was there all the time");
    assert_eq!(t_ghosts.take_events(), [], "to T's game it was there all the time");
    for pair in xs.windows(2) {
        assert!((pair[1] - pair[0] - 0.198).abs() < 0.02, "{xs:?}");
    }
}

#[test]
fn what_was_handed_over_and_is_shown_by_nobody_vanishes_in_time() {
    let mut ghosts = table();
    ghosts.adopt(&subject(SECOND, 10, false), SECOND, Tick(10));
    let linger_ticks = ghosts.settings().linger_ticks;
    ghosts.tick(Tick(10 + linger_ticks - 1));
    assert_eq!(ghosts.len(), 1);
    ghosts.tick(Tick(10 + linger_ticks));
    assert_eq!(ghosts.take_events(), [GhostEvent::Vanished { entity: ENTITY }]);
}

#[test]
fn a_thawed_entity_stays_its_ghost_at_the_next_epoch() {
    let mut s = Teller::new(1);
    let mut from_s = GhostReceiver::new(1, 1);
    let (mut ghosts, floors) = (table(), AuthorityTable::new());
    for tick in 1..=20 {
        // Frozen from tick 8 to 11: not published. Then S goes on at the next step.
        let epoch = if tick < 12 { AuthorityEpoch::FIRST } else { SECOND };
        let subject = subject(epoch, tick, true);
        let said = s.tick(tick, Some(&subject).filter(|_| !(8..12).contains(&tick)));
        hear(&mut from_s, &mut ghosts, &floors, &mut s.sender, &said, tick);
        if (8..12).contains(&tick) {
            assert_eq!(
                ghosts.staleness_ticks(ENTITY, Tick(tick)),
                Some(tick - 7),
                "nobody vouches for the frozen"
            );
        }
    }
    assert_eq!(ghosts.take_events(), [GhostEvent::Appeared { entity: ENTITY }]);
    assert_eq!(ghosts.ghost_at(ENTITY, Time::ZERO).unwrap().epoch, SECOND);
}

/// T has told of it and says that it is gone. Whether a late word of S, who had it before, brings it back.
fn a_late_appear_after_the_end(why: VanishReason) {
    let (mut s, mut t) = (Teller::new(1), Teller::new(2));
    let (mut from_s, mut from_t) = (GhostReceiver::new(1, 1), GhostReceiver::new(2, 2));
    let (mut ghosts, floors) = (table(), AuthorityTable::new());
    let late = s.tick(5, Some(&subject(AuthorityEpoch::FIRST, 5, true)));
    for tick in 6..9 {
        let said = t.tick(tick, Some(&subject(SECOND, tick, true)));
        hear(&mut from_t, &mut ghosts, &floors, &mut t.sender, &said, tick);
    }
    t.scene.remove(ENTITY, why, SECOND);
    let said = t.tick(9, None);
    hear(&mut from_t, &mut ghosts, &floors, &mut t.sender, &said, 9);
    let gone = [GhostEvent::Appeared { entity: ENTITY }, GhostEvent::Vanished { entity: ENTITY }];
    assert_eq!(ghosts.take_events(), gone);
    for tick in 10..=200 {
        let said = if tick == 10 { &late } else { &Said::default() };
        hear(&mut from_s, &mut ghosts, &floors, &mut s.sender, said, tick);
        assert_eq!((ghosts.len(), ghosts.take_events()), (0, vec![]), "in tick {tick}, {why:?}");
    }
}

#[test]
fn a_late_appear_of_the_old_authority_brings_back_nothing_that_has_ended() {
    a_late_appear_after_the_end(VanishReason::Ended);
}

#[test]
fn a_late_appear_of_the_old_authority_brings_back_nothing_that_is_out_of_sight() {
    a_late_appear_after_the_end(VanishReason::OutOfSight);
}

/// N hears that S has handed it over only long after T has taken it and told of its end.
#[test]
fn what_was_said_before_a_handoff_brings_back_nothing_that_has_ended_since() {
    let (mut s, mut t) = (Teller::new(1), Teller::new(2));
    let (mut from_s, mut from_t) = (GhostReceiver::new(1, 1), GhostReceiver::new(2, 2));
    let (mut ghosts, floors) = (table(), AuthorityTable::new());
    for tick in 1..=10 {
        let said = s.tick(tick, Some(&subject(AuthorityEpoch::FIRST, tick, true)));
        hear(&mut from_s, &mut ghosts, &floors, &mut s.sender, &said, tick);
    }
    let last = s.tick(11, Some(&subject(AuthorityEpoch::FIRST, 11, true)));
    let handed_over = s.tick(12, Some(&subject(SECOND, 12, false)));
    for tick in 12..=14 {
        let said = t.tick(tick, Some(&subject(SECOND, tick, true)));
        hear(&mut from_t, &mut ghosts, &floors, &mut t.sender, &said, tick);
        let said = if tick == 13 { &last } else { &Said::default() };
        hear(&mut from_s, &mut ghosts, &floors, &mut s.sender, said, tick);
    }
    t.scene.remove(ENTITY, VanishReason::Ended, SECOND);
    let said = t.tick(15, None);
    hear(&mut from_t, &mut ghosts, &floors, &mut t.sender, &said, 15);
    let gone = [GhostEvent::Appeared { entity: ENTITY }, GhostEvent::Vanished { entity: ENTITY }];
    assert_eq!(ghosts.take_events(), gone);
    for tick in 16..=200 {
        let said = if tick == 100 { &handed_over } else { &Said::default() };
        hear(&mut from_s, &mut ghosts, &floors, &mut s.sender, said, tick);
        assert_eq!((ghosts.len(), ghosts.take_events()), (0, vec![]), "in tick {tick}");
    }
}

#[test]
fn what_has_ended_stays_gone_at_its_epoch_and_what_is_out_of_sight_comes_back_at_it() {
    for why in [VanishReason::Ended, VanishReason::OutOfSight] {
        let (mut t, mut u) = (Teller::new(1), Teller::new(2));
        let (mut from_t, mut from_u) = (GhostReceiver::new(1, 1), GhostReceiver::new(2, 2));
        let (mut ghosts, floors) = (table(), AuthorityTable::new());
        let said = t.tick(1, Some(&subject(SECOND, 1, true)));
        hear(&mut from_t, &mut ghosts, &floors, &mut t.sender, &said, 1);
        t.scene.remove(ENTITY, why, SECOND);
        let said = t.tick(2, None);
        hear(&mut from_t, &mut ghosts, &floors, &mut t.sender, &said, 2);
        assert!(ghosts.is_empty());
        let said = u.tick(3, Some(&subject(SECOND, 3, true)));
        hear(&mut from_u, &mut ghosts, &floors, &mut u.sender, &said, 3);
        assert_eq!(ghosts.len(), usize::from(why == VanishReason::OutOfSight), "{why:?}");
        // A recovery may bring it back, at an epoch of its own.
        let restored = AuthorityEpoch { generation: 1, step: 0 };
        for tick in 4..8 {
            let said = u.tick(tick, Some(&subject(restored, tick, true)));
            hear(&mut from_u, &mut ghosts, &floors, &mut u.sender, &said, tick);
        }
        assert_eq!(ghosts.ghost_at(ENTITY, Time::ZERO).unwrap().epoch, restored);
    }
}

/// S holds it, frozen, while T has it already and ends it: then S hears that T has it.
#[test]
fn what_ended_before_its_source_heard_who_holds_it_is_no_ghost_there() {
    let mut t = Teller::new(2);
    let mut from_t = GhostReceiver::new(2, 2);
    let (mut ghosts, mut floors) = (table(), AuthorityTable::new());
    let peer = Peer { node: NodeId::from_u128(2), incarnation: Incarnation(1) };
    assert!(floors.spawn(ENTITY));
    let id = floors.freeze(ENTITY, AuthorityEpoch::FIRST, peer).unwrap();
    let said = t.tick(1, Some(&subject(id.epoch, 1, true)));
    hear(&mut from_t, &mut ghosts, &floors, &mut t.sender, &said, 1);
    t.scene.remove(ENTITY, VanishReason::Ended, id.epoch.next_step());
    let said = t.tick(2, None);
    hear(&mut from_t, &mut ghosts, &floors, &mut t.sender, &said, 2);
    assert!(floors.gave_away(id, peer));
    ghosts.adopt(&subject(id.epoch, 0, false), id.epoch, Tick(2));
    assert!(ghosts.is_empty());
}

#[test]
fn a_late_sample_of_the_old_authority_changes_neither_place_nor_epoch() {
    let (mut s, mut t) = (Teller::new(1), Teller::new(2));
    let (mut from_s, mut from_t) = (GhostReceiver::new(1, 1), GhostReceiver::new(2, 2));
    let (mut ghosts, floors) = (table(), AuthorityTable::new());
    for tick in 1..=10 {
        let said = s.tick(tick, Some(&subject(AuthorityEpoch::FIRST, tick, true)));
        hear(&mut from_s, &mut ghosts, &floors, &mut s.sender, &said, tick);
    }
    let mut aside = subject(AuthorityEpoch::FIRST, 11, true);
    aside.motion.position.y = 40.0;
    let samples = s.sender.stats().samples;
    let late = s.tick(11, Some(&aside));
    assert_eq!(s.sender.stats().samples, samples + 1);
    for tick in 12..=14 {
        let said = t.tick(tick, Some(&subject(SECOND, tick, true)));
        hear(&mut from_t, &mut ghosts, &floors, &mut t.sender, &said, tick);
    }
    let shown = |ghosts: &GhostTable| {
        let at = |tick| ghosts.ghost_at(ENTITY, Tick(tick).start(INTERVAL)).unwrap();
        (at(11).motion, at(12).motion, at(14).motion, at(16).motion, at(14).epoch, at(14).vouched)
    };
    let before = shown(&ghosts);
    hear(&mut from_s, &mut ghosts, &floors, &mut s.sender, &late, 14);
    assert_eq!(from_s.stats().samples, samples + 1, "it was taken in");
    assert_eq!((shown(&ghosts), before.4), (before, SECOND));
    assert_eq!(ghosts.take_events(), [GhostEvent::Appeared { entity: ENTITY }]);
}
