//! The same machinery for a player in a crowd of 500: it degrades by rate, the farthest first, and drops nobody near.

use core::time::Duration;
use std::collections::BTreeMap;

use selvedge_protocol::ghost::{
    GhostEvent, GhostTable, NoFloors, Scene, SenderSettings, SightRules, Subject, TableSettings, ViewInterest,
};
use selvedge_protocol::grid::{Position, Velocity};
use selvedge_protocol::id::EntityId;
use selvedge_protocol::time::{Tick, Time};

use crate::crowd::{Crowd, Walker};
use crate::link::{Link, Weather};

const INTERVAL_US: u64 = 33_333;
const INTERVAL: Duration = Duration::from_micros(INTERVAL_US);

#[test]
fn a_crowd_of_500_degrades_by_rate_and_the_farthest_first() {
    const BUDGET_BYTES: usize = 900;
    let settings = SenderSettings { budget_bytes: BUDGET_BYTES, ..SenderSettings::for_client() };
    // Everybody wants a sample in nearly every tick: five times this budget.
    let mut crowd = Crowd::restless(500, 50.0, 50.0, 3);
    let centre = Position::new(-25.0, 25.0, 0.0);
    let mut scene = Scene::new(INTERVAL);
    let mut view = ViewInterest::new(SightRules::within(60.0));
    let weather = Weather { loss: 0.01, double: 0.0, delay_us: (20_000, 30_000) };
    let mut link = Link::new(5, settings, weather, INTERVAL_US, 5);
    let mut table = GhostTable::new(TableSettings {
        interval: INTERVAL,
        display_lag_ticks: 3,
        ..TableSettings::default()
    });
    let mut waits: BTreeMap<EntityId, u64> = BTreeMap::new();
    let (mut near, mut far) = ((0, 0), (0, 0));
    let mut longest_near = 0;
    let mut bytes_before = 0;
    for tick in 1..=450 {
        let start = tick * INTERVAL_US;
        link.deliver(&mut table, &NoFloors, start);
        link.receiver.tick(&mut table, &NoFloors, Tick(tick));
        table.tick(Tick(tick));
        let events = table.take_events();
        if tick > 150 {
            assert_eq!(events, [], "nobody is dropped, not for a moment");
            assert_eq!(table.len(), crowd.walkers.len());
            for walker in &crowd.walkers {
                let entity = walker.subject.entity;
                let staleness = table.staleness_ticks(entity, Tick(tick)).unwrap();
                let longest = waits.entry(entity).or_default();
                *longest = staleness.max(*longest);
                let distance_m = walker.subject.motion.position.distance(centre);
                if distance_m < 8.0 {
                    longest_near = staleness.max(longest_near);
                }
                let count = match distance_m {
                    ..8.0 => &mut near,
                    25.0.. => &mut far,
                    _ => continue,
                };
                *count = (count.0 + staleness, count.1 + 1);
            }
        }
        crowd.step();
        scene.begin(Tick(tick));
        crowd.walkers.iter().for_each(|walker| scene.put(&walker.subject));
        link.deliver(&mut table, &NoFloors, start + 5_000);
        let before = link.sender.stats();
        link.send(&scene, view.look(&scene, centre, None), start + 5_000);
        let after = link.sender.stats();
        let datagrams = (after.datagrams - before.datagrams) * 32;
        let spent = after.datagram_bytes - before.datagram_bytes + datagrams + after.stream_bytes
            - before.stream_bytes;
        // At first everybody appears.
        if tick > 60 {
            assert!(spent as usize <= BUDGET_BYTES + 100, "{spent} bytes in tick {tick}");
        }
        if tick == 20 {
            assert!(table.len() > 450, "{} of 500 have appeared", table.len());
        }
        if tick == 150 {
            bytes_before = link.udp_bytes;
        }
    }
    let mean = |(sum, count): (u64, u64)| sum as f64 / count as f64;
    let longest = waits.values().max().unwrap();
    println!(
        "near {:.1} ticks (longest {longest_near}), far {:.1} ticks, longest {longest} ticks, {} bytes a tick",
        mean(near),
        mean(far),
        (link.udp_bytes - bytes_before) / 300
    );
    assert!(link.sender.stats().deferred > 0, "the budget was never short");
    assert!(mean(near) * 1.5 < mean(far), "near {}, far {}", mean(near), mean(far));
    // At as many as that it would have vanished.
    assert!(*longest < table.settings().stale_ticks, "somebody waited {longest} ticks");
    assert!(longest_near <= 20, "somebody near waited {longest_near} ticks");
}

#[test]
fn even_what_matters_least_gets_its_turn() {
    // A budget for about ten samples a tick, and 300 who err all the time.
    let settings = SenderSettings { budget_bytes: 450, ..SenderSettings::default() };
    let mut crowd = Crowd::new(300, 95.0, 10.0, 8);
    let mut scene = Scene::new(INTERVAL);
    let mut view = ViewInterest::new(SightRules::within(200.0));
    let mut link = Link::new(6, settings, Weather::FAIR, INTERVAL_US, 6);
    let mut table = GhostTable::new(TableSettings { interval: INTERVAL, ..TableSettings::default() });
    let mut longest = 0;
    for tick in 1..=900 {
        link.deliver(&mut table, &NoFloors, tick * INTERVAL_US);
        link.receiver.tick(&mut table, &NoFloors, Tick(tick));
        table.tick(Tick(tick));
        for walker in crowd.walkers.iter_mut() {
            // A new velocity in each tick: nobody is ever foreseen.
            let wild = ((tick * 7 + walker.subject.entity.as_u128() as u64) % 13) as f32 * 3.0 - 18.0;
            walker.subject.motion.velocity.x = wild;
            walker.subject.motion.position.x += f64::from(wild) / 30.0;
            if tick > 400 {
                let staleness = table.staleness_ticks(walker.subject.entity, Tick(tick));
                longest = longest.max(staleness.expect("it would have vanished, had it waited for longer"));
            }
        }
        scene.begin(Tick(tick));
        crowd.walkers.iter().for_each(|walker| scene.put(&walker.subject));
        link.send(&scene, view.look(&scene, Position::default(), None), tick * INTERVAL_US + 5_000);
    }
    println!("longest {longest} ticks");
    assert!(longest < table.settings().stale_ticks, "somebody waited {longest} ticks");
    assert!(table.display_time(Time::from_micros(100_000)) > Time::ZERO);
}

/// Sixteen lanes want more bytes than such a budget has, before anybody is sampled.
#[test]
fn a_budget_below_what_all_lanes_take_starves_nobody() {
    let settings = SenderSettings { budget_bytes: 400, ..SenderSettings::for_client() };
    // All stand but every tenth.
    let mut crowd = Crowd::restless(1_000, 60.0, 60.0, 4);
    let moves = |walker: &Walker| walker.subject.entity.as_u128() % 10 == 1;
    let mut scene = Scene::new(INTERVAL);
    let mut view = ViewInterest::new(SightRules::within(200.0));
    let mut link = Link::new(7, settings, Weather::FAIR, INTERVAL_US, 7);
    let mut table = GhostTable::new(TableSettings { interval: INTERVAL, ..TableSettings::default() });
    let (mut longest, mut warm) = (0, None);
    for tick in 1..=900 {
        link.deliver(&mut table, &NoFloors, tick * INTERVAL_US);
        link.receiver.tick(&mut table, &NoFloors, Tick(tick));
        table.tick(Tick(tick));
        let vanished =
            table.take_events().iter().filter(|event| matches!(event, GhostEvent::Vanished { .. })).count();
        if table.len() == 1_000 && warm.is_none() {
            warm = Some(tick);
        }
        // They appear far quicker than each can get its first sample, and some are out of sight again meanwhile.
        if warm.is_some_and(|warm| tick > warm + 150) {
            assert_eq!(vanished, 0, "in tick {tick}");
            let stale = |walker: &Walker| table.staleness_ticks(walker.subject.entity, Tick(tick)).unwrap();
            longest = crowd.walkers.iter().map(stale).max().unwrap().max(longest);
        }
        let before: Vec<Subject> = crowd.walkers.iter().map(|walker| walker.subject).collect();
        crowd.step();
        for (walker, before) in crowd.walkers.iter_mut().zip(before) {
            if !moves(walker) {
                walker.subject = before;
                walker.subject.motion.velocity = Velocity::default();
            }
        }
        scene.begin(Tick(tick));
        crowd.walkers.iter().for_each(|walker| scene.put(&walker.subject));
        let sent = link.sender.stats();
        link.send(
            &scene,
            view.look(&scene, Position::new(-30.0, 30.0, 0.0), None),
            tick * INTERVAL_US + 5_000,
        );
        let bytes = link.sender.stats().datagram_bytes - sent.datagram_bytes;
        assert!(bytes <= 400 + 100, "{bytes} bytes in tick {tick}");
    }
    println!("all in sight in tick {warm:?}, longest {longest} ticks");
    assert!(warm.is_some_and(|warm| warm < 600), "everybody comes into sight: {} have", table.len());
    assert!(longest < table.settings().stale_ticks, "somebody waited {longest} ticks");
}

#[test]
fn the_most_impatient_is_sent_whatever_the_budget() {
    let settings = SenderSettings { budget_bytes: 1, ..SenderSettings::default() };
    let mut crowd = Crowd::restless(20, 20.0, 20.0, 4);
    let mut scene = Scene::new(INTERVAL);
    let mut view = ViewInterest::new(SightRules::within(200.0));
    let mut link = Link::new(8, settings, Weather::FAIR, INTERVAL_US, 8);
    let mut table = GhostTable::new(TableSettings { interval: INTERVAL, ..TableSettings::default() });
    for tick in 1..=200 {
        link.deliver(&mut table, &NoFloors, tick * INTERVAL_US);
        link.receiver.tick(&mut table, &NoFloors, Tick(tick));
        table.tick(Tick(tick));
        if tick > 80 {
            assert_eq!(table.len(), 20);
        }
        crowd.step();
        scene.begin(Tick(tick));
        crowd.walkers.iter().for_each(|walker| scene.put(&walker.subject));
        let before = link.sender.stats().samples;
        link.send(&scene, view.look(&scene, Position::default(), None), tick * INTERVAL_US + 5_000);
        if tick > 80 {
            assert_eq!(link.sender.stats().samples, before + 1);
        }
    }
}
