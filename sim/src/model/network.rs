//! What is said in the model, and the network that keeps all of it.

use selvedge_protocol::id::{HandoffId, Peer};
use selvedge_protocol::wire::{Captured, NewestCut, RecoveryMessage};

use super::shared::Shared;

/// Who speaks or is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Party {
    Node(Peer),
    /// By its place in the order of terms.
    Coordinator(usize),
}

/// What nodes say to each other, and both sides of a recovery round.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Said {
    /// 7. The contents come with it.
    Transfer {
        id: HandoffId,
        contents: Captured,
    },
    /// 8.
    Accepted {
        id: HandoffId,
    },
    /// 8b, and the answer to a `Cancel`: never at this id.
    NotTaken {
        id: HandoffId,
    },
    Cancel {
        id: HandoffId,
    },
    Precopy {
        contents: Captured,
    },
    /// A whole cut of one life: what it holds of the entity, or that it holds nothing.
    Cut {
        cut: NewestCut,
        contents: Option<Captured>,
    },
    /// It is applied.
    CutSafe {
        cut: u64,
        contents: Option<Captured>,
    },
    /// The target's own checkpoint is safe.
    Settled {
        id: HandoffId,
    },
    /// A coordinator's word that a tombstone is needed no more, and its term.
    Acknowledged {
        id: HandoffId,
        term: u64,
    },
    Recovery(RecoveryMessage),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Envelope {
    pub(super) from: Party,
    pub(super) to: Party,
    pub(super) said: Said,
}

/// Everything that was said and may still be heard, each thing once and in the order of the hashes: two histories that
/// said the same make the same state.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Network(Vec<Shared<Envelope>>);

impl Network {
    pub(super) fn say(&mut self, from: Party, to: Party, said: Said) {
        let envelope = Shared::new(Envelope { from, to, said });
        let place = self.0.binary_search_by_key(&envelope.hash_once(), Shared::hash_once);
        if let Err(place) = place {
            self.0.insert(place, envelope);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Shared<Envelope>> {
        self.0.iter()
    }

    /// Forgets what nobody would hear any more: it would only make equal states look different.
    pub(super) fn retain(&mut self, mut heard: impl FnMut(&Envelope) -> bool) {
        self.0.retain(|envelope| heard(envelope));
    }
}
