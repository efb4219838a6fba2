//! One thing to keep, and the row of a store that it makes.

use core::time::Duration;

use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::{Archive, Deserialize, Serialize};

use crate::cell_map::CellMapImage;
use crate::config::CoordinatorConfig;
use crate::grid::{GridConfig, Position};
use crate::id::{EntityId, Incarnation, NodeId, Peer, SessionId, Term};
use crate::time::Time;
use crate::token::Token;
use crate::wire::Assignment;

/// What every node of the mesh was told of the world when it registered.
#[derive(Clone, Copy, PartialEq, Debug, Archive, Serialize, Deserialize)]
pub struct WorldImage {
    /// The grid.
    pub grid: GridConfig,
    /// Microseconds between two ticks.
    pub tick_interval_us: u64,
    /// How far entities are replicated across borders, in metres.
    pub interest_margin_m: f64,
    /// How long a lease lasts, in microseconds.
    pub lease_us: u64,
}

impl WorldImage {
    /// As the settings say it.
    #[must_use]
    pub fn of(config: &CoordinatorConfig) -> Self {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self {
            grid: config.world.grid,
            tick_interval_us: micros(config.world.tick_interval),
            interest_margin_m: config.world.interest_margin_m,
            lease_us: micros(config.lease),
        }
    }
}

/// One life of one node, until everything about it is settled.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub struct LifeImage {
    /// Which node, in which life.
    pub peer: Peer,
    /// The number that its process drew.
    pub process: u64,
    /// Counts the lives of that process.
    pub life: u32,
    /// Where other nodes reach it.
    pub mesh_addr: String,
    /// Where clients reach it.
    pub client_addr: String,
    /// The name in its client-side certificate.
    pub server_name: String,
    /// Who may witness it, and who may keep its standby copies: everything that it may go by, oldest first.
    pub assignments: Vec<Assignment>,
    /// Whether it is over, and only what it held is not settled yet.
    pub over: bool,
}

/// A player's stay. The character itself is in the character store, under the name.
#[derive(Clone, PartialEq, Debug, Archive, Serialize, Deserialize)]
pub struct SessionImage {
    /// Which session.
    pub session: SessionId,
    /// The character's name.
    pub name: String,
    /// Whoever shows this is the player.
    pub secret: Token,
    /// The player's entity.
    pub entity: EntityId,
    /// Where they entered.
    pub entry: Position,
    /// Who was asked to let them in first: no other life may begin the entity.
    pub asked: Peer,
    /// Whether the entity was ever held by a node.
    pub lived: bool,
    /// Set once the entity is gone: the node that held it last, from which alone the character is taken.
    pub gone_at: Option<NodeId>,
}

/// One thing that must be kept before anything that follows it is said to anybody.
///
/// Each record replaces what was kept under the same [`key`](Self::key), so that records may be applied twice, but not
/// out of order.
#[derive(Clone, PartialEq, Debug)]
pub enum Record {
    /// A coordinator began this term.
    Term(Term),
    /// The highest incarnation ever granted.
    Incarnation(Incarnation),
    /// The number of the newest recovery round.
    Round(u32),
    /// Mesh time was told to nobody from here on.
    MeshTime(Time),
    /// What nodes were told of the world.
    World(WorldImage),
    /// Who owns which cell.
    Map(CellMapImage),
    /// A life was granted, or something about it has changed.
    Life(LifeImage),
    /// Everything about this life is settled.
    LifeSettled(Peer),
    /// A session was opened, or something about it has changed.
    Session(SessionImage),
    /// A session is over.
    SessionOver(SessionId),
}

/// Why a row of a store makes no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Its key means nothing to this version.
    #[error("the key {key:?} is unknown to this version")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// Its value is no valid archive of what the key says.
    #[error("what is kept under {key:?} can't be read")]
    Unreadable {
        /// The key.
        key: String,
    },
    /// It is kept under another key than its own.
    #[error("what is kept under {key:?} belongs under {belongs:?}")]
    Misplaced {
        /// The key.
        key: String,
        /// Its own.
        belongs: String,
    },
}

const TERM: &str = "term";
const INCARNATION: &str = "incarnation";
const ROUND: &str = "round";
const MESH_TIME: &str = "mesh_time";
const WORLD: &str = "world";
const MAP: &str = "map";
const LIFE: &str = "life/";
const SESSION: &str = "session/";

fn life_key(peer: Peer) -> String {
    format!("{LIFE}{}/{}", peer.node, peer.incarnation)
}

fn session_key(session: SessionId) -> String {
    format!("{SESSION}{session}")
}

impl Record {
    /// What it is kept under.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Term(_) => TERM.to_owned(),
            Self::Incarnation(_) => INCARNATION.to_owned(),
            Self::Round(_) => ROUND.to_owned(),
            Self::MeshTime(_) => MESH_TIME.to_owned(),
            Self::World(_) => WORLD.to_owned(),
            Self::Map(_) => MAP.to_owned(),
            Self::Life(life) => life_key(life.peer),
            Self::LifeSettled(peer) => life_key(*peer),
            Self::Session(session) => session_key(session.session),
            Self::SessionOver(session) => session_key(*session),
        }
    }

    /// What is to be kept under its key; nothing if what is there is to be removed.
    #[must_use]
    pub fn value(&self) -> Option<Vec<u8>> {
        match self {
            Self::Term(term) => Some(archive(term)),
            Self::Incarnation(incarnation) => Some(archive(incarnation)),
            Self::Round(round) => Some(archive(round)),
            Self::MeshTime(mark) => Some(archive(mark)),
            Self::World(world) => Some(archive(world)),
            Self::Map(map) => Some(archive(map)),
            Self::Life(life) => Some(archive(life)),
            Self::Session(session) => Some(archive(session)),
            Self::LifeSettled(_) | Self::SessionOver(_) => None,
        }
    }

    /// The record of a row.
    ///
    /// # Errors
    /// [`RowError`], naming the key.
    pub fn read(key: &str, value: &[u8]) -> Result<Self, RowError> {
        let record = match key {
            TERM => Self::Term(unarchive(key, value)?),
            INCARNATION => Self::Incarnation(unarchive(key, value)?),
            ROUND => Self::Round(unarchive(key, value)?),
            MESH_TIME => Self::MeshTime(unarchive(key, value)?),
            WORLD => Self::World(unarchive(key, value)?),
            MAP => Self::Map(unarchive(key, value)?),
            _ if key.starts_with(LIFE) => Self::Life(unarchive(key, value)?),
            _ if key.starts_with(SESSION) => Self::Session(unarchive(key, value)?),
            _ => return Err(RowError::UnknownKey { key: key.to_owned() }),
        };
        let belongs = record.key();
        if belongs == key { Ok(record) } else { Err(RowError::Misplaced { key: key.to_owned(), belongs }) }
    }
}

fn archive<T>(value: &T) -> Vec<u8>
where
    T: for<'a> Serialize<HighSerializer<Vec<u8>, ArenaHandle<'a>, rancor::Error>>,
{
    // Archiving a plain value into memory has no way to fail but memory running out.
    match rkyv::api::high::to_bytes_in::<_, rancor::Error>(value, Vec::new()) {
        Ok(bytes) => bytes,
        Err(error) => panic!("a record could not be archived: {error}"),
    }
}

fn unarchive<T>(key: &str, value: &[u8]) -> Result<T, RowError>
where
    T: Archive,
    T::Archived: for<'a> CheckBytes<HighValidator<'a, rancor::Error>>
        + Deserialize<T, HighDeserializer<rancor::Error>>,
{
    rkyv::from_bytes::<T, rancor::Error>(value).map_err(|_| RowError::Unreadable { key: key.to_owned() })
}
