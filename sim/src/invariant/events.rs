//! Events: whoever is in an event's area in its tick is reached once, on whatever node, at corners and across handoffs too.
//!
//! - Never twice, whatever happens: what has reached an entity is part of its state, so that what a crash undoes counts for
//!   nothing.
//! - Once, if the node whose entity it is in that tick had heard of the event before its game ran the tick. With a handoff in
//!   between that is the target from the tick after the source's last one on, though the entity may come later.
//! - Nobody who was outside.
//! - A local event is sent to every node that owns a cell which its area touches, by the map of who causes it.
//!
//! Not wanted back: what a message that was lost or late would have reached, what a return from a copy undid, and who comes
//! after more ticks than events are kept for.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_protocol::event::{Event, EventId};
use selvedge_protocol::grid::Position;
use selvedge_protocol::id::{AuthorityEpoch, EntityId};
use selvedge_protocol::limits::EVENT_KEPT_TICKS;
use selvedge_protocol::time::Tick;

use super::{Fact, Invariant, Step, Violation};

const NAME: &str = "events";
/// Facts of so many ticks are remembered.
const REMEMBERED_TICKS: u64 = 10 * EVENT_KEPT_TICKS;

/// What is seen of events.
#[derive(Clone, PartialEq, Debug)]
pub enum EventFact {
    /// A core took an event of its game's.
    Caused {
        /// The node.
        node: usize,
        /// The event.
        event: Event,
        /// Who owns a cell that it touches, by the node's map.
        owners: Vec<usize>,
    },
    /// A core said it to another node.
    Sent {
        /// The event.
        event: EventId,
        /// To whom.
        to: usize,
    },
    /// It takes effect in a game.
    Happened {
        /// The node.
        node: usize,
        /// The event.
        event: EventId,
        /// Whether the game had run no tick since the event's own.
        on_time: bool,
    },
    /// It reaches an entity.
    Reached {
        /// The node.
        node: usize,
        /// The event.
        event: EventId,
        /// The entity.
        entity: EntityId,
        /// Whether it had reached it before, by the entity's own state.
        again: bool,
    },
    /// A core took where an entity stands.
    Stood {
        /// The node.
        node: usize,
        /// The entity.
        entity: EntityId,
        /// Under which grant.
        epoch: AuthorityEpoch,
        /// After which tick.
        tick: Tick,
        /// Where.
        position: Position,
    },
}

/// Follows events and those in their areas. See the module's page.
#[derive(Debug, Default)]
pub struct Events {
    events: BTreeMap<EventId, Record>,
    /// In the order of their ticks.
    by_tick: BTreeSet<(Tick, EventId)>,
    stood: BTreeMap<EntityId, Stood>,
}

#[derive(Debug)]
struct Record {
    event: Event,
    /// Where it took effect, and whether in time.
    happened: BTreeMap<usize, bool>,
    reached: BTreeSet<EntityId>,
}

#[derive(Clone, Copy, Debug)]
struct Stood {
    epoch: AuthorityEpoch,
    tick: Tick,
    position: Position,
}

impl Invariant for Events {
    fn observe(&mut self, step: &Step<'_>) -> Result<(), Violation> {
        let sent: BTreeSet<(EventId, usize)> = step.facts.iter().filter_map(sent).collect();
        for fact in step.facts {
            if let Fact::Event(fact) = fact {
                self.on_event(fact, &sent)?;
            } else if let Fact::Ended { node } | Fact::LifeOver { node } = fact {
                // Another game begins there, which has heard of nothing.
                for record in self.events.values_mut() {
                    record.happened.remove(node);
                }
            }
        }
        Ok(())
    }
}

fn sent(fact: &Fact) -> Option<(EventId, usize)> {
    if let Fact::Event(EventFact::Sent { event, to }) = fact { Some((*event, *to)) } else { None }
}

impl Events {
    fn on_event(&mut self, fact: &EventFact, sent: &BTreeSet<(EventId, usize)>) -> Result<(), Violation> {
        match fact {
            EventFact::Caused { node, event, owners } => self.on_caused(*node, event, owners, sent),
            EventFact::Sent { .. } => Ok(()),
            EventFact::Happened { node, event, on_time } => {
                if let Some(record) = self.events.get_mut(event) {
                    record.happened.insert(*node, *on_time);
                }
                Ok(())
            }
            EventFact::Reached { node, event, entity, again } => {
                if *again {
                    let what = format!("{entity} is reached by {event:?} a second time, at node {node}");
                    return Err(violation(Some(*entity), what));
                }
                if let Some(record) = self.events.get_mut(event) {
                    record.reached.insert(*entity);
                }
                Ok(())
            }
            &EventFact::Stood { node, entity, epoch, tick, position } => {
                let former = self.stood.insert(entity, Stood { epoch, tick, position });
                match former.filter(|former| former.epoch.generation == epoch.generation) {
                    Some(former) => self.on_stood(node, entity, former, tick),
                    None => Ok(()),
                }
            }
        }
    }

    fn on_caused(
        &mut self,
        node: usize,
        event: &Event,
        owners: &[usize],
        sent: &BTreeSet<(EventId, usize)>,
    ) -> Result<(), Violation> {
        let untold = owners.iter().find(|&&owner| owner != node && !sent.contains(&(event.id, owner)));
        if let Some(owner) = untold {
            let what = format!("{event:?} touches a cell of node {owner}, which is not told");
            return Err(violation(None, what));
        }
        let (happened, reached) = (BTreeMap::new(), BTreeSet::new());
        let record = Record { event: event.clone(), happened, reached };
        self.by_tick.insert((event.tick, event.id));
        self.events.insert(event.id, record);
        while let Some(&(old, id)) = self.by_tick.first()
            && old.0 + REMEMBERED_TICKS < event.tick.0
        {
            self.by_tick.pop_first();
            self.events.remove(&id);
        }
        Ok(())
    }

    /// The entity was somewhere after `former.tick`, and is this node's since then: all that happened there until `tick`
    /// has reached it by now, and nothing else.
    fn on_stood(&self, node: usize, entity: EntityId, former: Stood, tick: Tick) -> Result<(), Violation> {
        let mut since = self.by_tick.iter().filter(|(at, _)| former.tick < *at && *at <= tick);
        since.try_for_each(|(at, id)| {
            let Some(record) = self.events.get(id).filter(|_| tick.0 < at.0 + EVENT_KEPT_TICKS) else {
                return Ok(());
            };
            let on_time = record.happened.get(&node).is_some_and(|&on_time| on_time);
            let inside = record.event.area.contains(former.position);
            let reached = record.reached.contains(&entity);
            if !on_time || inside == reached {
                return Ok(());
            }
            let (position, area) = (former.position, record.event.area);
            let what = if inside {
                format!(
                    "{entity} at {position:?} after {:?} was missed by {id:?} of {at:?}, {area:?}",
                    former.tick
                )
            } else {
                format!(
                    "{entity} at {position:?} after {:?} was reached by {id:?} of {at:?}, {area:?}",
                    former.tick
                )
            };
            Err(violation(Some(entity), what))
        })
    }
}

fn violation(entity: Option<EntityId>, what: String) -> Violation {
    Violation { invariant: NAME, what, entity, player: None }
}
