//! Asking the coordinator's door: when nothing is heard any more, how often, and what its answers mean.

use core::time::Duration;

use rand::RngExt;

use super::world::InWorld;
use super::{Client, ClientEvent, ClientOutput, Link, Stage};
use crate::time::Time;
use crate::wire::{SessionReply, SessionRequest};

/// Pauses double this often at most.
const DOUBLINGS_MAX: u32 = 8;

impl Client {
    /// When the connections count as lost or silent, if nothing happens.
    pub(super) fn missing_at(&self) -> Option<Time> {
        let Stage::InWorld(world) = &self.stage else {
            return None;
        };
        // The longer nothing comes, whatever the door says, the more patience. And all players of a dead node lose it at
        // the same moment: each asks at a time of its own.
        let in_vain = if self.tries == 0 { Duration::ZERO } else { pause(&self.config, self.tries) };
        let due = |since: Time, patience: Duration| {
            let patience = patience + in_vain;
            since + patience + patience.mul_f64(self.lean / 4.0)
        };
        let lost = world.lost_since.map(|since| due(since, self.config.lost_patience));
        let silent = due(world.quiet_since, self.config.silence_patience);
        Some(lost.map_or(silent, |lost| lost.min(silent)))
    }

    /// Nothing was heard for too long: tells the program, and asks the door where the entity is now.
    pub(super) fn on_missing(&mut self, now: Time) {
        if let Stage::InWorld(world) = &mut self.stage {
            let lost = world.connections.is_empty();
            let told = world.missing;
            if lost && told != Some(Link::Lost) {
                world.missing = Some(Link::Lost);
                self.outputs.push_back(ClientOutput::Event(ClientEvent::Lost));
            } else if told.is_none() {
                world.missing = Some(Link::Silent);
                self.outputs.push_back(ClientOutput::Event(ClientEvent::Silent));
            }
        }
        self.ask_door(now);
    }

    pub(super) fn ask_door(&mut self, now: Time) {
        let request = match &self.stage {
            Stage::Entering { name, credential } => {
                SessionRequest::Enter { name: name.clone(), credential: credential.clone() }
            }
            Stage::InWorld(world) => SessionRequest::Resume { session: world.session, secret: world.secret },
            Stage::Outside | Stage::Over => return,
        };
        self.tries = self.tries.saturating_add(1);
        // An answer may never come: ask again then.
        self.door_at = Some(now + self.config.door_patience);
        self.outputs.push_back(ClientOutput::Ask(request));
    }

    pub(super) fn ask_later(&mut self, now: Time) {
        if matches!(self.stage, Stage::Entering { .. } | Stage::InWorld(_)) {
            let longest = pause(&self.config, self.tries);
            self.door_at = Some(now + longest.mul_f64(self.random.random_range(0.5..1.0)));
        }
    }

    pub(super) fn on_door(&mut self, reply: SessionReply, now: Time) {
        if self.door_at.is_none() {
            return;
        }
        match reply {
            SessionReply::Entered { session, secret, entity, invitation } => {
                self.door_at = None;
                match &mut self.stage {
                    Stage::Entering { .. } => {
                        self.stage = Stage::InWorld(Box::new(InWorld::new(session, secret, entity, now)));
                    }
                    Stage::InWorld(world) if world.session == session => {
                        world.secret = secret;
                        world.quiet_since = now;
                    }
                    Stage::InWorld(_) | Stage::Outside | Stage::Over => return,
                }
                self.connect(invitation, false);
            }
            SessionReply::Refused { reason, retry } => {
                self.outputs.push_back(ClientOutput::Event(ClientEvent::Refused { reason, retry }));
                if retry {
                    self.ask_later(now);
                } else {
                    self.finish(None);
                }
            }
        }
    }
}

/// The longest pause after so many questions in vain.
fn pause(config: &super::ClientConfig, tries: u32) -> Duration {
    let doublings = tries.saturating_sub(1).min(DOUBLINGS_MAX);
    config.door_retry.saturating_mul(1 << doublings).min(config.door_retry_max)
}
