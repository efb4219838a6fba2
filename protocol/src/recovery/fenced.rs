//! Which lives are over: nothing from them counts, ever.

use std::collections::BTreeMap;

use crate::id::{Incarnation, NodeId, Peer};

/// The lives that a node has been told to refuse. Incarnations only grow, so one number for each node is enough.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct FencedLives {
    last: BTreeMap<NodeId, Incarnation>,
}

impl FencedLives {
    /// Nobody is refused yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: BTreeMap::new() }
    }

    /// Refuses this life and every earlier one of its node, for ever. True if that is new.
    pub fn fence(&mut self, life: Peer) -> bool {
        let last = self.last.entry(life.node).or_default();
        let new = life.incarnation > *last;
        *last = life.incarnation.max(*last);
        new
    }

    /// Whether nothing from this life counts any more.
    #[must_use]
    pub fn is_fenced(&self, life: Peer) -> bool {
        self.last.get(&life.node).is_some_and(|&last| life.incarnation <= last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_holds_for_earlier_lives_and_not_for_the_next() {
        let life = |incarnation| Peer { node: NodeId::from_u128(4), incarnation: Incarnation(incarnation) };
        let mut fenced = FencedLives::default();
        assert!(!fenced.is_fenced(life(1)));
        assert!(fenced.fence(life(2)));
        assert!(!fenced.fence(life(1)), "an older one says nothing new");
        assert!(fenced.is_fenced(life(1)) && fenced.is_fenced(life(2)));
        assert!(!fenced.is_fenced(life(3)));
    }
}
