//! Ghosts between nodes: this node's scene, what each neighbour is shown of it, and what the neighbours show here.
//!
//! All of it happens once a tick, when the game has finished one; only what comes from a neighbour is taken at once.
//! Deliberately absent: how it is packed ([`ghost`](crate::ghost)), and what clients see (`views`).

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::views::View;
use super::{GameCommand, GhostTraffic, Node, NodeEvent, TimerKey};
use crate::ghost::{
    BorderInterest, GhostChange, GhostError, GhostTable, Inlet, Outlet, Region, Scene, SenderSettings,
    SightRules, Sighting, Subject, TableSettings, VanishReason, is_ack, is_stream,
};
use crate::id::{AuthorityEpoch, ClientId, EntityId, NodeId, Peer};
use crate::time::{Tick, Time};
use crate::wire::{Lane, Message};

/// How long an acknowledgement waits for what comes with the same burst.
const ACK_AFTER: Duration = Duration::from_millis(3);

/// An entity that is asked to be handed over isn't made to appear at its target for so long: by then the target has the entity
/// itself, and until then a ghost would only be two ticks late. Longer, and one that isn't taken is seen late.
const HANDOVER_USUAL: Duration = Duration::from_millis(50);

/// All that this node shows and is shown.
#[derive(Debug)]
pub(super) struct Ghosts {
    pub(super) scene: Scene,
    table: GhostTable,
    links: BTreeMap<NodeId, GhostLink>,
    pub(super) views: BTreeMap<ClientId, View>,
    /// Numbers of sessions and of links: never used twice.
    pub(super) numbers: u32,
    /// Entities that the game may still show as ghosts though nobody tells of them.
    lost: Vec<EntityId>,
    ack_awaited: bool,
}

/// Ghosts on the link to one other node.
#[derive(Debug)]
struct GhostLink {
    peer: Peer,
    inlet: Inlet,
    /// While the link is up.
    outlet: Option<(Outlet, BorderInterest)>,
    /// Of which version of the cell map the interest is.
    map_version: u64,
}

impl Ghosts {
    pub(super) fn new(interval: Duration, ttl: Duration) -> Self {
        Self {
            scene: Scene::new(interval),
            table: GhostTable::new(table_settings(interval, ttl)),
            links: BTreeMap::new(),
            views: BTreeMap::new(),
            numbers: 0,
            lost: Vec::new(),
            ack_awaited: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Who tells of this ghost.
    pub(super) fn shown_by(&self, entity: EntityId) -> Option<NodeId> {
        let teller = self.table.teller(entity)?;
        self.links.iter().find(|(_, link)| link.inlet.link() == teller).map(|(&node, _)| node)
    }

    /// The game may show the entity otherwise than it was told, or not at all: it hears again of it.
    pub(super) fn set_right(&mut self, entity: EntityId) {
        if self.table.contains(entity) {
            self.table.tell_again(entity);
        } else {
            self.lost.push(entity);
        }
    }

    pub(super) const fn next_number(numbers: &mut u32) -> u32 {
        *numbers = numbers.saturating_add(1);
        *numbers
    }
}

/// Ticks in a time, at least one.
fn ticks_in(time: Duration, interval: Duration) -> u64 {
    let interval_us = interval.as_micros().max(1);
    u64::try_from(time.as_micros() / interval_us).unwrap_or(u64::MAX).max(1)
}

fn table_settings(interval: Duration, ttl: Duration) -> TableSettings {
    let stale_ticks = ticks_in(ttl, interval);
    let usual = TableSettings::default();
    TableSettings { interval, stale_ticks, linger_ticks: usual.linger_ticks.min(stale_ticks), ..usual }
}

impl Node {
    /// A new life, or the first: nothing is shown, and ticks are of this length.
    pub(super) fn begin_ghosts(&mut self, interval: Duration) {
        let ttl = self.setup.config.ghost_ttl;
        let numbers = self.ghosts.numbers;
        self.ghosts = Ghosts { numbers, ..Ghosts::new(interval, ttl) };
    }

    /// This life is over: the game's ghosts vanish, and nobody is shown anything.
    pub(super) fn end_ghosts(&mut self) {
        self.ghosts.table.clear();
        let changes = self.ghosts.table.take_changes(Time::ZERO);
        self.tell_game_of_ghosts(changes);
        self.begin_ghosts(self.membership.tick_interval());
    }

    pub(super) fn on_ghost_link_up(&mut self, peer: Peer) {
        let ghosts = &mut self.ghosts;
        let settings = SenderSettings {
            budget_bytes: self.setup.config.ghost_budget_bytes,
            ..SenderSettings::default()
        };
        let outlet = Outlet::new(Ghosts::next_number(&mut ghosts.numbers), settings);
        let rules = sight_rules(self.membership.interest_margin_m(), &self.setup.config.class_margins_m);
        let outlet = Some((outlet, BorderInterest::new(rules, Region::default())));
        let tick = self.last_frame;
        if let Some(link) = ghosts.links.get_mut(&peer.node) {
            link.inlet.on_down(&mut ghosts.table, tick);
            if link.peer == peer {
                (link.outlet, link.map_version) = (outlet, 0);
                return;
            }
        }
        let inlet = Inlet::new(Ghosts::next_number(&mut ghosts.numbers));
        ghosts.links.insert(peer.node, GhostLink { peer, inlet, outlet, map_version: 0 });
    }

    pub(super) fn on_ghost_link_down(&mut self, node: NodeId) {
        let ghosts = &mut self.ghosts;
        if let Some(link) = ghosts.links.get_mut(&node) {
            link.outlet = None;
            link.inlet.on_down(&mut ghosts.table, self.last_frame);
        }
    }

    /// A life is over: what it told of is another's to tell.
    pub(super) fn fence_ghosts(&mut self, dead: Peer) {
        let ghosts = &mut self.ghosts;
        if let Some(mut link) = ghosts.links.remove(&dead.node) {
            if link.peer == dead {
                link.inlet.on_fenced(&mut ghosts.table);
            } else {
                ghosts.links.insert(dead.node, link);
            }
        }
    }

    /// What a neighbour shows of its own, or says of what it was shown.
    pub(super) fn on_ghosts(&mut self, peer: Peer, bytes: &Bytes, now: Time) {
        if self.clock.offset_us().is_none() {
            // Nothing can be said of ticks yet: the peer will begin anew.
            return;
        }
        let tick = self.tick_at(now);
        let ghosts = &mut self.ghosts;
        let Some(link) = ghosts.links.get_mut(&peer.node).filter(|link| link.peer == peer) else {
            return;
        };
        if has_bug(&self.setup.config, Bug::IgnoreSamples) && !is_ack(bytes) && !is_stream(bytes) {
            return;
        }
        let taken = if is_ack(bytes) {
            link.outlet.as_mut().map_or(Ok(()), |(outlet, _)| outlet.on_ack(bytes, now))
        } else {
            link.inlet.on_bytes(&mut ghosts.table, &self.authority, bytes, tick, now)
        };
        if link.inlet.owes_ack() && !core::mem::replace(&mut ghosts.ack_awaited, true) {
            self.timers.set(TimerKey::Ghosts, now + ACK_AFTER);
        }
        if let Err(error) = taken {
            self.misbehaved(peer, what_is_wrong(&error));
        }
    }

    /// Says what has come of the neighbours' ghosts.
    pub(super) fn acknowledge_ghosts(&mut self) {
        self.ghosts.ack_awaited = false;
        let owed = self.ghosts.links.iter_mut();
        let acks: Vec<(NodeId, Bytes)> =
            owed.filter_map(|(&node, link)| Some((node, link.inlet.poll_ack()?))).collect();
        for (node, ack) in acks {
            self.send_with(node, Lane::Datagram, Message::Ghosts, ack);
        }
    }

    /// The game has finished a tick: shows it to the neighbours and the clients, and the neighbours' to the game.
    pub(super) fn replicate(&mut self, tick: Tick, now: Time) {
        if self.me().is_none() {
            return;
        }
        self.let_ghosts_pass(tick);
        self.set_scene(tick);
        let to_nodes = self.show_neighbours(now);
        let to_players = self.show_clients(tick, now);
        self.event(NodeEvent::GhostsSent { to_nodes, to_players });
    }

    fn let_ghosts_pass(&mut self, tick: Tick) {
        let ghosts = &mut self.ghosts;
        for link in ghosts.links.values_mut() {
            link.inlet.tick(&mut ghosts.table, &self.authority, tick);
        }
        if !has_bug(&self.setup.config, Bug::KeepGhosts) {
            ghosts.table.tick(tick);
        }
        // The game reads this at its next tick.
        let next = tick.next().start(ghosts.table.settings().interval);
        let changes = ghosts.table.take_changes(ghosts.table.display_time(next));
        self.note_staleness(tick);
        self.tell_game_of_ghosts(changes);
    }

    fn note_staleness(&mut self, tick: Tick) {
        if !self.ghosts.table.is_empty() {
            let ticks = self.ghosts.table.staleness(tick.next());
            self.event(NodeEvent::GhostsShown { ticks });
        }
    }

    fn tell_game_of_ghosts(&mut self, mut changes: Vec<GhostChange>) {
        for change in &changes {
            if let GhostChange::Vanished { entity } = change
                && !self.held.contains_key(entity)
            {
                self.ghosts.scene.remove(*entity, VanishReason::OutOfSight, AuthorityEpoch::default());
            }
        }
        for entity in core::mem::take(&mut self.ghosts.lost) {
            if !self.ghosts.table.contains(entity) && !self.held.contains_key(&entity) {
                changes.push(GhostChange::Vanished { entity });
            }
        }
        if !changes.is_empty() {
            self.command(GameCommand::Ghosts(changes));
        }
    }

    /// What was published in this tick, and the neighbours' entities as they should be by now.
    fn set_scene(&mut self, tick: Tick) {
        let ghosts = &mut self.ghosts;
        let scene = &mut ghosts.scene;
        scene.begin(tick);
        for (&entity, held) in &self.held {
            let Some(epoch) = held.published.filter(|(when, _)| *when == tick).map(|(_, epoch)| epoch) else {
                continue;
            };
            scene.put(&subject(entity, epoch, held));
        }
        if self.clients.is_empty() {
            // Nodes are shown what this one holds; ghosts are for players.
            return;
        }
        let at = tick.start(ghosts.table.settings().interval);
        for shown in ghosts.table.shown_at(at) {
            scene.put(&Subject {
                entity: shown.entity,
                epoch: shown.epoch,
                class: shown.class,
                owned: false,
                motion: shown.motion,
                rotation: shown.rotation,
                state: shown.state.to_state(),
            });
        }
    }

    fn show_neighbours(&mut self, now: Time) -> GhostTraffic {
        let mut traffic = GhostTraffic::default();
        let (Some(me), Some(grid)) = (self.me(), self.membership.grid()) else {
            return traffic;
        };
        let going = self.going(now);
        let ghosts = &mut self.ghosts;
        let mut sent = Vec::new();
        for (&node, link) in ghosts.links.iter_mut().filter(|(node, _)| **node != me.node) {
            let Some((outlet, interest)) = &mut link.outlet else {
                continue;
            };
            // The map's first version is 1.
            if link.map_version != self.map.version() {
                link.map_version = self.map.version();
                interest.set_region(Region::of_node(grid, &self.map, node));
            }
            let there = going.iter().filter(|(_, to)| *to == node).map(|(entity, _)| *entity);
            let sights = outlet.without(&ghosts.scene, interest.look(&ghosts.scene), there);
            let before = outlet.stats();
            outlet.tick(&ghosts.scene, &sights, now, || Ghosts::next_number(&mut ghosts.numbers));
            traffic.add(GhostTraffic::between(&before, &outlet.stats()));
            while let Some(bytes) = outlet.poll() {
                sent.push((node, bytes));
            }
        }
        for (node, bytes) in sent {
            let lane = if is_stream(&bytes) { Lane::Action } else { Lane::Datagram };
            self.send_with(node, lane, Message::Ghosts, bytes);
        }
        traffic
    }

    /// What is about to be another node's, or is on its way there.
    fn going(&self, now: Time) -> Vec<(EntityId, NodeId)> {
        let held = self.held.iter();
        let going = held.flat_map(|(&entity, held)| {
            let asked = held.source.candidates.iter();
            let asked = asked.filter(move |candidate| now.since(candidate.asked_at) < HANDOVER_USUAL);
            let frozen = held.source.transferring.iter();
            let targets = asked.map(|candidate| candidate.target).chain(frozen.map(|going| going.to));
            targets.map(move |target| (entity, target.node))
        });
        going.collect()
    }

    /// The entity is held here from now on.
    pub(super) fn promote_ghost(&mut self, entity: EntityId) {
        if !has_bug(&self.setup.config, Bug::KeepPromoted) {
            self.ghosts.table.promote(entity);
        }
    }

    /// The entity is another's at `epoch`: it goes on as a ghost from where it was.
    pub(super) fn adopt_ghost(&mut self, entity: EntityId, held: &super::Held, epoch: AuthorityEpoch) {
        self.ghosts.table.adopt(&subject(entity, epoch, held), epoch, held.last_tick);
        self.ghosts.table.tell_again(entity);
        if !self.ghosts.table.contains(entity) {
            self.forget_shown(entity, VanishReason::HandedOver, epoch);
        } else if self.clients.is_empty() {
            // It isn't put into the scene as a ghost.
            self.ghosts.scene.remove(entity, VanishReason::HandedOver, AuthorityEpoch::default());
        }
    }

    /// The entity isn't held here any more, and nobody tells of it: whoever was shown it hears why.
    pub(super) fn forget_shown(&mut self, entity: EntityId, why: VanishReason, epoch: AuthorityEpoch) {
        self.ghosts.scene.remove(entity, why, epoch);
        self.ghosts.lost.push(entity);
    }

    /// The tick that runs, as far as this node knows: the clock's, or the game's if that is ahead.
    pub(super) fn tick_at(&self, now: Time) -> Tick {
        Tick::at(self.clock.mesh_time(now), self.membership.tick_interval()).max(self.last_frame)
    }

    /// The ghosts that this node knows of, as they are at a moment of mesh time: for who looks in from outside.
    pub fn ghosts_at(&self, at: Time) -> impl Iterator<Item = crate::ghost::Shown<'_>> {
        self.ghosts.table.shown_at(at)
    }

    /// How far behind ghosts are shown.
    #[must_use]
    pub fn ghost_lag(&self) -> Duration {
        self.ghosts.table.display_lag()
    }
}

/// Known bugs of this file.
#[derive(Clone, Copy, Debug)]
enum Bug {
    KeepGhosts,
    IgnoreSamples,
    KeepPromoted,
}

/// Whether a known bug is built in, for a checker to see.
#[cfg(feature = "planted-bugs")]
fn has_bug(config: &crate::config::NodeConfig, bug: Bug) -> bool {
    use crate::config::PlantedBug;
    config.has_bug(match bug {
        Bug::KeepGhosts => PlantedBug::KeepGhosts,
        Bug::IgnoreSamples => PlantedBug::IgnoreSamples,
        Bug::KeepPromoted => PlantedBug::KeepPromoted,
    })
}

#[cfg(not(feature = "planted-bugs"))]
const fn has_bug(_config: &crate::config::NodeConfig, _bug: Bug) -> bool {
    false
}

pub(super) fn sight_rules(usual_m: f64, classes: &BTreeMap<u8, f64>) -> SightRules {
    let classes =
        classes.iter().map(|(&class, &m)| (crate::ghost::EntityClass(class), Sighting::within(m))).collect();
    SightRules { usual: Sighting::within(usual_m), classes }
}

fn subject(entity: EntityId, epoch: AuthorityEpoch, held: &super::Held) -> Subject {
    let look = &held.look;
    Subject {
        entity,
        epoch,
        class: look.class,
        owned: true,
        motion: held.motion,
        rotation: look.rotation,
        state: look.state,
    }
}

/// For a count and a log line, which tell the kind of mistake.
const fn what_is_wrong(error: &GhostError) -> &'static str {
    match error {
        GhostError::Wire(_) => "sent ghosts that can't be read",
        GhostError::Session { .. } => "begins one session of ghosts after another",
        GhostError::NeverSent => "acknowledged ghosts that were never sent",
        GhostError::Ahead { .. } => "sent ghosts from the future",
    }
}
