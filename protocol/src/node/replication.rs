//! Ghosts of what is near a border, and what each client sees. Position and velocity, at the full rate.

use std::collections::BTreeMap;

use core::time::Duration;

use super::{GameCommand, GhostChange, Node, TimerKey};
use crate::grid::{Motion, Position};
use crate::id::{AuthorityEpoch, ClientId, EntityId, NodeId, Peer};
use crate::limits::{CLIENT_STATE_ENTITIES_MAX, GHOSTS_MAX, GHOSTS_OF_NODE_MAX, GHOSTS_PER_DATAGRAM};
use crate::time::{Tick, Time};
use crate::wire::{GhostUpdate, Lane, Message, SeenEntity, ServerMessage};

/// Pause between two looks for ghosts that have gone stale.
const SWEEP: Duration = Duration::from_millis(100);

/// The ghosts that this node keeps.
#[derive(Debug, Default)]
pub(super) struct Ghosts {
    by_entity: BTreeMap<EntityId, Ghost>,
    /// How many each node shows. Invariant: the sum is their number, and nobody stands here with none.
    shown_by: BTreeMap<NodeId, usize>,
}

#[derive(Debug)]
struct Ghost {
    epoch: AuthorityEpoch,
    tick: Tick,
    motion: Motion,
    heard_at: Time,
    /// Who showed it last.
    by: NodeId,
}

impl Ghosts {
    pub(super) fn len(&self) -> usize {
        self.by_entity.len()
    }

    /// Who shows this ghost.
    pub(super) fn shown_by(&self, entity: EntityId) -> Option<NodeId> {
        self.by_entity.get(&entity).map(|ghost| ghost.by)
    }

    /// Forgets them all; says which there were.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = EntityId> + use<> {
        self.shown_by.clear();
        core::mem::take(&mut self.by_entity).into_keys()
    }

    fn has_room_for(&self, node: NodeId) -> bool {
        self.shown_by.get(&node).is_none_or(|shown| *shown < GHOSTS_OF_NODE_MAX)
    }

    /// Says whether it is the first sight of it; none, and nothing changes, if a newer authority has spoken or there is no
    /// room.
    fn show(&mut self, entity: EntityId, ghost: Ghost) -> Option<bool> {
        let mut former = None;
        if let Some(known) = self.by_entity.get_mut(&entity) {
            if (ghost.epoch, ghost.tick) <= (known.epoch, known.tick) {
                return None;
            }
            if known.by == ghost.by {
                *known = ghost;
                return Some(false);
            }
            former = Some(known.by);
        }
        if !self.has_room_for(ghost.by) {
            return None;
        }
        if former.is_none() && self.len() >= GHOSTS_MAX {
            return None;
        }
        self.remove(entity);
        *self.shown_by.entry(ghost.by).or_default() += 1;
        self.by_entity.insert(entity, ghost);
        Some(former.is_none())
    }

    /// Says whether it was there.
    fn remove(&mut self, entity: EntityId) -> bool {
        let Some(ghost) = self.by_entity.remove(&entity) else {
            return false;
        };
        if let Some(shown) = self.shown_by.get_mut(&ghost.by) {
            *shown -= 1;
            if *shown == 0 {
                self.shown_by.remove(&ghost.by);
            }
        }
        true
    }
}

impl Node {
    /// Sends what was published near a border to the neighbours behind it.
    pub(super) fn replicate(&mut self, tick: Tick, fresh: &[(EntityId, AuthorityEpoch)]) {
        let (Some(me), Some(grid)) = (self.me(), self.membership.grid()) else {
            return;
        };
        let margin_m = self.membership.interest_margin_m();
        let mut updates: BTreeMap<NodeId, Vec<GhostUpdate>> = BTreeMap::new();
        for &(entity, epoch) in fresh {
            let Some(held) = self.held.get(&entity) else {
                continue;
            };
            for node in self.map.neighbours_within(grid, me.node, held.motion.position, margin_m) {
                let update = GhostUpdate { entity, epoch, motion: held.motion };
                updates.entry(node).or_default().push(update);
            }
        }
        for (node, updates) in updates {
            if !self.links.contains_key(&node) {
                continue;
            }
            for chunk in updates.chunks(GHOSTS_PER_DATAGRAM) {
                self.send(node, Lane::Datagram, Message::Ghosts { tick, updates: chunk.to_vec() });
            }
        }
    }

    /// Takes a neighbour's word, unless a newer authority has spoken.
    pub(super) fn on_ghosts(&mut self, peer: Peer, tick: Tick, updates: &[GhostUpdate], now: Time) {
        if self.ghosts.by_entity.is_empty() && !updates.is_empty() {
            self.timers.set(TimerKey::Ghosts, now + SWEEP);
        }
        for &GhostUpdate { entity, epoch, motion } in updates {
            if self.authority.standing(entity).is_some() || epoch < self.authority.highest(entity) {
                continue;
            }
            let ghost = Ghost { epoch, tick, motion, heard_at: now, by: peer.node };
            match self.ghosts.show(entity, ghost) {
                Some(true) => {
                    self.command(GameCommand::Ghost(GhostChange::Appeared { entity, motion, tick }))
                }
                Some(false) => self.command(GameCommand::Ghost(GhostChange::Moved { entity, motion, tick })),
                None => {}
            }
        }
    }

    pub(super) fn expire_ghosts(&mut self, now: Time) {
        let ttl = self.setup.config.ghost_ttl;
        let stale: Vec<EntityId> = self
            .ghosts
            .by_entity
            .iter()
            .filter(|(_, ghost)| now.since(ghost.heard_at) >= ttl)
            .map(|(&entity, _)| entity)
            .collect();
        for entity in stale {
            self.vanish_ghost(entity);
        }
        if self.ghosts.len() > 0 {
            self.timers.set(TimerKey::Ghosts, now + SWEEP);
        }
    }

    pub(super) fn vanish_ghost(&mut self, entity: EntityId) {
        if self.ghosts.remove(entity) {
            self.command(GameCommand::Ghost(GhostChange::Vanished { entity }));
        }
    }

    /// Sends each attached client its own state and what is near.
    pub(super) fn show_clients(&mut self, tick: Tick, fresh: &[(EntityId, AuthorityEpoch)]) {
        let viewers: Vec<(EntityId, AuthorityEpoch, ClientId)> = fresh
            .iter()
            .filter_map(|&(entity, epoch)| Some((entity, epoch, self.held.get(&entity)?.client?)))
            .collect();
        if viewers.is_empty() {
            return;
        }
        let scene = self.scene();
        for (entity, epoch, client) in viewers {
            let Some(held) = self.held.get(&entity) else {
                continue;
            };
            let message = ServerMessage::State {
                entity,
                epoch,
                tick,
                applied: held.inputs.confirmed(),
                durable: self.durable_of(held),
                motion: held.motion,
                own: held.state.to_vec(),
                seen: nearest(&scene, entity, held.motion.position, self.setup.config.client_interest_m),
            };
            self.tell_client(client, message);
        }
    }

    fn scene(&self) -> Vec<SeenEntity> {
        let own =
            self.held.iter().map(|(&entity, held)| SeenEntity { entity, motion: held.motion, ghost: false });
        let ghosts = self.ghosts.by_entity.iter().map(|(&entity, ghost)| SeenEntity {
            entity,
            motion: ghost.motion,
            ghost: true,
        });
        own.chain(ghosts).collect()
    }
}

/// What is within `radius_m` of `centre`, nearest first, as many as fit a datagram.
fn nearest(scene: &[SeenEntity], viewer: EntityId, centre: Position, radius_m: f64) -> Vec<SeenEntity> {
    let limit = radius_m * radius_m;
    let mut near: Vec<(f64, &SeenEntity)> = scene
        .iter()
        .filter(|seen| seen.entity != viewer)
        .map(|seen| (seen.motion.position.distance_squared(centre), seen))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    let by_distance = |a: &(f64, &SeenEntity), b: &(f64, &SeenEntity)| a.0.total_cmp(&b.0);
    if near.len() > CLIENT_STATE_ENTITIES_MAX {
        near.select_nth_unstable_by(CLIENT_STATE_ENTITIES_MAX, by_distance);
        near.truncate(CLIENT_STATE_ENTITIES_MAX);
    }
    near.sort_unstable_by(by_distance);
    near.into_iter().map(|(_, seen)| *seen).collect()
}
