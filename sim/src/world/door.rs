//! The coordinator's door, its authenticator and its store.

use core::time::Duration;

use bytes::Bytes;
use selvedge_protocol::coordinator::CoordinatorInput;
use selvedge_protocol::handoff::client::ClientInput;
use selvedge_protocol::id::{NodeId, SessionId};
use selvedge_protocol::wire::{
    SessionReply, SessionRequest, decode_session_reply, decode_session_request, encode_session_reply,
    encode_session_request,
};

use super::World;
use crate::event::{Event, Process, Stay};
use crate::trace::Said;

/// How long a client waits before it takes the door for unreachable.
pub(super) const DOOR_TIMEOUT: Duration = Duration::from_millis(800);

impl World {
    /// A client asks at the door.
    pub(super) fn ask_door(&mut self, stay: Stay, request: &SessionRequest) {
        let offline = self.players[stay.player].offline_until > self.now;
        let lost = !self.is_calm() && self.dice.chance(self.scenario.faults.door_fails);
        let fails = lost || !self.coordinator.alive;
        if offline || fails {
            let after = if offline { Duration::from_millis(50) } else { DOOR_TIMEOUT };
            self.queue.push(self.now + after, Event::DoorFailed(stay));
            return;
        }
        let after = self.door_delay();
        self.queue.push(self.now + after, Event::DoorAsked { stay, frame: encode_session_request(request) });
    }

    fn door_delay(&mut self) -> Duration {
        self.dice.micros(self.scenario.faults.delay_us)
    }

    pub(super) fn on_door_asked(&mut self, stay: Stay, frame: Bytes) {
        let decoded = decode_session_request(&frame);
        self.trace.line(
            self.now,
            self.step,
            Process::Player(stay.player),
            Process::Coordinator,
            Said::Ask(frame),
        );
        let Ok(message) = decoded else {
            self.stats.undecodable += 1;
            return;
        };
        self.coordinator.questions += 1;
        let request = self.coordinator.questions;
        self.coordinator.asked.insert(request, stay);
        self.drive_coordinator(CoordinatorInput::Session { request, message });
    }

    pub(super) fn answer_at_door(&mut self, request: u64, reply: &SessionReply) {
        let Some(stay) = self.coordinator.asked.remove(&request) else {
            return;
        };
        let fails = !self.is_calm() && self.dice.chance(self.scenario.faults.door_answer_lost);
        if fails {
            self.queue.push(self.now + DOOR_TIMEOUT, Event::DoorFailed(stay));
            return;
        }
        let after = self.door_delay();
        self.queue.push(self.now + after, Event::DoorAnswered { stay, frame: encode_session_reply(reply) });
    }

    pub(super) fn on_door_answered(&mut self, stay: Stay, frame: Bytes) {
        if self.players[stay.player].stay != stay {
            return;
        }
        let decoded = decode_session_reply(&frame);
        self.trace.line(
            self.now,
            self.step,
            Process::Coordinator,
            Process::Player(stay.player),
            Said::Answer(frame),
        );
        match decoded {
            Ok(reply) => self.drive_player(stay.player, ClientInput::Door(reply)),
            Err(_) => self.stats.undecodable += 1,
        }
    }

    pub(super) fn on_door_failed(&mut self, stay: Stay) {
        if self.players[stay.player].stay == stay {
            self.drive_player(stay.player, ClientInput::DoorFailed);
        }
    }

    pub(super) fn authenticate(&mut self, request: u64, name: String) {
        let after = self.dice.micros((100, 20_000));
        let process = self.coordinator.life;
        self.queue.push(self.now + after, Event::Authenticated { process, request, name });
    }

    pub(super) fn on_authenticated(&mut self, request: u64, name: String) {
        self.drive_coordinator(CoordinatorInput::Authenticated { request, verdict: Ok(name) });
    }

    pub(super) fn load(&mut self, request: u64, name: String) {
        let after = self.dice.micros((100, 20_000));
        let process = self.coordinator.life;
        self.queue.push(self.now + after, Event::Loaded { process, request, name });
    }

    pub(super) fn on_loaded(&mut self, request: u64, name: &str) {
        let character = if self.store_fails() {
            Err("the store is away".to_owned())
        } else {
            Ok(self.coordinator.store.get(name).cloned())
        };
        self.drive_coordinator(CoordinatorInput::CharacterLoaded { request, character });
    }

    pub(super) fn save(&mut self, session: SessionId, node: NodeId, name: String, character: Bytes) {
        let after = self.dice.micros((100, 20_000));
        let process = self.coordinator.life;
        self.queue.push(self.now + after, Event::Saved { process, session, node, name, character });
    }

    /// What was on its way to the store is saved though who sent it is no more.
    pub(super) fn on_saved(
        &mut self,
        process: u32,
        session: SessionId,
        node: NodeId,
        name: String,
        character: Bytes,
    ) {
        let result = if self.store_fails() {
            Err("the store is away".to_owned())
        } else {
            self.stats.characters_saved += 1;
            self.coordinator.store.insert(name, character);
            Ok(())
        };
        if self.coordinator.alive && self.coordinator.life == process {
            self.drive_coordinator(CoordinatorInput::CharacterSaved { session, node, result });
        }
    }

    fn store_fails(&mut self) -> bool {
        !self.is_calm() && self.dice.chance(self.scenario.faults.store_fails)
    }
}
