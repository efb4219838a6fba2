//! What the threads of a node share.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use selvedge_protocol::id::Peer;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::game::Mailbox;
use crate::report::{GameMeter, MeshMeter, NodeReport, report};

/// How the registration stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// This node in its current life.
    pub(crate) me: Option<Peer>,
    /// Whether mesh time is known: ticks are numbered by it.
    pub(crate) synchronized: bool,
    /// Why the coordinator last refused it.
    pub(crate) refused: Option<String>,
    /// Why it can't run in the world that it joined, for good.
    pub(crate) unfit: Option<String>,
}

impl Standing {
    /// Whether ticks can run.
    pub(crate) const fn is_ready(&self) -> bool {
        self.me.is_some() && self.synchronized
    }
}

/// What the threads of a node share. Every lock in it is held for some microseconds at most.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) mailbox: Mailbox,
    /// Cancelled when the node is to stop, or when one of its threads has ended.
    pub(crate) stop: CancellationToken,
    standing: Mutex<Standing>,
    standing_changed: Condvar,
    game_meter: Mutex<GameMeter>,
    mesh_meter: Mutex<MeshMeter>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            clock: Clock::new(),
            mailbox: Mailbox::default(),
            stop: CancellationToken::new(),
            standing: Mutex::default(),
            standing_changed: Condvar::new(),
            game_meter: Mutex::default(),
            mesh_meter: Mutex::default(),
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        lock(&self.standing).clone()
    }

    pub(crate) fn set_registered(&self, me: Peer) {
        let mut standing = lock(&self.standing);
        standing.me = Some(me);
        standing.refused = None;
        self.standing_changed.notify_all();
    }

    pub(crate) fn set_clock_offset(&self, offset_us: i64) {
        self.clock.set_offset(offset_us);
        let mut standing = lock(&self.standing);
        if !standing.synchronized {
            standing.synchronized = true;
            self.standing_changed.notify_all();
        }
    }

    /// Stops the node: its settings are not for this world.
    pub(crate) fn set_unfit(&self, cause: String) {
        lock(&self.standing).unfit = Some(cause);
        self.stop.cancel();
        self.standing_changed.notify_all();
    }

    pub(crate) fn set_refused(&self, reason: String) {
        lock(&self.standing).refused = Some(reason);
    }

    /// Waits until this node is ready, until `deadline`, or until it stops.
    pub(crate) fn wait_ready(&self, deadline: Instant) -> Standing {
        // A stop isn't signalled through the condition, so look up from time to time.
        const LOOK_UP: Duration = Duration::from_millis(20);
        let mut standing = lock(&self.standing);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if standing.is_ready() || left.is_zero() || self.stop.is_cancelled() {
                return standing.clone();
            }
            let waited = self.standing_changed.wait_timeout(standing, left.min(LOOK_UP));
            standing = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(crate) fn game_meter(&self) -> MutexGuard<'_, GameMeter> {
        lock(&self.game_meter)
    }

    pub(crate) fn mesh_meter(&self) -> MutexGuard<'_, MeshMeter> {
        lock(&self.mesh_meter)
    }

    /// What was measured so far. Encodes every histogram: not for a hot path.
    pub(crate) fn report(&self) -> NodeReport {
        let game = self.game_meter().clone();
        let mesh = self.mesh_meter().clone();
        report(self.clock.now().as_micros() as f64 / 1e6, &game, &mesh)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
