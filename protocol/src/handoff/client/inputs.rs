//! The player's inputs on their way to a node: taken, sent, repeated until they are applied.

use bytes::Bytes;

use super::{Client, ClientEvent, ClientOutput, Stage};
use crate::limits::INPUT_BYTES_MAX;
use crate::time::Time;
use crate::wire::{ClientMessage, InputMessage};

/// Bytes of inputs in one datagram: with headers it stays below the smallest MTU that QUIC allows.
const DATAGRAM_INPUT_BYTES: usize = 900;
const INPUT_OVERHEAD_BYTES: usize = 24;
/// Datagrams sent at once after a recovery, so that what was taken back is soon applied again.
const REPLAY_DATAGRAMS: usize = 8;

impl Client {
    pub(super) fn on_act(&mut self, bytes: Bytes, now: Time) {
        let fits = bytes.len() <= INPUT_BYTES_MAX && matches!(self.stage, Stage::InWorld(_));
        if fits && self.log.take(bytes.to_vec()) {
            self.repeat(now);
        } else {
            self.outputs.push_back(ClientOutput::Event(ClientEvent::InputRefused));
        }
    }

    /// Nothing is left to repeat once everything is applied and nobody wants out.
    pub(super) fn rest_if_applied(&mut self) {
        let logging_out = matches!(&self.stage, Stage::InWorld(world) if world.logout);
        if self.log.unapplied() == 0 && !logging_out {
            self.repeat_at = None;
        }
    }

    /// Sends what is not applied: the newest input, and as many of the oldest as fit.
    pub(super) fn repeat(&mut self, now: Time) {
        let Stage::InWorld(world) = &self.stage else {
            return;
        };
        let unapplied = self.log.unapplied();
        if unapplied == 0 && !world.logout {
            self.repeat_at = None;
            return;
        }
        self.repeat_at = Some(now + self.config.repeat);
        let Some(connection) = world.current else {
            return;
        };
        if unapplied == 0 {
            // Only once every input was applied: the last ones count, too.
            let message = ClientMessage::Logout;
            self.outputs.push_back(ClientOutput::Send { connection, message });
            return;
        }
        let entity = world.entity;
        let mut oldest = self.log.sendable();
        let newest = oldest.next_back();
        let mut oldest = oldest.peekable();
        let mut inputs: Vec<InputMessage> = Vec::new();
        let mut room = DATAGRAM_INPUT_BYTES - newest.map_or(0, cost);
        let datagrams = if self.log.is_replaying() { REPLAY_DATAGRAMS } else { 1 };
        for datagram in 0..datagrams {
            while let Some(input) = oldest.next_if(|input| cost(input) <= room) {
                room -= cost(input);
                inputs.push(input.clone());
            }
            if datagram == 0 {
                inputs.extend(newest.cloned());
            }
            if inputs.is_empty() {
                break;
            }
            let message = ClientMessage::Inputs { entity, inputs: core::mem::take(&mut inputs) };
            self.outputs.push_back(ClientOutput::Send { connection, message });
            room = DATAGRAM_INPUT_BYTES;
        }
    }
}

const fn cost(input: &InputMessage) -> usize {
    input.bytes.len() + INPUT_OVERHEAD_BYTES
}
