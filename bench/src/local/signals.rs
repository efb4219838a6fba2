//! Ctrl-C and SIGTERM: counted, and left to the main thread to act on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

/// How often somebody asked this process to end.
#[derive(Debug, Clone)]
pub struct Signals {
    seen: Arc<AtomicUsize>,
}

impl Signals {
    /// Watches from now on; the process no longer dies of SIGINT and SIGTERM.
    pub fn watch() -> anyhow::Result<Self> {
        let seen = Arc::new(AtomicUsize::new(0));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start a thread for signals")?;
        let (mut interrupt, mut terminate) = {
            let _guard = runtime.enter();
            let watch = |kind| signal(kind).context("cannot watch for signals");
            (watch(SignalKind::interrupt())?, watch(SignalKind::terminate())?)
        };
        let counted = seen.clone();
        let count = move || {
            runtime.block_on(async {
                loop {
                    let more = tokio::select! {
                        more = interrupt.recv() => more,
                        more = terminate.recv() => more,
                    };
                    if more.is_none() {
                        break;
                    }
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            });
        };
        // It lives as long as the process and holds nothing that needs an end.
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(count)
            .context("cannot start a thread for signals")?;
        Ok(Self { seen })
    }

    /// Whether this process should end in order.
    pub fn asked(&self) -> bool {
        self.seen.load(Ordering::Relaxed) > 0
    }

    /// Whether somebody has lost patience: no more waiting.
    pub fn asked_again(&self) -> bool {
        self.seen.load(Ordering::Relaxed) > 1
    }
}
