//! What the player sees of others: the ghosts that the nodes show, each node over its own connection.
//!
//! The player's program has no mesh time. It is taken to be what the states say that have come quickest.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Client, ClientOutput, ConnectionId, Stage};
use crate::ghost::{GhostTable, Inlet, NoFloors, Shown, TableSettings};
use crate::time::{Tick, Time};
use crate::wire::ClientMessage;

/// How much later than the quickest state so far mesh time is taken to be with each state, in microseconds: clocks drift.
const DRIFT_US: i64 = 20;
/// So many ticks after another node has begun to speak for the player it has shown all that is near. What the former one
/// showed and it doesn't is out of its sight: nobody says any more where that goes.
const SETTLED_TICKS: u64 = 6;

/// What a client sees.
#[derive(Debug, Default)]
pub(super) struct Sights {
    /// None before a node has said how long ticks are.
    table: Option<GhostTable>,
    inlets: BTreeMap<ConnectionId, Inlet>,
    /// The connection whose node speaks for the player, and the first tick of which that is known.
    speaker: Option<(ConnectionId, Tick)>,
    links: u32,
    /// Mesh time less the client's own clock.
    ahead_us: Option<i64>,
    /// The newest tick of a state.
    tick: Tick,
}

impl Sights {
    fn mesh_time(&self, now: Time) -> Option<Time> {
        self.ahead_us.map(|ahead_us| now.offset_by(ahead_us))
    }

    fn hear_tick(&mut self, tick: Tick, interval: Duration, now: Time) {
        self.tick = self.tick.max(tick);
        let as_i64 = |time: Time| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let said_us = as_i64(tick.start(interval)).saturating_sub(as_i64(now));
        self.ahead_us = Some(self.ahead_us.map_or(said_us, |known| said_us.max(known - DRIFT_US)));
    }
}

impl Client {
    /// Everybody whom the player sees, in order of id, as they are shown now: a little in the past, and the player's own
    /// entity not among them.
    pub fn sights(&self, now: Time) -> impl Iterator<Item = Shown<'_>> {
        let at = self.sight_time(now);
        let table = self.sights.table.as_ref();
        at.zip(table).into_iter().flat_map(|(at, table)| table.shown_at(at))
    }

    /// The moment of mesh time that [`sights`](Self::sights) shows, as far as it can be told; none before the first state.
    #[must_use]
    pub fn sight_time(&self, now: Time) -> Option<Time> {
        Some(self.sights.table.as_ref()?.display_time(self.sights.mesh_time(now)?))
    }

    /// A node has said how long ticks are.
    pub(super) fn expect_sights(&mut self) {
        let interval = self.tick_interval;
        if self.sights.table.as_ref().is_none_or(|table| table.settings().interval != interval) {
            let usual = TableSettings::for_client();
            let settings = TableSettings { interval, linger_ticks: SETTLED_TICKS, ..usual };
            self.sights.table = Some(GhostTable::new(settings));
            self.sights.inlets.clear();
        }
    }

    pub(super) fn on_ghosts(&mut self, connection: ConnectionId, bytes: Vec<u8>, now: Time) {
        let sights = &mut self.sights;
        let Some(table) = &mut sights.table else {
            return;
        };
        let inlet = sights.inlets.entry(connection).or_insert_with(|| {
            sights.links += 1;
            Inlet::new(sights.links)
        });
        // Before the first state there is nothing to compare a tick with.
        let tick = if sights.ahead_us.is_some() { sights.tick } else { Tick(u64::MAX / 2) };
        // What can't be read is dropped: a node that goes on like this is not acknowledged, and begins anew.
        let _ = inlet.on_bytes(table, &NoFloors, &Bytes::from(bytes), tick, now);
    }

    /// A state has come, as it does once a tick.
    pub(super) fn let_sights_pass(&mut self, tick: Tick, now: Time) {
        let Stage::InWorld(world) = &self.stage else {
            return;
        };
        let sights = &mut self.sights;
        let Some(table) = &mut sights.table else {
            return;
        };
        let interval = table.settings().interval;
        sights.inlets.retain(|connection, inlet| {
            let stands = world.connections.contains_key(connection);
            if !stands {
                inlet.on_down(table, tick);
            }
            stands
        });
        if let Some(current) = world.current
            && sights.speaker.is_none_or(|(speaker, _)| speaker != current)
        {
            sights.speaker = Some((current, tick));
        }
        for (connection, inlet) in &mut sights.inlets {
            let settled = sights.speaker.is_some_and(|(speaker, since)| {
                speaker != *connection && tick.0 >= since.0.saturating_add(SETTLED_TICKS)
            });
            if settled {
                inlet.on_fenced(table);
            }
            inlet.tick(table, &NoFloors, tick);
        }
        table.tick(tick);
        let _ = table.take_events();
        for (&connection, inlet) in &mut sights.inlets {
            if let Some(ack) = inlet.poll_ack() {
                let message = ClientMessage::Ghosts { bytes: ack.into() };
                self.outputs.push_back(ClientOutput::Send { connection, message });
            }
        }
        sights.hear_tick(tick, interval, now);
    }
}
