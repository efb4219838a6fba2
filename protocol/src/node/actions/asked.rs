//! The receiver's node: what is asked of an entity that is held here is given to its game, once, and answered once what
//! came of it is safe; what is asked of one that went on is passed on.

use super::{GAME_PATIENCE, Given, Owed};
use crate::action::{ActionId, Request};
use crate::authority::Standing;
#[cfg(feature = "planted-bugs")]
use crate::config::PlantedBug;
use crate::id::{AuthorityEpoch, EntityId};
use crate::limits::{ACTIONS_GIVEN_MAX, HOPS_MAX};
use crate::node::{ActionCommand, GameCommand, Node};
use crate::time::{Tick, Time};
use crate::wire::{ActionMessage, Missed};

impl Node {
    /// The receiver's game side has answered: so is the sender's node, once that is safe.
    pub(super) fn answer_action(
        &mut self,
        entity: EntityId,
        id: ActionId,
        safe_from: Option<Tick>,
        message: ActionMessage,
        now: Time,
    ) {
        let alone = self.is_alone();
        let Some(held) = self.held.get_mut(&entity) else {
            return;
        };
        let Some(Given { reply_to: to, .. }) = held.acting.given.remove(&id) else {
            return;
        };
        #[cfg(feature = "planted-bugs")]
        let alone = alone || self.setup.config.has_bug(PlantedBug::AnswerUnsafe);
        match safe_from {
            Some(at) if !alone && held.acting.safe.is_none_or(|safe| safe < at) => {
                held.acting.owed.insert(id, Owed { to, at, message });
                self.hurry_checkpoint(now);
            }
            Some(_) | None => self.say_action(to, message, now),
        }
    }

    /// Somebody asks for something of an entity: it is done here, or passed on to where the entity went.
    pub(super) fn on_asked(&mut self, to: EntityId, message: ActionMessage, now: Time) {
        let (ActionMessage::Ask { id, reply_to, hops, durable: _, .. }
        | ActionMessage::Close { id, reply_to, hops, .. }) = &message
        else {
            return;
        };
        let (id, reply_to, hops) = (*id, *reply_to, *hops);
        match self.authority.standing(to) {
            Some(Standing::Active(grant)) => self.give(to, grant, message, now),
            // Its sender repeats it.
            Some(Standing::Frozen { .. }) => {}
            None => {
                let left = self.tombstones.get(&to).map(|tombstone| (tombstone.to, tombstone.forward_until));
                let why = match left {
                    Some((peer, until)) if now < until && hops < HOPS_MAX => {
                        self.say_action(peer, passed_on(message), now);
                        return;
                    }
                    Some((_, until)) if now < until => Missed::TooManyHops,
                    Some((peer, _)) => Missed::Moved { to: peer },
                    None => Missed::NotHere,
                };
                self.say_action(reply_to, ActionMessage::Missed { id, why }, now);
            }
        }
    }

    /// Gives the game side what somebody asks, unless it has it already.
    fn give(&mut self, entity: EntityId, grant: AuthorityEpoch, message: ActionMessage, now: Time) {
        let Some(held) = self.held.get_mut(&entity) else {
            return;
        };
        let given = &mut held.acting.given;
        let (command, id, reply_to) = match message {
            ActionMessage::Ask { id, low, deadline, durable, reply_to, bytes, .. } => {
                let request = Request { id, low, deadline, durable, bytes };
                (ActionCommand::Perform { entity, grant, request }, id, reply_to)
            }
            ActionMessage::Close { id, reply_to, .. } => {
                (ActionCommand::Close { entity, grant, id }, id, reply_to)
            }
            ActionMessage::Answer { .. }
            | ActionMessage::Missed { .. }
            | ActionMessage::Closed { .. }
            | ActionMessage::Locate { .. }
            | ActionMessage::Located { .. } => return,
        };
        // It was asked and waits for the game, or for a checkpoint: only who wants to hear it may have changed.
        if let Some(owed) = held.acting.owed.get_mut(&id) {
            owed.to = reply_to;
            if matches!(command, ActionCommand::Perform { .. }) {
                return;
            }
        }
        if let Some(known) = given.get_mut(&id) {
            known.reply_to = reply_to;
            if now.since(known.at) < GAME_PATIENCE {
                return;
            }
        } else if given.len() + held.acting.owed.len() >= ACTIONS_GIVEN_MAX {
            given.retain(|_, known| now.since(known.at) < GAME_PATIENCE);
            return;
        }
        given.insert(id, Given { reply_to, at: now });
        self.command(GameCommand::Action(command));
    }

    /// A sender should long have closed what it asked of an entity: the coordinator knows whether it is no more.
    pub(super) fn ask_after(&mut self, entity: EntityId, from: EntityId) {
        if let Some(held) = self.held.get_mut(&entity) {
            held.acting.unclosed.insert(from);
            self.locate(from);
        }
    }

    /// The coordinator has said whether a sender is gone for good. If not, it is asked again after a while.
    pub(super) fn on_asked_after(&mut self, from: EntityId, gone: bool) {
        let waits = self.held.iter_mut().filter_map(|(&entity, held)| {
            held.acting.unclosed.remove(&from).then_some(entity).filter(|_| gone)
        });
        for entity in waits.collect::<Vec<_>>() {
            if let Some(grant) = self.authority.active_epoch(entity) {
                self.command(GameCommand::Action(ActionCommand::Forsake { entity, grant, from }));
            }
        }
    }
}

/// The same, one hop further.
fn passed_on(mut message: ActionMessage) -> ActionMessage {
    match &mut message {
        ActionMessage::Ask { hops, .. }
        | ActionMessage::Answer { hops, .. }
        | ActionMessage::Close { hops, .. }
        | ActionMessage::Closed { hops, .. } => *hops = hops.saturating_add(1),
        ActionMessage::Missed { .. } | ActionMessage::Locate { .. } | ActionMessage::Located { .. } => {}
    }
    message
}
