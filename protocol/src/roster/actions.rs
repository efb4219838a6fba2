//! Actions on the game's side: each entity's book is written here, in the tick in which the game acts on it, so that
//! every snapshot holds the game's state and the book of one moment.

use super::{Callback, Roster};
use crate::action::{ActError, ActionBook, ActionNumber, Failure, Offer, Outcome, Request, Settled, Terms};
use crate::id::EntityId;
use crate::limits::{ANSWER_BYTES_MAX, UNCLOSED_TICKS};
use crate::node::{ActionCommand, ActionNews, ActionReport, GameCommand, GameReport};
use crate::snapshot::{ComponentVersions, SnapshotWriter};
use crate::time::Tick;

/// The game's answer to an action.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Performed<'a> {
    /// It is done; what the sender hears.
    Done(&'a [u8]),
    /// It is not; what the sender hears.
    Refused(&'a [u8]),
}

impl Roster {
    /// Starts a snapshot of an entity that is simulated here, with what it remembers of its actions up to this very
    /// moment. The game writes the rest.
    #[must_use]
    pub fn writer(&self, entity: EntityId, have: &ComponentVersions) -> SnapshotWriter {
        let entry = self.held.get(&entity);
        let mut writer = SnapshotWriter::new(entity, entry.and_then(|entry| entry.session), have);
        if let Some(entry) = entry {
            writer.actions(&entry.actions);
            writer.attached_to(self.groups.attached_to(entity));
        }
        writer
    }

    /// An entity acts on another. What comes of it is told by [`Callback::Settled`], once, wherever the entity is then.
    ///
    /// # Errors
    /// If the entity isn't simulated here or is leaving, the action is too long, or too many are unsettled.
    pub fn act(
        &mut self,
        from: EntityId,
        to: EntityId,
        bytes: &[u8],
        terms: Terms,
        tick: Tick,
    ) -> Result<ActionNumber, ActError> {
        let entry = self.held.get_mut(&from).ok_or(ActError::NotHeld(from))?;
        if entry.leaving.is_some() {
            return Err(ActError::Leaving(from));
        }
        let generation = entry.grant.generation;
        let number = entry.actions.issue(from, generation, to, bytes, terms, tick)?;
        self.tell_pending(from, number);
        Ok(number)
    }

    /// The game's answer to [`Callback::Perform`]. An answer past [`ANSWER_BYTES_MAX`] is cut.
    pub fn performed(&mut self, entity: EntityId, request: &Request, answer: Performed<'_>, tick: Tick) {
        let Some(entry) = self.held.get_mut(&entity) else {
            return;
        };
        let short = |bytes: &[u8]| bytes.iter().copied().take(ANSWER_BYTES_MAX).collect();
        let outcome = match answer {
            Performed::Done(bytes) => Outcome::Done(short(bytes)),
            Performed::Refused(bytes) => Outcome::Refused(short(bytes)),
        };
        entry.actions.remember(request, outcome.clone(), tick);
        let Request { id, durable, .. } = *request;
        self.tell(entity, ActionNews::Performed { id, durable, fresh: true, at: tick, outcome });
    }

    /// Actions of an entity that are not settled to their end; durable ones to it that their senders may still ask about
    /// count as one.
    #[must_use]
    pub fn unsettled(&self, entity: EntityId) -> usize {
        let Some(entry) = self.held.get(&entity) else {
            return 0;
        };
        let outbox = entry.actions.outbox();
        outbox.pending().count() + outbox.closing().count() + usize::from(entry.actions.is_bound())
    }

    /// Takes the core's word about an action.
    pub(super) fn take_action(&mut self, command: ActionCommand, tick: Tick) -> Option<Callback> {
        let (entity, grant) = (command.entity(), command.grant());
        let entry = self.held.get_mut(&entity).filter(|entry| entry.grant == grant)?;
        match command {
            ActionCommand::Perform { request, .. } => {
                let Request { id, durable, .. } = request;
                let news = match entry.actions.offer(&request, tick) {
                    Offer::Fresh if entry.leaving.is_some() => ActionNews::NotPerformed { id, late: false },
                    Offer::Fresh => return Some(Callback::Perform { entity, request }),
                    Offer::Known { outcome, at } => {
                        ActionNews::Performed { id, durable, fresh: false, at, outcome }
                    }
                    Offer::Late => ActionNews::NotPerformed { id, late: true },
                    Offer::Ignored => ActionNews::NotPerformed { id, late: false },
                };
                self.tell(entity, news);
                None
            }
            ActionCommand::Settle { number, outcome, .. } => {
                let durable = entry.actions.outbox().get(number)?.durable;
                let settled = entry.actions.settle(number, &outcome, tick)?;
                match settled {
                    Settled::Over => {
                        self.tell(entity, ActionNews::Over { number, durable, outcome: outcome.clone() });
                    }
                    Settled::Closing => self.tell_closing(entity, number, Some(outcome.clone())),
                }
                Some(Callback::Settled { entity, number, outcome })
            }
            ActionCommand::Close { id, .. } => {
                entry.actions.close(id);
                self.tell(entity, ActionNews::Closed { id, at: tick });
                None
            }
            ActionCommand::Forsake { from, .. } => {
                entry.actions.forsake(from, tick);
                None
            }
            ActionCommand::Closed { number, .. } => {
                entry.actions.closed(number);
                None
            }
        }
    }

    /// Tells the core all that is unsettled of an entity that has just come.
    pub(super) fn tell_actions(&mut self, entity: EntityId) {
        let Some(entry) = self.held.get(&entity) else {
            return;
        };
        let outbox = entry.actions.outbox();
        let pending: Vec<ActionNumber> = outbox.pending().map(|(number, _)| number).collect();
        let closing: Vec<ActionNumber> = outbox.closing().map(|(number, _)| number).collect();
        pending.into_iter().for_each(|number| self.tell_pending(entity, number));
        closing.into_iter().for_each(|number| self.tell_closing(entity, number, None));
    }

    /// A tick begins: what is overdue is settled, what can't be asked any more is forgotten, and who waited to leave
    /// leaves.
    pub(super) fn age_actions(&mut self, tick: Tick, commands: &mut Vec<GameCommand>) {
        for (&entity, entry) in &mut self.held {
            if entry.actions.is_blank() {
                continue;
            }
            let grant = entry.grant;
            if tick >= entry.asks_after {
                entry.asks_after = Tick(tick.0.saturating_add(UNCLOSED_TICKS));
                self.reports.extend(entry.actions.unclosed(tick).map(|from| {
                    GameReport::Action(ActionReport { entity, grant, news: ActionNews::Unclosed { from } })
                }));
            }
            commands.extend(entry.actions.outbox().overdue(tick).map(|number| {
                let outcome = Outcome::Failed(Failure::TimedOut);
                GameCommand::Action(ActionCommand::Settle { entity, grant, number, outcome })
            }));
            entry.actions.forget_old(tick);
            if !entry.actions.is_bound()
                && let Some(why) = entry.leaving.take()
            {
                commands.push(GameCommand::Leave { entity, grant, why });
            }
        }
    }

    fn tell_pending(&mut self, entity: EntityId, number: ActionNumber) {
        let action = self.book(entity).and_then(|book| book.outbox().get(number)).cloned();
        if let Some(action) = action {
            self.tell(entity, ActionNews::Pending { number, action });
        }
    }

    fn tell_closing(&mut self, entity: EntityId, number: ActionNumber, outcome: Option<Outcome>) {
        let closing =
            self.book(entity).and_then(|book| book.outbox().closing().find(|(known, _)| *known == number));
        if let Some((_, closing)) = closing {
            self.tell(entity, ActionNews::Closing { number, closing, outcome });
        }
    }

    fn book(&self, entity: EntityId) -> Option<&ActionBook> {
        self.held.get(&entity).map(|entry| &entry.actions)
    }

    fn tell(&mut self, entity: EntityId, news: ActionNews) {
        if let Some(grant) = self.grant(entity) {
            self.reports.push(GameReport::Action(ActionReport { entity, grant, news }));
        }
    }
}
