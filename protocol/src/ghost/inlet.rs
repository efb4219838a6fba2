//! A link's receiving side from one session to the next: puts the pieces of the stream in order.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::receiver::GhostReceiver;
use super::sender::GhostError;
use super::table::{Floors, GhostTable};
use super::wire::{is_stream, read_stream_head};
use crate::limits::GHOST_PIECES_EARLY_MAX;
use crate::time::{Tick, Time};

/// An honest sender waits longer than this before it begins another session: to begin one costs a walk over all ghosts.
const SESSION_PAUSE: Duration = Duration::from_secs(1);

/// A link's receiving side. It remembers which session was the last one over the link's downs and ups: what is left on
/// its way of an earlier one counts no more.
#[derive(Debug)]
pub struct Inlet {
    link: u32,
    /// The newest; 0 before the first.
    session: u32,
    began_at: Option<Time>,
    /// None before the first session, and after the link went down or the peer contradicted itself.
    receiver: Option<GhostReceiver>,
    next_piece: u32,
    /// Pieces that have overtaken others.
    early: BTreeMap<u32, Bytes>,
}

impl Inlet {
    /// Makes the receiving side of a link; `link` tells it from the table's others.
    #[must_use]
    pub const fn new(link: u32) -> Self {
        Self { link, session: 0, began_at: None, receiver: None, next_piece: 0, early: BTreeMap::new() }
    }

    /// What tells it from the table's others.
    #[must_use]
    pub const fn link(&self) -> u32 {
        self.link
    }

    /// Takes what the peer's [`Outlet`](super::Outlet) sent. `tick` is the receiver's own.
    ///
    /// # Errors
    /// If it is malformed, contradicts what came before, or comes from the future. A contradiction on the stream ends the
    /// session: its ghosts linger until another begins.
    pub fn on_bytes(
        &mut self,
        table: &mut GhostTable,
        floors: &impl Floors,
        bytes: &Bytes,
        tick: Tick,
        now: Time,
    ) -> Result<(), GhostError> {
        if is_stream(bytes) {
            return self.on_piece(table, floors, bytes, tick, now);
        }
        let Some(receiver) = &mut self.receiver else {
            return Ok(());
        };
        match receiver.on_datagram(table, bytes, tick) {
            // It has overtaken the session's first piece, or is left over from an earlier one.
            Err(GhostError::Session { .. }) => Ok(()),
            taken => taken,
        }
    }

    fn on_piece(
        &mut self,
        table: &mut GhostTable,
        floors: &impl Floors,
        bytes: &Bytes,
        tick: Tick,
        now: Time,
    ) -> Result<(), GhostError> {
        let (session, piece) = read_stream_head(bytes)?;
        if session > self.session {
            if self.began_at.is_some_and(|began| now.since(began) < SESSION_PAUSE) {
                return Ok(());
            }
            self.end(table, tick);
            (self.session, self.next_piece, self.began_at) = (session, 0, Some(now));
            self.receiver = Some(GhostReceiver::new(self.link, session));
        }
        if session < self.session || self.receiver.is_none() || piece < self.next_piece {
            return Ok(());
        }
        if piece > self.next_piece {
            // One too many is lost, and with it the session.
            if self.early.len() < GHOST_PIECES_EARLY_MAX {
                self.early.insert(piece, bytes.clone());
            }
            return Ok(());
        }
        let mut next = Some(bytes.clone());
        while let Some(bytes) = next {
            let Some(receiver) = &mut self.receiver else {
                return Ok(());
            };
            if let Err(error) = receiver.on_stream(table, floors, &bytes, tick) {
                self.end(table, tick);
                return Err(error);
            }
            self.next_piece += 1;
            next = self.early.remove(&self.next_piece);
        }
        Ok(())
    }

    /// Lets a tick pass. Before the table's own [`tick`](GhostTable::tick).
    pub fn tick(&mut self, table: &mut GhostTable, floors: &impl Floors, tick: Tick) {
        if let Some(receiver) = &mut self.receiver {
            receiver.tick(table, floors, tick);
        }
    }

    /// Whether something has come that isn't acknowledged.
    #[must_use]
    pub fn owes_ack(&self) -> bool {
        self.receiver.as_ref().is_some_and(GhostReceiver::owes_ack)
    }

    /// The acknowledgement, if one is owed: one datagram.
    pub fn poll_ack(&mut self) -> Option<Bytes> {
        self.receiver.as_mut()?.poll_ack()
    }

    /// The link is down, and may come back: its ghosts linger.
    pub fn on_down(&mut self, table: &mut GhostTable, tick: Tick) {
        self.end(table, tick);
        self.began_at = None;
    }

    /// The peer's life is over: whatever it told of vanishes.
    pub fn on_fenced(&mut self, table: &mut GhostTable) {
        table.on_link_fenced(self.link);
        (self.receiver, self.began_at) = (None, None);
        self.early.clear();
    }

    fn end(&mut self, table: &mut GhostTable, tick: Tick) {
        if self.receiver.take().is_some() {
            table.on_link_lost(self.link, tick);
        }
        self.early.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::interest::{BorderInterest, Region, SightRules};
    use super::super::outlet::Outlet;
    use super::super::scene::{Scene, tests::subject};
    use super::super::settings::{SenderSettings, TableSettings};
    use super::super::table::NoFloors;
    use super::*;
    use crate::grid::{Bounds, Position};

    const TICK: Duration = Duration::from_millis(33);

    /// A stage with a hundred entities, and a link on which a test decides what comes through.
    struct Stage {
        scene: Scene,
        interest: BorderInterest,
        outlet: Outlet,
        inlet: Inlet,
        table: GhostTable,
        tick: u64,
        sessions: u32,
    }

    impl Stage {
        fn new() -> Self {
            let everywhere =
                Bounds { min: Position::new(-1e4, -1e4, -1e4), max: Position::new(1e4, 1e4, 1e4) };
            let region = Region::of_boxes(vec![everywhere]);
            // Small pieces of the stream: a tick's budget is one.
            let settings = SenderSettings { budget_bytes: 1_000, ..SenderSettings::default() };
            Self {
                scene: Scene::new(TICK),
                interest: BorderInterest::new(SightRules::within(1.0), region),
                outlet: Outlet::new(1, settings),
                inlet: Inlet::new(7),
                table: GhostTable::new(TableSettings { interval: TICK, ..TableSettings::default() }),
                tick: 100,
                sessions: 1,
            }
        }

        /// A tick's bytes.
        fn send(&mut self) -> Vec<Bytes> {
            self.tick += 1;
            self.scene.begin(Tick(self.tick));
            (0..100).for_each(|id| self.scene.put(&subject(id, id as f64)));
            let sights = self.interest.look(&self.scene).to_vec();
            let sessions = &mut self.sessions;
            self.outlet.tick(&self.scene, &sights, Tick(self.tick).start(TICK), || {
                *sessions += 1;
                *sessions
            });
            core::iter::from_fn(|| self.outlet.poll()).collect()
        }

        fn take(&mut self, bytes: &Bytes) -> Result<(), GhostError> {
            let (tick, now) = (Tick(self.tick), Tick(self.tick).start(TICK));
            self.inlet.on_bytes(&mut self.table, &NoFloors, bytes, tick, now)
        }

        fn run(&mut self, ticks: usize, mut passes: impl FnMut(&Bytes) -> bool) {
            for _ in 0..ticks {
                for bytes in self.send() {
                    if passes(&bytes) {
                        self.take(&bytes).unwrap();
                    }
                }
                if let Some(ack) = self.inlet.poll_ack() {
                    self.outlet.on_ack(&ack, Tick(self.tick).start(TICK)).unwrap();
                }
                self.table.tick(Tick(self.tick));
            }
        }
    }

    #[test]
    fn pieces_may_come_in_any_order_and_more_than_once() {
        let mut stage = Stage::new();
        let mut pieces: Vec<Bytes> = (0..20).flat_map(|_| stage.send()).filter(|b| is_stream(b)).collect();
        assert!(pieces.len() > 3);
        pieces.reverse();
        let again = pieces.clone();
        for piece in pieces.iter().chain(&again) {
            stage.take(piece).unwrap();
        }
        assert_eq!(stage.table.len(), stage.outlet.shown());
        assert!(stage.table.len() > 20);
    }

    #[test]
    fn a_piece_that_is_lost_for_good_ends_the_session_and_all_is_shown_anew() {
        let mut stage = Stage::new();
        let mut pieces = 0;
        stage.run(30, |bytes| {
            pieces += usize::from(is_stream(bytes));
            pieces != 2
        });
        assert!(stage.table.len() < 100, "what came after the lost piece waits for it");
        stage.run(120, |_| true);
        assert_eq!((stage.sessions, stage.table.len()), (2, 100));
        stage.run(200, |_| true);
        assert_eq!(stage.sessions, 2);
    }

    #[test]
    fn what_is_left_of_an_earlier_session_counts_no_more() {
        let mut stage = Stage::new();
        let mut former = Vec::new();
        stage.run(30, |bytes| {
            former.push(bytes.clone());
            true
        });
        stage.inlet.on_down(&mut stage.table, Tick(stage.tick));
        stage.run(31, |_| false);
        assert_eq!(stage.table.len(), 0, "nobody told of them any more");
        for bytes in &former {
            stage.take(bytes).unwrap();
        }
        assert_eq!(stage.table.len(), 0);
        stage.outlet = Outlet::new(2, SenderSettings::default());
        stage.run(3, |_| true);
        assert_eq!(stage.table.len(), 100);
    }

    #[test]
    fn a_peer_that_begins_session_after_session_is_not_followed() {
        let mut stage = Stage::new();
        stage.run(5, |_| true);
        stage.sessions = 2;
        stage.outlet = Outlet::new(2, SenderSettings::default());
        for bytes in stage.send() {
            stage.take(&bytes).unwrap();
        }
        assert_eq!(stage.inlet.session, 1);
        stage.run(100, |_| true);
        assert_eq!(stage.inlet.session, 3, "by then it has waited long enough");
    }

    #[test]
    fn the_ghosts_of_a_fenced_peer_vanish_at_once() {
        let mut stage = Stage::new();
        stage.run(30, |_| true);
        assert_eq!(stage.table.len(), 100);
        stage.inlet.on_fenced(&mut stage.table);
        assert!(stage.table.is_empty());
        stage.run(3, |_| true);
        assert!(stage.table.is_empty(), "its life is over");
    }
}
