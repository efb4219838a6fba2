//! The player's inputs: numbered, kept until they are applied, repeated until then.

use bytes::Bytes;

use super::{Client, ClientEvent, ClientOutput, Stage};
use crate::id::InputSeq;
use crate::limits::{INPUT_BYTES_MAX, INPUT_WINDOW};
use crate::time::Time;
use crate::wire::{ClientMessage, InputMessage};

/// Bytes of inputs in one datagram: with headers it stays below the smallest MTU that QUIC allows.
const DATAGRAM_INPUT_BYTES: usize = 900;
const INPUT_OVERHEAD_BYTES: usize = 24;

impl Client {
    pub(super) fn on_act(&mut self, bytes: Bytes, now: Time) {
        let full = self.unacknowledged.len() >= INPUT_WINDOW as usize;
        if full || bytes.len() > INPUT_BYTES_MAX || !matches!(self.stage, Stage::InWorld(_)) {
            self.outputs.push_back(ClientOutput::Event(ClientEvent::InputRefused));
            return;
        }
        self.unacknowledged.push_back(InputMessage { seq: self.next_seq, bytes: bytes.to_vec() });
        self.next_seq = self.next_seq.next();
        self.repeat(now);
    }

    pub(super) fn acknowledge(&mut self, applied: InputSeq) {
        while self.unacknowledged.front().is_some_and(|input| input.seq <= applied) {
            self.unacknowledged.pop_front();
        }
        let logging_out = matches!(&self.stage, Stage::InWorld(world) if world.logout);
        if self.unacknowledged.is_empty() && !logging_out {
            self.repeat_at = None;
        }
    }

    /// Sends what is not acknowledged: the newest input, and as many of the oldest as fit.
    pub(super) fn repeat(&mut self, now: Time) {
        let Stage::InWorld(world) = &self.stage else {
            return;
        };
        if self.unacknowledged.is_empty() && !world.logout {
            self.repeat_at = None;
            return;
        }
        self.repeat_at = Some(now + self.config.repeat);
        let Some(connection) = world.current else {
            return;
        };
        if let Some((newest, older)) = self.unacknowledged.make_contiguous().split_last() {
            let cost = |input: &InputMessage| input.bytes.len() + INPUT_OVERHEAD_BYTES;
            let mut room = DATAGRAM_INPUT_BYTES.saturating_sub(cost(newest));
            let fitting = older.iter().take_while(|input| match room.checked_sub(cost(input)) {
                Some(rest) => {
                    room = rest;
                    true
                }
                None => false,
            });
            let inputs = fitting.chain(core::iter::once(newest)).cloned().collect();
            let message = ClientMessage::Inputs { entity: world.entity, inputs };
            self.outputs.push_back(ClientOutput::Send { connection, message });
        } else if world.logout {
            // Only once every input was acknowledged: the last ones count, too.
            let message = ClientMessage::Logout;
            self.outputs.push_back(ClientOutput::Send { connection, message });
        }
    }
}
