//! A link's sending side from one session to the next.
//!
//! A session lasts while everything that was put on its stream arrives. A piece that was lost for good (a queue was full,
//! the other end was not ready) can't be told from one that is late, but nothing after it is acknowledged either: then
//! everything is shown anew, under a session of a higher number.

use core::time::Duration;
use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;

use super::interest::Sight;
use super::scene::Scene;
use super::sender::{GhostError, GhostSender, SenderStats};
use super::settings::SenderSettings;
use crate::id::EntityId;
use crate::time::Time;

/// How long the stream's acknowledgements may stand still before all is shown anew.
const PATIENCE: Duration = Duration::from_secs(2);

/// A link's sending side. See the module's page.
#[derive(Debug)]
pub struct Outlet {
    sender: GhostSender,
    settings: SenderSettings,
    /// Records that were acknowledged while more were awaited, and since when it is no more than these.
    stands: Option<(u64, Time)>,
    /// What former sessions did.
    former: SenderStats,
}

impl Outlet {
    /// Begins a session. Its number must be above those of all earlier ones to this peer.
    #[must_use]
    pub fn new(session: u32, settings: SenderSettings) -> Self {
        Self {
            sender: GhostSender::new(session, settings),
            settings,
            stands: None,
            former: SenderStats::default(),
        }
    }

    /// Shows a tick of the scene: what is in sight. Then drain [`poll`](Self::poll). `next_session` gives the number of
    /// the next session, should this one have come to its end.
    pub fn tick(&mut self, scene: &Scene, sights: &[Sight], now: Time, next_session: impl FnOnce() -> u32) {
        let awaited = self.sender.awaited();
        match (awaited, self.stands) {
            (None, _) => self.stands = None,
            (Some(acknowledged), Some((before, since))) if acknowledged == before => {
                if now.since(since) >= PATIENCE {
                    self.former = self.stats();
                    self.sender = GhostSender::new(next_session(), self.settings);
                    self.stands = None;
                }
            }
            (Some(acknowledged), _) => self.stands = Some((acknowledged, now)),
        }
        self.sender.tick(scene, sights, now);
    }

    /// Leaves out of what is in sight those of these entities that it doesn't show yet.
    #[must_use]
    pub fn without<'a>(
        &self,
        scene: &Scene,
        sights: &'a [Sight],
        left_out: impl Iterator<Item = EntityId>,
    ) -> Cow<'a, [Sight]> {
        let places = left_out.filter_map(|entity| scene.place_of(entity));
        let places: BTreeSet<u32> = places.filter(|&place| !self.sender.shows(scene, place)).collect();
        if places.is_empty() {
            return Cow::Borrowed(sights);
        }
        sights.iter().filter(|sight| !places.contains(&sight.place)).copied().collect()
    }

    /// The next bytes to send: reliably if they are a piece of the stream ([`is_stream`](super::is_stream)), else as a
    /// datagram.
    pub fn poll(&mut self) -> Option<Bytes> {
        self.sender.poll_stream().or_else(|| self.sender.poll_datagram())
    }

    /// Takes the receiver's acknowledgement; one of a former session is nobody's any more.
    ///
    /// # Errors
    /// If it is malformed, or speaks of what was never sent.
    pub fn on_ack(&mut self, bytes: &[u8], now: Time) -> Result<(), GhostError> {
        match self.sender.on_ack(bytes, now) {
            Err(GhostError::Session { got, session }) if got < session => Ok(()),
            taken => taken,
        }
    }

    /// How many ghosts it shows.
    #[must_use]
    pub fn shown(&self) -> usize {
        self.sender.shown()
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> SenderStats {
        self.former.plus(&self.sender.stats())
    }
}
