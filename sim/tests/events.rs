//! The check of events, on made-up facts.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic like the test")]

use selvedge_protocol::event::{Area, Event, EventId};
use selvedge_protocol::grid::Position;
use selvedge_protocol::id::{AuthorityEpoch, EntityId, Incarnation, NodeId, Peer};
use selvedge_protocol::time::{Tick, Time};
use selvedge_sim::invariant::{EventFact, Events, Fact, Invariant, Step, Violation};

const ENTITY: EntityId = EntityId::from_u128(7);
const ID: EventId =
    EventId { by: Peer { node: NodeId::from_u128(1), incarnation: Incarnation(1) }, number: 1 };

fn observe(check: &mut Events, facts: Vec<EventFact>) -> Result<(), Violation> {
    let facts: Vec<Fact> = facts.into_iter().map(Fact::Event).collect();
    check.observe(&Step { number: 1, at: Time::ZERO, facts: &facts })
}

/// Node 0 causes an event of tick 13 around the origin.
fn caused(owners: &[usize]) -> EventFact {
    let area = Area::Sphere { centre: Position::new(0.0, 0.0, 0.0), radius_m: 10.0 };
    let event = Event { id: ID, tick: Tick(13), area, bytes: Vec::new() };
    EventFact::Caused { node: 0, event, owners: owners.to_vec() }
}

const fn happened(node: usize, on_time: bool) -> EventFact {
    EventFact::Happened { node, event: ID, on_time }
}

const fn reached(node: usize, again: bool) -> EventFact {
    EventFact::Reached { node, event: ID, entity: ENTITY, again }
}

const fn stood(node: usize, step: u32, tick: u64, x: f64) -> EventFact {
    let epoch = AuthorityEpoch { generation: 0, step };
    EventFact::Stood { node, entity: ENTITY, epoch, tick: Tick(tick), position: Position::new(x, 0.0, 0.0) }
}

/// An event, and the entity in its area before it happens.
fn before(x: f64) -> Events {
    let mut check = Events::default();
    observe(&mut check, vec![caused(&[0]), stood(0, 1, 12, x)]).unwrap();
    check
}

#[test]
fn who_is_there_must_be_reached_and_nobody_else() {
    observe(&mut before(5.0), vec![happened(0, true), reached(0, false), stood(0, 1, 13, 5.0)]).unwrap();
    observe(&mut before(5.0), vec![happened(0, true), stood(0, 1, 13, 5.0)]).unwrap_err();
    observe(&mut before(50.0), vec![happened(0, true), stood(0, 1, 13, 50.0)]).unwrap();
    observe(&mut before(50.0), vec![happened(0, true), reached(0, false), stood(0, 1, 13, 50.0)])
        .unwrap_err();
    observe(&mut before(5.0), vec![happened(0, true), reached(0, true)]).unwrap_err();
}

#[test]
fn who_crosses_must_be_reached_by_its_new_node_however_late_it_comes() {
    let mut check = before(5.0);
    let there = [happened(0, true), happened(1, true)];
    observe(&mut check, there.to_vec()).unwrap();
    observe(&mut check, vec![stood(1, 2, 20, 6.0)]).unwrap_err();
    let mut check = before(5.0);
    observe(&mut check, there.to_vec()).unwrap();
    observe(&mut check, vec![reached(1, false), stood(1, 2, 20, 6.0)]).unwrap();
}

#[test]
fn what_was_late_or_never_came_is_not_wanted() {
    observe(&mut before(5.0), vec![stood(0, 1, 13, 5.0)]).unwrap();
    observe(&mut before(5.0), vec![happened(0, false), stood(0, 1, 13, 5.0)]).unwrap();
    let mut restarted = before(5.0);
    observe(&mut restarted, vec![happened(1, true)]).unwrap();
    restarted.observe(&Step { number: 2, at: Time::ZERO, facts: &[Fact::Ended { node: 1 }] }).unwrap();
    observe(&mut restarted, vec![stood(1, 2, 20, 6.0)]).unwrap();
}

#[test]
fn every_owner_of_a_cell_that_it_touches_must_be_told() {
    let sent = EventFact::Sent { event: ID, to: 1 };
    observe(&mut Events::default(), vec![caused(&[0, 1])]).unwrap_err();
    observe(&mut Events::default(), vec![sent, caused(&[0, 1])]).unwrap();
}
