//! The coordinator that goes on from an image.

use std::sync::Arc;

use super::image::{CoordinatorImage, ImageError};
use super::record::{LifeImage, Record, WorldImage};
use crate::config::{ConfigError, CoordinatorConfig};
use crate::coordinator::recovery::keeper;
use crate::coordinator::{Coordinator, CoordinatorOutput};
use crate::id::{Peer, Term};
use crate::time::Time;
use crate::wire::Round;

/// Why a coordinator can't go on from an image.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RestoreError {
    /// The settings are out of range.
    #[error("the settings are refused: {0}")]
    Config(#[from] ConfigError),
    /// The image can't be that of a coordinator of this world.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl Coordinator {
    /// Goes on from what was persisted, in a term of its own, which it persists before anything else.
    ///
    /// Every life that was not over counts as alive, with a full lease from `now`. Players who were in the world may
    /// resume with the secret that they have. Until the nodes have said what they hold
    /// ([`CoordinatorStatus::directory_whole`](crate::coordinator::CoordinatorStatus)) nobody enters in place of an
    /// entity that may live.
    ///
    /// # Errors
    /// If the configuration is out of range, or the image can't be true; the text names what is wrong.
    pub fn restored(
        config: CoordinatorConfig,
        image: CoordinatorImage,
        now: Time,
        seed: [u8; 32],
    ) -> Result<Self, RestoreError> {
        let term = Term(image.term.0.saturating_add(1));
        let mut machine = Self::bare(config, term, seed)?;
        let map = image.check(&machine.config, &machine.grid)?;
        machine.last_incarnation = image.incarnation;
        machine.rounds = keeper(&machine.config, Round { term, number: image.round });
        machine.map = Arc::new(map);
        machine.persist(Record::Term(term));
        machine.persist(Record::Incarnation(image.incarnation));
        let world = WorldImage::of(&machine.config);
        if image.world != Some(world) {
            machine.persist(Record::World(world));
        }
        let lives = image.lives.values().filter(|life| !life.over).map(|life| life.peer);
        let nodes = lives.clone().map(|life| life.node);
        machine.mesh_time.ask(nodes, now + machine.config.lease, image.mesh_time);
        machine.directory.expect(lives);
        for life in image.lives.into_values() {
            machine.lives.insert(life.peer, life.clone());
            if life.over {
                machine.rounds.bury(life.peer);
            } else {
                machine.rounds.admit(life.peer);
                machine.restore_node(life, now);
            }
        }
        machine.on_leases_due(now);
        machine.pursue_round(now);
        let lease = machine.config.lease;
        for session in image.sessions.into_values() {
            machine.restore_session(session, now + lease);
        }
        Ok(machine)
    }

    /// The coordinator's term.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.term
    }

    /// A life was granted.
    pub(in crate::coordinator) fn remember_life(&mut self, life: LifeImage) {
        self.persist(Record::Life(life.clone()));
        self.lives.insert(life.peer, life);
    }

    /// Something about a life is otherwise than before: said before anybody acts on it.
    pub(in crate::coordinator) fn change_life(&mut self, peer: Peer, change: impl FnOnce(&mut LifeImage)) {
        let Some(life) = self.lives.get_mut(&peer) else {
            return;
        };
        let before = life.clone();
        change(life);
        if *life != before {
            let changed = life.clone();
            self.persist(Record::Life(changed));
        }
    }

    /// Nothing about a life is open any more.
    pub(in crate::coordinator) fn settle_life(&mut self, peer: Peer) {
        if self.lives.remove(&peer).is_some() {
            self.persist(Record::LifeSettled(peer));
        }
    }

    /// Has something kept before anything is done of what is put out after it.
    pub(in crate::coordinator) fn persist(&mut self, record: Record) {
        self.outputs.push_back(CoordinatorOutput::Persist(record));
    }
}
