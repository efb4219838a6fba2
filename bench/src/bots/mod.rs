//! Bots: players without a person, who walk to and fro over the borders and keep account of what they are shown.

mod account;
mod bot;
mod crowd;
mod report;
mod sight;
mod trail;
mod walk;

use std::io;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use selvedge_client::ClientSettings;
use selvedge_protocol::id::EntityId;
use tokio::sync::watch;

use crate::bots::account::Account;
pub use crate::bots::report::{BotAccount, BotsReport, BotsSnapshot};
pub use crate::bots::sight::{Inventory, Sight};
pub use crate::bots::walk::{Manner, Plain};

/// Bots that share one thread and one UDP socket.
pub const PLAYERS_PER_THREAD: usize = 500;
/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(20);

/// How bots play.
#[derive(Debug, Clone)]
pub struct BotsSettings {
    /// Where the world is.
    pub client: ClientSettings,
    /// How many players.
    pub players: usize,
    /// Inputs a second of each; the mesh's tick rate, or an input waits for a tick.
    pub tick_hz: u32,
    /// The world that they walk in.
    pub plain: Plain,
    /// How they choose where to go.
    pub manner: Manner,
    /// How fast they walk, in metres a second. Default of the sample world: 12, which is also its limit.
    pub speed_mps: f64,
    /// Players who knock at the door a second. Above the door's handshake limit they are refused and try again.
    pub entries_per_second: u32,
    /// Where they walk.
    pub seed: u64,
    /// Their names are this and a number.
    pub name: String,
}

/// Why no bots could be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BotsError {
    /// A setting can't be.
    #[error("{0}")]
    Setting(&'static str),
    /// The socket couldn't be opened.
    #[error("the bots' socket can't be opened: {0}")]
    Endpoint(String),
    /// No thread or no runtime.
    #[error("no thread for the bots: {0}")]
    Thread(#[from] io::Error),
}

/// Not every input was acknowledged in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{bots} of the players did not see their last input applied within {patience:?}")]
pub struct Undrained {
    /// How many bots.
    pub bots: usize,
    /// How long was waited.
    pub patience: Duration,
}

/// What all bots are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Walk.
    Play,
    /// Walk, and with every so many-th input give something away, hit somebody or shout.
    Act(u64),
    /// Stop, and watch.
    Stand,
    /// Log out.
    Leave,
}

/// What a bot shares with the handle.
type SharedAccount = Arc<Mutex<Account>>;
/// `client_gap` of every switch of every bot, in microseconds.
type SharedGaps = Arc<Mutex<Histogram<u64>>>;

/// Running bots. Dropping it drops their connections without logging them out.
#[derive(Debug)]
pub struct Bots {
    phase: watch::Sender<Phase>,
    accounts: Vec<SharedAccount>,
    gaps: SharedGaps,
    trails: Arc<trail::Trails>,
    threads: Vec<JoinHandle<()>>,
    started: Instant,
}

impl Bots {
    /// Starts the threads; the players enter one after another from now on.
    ///
    /// # Errors
    /// [`BotsError`].
    pub fn start(settings: &BotsSettings) -> Result<Self, BotsError> {
        if settings.tick_hz == 0 || settings.tick_hz > 1000 {
            return Err(BotsError::Setting("the tick rate must be 1 to 1000 a second"));
        }
        if settings.entries_per_second == 0 {
            return Err(BotsError::Setting("nobody could enter: the entries a second must be above 0"));
        }
        let (phase, watching) = watch::channel(Phase::Play);
        let gaps: SharedGaps = Arc::new(Mutex::new(crate::figures::empty()));
        let accounts: Vec<SharedAccount> = (0..settings.players)
            .map(|number| Arc::new(Mutex::new(Account::new(format!("{}-{number}", settings.name)))))
            .collect();
        let plain = Arc::new(settings.plain.clone());
        let interval = Duration::from_micros(u64::from(1_000_000 / settings.tick_hz));
        let trails = Arc::new(trail::Trails::new(interval, plain.clone()));
        let mut threads = Vec::new();
        for (index, accounts) in accounts.chunks(PLAYERS_PER_THREAD).enumerate() {
            let crowd = crowd::Crowd {
                settings: settings.clone(),
                plain: plain.clone(),
                first: index * PLAYERS_PER_THREAD,
                accounts: accounts.to_vec(),
                gaps: gaps.clone(),
                trails: trails.clone(),
                phase: watching.clone(),
            };
            threads.push(crowd.start()?);
        }
        Ok(Self { phase, accounts, gaps, trails, threads, started: Instant::now() })
    }

    /// What the bots have seen so far.
    #[must_use]
    pub fn snapshot(&self) -> BotsSnapshot {
        let mut snapshot = BotsSnapshot::new(self.accounts.len(), self.started.elapsed());
        for account in &self.accounts {
            snapshot.add(&account::lock(account));
        }
        snapshot.client_gap_us = account::lock(&self.gaps).clone();
        (snapshot.off_mm, snapshot.off_over_border_mm) = self.trails.off_mm();
        snapshot
    }

    /// Lets every bot act upon whom it meets with every so many-th input, or no more: mostly it gives them an item, now and
    /// then it hits them or shouts. What is under way settles within a few seconds.
    pub fn act(&self, every: Option<NonZeroU64>) {
        self.phase.send_replace(every.map_or(Phase::Play, |every| Phase::Act(every.get())));
    }

    /// Makes every bot stand still: each sends one last input that says so, and then none.
    pub fn stop_inputs(&self) {
        self.phase.send_replace(Phase::Stand);
    }

    /// Waits until every bot has seen its last input applied in its own entity's state. To be called after
    /// [`stop_inputs`](Self::stop_inputs).
    ///
    /// # Errors
    /// [`Undrained`], with the number of bots that are not there yet.
    pub fn drain(&self, patience: Duration) -> Result<(), Undrained> {
        let until = Instant::now() + patience;
        loop {
            let bots = self.accounts.iter().filter(|account| !account::lock(account).is_drained()).count();
            if bots == 0 {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(Undrained { bots, patience });
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Each bot's account as it is now.
    #[must_use]
    pub fn accounts(&self) -> Vec<BotAccount> {
        self.accounts.iter().map(|account| account::lock(account).to_public()).collect()
    }

    /// What each bot that is in the world sees of its own entity.
    #[must_use]
    pub fn sights(&self) -> Vec<Sight> {
        self.accounts.iter().filter_map(|account| account::lock(account).sight()).collect()
    }

    /// What the entity of each bot that is in the world carries, as far as it was shown.
    #[must_use]
    pub fn inventories(&self) -> Vec<(EntityId, Inventory)> {
        self.accounts.iter().filter_map(|account| account::lock(account).inventory()).collect()
    }

    /// Lets every bot read its entity's inventory anew.
    pub fn recount_items(&self) {
        self.accounts.iter().for_each(|account| account::lock(account).watch.recount());
    }

    /// Logs every player out, ends the threads, and gives the sum of it all. A thread that doesn't end within
    /// `patience` is left behind.
    #[must_use]
    pub fn logout_all(mut self, patience: Duration) -> BotsReport {
        self.phase.send_replace(Phase::Leave);
        let until = Instant::now() + patience;
        for thread in std::mem::take(&mut self.threads) {
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(LOOK);
            }
            if !thread.is_finished() {
                tracing::warn!(?patience, "a thread of bots did not end in time");
            } else if thread.join().is_err() {
                tracing::error!("a thread of bots panicked");
            }
        }
        BotsReport::new(self.snapshot(), &self.accounts)
    }
}
