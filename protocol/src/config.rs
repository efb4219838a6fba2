//! What can be set on the machines, checked once.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::ghost::BUDGET_BYTES_MIN;
use crate::grid::GridConfig;
use crate::limits::WORLD_CELLS_MAX;

/// The settings of a mesh that every node must share; the coordinator hands them out at registration.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldConfig {
    /// The grid. Default: 4 x 4 cells of 100 m.
    pub grid: GridConfig,
    /// Time between two ticks. Default: 33,333 us (30 Hz). Shorter costs CPU time, longer makes the game coarser.
    pub tick_interval: Duration,
    /// How far across a border entities are replicated, in metres. Default: 30. Too small and players see others pop
    /// up; too large and every node replicates everything.
    pub interest_margin_m: f64,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            grid: GridConfig::default(),
            tick_interval: Duration::from_micros(33_333),
            interest_margin_m: 30.0,
        }
    }
}

/// The longest that any duration may be set to: 30 days. Far past it, sums of such times have no end that can be told.
pub const DURATION_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Why a configuration can't be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A setting that must be a positive, finite number isn't.
    #[error("{name} is {value}: it must be a finite number greater than zero")]
    NotPositive {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// A length that must stay below a cell's edge doesn't.
    #[error("{name} is {value} m, but a cell's edge is {cell_edge_m} m: make it smaller or the cells larger")]
    LongerThanCell {
        /// The setting.
        name: &'static str,
        /// Its value in metres.
        value: f64,
        /// The cell's edge in metres.
        cell_edge_m: f64,
    },
    /// A duration is zero.
    #[error("{name} is zero")]
    ZeroDuration {
        /// The setting.
        name: &'static str,
    },
    /// A duration is absurdly long.
    #[error("{name} is {value:?}: choose at most {DURATION_MAX:?}")]
    TooLong {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: Duration,
    },
    /// A budget takes less than the least that can be sent within it.
    #[error("{name} is {value}: it must be at least {least} bytes, or what it is for cannot keep up")]
    BelowLeast {
        /// The setting.
        name: &'static str,
        /// Its value in bytes.
        value: usize,
        /// The least that it may be, in bytes.
        least: usize,
    },
    /// More cells than a map can carry.
    #[error("the grid has {cells} cells; at most {WORLD_CELLS_MAX} are possible: make them larger")]
    TooManyCells {
        /// How many.
        cells: u64,
    },
    /// The grid itself is refused.
    #[error("the grid is refused: {0}")]
    Grid(#[from] crate::grid::GridError),
}

impl WorldConfig {
    /// Checks what the type doesn't say.
    ///
    /// # Errors
    /// Names the setting that is out of range and its value.
    pub fn check(&self) -> Result<(), ConfigError> {
        let cells = crate::grid::Grid::new(self.grid)?.cell_count();
        if cells > WORLD_CELLS_MAX as u64 {
            return Err(ConfigError::TooManyCells { cells });
        }
        if self.tick_interval.is_zero() {
            return Err(ConfigError::ZeroDuration { name: "tick_interval" });
        }
        not_endless("tick_interval", self.tick_interval)?;
        below_cell("interest_margin_m", self.interest_margin_m, self.grid.cell_edge_m)
    }
}

fn not_endless(name: &'static str, value: Duration) -> Result<(), ConfigError> {
    if value > DURATION_MAX { Err(ConfigError::TooLong { name, value }) } else { Ok(()) }
}

fn below_cell(name: &'static str, value: f64, cell_edge_m: f64) -> Result<(), ConfigError> {
    if !value.is_finite() || value <= 0.0 {
        return Err(ConfigError::NotPositive { name, value });
    }
    if value >= cell_edge_m {
        return Err(ConfigError::LongerThanCell { name, value, cell_edge_m });
    }
    Ok(())
}

/// How one node hands off, forwards and forgets.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeConfig {
    /// A crossing forecast to happen within this time is prepared. Default: 500 ms. Too short and crossings take the
    /// cold path; too long and many preparations are for crossings that never come.
    pub prepare_lead: Duration,
    /// An entity this close to a border is prepared whatever its velocity, in metres. Default: 2.
    pub prepare_margin_m: f64,
    /// How deep past the border an entity must be before it is handed off, in metres. Default: 1. Too small and
    /// entities ping-pong; too large and they are simulated far inside another node's cells.
    pub hysteresis_m: f64,
    /// The least time between two handoffs of one entity. Default: 500 ms.
    pub dwell_min: Duration,
    /// How long the coordinator may take to answer a `PrepareRequest` before the target is asked directly. Default: 100 ms.
    pub coordinator_patience: Duration,
    /// Pause between repeats of an unanswered preparation. Default: 200 ms.
    pub prepare_retry: Duration,
    /// A candidate that the forecast no longer names is given up after this. Default: 1 s.
    pub candidate_keep: Duration,
    /// Pause between refreshes of a pre-copy. Default: 500 ms. Shorter means fewer changed components at the cutover
    /// and more background traffic.
    pub precopy_refresh: Duration,
    /// Pause between repeats of an unanswered `Transfer` or `Cancel`. Default: 100 ms.
    pub transfer_retry: Duration,
    /// After this long without an answer the source asks to cancel. Default: 1 s. It never thaws by itself.
    pub transfer_patience: Duration,
    /// First pause after an aborted handoff or a refusal; doubles up to 16 x. Default: 500 ms.
    pub backoff: Duration,
    /// A target keeps a reservation this long after the source's last sign. Default: 10 s.
    pub reservation_ttl: Duration,
    /// How long a token is good. Default: 10 s.
    pub token_ttl: Duration,
    /// How long a tombstone forwards late inputs; then it answers `Moved`. Default: 5 s.
    pub forward_for: Duration,
    /// How long a player without a client stays in the world. Default: 30 s.
    pub linger: Duration,
    /// A ghost that nobody has vouched for so long vanishes. Default: 2 s. Shorter, and a hiccup of a link makes what is
    /// behind it vanish and come back; longer, and what is gone with its node stands about.
    pub ghost_ttl: Duration,
    /// Bytes of UDP payload that ghosts may take on the link to one other node, in one tick. Default: 64 KiB. Too small and
    /// ghosts lag behind, the farthest most; below [`BUDGET_BYTES_MIN`] it is refused.
    pub ghost_budget_bytes: usize,
    /// How far a client sees, in metres; what is seen goes out of sight a tenth farther. Default: as far as the world's
    /// `interest_margin_m`. Farther is seen only where no border is near: behind one, nobody is shown beyond the margin.
    pub client_interest_m: Option<f64>,
    /// Bytes of UDP payload that what a client sees may take in one tick. Default: 1,500. Too small and a crowd is seen to
    /// move in jerks, the farthest most; below [`BUDGET_BYTES_MIN`] it is refused.
    pub client_budget_bytes: usize,
    /// Distances from which entities of single classes are seen, in metres, across borders and by clients, instead of
    /// `interest_margin_m` and `client_interest_m`. Default: none.
    pub class_margins_m: BTreeMap<u8, f64>,
    /// Pause between heartbeats to the coordinator. Default: 250 ms.
    pub heartbeat: Duration,
    /// Time from one checkpoint to the next; after a spawn, a join or a takeover one follows sooner. Default: 1 s. A
    /// crash undoes this much of what the node did; each checkpoint captures every entity in one tick.
    pub checkpoint_period: Duration,
    /// Bytes of snapshots per second that checkpoints may take at most: heavier ones come later. Default: 32 MiB.
    pub checkpoint_bytes_per_s: u64,
    /// Bytes of other nodes' standby copies that this node keeps at most. Default: 1 GiB. Further checkpoints are not
    /// kept, and what they held is lost if their node dies.
    pub standby_bytes_max: usize,
    /// Entities that this node holds before it refuses preparations and joins. Default: 20,000.
    pub entities_max: usize,
    /// The oldest snapshot schema that this node's game reads. Default: 1.
    pub schema_min: u32,
    /// The newest snapshot schema that this node's game reads, and the one it writes. Default: 1.
    pub schema_max: u32,
    /// A known bug to build in, so that a checker can prove that it sees it.
    #[cfg(feature = "planted-bugs")]
    pub planted_bug: Option<PlantedBug>,
}

/// Bugs that the checkers must see.
#[cfg(feature = "planted-bugs")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlantedBug {
    /// What crosses leaves behind what rides on it.
    LeaveRiders,
    /// What a recovery restores rides on nothing.
    LoseRides,
    /// A frozen source simulates on when the target stays silent.
    ThawOnTimeout,
    /// A target activates whatever epoch arrives.
    IgnoreEpochs,
    /// A token admits more than once.
    ReuseTokens,
    /// A target forgets what it cancelled or refused.
    ForgetCancel,
    /// A node tells no floors, and the verdict doesn't see that a copy proves what was held.
    IgnoreFloors,
    /// A node obeys lower rounds and older terms than it has seen.
    ObeyOldRounds,
    /// The verdict doesn't wait for everybody's answer.
    JudgeEarly,
    /// The verdict takes any claim for the last word and the copy of the highest tick for the best, whatever their epochs.
    IgnoreVerdictEpochs,
    /// The verdict overlooks tombstones.
    IgnoreMoved,
    /// The verdict leaves copies that were superseded where they are.
    DiscardNothing,
    /// A life counts as over as soon as its lease is, by the coordinator's clock.
    FenceWithoutMargin,
    /// A life counts as over when one voter has promised.
    FenceWithoutMajority,
    /// A life counts as over once its newest voters have promised, though it may go by older ones.
    CountNewestVoters,
    /// A set of voters stays in office until the node goes by it.
    KeepVoters,
    /// A node whose lease has run out goes on.
    OutliveLease,
    /// A buddy confirms a checkpoint and forgets it.
    DropStandby,
    /// A buddy confirms a checkpoint of which parts are still missing.
    ConfirmUnapplied,
    /// The verdict restores the oldest copy.
    RestoreOldest,
    /// A node doesn't tell its buddy what has ended.
    ForgetEnds,
    /// A client forgets an input as soon as it is applied.
    ForgetApplied,
    /// A durable action is sent before its sender's half of it is safe.
    AskUnsafe,
    /// A durable action is answered before its receiver's half of it is safe.
    AnswerUnsafe,
    /// A receiver is told to forget a durable action before the answer is safe with its sender.
    CloseUnsafe,
    /// A ghost stays though nobody tells of it any more.
    KeepGhosts,
    /// A node doesn't take what moves ghosts.
    IgnoreSamples,
    /// What a node comes to hold stays its ghost as well.
    KeepPromoted,
    /// An event goes to the owner of its centre alone.
    EventToOne,
    /// Who comes late is not reached by what happened since it became the node's.
    ForgetComers,
    /// An event reaches who was another's in its tick.
    ReachStrangers,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            prepare_lead: Duration::from_millis(500),
            prepare_margin_m: 2.0,
            hysteresis_m: 1.0,
            dwell_min: Duration::from_millis(500),
            coordinator_patience: Duration::from_millis(100),
            prepare_retry: Duration::from_millis(200),
            candidate_keep: Duration::from_secs(1),
            precopy_refresh: Duration::from_millis(500),
            transfer_retry: Duration::from_millis(100),
            transfer_patience: Duration::from_secs(1),
            backoff: Duration::from_millis(500),
            reservation_ttl: Duration::from_secs(10),
            token_ttl: Duration::from_secs(10),
            forward_for: Duration::from_secs(5),
            linger: Duration::from_secs(30),
            ghost_ttl: Duration::from_secs(2),
            ghost_budget_bytes: 64 * 1024,
            client_interest_m: None,
            client_budget_bytes: 1_500,
            class_margins_m: BTreeMap::new(),
            heartbeat: Duration::from_millis(250),
            checkpoint_period: Duration::from_secs(1),
            checkpoint_bytes_per_s: 32 * 1024 * 1024,
            standby_bytes_max: 1024 * 1024 * 1024,
            entities_max: 20_000,
            schema_min: 1,
            schema_max: 1,
            #[cfg(feature = "planted-bugs")]
            planted_bug: None,
        }
    }
}

impl NodeConfig {
    /// Checks what the types don't say, against the world that the node joins.
    ///
    /// # Errors
    /// Names the setting that is out of range and its value.
    pub fn check(&self, world: &WorldConfig) -> Result<(), ConfigError> {
        let edge = world.grid.cell_edge_m;
        below_cell("hysteresis_m", self.hysteresis_m, edge)?;
        below_cell("prepare_margin_m", self.prepare_margin_m, edge)?;
        if let Some(value) = self.client_interest_m.filter(|metres| !metres.is_finite() || *metres <= 0.0) {
            return Err(ConfigError::NotPositive { name: "client_interest_m", value });
        }
        for &value in self.class_margins_m.values() {
            below_cell("class_margins_m", value, edge)?;
        }
        for (name, duration) in [
            ("prepare_lead", self.prepare_lead),
            ("prepare_retry", self.prepare_retry),
            ("precopy_refresh", self.precopy_refresh),
            ("transfer_retry", self.transfer_retry),
            ("transfer_patience", self.transfer_patience),
            ("reservation_ttl", self.reservation_ttl),
            ("token_ttl", self.token_ttl),
            ("ghost_ttl", self.ghost_ttl),
            ("heartbeat", self.heartbeat),
            ("checkpoint_period", self.checkpoint_period),
        ] {
            if duration.is_zero() {
                return Err(ConfigError::ZeroDuration { name });
            }
            not_endless(name, duration)?;
        }
        for (name, duration) in [
            ("dwell_min", self.dwell_min),
            ("coordinator_patience", self.coordinator_patience),
            ("candidate_keep", self.candidate_keep),
            ("backoff", self.backoff),
            ("forward_for", self.forward_for),
            ("linger", self.linger),
        ] {
            not_endless(name, duration)?;
        }
        for (name, value) in [
            ("ghost_budget_bytes", self.ghost_budget_bytes),
            ("client_budget_bytes", self.client_budget_bytes),
        ] {
            if value < BUDGET_BYTES_MIN {
                return Err(ConfigError::BelowLeast { name, value, least: BUDGET_BYTES_MIN });
            }
        }
        if self.checkpoint_bytes_per_s == 0 {
            return Err(ConfigError::NotPositive { name: "checkpoint_bytes_per_s", value: 0.0 });
        }
        Ok(())
    }

    /// How far a client sees in a world of this interest margin.
    #[must_use]
    pub fn client_sees_m(&self, interest_margin_m: f64) -> f64 {
        self.client_interest_m.unwrap_or(interest_margin_m)
    }

    #[cfg(feature = "planted-bugs")]
    pub(crate) fn has_bug(&self, bug: PlantedBug) -> bool {
        self.planted_bug == Some(bug)
    }
}

/// How the coordinator keeps the mesh.
#[derive(Clone, Debug, PartialEq)]
pub struct CoordinatorConfig {
    /// What every node must share.
    pub world: WorldConfig,
    /// How long a node may simulate after the last renewal that a majority of its voters answered. Default: 3 s. Shorter
    /// means a quicker recovery, and that a shorter stall costs a node its life.
    pub lease: Duration,
    /// How much longer than that the coordinator waits before it replaces a node: covers clocks that run at different
    /// rates. Default: 150 ms, 5 % of the lease.
    pub lease_margin: Duration,
    /// A node that sent no heartbeat for this long is suspected, and loses its lease for good. Default: 2 s.
    pub suspect_after: Duration,
    /// Pause between repeats of a question to a node. Default: 200 ms.
    pub retry: Duration,
    /// How long a player waits at the door before they are refused. Default: 5 s.
    pub entry_patience: Duration,
    /// Cells pinned to nodes by configuration; the others are cut into contiguous runs.
    pub pinned: BTreeMap<crate::grid::CellId, crate::id::NodeId>,
    /// Nodes that must have registered before cells are assigned. Default: 1. With more, entities aren't moved
    /// about while a mesh starts.
    pub nodes_min: usize,
    /// A known bug to build in, so that a checker can prove that it sees it.
    #[cfg(feature = "planted-bugs")]
    pub planted_bug: Option<PlantedBug>,
}

impl Default for CoordinatorConfig {
    fn default() -> Self {
        Self {
            world: WorldConfig::default(),
            lease: Duration::from_secs(3),
            lease_margin: Duration::from_millis(150),
            suspect_after: Duration::from_secs(2),
            retry: Duration::from_millis(200),
            entry_patience: Duration::from_secs(5),
            pinned: BTreeMap::new(),
            nodes_min: 1,
            #[cfg(feature = "planted-bugs")]
            planted_bug: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_settings_name_the_setting_and_the_value() {
        let world = |cell_edge_m, interest_margin_m| {
            let grid = GridConfig { cell_edge_m, ..GridConfig::default() };
            WorldConfig { grid, interest_margin_m, ..WorldConfig::default() }.check().unwrap_err().to_string()
        };
        assert!(world(0.0, 30.0).contains("cell edge of 0 m"), "{}", world(0.0, 30.0));
        assert!(world(f64::NAN, 30.0).contains("not finite"));
        let text = world(20.0, 30.0);
        assert!(text.contains("interest_margin_m is 30 m") && text.contains("edge is 20 m"), "{text}");
        let config = NodeConfig { hysteresis_m: 100.0, ..NodeConfig::default() };
        let error = config.check(&WorldConfig::default()).unwrap_err();
        assert!(matches!(error, ConfigError::LongerThanCell { name: "hysteresis_m", .. }), "{error}");
        let config = NodeConfig { precopy_refresh: Duration::MAX, ..NodeConfig::default() };
        let text = config.check(&WorldConfig::default()).unwrap_err().to_string();
        assert!(text.contains("precopy_refresh is") && text.contains("at most 2592000s"), "{text}");
        let config = NodeConfig { backoff: Duration::MAX, ..NodeConfig::default() };
        let text = config.check(&WorldConfig::default()).unwrap_err().to_string();
        assert!(text.contains("backoff is"), "{text}");
        let config = NodeConfig { client_budget_bytes: 255, ..NodeConfig::default() };
        let text = config.check(&WorldConfig::default()).unwrap_err().to_string();
        assert!(text.contains("client_budget_bytes is 255: it must be at least 256 bytes"), "{text}");
        let config = NodeConfig { ghost_budget_bytes: 0, ..NodeConfig::default() };
        assert!(config.check(&WorldConfig::default()).is_err());
    }
}
