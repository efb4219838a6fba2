//! What can be set on `mesh-bench flood`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// Players whose places at one address leave room for the attackers of the same address.
const PLAYERS_MAX: usize = 24;

/// A kind of attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Attack {
    /// 10,000 connections to a node's client port, from many addresses, as many at once as it lets in
    Connections,
    /// Packets that are none, at full speed, to the client port and to the mesh port
    Noise,
    /// Connections whose first message is garbage, one after the other
    Strangers,
    /// Players who were let in and then send garbage at full speed, and come back
    Players,
    /// Players who were let in and never read or acknowledge anything
    Deaf,
    /// A node that prepares handoffs at full speed: the control lane
    Control,
    /// A node that sends standby copies at full speed: the checkpoint lane
    Checkpoints,
    /// A node that sends ghosts at full speed: datagrams
    Ghosts,
}

/// Hostile clients and a hostile node, beside players who watch.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct FloodArgs {
    /// What is done, one after the other
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Attack::Connections, Attack::Noise, Attack::Strangers, Attack::Players, Attack::Deaf, Attack::Control, Attack::Checkpoints, Attack::Ghosts], value_name = "ATTACKS")]
    pub(crate) attacks: Vec<Attack>,
    /// How long each attack lasts, and the quiet time that it is compared to
    #[arg(long, default_value = "4s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    #[serde(skip)]
    pub(crate) duration: Duration,
    /// Players who watch
    #[arg(long, default_value_t = 16, value_name = "N")]
    pub(crate) players: usize,
    /// NPCs, spread over the nodes; they cross all the time
    #[arg(long, default_value_t = 40, value_name = "N")]
    pub(crate) npcs: u32,
    /// File to write the report to, as JSON
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) json: Option<PathBuf>,
    /// Keep configuration, keys and logs in this folder, which must be empty or not there
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub(crate) keep_dir: Option<PathBuf>,
}

impl FloodArgs {
    /// Checks what a single value doesn't show.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.attacks.is_empty() {
            return Err("--attacks: choose one at least".to_owned());
        }
        if !(1..=PLAYERS_MAX).contains(&self.players) {
            return Err(format!("--players {}: choose 1 to {PLAYERS_MAX}", self.players));
        }
        if self.duration < Duration::from_secs(1) {
            return Err(format!("--duration {:?}: choose 1s or more", self.duration));
        }
        Ok(())
    }
}
