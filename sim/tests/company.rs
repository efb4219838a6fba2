//! What the checks of ghosts and groups say to made-up facts.

#![allow(clippy::unwrap_used, reason = "a helper that panics fails the test that called it")]

use selvedge_protocol::authority::Standing;
use selvedge_protocol::id::{AuthorityEpoch, EntityId, Incarnation, NodeId, Peer};
use selvedge_protocol::time::{Tick, Time};
use selvedge_protocol::wire::Captured;
use selvedge_sim::invariant::{CopiedRide, Fact, Ghosts, Groups, Invariant, Step, Violation};

const BOAT: EntityId = EntityId::from_u128(1);
const RIDER: EntityId = EntityId::from_u128(2);

fn at(seconds: u64, check: &mut impl Invariant, facts: &[Fact]) -> Result<(), Violation> {
    check.observe(&Step { number: 1, at: Time::from_micros(seconds * 1_000_000), facts })
}

fn active(node: usize, entity: EntityId) -> Fact {
    Fact::Standing { node, entity, standing: Some(Standing::Active(AuthorityEpoch::FIRST)) }
}

const fn gone(node: usize, entity: EntityId) -> Fact {
    Fact::Standing { node, entity, standing: None }
}

fn shows(node: usize, entity: EntityId) -> Fact {
    Fact::GhostsShown { node, entities: vec![entity], beside: Vec::new() }
}

#[test]
fn a_ghost_may_outlive_its_entity_for_as_long_as_its_node_was_away() {
    let mut check = Ghosts::default();
    at(0, &mut check, &[active(0, BOAT)]).unwrap();
    at(1, &mut check, &[gone(0, BOAT)]).unwrap();
    at(10, &mut check, &[Fact::Stirred { node: 1 }, shows(1, BOAT), shows(1, BOAT)]).unwrap();
    at(17, &mut check, &[shows(1, BOAT)]).unwrap();
    at(18, &mut check, &[shows(1, BOAT)]).unwrap_err();
}

/// Both at node 0, the rider on the boat.
fn afloat() -> Groups {
    let mut check = Groups::default();
    let boards = Fact::Attached { node: 0, entity: RIDER, to: Some(BOAT), by_game: false };
    at(0, &mut check, &[active(0, BOAT), active(0, RIDER), boards]).unwrap();
    check
}

#[test]
fn what_rides_together_moves_together() {
    let moves = |entity| [gone(0, entity), active(1, entity)];
    at(1, &mut afloat(), &[moves(BOAT), moves(RIDER)].concat()).unwrap();
    at(1, &mut afloat(), &moves(BOAT)).unwrap_err();
    at(1, &mut afloat(), &moves(RIDER)).unwrap_err();
    at(1, &mut afloat(), &[Fact::Ended { node: 0 }]).unwrap();
}

#[test]
fn nobody_comes_off_but_by_the_games_will() {
    let off = |by_game| Fact::Attached { node: 0, entity: RIDER, to: None, by_game };
    at(1, &mut afloat(), &[off(true), gone(0, BOAT), active(1, BOAT)]).unwrap();
    at(1, &mut afloat(), &[off(false)]).unwrap_err();
    at(1, &mut afloat(), &[Fact::Gone { node: 0, entity: BOAT }, off(false)]).unwrap();
}

#[test]
fn who_comes_rides_on_what_it_rode_on() {
    let runs = |to| Fact::Runs { node: 0, entity: RIDER, to };
    at(1, &mut afloat(), &[runs(Some(BOAT))]).unwrap();
    at(1, &mut afloat(), &[runs(None)]).unwrap_err();
}

/// An entity comes back at node 1, from a copy of node 0's that rides on this.
fn restored(entity: EntityId, cut: u64, to: Option<EntityId>) -> [Fact; 2] {
    let contents = Captured { epoch: AuthorityEpoch::FIRST, tick: Tick(cut) };
    let of = Peer { node: NodeId::from_u128(1), incarnation: Incarnation(1) };
    [Fact::Restored { entity, contents, ride: Some(CopiedRide { of, cut, to }) }, active(1, entity)]
}

fn rides(to: Option<EntityId>) -> [Fact; 1] {
    [Fact::Runs { node: 1, entity: RIDER, to }]
}

#[test]
fn a_recovery_may_take_a_ride_back() {
    let apart = |cut, to| {
        let mut check = afloat();
        at(1, &mut check, &[Fact::Ended { node: 0 }]).unwrap();
        at(1, &mut check, &[restored(RIDER, cut, to), restored(BOAT, 5, None)].concat()).unwrap();
        check
    };
    at(2, &mut apart(4, Some(BOAT)), &rides(None)).unwrap();
    at(2, &mut apart(5, None), &rides(None)).unwrap();
    at(2, &mut apart(5, None), &rides(Some(BOAT))).unwrap_err();
    // One that comes back alone, from whatever copy.
    let mut check = afloat();
    at(1, &mut check, &[Fact::Ended { node: 0 }]).unwrap();
    at(1, &mut check, &restored(RIDER, 5, Some(BOAT))).unwrap();
    at(2, &mut check, &rides(None)).unwrap();
}

#[test]
fn who_comes_back_with_what_it_rode_on_rides_on() {
    let together = || {
        let mut check = afloat();
        at(1, &mut check, &[Fact::Ended { node: 0 }]).unwrap();
        let both = [restored(RIDER, 5, Some(BOAT)), restored(BOAT, 5, None)].concat();
        at(1, &mut check, &both).unwrap();
        check
    };
    let mut check = together();
    at(2, &mut check, &rides(Some(BOAT))).unwrap();
    at(3, &mut check, &[gone(1, BOAT)]).unwrap_err();
    at(2, &mut together(), &rides(None)).unwrap_err();
    at(2, &mut together(), &[gone(1, BOAT)]).unwrap_err();
    let off = |by_game| Fact::Attached { node: 1, entity: RIDER, to: None, by_game };
    at(2, &mut together(), &[off(false)]).unwrap_err();
    at(2, &mut together(), &[[off(true)], rides(None)].concat()).unwrap();
}
