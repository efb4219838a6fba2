//! The task of one player: wakes up when the network says something or a timer fires, and not else.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use selvedge_protocol::time::Time;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::endpoint::Target;

/// Drives one core.
pub(crate) struct Player {
    core: Arc<Mutex<Core>>,
    target: Arc<Target>,
    sleep: Pin<Box<Sleep>>,
    /// When the timer fires; none if it has.
    armed: Option<Time>,
}

impl Player {
    /// Needs no runtime yet.
    pub(crate) fn new(core: Arc<Mutex<Core>>, target: Arc<Target>) -> Self {
        let sleep = Box::pin(tokio::time::sleep_until(target.instant_of(Time::ZERO)));
        Self { core, target, sleep, armed: None }
    }

    /// Works until the player is out, is dropped, or the endpoint closes.
    pub(crate) async fn run(mut self, closing: CancellationToken) {
        tokio::select! {
            () = poll_fn(|cx| self.poll(cx)) => {}
            () = closing.cancelled() => {}
        }
        self.lock().end();
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let core = self.core.clone();
        let mut core = core.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if !core.progress(cx) {
                return Poll::Ready(());
            }
            let Some(deadline) = core.deadline() else {
                core.set_armed(self.armed.unwrap_or(Time::MAX));
                return Poll::Pending;
            };
            // A timer that fires too early costs one look; setting it anew at each input would cost more.
            if self.armed.is_none_or(|armed| deadline < armed) {
                self.sleep.as_mut().reset(self.target.instant_of(deadline));
                self.armed = Some(deadline);
            }
            core.set_armed(self.armed.unwrap_or(deadline));
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.armed = None;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
