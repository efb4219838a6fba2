//! Events for the whole world, passed on to every node at a bounded rate.

use core::time::Duration;

use super::Coordinator;
use crate::event::Event;
use crate::id::NodeId;
use crate::limits::ANNOUNCEMENTS_PER_S;
use crate::time::Time;
use crate::wire::{EventMessage, Message};

/// The time in which another one may be passed on.
const PAUSE: Duration = Duration::from_micros(1_000_000 / ANNOUNCEMENTS_PER_S as u64);

/// How many may be passed on now, as the time at which there would be none left.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    empty_at: Time,
}

impl Announcements {
    fn may(&mut self, now: Time) -> bool {
        let from = self.empty_at.max(now - Duration::from_secs(1));
        let may = from + PAUSE <= now;
        if may {
            self.empty_at = from + PAUSE;
        }
        may
    }
}

impl Coordinator {
    /// A node's game announces something. In its own name only, and for the whole world: the rest nodes tell each other.
    pub(super) fn on_announcement(&mut self, from: NodeId, event: Event, now: Time) {
        let own = self.nodes.get(&from).is_some_and(|record| record.peer() == event.id.by);
        if !own || event.area.cube().is_some() {
            self.misbehaved(from, "it announced an event in another's name, or a local one".to_owned());
            return;
        }
        if !self.announcements.may(now) {
            return;
        }
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        for node in nodes {
            let term = self.term;
            self.send(node, Message::Event(EventMessage::Announced { term, event: event.clone() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_only_the_rate() {
        let mut announcements = Announcements::default();
        let start = Time::from_micros(10_000_000);
        let passed =
            |announcements: &mut Announcements, now| (0..100).filter(|_| announcements.may(now)).count();
        assert_eq!(passed(&mut announcements, start), ANNOUNCEMENTS_PER_S as usize);
        assert_eq!(passed(&mut announcements, start), 0);
        assert_eq!(passed(&mut announcements, start + PAUSE * 3), 3);
    }
}
