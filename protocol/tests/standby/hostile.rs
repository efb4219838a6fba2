//! A keeper among peers that send what they must not: it says so, keeps what it had, and never grows past its bound.

use bytes::Bytes;
use selvedge_protocol::id::{AuthorityEpoch, EntityId, Incarnation, Peer, SessionId};
use selvedge_protocol::limits::CUTS_COLLECTED_MAX;
use selvedge_protocol::snapshot::ComponentVersions;
use selvedge_protocol::standby::{CutEnd, Keeper, Reply};
use selvedge_protocol::time::Tick;
use selvedge_protocol::wire::CopyHead;

use crate::pair::{Thing, entity, peer};

const SOURCE: Peer = peer(1);

fn snapshot(id: EntityId) -> Bytes {
    Thing::new(1.0).capture(id, &ComponentVersions::new()).bytes
}

fn head(id: EntityId, bytes: usize) -> CopyHead {
    CopyHead { entity: id, session: None, epoch: AuthorityEpoch::FIRST, bytes: u32::try_from(bytes).unwrap() }
}

fn part(keeper: &mut Keeper, cut: u64, index: u32, id: u128) -> Reply {
    let blob = snapshot(entity(id));
    keeper.on_part(SOURCE, cut, index, &[head(entity(id), blob.len())], &blob)
}

const fn end(base: Option<u64>, parts: u32) -> CutEnd {
    CutEnd { base, tick: Tick(5), parts, gone: Vec::new(), ended: Vec::new() }
}

fn keeper() -> Keeper {
    let mut keeper = Keeper::new(1 << 20);
    assert_eq!(part(&mut keeper, 1, 0, 1), Reply::Silence);
    assert_eq!(keeper.on_end(SOURCE, 1, end(None, 1)), Reply::Ack { cut: 1 });
    keeper
}

fn kept(keeper: &Keeper) -> Vec<EntityId> {
    keeper.copies().map(|copy| copy.entity).collect()
}

#[test]
fn parts_come_in_any_order_and_twice() {
    let mut keeper = keeper();
    assert_eq!(keeper.on_end(SOURCE, 2, end(Some(1), 2)), Reply::Silence);
    assert_eq!(part(&mut keeper, 2, 1, 3), Reply::Silence);
    assert_eq!(part(&mut keeper, 2, 1, 3), Reply::Silence);
    assert_eq!(part(&mut keeper, 2, 0, 2), Reply::Ack { cut: 2 });
    assert_eq!(kept(&keeper), [1, 2, 3].map(entity));
    assert_eq!(keeper.on_end(SOURCE, 2, end(Some(1), 2)), Reply::Ack { cut: 2 }, "said again");
    assert_eq!(keeper.on_end(SOURCE, 1, end(None, 1)), Reply::Silence, "of the past");
}

#[test]
fn every_kind_of_malformed_part_is_named_and_costs_its_cut_alone() {
    let whole = snapshot(entity(7));
    let twice: Bytes = [&whole[..], &whole[..]].concat().into();
    let other = head(entity(8), whole.len());
    let in_a_session = CopyHead { session: Some(SessionId::from_u128(5)), ..head(entity(7), whole.len()) };
    let cases: Vec<(Vec<CopyHead>, Bytes, &str)> = vec![
        (vec![head(entity(7), whole.len() + 1)], whole.clone(), "lengths"),
        (vec![head(entity(7), whole.len() - 1)], whole.clone(), "lengths"),
        (vec![head(entity(7), u32::MAX as usize); 3], whole.clone(), "lengths"),
        (vec![head(entity(7), 3)], Bytes::from_static(b"abc"), "invalid snapshot"),
        (vec![head(entity(7), 0)], Bytes::new(), "invalid snapshot"),
        (vec![other], whole.clone(), "another entity's"),
        (vec![in_a_session], whole.clone(), "another entity's"),
    ];
    for (copies, blob, what) in cases {
        let mut keeper = keeper();
        let before = keeper.bytes();
        let reply = keeper.on_part(SOURCE, 2, 0, &copies, &blob);
        assert!(matches!(reply, Reply::Misbehaved(said) if said.contains(what)), "{what}: {reply:?}");
        assert_eq!((kept(&keeper), keeper.bytes()), (vec![entity(1)], before));
    }
    let mut keeper = keeper();
    let copies = [head(entity(7), whole.len()), head(entity(7), whole.len())];
    assert_eq!(keeper.on_part(SOURCE, 2, 0, &copies, &twice), Reply::Silence);
    let reply = keeper.on_end(SOURCE, 2, end(Some(1), 1));
    assert!(matches!(reply, Reply::Misbehaved(said) if said.contains("twice")), "{reply:?}");
    assert_eq!(kept(&keeper), [entity(1)]);
}

#[test]
fn no_cut_has_parts_past_its_end_nor_builds_on_its_future() {
    let mut late_end = keeper();
    assert_eq!(part(&mut late_end, 2, 4, 2), Reply::Silence);
    assert!(matches!(late_end.on_end(SOURCE, 2, end(Some(1), 4)), Reply::Misbehaved(_)));
    let mut late_part = keeper();
    assert_eq!(late_part.on_end(SOURCE, 2, end(Some(1), 4)), Reply::Silence);
    assert!(matches!(part(&mut late_part, 2, 4, 2), Reply::Misbehaved(_)));
    let mut circular = keeper();
    assert!(matches!(circular.on_end(SOURCE, 2, end(Some(2), 0)), Reply::Misbehaved(_)));
    for keeper in [late_end, late_part, circular] {
        assert_eq!(kept(&keeper), [entity(1)]);
    }
}

#[test]
fn a_cut_whose_base_is_not_here_is_lacked() {
    let mut keeper = keeper();
    assert_eq!(keeper.on_end(SOURCE, 9, end(Some(8), 0)), Reply::Lack { cut: 9 });
    let thing = Thing::new(2.0);
    let versions = thing.capture(entity(4), &ComponentVersions::new()).versions;
    let light = thing.capture(entity(4), &versions).bytes;
    let heads = [head(entity(4), light.len())];
    assert_eq!(keeper.on_part(SOURCE, 3, 0, &heads, &light), Reply::Silence);
    assert_eq!(keeper.on_end(SOURCE, 3, end(Some(1), 1)), Reply::Lack { cut: 3 });
    let known = Thing::new(2.0).capture(entity(1), &versions).bytes;
    let other_epoch = CopyHead { epoch: AuthorityEpoch::FIRST.next_step(), ..head(entity(1), known.len()) };
    let mut of_another_epoch = self::keeper();
    assert_eq!(of_another_epoch.on_part(SOURCE, 2, 0, &[other_epoch], &known), Reply::Silence);
    let reply = of_another_epoch.on_end(SOURCE, 2, end(Some(1), 1));
    assert_eq!(
        reply,
        Reply::Lack { cut: 2 },
        "a body of one epoch isn't that of the next, whatever its version"
    );
    assert_eq!(keeper.on_part(SOURCE, 4, 0, &heads, &light), Reply::Silence);
    let reply = keeper.on_end(SOURCE, 4, end(None, 1));
    assert!(matches!(reply, Reply::Misbehaved(_)), "a whole cut lacks nothing: {reply:?}");
    assert_eq!(kept(&keeper), [entity(1)]);
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let mut keeper = Keeper::new(64 * 1024);
    let mut full = false;
    for index in 0..1000 {
        full |= part(&mut keeper, 1, index, u128::from(index)) == Reply::Full;
        assert!(keeper.bytes() <= 64 * 1024);
    }
    assert!(full, "there was no room for a thousand things");
    for cut in 2..100 {
        let _ = part(&mut keeper, cut, 0, u128::from(cut));
        assert!(keeper.bytes() <= 64 * 1024, "at most {CUTS_COLLECTED_MAX} unfinished cuts are collected");
    }
    keeper.drop_source(SOURCE);
    assert_eq!(keeper.bytes(), 0);
}

#[test]
fn a_fenced_life_changes_nothing_any_more_and_its_copies_stay_until_they_are_dropped() {
    let mut keeper = keeper();
    assert_eq!(part(&mut keeper, 2, 0, 2), Reply::Silence);
    keeper.fence(SOURCE);
    assert_eq!(keeper.on_end(SOURCE, 2, end(Some(1), 1)), Reply::Silence);
    assert_eq!(part(&mut keeper, 3, 0, 2), Reply::Silence);
    assert_eq!(kept(&keeper), [entity(1)]);
    let reborn = Peer { incarnation: Incarnation(2), ..SOURCE };
    let blob = snapshot(entity(5));
    let heads = [head(entity(5), blob.len())];
    assert_eq!(keeper.on_part(reborn, 1, 0, &heads, &blob), Reply::Silence);
    assert_eq!(keeper.on_end(reborn, 1, end(None, 1)), Reply::Ack { cut: 1 });
    keeper.drop_source(SOURCE);
    assert_eq!(kept(&keeper), [entity(5)], "its next life is another source");
    assert_eq!(keeper.take(entity(1), SOURCE), None);
    assert!(keeper.take(entity(5), reborn).is_some());
}

#[test]
fn the_account_of_memory_comes_back_to_nothing() {
    let mut keeper = keeper();
    for cut in 2..50 {
        let id = u128::from(cut % 5);
        let _ = part(&mut keeper, cut, 0, id);
        let _ = part(&mut keeper, cut, 1, id + 10);
        let gone = vec![entity(id + 1)];
        let parts = 2 + u32::from(cut % 3 == 0);
        let _ = keeper.on_end(SOURCE, cut, CutEnd { gone, ..end(Some(cut - 1), parts) });
    }
    keeper.drop_below(SOURCE, u64::MAX);
    assert_eq!((keeper.bytes(), keeper.copies().count()), (0, 0));
}
