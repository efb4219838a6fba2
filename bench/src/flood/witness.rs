//! Players who play on while others attack: how evenly states come, how long an input takes, how long a newcomer waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use selvedge_client::{Client, ClientEndpoint, ClientEvent, ClientSettings};
use selvedge_node::arena::MoveInput;
use selvedge_protocol::id::InputSeq;
use selvedge_protocol::wire::ServerMessage;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// An input a tick.
const TICK: Duration = Duration::from_millis(33);
/// How long a newcomer waits for the first state.
const NEWCOMER_PATIENCE: Duration = Duration::from_secs(10);
/// Between one newcomer and the next.
const NEWCOMER_PAUSE: Duration = Duration::from_millis(200);
/// Inputs whose answer is awaited.
const AWAITED_MAX: usize = 512;

/// What the players saw in one phase. Microseconds.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// From one state to the next, of each player.
    pub(super) state_gap_us: Histogram<u64>,
    /// From an input to the first state that has it applied.
    pub(super) round_trip_us: Histogram<u64>,
    /// From a newcomer's knock to the first state.
    pub(super) entry_us: Histogram<u64>,
    /// Newcomers who saw none in time.
    pub(super) kept_out: u64,
    /// Times that a player lost every connection.
    pub(super) lost: u64,
}

impl Seen {
    fn empty() -> Self {
        let empty = crate::figures::empty;
        Self { state_gap_us: empty(), round_trip_us: empty(), entry_us: empty(), kept_out: 0, lost: 0 }
    }
}

type Shared = Arc<Mutex<Seen>>;

fn lock(seen: &Shared) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The players, on a thread of their own.
#[derive(Debug)]
pub(super) struct Witnesses {
    seen: Shared,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Witnesses {
    /// Lets them in; they play from now on.
    pub(super) fn start(settings: ClientSettings, players: usize) -> anyhow::Result<Self> {
        let seen: Shared = Arc::new(Mutex::new(Seen::empty()));
        let (stop, stopped) = watch::channel(false);
        let (ready, started) = mpsc::sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = seen.clone();
        let thread = thread::Builder::new().name("witnesses".to_owned()).spawn(move || {
            runtime.block_on(async {
                match ClientEndpoint::new(settings) {
                    Ok(endpoint) => {
                        let _ = ready.send(Ok(()));
                        play(&endpoint, players, &shared, stopped).await;
                        endpoint.close().await;
                    }
                    Err(error) => drop(ready.send(Err(error.to_string()))),
                }
            });
        })?;
        started.recv().context("the players' thread ended at once")?.map_err(anyhow::Error::msg)?;
        Ok(Self { seen, stop, thread: Some(thread) })
    }

    /// What they have seen since the last time.
    pub(super) fn take(&self) -> Seen {
        std::mem::replace(&mut lock(&self.seen), Seen::empty())
    }
}

impl Drop for Witnesses {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn play(endpoint: &ClientEndpoint, players: usize, seen: &Shared, mut stop: watch::Receiver<bool>) {
    let mut playing = JoinSet::new();
    for number in 0..players {
        let client = endpoint.enter(format!("witness-{number}"), Vec::new());
        playing.spawn(watch_states(client, seen.clone()));
    }
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = newcomers(endpoint, seen) => {}
    }
}

/// One who stands and acts.
async fn watch_states(mut client: Client, seen: Shared) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let standing = MoveInput { direction: [0.0; 2], speed_mps: 0.0 }.encode();
    let mut awaited: VecDeque<(InputSeq, Instant)> = VecDeque::new();
    let mut last: Option<Instant> = None;
    loop {
        tokio::select! {
            event = client.next_event() => match event {
                Some(ClientEvent::State(ServerMessage::State { applied, .. })) => {
                    let now = Instant::now();
                    let mut seen = lock(&seen);
                    if let Some(before) = last.replace(now) {
                        let _ = seen.state_gap_us.record(micros(now - before));
                    }
                    while let Some((_, sent)) = awaited.pop_front_if(|(seq, _)| *seq <= applied) {
                        let _ = seen.round_trip_us.record(micros(now - sent));
                    }
                }
                Some(ClientEvent::Lost | ClientEvent::Silent) => lock(&seen).lost += 1,
                Some(_) => {}
                None => return,
            },
            _ = ticks.tick() => {
                if let Ok(seq) = client.act(&standing) && awaited.len() < AWAITED_MAX {
                    awaited.push_back((seq, Instant::now()));
                }
            }
        }
    }
}

/// One after the other comes, sees, and leaves.
async fn newcomers(endpoint: &ClientEndpoint, seen: &Shared) {
    for number in 0_u64.. {
        let begun = Instant::now();
        let mut client = endpoint.enter(format!("newcomer-{number}"), Vec::new());
        let first_state = async {
            while let Some(event) = client.next_event().await {
                if matches!(event, ClientEvent::State(_)) {
                    return true;
                }
            }
            false
        };
        match timeout(NEWCOMER_PATIENCE, first_state).await {
            Ok(true) => drop(lock(seen).entry_us.record(micros(begun.elapsed()))),
            Ok(false) | Err(_) => lock(seen).kept_out += 1,
        }
        let _ = client.logout().await;
        tokio::time::sleep(NEWCOMER_PAUSE).await;
    }
}
