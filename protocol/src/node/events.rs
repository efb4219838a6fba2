//! Events on their way: to every node whose cells they touch, once to each.

use super::{GameCommand, Node, NodeEvent};
use crate::event::{Area, Event, EventId};
use crate::id::Peer;
use crate::limits::{EVENT_KEPT_TICKS, EVENT_LEAD_TICKS_MAX, EVENTS_PER_TICK_MAX};
use crate::time::Tick;
use crate::wire::{EventMessage, Lane, Message};

/// What a node keeps about events.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// How many this life has caused.
    caused: u64,
    /// How many came from others since the last tick.
    heard: usize,
}

impl Events {
    pub(super) const fn next_tick(&mut self) {
        self.heard = 0;
    }
}

impl Node {
    /// The game caused an event.
    pub(super) fn on_event_caused(&mut self, area: Area, bytes: Vec<u8>, tick: Tick) {
        let (Some(by), Some(grid)) = (self.me(), self.grid().copied()) else {
            return;
        };
        self.events.caused += 1;
        self.event(NodeEvent::EventCaused);
        let event = Event { id: EventId { by, number: self.events.caused }, tick, area, bytes };
        let Some((centre, half_m)) = area.cube() else {
            self.tell_coordinator(Message::Event(EventMessage::Happens(event)));
            return;
        };
        // Who stands a little past a border is still with its former owner.
        let reach_m = half_m + self.membership.interest_margin_m() + self.setup.config.hysteresis_m;
        #[cfg(feature = "planted-bugs")]
        let reach_m =
            if self.setup.config.has_bug(crate::config::PlantedBug::EventToOne) { 0.0 } else { reach_m };
        for node in self.map.neighbours_within(&grid, by.node, centre, reach_m) {
            self.send(node, Lane::Action, Message::Event(EventMessage::Happens(event.clone())));
        }
        self.command(GameCommand::Event(event));
    }

    /// Another node's event reaches this one's cells.
    pub(super) fn on_event(&mut self, peer: Peer, message: EventMessage) {
        match message {
            EventMessage::Happens(event) if event.id.by == peer && event.area.cube().is_some() => {
                self.hear_event(event);
            }
            EventMessage::Happens(_) => self.misbehaved(peer, "sent an event in another's name"),
            EventMessage::Announced { .. } => {
                self.misbehaved(peer, "sent a message that only the coordinator's link carries");
            }
        }
    }

    /// An event from outside. Those that come faster than any game causes them, or are of another time, are dropped.
    pub(super) fn hear_event(&mut self, event: Event) {
        let now = self.last_frame.0;
        let of_now = event.tick.0 <= now.saturating_add(2 * EVENT_KEPT_TICKS + EVENT_LEAD_TICKS_MAX)
            && event.tick.0.saturating_add(EVENT_KEPT_TICKS) >= now;
        if of_now && self.events.heard < 4 * EVENTS_PER_TICK_MAX {
            self.events.heard += 1;
            self.command(GameCommand::Event(event));
        }
    }
}
