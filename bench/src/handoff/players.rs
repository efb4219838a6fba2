//! The players of a measurement: bots that follow their entities wherever those hop, in a process of their own.

use std::io::{self, BufRead};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use selvedge_client::ClientSettings;
use selvedge_node::HistogramText;
use selvedge_protocol::grid::Grid;
use serde::{Deserialize, Serialize};

use super::child::{say, server_identity};
use super::home;
use super::kin::{LOOK, STOP};
use super::spec::BotsSpec;
use super::world::{CELL_EDGE_M, grid};
use crate::{Bots, BotsSettings, BotsSnapshot, Manner, Plain};

/// How long the bots may take to see their last inputs applied.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);
/// Players who enter a second.
const ENTRIES_PER_SECOND: u32 = 100;

/// What the bots saw so far.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PlayersSeen {
    pub(crate) entered: usize,
    pub(crate) switches: u64,
    pub(crate) prepared_switches: u64,
    /// Switches with a tick in between that was never shown.
    pub(crate) unseen: u64,
    pub(crate) lost_connections: u64,
    /// Inputs that were never applied, and those that were more than once: known at the end.
    pub(crate) inputs_lost: u64,
    pub(crate) inputs_doubled: u64,
    pub(crate) authority_violations: u64,
    pub(crate) client_gap_us: HistogramText,
    /// Why the door last said no.
    pub(crate) refusal: Option<String>,
}

impl PlayersSeen {
    pub(crate) fn of(seen: &BotsSnapshot) -> Self {
        Self {
            entered: seen.entered,
            switches: seen.switches,
            prepared_switches: seen.prepared_switches,
            unseen: seen.switches_unseen,
            lost_connections: seen.lost_connections,
            inputs_lost: seen.lost,
            inputs_doubled: seen.doubled,
            authority_violations: seen.authority_violations(),
            client_gap_us: HistogramText::encode(&seen.client_gap_us),
            refusal: seen.last_refusal.clone(),
        }
    }
}

/// Plays until its standard input ends; answers each line with what was seen so far.
///
/// # Errors
/// If no bot can be started.
pub(super) fn run(spec: &BotsSpec) -> anyhow::Result<()> {
    let bots = Bots::start(&settings(spec)?)?;
    for line in io::stdin().lock().lines() {
        match line?.as_str() {
            LOOK => {}
            STOP => {
                bots.stop_inputs();
                if let Err(undrained) = bots.drain(DRAIN_PATIENCE) {
                    tracing::warn!(%undrained, "the players' inputs");
                }
            }
            other => anyhow::bail!("{other:?} is no question"),
        }
        say(&PlayersSeen::of(&bots.snapshot()))?;
    }
    Ok(())
}

fn settings(spec: &BotsSpec) -> anyhow::Result<BotsSettings> {
    let name = selvedge_certs::server_name(server_identity(&spec.dir)?.id());
    Ok(BotsSettings {
        client: ClientSettings::new(spec.door, name, ca(&spec.dir)?),
        players: spec.players,
        tick_hz: spec.input_hz,
        // Their entities hop by themselves: what they send is counted and moves nobody.
        plain: Plain { grid: Grid::new(grid(CELL_EDGE_M))?, owners: Default::default() },
        manner: Manner::Roam,
        speed_mps: 0.0,
        entries_per_second: ENTRIES_PER_SECOND,
        seed: 1,
        name: "hopper".to_owned(),
    })
}

fn ca(dir: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(home::cert(dir, "ca")).context("cannot read the CA's certificate")
}
