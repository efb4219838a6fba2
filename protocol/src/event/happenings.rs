//! The game's side of events: what is still to happen, and what has just happened, for those who come late.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Event, EventId};
#[cfg(feature = "planted-bugs")]
use crate::config::PlantedBug;
use crate::id::EntityId;
use crate::limits::{EVENT_KEPT_TICKS, EVENTS_KEPT_MAX};
use crate::time::Tick;

/// An event that takes effect now, and whom it may reach.
#[derive(Clone, PartialEq, Debug)]
pub struct Reached {
    /// What happens.
    pub event: Event,
    /// Only this entity, which has just come and missed it; none: everybody who was here in the event's tick.
    pub only: Option<EntityId>,
}

/// Events of the present. See the module's page.
#[derive(Debug, Default)]
pub struct Happenings {
    /// Still to happen, by tick.
    coming: BTreeMap<(Tick, EventId), Event>,
    /// Has happened here, the newest last.
    past: VecDeque<Event>,
    known: BTreeSet<EventId>,
    /// For those who came late.
    late: VecDeque<Reached>,
    #[cfg(feature = "planted-bugs")]
    bug: Option<PlantedBug>,
}

impl Happenings {
    /// Nothing happens.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            coming: BTreeMap::new(),
            past: VecDeque::new(),
            known: BTreeSet::new(),
            late: VecDeque::new(),
            #[cfg(feature = "planted-bugs")]
            bug: None,
        }
    }

    /// Builds a known bug in, if it is one of these.
    #[cfg(feature = "planted-bugs")]
    pub(crate) const fn plant(&mut self, bug: PlantedBug) {
        self.bug = Some(bug);
    }

    /// Whether an entity that is this node's from `since` on was so in the event's tick.
    pub(crate) fn reaches(&self, event: &Event, since: Tick) -> bool {
        #[cfg(feature = "planted-bugs")]
        if self.bug == Some(PlantedBug::ReachStrangers) {
            return true;
        }
        since <= event.tick
    }

    /// Hears of an event. A double, or one past the bounds, is ignored.
    pub fn hear(&mut self, event: Event, tick: Tick) {
        let old = event.tick.0.saturating_add(EVENT_KEPT_TICKS) < tick.0;
        if old || self.coming.len() >= EVENTS_KEPT_MAX || !self.known.insert(event.id) {
            return;
        }
        self.coming.insert((event.tick, event.id), event);
    }

    /// The next event that takes effect by `tick`.
    pub fn poll(&mut self, tick: Tick) -> Option<Reached> {
        if let Some(late) = self.late.pop_front() {
            return Some(late);
        }
        let &key = self.coming.keys().next().filter(|(due, _)| *due <= tick)?;
        let event = self.coming.remove(&key)?;
        self.past.push_back(event.clone());
        let old = |event: &Event| event.tick.0.saturating_add(EVENT_KEPT_TICKS) < tick.0;
        while self.past.len() > EVENTS_KEPT_MAX || self.past.front().is_some_and(old) {
            if let Some(forgotten) = self.past.pop_front() {
                self.known.remove(&forgotten.id);
            }
        }
        Some(Reached { event, only: None })
    }

    /// An entity came that is this node's from `since` on: what has happened since then reaches it now.
    pub fn came(&mut self, entity: EntityId, since: Tick) {
        #[cfg(feature = "planted-bugs")]
        if self.bug == Some(PlantedBug::ForgetComers) {
            return;
        }
        let missed = self.past.iter().filter(|event| event.tick >= since);
        self.late.extend(missed.map(|event| Reached { event: event.clone(), only: Some(entity) }));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Area;
    use super::*;
    use crate::id::{Incarnation, NodeId, Peer};

    const ENTITY: EntityId = EntityId::from_u128(7);

    fn event(number: u64, tick: u64) -> Event {
        let by = Peer { node: NodeId::from_u128(1), incarnation: Incarnation(1) };
        Event { id: EventId { by, number }, tick: Tick(tick), area: Area::World, bytes: Vec::new() }
    }

    fn polled(happenings: &mut Happenings, tick: u64) -> Vec<(u64, Option<EntityId>)> {
        let next = || happenings.poll(Tick(tick));
        core::iter::from_fn(next).map(|reached| (reached.event.id.number, reached.only)).collect()
    }

    #[test]
    fn an_event_takes_effect_once_and_not_before_its_tick() {
        let mut happenings = Happenings::new();
        happenings.hear(event(1, 10), Tick(8));
        happenings.hear(event(1, 10), Tick(8));
        assert_eq!(polled(&mut happenings, 9), []);
        assert_eq!(polled(&mut happenings, 11), [(1, None)], "a tick was left out");
        happenings.hear(event(1, 10), Tick(11));
        assert_eq!(polled(&mut happenings, 12), [], "a late double");
    }

    #[test]
    fn who_comes_late_is_reached_by_what_was_theirs_here_and_by_nothing_older() {
        let mut happenings = Happenings::new();
        for (number, tick) in [(1, 10), (2, 11), (3, 12)] {
            happenings.hear(event(number, tick), Tick(8));
        }
        assert_eq!(polled(&mut happenings, 11), [(1, None), (2, None)]);
        happenings.came(ENTITY, Tick(11));
        assert_eq!(polled(&mut happenings, 11), [(2, Some(ENTITY))]);
        assert_eq!(polled(&mut happenings, 12), [(3, None)]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut happenings = Happenings::new();
        for number in 0..3 * EVENTS_KEPT_MAX as u64 {
            happenings.hear(event(number, 10), Tick(9));
        }
        assert_eq!(polled(&mut happenings, 10).len(), EVENTS_KEPT_MAX);
        happenings.hear(event(9_999, 10), Tick(11 + EVENT_KEPT_TICKS));
        assert_eq!(polled(&mut happenings, 11 + EVENT_KEPT_TICKS), [], "too old");
    }
}
