//! What waits for the player's program: bounded, in order, and of the states only the newest.

use std::collections::VecDeque;

use selvedge_protocol::handoff::client::ClientEvent;

/// Events that wait for a slow reader. When full, the oldest goes.
pub const EVENTS_WAITING_MAX: usize = 256;

/// Events in order. Invariant: never two states in a row.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    waiting: VecDeque<ClientEvent>,
}

/// What had to go so that an event could be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Displaced {
    Nothing,
    OlderState,
    OldestEvent,
}

impl EventQueue {
    /// Keeps `event`. A state takes the place of the state right before it.
    pub(crate) fn push(&mut self, event: ClientEvent) -> Displaced {
        if let (ClientEvent::State(_), Some(last @ ClientEvent::State(_))) = (&event, self.waiting.back_mut())
        {
            *last = event;
            return Displaced::OlderState;
        }
        let displaced = if self.waiting.len() < EVENTS_WAITING_MAX {
            Displaced::Nothing
        } else {
            self.waiting.pop_front();
            Displaced::OldestEvent
        };
        self.waiting.push_back(event);
        displaced
    }

    pub(crate) fn pop(&mut self) -> Option<ClientEvent> {
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::grid::Motion;
    use selvedge_protocol::id::{AuthorityEpoch, EntityId, InputSeq};
    use selvedge_protocol::time::Tick;
    use selvedge_protocol::wire::ServerMessage;

    use super::*;

    fn state(tick: u64) -> ClientEvent {
        ClientEvent::State(ServerMessage::State {
            entity: EntityId::from_u128(1),
            epoch: AuthorityEpoch::FIRST,
            tick: Tick(tick),
            applied: InputSeq(0),
            durable: InputSeq(0),
            motion: Motion::default(),
            own: Vec::new(),
        })
    }

    #[test]
    fn of_states_in_a_row_the_newest_is_kept_and_order_with_other_events_stays() {
        let mut queue = EventQueue::default();
        queue.push(state(1));
        assert_eq!(queue.push(state(2)), Displaced::OlderState);
        queue.push(ClientEvent::Lost);
        assert_eq!(queue.push(state(3)), Displaced::Nothing);
        let events: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(events, [state(2), ClientEvent::Lost, state(3)]);
    }

    #[test]
    fn a_reader_that_never_comes_costs_a_bounded_queue() {
        let mut queue = EventQueue::default();
        for _ in 0..EVENTS_WAITING_MAX {
            assert_eq!(queue.push(ClientEvent::Lost), Displaced::Nothing);
        }
        assert_eq!(queue.push(ClientEvent::InputRefused), Displaced::OldestEvent);
        assert_eq!(queue.waiting.len(), EVENTS_WAITING_MAX);
        assert_eq!(queue.waiting.back(), Some(&ClientEvent::InputRefused));
    }
}
