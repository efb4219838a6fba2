//! Actions on their way: each is carried to whoever holds its receiver, and repeated until the sender's game side says
//! that it is settled.
//!
//! All of this is soft: it is built anew from what the game side tells of an entity's book when it takes the entity. What
//! makes an action take effect once is the book (`action/`); what makes a durable one survive a crash is that each word
//! about it waits here for a safe checkpoint of what it says.

mod asked;

use std::collections::{BTreeMap, BTreeSet};

use core::time::Duration;

use super::{ActionCommand, ActionNews, ActionReport, GameCommand, Held, Node, NodeEvent, TimerKey};
use crate::action::{ActionId, ActionNumber, Closing, Failure, Outcome, Pending};
use crate::authority::Standing;
#[cfg(feature = "planted-bugs")]
use crate::config::PlantedBug;
use crate::id::{AuthorityEpoch, EntityId, Peer};
use crate::limits::HOPS_MAX;
use crate::time::{Tick, Time};
use crate::wire::{ActionMessage, Lane, Message, Missed};

/// Pause before the first repeat of what was not answered; it doubles up to [`REPEAT_MAX`].
const REPEAT: Duration = Duration::from_millis(150);
const REPEAT_MAX: Duration = Duration::from_secs(1);
/// How long the game may take to answer before a repeat is given to it again.
const GAME_PATIENCE: Duration = Duration::from_millis(500);
/// From so many silent tries on the coordinator is asked as well.
const TRIES_ALONE: u32 = 2;
/// A durable action is given up, where its receiver is gone, so many ticks after its deadline: no clock is that wrong.
const GIVE_UP_TICKS: u64 = 60;
/// Once its receiver was gone for so many ticks, a durable action counts as closed: by then a crash that brings back who
/// has just ended has done so.
const CLOSE_TICKS: u64 = 300;

/// What is under way between one entity that is held here and others.
#[derive(Debug, Default)]
pub(super) struct Acting {
    couriers: BTreeMap<ActionNumber, Courier>,
    /// What the game has been asked to do, and not answered.
    given: BTreeMap<ActionId, Given>,
    /// Words to others that wait until what they say is safe.
    owed: BTreeMap<ActionId, Owed>,
    /// Senders of which the coordinator was asked whether they still live.
    unclosed: BTreeSet<EntityId>,
    /// What this entity did up to this tick is in a safe checkpoint of this node.
    safe: Option<Tick>,
}

#[derive(Debug)]
struct Courier {
    to: EntityId,
    errand: Errand,
    /// Since when it must be safe before it is said; none where it need not be.
    safe_from: Option<Tick>,
    tries: u32,
    due_at: Time,
    /// Where the receiver is, by another's word.
    hint: Option<Peer>,
    /// Who said last that it isn't there.
    missed_at: Option<Peer>,
    /// Since when the coordinator says that the receiver is gone.
    gone_since: Option<Tick>,
}

#[derive(Debug)]
enum Errand {
    Ask(Pending),
    Close,
}

#[derive(Clone, Copy, Debug)]
struct Given {
    reply_to: Peer,
    at: Time,
}

#[derive(Debug)]
struct Owed {
    to: Peer,
    at: Tick,
    message: ActionMessage,
}

/// Where something goes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Here(AuthorityEpoch),
    To(Peer),
    /// It is frozen here: soon it will be known where it is.
    Soon,
    Unknown,
}

impl Acting {
    fn is_idle(&self) -> bool {
        self.couriers.is_empty() && self.owed.is_empty()
    }

    /// Durable actions of the entity's own that are not settled to their end.
    pub(super) fn durable(&self) -> usize {
        self.couriers.values().filter(|courier| courier.safe_from.is_some()).count()
    }

    fn due_at(&self) -> Option<Time> {
        self.couriers.values().map(|courier| courier.due_at).min()
    }
}

impl Node {
    /// The game side says something about an entity's actions.
    pub(super) fn on_action_report(&mut self, report: ActionReport, now: Time) {
        let ActionReport { entity, grant, news } = report;
        if !self.authority.holds(entity, grant) {
            return;
        }
        match news {
            ActionNews::Pending { number, action } => {
                let safe_from = action.durable.then_some(action.at);
                self.set_out(entity, number, action.to, Errand::Ask(action), safe_from, now);
            }
            ActionNews::Over { number, durable, outcome } => {
                self.event(NodeEvent::ActionSettled { durable, outcome });
                if let Some(held) = self.held.get_mut(&entity) {
                    held.acting.couriers.remove(&number);
                }
            }
            ActionNews::Closing { number, closing: Closing { to, at }, outcome } => {
                // Without one it was settled before it came here.
                if let Some(outcome) = outcome {
                    self.event(NodeEvent::ActionSettled { durable: true, outcome });
                }
                self.set_out(entity, number, to, Errand::Close, Some(at), now);
            }
            ActionNews::Performed { id, durable, fresh: _, at, outcome } => {
                let message = ActionMessage::Answer { id, outcome, hops: 0 };
                self.answer_action(entity, id, durable.then_some(at), message, now);
            }
            ActionNews::NotPerformed { id, late: false } => {
                if let Some(held) = self.held.get_mut(&entity) {
                    held.acting.given.remove(&id);
                }
            }
            ActionNews::NotPerformed { id, late: true } => {
                let outcome = Outcome::Failed(Failure::TimedOut);
                let message = ActionMessage::Answer { id, outcome, hops: 0 };
                self.answer_action(entity, id, None, message, now);
            }
            ActionNews::Closed { id, at } => {
                let message = ActionMessage::Closed { id, hops: 0 };
                self.answer_action(entity, id, Some(at), message, now);
            }
            ActionNews::Unclosed { from } => self.ask_after(entity, from),
        }
    }

    fn set_out(
        &mut self,
        from: EntityId,
        number: ActionNumber,
        to: EntityId,
        errand: Errand,
        safe_from: Option<Tick>,
        now: Time,
    ) {
        #[cfg(feature = "planted-bugs")]
        let safe_from = safe_from.filter(|_| {
            !self.setup.config.has_bug(match errand {
                Errand::Ask(_) => PlantedBug::AskUnsafe,
                Errand::Close => PlantedBug::CloseUnsafe,
            })
        });
        let courier = Courier {
            to,
            errand,
            safe_from,
            tries: 0,
            due_at: now,
            hint: None,
            missed_at: None,
            gone_since: None,
        };
        if let Some(held) = self.held.get_mut(&from) {
            held.acting.couriers.insert(number, courier);
        }
        if safe_from.is_some() {
            self.hurry_checkpoint(now);
        }
        self.on_action_due(from, now);
    }

    /// A safe checkpoint holds the entity as it was after this tick, or later.
    pub(super) fn actions_safe(&mut self, entity: EntityId, tick: Tick, now: Time) {
        let Some(held) = self.held.get_mut(&entity) else {
            return;
        };
        let acting = &mut held.acting;
        acting.safe = acting.safe.max(Some(tick));
        if acting.is_idle() {
            return;
        }
        let (safe, unsafe_yet) =
            core::mem::take(&mut acting.owed).into_iter().partition(|(_, owed): &(_, Owed)| owed.at <= tick);
        acting.owed = unsafe_yet;
        let safe: BTreeMap<ActionId, Owed> = safe;
        for courier in acting.couriers.values_mut() {
            if courier.safe_from.is_some_and(|from| from <= tick) {
                (courier.safe_from, courier.due_at) = (None, now);
            }
        }
        for Owed { to, message, .. } in safe.into_values() {
            self.say_action(to, message, now);
        }
        self.on_action_due(entity, now);
    }

    /// Sends what is due of an entity's actions.
    pub(super) fn on_action_due(&mut self, entity: EntityId, now: Time) {
        let alone = self.is_alone();
        let Some(held) = self.held.get_mut(&entity) else {
            return;
        };
        let mut due = Vec::new();
        for (&number, courier) in &mut held.acting.couriers {
            if courier.due_at > now {
                continue;
            }
            courier.due_at = now + REPEAT_MAX.min(REPEAT * (1 << courier.tries.min(4)));
            if courier.safe_from.is_some() && !alone {
                continue;
            }
            courier.tries = courier.tries.saturating_add(1);
            due.push(number);
        }
        if let Some(at) = held.acting.due_at() {
            self.timers.set(TimerKey::Action(entity), at);
        }
        due.into_iter().for_each(|number| self.carry(entity, number, now));
    }

    /// Sends one action, or its end, to where its receiver is thought to be.
    fn carry(&mut self, from: EntityId, number: ActionNumber, now: Time) {
        let (Some(me), Some(held)) = (self.me(), self.held.get(&from)) else {
            return;
        };
        let Some(low) = held.acting.couriers.keys().next().copied() else {
            return;
        };
        let Some(Courier { to, errand, tries, hint, .. }) = held.acting.couriers.get(&number) else {
            return;
        };
        let (to, tries, hint) = (*to, *tries, *hint);
        let id = ActionId { from, number };
        let message = match errand {
            Errand::Ask(Pending { durable, deadline, bytes, .. }) => ActionMessage::Ask {
                id,
                to,
                low,
                deadline: *deadline,
                durable: *durable,
                reply_to: me,
                hops: 0,
                bytes: bytes.clone(),
            },
            Errand::Close => ActionMessage::Close { id, to, reply_to: me, hops: 0 },
        };
        let way = self.way_to(to, hint);
        if tries > TRIES_ALONE || way == Way::Unknown {
            self.locate(to);
        }
        match way {
            Way::Here(_) => self.on_action(me, message, now),
            Way::To(peer) => self.say_action(peer, message, now),
            Way::Soon | Way::Unknown => {}
        }
    }

    /// Where an entity is, as far as this node knows.
    fn way_to(&self, entity: EntityId, hint: Option<Peer>) -> Way {
        match self.authority.standing(entity) {
            Some(Standing::Active(grant)) => return Way::Here(grant),
            Some(Standing::Frozen { .. }) => return Way::Soon,
            None => {}
        }
        let shown_by = || {
            let node = self.ghosts.shown_by(entity)?;
            Some(Peer { node, incarnation: *self.links.get(&node)? })
        };
        let left_for = || self.tombstones.get(&entity).map(|tombstone| tombstone.to);
        let linked = |peer: &Peer| self.is_linked(*peer);
        let way = hint.filter(linked).or_else(shown_by).or_else(left_for).filter(linked);
        way.map_or(Way::Unknown, Way::To)
    }

    fn locate(&mut self, entity: EntityId) {
        if self.membership.coordinator_linked {
            self.tell_coordinator(Message::Action(ActionMessage::Locate { entity }));
        }
    }

    /// Says something about an action to a node; to this one by the shortest way.
    fn say_action(&mut self, to: Peer, message: ActionMessage, now: Time) {
        if self.me() == Some(to) {
            self.on_action(to, message, now);
        } else if self.is_linked(to) {
            self.send(to.node, Lane::Action, Message::Action(message));
        }
    }

    /// A node, perhaps this one, says something about an action.
    pub(super) fn on_action(&mut self, peer: Peer, message: ActionMessage, now: Time) {
        match message {
            ActionMessage::Ask { to, .. } | ActionMessage::Close { to, .. } => {
                self.on_asked(to, message, now);
            }
            ActionMessage::Answer { id, outcome, hops } => {
                if let Some(grant) = self.awaits_answer(id) {
                    let (entity, number) = (id.from, id.number);
                    let settle = ActionCommand::Settle { entity, grant, number, outcome };
                    self.command(GameCommand::Action(settle));
                } else {
                    self.answer_on(id, hops, |hops| ActionMessage::Answer { id, outcome, hops }, now);
                }
            }
            ActionMessage::Closed { id, hops } => match self.authority.active_epoch(id.from) {
                Some(grant) => self.close_courier(id.from, grant, id.number),
                None => self.answer_on(id, hops, |hops| ActionMessage::Closed { id, hops }, now),
            },
            ActionMessage::Missed { id, why } => self.on_missed(peer, id, why, now),
            ActionMessage::Locate { .. } | ActionMessage::Located { .. } => {
                self.misbehaved(peer, "sent a message that only the coordinator's link carries");
            }
        }
    }

    /// The grant of an entity whose action waits for an answer here.
    fn awaits_answer(&self, id: ActionId) -> Option<AuthorityEpoch> {
        let grant = self.authority.active_epoch(id.from)?;
        let courier = self.held.get(&id.from)?.acting.couriers.get(&id.number)?;
        matches!(courier.errand, Errand::Ask(_)).then_some(grant)
    }

    /// The sender went on: its answer follows it.
    fn answer_on(&mut self, id: ActionId, hops: u8, message: impl FnOnce(u8) -> ActionMessage, now: Time) {
        let left = self.tombstones.get(&id.from).filter(|left| now < left.forward_until && hops < HOPS_MAX);
        if let Some(to) = left.map(|tombstone| tombstone.to) {
            self.say_action(to, message(hops + 1), now);
        }
    }

    fn on_missed(&mut self, by: Peer, id: ActionId, why: Missed, now: Time) {
        let Some(grant) = self.authority.active_epoch(id.from) else {
            return;
        };
        let Some(courier) =
            self.held.get_mut(&id.from).and_then(|held| held.acting.couriers.get_mut(&id.number))
        else {
            return;
        };
        let to = courier.to;
        courier.missed_at = Some(by);
        match why {
            Missed::Moved { to: peer } if courier.hint != Some(peer) => {
                (courier.hint, courier.due_at) = (Some(peer), now);
                self.on_action_due(id.from, now);
                return;
            }
            Missed::Moved { .. } | Missed::NotHere => {}
            Missed::TooManyHops => {
                if let Errand::Ask(Pending { durable: false, .. }) = courier.errand {
                    self.fail(id.from, grant, id.number, Failure::TooManyHops);
                    return;
                }
            }
        }
        courier.hint = None;
        self.locate(to);
    }

    /// The coordinator says where an entity is, or that it is nowhere.
    pub(super) fn on_located(&mut self, entity: EntityId, at: Option<Peer>, gone: bool, now: Time) {
        let me = self.me();
        let at = at.filter(|&peer| Some(peer) != me);
        let waits = |held: &Held| held.acting.couriers.values().any(|courier| courier.to == entity);
        let senders: Vec<EntityId> =
            self.held.iter().filter(|(_, held)| waits(held)).map(|(&sender, _)| sender).collect();
        let given_up = |deadline: Tick| self.last_frame.0 > deadline.0.saturating_add(GIVE_UP_TICKS);
        let tick = self.last_frame;
        let mut failed = Vec::new();
        for &sender in &senders {
            let Some(held) = self.held.get_mut(&sender) else {
                continue;
            };
            for (&number, courier) in held.acting.couriers.iter_mut().filter(|(_, it)| it.to == entity) {
                if at.is_some() && courier.hint != at && courier.safe_from.is_none() {
                    courier.hint = at;
                    // Who has just said no is asked again in its turn: the coordinator may be behind.
                    if courier.missed_at != at {
                        courier.due_at = now;
                    }
                }
                courier.gone_since = courier.gone_since.or(Some(tick)).filter(|_| gone);
                if let Some(since) = courier.gone_since {
                    match &courier.errand {
                        Errand::Ask(pending) if !pending.durable || given_up(pending.deadline) => {
                            failed.push((sender, number, true));
                        }
                        // Nobody is left who could remember it.
                        Errand::Close if tick.0 > since.0.saturating_add(CLOSE_TICKS) => {
                            failed.push((sender, number, false));
                        }
                        Errand::Ask(_) | Errand::Close => {}
                    }
                }
            }
        }
        for (sender, number, ask) in failed {
            let Some(grant) = self.authority.active_epoch(sender) else {
                continue;
            };
            if ask {
                self.fail(sender, grant, number, Failure::NoSuchEntity);
            } else {
                self.close_courier(sender, grant, number);
            }
        }
        senders.into_iter().for_each(|sender| self.on_action_due(sender, now));
        self.on_asked_after(entity, gone);
    }

    /// A receiver has forgotten a durable action: so does its sender.
    fn close_courier(&mut self, entity: EntityId, grant: AuthorityEpoch, number: ActionNumber) {
        let couriers = self.held.get_mut(&entity).map(|held| &mut held.acting.couriers);
        if couriers.is_some_and(|couriers| couriers.remove(&number).is_some()) {
            self.command(GameCommand::Action(ActionCommand::Closed { entity, grant, number }));
        }
    }

    fn fail(&mut self, entity: EntityId, grant: AuthorityEpoch, number: ActionNumber, why: Failure) {
        let outcome = Outcome::Failed(why);
        self.command(GameCommand::Action(ActionCommand::Settle { entity, grant, number, outcome }));
    }
}
