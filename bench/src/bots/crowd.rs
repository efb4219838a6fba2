//! The bots of one thread: one runtime, one socket.

use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use selvedge_client::ClientEndpoint;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::account::lock;
use super::bot::Bot;
use super::trail::Trails;
use super::walk::{Plain, Walk};
use super::{BotsError, BotsSettings, Phase, SharedAccount, SharedGaps};

/// The bots of one thread.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) settings: BotsSettings,
    pub(super) plain: Arc<Plain>,
    /// The number of the first bot among all.
    pub(super) first: usize,
    pub(super) accounts: Vec<SharedAccount>,
    pub(super) gaps: SharedGaps,
    pub(super) trails: Arc<Trails>,
    pub(super) phase: watch::Receiver<Phase>,
}

impl Crowd {
    /// Starts the thread; it ends once every bot has left.
    pub(super) fn start(self) -> Result<JoinHandle<()>, BotsError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ready, started) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name(format!("bots-{}", self.first)).spawn(move || {
            runtime.block_on(async {
                match ClientEndpoint::new(self.settings.client.clone()) {
                    Ok(endpoint) => {
                        // Whoever starts the crowd waits for this.
                        let _ = ready.send(Ok(()));
                        self.run(endpoint).await;
                    }
                    Err(error) => drop(ready.send(Err(error.to_string()))),
                }
            });
        })?;
        match started.recv() {
            Ok(Ok(())) => Ok(thread),
            Ok(Err(cause)) => Err(BotsError::Endpoint(cause)),
            Err(_) => Err(BotsError::Endpoint("the thread ended at once".to_owned())),
        }
    }

    async fn run(self, endpoint: ClientEndpoint) {
        let tick = Duration::from_secs(1) / self.settings.tick_hz;
        let pause = Duration::from_secs(1) / self.settings.entries_per_second;
        let begin = Instant::now();
        let mut bots = JoinSet::new();
        for (index, account) in self.accounts.iter().enumerate() {
            let number = self.first + index;
            let bot = Bot {
                client: {
                    // Spreads the entries over time, and the ticks of the bots over the tick.
                    if self.until_entry(begin + times(pause, number) + spread(tick, number)).await {
                        break;
                    }
                    let name = lock(account).name.clone();
                    endpoint.enter(name, Vec::new())
                },
                account: account.clone(),
                gaps: self.gaps.clone(),
                trails: self.trails.clone(),
                walk: Walk::new(self.settings.seed, number as u64, self.settings.manner),
                plain: self.plain.clone(),
                speed_mps: self.settings.speed_mps,
                inputs: number as u64 * 157,
                looked_at: Instant::now(),
            };
            bots.spawn(bot.play(tick, self.phase.clone()));
        }
        // Who hadn't entered yet has nothing to wait for.
        let entered = bots.len();
        for account in self.accounts.iter().skip(entered) {
            lock(account).stands = true;
        }
        while let Some(ended) = bots.join_next().await {
            if ended.is_err() {
                tracing::error!("a bot panicked");
            }
        }
        endpoint.close().await;
    }

    /// Waits; true if the play is over before.
    async fn until_entry(&self, at: Instant) -> bool {
        let mut phase = self.phase.clone();
        let over = phase.wait_for(|phase| !matches!(phase, Phase::Play | Phase::Act(_)));
        tokio::select! {
            () = sleep_until(at) => false,
            _ = over => true,
        }
    }
}

fn times(pause: Duration, number: usize) -> Duration {
    pause.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX))
}

/// A part of `tick` that differs from bot to bot: multiples of the golden ratio lie evenly.
#[allow(clippy::cast_precision_loss, reason = "the number of a bot is small")]
fn spread(tick: Duration, number: usize) -> Duration {
    tick.mul_f64((number as f64 * 0.618_033_988_749_894_9).fract())
}
