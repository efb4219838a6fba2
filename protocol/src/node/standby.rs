//! Checkpoints to this node's buddy, copies that it keeps for others, and when given-away entities may be forgotten.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use core::time::Duration;

use super::{CheckpointCopy, GameCommand, Held, Node, NodeEvent, TimerKey};
use crate::authority::Standing;
use crate::config::NodeConfig;
use crate::handoff::tombstone::Contents;
use crate::id::{AuthorityEpoch, EntityId, HandoffId, InputSeq, Peer, SessionId};
use crate::snapshot::{Assembled, ComponentVersions};
use crate::standby::{
    Acked, Act, CheckpointSender, Covered, CutCopy, CutEnd, Forgetting, Keeper, Reply, SenderConfig,
    Settling, StandbyCopy,
};
use crate::time::{Tick, Time};
use crate::wire::{Captured, Lane, Message, NewestCut, StandbyMessage};

/// What is settled within this time goes in one message.
const BATCH: Duration = Duration::from_millis(50);

/// Both sides of standby copies at one node.
#[derive(Debug)]
pub(super) struct Standby {
    sender: CheckpointSender,
    keeper: Keeper,
    settling: Settling,
    forgetting: Forgetting,
    /// The first frame with a buddy that has acknowledged nothing so far.
    unsafe_since: Option<Tick>,
}

impl Standby {
    pub(super) const fn new(config: &NodeConfig) -> Self {
        let sender =
            SenderConfig { period: config.checkpoint_period, bytes_per_s: config.checkpoint_bytes_per_s };
        Self {
            sender: CheckpointSender::new(sender),
            keeper: Keeper::new(config.standby_bytes_max),
            settling: Settling::empty(),
            forgetting: Forgetting::empty(),
            unsafe_since: None,
        }
    }

    pub(super) fn covers(&self, entity: EntityId, epoch: AuthorityEpoch) -> bool {
        self.sender.has(entity, epoch).is_some()
    }

    pub(super) fn has_buddy(&self) -> bool {
        self.sender.buddy().is_some()
    }
}

/// What would be lost if it weren't in a cut.
#[derive(Debug)]
struct Lasting<'a> {
    session: Option<SessionId>,
    epoch: AuthorityEpoch,
    state: &'a Assembled,
}

impl Node {
    /// From now on this node's checkpoints go there; none in a mesh of one node.
    pub fn set_buddy(&mut self, buddy: Option<Peer>, now: Time) {
        self.standby.sender.set_buddy(buddy, now);
        self.drive_checkpoint(now);
    }

    /// Who keeps the standby copies of what this node holds.
    #[must_use]
    pub fn buddy(&self) -> Option<Peer> {
        self.standby.sender.buddy()
    }

    /// Whether there is nobody who could keep copies of what this node holds. A node that has just come into a mesh of
    /// several has no buddy either, but it will have one: until then nothing that it holds is safe.
    pub(super) fn is_alone(&self) -> bool {
        !self.standby.has_buddy() && self.map.nodes().len() <= 1
    }

    /// The last input of a player held here that a crash of this node would not undo: one that a safe checkpoint covers.
    /// 0 while this node doesn't know of any; the last one applied in a mesh of one node.
    #[must_use]
    pub fn durable(&self, entity: EntityId) -> InputSeq {
        self.held.get(&entity).map(|held| self.durable_of(held)).unwrap_or_default()
    }

    pub(super) fn durable_of(&self, held: &Held) -> InputSeq {
        if self.is_alone() { held.inputs.confirmed() } else { held.durable }
    }

    /// Whether a safe checkpoint holds the entity at the epoch that it is simulated at here.
    #[must_use]
    pub fn is_safe(&self, entity: EntityId) -> bool {
        let epoch = self.authority.active_epoch(entity);
        epoch.is_some_and(|epoch| self.standby.sender.has(entity, epoch).is_some())
    }

    /// Every copy of others' entities that could be restored from here.
    pub fn standby_copies(&self) -> impl Iterator<Item = StandbyCopy> + '_ {
        self.standby.keeper.copies()
    }

    /// The newest cut of each life whose copies are kept here.
    pub(super) fn standby_cuts(&self) -> Vec<NewestCut> {
        self.standby.keeper.cuts().collect()
    }

    /// The contents of such a copy. It stays until its source is dropped.
    #[must_use]
    pub fn take_standby(&self, entity: EntityId, of: Peer) -> Option<Assembled> {
        self.standby.keeper.take(entity, of)
    }

    /// What was given away and isn't known to be safe: the handoff, its target, the session, and from when the contents
    /// are.
    pub fn given_away(&self) -> impl Iterator<Item = (HandoffId, Peer, Option<SessionId>, Captured)> + '_ {
        self.tombstones.values().filter_map(|tombstone| {
            let Contents { session, captured, .. } = tombstone.contents.as_ref()?;
            Some((tombstone.id, tombstone.to, *session, *captured))
        })
    }

    /// The contents of what was given away, if they are still here.
    #[must_use]
    pub fn take_given_away(&self, entity: EntityId) -> Option<Assembled> {
        let contents = self.tombstones.get(&entity)?.contents.as_ref()?;
        Some(contents.state.clone())
    }

    /// Takes no more copies from a life that is over, nor from an earlier one. Those that are complete stay.
    pub fn fence_standby(&mut self, life: Peer) {
        self.standby.keeper.fence(life);
        self.standby.sender.forget_dead(|peer| is_of_the_past(peer, life));
        self.standby.forgetting.forget_dead(|peer| is_of_the_past(peer, life));
    }

    /// Forgets the copies of a life whose recovery is done, and what it was owed: nothing of it can come back any more.
    pub fn drop_standby(&mut self, of: Peer) {
        self.standby.keeper.drop_source(of);
        self.standby.settling.forget_dead(|source| is_of_the_past(source, of));
        self.say_forgotten();
    }

    /// An entity ended here. Older copies of it may be elsewhere: what this node loses if it dies is the word that they are
    /// not to be used.
    pub(super) fn remember_end(&mut self, entity: EntityId, end: AuthorityEpoch) {
        self.standby.settling.ended(entity, end);
    }

    /// What had ended at other nodes by the cuts of theirs that are kept here.
    pub(super) fn ended_elsewhere(&self) -> Vec<(EntityId, AuthorityEpoch)> {
        self.standby.keeper.ended().collect()
    }

    /// Forgets everything: this life of the node is over.
    pub fn forget_standby(&mut self) {
        self.standby.sender.forget();
        self.standby.keeper = Keeper::new(self.setup.config.standby_bytes_max);
        self.standby.settling = Settling::default();
        self.standby.forgetting = Forgetting::default();
        self.standby.unsafe_since = None;
    }

    /// Something important has changed: a cut is due soon.
    pub(super) fn hurry_checkpoint(&mut self, now: Time) {
        self.standby.sender.hurry(now);
        self.schedule_checkpoint();
    }

    fn schedule_checkpoint(&mut self) {
        match self.standby.sender.wake_at() {
            Some(at) => self.timers.set(TimerKey::Checkpoint, at),
            None => self.timers.cancel(TimerKey::Checkpoint),
        }
    }

    /// Does what the sender has to do by now.
    pub(super) fn drive_checkpoint(&mut self, now: Time) {
        while let Some(act) = self.standby.sender.poll(&self.links, now) {
            match act {
                Act::Capture(order) => self.command(GameCommand::Checkpoint(order)),
                Act::Send { to, message, blob } => {
                    self.send_with(to.node, Lane::Checkpoint, Message::Standby(message), blob);
                }
                Act::Lost { cut } => self.event(NodeEvent::CheckpointLost { cut }),
            }
        }
        self.schedule_checkpoint();
    }

    /// The game has captured a cut. What it doesn't simulate, but this node would lose, is added as it is here.
    pub(super) fn on_checkpoint(&mut self, cut: u64, tick: Tick, captured: Vec<CheckpointCopy>, now: Time) {
        if !self.standby.sender.is_capturing(cut) {
            return;
        }
        let mut copies: BTreeMap<EntityId, CutCopy> = BTreeMap::new();
        for CheckpointCopy { entity, grant, applied, snapshot } in captured {
            // Void where the grant has lapsed since: what the core has of the entity counts then.
            if self.authority.holds(entity, grant)
                && let Some(held) = self.held.get(&entity)
            {
                let copy = CutCopy { entity, session: held.session, epoch: grant, applied, snapshot };
                copies.insert(entity, copy);
            }
        }
        let lasting: Vec<CutCopy> = self
            .lasting()
            .filter(|(entity, _)| !copies.contains_key(entity))
            .filter_map(|(entity, lasting)| self.copy_of(entity, &lasting))
            .collect();
        copies.extend(lasting.into_iter().map(|copy| (copy.entity, copy)));
        self.keep_groups_whole(&mut copies);
        let settles = self.standby.settling.waiting().filter(|&id| self.is_settled_by(id, &copies)).collect();
        let ended = self.standby.settling.all_ended(self.participant.open_since());
        #[cfg(feature = "planted-bugs")]
        let ended =
            if self.setup.config.has_bug(crate::config::PlantedBug::ForgetEnds) { Vec::new() } else { ended };
        self.standby.sender.captured(cut, tick, copies.into_values().collect(), settles, ended, now);
        self.drive_checkpoint(now);
    }

    /// Where one of a group can't be captured, the former copies of all of it stay: a group comes back as one, or not at all.
    fn keep_groups_whole(&self, copies: &mut BTreeMap<EntityId, CutCopy>) {
        let failed = copies.values().filter(|copy| copy.snapshot.is_none());
        let torn: BTreeSet<EntityId> = failed.map(|copy| self.groups.leader(copy.entity)).collect();
        if torn.is_empty() {
            return;
        }
        for copy in copies.values_mut().filter(|copy| torn.contains(&self.groups.leader(copy.entity))) {
            copy.snapshot = None;
        }
    }

    /// Everything that is whole in the core: frozen, just thawed or taken over and not yet with the game, given away.
    fn lasting(&self) -> impl Iterator<Item = (EntityId, Lasting<'_>)> + '_ {
        let held = self.held.iter().filter_map(|(&entity, held)| {
            let epoch = match self.authority.standing(entity)? {
                Standing::Active(epoch) => epoch,
                Standing::Frozen { .. } => held.source.transferring.as_ref()?.grant,
            };
            Some((entity, Lasting { session: held.session, epoch, state: &held.source.captured }))
        });
        let given_away = self.tombstones.iter().filter_map(|(&entity, tombstone)| {
            let Contents { session, state, captured } = tombstone.contents.as_ref()?;
            Some((entity, Lasting { session: *session, epoch: captured.epoch, state }))
        });
        held.chain(given_away)
    }

    fn copy_of(&self, entity: EntityId, lasting: &Lasting<'_>) -> Option<CutCopy> {
        let &Lasting { session, epoch, state } = lasting;
        // Nothing yet: a player whom the game has not let in.
        let applied = state.head()?.last_input;
        let nothing = ComponentVersions::new();
        let have = self.standby.sender.has(entity, epoch).unwrap_or(&nothing);
        let snapshot = state.captured_for(have).ok();
        Some(CutCopy { entity, session, epoch, applied, snapshot })
    }

    /// Whether the source of a handoff may forget the entity once this cut is safe: the cut holds it as it came or later,
    /// or it has ended here or settled elsewhere before the cut.
    fn is_settled_by(&self, id: HandoffId, copies: &BTreeMap<EntityId, CutCopy>) -> bool {
        match copies.get(&id.entity) {
            Some(copy) => copy.epoch >= id.epoch && copy.snapshot.is_some(),
            None => !self.held.contains_key(&id.entity),
        }
    }

    pub(super) fn on_standby(&mut self, peer: Peer, message: StandbyMessage, blob: &Bytes, now: Time) {
        match message {
            StandbyMessage::Part { cut, index, copies } => {
                let reply = self.standby.keeper.on_part(peer, cut, index, &copies, blob);
                self.answer(peer, reply);
            }
            StandbyMessage::End { cut, base, tick, parts, gone, ended } => {
                let end = CutEnd { base, tick, parts, gone, ended };
                let reply = self.standby.keeper.on_end(peer, cut, end);
                #[cfg(feature = "planted-bugs")]
                let reply = if self.setup.config.has_bug(crate::config::PlantedBug::ConfirmUnapplied) {
                    Reply::Ack { cut }
                } else {
                    reply
                };
                self.answer(peer, reply);
            }
            StandbyMessage::Ack { cut } => {
                if let Some(acked) = self.standby.sender.on_ack(peer, cut, now) {
                    self.on_safe(acked, now);
                    self.drive_checkpoint(now);
                }
            }
            StandbyMessage::Lack { cut } => {
                if self.standby.sender.on_lack(peer, cut, now) {
                    self.event(NodeEvent::CheckpointLost { cut });
                    self.drive_checkpoint(now);
                }
            }
            StandbyMessage::Drop { below } => {
                self.standby.keeper.drop_below(peer, below);
                self.say(peer, StandbyMessage::Dropped { below });
            }
            StandbyMessage::Dropped { below } => {
                self.standby.sender.on_dropped(peer, below);
                self.schedule_checkpoint();
            }
            StandbyMessage::Settled { ids } => self.on_settled(peer, ids),
            StandbyMessage::Forgotten { ids } => {
                for &id in &ids {
                    self.standby.settling.forgotten(id, peer);
                }
                self.say_forgotten_with(&ids);
            }
        }
    }

    fn say(&mut self, to: Peer, message: StandbyMessage) {
        self.send(to.node, Lane::Control, Message::Standby(message));
    }

    fn answer(&mut self, peer: Peer, reply: Reply) {
        match reply {
            Reply::Silence => {}
            Reply::Ack { cut } => {
                #[cfg(feature = "planted-bugs")]
                if self.setup.config.has_bug(crate::config::PlantedBug::DropStandby) {
                    self.standby.keeper.drop_source(peer);
                }
                self.say(peer, StandbyMessage::Ack { cut });
            }
            Reply::Lack { cut } => self.say(peer, StandbyMessage::Lack { cut }),
            Reply::Full => self.event(NodeEvent::StandbyFull { of: peer }),
            Reply::Misbehaved(what) => self.misbehaved(peer, what),
        }
    }

    /// A cut is safe: inputs in it are durable, spawns in it are acknowledged, handoffs covered by it are settled.
    fn on_safe(&mut self, acked: Acked, now: Time) {
        let Acked { cut, tick, covered, settles, sent, bytes, took } = acked;
        let mut safe = Vec::new();
        for Covered { entity, epoch, applied, first } in covered {
            if first {
                safe.push((entity, epoch));
            }
            let same_epoch = match self.authority.standing(entity) {
                Some(Standing::Active(active)) => active == epoch,
                Some(Standing::Frozen { .. }) | None => false,
            };
            if same_epoch && let Some(held) = self.held.get_mut(&entity) {
                held.durable = held.durable.max(applied);
                self.actions_safe(entity, tick, now);
            }
        }
        self.event(NodeEvent::Checkpointed { cut, sent, bytes, took, safe });
        for id in settles {
            self.standby.settling.settle(id, now);
        }
        self.drive_settling(now);
        self.say_forgotten();
        if self.is_recovering() {
            self.say_carried_when_safe(now);
        }
    }

    /// This node took an entity over: it owes the source the word that it is safe here.
    pub(super) fn owe_settlement(&mut self, id: HandoffId, source: Peer, now: Time) {
        self.standby.settling.received(id, source);
        self.hurry_checkpoint(now);
    }

    /// Tells sources what is safe, again where they haven't answered.
    pub(super) fn drive_settling(&mut self, now: Time) {
        for (source, ids) in self.standby.settling.poll_due(now) {
            if self.links.get(&source.node) == Some(&source.incarnation) {
                self.say(source, StandbyMessage::Settled { ids });
            }
        }
        match self.standby.settling.due_at() {
            Some(at) => self.timers.set(TimerKey::Settling, at.max(now + BATCH)),
            None => self.timers.cancel(TimerKey::Settling),
        }
    }

    /// The target has made safe what was given away to it, or what became of it. It hears when nothing of it is left here.
    fn on_settled(&mut self, peer: Peer, mut ids: Vec<HandoffId>) {
        // One whose `Accepted` is still on its way is told again.
        ids.retain(|&id| self.authority.standing(id.entity) != Some(Standing::Frozen { id, to: peer }));
        for id in &ids {
            let tombstone = self.tombstones.get_mut(&id.entity);
            if let Some(tombstone) = tombstone.filter(|known| known.id == *id && known.to == peer) {
                tombstone.contents = None;
            }
        }
        self.standby.forgetting.asked(peer, ids.clone());
        self.say_forgotten_with(&ids);
    }

    /// Tells targets of which handoffs nothing is left that could come back: neither here, nor with this node's buddy, nor
    /// with whom this node had the entity from.
    fn say_forgotten(&mut self) {
        let Standby { sender, settling, forgetting, .. } = &self.standby;
        let gone = forgetting.gone(|id| is_gone(sender, settling, id));
        self.say_gone(gone);
    }

    /// The same of the entities that these handoffs are about.
    fn say_forgotten_with(&mut self, ids: &[HandoffId]) {
        let Standby { sender, settling, forgetting, .. } = &self.standby;
        let gone = forgetting.gone_with(ids, |id| is_gone(sender, settling, id));
        self.say_gone(gone);
    }

    fn say_gone(&mut self, gone: Vec<HandoffId>) {
        for (peer, ids) in self.standby.forgetting.forgotten(gone) {
            self.say(peer, StandbyMessage::Forgotten { ids });
        }
    }

    /// Says how much a crash would undo now.
    pub(super) fn measure_checkpoint_age(&mut self, tick: Tick) {
        if !self.standby.has_buddy() {
            return;
        }
        let interval = self.membership.tick_interval();
        let since = *self.standby.unsafe_since.get_or_insert(tick);
        let from = self.standby.sender.safe_tick().unwrap_or(since);
        let age = tick.start(interval).since(from.start(interval));
        self.event(NodeEvent::CheckpointAge { age });
    }
}

/// Whether a peer is that life, or an earlier one of its node.
pub(super) fn is_of_the_past(peer: Peer, life: Peer) -> bool {
    peer.node == life.node && peer.incarnation <= life.incarnation
}

/// Whether no copy from before this handoff is left here, with this node's buddy or with whom it had the entity from. If not,
/// nor is it so of any later handoff of the entity.
fn is_gone(sender: &CheckpointSender, settling: &Settling, id: HandoffId) -> bool {
    !sender.may_have_below(id.entity, id.epoch) && !settling.owes_below(id)
}
