//! Who holds whom once the bots stand still: each player must be simulated by exactly one node.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_protocol::id::EntityId;

use crate::{CensusView, Epoch, Standing};

/// What a census says about the expected players.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Expected players that at least one node simulates.
    pub present: usize,
    /// Expected players that no node simulates.
    pub missing: Vec<EntityId>,
    /// Entities that two nodes simulate at one epoch: what no census may ever show.
    pub at_one_epoch: Vec<EntityId>,
    /// Expected players that more than one node simulates, and those at one epoch.
    pub twice: Vec<EntityId>,
    /// Entities without a player.
    pub npcs: usize,
    /// Whether nobody was in flight: then the census can be taken at its word.
    pub settled: bool,
}

/// Reads a census.
#[must_use]
pub fn judge(census: &CensusView, expected: &BTreeSet<EntityId>) -> Judgement {
    let mut active: BTreeMap<EntityId, Vec<Epoch>> = BTreeMap::new();
    let mut frozen: BTreeSet<EntityId> = BTreeSet::new();
    let mut npcs: BTreeSet<EntityId> = BTreeSet::new();
    for held in census.nodes.values().flatten() {
        match held.standing {
            Standing::Active => active.entry(held.entity).or_default().push(held.epoch),
            Standing::Frozen => drop(frozen.insert(held.entity)),
        }
        if held.session.is_none() {
            npcs.insert(held.entity);
        }
    }
    let missing: Vec<EntityId> = expected.iter().copied().filter(|id| !active.contains_key(id)).collect();
    // An entity that moves may be seen by two nodes in turn, but never at one epoch. Players stand still.
    let those = |wrong: &dyn Fn(&EntityId, &[Epoch]) -> bool| -> Vec<EntityId> {
        active.iter().filter(|(entity, epochs)| wrong(entity, epochs)).map(|(entity, _)| *entity).collect()
    };
    let at_one_epoch = those(&|_, epochs| has_equals(epochs));
    let twice =
        those(&|entity, epochs| has_equals(epochs) || (epochs.len() > 1 && expected.contains(entity)));
    let settled =
        census.missing.is_empty() && missing.is_empty() && twice.is_empty() && expected.is_disjoint(&frozen);
    Judgement {
        present: expected.len() - missing.len(),
        missing,
        at_one_epoch,
        twice,
        npcs: npcs.len(),
        settled,
    }
}

fn has_equals(epochs: &[Epoch]) -> bool {
    let distinct: BTreeSet<&Epoch> = epochs.iter().collect();
    distinct.len() < epochs.len()
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::id::{NodeId, SessionId};

    use super::*;
    use crate::HeldView;

    fn held(entity: u128, player: bool, step: u32, standing: Standing) -> HeldView {
        HeldView {
            entity: EntityId::from_u128(entity),
            session: player.then(|| SessionId::from_u128(entity)),
            epoch: Epoch { generation: 0, step },
            standing,
        }
    }

    fn census(one: Vec<HeldView>, two: Vec<HeldView>) -> CensusView {
        let nodes = [(NodeId::from_u128(1), one), (NodeId::from_u128(2), two)].into();
        CensusView { nodes, missing: Vec::new() }
    }

    fn players() -> BTreeSet<EntityId> {
        [1, 2].map(EntityId::from_u128).into()
    }

    #[test]
    fn each_player_on_one_node_is_a_settled_census() {
        let census = census(
            vec![held(1, true, 1, Standing::Active), held(9, false, 1, Standing::Active)],
            vec![held(2, true, 4, Standing::Active), held(9, false, 2, Standing::Active)],
        );
        let judgement = judge(&census, &players());
        assert_eq!((judgement.present, judgement.npcs), (2, 1));
        assert!(judgement.settled, "an NPC that walks on may be seen twice: {judgement:?}");
    }

    #[test]
    fn a_player_in_nobodys_hands_is_missing_and_one_in_flight_is_waited_for() {
        let census =
            census(vec![held(1, true, 1, Standing::Frozen)], vec![held(2, true, 1, Standing::Active)]);
        let judgement = judge(&census, &players());
        assert_eq!(judgement.missing, [EntityId::from_u128(1)]);
        assert!(!judgement.settled);
    }

    #[test]
    fn two_hands_are_seen_at_whatever_epochs_for_players_and_at_one_for_npcs() {
        let census = census(
            vec![held(1, true, 1, Standing::Active), held(9, false, 3, Standing::Active)],
            vec![held(1, true, 2, Standing::Active), held(9, false, 3, Standing::Active)],
        );
        assert_eq!(judge(&census, &players()).twice, [1, 9].map(EntityId::from_u128));
    }

    #[test]
    fn a_census_that_a_node_missed_is_not_settled() {
        let mut census =
            census(vec![held(1, true, 1, Standing::Active)], vec![held(2, true, 1, Standing::Active)]);
        census.missing.push(NodeId::from_u128(3));
        assert!(!judge(&census, &players()).settled);
    }
}
