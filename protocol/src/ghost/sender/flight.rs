//! Datagrams on their way: which arrived, which are lost.
//!
//! A datagram is lost once one of a later tick has arrived, or one three or more after it, or once its acknowledgement is
//! overdue. That is a presumption: one that arrives all the same costs a sample that need not have been sent.

use core::time::Duration;
use std::collections::VecDeque;

use super::super::wire::{Ack, WINDOW};
use super::slot::Carried;
use crate::time::Time;

/// So many later datagrams must have arrived.
const REORDER: u64 = 3;
/// What a round trip is taken to be before one was measured.
const ROUND_TRIP_FIRST: Duration = Duration::from_millis(200);
/// What a round trip is taken to be at most: past it an acknowledgement is overdue anyway.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Packet {
    pub(super) seq: u64,
    tick: u64,
    sent_at: Time,
    resolved: bool,
    /// Lane and revision of each section that carried samples.
    pub(super) sections: Vec<(u32, u16)>,
    pub(super) samples: Vec<Carried>,
}

#[derive(Debug)]
pub(super) struct Flight {
    packets: VecDeque<Packet>,
    next_seq: u64,
    round_trip: Option<Duration>,
    /// The newest that arrived, and its tick.
    arrived: Option<(u64, u64)>,
    spare: Vec<Packet>,
}

/// What became of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Arrived,
    Lost,
}

impl Flight {
    pub(super) const fn new() -> Self {
        Self { packets: VecDeque::new(), next_seq: 0, round_trip: None, arrived: None, spare: Vec::new() }
    }

    pub(super) const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    pub(super) const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// How far back from the next one the oldest is whose fate isn't known.
    pub(super) fn unresolved(&self) -> u64 {
        let oldest = self.packets.iter().find(|packet| !packet.resolved);
        oldest.map_or(0, |packet| self.next_seq - packet.seq).min(WINDOW)
    }

    /// The next datagram, empty yet.
    pub(super) fn open(&mut self) -> Packet {
        let mut packet = self.spare.pop().unwrap_or(Packet {
            seq: 0,
            tick: 0,
            sent_at: Time::ZERO,
            resolved: false,
            sections: Vec::new(),
            samples: Vec::new(),
        });
        packet.seq = self.next_seq;
        packet.resolved = false;
        packet.sections.clear();
        packet.samples.clear();
        packet
    }

    /// It is on its way. Says which ones drop out of the account by it: they are lost.
    pub(super) fn launch(&mut self, mut packet: Packet, tick: u64, now: Time) -> Option<Packet> {
        packet.tick = tick;
        packet.sent_at = now;
        self.next_seq += 1;
        self.packets.push_back(packet);
        let full = self.packets.len() as u64 >= WINDOW;
        if full { self.packets.pop_front().filter(|packet| !packet.resolved) } else { None }
    }

    /// Takes an acknowledgement; tells what became of which. False if it speaks of what was never sent.
    pub(super) fn on_ack(&mut self, ack: &Ack, now: Time, mut tell: impl FnMut(&Packet, Fate)) -> bool {
        if ack.newest >= self.next_seq {
            return false;
        }
        let Some(first) = self.packets.front().map(|packet| packet.seq) else {
            return true;
        };
        for (nth, &byte) in (0_u64..).zip(&ack.mask) {
            let mut bits = byte;
            while bits != 0 {
                let back = nth * 8 + u64::from(bits.trailing_zeros());
                bits &= bits - 1;
                let place = ack.newest.checked_sub(back).and_then(|seq| seq.checked_sub(first));
                let place = place.and_then(|place| usize::try_from(place).ok());
                let Some(packet) = place.and_then(|place| self.packets.get_mut(place)) else {
                    continue;
                };
                if packet.resolved {
                    continue;
                }
                packet.resolved = true;
                tell(packet, Fate::Arrived);
                if self.arrived.is_none_or(|(seq, _)| packet.seq > seq) {
                    self.arrived = Some((packet.seq, packet.tick));
                    let took = now.since(packet.sent_at).min(ROUND_TRIP_MAX);
                    self.round_trip = Some(self.round_trip.map_or(took, |usual| (usual * 7 + took) / 8));
                }
            }
        }
        if let Some((seq, tick)) = self.arrived {
            self.give_up(|packet| packet.tick < tick || packet.seq + REORDER <= seq, &mut tell);
        }
        true
    }

    /// Gives up those whose acknowledgement is overdue.
    pub(super) fn expire(&mut self, now: Time, interval: Duration, mut tell: impl FnMut(&Packet, Fate)) {
        let patience = self.round_trip.unwrap_or(ROUND_TRIP_FIRST) * 2 + interval * 2;
        self.give_up(|packet| now.since(packet.sent_at) > patience, &mut tell);
    }

    fn give_up(&mut self, is_lost: impl Fn(&Packet) -> bool, tell: &mut impl FnMut(&Packet, Fate)) {
        // Whatever is lost stands before whatever isn't.
        for packet in self.packets.iter_mut().take_while(|packet| packet.resolved || is_lost(packet)) {
            if !packet.resolved {
                packet.resolved = true;
                tell(packet, Fate::Lost);
            }
        }
        while self.packets.front().is_some_and(|packet| packet.resolved) {
            self.spare.extend(self.packets.pop_front());
        }
        self.spare.truncate(64);
    }
}
