//! One behaviour of the sender a test.

use std::time::Duration;

use selvedge_protocol::id::InputSeq;
use selvedge_protocol::limits::COPIES_PER_PART_MAX;
use selvedge_protocol::standby::SenderConfig;
use selvedge_protocol::time::Time;
use selvedge_protocol::wire::StandbyMessage;

use crate::pair::{ME, PERIOD, Pair, Thing, entity, peer};

const BUDDY: selvedge_protocol::id::Peer = peer(2);
const NEXT: selvedge_protocol::id::Peer = peer(3);

const fn is_ack(message: &StandbyMessage) -> bool {
    matches!(message, StandbyMessage::Ack { .. })
}

#[test]
fn a_cut_that_misses_a_part_changes_nothing_and_the_next_one_brings_it_all() {
    let mut pair = Pair::holding((0..60).map(|id| (id, 1.0)));
    pair.run(PERIOD);
    pair.assert_whole(BUDDY);
    let before = pair.kept(BUDDY);
    assert_eq!(before.len(), 60);
    for thing in pair.things.values_mut() {
        *thing = Thing { x: 2.0, version: 2, ..*thing };
    }
    pair.sent.clear();
    pair.run_losing(PERIOD / 2, |message| matches!(message, StandbyMessage::Part { index: 1, .. }));
    let parts = pair.sent.iter().filter(|(_, message, _)| matches!(message, StandbyMessage::Part { .. }));
    assert!(parts.count() > 2, "the cut has several parts");
    assert_eq!(pair.kept(BUDDY), before, "nothing of it counts");
    pair.run(PERIOD * 3);
    assert_eq!(pair.lost.len(), 1);
    assert_eq!(pair.kept(BUDDY), pair.things);
}

#[test]
fn only_what_changed_travels_and_of_that_only_the_components_that_did() {
    let mut pair = Pair::holding([(1, 1.0), (2, 2.0)]);
    pair.run(PERIOD);
    let whole = pair.acked.last().unwrap().bytes;
    assert!(whole > 2 * 4096);
    pair.run(PERIOD);
    pair.take_travelled();
    pair.run(PERIOD);
    assert!(pair.take_travelled().is_empty(), "nothing has changed");
    let covered: Vec<_> = pair.acked.last().unwrap().covered.iter().map(|covered| covered.entity).collect();
    assert_eq!(covered, [entity(1), entity(2)], "what is unchanged is covered nevertheless");
    pair.things.get_mut(&entity(2)).unwrap().x = 3.0;
    pair.run(PERIOD);
    assert_eq!(pair.take_travelled(), [entity(2)]);
    assert!(pair.acked.last().unwrap().bytes < 1024, "the bag stays at home");
    pair.assert_whole(BUDDY);
}

#[test]
fn after_a_lost_acknowledgement_what_changed_back_is_sent_again() {
    let mut pair = Pair::holding([(1, 1.0)]);
    pair.run(PERIOD * 3);
    pair.things.get_mut(&entity(1)).unwrap().x = 2.0;
    pair.run_losing(PERIOD / 2, is_ack);
    assert_eq!(pair.kept(BUDDY)[&entity(1)].x, 2.0, "applied, though the sender doesn't know");
    pair.things.get_mut(&entity(1)).unwrap().x = 1.0;
    pair.run(PERIOD * 3);
    assert_eq!(pair.kept(BUDDY)[&entity(1)].x, 1.0);
}

#[test]
fn what_lived_only_in_a_cut_that_was_not_acknowledged_does_not_stay() {
    let mut pair = Pair::holding([(1, 1.0)]);
    pair.run(PERIOD);
    pair.things.insert(entity(2), Thing::new(5.0));
    pair.run_losing(PERIOD / 2, is_ack);
    assert!(pair.kept(BUDDY).contains_key(&entity(2)));
    pair.things.remove(&entity(2));
    pair.run(PERIOD * 3);
    assert_eq!(pair.kept(BUDDY), pair.things, "a thing that is gone would be restored");
}

#[test]
fn what_is_gone_does_not_come_back_with_a_late_part_or_a_doubled_end() {
    let mut pair = Pair::holding([(1, 1.0), (2, 2.0)]);
    let mut old = Vec::new();
    pair.run_losing(PERIOD / 2, |message| {
        old.push(message.clone());
        false
    });
    let blob = {
        let mut blob = Vec::new();
        for id in [1, 2] {
            let none = selvedge_protocol::snapshot::ComponentVersions::new();
            blob.extend_from_slice(&pair.things[&entity(id)].capture(entity(id), &none).bytes);
        }
        bytes::Bytes::from(blob)
    };
    pair.things.remove(&entity(2));
    pair.run(PERIOD);
    assert_eq!(pair.kept(BUDDY), pair.things);
    for message in old {
        if matches!(message, StandbyMessage::Part { .. } | StandbyMessage::End { .. }) {
            assert_eq!(pair.keep(BUDDY, message, &blob), None);
        }
    }
    assert_eq!(pair.kept(BUDDY), pair.things);
}

#[test]
fn a_buddy_that_lost_its_copies_says_so_and_gets_a_whole_cut() {
    let mut pair = Pair::holding([(1, 1.0), (2, 2.0)]);
    pair.run(PERIOD * 2);
    pair.keepers.get_mut(&BUDDY).unwrap().drop_source(ME);
    pair.run(PERIOD * 2);
    assert_eq!(pair.lost.len(), 1);
    assert_eq!(pair.kept(BUDDY), pair.things);
}

#[test]
fn a_new_epoch_travels_whole_because_its_versions_are_not_the_old_ones() {
    let mut pair = Pair::holding([(1, 1.0)]);
    pair.run(PERIOD * 2);
    let thing = pair.things.get_mut(&entity(1)).unwrap();
    thing.epoch = thing.epoch.next_step();
    pair.run(PERIOD);
    let acked = pair.acked.last().unwrap();
    assert!(acked.bytes > 4096 && acked.covered[0].first);
    pair.assert_whole(BUDDY);
}

#[test]
fn a_new_buddy_gets_everything_before_the_former_one_may_forget() {
    let mut pair = Pair::holding([(1, 1.0), (2, 2.0)]);
    pair.run(PERIOD * 2);
    pair.sender.set_buddy(Some(NEXT), pair.now);
    pair.run_losing(PERIOD * 3, is_ack);
    assert_eq!(pair.kept(BUDDY).len(), 2, "the new one has not said yet that it has them");
    pair.run_losing(PERIOD * 4, |message| matches!(message, StandbyMessage::Drop { .. }));
    pair.assert_whole(NEXT);
    assert_eq!(pair.kept(NEXT), pair.things);
    assert_eq!(pair.kept(BUDDY).len(), 2, "`Drop` was lost");
    pair.run(PERIOD * 2);
    assert!(pair.kept(BUDDY).is_empty(), "it is repeated");
    let drops = pair.sent.iter().filter(|(_, message, _)| matches!(message, StandbyMessage::Drop { .. }));
    let told = drops.count();
    pair.run(PERIOD * 4);
    let drops = pair.sent.iter().filter(|(_, message, _)| matches!(message, StandbyMessage::Drop { .. }));
    assert_eq!(drops.count(), told, "until it is answered");
}

#[test]
fn a_late_drop_does_not_hurt_a_buddy_that_came_back() {
    let mut pair = Pair::holding([(1, 1.0)]);
    pair.run(PERIOD);
    pair.sender.set_buddy(Some(NEXT), pair.now);
    let mut late = None;
    pair.run_losing(PERIOD, |message| {
        let is_drop = matches!(message, StandbyMessage::Drop { .. });
        if is_drop {
            late = Some(message.clone());
        }
        is_drop
    });
    pair.sender.set_buddy(Some(BUDDY), pair.now);
    pair.run(PERIOD);
    pair.keep(BUDDY, late.unwrap(), &bytes::Bytes::new());
    assert_eq!(pair.kept(BUDDY), pair.things, "what is dropped is what was there before");
    pair.run(PERIOD * 2);
    assert!(pair.kept(NEXT).is_empty());
}

#[test]
fn a_heavy_cut_on_a_slow_link_is_not_given_up_as_soon_as_a_light_one() {
    for (weight, is_heavy) in [(1_000, false), (200_000, true)] {
        let mut pair = Pair::new();
        for id in 0..8 {
            pair.things.insert(entity(id), Thing { weight, ..Thing::new(1.0) });
        }
        // Its answer takes two seconds.
        pair.run_losing(PERIOD * 2, is_ack);
        let cut = pair.cuts.keys().next().copied().unwrap();
        assert_eq!(pair.lost.is_empty(), is_heavy);
        pair.hear(BUDDY, StandbyMessage::Ack { cut });
        assert_eq!(pair.acked.len(), usize::from(is_heavy));
    }
}

#[test]
fn the_budget_holds_back_what_is_heavy() {
    let bytes_per_s = 1 << 20;
    let mut pair = Pair::with(SenderConfig { period: PERIOD, bytes_per_s });
    for id in 0..32 {
        pair.things.insert(entity(id), Thing { weight: 200_000, ..Thing::new(1.0) });
    }
    let mut cuts: Vec<Time> = Vec::new();
    for step in 0..40_u64 {
        for thing in pair.things.values_mut() {
            thing.version = step + 2;
        }
        let before = pair.acked.len();
        pair.run(PERIOD);
        if pair.acked.len() > before {
            cuts.push(pair.now);
        }
    }
    assert!(pair.acked.len() >= 3, "{}", pair.acked.len());
    let bytes: u64 = pair.acked.iter().map(|acked| acked.bytes).sum();
    let seconds = pair.now.as_micros() / 1_000_000;
    assert!(bytes <= bytes_per_s * (seconds + 1), "{bytes} bytes in {seconds} s");
    assert!(bytes >= bytes_per_s * seconds / 2, "the budget is used: {bytes} bytes in {seconds} s");
    assert!(cuts.len() < 10, "a cut of 6 MB takes six periods, not one: {cuts:?}");
    pair.assert_whole(BUDDY);
}

#[test]
fn an_important_change_is_safe_long_before_the_period_is_over_and_many_of_them_share_cuts() {
    let mut pair = Pair::holding([(1, 1.0)]);
    pair.run(PERIOD);
    let before = pair.acked.len();
    let mut changes = 0;
    for id in 10..110 {
        pair.things.insert(entity(id), Thing::new(1.0));
        pair.sender.hurry(pair.now);
        pair.run(PERIOD / 100);
        changes += 1;
        if id == 60 {
            assert!(pair.kept(BUDDY).len() > 10, "half a period on");
        }
    }
    let cuts = pair.acked.len() - before;
    assert!((3..=6).contains(&cuts), "{cuts} cuts for {changes} changes in one period");
}

#[test]
fn without_a_link_nothing_is_captured_and_a_lost_link_costs_one_cut() {
    let mut pair = Pair::holding([(1, 1.0)]);
    pair.links.remove(&BUDDY.node);
    pair.run(PERIOD * 2);
    assert!(pair.cuts.is_empty());
    pair.links.insert(BUDDY.node, BUDDY.incarnation);
    pair.run(Duration::from_millis(200));
    pair.assert_whole(BUDDY);
    assert_eq!(pair.acked.len(), 1);
    let restarted = selvedge_protocol::id::Incarnation(2);
    pair.links.insert(BUDDY.node, restarted);
    let cuts = pair.cuts.len();
    pair.run(PERIOD * 2);
    assert_eq!(pair.cuts.len(), cuts, "another life is another buddy");
}

#[test]
fn an_entity_that_could_not_be_captured_keeps_its_old_copy() {
    let mut pair = Pair::holding([(1, 1.0), (2, 2.0)]);
    pair.run(PERIOD / 2);
    pair.now += PERIOD;
    let Some(selvedge_protocol::standby::Act::Capture(order)) = pair.sender.poll(&pair.links, pair.now)
    else {
        panic!("a cut is due");
    };
    let failed = selvedge_protocol::standby::CutCopy {
        entity: entity(1),
        session: None,
        epoch: selvedge_protocol::id::AuthorityEpoch::FIRST,
        applied: InputSeq(7),
        snapshot: None,
    };
    pair.sender.captured(
        order.cut,
        selvedge_protocol::time::Tick(99),
        vec![failed],
        Vec::new(),
        Vec::new(),
        pair.now,
    );
    pair.run(PERIOD / 2);
    assert_eq!(pair.acked.last().unwrap().covered, [], "no input of it is durable by this cut");
    assert_eq!(pair.kept(BUDDY).keys().copied().collect::<Vec<_>>(), [entity(1)]);
}

#[test]
fn an_acknowledgement_counts_only_from_the_buddy_and_only_for_the_cut_that_is_out() {
    let mut pair = Pair::holding([(1, 1.0)]);
    pair.run_losing(PERIOD / 4, is_ack);
    let cut = *pair.cuts.last_key_value().unwrap().0;
    assert_eq!(pair.sender.on_ack(NEXT, cut, pair.now), None);
    assert_eq!(pair.sender.on_ack(BUDDY, cut + 1, pair.now), None);
    assert!(pair.sender.on_ack(BUDDY, cut, pair.now).is_some());
    assert_eq!(pair.sender.on_ack(BUDDY, cut, pair.now), None);
}

#[test]
fn light_entities_share_parts_up_to_their_limit() {
    let mut pair = Pair::new();
    let count = COPIES_PER_PART_MAX + 300;
    for id in 0..count as u128 {
        pair.things.insert(entity(id), Thing { weight: 0, ..Thing::new(1.0) });
    }
    pair.run(PERIOD);
    let parts: Vec<usize> = pair
        .sent
        .iter()
        .filter_map(|(_, message, _)| match message {
            StandbyMessage::Part { copies, .. } => Some(copies.len()),
            _ => None,
        })
        .collect();
    assert_eq!(parts.iter().sum::<usize>(), count);
    assert!(
        parts.len() < count / 50 && parts.iter().all(|&copies| copies <= COPIES_PER_PART_MAX),
        "{parts:?}"
    );
    assert_eq!(pair.kept(BUDDY).len(), count);
}
