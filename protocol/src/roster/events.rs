//! Events on the game's side: caused, and reaching those who are this node's in their tick.

use super::{Callback, Roster};
use crate::event::{Area, Event, EventError, Reached};
use crate::id::{EntityId, HandoffId};
use crate::limits::{EVENT_BYTES_MAX, EVENT_LEAD_TICKS_MAX, EVENTS_PER_TICK_MAX};
use crate::node::GameReport;
use crate::snapshot::Assembled;
use crate::time::Tick;

/// So many ticks after it was caused an event takes effect: by then the neighbours have heard of it.
const LEAD_TICKS: u64 = 3;

impl Roster {
    /// Something happens, three ticks from now; six if it happens everywhere.
    ///
    /// # Errors
    /// If it is too long, its area impossible, or there were too many in this tick.
    pub fn cause(&mut self, area: Area, bytes: &[u8], tick: Tick) -> Result<(), EventError> {
        if bytes.len() > EVENT_BYTES_MAX {
            return Err(EventError::TooLong { bytes: bytes.len() });
        }
        if !area.is_possible() {
            return Err(EventError::BadArea { area });
        }
        if self.caused >= EVENTS_PER_TICK_MAX {
            return Err(EventError::TooMany);
        }
        self.caused += 1;
        let lead = if area.cube().is_some() { LEAD_TICKS } else { EVENT_LEAD_TICKS_MAX };
        let tick = Tick(tick.0.saturating_add(lead));
        self.reports.push(GameReport::Event { area, bytes: bytes.to_vec(), tick });
        Ok(())
    }

    /// The game is asked whether it takes the entity, which is this node's from `first_tick` on if it does: what happens
    /// until the game has answered still reaches it.
    pub(super) fn ask(
        &mut self,
        id: HandoffId,
        snapshot: Assembled,
        first_tick: Tick,
        tick: Tick,
    ) -> Callback {
        self.asked.insert(id.entity, first_tick);
        Callback::Admit { id, snapshot, restores: first_tick <= tick }
    }

    /// The next event that takes effect in `tick`, and whom it reaches of those who are simulated here; nobody where it
    /// touches only the ground. Ask after the tick's commands, before its step, until there is none.
    pub fn poll_event(&mut self, tick: Tick) -> Option<(Event, Vec<EntityId>)> {
        let Reached { event, only } = self.happenings.poll(tick)?;
        let here = self.held.iter().filter(|(_, entry)| self.happenings.reaches(&event, entry.since));
        let reached = here
            .filter(|(entity, entry)| {
                only.is_none_or(|only| only == **entity) && event.area.contains(entry.position)
            })
            .map(|(&entity, _)| entity);
        let reached = reached.collect();
        Some((event, reached))
    }
}
