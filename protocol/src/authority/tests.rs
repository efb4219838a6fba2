use super::*;
use crate::id::{Incarnation, NodeId};

const ENTITY: EntityId = EntityId::from_u128(1);
const SOURCE: Peer = Peer { node: NodeId::from_u128(3), incarnation: Incarnation(1) };
const TARGET: Peer = Peer { node: NodeId::from_u128(2), incarnation: Incarnation(1) };

fn id(step: u32) -> HandoffId {
    HandoffId { entity: ENTITY, epoch: AuthorityEpoch { generation: 0, step } }
}

fn source() -> AuthorityTable {
    let mut table = AuthorityTable::new();
    assert!(table.spawn(ENTITY));
    table
}

#[test]
fn a_frozen_source_holds_nothing_and_thaws_at_the_burned_epoch() {
    let mut table = source();
    let frozen = table.freeze(ENTITY, AuthorityEpoch::FIRST, TARGET).unwrap();
    assert!(!table.holds(ENTITY, AuthorityEpoch::FIRST));
    assert!(table.thaw(frozen, TARGET));
    assert!(table.holds(ENTITY, frozen.epoch));
    assert_eq!(table.freeze(ENTITY, frozen.epoch, TARGET).unwrap().epoch, frozen.epoch.next_step());
}

#[test]
fn only_the_named_life_of_the_target_thaws() {
    let mut table = source();
    let frozen = table.freeze(ENTITY, AuthorityEpoch::FIRST, TARGET).unwrap();
    let restarted = Peer { incarnation: Incarnation(2), ..TARGET };
    assert!(!table.thaw(frozen, restarted));
    assert!(!table.gave_away(frozen, restarted));
}

#[test]
fn late_transfer_after_cancel_is_ignored() {
    let mut table = AuthorityTable::new();
    assert_eq!(table.cancel(id(2), SOURCE), CancelAnswer::Cancelled);
    assert_eq!(table.receipt(id(2), SOURCE), Receipt::Burned);
    assert!(!table.activate(id(2), SOURCE));
    assert!(table.activate(id(3), SOURCE));
}

#[test]
fn cancel_after_acceptance_is_too_late_even_after_the_entity_went_on() {
    let mut table = AuthorityTable::new();
    assert!(table.activate(id(2), SOURCE));
    assert_eq!(table.cancel(id(2), SOURCE), CancelAnswer::Accepted);
    let next = table.freeze(ENTITY, id(2).epoch, TARGET).unwrap();
    assert!(table.gave_away(next, TARGET));
    assert_eq!(table.cancel(id(2), SOURCE), CancelAnswer::Accepted);
    assert_eq!(table.receipt(id(2), SOURCE), Receipt::Already);
}

#[test]
fn a_higher_id_supersedes_a_frozen_copy() {
    let mut table = source();
    let frozen = table.freeze(ENTITY, AuthorityEpoch::FIRST, TARGET).unwrap();
    let back = HandoffId { entity: ENTITY, epoch: frozen.epoch.next_step() };
    assert_eq!(table.receipt(frozen, SOURCE), Receipt::Conflict);
    assert!(table.activate(back, SOURCE));
    assert!(!table.gave_away(frozen, TARGET), "the late answer changes nothing");
    assert!(table.holds(ENTITY, back.epoch));
    assert_eq!(table.len(), 1);
}

#[test]
fn a_despawned_entity_does_not_come_back_by_a_late_transfer() {
    let mut table = AuthorityTable::new();
    assert!(table.activate(id(2), SOURCE));
    assert!(table.despawn(ENTITY, id(2).epoch).is_some());
    assert_eq!(table.receipt(id(2), SOURCE), Receipt::Already);
    assert!(!table.spawn(ENTITY));
    assert!(table.is_empty());
}

const ROUND: AuthorityEpoch = AuthorityEpoch::restored_in(7);

#[test]
fn a_restore_takes_the_place_of_a_lower_frozen_copy_and_late_words_change_nothing() {
    let mut table = source();
    let frozen = table.freeze(ENTITY, AuthorityEpoch::FIRST, TARGET).unwrap();
    assert!(table.restore(ENTITY, ROUND));
    assert!(table.holds(ENTITY, ROUND));
    assert_eq!(table.len(), 1);
    assert!(!table.thaw(frozen, TARGET), "a late refusal");
    assert!(!table.gave_away(frozen, TARGET), "a late acceptance");
    assert!(table.holds(ENTITY, ROUND));
    assert_eq!(table.freeze(ENTITY, ROUND, TARGET).unwrap().epoch, ROUND.next_step());
}

#[test]
fn a_restore_is_refused_where_something_at_its_epoch_or_above_is_known() {
    let mut table = AuthorityTable::new();
    assert!(table.restore(ENTITY, ROUND));
    assert!(!table.restore(ENTITY, ROUND), "twice");
    let id = table.freeze(ENTITY, ROUND, TARGET).unwrap();
    assert!(!table.restore(ENTITY, ROUND), "after it went on");
    assert!(table.gave_away(id, TARGET));
    assert!(!table.restore(ENTITY, ROUND), "after it left");
    let mut discarded = AuthorityTable::new();
    assert_eq!(discarded.discard(ENTITY, ROUND), None);
    assert!(!discarded.restore(ENTITY, ROUND), "after it was restored elsewhere");
}

#[test]
fn what_a_stranger_says_of_an_entity_keeps_nobody_else_from_handing_it_over_nor_a_recovery_from_restoring_it()
{
    let stranger = Peer { node: NodeId::from_u128(13), incarnation: Incarnation(1) };
    let last = AuthorityEpoch { generation: u32::MAX, step: u32::MAX };
    let mut table = AuthorityTable::new();
    assert_eq!(table.cancel(HandoffId { entity: ENTITY, epoch: last }, stranger), CancelAnswer::Cancelled);
    assert_eq!(table.receipt(id(2), stranger), Receipt::Burned);
    assert_eq!(table.receipt(id(2), SOURCE), Receipt::Free);
    assert!(table.clone().restore(ENTITY, ROUND));
    assert!(table.activate(id(2), SOURCE));
}

#[test]
fn what_is_remembered_for_one_peer_has_a_bound() {
    let mut table = AuthorityTable::new();
    for entity in 0..=BURNED_OF_PEER_MAX as u128 {
        table.cancel(HandoffId { entity: EntityId::from_u128(entity), ..id(2) }, SOURCE);
    }
    assert_eq!(table.burned[&SOURCE].len(), BURNED_OF_PEER_MAX);
    table.forget_burned(SOURCE);
    assert!(table.burned.is_empty());
}

#[test]
fn a_discard_drops_a_lower_frozen_copy_and_raises_the_floor() {
    let mut table = source();
    let frozen = table.freeze(ENTITY, AuthorityEpoch::FIRST, TARGET).unwrap();
    assert_eq!(table.discard(ENTITY, ROUND), Some(Standing::Frozen { id: frozen, to: TARGET }));
    assert_eq!(table.floor(ENTITY), ROUND);
    assert!(table.is_empty());
    assert!(!table.thaw(frozen, TARGET), "a late refusal");
    assert!(!table.gave_away(frozen, TARGET), "a late acceptance");
    assert_eq!(table.receipt(id(9), SOURCE), Receipt::Void);
    assert!(!table.activate(id(9), SOURCE));
    assert_eq!(table.cancel(id(9), SOURCE), CancelAnswer::Void);
    let next = HandoffId { entity: ENTITY, epoch: ROUND.next_step() };
    assert!(table.activate(next, SOURCE), "the new generation may come");
}

#[test]
fn a_discard_touches_nothing_at_its_epoch_or_above() {
    let mut table = AuthorityTable::new();
    assert!(table.restore(ENTITY, ROUND));
    assert_eq!(table.discard(ENTITY, ROUND), None);
    assert!(table.holds(ENTITY, ROUND));
    let mut frozen = source();
    let id = frozen.freeze(ENTITY, AuthorityEpoch::FIRST, TARGET).unwrap();
    assert_eq!(frozen.discard(ENTITY, id.epoch), None);
    assert!(frozen.thaw(id, TARGET));
}

#[test]
fn an_id_that_a_discard_names_may_still_come_in() {
    let mut table = AuthorityTable::new();
    assert_eq!(table.discard(ENTITY, id(5).epoch), None);
    assert_eq!(table.floor(ENTITY), id(4).epoch);
    assert_eq!(table.receipt(id(4), SOURCE), Receipt::Void);
    assert!(table.activate(id(5), SOURCE));
}

#[test]
fn what_was_accepted_before_a_discard_is_still_said_to_be_accepted() {
    let mut table = AuthorityTable::new();
    assert!(table.activate(id(2), SOURCE));
    let gone = table.freeze(ENTITY, id(2).epoch, TARGET).unwrap();
    assert!(table.gave_away(gone, TARGET));
    assert_eq!(table.discard(ENTITY, ROUND), None);
    assert_eq!(table.receipt(id(2), SOURCE), Receipt::Already);
    assert_eq!(table.cancel(id(2), SOURCE), CancelAnswer::Accepted);
    assert_eq!(table.receipt(id(4), SOURCE), Receipt::Void);
}

#[test]
fn what_left_is_remembered_with_its_floor_and_its_end() {
    let mut table = source();
    assert!(table.remembered().is_empty(), "what is held is no memory");
    let end = table.despawn(ENTITY, AuthorityEpoch::FIRST).unwrap();
    assert_eq!(table.remembered(), [Remembered { entity: ENTITY, floor: end, ended: true }]);
    let other = EntityId::from_u128(9);
    table.discard(other, ROUND);
    let discarded = Remembered { entity: other, floor: ROUND, ended: false };
    assert_eq!(table.remembered()[1], discarded);
    let refused = EntityId::from_u128(10);
    table.cancel(HandoffId { entity: refused, epoch: id(2).epoch }, SOURCE);
    assert_eq!(table.remembered().len(), 2, "an id that was only refused has no floor");
}
