//! Everything that a coordinator remembers, and whether it can be true.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{LifeImage, Record, RowError, SessionImage, WorldImage};
use crate::cell_map::{CellMap, CellMapImage};
use crate::config::CoordinatorConfig;
use crate::coordinator::mesh_time::MESH_TIME_MAX;
use crate::grid::Grid;
use crate::id::{Incarnation, Peer, SessionId, Term};
use crate::limits::{ADDRESS_BYTES_MAX, LIVES_MAX, NAME_BYTES_MAX, SESSIONS_MAX, VOTER_SETS_MAX, VOTERS_MAX};
use crate::time::Time;
use crate::wire::Assignment;

/// Everything that a coordinator remembers: what its records add up to.
///
/// A driver keeps the rows of the records in a file and reads them back with [`from_rows`](Self::from_rows). A simulated
/// one keeps such an image instead, and [`apply`](Self::apply)s the records of each batch of outputs together, all or
/// none, at the moment at which a real one's commit would be durable; before that it must not perform any output of the
/// batch. A crash that loses what was not synced is then: drop the batches that were not applied, and restore from a
/// clone of the image.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct CoordinatorImage {
    pub(super) term: Term,
    pub(super) incarnation: Incarnation,
    pub(super) round: u32,
    pub(super) mesh_time: Time,
    pub(super) world: Option<WorldImage>,
    pub(super) map: Option<CellMapImage>,
    pub(super) lives: BTreeMap<Peer, LifeImage>,
    pub(super) sessions: BTreeMap<SessionId, SessionImage>,
}

/// Why an image can't be that of a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// A row makes no record.
    #[error(transparent)]
    Row(#[from] RowError),
    /// Two things that were kept can't both be true, or one is out of range.
    #[error("{what}")]
    Contradiction {
        /// Which, and why not.
        what: String,
    },
    /// The settings have changed under nodes that may still run.
    #[error("nodes that may still run were told {told}, the settings now say {says}")]
    OtherWorld {
        /// What the nodes were told.
        told: String,
        /// What the settings say.
        says: String,
    },
}

type Checked = Result<(), ImageError>;

fn require(good: bool, what: impl FnOnce() -> String) -> Checked {
    if good { Ok(()) } else { Err(ImageError::Contradiction { what: what() }) }
}

impl CoordinatorImage {
    /// What a coordinator begins with that remembers nothing. Its term and the incarnations that it grants are past
    /// `floor`: if that is the time in milliseconds since 1970, they are also past those of any predecessor whose memory
    /// was lost, so that nodes that still run heed it.
    #[must_use]
    pub fn beginning_at(floor: u64) -> Self {
        Self { term: Term(floor), incarnation: Incarnation(floor), ..Self::default() }
    }

    /// The image that was kept as rows.
    ///
    /// # Errors
    /// If a row makes no record; what the rows add up to is checked when a coordinator is restored from them.
    pub fn from_rows<'a>(rows: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, ImageError> {
        let mut image = Self::default();
        for (key, value) in rows {
            image.apply(Record::read(key, value)?);
        }
        Ok(image)
    }

    /// The records that make this image.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let numbers = [
            Record::Term(self.term),
            Record::Incarnation(self.incarnation),
            Record::Round(self.round),
            Record::MeshTime(self.mesh_time),
        ];
        numbers
            .into_iter()
            .chain(self.world.map(Record::World))
            .chain(self.map.clone().map(Record::Map))
            .chain(self.lives.values().cloned().map(Record::Life))
            .chain(self.sessions.values().cloned().map(Record::Session))
    }

    /// The term of the last coordinator that persisted anything.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.term
    }

    /// Takes one record, in the order in which the coordinator gave them out. See the type's page on what must happen
    /// together.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Term(term) => self.term = term,
            Record::Incarnation(incarnation) => self.incarnation = incarnation,
            Record::Round(round) => self.round = round,
            Record::MeshTime(mark) => self.mesh_time = mark,
            Record::World(world) => self.world = Some(world),
            Record::Map(map) => self.map = Some(map),
            Record::Life(life) => drop(self.lives.insert(life.peer, life)),
            Record::LifeSettled(peer) => drop(self.lives.remove(&peer)),
            Record::Session(session) => drop(self.sessions.insert(session.session, session)),
            Record::SessionOver(session) => drop(self.sessions.remove(&session)),
        }
    }

    /// Checks what the rows add up to; gives the cell map.
    pub(super) fn check(&self, config: &CoordinatorConfig, grid: &Grid) -> Result<CellMap, ImageError> {
        require(self.mesh_time <= MESH_TIME_MAX, || {
            format!("mesh time is kept as {}, which it never reaches", self.mesh_time)
        })?;
        self.check_world(config)?;
        self.check_lives()?;
        self.check_sessions()?;
        self.check_map(grid)
    }

    /// Nodes go by what they were told when they registered, for as long as they run.
    fn check_world(&self, config: &CoordinatorConfig) -> Checked {
        let says = WorldImage::of(config);
        match self.world {
            Some(told) if told != says && !self.lives.is_empty() => {
                let show = |world: WorldImage| {
                    let WorldImage { grid, tick_interval_us, interest_margin_m, lease_us } = world;
                    let [x, y, z] = grid.cells;
                    let (edge, origin) = (grid.cell_edge_m, grid.origin_m);
                    format!(
                        "{x},{y},{z} cells of {edge} m from {origin:?}, a tick each {tick_interval_us} us, an interest \
                         margin of {interest_margin_m} m, a lease of {lease_us} us"
                    )
                };
                Err(ImageError::OtherWorld { told: show(told), says: show(says) })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn check_lives(&self) -> Checked {
        let highest = self.incarnation;
        require(self.lives.len() <= LIVES_MAX, || {
            format!("{} lives are kept, more than the {LIVES_MAX} that there can be", self.lives.len())
        })?;
        let mut granted = BTreeMap::new();
        for (peer, life) in &self.lives {
            let Peer { node, incarnation } = *peer;
            require(incarnation <= highest, || {
                format!("node {node} is kept with incarnation {incarnation}, but only {highest} were granted")
            })?;
            if let Some(other) = granted.insert(incarnation, node) {
                let what =
                    format!("incarnation {incarnation} is kept both of node {other} and of node {node}");
                return Err(ImageError::Contradiction { what });
            }
            let addresses = [&life.mesh_addr, &life.client_addr, &life.server_name];
            require(addresses.iter().all(|address| address.len() <= ADDRESS_BYTES_MAX), || {
                format!("an address of node {node} is longer than {ADDRESS_BYTES_MAX} bytes")
            })?;
            let can_be = |set: &Assignment| {
                let voters: BTreeSet<_> = set.voters.iter().map(|voter| voter.node).collect();
                let good = voters.len() == set.voters.len() && voters.len() <= VOTERS_MAX;
                good && !voters.contains(&node)
            };
            let sets = &life.assignments;
            let good = (1..=VOTER_SETS_MAX).contains(&sets.len()) && sets.iter().all(can_be);
            require(good && sets.is_sorted_by(|former, next| former.version < next.version), || {
                format!("the voters that are kept of node {node} can't be its voters")
            })?;
        }
        Ok(())
    }

    fn check_sessions(&self) -> Checked {
        require(self.sessions.len() <= SESSIONS_MAX, || {
            format!(
                "{} sessions are kept, more than the {SESSIONS_MAX} that there can be",
                self.sessions.len()
            )
        })?;
        let (mut names, mut entities) = (BTreeMap::new(), BTreeMap::new());
        for (id, session) in &self.sessions {
            let length = session.name.len();
            require((1..=NAME_BYTES_MAX).contains(&length), || {
                format!("session {id} is kept with a name of {length} bytes")
            })?;
            let entry = session.entry;
            require(entry.x.is_finite() && entry.y.is_finite() && entry.z.is_finite(), || {
                format!("session {id} is kept with an entry that is no place")
            })?;
            if let Some(other) = names.insert(&session.name, id) {
                let what = format!("the sessions {other} and {id} are both kept for {:?}", session.name);
                return Err(ImageError::Contradiction { what });
            }
            if let Some(other) = entities.insert(session.entity, id) {
                let what = format!("the sessions {other} and {id} are both kept with {}", session.entity);
                return Err(ImageError::Contradiction { what });
            }
        }
        Ok(())
    }

    fn check_map(&self, grid: &Grid) -> Result<CellMap, ImageError> {
        let Some(image) = self.map.clone() else {
            return Ok(CellMap::default());
        };
        // A world that nobody lives in may have been given other cells: they are dealt anew.
        let fits = |image: &CellMapImage| {
            image.owners.iter().find(|(cell, _)| !grid.contains_cell(*cell)).map(|&(cell, _)| cell)
        };
        if let Some(cell) = fits(&image) {
            require(self.lives.is_empty(), || {
                format!("an owner is kept of cell {cell}, which is not in the grid")
            })?;
            let emptied = CellMapImage { owners: Vec::new(), nodes: Vec::new(), ..image };
            return CellMap::from_image(emptied).map_err(|error| contradiction(&error));
        }
        CellMap::from_image(image).map_err(|error| contradiction(&error))
    }
}

fn contradiction(error: &crate::cell_map::CellMapError) -> ImageError {
    ImageError::Contradiction { what: format!("the cell map that is kept makes no sense: {error}") }
}
