//! What a node can say about the entities that it holds, gave away, or keeps copies of.

use std::collections::BTreeSet;

use crate::authority::{AuthorityTable, Standing};
use crate::id::{AuthorityEpoch, EntityId, HandoffId, Peer, SessionId};
use crate::time::Tick;
use crate::wire::{Captured, Claim, ClaimKind};

/// A node's answer in the making. Build it at one moment, after the dead are fenced, and keep it for the whole round:
/// two answers made at different moments don't join.
#[derive(Debug)]
pub struct ClaimList<'a> {
    authority: &'a AuthorityTable,
    claims: Vec<Claim>,
    held: BTreeSet<EntityId>,
}

impl<'a> ClaimList<'a> {
    /// Begins an answer; standing and floors come from the table.
    #[must_use]
    pub const fn new(authority: &'a AuthorityTable) -> Self {
        Self { authority, claims: Vec::new(), held: BTreeSet::new() }
    }

    /// An entity that is active or frozen here; nothing if it is neither. `last_tick` is the last one in its frozen
    /// contents: an active one has none that another could restore.
    pub fn held(&mut self, entity: EntityId, session: Option<SessionId>, last_tick: Option<Tick>) {
        let Some(standing) = self.authority.standing(entity) else {
            return;
        };
        if !self.held.insert(entity) {
            return;
        }
        let (epoch, kind, contents) = match standing {
            Standing::Active(epoch) => (epoch, ClaimKind::Active, None),
            Standing::Frozen { id, to } => {
                // Frozen contents were captured under the grant before: the highest that was active here.
                let grant = self.authority.highest(entity);
                let contents = last_tick.map(|tick| Captured { epoch: grant, tick });
                (id.epoch, ClaimKind::Frozen { to }, contents)
            }
        };
        self.push(entity, session, epoch, kind, contents);
    }

    /// A tombstone, and from when the contents are that it still keeps.
    pub fn moved(&mut self, id: HandoffId, to: Peer, session: Option<SessionId>, kept: Option<Captured>) {
        self.push(id.entity, session, id.epoch, ClaimKind::Moved { to }, kept);
    }

    /// A reservation that was pre-copied, whole.
    pub fn warm(&mut self, entity: EntityId, from: Peer, session: Option<SessionId>, contents: Captured) {
        self.push(entity, session, contents.epoch, ClaimKind::Warm { from }, Some(contents));
    }

    /// A copy in a cut of another node's, which is the newest that is here.
    pub fn standby(
        &mut self,
        entity: EntityId,
        of: Peer,
        cut: u64,
        session: Option<SessionId>,
        contents: Captured,
    ) {
        self.push(entity, session, contents.epoch, ClaimKind::Standby { of, cut }, Some(contents));
    }

    /// An entity that had ended at another node by the newest cut of it that is here, at this epoch.
    pub fn ended(&mut self, entity: EntityId, epoch: AuthorityEpoch) {
        self.push(entity, None, epoch, ClaimKind::Ended, None);
    }

    /// The answer: what was added, what is held but was not, and the floors of what left.
    #[must_use]
    pub fn finish(mut self) -> Vec<Claim> {
        let forgotten: Vec<EntityId> = self
            .authority
            .held()
            .map(|(entity, _)| entity)
            .filter(|entity| !self.held.contains(entity))
            .collect();
        for entity in forgotten {
            self.held(entity, None, None);
        }
        for left in self.authority.remembered() {
            let kind = if left.ended { ClaimKind::Ended } else { ClaimKind::Known };
            self.push(left.entity, None, left.floor, kind, None);
        }
        self.claims
    }

    fn push(
        &mut self,
        entity: EntityId,
        session: Option<SessionId>,
        epoch: AuthorityEpoch,
        kind: ClaimKind,
        contents: Option<Captured>,
    ) {
        let floor = self.authority.floor(entity);
        self.claims.push(Claim { entity, session, epoch, kind, contents, floor });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Incarnation, NodeId};

    const DEAD: Peer = Peer { node: NodeId::from_u128(9), incarnation: Incarnation(1) };

    fn entity(number: u128) -> EntityId {
        EntityId::from_u128(number)
    }

    fn first() -> AuthorityEpoch {
        AuthorityEpoch::FIRST
    }

    #[test]
    fn an_answer_names_standing_contents_and_floor_of_everything() {
        let mut table = AuthorityTable::new();
        for number in 1..=4 {
            assert!(table.spawn(entity(number)));
        }
        let frozen = table.freeze(entity(2), first(), DEAD).unwrap();
        let gift = table.freeze(entity(3), first(), DEAD).unwrap();
        assert!(table.gave_away(gift, DEAD));
        let end = table.despawn(entity(4), first()).unwrap();

        let kept = Captured { epoch: first(), tick: Tick(5) };
        let mut list = ClaimList::new(&table);
        list.held(entity(1), Some(SessionId::from_u128(1)), Some(Tick(9)));
        list.held(entity(2), None, Some(Tick(8)));
        list.held(entity(2), None, Some(Tick(8)));
        list.held(entity(3), None, Some(Tick(8)));
        list.moved(gift, DEAD, None, Some(kept));
        list.warm(entity(5), DEAD, None, kept);
        list.standby(entity(6), DEAD, 3, None, kept);
        let claims = list.finish();

        let said: Vec<_> = claims.iter().map(|c| (c.entity.as_u128(), c.kind, c.epoch, c.floor)).collect();
        let none = AuthorityEpoch::default();
        assert_eq!(
            said,
            [
                (1, ClaimKind::Active, first(), first()),
                (2, ClaimKind::Frozen { to: DEAD }, frozen.epoch, first()),
                (3, ClaimKind::Moved { to: DEAD }, gift.epoch, gift.epoch),
                (5, ClaimKind::Warm { from: DEAD }, first(), none),
                (6, ClaimKind::Standby { of: DEAD, cut: 3 }, first(), none),
                (3, ClaimKind::Known, gift.epoch, gift.epoch),
                (4, ClaimKind::Ended, end, end),
            ]
        );
        assert_eq!(claims[0].contents, None, "what is active here is nobody else's to restore");
        assert_eq!(claims[1].contents, Some(Captured { epoch: first(), tick: Tick(8) }));
        assert_eq!(claims[0].session, Some(SessionId::from_u128(1)));
    }

    #[test]
    fn what_the_caller_forgot_is_still_claimed() {
        let mut table = AuthorityTable::new();
        assert!(table.spawn(entity(1)));
        let claims = ClaimList::new(&table).finish();
        assert_eq!(claims.len(), 1);
        assert_eq!(claims[0].kind, ClaimKind::Active);
    }
}
