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
