use std::time::Duration;

use selvedge_protocol::action::ActionNumber;
use selvedge_protocol::grid::{Motion, Position, Velocity};
use selvedge_protocol::id::{EntityId, InputSeq};
use selvedge_protocol::snapshot::{
    Assembled, CapturedSnapshot, ComponentVersions, SnapshotArchive, SnapshotWriter,
};

use super::avatar::Avatar;
use super::kit::Kit;
use super::*;
use crate::world::World;

const ENTITY: EntityId = EntityId::from_u128(7);
const TICK: Duration = Duration::from_millis(33);

fn arena(snapshot_bytes: usize) -> Arena {
    Arena::new(ArenaConfig { snapshot_bytes, npcs: 0, seed: 1, ..ArenaConfig::default() }).unwrap()
}

fn capture(world: &impl World, have: &ComponentVersions) -> CapturedSnapshot {
    let mut writer = SnapshotWriter::new(ENTITY, None, have);
    world.capture(ENTITY, &mut writer);
    writer.finish(InputSeq(3)).unwrap()
}

fn captured(avatar: &Avatar) -> CapturedSnapshot {
    let mut writer = SnapshotWriter::new(ENTITY, None, &ComponentVersions::new());
    avatar.capture(&mut writer);
    writer.finish(InputSeq(3)).unwrap()
}

fn assembled(snapshots: &[&CapturedSnapshot]) -> Assembled {
    let mut assembled = Assembled::new();
    for snapshot in snapshots {
        assembled.apply(SnapshotArchive::validate(snapshot.bytes.clone()).unwrap()).unwrap();
    }
    assembled
}

fn old_avatar(snapshot_bytes: usize, ticks: u32) -> Avatar {
    let motion = Motion { position: Position::new(10.0, 20.0, 0.0), velocity: Velocity::new(3.0, -4.0, 0.0) };
    let mut avatar = Avatar::new("a wanderer", motion, Kit::weighing(snapshot_bytes).unwrap(), 99);
    for tick in 0..ticks {
        avatar.ledger.enter(tick + 1);
        avatar.age(TICK);
    }
    avatar
}

#[test]
fn a_snapshot_weighs_what_was_asked_for() {
    for bytes in [1024, 2048, 4096, 10_000, 65_536, 262_144] {
        let weight = captured(&old_avatar(bytes, 0)).bytes.len();
        assert!(weight.abs_diff(bytes) <= 64, "{weight} instead of {bytes}");
    }
}

#[test]
fn a_grown_avatar_carries_what_a_player_does() {
    let snapshot = assembled(&[&captured(&old_avatar(8192, 0))]);
    let view = snapshot.view().unwrap();
    assert_eq!((view.cooldowns().count(), view.effects().count()), (20, 12));
    assert_eq!(view.component("inventory").unwrap().1.len(), 40 * 22);
    assert_eq!(view.components().count(), 5);
}

#[test]
fn restore_rebuilds_exactly_what_capture_wrote() {
    for bytes in [1024, 4096, 100_000] {
        let avatar = old_avatar(bytes, 500);
        let first = captured(&avatar);
        let restored = Avatar::restore(&assembled(&[&first]).view().unwrap()).unwrap();
        assert_eq!(restored, avatar);
        assert_eq!(captured(&restored), first);
    }
}

#[test]
fn a_restored_avatar_goes_on_as_the_original_would() {
    let mut original = old_avatar(4096, 100);
    let mut copy = Avatar::restore(&assembled(&[&captured(&original)]).view().unwrap()).unwrap();
    for _ in 0..1000 {
        original.age(TICK);
        copy.age(TICK);
        assert_eq!(original.chance.draw(), copy.chance.draw());
    }
    assert_eq!(original, copy);
}

#[test]
fn a_pre_copy_and_a_small_transfer_make_the_whole_avatar() {
    let mut source = old_avatar(65_536, 100);
    let precopy = captured(&source);
    for _ in 0..10 {
        source.age(TICK);
    }
    let mut writer = SnapshotWriter::new(ENTITY, None, &precopy.versions);
    source.capture(&mut writer);
    let transfer = writer.finish(InputSeq(9)).unwrap();
    assert!(transfer.bytes.len() < 4096, "the cutover carries {} bytes", transfer.bytes.len());

    let mut target = arena(1024);
    target.warm(ENTITY, &assembled(&[&precopy]).view().unwrap()).unwrap();
    target.restore(ENTITY, &assembled(&[&precopy, &transfer]).view().unwrap());
    assert_eq!(capture(&target, &ComponentVersions::new()).versions, transfer.versions);
    let mut writer = SnapshotWriter::new(ENTITY, None, &ComponentVersions::new());
    source.capture(&mut writer);
    assert_eq!(capture(&target, &ComponentVersions::new()).bytes, writer.finish(InputSeq(3)).unwrap().bytes);
}

#[test]
fn a_snapshot_of_another_game_is_refused() {
    let writer = SnapshotWriter::new(ENTITY, None, &ComponentVersions::new());
    let foreign = writer.finish(InputSeq(0)).unwrap();
    let refused = arena(1024).warm(ENTITY, &assembled(&[&foreign]).view().unwrap()).unwrap_err();
    assert!(refused.reason().contains("missing"), "{refused}");
}

#[test]
fn sizes_and_speeds_out_of_range_are_named() {
    let config = ArenaConfig { snapshot_bytes: 1000, ..ArenaConfig::default() };
    assert!(config.check().unwrap_err().contains("snapshot_bytes"));
    let config = ArenaConfig { npc_speed_mps: f64::NAN, ..ArenaConfig::default() };
    assert!(config.check().unwrap_err().contains("npc_speed_mps"));
}

#[test]
fn every_item_shows_in_turn_and_no_two_avatars_share_one() {
    let mut ids = std::collections::BTreeSet::new();
    // Neighbouring seeds, as neighbouring nodes may have them.
    for seed in [98, 99, 100] {
        let mut avatar = Avatar::new("a wanderer", Motion::default(), Kit::weighing(4096).unwrap(), seed);
        let items = avatar.item_shown().items;
        assert!(items > 0);
        for seq in 1..=u32::from(items) {
            avatar.ledger.enter(seq);
            assert!(ids.insert(avatar.item_shown().id), "seed {seed}, input {seq}");
        }
        avatar.ledger.enter(u32::from(items) + 1);
        assert!(!ids.insert(avatar.item_shown().id), "the first one shows again");
    }
}

#[test]
fn a_trade_changes_one_thing_for_one_and_who_has_none_to_spare_keeps_what_they_have() {
    let number = ActionNumber { generation: 0, count: 1 };
    let trader = |seed, snapshot_bytes| {
        let kit = Kit::weighing(snapshot_bytes).unwrap();
        let mut avatar = Avatar::new("a trader", Motion::default(), kit, seed);
        avatar.player = true;
        avatar
    };
    let (mut giver, mut taker) = (trader(1, 4096), trader(2, 4096));
    let items = giver.item_shown().items;
    let offered = giver.item_to_give().unwrap();
    giver.give(offered, number);
    assert_eq!(giver.item_shown().items, items - 1, "aside until there is an answer");
    let in_return = taker.swap(offered).unwrap();
    giver.given(number, true, Some(in_return));
    assert_eq!((giver.item_shown().items, taker.item_shown().items), (items, items));
    assert_ne!(in_return.id, offered.id);
    // What came last is given last: all else goes first.
    for _ in 1..items {
        assert_ne!(taker.swap(in_return).unwrap().id, offered.id);
    }
    assert_eq!(taker.swap(in_return).unwrap().id, offered.id);

    let mut poor = trader(3, SNAPSHOT_BYTES_MIN);
    while let Some(item) = poor.item_to_give() {
        poor.give(item, number);
        poor.given(number, true, None);
    }
    let mut npc = trader(4, 4096);
    npc.player = false;
    for nobody in [&mut poor, &mut npc] {
        let before = nobody.clone();
        assert_eq!(nobody.swap(offered), None);
        assert_eq!(*nobody, before, "refused, and unchanged");
    }
    let before = giver.item_shown().items;
    giver.give(in_return, number);
    giver.given(number, false, None);
    assert_eq!(giver.item_shown().items, before, "it is back");
}
