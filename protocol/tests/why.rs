//! Who asks why an entity is where it is hears where that is, what delays it, and what became of it.

#![allow(clippy::unwrap_used, reason = "a helper that panics fails the test that called it")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Mesh, node_id};
use selvedge_protocol::coordinator::{Answered, CoordinatorInput, EpisodeKind, Whom, WhyAccount};
use selvedge_protocol::grid::Position;
use selvedge_protocol::id::{AuthorityEpoch, EntityId};
use selvedge_protocol::limits::INQUIRIES_MAX;
use selvedge_protocol::wire::{
    Awaited, Delay, Message, RefuseReason, Setback, StayStanding, Whereabouts, WhyMessage,
};

const ENTITY: EntityId = EntityId::from_u128(99);

fn ask(mesh: &mut Mesh, whom: Whom) {
    let request = mesh.accounts.len() as u64;
    mesh.coordinator.handle(CoordinatorInput::WhyAsked { request, whom }, mesh.now);
    mesh.settle();
}

fn why(mesh: &mut Mesh) -> WhyAccount {
    let before = mesh.accounts.len();
    ask(mesh, Whom::Entity(ENTITY));
    assert_eq!(mesh.accounts.len(), before + 1, "it is answered at once");
    *mesh.accounts[before].clone().unwrap()
}

fn delays(mesh: &mut Mesh) -> Vec<Delay> {
    why(mesh).delays.into_iter().map(|reason| reason.delay).collect()
}

fn spawned(x: f64, speed: f32) -> Mesh {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    let tick = mesh.tick;
    mesh.hosts[0].spawn(ENTITY, x, speed, tick);
    mesh.run(10);
    mesh
}

#[test]
fn what_stands_far_from_any_border_is_said_to_stand_there() {
    let mut mesh = spawned(50.0, 0.0);
    let account = why(&mut mesh);
    let stay = account.stay.unwrap();
    assert_eq!((stay.position_m, stay.standing), ([50.0, 50.0, 0.0], StayStanding::Simulated));
    assert_eq!((stay.epoch, stay.tick), (AuthorityEpoch::FIRST, mesh.tick));
    assert_eq!(account.listed.unwrap().holder, mesh.hosts[0].node.me().unwrap());
    assert_eq!(account.asked.unwrap().answer, Answered::Told);
    let [reason] = account.delays.as_slice() else { panic!("{account:?}") };
    assert!(matches!(reason.delay, Delay::NoBorderNear { .. }), "{reason:?}");
    assert!(reason.says.contains("not near any border"), "{reason:?}");
    assert_eq!(account.history[0].episode.kind, EpisodeKind::Spawned);
}

#[test]
fn pins_and_who_rides_with_it_are_named() {
    let rider = EntityId::from_u128(100);
    let mut mesh = spawned(98.5, 0.0);
    let (tick, now) = (mesh.tick, mesh.now);
    mesh.hosts[0].spawn(rider, 20.0, 0.0, tick);
    mesh.filter = Box::new(
        move |_, _, message| matches!(message, Message::Precopy { reservation } if reservation.entity == rider),
    );
    let roster = mesh.hosts[0].roster.as_mut().unwrap();
    roster.attach(rider, ENTITY).unwrap();
    roster.pin(rider, "cutscene", Duration::from_secs(10), now).unwrap();
    mesh.run(30);
    let account = why(&mut mesh);
    let named = |wanted: &dyn Fn(&Delay) -> bool| account.delays.iter().any(|reason| wanted(&reason.delay));
    let pinned = |delay: &Delay| matches!(delay, Delay::Pinned { entity, name, for_us: 1.. } if *entity == rider && name == "cutscene");
    assert!(named(&pinned), "{account:?}");
    let to = node_id(1);
    assert!(named(&|delay| *delay == Delay::AwaitsMember { member: rider, to }), "{account:?}");
    let said: Vec<&str> = account.delays.iter().map(|reason| &*reason.says).collect();
    assert!(said.iter().any(|said| said.contains("is pinned for") && said.contains("cutscene")), "{said:?}");

    ask(&mut mesh, Whom::Entity(rider));
    let account = mesh.accounts.last().unwrap().clone().unwrap();
    let follows = account.delays.iter().any(|reason| reason.delay == Delay::Follows { leader: ENTITY });
    assert!(follows, "{account:?}");
}

#[test]
fn each_step_of_a_crossing_is_told_apart() {
    let mut mesh = spawned(60.0, 0.0);
    mesh.run(10);
    mesh.filter = Box::new(|_, _, message| {
        matches!(message, Message::PrepareRequest(_) | Message::PrepareDirect(_) | Message::Transfer { .. })
    });
    mesh.hosts[0].game.points.get_mut(&ENTITY).unwrap().motion.velocity.x = 90.0;
    mesh.run(1);
    let to = node_id(1);
    let awaits = |delays: Vec<Delay>| match delays.as_slice() {
        [Delay::Preparing { to: asked, awaits, .. }] if *asked == to => *awaits,
        other => panic!("{other:?}"),
    };
    assert_eq!(awaits(delays(&mut mesh)), Awaited::Coordinator);
    mesh.hosts[0].game.points.get_mut(&ENTITY).unwrap().motion.velocity.x = 0.0;
    mesh.hosts[0].game.points.get_mut(&ENTITY).unwrap().motion.position.x = 98.5;
    mesh.run(5);
    assert_eq!(awaits(delays(&mut mesh)), Awaited::TargetDirectly);
    mesh.filter =
        Box::new(|_, _, message| matches!(message, Message::Transfer { .. } | Message::Warmed { .. }));
    mesh.run(10);
    assert!(matches!(delays(&mut mesh)[..], [Delay::Copying { .. }]), "{:?}", delays(&mut mesh));
    mesh.filter = Box::new(|_, _, message| matches!(message, Message::Transfer { .. }));
    mesh.run(40);
    let ready = |delay: &Delay| matches!(delay, Delay::Ready { crossing_in_us: Some(_), .. });
    assert!(delays(&mut mesh).iter().any(ready), "{:?}", delays(&mut mesh));

    mesh.hosts[0].game.points.get_mut(&ENTITY).unwrap().motion.position.x = 100.5;
    mesh.run(1);
    let within = |delay: &Delay| matches!(delay, Delay::WithinHysteresis { to: it, .. } if *it == to);
    assert!(delays(&mut mesh).iter().any(within), "{:?}", delays(&mut mesh));

    mesh.hosts[0].game.points.get_mut(&ENTITY).unwrap().motion.position.x = 103.0;
    mesh.run(4);
    let account = why(&mut mesh);
    let frozen = account.stay.unwrap().standing;
    assert!(
        matches!(frozen, StayStanding::Frozen { to: it, for_us } if it == to && for_us > 0),
        "{account:?}"
    );
    assert!(matches!(account.delays[0].delay, Delay::InTransfer { cancelling: false, .. }), "{account:?}");
    // The target answers `Cancelled`, and the next attempt is due after a pause.
    mesh.run(35);
    let after = |delays: &[Delay]| {
        delays.iter().find_map(|delay| match delay {
            Delay::BackedOff { after, past_border, .. } => Some((*after, *past_border)),
            _ => None,
        })
    };
    assert_eq!(after(&delays(&mut mesh)), Some((Setback::Cancelled, true)));
    assert_eq!(why(&mut mesh).history[0].episode.kind, EpisodeKind::Aborted);

    mesh.filter = Box::new(|_, _, _| false);
    mesh.run(60);
    let account = why(&mut mesh);
    assert_eq!(account.asked.unwrap().node, to);
    let handoff = &account.history[0];
    let phases = handoff.episode.phases.unwrap();
    assert_eq!((handoff.episode.from, handoff.episode.to), (Some(node_id(0)), Some(to)));
    assert_eq!((handoff.missed_ticks, phases.precopy_us.is_some()), (Some(0), phases.warm));
    assert_eq!(handoff.episode.epoch, account.stay.unwrap().epoch);
    assert!(account.history.iter().zip(&account.history[1..]).all(|(new, old)| new.ago_us <= old.ago_us));
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    let mut mesh = spawned(50.0, 0.0);
    mesh.hosts[1].game.refuse = true;
    mesh.hosts[0].game.points.get_mut(&ENTITY).unwrap().motion.position = Position::new(150.0, 50.0, 0.0);
    let mut last = Vec::new();
    let refused = (0..60).find_map(|_| {
        mesh.run(1);
        last = delays(&mut mesh);
        last.iter().find_map(|delay| match delay {
            Delay::BackedOff { after, past_border: true, .. } => Some(*after),
            _ => None,
        })
    });
    assert!(
        matches!(
            refused,
            Some(Setback::PrepareRefused(RefuseReason::Game) | Setback::TransferRefused(RefuseReason::Game))
        ),
        "{refused:?}, at last {last:?}"
    );
}

#[test]
fn where_the_node_is_silent_what_the_coordinator_knows_is_told_with_its_age() {
    let mut mesh = spawned(50.0, 0.0);
    mesh.filter = Box::new(|_, _, message| matches!(message, Message::Why(_)));
    mesh.run(3);
    ask(&mut mesh, Whom::Entity(ENTITY));
    assert!(mesh.accounts.is_empty(), "it is given time");
    mesh.run(90);
    let account = mesh.accounts.pop().unwrap().unwrap();
    assert_eq!((account.asked.unwrap().answer, account.stay), (Answered::Silent, None));
    assert!(account.asked.unwrap().alive && account.listed.is_some());
    assert!(Duration::from_micros(account.listed.unwrap().told_ago_us) >= Duration::from_secs(2));
    assert!(!account.history.is_empty());
    // One that can't be reached at all is not waited for.
    mesh.crash(0);
    let account = why(&mut mesh);
    assert_eq!((account.asked.unwrap().answer, account.asked.unwrap().linked), (Answered::Silent, false));
}

#[test]
fn what_nobody_has_told_of_is_unknown_and_what_is_no_more_is_told_with_its_end() {
    let mut mesh = spawned(50.0, 0.0);
    for whom in [Whom::Entity(EntityId::from_u128(5)), Whom::Player("nobody".to_owned())] {
        ask(&mut mesh, whom);
        assert_eq!(mesh.accounts.pop(), Some(None));
    }
    let tick = mesh.tick;
    mesh.hosts[0].roster.as_mut().unwrap().despawn(ENTITY, tick).unwrap();
    mesh.hosts[0].game.points.remove(&ENTITY);
    mesh.run(10);
    let account = why(&mut mesh);
    assert_eq!(account.ended.unwrap().by, node_id(0));
    assert_eq!((account.listed, account.stay), (None, None));
    assert_eq!(account.history[0].episode.kind, EpisodeKind::Despawned);
}

#[test]
fn a_player_is_found_by_name() {
    let mut mesh = Mesh::row(2);
    mesh.enter("ada");
    mesh.run(10);
    ask(&mut mesh, Whom::Player("ada".to_owned()));
    let account = mesh.accounts.pop().unwrap().unwrap();
    assert_eq!((account.entity, account.name.as_deref()), (mesh.the_player_entity(), Some("ada")));
    assert!(account.stay.unwrap().client);
}

fn says(mesh: &mut Mesh, from: usize, request: u64, whereabouts: Whereabouts) {
    let message = Message::Why(WhyMessage::Answer { request, whereabouts });
    let input =
        CoordinatorInput::Message { from: node_id(from), incarnation: None, message, blob: Bytes::new() };
    mesh.coordinator.handle(input, mesh.now);
    mesh.settle();
}

#[test]
fn nodes_that_lie_about_it_make_nothing_grow_and_nobody_wait_for_ever() {
    let mut mesh = spawned(50.0, 0.0);
    let peers = [mesh.hosts[0].node.me().unwrap(), mesh.hosts[1].node.me().unwrap()];
    // Nobody asked, and it isn't theirs to say.
    says(&mut mesh, 1, 7, Whereabouts::NotHere);
    mesh.filter = Box::new(|_, _, message| matches!(message, Message::Why(_)));
    ask(&mut mesh, Whom::Entity(ENTITY));
    says(&mut mesh, 1, 0, Whereabouts::NotHere);
    let told = mesh.to_nodes.len();
    for turn in 0..100 {
        says(&mut mesh, turn % 2, 0, Whereabouts::Moved { to: peers[(turn + 1) % 2] });
    }
    assert!(mesh.to_nodes.len() - told < 20, "they are asked in circles");
    mesh.run(90);
    assert_eq!(mesh.accounts.pop().unwrap().unwrap().asked.unwrap().answer, Answered::NotHere);

    for request in 0..2 * INQUIRIES_MAX as u64 {
        let whom = Whom::Entity(ENTITY);
        mesh.coordinator.handle(CoordinatorInput::WhyAsked { request, whom }, mesh.now);
    }
    mesh.settle();
    assert_eq!(mesh.accounts.len(), INQUIRIES_MAX, "no more wait");
    mesh.run(90);
    assert_eq!(mesh.accounts.len(), 2 * INQUIRIES_MAX);
}

/// A long sentence is no use where a number is wrong: each delay names its node and its time.
#[test]
fn every_delay_is_a_sentence_of_its_own() {
    let (to, for_us) = (node_id(3), 1_500_000);
    let reason = Setback::PrepareRefused(RefuseReason::Overloaded);
    let all = [
        Delay::Foreseen { to, crossing_in_us: for_us },
        Delay::Preparing { to, for_us, awaits: Awaited::Coordinator },
        Delay::Copying { to, for_us },
        Delay::Ready { to, crossing_in_us: Some(for_us) },
        Delay::BackedOff { to, for_us, after: reason, past_border: true },
        Delay::InTransfer { to, for_us, cancelling: false },
        Delay::InTransfer { to, for_us, cancelling: true },
    ];
    let said: std::collections::BTreeSet<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), all.len());
    for sentence in said {
        assert!(sentence.contains(&to.to_string()) && sentence.contains("1500 ms"), "{sentence}");
    }
}
