//! The core's settings, as a file spells them.

use std::collections::BTreeMap;
use std::time::Duration;

use selvedge_protocol::config::{NodeConfig, WorldConfig};
use selvedge_protocol::grid::GridConfig;
use selvedge_protocol::limits::ENTITIES_MAX;
use serde::{Deserialize, Serialize};

/// [`NodeConfig`] with durations as people write them (`500ms`). Units, defaults and costs are documented there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoreSettings {
    /// See [`NodeConfig::prepare_lead`].
    #[serde(with = "humantime_serde")]
    pub prepare_lead: Duration,
    /// See [`NodeConfig::prepare_margin_m`].
    pub prepare_margin_m: f64,
    /// See [`NodeConfig::hysteresis_m`].
    pub hysteresis_m: f64,
    /// See [`NodeConfig::dwell_min`].
    #[serde(with = "humantime_serde")]
    pub dwell_min: Duration,
    /// See [`NodeConfig::coordinator_patience`].
    #[serde(with = "humantime_serde")]
    pub coordinator_patience: Duration,
    /// See [`NodeConfig::prepare_retry`].
    #[serde(with = "humantime_serde")]
    pub prepare_retry: Duration,
    /// See [`NodeConfig::candidate_keep`].
    #[serde(with = "humantime_serde")]
    pub candidate_keep: Duration,
    /// See [`NodeConfig::precopy_refresh`].
    #[serde(with = "humantime_serde")]
    pub precopy_refresh: Duration,
    /// See [`NodeConfig::transfer_retry`].
    #[serde(with = "humantime_serde")]
    pub transfer_retry: Duration,
    /// See [`NodeConfig::transfer_patience`].
    #[serde(with = "humantime_serde")]
    pub transfer_patience: Duration,
    /// See [`NodeConfig::backoff`].
    #[serde(with = "humantime_serde")]
    pub backoff: Duration,
    /// See [`NodeConfig::reservation_ttl`].
    #[serde(with = "humantime_serde")]
    pub reservation_ttl: Duration,
    /// See [`NodeConfig::token_ttl`].
    #[serde(with = "humantime_serde")]
    pub token_ttl: Duration,
    /// See [`NodeConfig::forward_for`].
    #[serde(with = "humantime_serde")]
    pub forward_for: Duration,
    /// See [`NodeConfig::linger`].
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// See [`NodeConfig::ghost_ttl`].
    #[serde(with = "humantime_serde")]
    pub ghost_ttl: Duration,
    /// See [`NodeConfig::ghost_budget_bytes`].
    pub ghost_budget_bytes: usize,
    /// See [`NodeConfig::client_interest_m`].
    pub client_interest_m: Option<f64>,
    /// See [`NodeConfig::client_budget_bytes`].
    pub client_budget_bytes: usize,
    /// See [`NodeConfig::class_margins_m`]. Keys are the classes' numbers.
    pub class_margins_m: BTreeMap<u8, f64>,
    /// See [`NodeConfig::heartbeat`].
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// See [`NodeConfig::checkpoint_period`].
    #[serde(with = "humantime_serde")]
    pub checkpoint_period: Duration,
    /// See [`NodeConfig::checkpoint_bytes_per_s`].
    pub checkpoint_bytes_per_s: u64,
    /// See [`NodeConfig::standby_bytes_max`].
    pub standby_bytes_max: usize,
    /// See [`NodeConfig::entities_max`].
    pub entities_max: usize,
    /// See [`NodeConfig::schema_min`].
    pub schema_min: u32,
    /// See [`NodeConfig::schema_max`].
    pub schema_max: u32,
}

impl Default for CoreSettings {
    fn default() -> Self {
        let config = NodeConfig::default();
        Self {
            prepare_lead: config.prepare_lead,
            prepare_margin_m: config.prepare_margin_m,
            hysteresis_m: config.hysteresis_m,
            dwell_min: config.dwell_min,
            coordinator_patience: config.coordinator_patience,
            prepare_retry: config.prepare_retry,
            candidate_keep: config.candidate_keep,
            precopy_refresh: config.precopy_refresh,
            transfer_retry: config.transfer_retry,
            transfer_patience: config.transfer_patience,
            backoff: config.backoff,
            reservation_ttl: config.reservation_ttl,
            token_ttl: config.token_ttl,
            forward_for: config.forward_for,
            linger: config.linger,
            ghost_ttl: config.ghost_ttl,
            ghost_budget_bytes: config.ghost_budget_bytes,
            client_interest_m: config.client_interest_m,
            client_budget_bytes: config.client_budget_bytes,
            class_margins_m: config.class_margins_m,
            heartbeat: config.heartbeat,
            checkpoint_period: config.checkpoint_period,
            checkpoint_bytes_per_s: config.checkpoint_bytes_per_s,
            standby_bytes_max: config.standby_bytes_max,
            entities_max: config.entities_max,
            schema_min: config.schema_min,
            schema_max: config.schema_max,
        }
    }
}

impl CoreSettings {
    /// Checks the settings as far as that is possible before the world is known, and hands them to the core.
    ///
    /// # Errors
    /// Names the setting and says what is wrong with it.
    pub fn to_config(&self) -> Result<NodeConfig, String> {
        if self.schema_min > self.schema_max {
            return Err(format!("schema_min {} is above schema_max {}", self.schema_min, self.schema_max));
        }
        if self.transfer_retry > self.transfer_patience {
            return Err(format!(
                "transfer_retry {:?} is above transfer_patience {:?}: the transfer would never be repeated",
                self.transfer_retry, self.transfer_patience
            ));
        }
        if self.prepare_margin_m < self.hysteresis_m {
            return Err(format!(
                "prepare_margin_m {} is below hysteresis_m {}: a slow entity would be handed off unprepared",
                self.prepare_margin_m, self.hysteresis_m
            ));
        }
        if self.entities_max == 0 || self.entities_max > ENTITIES_MAX {
            return Err(format!("entities_max {} is not within 1 to {ENTITIES_MAX}", self.entities_max));
        }
        let config = self.as_config();
        // The world's cell edge is known at registration; until then no edge is too small.
        let grid = GridConfig { cell_edge_m: f64::MAX, ..GridConfig::default() };
        let any_world = WorldConfig { grid, ..WorldConfig::default() };
        config.check(&any_world).map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[allow(clippy::needless_update, reason = "the core has one more field where checkers plant bugs")]
    fn as_config(&self) -> NodeConfig {
        NodeConfig {
            prepare_lead: self.prepare_lead,
            prepare_margin_m: self.prepare_margin_m,
            hysteresis_m: self.hysteresis_m,
            dwell_min: self.dwell_min,
            coordinator_patience: self.coordinator_patience,
            prepare_retry: self.prepare_retry,
            candidate_keep: self.candidate_keep,
            precopy_refresh: self.precopy_refresh,
            transfer_retry: self.transfer_retry,
            transfer_patience: self.transfer_patience,
            backoff: self.backoff,
            reservation_ttl: self.reservation_ttl,
            token_ttl: self.token_ttl,
            forward_for: self.forward_for,
            linger: self.linger,
            ghost_ttl: self.ghost_ttl,
            ghost_budget_bytes: self.ghost_budget_bytes,
            client_interest_m: self.client_interest_m,
            client_budget_bytes: self.client_budget_bytes,
            class_margins_m: self.class_margins_m.clone(),
            heartbeat: self.heartbeat,
            checkpoint_period: self.checkpoint_period,
            checkpoint_bytes_per_s: self.checkpoint_bytes_per_s,
            standby_bytes_max: self.standby_bytes_max,
            entities_max: self.entities_max,
            schema_min: self.schema_min,
            schema_max: self.schema_max,
            ..NodeConfig::default()
        }
    }
}
