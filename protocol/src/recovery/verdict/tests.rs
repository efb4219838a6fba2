//! Each rule of the verdict by itself, and histories in which leaving one out loses or doubles an entity.

use super::*;
use crate::id::{Incarnation, NodeId, Term};
use crate::time::Tick;

const ENTITY: EntityId = EntityId::from_u128(1);
const ROUND: Round = Round { term: Term(2), number: 7 };
const RESTORED: AuthorityEpoch = AuthorityEpoch::restored_in(7);

/// Live nodes A, B, C; the dead D and E.
const A: Peer = life(1, 1);
const B: Peer = life(2, 1);
const C: Peer = life(3, 1);
const D: Peer = life(4, 1);
const E: Peer = life(5, 1);

const fn life(node: u128, incarnation: u64) -> Peer {
    Peer { node: NodeId::from_u128(node), incarnation: Incarnation(incarnation) }
}

const fn step(step: u32) -> AuthorityEpoch {
    AuthorityEpoch { generation: 0, step }
}

const fn at(epoch: u32, tick: u64) -> Captured {
    Captured { epoch: step(epoch), tick: Tick(tick) }
}

fn claim(kind: ClaimKind, epoch: u32, floor: u32, contents: Option<Captured>) -> Claim {
    Claim { entity: ENTITY, session: None, epoch: step(epoch), kind, contents, floor: step(floor) }
}

fn active(epoch: u32) -> Claim {
    claim(ClaimKind::Active, epoch, epoch, None)
}

/// Frozen at `epoch`, which the source would give away: it held the one before.
fn frozen(to: Peer, epoch: u32, tick: u64) -> Claim {
    claim(ClaimKind::Frozen { to }, epoch, epoch - 1, Some(at(epoch - 1, tick)))
}

fn moved(to: Peer, epoch: u32, kept: Option<Captured>) -> Claim {
    claim(ClaimKind::Moved { to }, epoch, epoch, kept)
}

fn standby(of: Peer, cut: u64, floor: u32, contents: Captured) -> Claim {
    let kind = ClaimKind::Standby { of, cut };
    Claim { floor: step(floor), ..claim(kind, contents.epoch.step, floor, Some(contents)) }
}

fn warm(from: Peer, contents: Captured) -> Claim {
    claim(ClaimKind::Warm { from }, contents.epoch.step, 0, Some(contents))
}

fn known(floor: u32) -> Claim {
    claim(ClaimKind::Known, floor, floor, None)
}

fn ended(floor: u32) -> Claim {
    claim(ClaimKind::Ended, floor, floor, None)
}

/// The verdict when A, B and C live, D and E are dead, and these claims are made.
fn decide(said: &[(Peer, Claim)]) -> Verdict {
    decide_with_cuts(said, &[])
}

fn decide_with_cuts(said: &[(Peer, Claim)], cuts: &[(Peer, NewestCut)]) -> Verdict {
    let answer = |by| Answer {
        cuts: cuts.iter().filter(|(who, _)| *who == by).map(|(_, cut)| *cut).collect(),
        claims: said.iter().filter(|(who, _)| *who == by).map(|(_, claim)| *claim).collect(),
    };
    let answers = [A, B, C].into_iter().map(|by| (by, answer(by))).collect();
    verdict(ROUND, &BTreeSet::from([D, E]), &answers)
}

fn restored_by(verdict: &Verdict) -> Vec<(Peer, Captured)> {
    assert!(verdict.restored.iter().all(|restored| restored.epoch == RESTORED));
    let ordered = |peer| {
        let orders: &Vec<Order> = &verdict.orders[&peer];
        orders.iter().filter(|order| matches!(order, Order::Restore { .. })).count()
    };
    assert_eq!(verdict.orders.keys().map(|&peer| ordered(peer)).sum::<usize>(), verdict.restored.len());
    verdict.restored.iter().map(|restored| (restored.holder, restored.contents)).collect()
}

fn discards(verdict: &Verdict) -> Vec<(Peer, AuthorityEpoch)> {
    let mut all = Vec::new();
    for (&peer, orders) in &verdict.orders {
        for order in orders {
            match *order {
                Order::Discard { entity, below } => {
                    assert_eq!(entity, ENTITY);
                    all.push((peer, below));
                }
                Order::Restore { .. } => {}
            }
        }
    }
    all
}

fn is_left_alone(verdict: &Verdict) -> bool {
    restored_by(verdict).is_empty() && discards(verdict).is_empty() && verdict.lost.is_empty()
}

#[test]
fn what_a_live_node_simulates_is_left_alone_whatever_copies_there_are() {
    let verdict = decide(&[(A, active(3)), (B, standby(D, 9, 0, at(2, 100))), (C, warm(D, at(2, 120)))]);
    assert!(is_left_alone(&verdict));
    assert_eq!(verdict.orders.len(), 3, "everybody gets a verdict, if an empty one");
}

#[test]
fn the_standby_copy_of_a_dead_holder_goes_on_with_its_session() {
    let session = Some(SessionId::from_u128(77));
    let copy = Claim { session, ..standby(D, 9, 0, at(4, 100)) };
    let verdict = decide(&[(A, moved(D, 4, None)), (B, copy)]);
    assert_eq!(restored_by(&verdict), [(B, at(4, 100))]);
    assert_eq!(verdict.restored[0].session, session);
    assert_eq!(discards(&verdict), [(A, RESTORED)], "the tombstone points nowhere any more");
    let kind = ClaimKind::Standby { of: D, cut: 9 };
    let order = Order::Restore { entity: ENTITY, epoch: RESTORED, kind, contents: at(4, 100) };
    assert_eq!(verdict.orders[&B], [order]);
}

#[test]
fn a_source_frozen_towards_the_dead_goes_on_itself_if_nothing_newer_is_known() {
    let verdict =
        decide(&[(A, frozen(D, 4, 100)), (B, warm(D, at(1, 20))), (C, standby(E, 2, 0, at(2, 50)))]);
    assert_eq!(restored_by(&verdict), [(A, at(3, 100))]);
}

#[test]
fn a_checkpoint_of_the_dead_target_beats_the_copy_of_the_source_that_is_still_in_doubt() {
    let verdict = decide(&[(A, frozen(D, 4, 100)), (B, standby(D, 9, 0, at(4, 105)))]);
    assert_eq!(restored_by(&verdict), [(B, at(4, 105))]);
    assert_eq!(discards(&verdict), [(A, RESTORED)]);
}

#[test]
fn contents_kept_with_a_tombstone_are_a_copy() {
    let verdict = decide(&[(A, moved(D, 4, Some(at(3, 90)))), (B, standby(E, 1, 0, at(2, 40)))]);
    assert_eq!(restored_by(&verdict), [(A, at(3, 90))]);
}

#[test]
fn a_copy_that_a_dead_source_sent_ahead_is_better_than_none() {
    let verdict = decide(&[(C, warm(D, at(4, 60)))]);
    assert_eq!(restored_by(&verdict), [(C, at(4, 60))]);
}

#[test]
fn in_flight_between_live_nodes_is_alive() {
    let verdict = decide(&[(A, frozen(B, 5, 100)), (B, known(3)), (C, standby(D, 9, 0, at(4, 80)))]);
    assert!(is_left_alone(&verdict));
}

#[test]
fn a_tombstone_towards_a_live_node_that_answered_before_it_accepted_is_alive() {
    let verdict = decide(&[(A, moved(B, 5, Some(at(4, 100)))), (C, standby(D, 9, 0, at(3, 80)))]);
    assert!(is_left_alone(&verdict));
}

#[test]
fn a_live_node_that_has_had_it_speaks_for_itself() {
    // A still waits for the word of B, which accepted, went on, and gave it to D before D died.
    let said =
        [(A, frozen(B, 5, 100)), (B, moved(D, 6, Some(at(5, 110)))), (C, standby(D, 9, 0, at(6, 115)))];
    let verdict = decide(&said);
    assert_eq!(restored_by(&verdict), [(C, at(6, 115))]);
    assert_eq!(discards(&verdict), [(A, RESTORED), (B, RESTORED)]);
}

#[test]
fn floors_tell_a_forgotten_past_from_a_transfer_under_way() {
    // A gave it to B at 5, B to D at 6. B's tombstone is gone by now, A's is not, and no cut of D's is left. Without
    // B's floor, A's tombstone would say "alive, with B", and the entity would be lost with D.
    let said = [(A, moved(B, 5, Some(at(4, 90)))), (B, known(6))];
    assert_eq!(restored_by(&decide(&said)), [(A, at(4, 90))]);
    assert!(is_left_alone(&decide(&said[..1])), "which is why floors outlive tombstones");
}

#[test]
fn a_copy_proves_that_its_epoch_was_held_whatever_lower_tombstones_say() {
    let verdict = decide(&[(A, moved(B, 5, None)), (C, standby(D, 9, 0, at(6, 115)))]);
    assert_eq!(restored_by(&verdict), [(C, at(6, 115))], "even where B has forgotten its floor");
}

#[test]
fn what_points_at_a_former_life_points_at_the_dead() {
    // B is a new life of the node whose former one accepted.
    let former = life(2, 0);
    let said = [(A, frozen(former, 5, 100)), (B, known(3))];
    assert_eq!(restored_by(&decide(&said)), [(A, at(4, 100))]);
}

#[test]
fn frozen_copies_towards_the_dead_below_the_highest_epoch_are_discarded() {
    // D accepted A's transfer and gave the entity to B before it died; A never heard.
    let verdict = decide(&[(A, frozen(D, 4, 100)), (B, active(5)), (C, standby(D, 9, 0, at(4, 105)))]);
    assert!(restored_by(&verdict).is_empty());
    assert_eq!(discards(&verdict), [(A, step(5))]);
}

#[test]
fn a_frozen_copy_towards_the_dead_is_discarded_while_the_entity_is_in_flight_elsewhere() {
    // The same, and B is already giving it back to A. The discard must not touch the id under way.
    let verdict = decide(&[(A, frozen(D, 4, 100)), (B, frozen(A, 6, 120))]);
    assert!(restored_by(&verdict).is_empty());
    assert_eq!(discards(&verdict), [(A, step(6))]);
    let mut table = crate::authority::AuthorityTable::new();
    table.discard(ENTITY, step(6));
    assert!(table.floor(ENTITY) < step(6), "or the next answer would say that the id is past");
    assert!(table.activate(crate::id::HandoffId { entity: ENTITY, epoch: step(6) }, B));
}

#[test]
fn at_the_same_epoch_a_holders_own_word_beats_anothers_tombstone() {
    let verdict = decide(&[(A, moved(D, 5, Some(at(4, 90)))), (B, active(5))]);
    assert!(restored_by(&verdict).is_empty());
    let verdict = decide(&[(A, moved(C, 5, None)), (B, frozen(D, 5, 100))]);
    assert_eq!(restored_by(&verdict), [(B, at(4, 100))]);
}

#[test]
fn an_older_buddys_copy_does_not_bring_back_what_the_newer_cut_no_longer_holds() {
    let cut = |number, tick| NewestCut { of: D, cut: number, tick: Tick(tick) };
    let older = [(B, standby(D, 7, 0, at(2, 70)))];
    let cuts = [(B, cut(7, 70)), (C, cut(9, 90))];
    assert!(restored_by(&decide_with_cuts(&older, &cuts)).is_empty());
    assert_eq!(restored_by(&decide_with_cuts(&older, &cuts[..1])), [(B, at(2, 70))], "without a newer cut");
    let both = [older[0], (C, standby(D, 9, 0, at(2, 65)))];
    assert_eq!(restored_by(&decide_with_cuts(&both, &cuts)), [(C, at(2, 65))]);
}

#[test]
fn a_copy_sent_ahead_does_not_bring_back_what_a_later_cut_no_longer_holds() {
    let cut = |tick| [(B, NewestCut { of: D, cut: 9, tick: Tick(tick) })];
    let said = [(C, warm(D, at(4, 60)))];
    assert!(restored_by(&decide_with_cuts(&said, &cut(61))).is_empty());
    assert_eq!(restored_by(&decide_with_cuts(&said, &cut(59))), [(C, at(4, 60))]);
    let both = [said[0], (B, standby(D, 9, 0, at(3, 55)))];
    assert_eq!(restored_by(&decide_with_cuts(&both, &cut(61))), [(C, at(4, 60))]);
}

#[test]
fn what_a_live_authority_despawned_does_not_come_back() {
    // D gave it to B, whose word was lost with D; A gave it to D, whose word never came.
    let verdict = decide(&[(A, frozen(D, 4, 100)), (B, ended(6)), (C, standby(D, 9, 0, at(4, 105)))]);
    assert!(restored_by(&verdict).is_empty());
    assert_eq!(discards(&verdict), [(A, step(6))]);
}

#[test]
fn copies_of_live_nodes_and_of_those_recovered_before_count_for_nothing() {
    let recovered = life(4, 0);
    let said = [(B, standby(A, 3, 0, at(4, 90))), (C, standby(recovered, 8, 0, at(3, 80)))];
    assert!(is_left_alone(&decide(&said)), "A despawned it and has forgotten");
}

#[test]
fn what_was_with_the_dead_and_has_no_copy_is_lost() {
    let verdict = decide(&[(A, moved(D, 4, None))]);
    assert_eq!(verdict.lost, [ENTITY]);
    assert!(restored_by(&verdict).is_empty());
}

#[test]
fn a_floor_alone_decides_nothing() {
    assert!(is_left_alone(&decide(&[(A, known(4)), (B, known(3))])));
}

#[test]
fn the_newest_copy_wins_by_epoch_before_tick() {
    let verdict = decide(&[(A, moved(D, 4, Some(at(3, 500)))), (B, standby(D, 9, 0, at(4, 100)))]);
    assert_eq!(restored_by(&verdict), [(B, at(4, 100))]);
}

#[test]
fn ties_are_broken_the_same_way_in_whatever_order_the_claims_come() {
    let copies = [
        (C, standby(D, 9, 0, at(3, 100))),
        (B, standby(D, 9, 0, at(3, 100))),
        (A, frozen(E, 4, 100)),
        (B, moved(E, 4, Some(at(3, 100)))),
    ];
    for turn in 0..copies.len() {
        let mut said = copies.to_vec();
        said.rotate_left(turn);
        assert_eq!(restored_by(&decide(&said)), [(A, at(3, 100))], "a frozen copy before all others");
        said.retain(|(by, _)| *by != A);
        assert_eq!(restored_by(&decide(&said)), [(B, at(3, 100))]);
    }
    assert_eq!(restored_by(&decide(&copies[..2])), [(B, at(3, 100))], "then the lower id");
}

#[test]
fn a_transfer_back_to_its_source_is_alive_although_the_source_still_waits_for_an_answer() {
    // A -> B at 4: accepted, but A has not heard. B -> A at 5: under way. Both live.
    let verdict = decide(&[(A, frozen(B, 4, 100)), (B, frozen(A, 5, 110))]);
    assert!(is_left_alone(&verdict));
}

#[test]
fn each_entity_is_decided_by_its_own_claims() {
    let other = EntityId::from_u128(2);
    let said = [(A, active(3)), (B, Claim { entity: other, ..standby(D, 9, 0, at(5, 50)) })];
    let verdict = decide(&said);
    assert_eq!(verdict.restored.len(), 1);
    assert_eq!(verdict.restored[0].entity, other);
}
