//! What the game may do within a tick.

use std::time::Duration;

use selvedge_protocol::action::{ActError, ActionNumber, Terms};
use selvedge_protocol::cell_map::CellMap;
use selvedge_protocol::event::{Area, EventError};
use selvedge_protocol::ghost::Look;
use selvedge_protocol::grid::{Grid, Motion};
use selvedge_protocol::group::AttachError;
use selvedge_protocol::id::{EntityId, NodeId, SessionId};
use selvedge_protocol::pin::PinError;
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

    /// Attaches an entity to another: a rider to a boat, a lamp to a rider. From here on the boat decides for both: when it
    /// crosses a border all that rides on it crosses with it, in one message, or nothing does. Wherever they come, they are
    /// attached there. Nothing else follows from it: the game moves the rider, and publishes both.
    ///
    /// ```
    /// use selvedge_node::{AttachError, Frame, Owned};
    ///
    /// fn board(frame: &mut Frame<'_>, rider: Owned, boat: Owned) -> Result<(), AttachError> {
    ///     frame.attach(rider, boat)
    /// }
    /// ```
    ///
    /// Both must be this node's to simulate; a rider whose boat is a ghost crosses first:
    ///
    /// ```compile_fail
    /// use selvedge_node::{AttachError, Frame, Ghost, Owned};
    ///
    /// fn board(frame: &mut Frame<'_>, rider: Owned, boat: Ghost) -> Result<(), AttachError> {
    ///     frame.attach(rider, boat)
    /// }
    /// ```
    ///
    /// # Errors
    /// If one of them isn't simulated here (any more), the rider is attached to another, they would go round in circles, or
    /// there would be more than 32 in the group.
    pub fn attach(&mut self, entity: Owned, to: Owned) -> Result<(), AttachError> {
        self.roster.attach(entity.id(), to.id())
    }

    /// Detaches an entity from what it rides on; says what that was. What rides on the entity itself stays with it.
    pub fn detach(&mut self, entity: Owned) -> Option<Owned> {
        self.roster.detach(entity.id()).map(Owned::new)
    }

    /// What an entity rides on.
    #[must_use]
    pub fn attached_to(&self, entity: Owned) -> Option<EntityId> {
        self.roster.attached_to(entity.id())
    }

    /// What is attached to an entity itself, in order of id.
    pub fn riders(&self, entity: Owned) -> impl Iterator<Item = Owned> + '_ {
        self.roster.riders(entity.id()).map(Owned::new)
    }

    /// Holds an entity, with its group, at this node: for a cutscene, a vote, a fall that must be seen to its end. It may walk
    /// past the border; it crosses when the last of its pins has ended. A pin ends by itself, after a minute at most; again
    /// under the same name it counts from now. It doesn't outlive this node.
    ///
    /// ```
    /// use std::time::Duration;
    /// use selvedge_node::{Frame, Owned, PinError};
    ///
    /// fn play(frame: &mut Frame<'_>, player: Owned) -> Result<(), PinError> {
    ///     frame.pin(player, "cutscene", Duration::from_secs(8))
    /// }
    /// ```
    ///
    /// What another node simulates can't be held here:
    ///
    /// ```compile_fail
    /// use std::time::Duration;
    /// use selvedge_node::{Frame, Ghost, PinError};
    ///
    /// fn play(frame: &mut Frame<'_>, player: Ghost) -> Result<(), PinError> {
    ///     frame.pin(player, "cutscene", Duration::from_secs(8))
    /// }
    /// ```
    ///
    /// # Errors
    /// If it isn't simulated here (any more), the name is empty or has more than 64 bytes, it would last for more than a
    /// minute, or the entity has 8 pins.
    pub fn pin(&mut self, entity: Owned, name: &str, lasts: Duration) -> Result<(), PinError> {
        self.roster.pin(entity.id(), name, lasts, self.clock.now())
    }

    /// Ends a pin before its time. False if the entity has none of this name.
    pub fn unpin(&mut self, entity: Owned, name: &str) -> bool {
        self.roster.unpin(entity.id(), name, self.clock.now())
    }

    /// What holds an entity now, and for how long still.
    pub fn pins(&self, entity: Owned) -> impl Iterator<Item = (&str, Duration)> {
        self.roster.pins(entity.id(), self.clock.now())
    }

    /// Removes an entity from the world.
    ///
    /// # Errors
    /// If it isn't simulated here (any more), or a durable action of it or to it is not settled: try again later.
    pub fn despawn(&mut self, entity: Owned) -> Result<(), PublishError> {
        self.roster.despawn(entity.id(), self.tick)
    }
}
