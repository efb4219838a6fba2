//! What the game may do within a tick.

use std::time::Duration;

use selvedge_protocol::action::{ActError, ActionNumber, Terms};
use selvedge_protocol::cell_map::CellMap;
use selvedge_protocol::event::{Area, EventError};
use selvedge_protocol::ghost::Look;
use selvedge_protocol::grid::{Grid, Motion};
use selvedge_protocol::id::{EntityId, NodeId, SessionId};
use selvedge_protocol::roster::{GhostSight, PublishError, Roster};
use selvedge_protocol::time::{Tick, Time};

use crate::action::{ACTION_TIMEOUT, Durability, Target};
use crate::clock::Clock;
use crate::entity::{Ghost, Owned};

/// One tick, as the game sees it: what it simulates, what it sees of others, and where it writes the outcome.
#[derive(Debug)]
pub struct Frame<'a> {
    pub(crate) roster: &'a mut Roster,
    pub(crate) clock: &'a Clock,
    pub(crate) grid: &'a Grid,
    pub(crate) map: &'a CellMap,
    pub(crate) me: NodeId,
    pub(crate) tick: Tick,
    pub(crate) interval: Duration,
}

impl Frame<'_> {
    /// Which tick this is. Numbers grow, and may jump where the game was late.
    #[must_use]
    pub const fn tick(&self) -> Tick {
        self.tick
    }

    /// The time between two ticks: how far to step the simulation.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// The mesh time at which this tick starts.
    #[must_use]
    pub fn mesh_time(&self) -> Time {
        self.tick.start(self.interval)
    }

    /// The world's grid.
    #[must_use]
    pub const fn grid(&self) -> &Grid {
        self.grid
    }

    /// Who owns which cell.
    #[must_use]
    pub const fn map(&self) -> &CellMap {
        self.map
    }

    /// This node.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.me
    }

    /// Everything that this node simulates, in order of id.
    pub fn owned(&self) -> impl Iterator<Item = Owned> + '_ {
        self.roster.entities().map(Owned::new)
    }

    /// The handle of an entity, if this node simulates it.
    #[must_use]
    pub fn owned_by(&self, entity: EntityId) -> Option<Owned> {
        self.roster.holds(entity).then_some(Owned::new(entity))
    }

    /// Everything that other nodes simulate and this one sees, in order of id.
    pub fn ghosts(&self) -> impl Iterator<Item = (Ghost, GhostSight)> + '_ {
        self.roster.ghosts().map(|(entity, &sight)| (Ghost::new(entity), sight))
    }

    /// The session of the player who plays an entity; none for what no player plays.
    #[must_use]
    pub fn session(&self, entity: Owned) -> Option<SessionId> {
        self.roster.session(entity.id())
    }

    /// Whether a neighbour has a copy of an entity already, so that crossing to it now costs one small message.
    #[must_use]
    pub fn is_copied_ahead(&self, entity: Owned) -> bool {
        self.roster.is_copied_ahead(entity.id())
    }

    /// One of these, by its id.
    #[must_use]
    pub fn ghost(&self, entity: EntityId) -> Option<(Ghost, GhostSight)> {
        self.roster.ghost(entity).map(|&sight| (Ghost::new(entity), sight))
    }

    /// Writes where an entity is at the end of this tick and how it looks, for everybody who sees it, and up to 64 bytes
    /// for its own client alone. Once a tick for each entity; what isn't published isn't seen to move.
    ///
    /// # Errors
    /// If the entity isn't simulated here (any more), the motion isn't finite, or `own` is too long.
    pub fn publish(
        &mut self,
        entity: Owned,
        motion: Motion,
        look: Look,
        own: &[u8],
    ) -> Result<(), PublishError> {
        self.roster.publish(entity.id(), motion, look, own, self.clock.now())
    }

    /// Adds an entity of the game's own under a new id. Publish it, in this tick or the next.
    ///
    /// # Errors
    /// If the motion isn't finite.
    pub fn spawn(&mut self, motion: Motion) -> Result<Owned, PublishError> {
        self.spawn_as(EntityId::from_u128(rand::random()), motion)
    }

    /// As [`spawn`](Self::spawn), under an id that the game chose. It must be unique in the whole mesh.
    ///
    /// # Errors
    /// If the motion isn't finite, or an entity of this id is here already.
    pub fn spawn_as(&mut self, entity: EntityId, motion: Motion) -> Result<Owned, PublishError> {
        self.roster.spawn(entity, motion, self.tick)?;
        Ok(Owned::new(entity))
    }

    /// An entity acts on another, here or on whatever node: `World::action` is called there, once, and `World::answer`
    /// here or wherever the entity is then. It has 5 seconds to arrive.
    ///
    /// ```
    /// use selvedge_node::{ActError, ActionNumber, Durability, Frame, Ghost, Owned};
    ///
    /// fn hit(frame: &mut Frame<'_>, boat: Owned, other: Ghost) -> Result<ActionNumber, ActError> {
    ///     frame.action(boat, other.into(), b"hit", Durability::Plain)
    /// }
    /// ```
    ///
    /// Only what is this node's to simulate can act:
    ///
    /// ```compile_fail
    /// use selvedge_node::{ActError, ActionNumber, Durability, Frame, Ghost, Owned};
    ///
    /// fn hit(frame: &mut Frame<'_>, boat: Ghost, other: Owned) -> Result<ActionNumber, ActError> {
    ///     frame.action(boat, other.into(), b"hit", Durability::Plain)
    /// }
    /// ```
    ///
    /// # Errors
    /// If the entity isn't simulated here (any more) or is leaving, there are more than 512 bytes, or 32 of its actions
    /// are unsettled.
    pub fn action(
        &mut self,
        from: Owned,
        to: Target,
        bytes: &[u8],
        durability: Durability,
    ) -> Result<ActionNumber, ActError> {
        let interval_us = self.interval.as_micros().max(1);
        let ticks = u64::try_from(ACTION_TIMEOUT.as_micros() / interval_us).unwrap_or(u64::MAX);
        let terms = Terms { durable: durability == Durability::Durable, ticks };
        self.roster.act(from.id(), to.id(), bytes, terms, self.tick)
    }

    /// Something happens in an area: an explosion, a sound. Three ticks from now `World::event` is called on every node
    /// whose cells it touches, this one included. For an event in the whole world it is six ticks, by way of the coordinator,
    /// which passes on 16 a second and drops the rest. Fire and forget: nobody is told whether it arrived.
    ///
    /// # Errors
    /// If there are more than 512 bytes, the area isn't finite or reaches further than 100 km, or this node has caused 64
    /// events in this tick.
    pub fn event(&mut self, area: Area, bytes: &[u8]) -> Result<(), EventError> {
        self.roster.cause(area, bytes, self.tick)
    }

    /// Removes an entity from the world.
    ///
    /// # Errors
    /// If it isn't simulated here (any more), or a durable action of it or to it is not settled: try again later.
    pub fn despawn(&mut self, entity: Owned) -> Result<(), PublishError> {
        self.roster.despawn(entity.id(), self.tick)
    }
}
