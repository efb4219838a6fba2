//! What is measured, and how the processes are placed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::elsewhere::ElsewhereArgs;
use crate::size::parse_bytes;

/// Largest snapshot that a node takes, with room for what stands beside the component.
const SNAPSHOT_BYTES_MAX: usize = 900 << 10;
/// Entities that hop at once.
const CONCURRENCY_MAX: usize = 4096;
/// Ticks a second, unless told otherwise.
const HZ: u32 = 1000;
const HZ_FREE: u32 = 20_000;
/// With players: each tick shows each of them a state.
const HZ_PLAYERS: u32 = 200;
/// How long a player stays on a node at least: their client needs some of it to connect ahead.
const DWELL_PLAYERS: Duration = Duration::from_millis(50);
/// Each crossing of a player is a TLS handshake of their client, too: so many a second of all together.
const PLAYERS_CROSSINGS_PER_S: u32 = 200;

/// Measures the handoff between two node processes that it starts itself, or on a mesh that runs already.
#[derive(Debug, Clone, Args)]
pub(crate) struct HandoffArgs {
    /// Sizes of an entity's snapshot, in bytes; k is 1024
    #[arg(long, value_delimiter = ',', default_value = "1k,4k,16k,64k,256k", value_parser = parse_snapshot_bytes, value_name = "BYTES,...")]
    pub(crate) snapshot_bytes: Vec<usize>,
    /// Entities that hop between the nodes at once
    #[arg(long, value_delimiter = ',', default_value = "1,64", value_parser = parse_concurrency, value_name = "N,...")]
    pub(crate) concurrency: Vec<usize>,
    /// Warm: prepared and copied ahead. Cold: a teleport that nobody foresaw
    #[arg(
        long = "path",
        value_enum,
        value_delimiter = ',',
        default_value = "warm,cold",
        value_name = "PATH,..."
    )]
    pub(crate) paths: Vec<HopPath>,
    /// Measure each size a second time beside so many entities of 256 KiB that never cross: they stand before the border
    /// and change all the time, so that their pre-copies load the link
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=256), value_name = "N")]
    pub(crate) restless: u16,
    /// How often each of them is copied ahead, if the link keeps up
    #[arg(long, default_value = "1ms", value_parser = parse_pause, value_name = "DURATION")]
    pub(crate) restless_every: Duration,
    /// What hops: entities alone, or players, each with a bot's client that follows it over QUIC
    #[arg(long, value_enum, default_value_t = Entities::Clientless)]
    pub(crate) entities: Entities,
    /// The same as --entities players
    #[arg(long)]
    pub(crate) players: bool,
    /// How long an entity stays on a node before it goes on [default: 0s; players 50ms, or so long that all together
    /// cross 200 times a second]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) dwell: Option<Duration>,
    /// Where the two nodes run: both on the first core, on one each, or where the scheduler likes
    #[arg(long, value_enum, default_value_t = Pin::Free)]
    pub(crate) pin: Pin,
    /// One tick after the other without a pause: what the way itself costs. Or ticks by mesh time, and floors with a
    /// request a tick: what waking up costs is then in all of them [default: free, with players ticks]
    #[arg(long, value_enum)]
    pub(crate) pace: Option<Pace>,
    /// Ticks a second; with --pace free at most that many [default: 20000, with --pace ticks 1000, with players 200]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "HZ")]
    pub(crate) tick_hz: Option<u32>,
    /// How long each row is measured [default: 3s, with --coordinator 30s]
    #[arg(long, value_parser = parse_period, value_name = "DURATION")]
    pub(crate) duration: Option<Duration>,
    /// In how many parts each row is measured, all rows in turn: what is compared has then had the same weather. Not with
    /// --coordinator
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100), value_name = "N")]
    pub(crate) turns: u16,
    /// How long each row runs before it is measured, in each turn
    #[arg(long, default_value = "500ms", value_parser = parse_period, value_name = "DURATION")]
    pub(crate) warm_up: Duration,
    /// Largest UDP payload of the links and of the floors: 6500 is what links find between processes of one machine,
    /// 1452 fits Ethernet
    #[arg(long, default_value_t = 6500, value_parser = clap::value_parser!(u16).range(1200..=9000), value_name = "BYTES")]
    pub(crate) mtu: u16,
    /// Megabytes of bulk that a link sends a second; 0: as fast as it goes [default: as the product]
    #[arg(long, value_name = "MB")]
    pub(crate) bulk_mb_per_s: Option<u32>,
    /// Leave out raw UDP and bare quinn
    #[arg(long)]
    pub(crate) no_floors: bool,
    /// File to write the figures to, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Folder to write a percentile file (.hgrm) to for each row and phase
    #[arg(long, value_name = "DIR")]
    pub(crate) hgrm: Option<PathBuf>,
    /// What the processes log
    #[arg(long, default_value = "error", value_name = "FILTER")]
    pub(crate) log: String,
    /// A mesh that runs already
    #[command(flatten)]
    pub(crate) elsewhere: ElsewhereArgs,
}

impl HandoffArgs {
    /// Ticks a second.
    pub(crate) fn hz(&self) -> u32 {
        self.tick_hz.unwrap_or(match (self.entities(), self.pace()) {
            (Entities::Players, _) => HZ_PLAYERS,
            (Entities::Clientless, Pace::Ticks) => HZ,
            (Entities::Clientless, Pace::Free) => HZ_FREE,
        })
    }

    /// Who sets the pace. Clients need a core, too: with players nodes don't take all there is.
    pub(crate) fn pace(&self) -> Pace {
        self.pace.unwrap_or(match self.entities() {
            Entities::Clientless => Pace::Free,
            Entities::Players => Pace::Ticks,
        })
    }

    /// What hops.
    pub(crate) const fn entities(&self) -> Entities {
        if self.players { Entities::Players } else { self.entities }
    }

    /// How long each of so many entities stays on a node before it goes on.
    pub(crate) fn dwell(&self, concurrency: usize) -> Duration {
        self.dwell.unwrap_or_else(|| match self.entities() {
            Entities::Clientless => Duration::ZERO,
            Entities::Players => {
                let all = u32::try_from(concurrency).unwrap_or(u32::MAX);
                DWELL_PLAYERS.max(Duration::from_secs(1).saturating_mul(all) / PLAYERS_CROSSINGS_PER_S)
            }
        })
    }

    /// How long the pre-copy of so many bytes takes: an entity that weighs as much stays at least that long. None where bulk
    /// has no pace.
    pub(crate) fn copying(&self, bytes: usize) -> Option<Duration> {
        let bytes_per_s = super::child::limits(self.bulk_mb_per_s).bulk_bytes_per_s;
        let nanoseconds = (bytes as u64).saturating_mul(1_000_000_000).checked_div(bytes_per_s)?;
        Some(Duration::from_nanos(nanoseconds))
    }

    /// How long each row is measured.
    pub(crate) fn duration(&self) -> Duration {
        let seconds = if self.elsewhere.coordinator.is_some() { 30 } else { 3 };
        self.duration.unwrap_or(Duration::from_secs(seconds))
    }

    /// How long each row is measured in one turn.
    pub(crate) fn stretch(&self) -> Duration {
        self.duration() / u32::from(self.turns.max(1))
    }

    /// The time from one tick to the next, where somebody keeps it: floors then wait for it, too.
    pub(crate) fn pause(&self) -> Option<Duration> {
        match self.pace() {
            Pace::Ticks => Some(Duration::from_secs(1) / self.hz().max(1)),
            Pace::Free => None,
        }
    }
}

/// How an entity gets across.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HopPath {
    /// It waits before the border until the other node has its pre-copy.
    Warm,
    /// It is suddenly on the other side.
    Cold,
}

/// What hops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Entities {
    /// Entities that nobody plays.
    Clientless,
    /// Players, each with a client.
    Players,
}

/// Where the two sides run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pin {
    /// Both on the first core, all else on the others.
    One,
    /// One on the first, one on the second core.
    Split,
    /// Wherever the scheduler likes.
    Free,
}

impl Pin {
    /// The core of each side.
    pub(crate) const fn sides(self) -> [Option<usize>; 2] {
        match self {
            Self::One => [Some(0), Some(0)],
            Self::Split => [Some(0), Some(1)],
            Self::Free => [None, None],
        }
    }

    /// The core of what is not measured.
    pub(crate) const fn others(self) -> Option<usize> {
        match self {
            Self::One => Some(1),
            Self::Split | Self::Free => None,
        }
    }
}

/// Who sets the pace of the ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pace {
    /// Mesh time.
    Ticks,
    /// Nobody: one tick follows the other.
    Free,
}

/// Reads a size that a snapshot may have.
fn parse_snapshot_bytes(text: &str) -> Result<usize, String> {
    let bytes = parse_bytes(text)?;
    let sizes = 256..=SNAPSHOT_BYTES_MAX;
    let range = || format!("{text:?}: choose from 256 to {SNAPSHOT_BYTES_MAX} bytes");
    if sizes.contains(&bytes) { Ok(bytes) } else { Err(range()) }
}

fn parse_concurrency(text: &str) -> Result<usize, String> {
    let number = text.trim().parse::<usize>().ok();
    number
        .filter(|number| (1..=CONCURRENCY_MAX).contains(number))
        .ok_or_else(|| format!("{text:?}: write a number from 1 to {CONCURRENCY_MAX}"))
}

fn parse_pause(text: &str) -> Result<Duration, String> {
    let pause = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if pause.is_zero() { Err("choose more than 0".to_owned()) } else { Ok(pause) }
}

/// Reads a duration that a measurement may have.
pub(crate) fn parse_period(text: &str) -> Result<Duration, String> {
    let period = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if period < Duration::from_millis(100) {
        return Err("less than 100ms says nothing".to_owned());
    }
    Ok(period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_a_unit() {
        assert_eq!(parse_snapshot_bytes("1k"), Ok(1024));
        assert_eq!(parse_snapshot_bytes("4096"), Ok(4096));
        for text in ["", "k", "1", "-4k", "2g", "999999k", "99999999999999999999k"] {
            assert!(parse_snapshot_bytes(text).is_err(), "{text}");
        }
    }
}
