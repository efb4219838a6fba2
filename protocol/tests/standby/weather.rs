//! Any loss, any change of the world, any change of buddy: what a keeper has is always exactly one cut of the node's.

use std::collections::BTreeMap;

use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_assert, prop_oneof, proptest};
use selvedge_protocol::wire::StandbyMessage;

use crate::pair::{ME, PERIOD, Pair, Thing, entity, peer};

#[derive(Clone, Debug)]
enum Turn {
    Put {
        id: u8,
        weight: u16,
    },
    Move {
        id: u8,
    },
    MoveBack {
        id: u8,
    },
    Fill {
        id: u8,
    },
    Lift {
        id: u8,
    },
    Remove {
        id: u8,
    },
    Hurry,
    /// Each bit says whether the next message, or answer, is lost.
    Pass {
        lost: u32,
        quarters: u8,
    },
    Buddy {
        second: bool,
    },
    Forget,
}

fn turn() -> impl Strategy<Value = Turn> {
    let id = 0..6_u8;
    prop_oneof![
        1 => (id.clone(), any::<u16>()).prop_map(|(id, weight)| Turn::Put { id, weight }),
        1 => id.clone().prop_map(|id| Turn::Move { id }),
        1 => id.clone().prop_map(|id| Turn::MoveBack { id }),
        1 => id.clone().prop_map(|id| Turn::Fill { id }),
        1 => id.clone().prop_map(|id| Turn::Lift { id }),
        1 => id.prop_map(|id| Turn::Remove { id }),
        1 => proptest::strategy::Just(Turn::Hurry),
        4 => (any::<u32>(), any::<u32>(), 1..6_u8)
            .prop_map(|(a, b, quarters)| Turn::Pass { lost: a & b, quarters }),
        1 => any::<bool>().prop_map(|second| Turn::Buddy { second }),
        1 => proptest::strategy::Just(Turn::Forget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_keeper_always_has_one_whole_cut_and_at_last_the_newest(turns in prop::collection::vec(turn(), 1..60)) {
        let mut pair = Pair::new();
        // An id never begins anew at the epoch at which it ended.
        let mut epochs = BTreeMap::new();
        for turn in turns {
            match turn {
                Turn::Put { id, weight } => {
                    let id = entity(u128::from(id));
                    let epoch = epochs.entry(id).or_insert(Thing::new(0.0).epoch);
                    *epoch = epoch.next_step();
                    let thing = Thing { epoch: *epoch, weight: usize::from(weight), ..Thing::new(0.0) };
                    pair.things.insert(id, thing);
                }
                Turn::Move { id } => with(&mut pair, id, |thing| thing.x += 1.0),
                Turn::MoveBack { id } => with(&mut pair, id, |thing| thing.x -= 1.0),
                Turn::Fill { id } => with(&mut pair, id, |thing| thing.version += 1),
                Turn::Lift { id } => {
                    with(&mut pair, id, |thing| thing.epoch = thing.epoch.next_step());
                    let id = entity(u128::from(id));
                    if let Some(thing) = pair.things.get(&id) {
                        epochs.insert(id, thing.epoch);
                    }
                }
                Turn::Remove { id } => drop(pair.things.remove(&entity(u128::from(id)))),
                Turn::Hurry => pair.sender.hurry(pair.now),
                Turn::Pass { lost, quarters } => {
                    let mut bits = lost;
                    pair.run_losing(PERIOD / 4 * u32::from(quarters), |_| {
                        bits = bits.rotate_right(1);
                        bits & 1 == 1
                    });
                }
                Turn::Buddy { second } => {
                    let buddy = if second { peer(3) } else { peer(2) };
                    pair.sender.set_buddy(Some(buddy), pair.now);
                }
                Turn::Forget => {
                    for keeper in pair.keepers.values_mut() {
                        keeper.drop_source(ME);
                    }
                }
            }
            pair.assert_whole(peer(2));
            pair.assert_whole(peer(3));
        }
        pair.run(PERIOD * 40);
        let buddy = pair.sender.buddy().unwrap();
        prop_assert!(pair.kept(buddy) == pair.things, "{:?}", pair.kept(buddy));
        let other = if buddy == peer(2) { peer(3) } else { peer(2) };
        prop_assert!(pair.kept(other).is_empty());
    }
}

fn with(pair: &mut Pair, id: u8, change: impl FnOnce(&mut Thing)) {
    if let Some(thing) = pair.things.get_mut(&entity(u128::from(id))) {
        change(thing);
    }
}

#[test]
fn an_empty_node_keeps_its_checkpoint_young_too() {
    let mut pair = Pair::new();
    pair.run(PERIOD * 3);
    assert_eq!(pair.acked.len(), 3);
    let parts = pair.sent.iter().filter(|(_, message, _)| matches!(message, StandbyMessage::Part { .. }));
    assert_eq!(parts.count(), 0);
}
